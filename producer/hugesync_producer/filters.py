"""Which entries take part, and which are kept from ``--delete``: rules in rsync's order, and size limits.

The first rule that matches decides, and what no rule matches takes part. Rules are asked while descending: a folder that
is excluded is never entered, so nothing below it can be included again. Rules are those of ``filterrules``, patterns those of
``patterns``. Each side has its own: the sender's hide from the transfer, the receiver's protect from being deleted; one that names no
side is of both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from hugesync_producer.filterrules import INCLUDE, Rule, of_sides
from hugesync_producer.patterns import Pattern
from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind
from hugesync_tasks.names import QUOTE, decode_name, encode_name
from hugesync_tasks.spec import Selection, Spec


class Filter:
    """``enter`` is for listings, ``selects`` for the planner, ``protects`` for deletes. All assume that the folders above were
    entered.

    ``delete_excluded``: rules that name no side are the sender's. ``source_root``, ``dest_root``: the absolute paths that rules
    with the modifier ``/`` are compared with, without a slash in front or at the end. ``named``: entries come from a list of names,
    so that the folders above them were not entered, and are asked."""

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        min_size: int | None = None,
        max_size: int | None = None,
        links: bool = True,
        delete_excluded: bool = False,
        source_root: str = "",
        dest_root: str = "",
        named: bool = False,
    ) -> None:
        self._named, self._way = named, ("", True)
        self._links, self.delete_excluded = links, delete_excluded
        rules = list(rules)
        self._sender = [_Compiled(rule, source_root) for rule in rules if "s" in of_sides(rule[0])]
        self._receiver = [
            _Compiled(rule, dest_root) for rule in rules if "r" in (rule[0] if delete_excluded else of_sides(rule[0]))
        ]
        self._min, self._max = min_size, max_size

    @classmethod
    def of(cls, selection: Selection) -> Filter:
        return cls(selection.filters, selection.min_size, selection.max_size, links=selection.links != "skip")

    @classmethod
    def of_job(cls, spec: Spec) -> Filter:
        chosen = spec.selection
        here, there = (_root(end.display()) if end.scheme == "file" else "" for end in (spec.source, spec.dest))
        return cls(
            chosen.filters,
            chosen.min_size,
            chosen.max_size,
            links=chosen.links != "skip",
            delete_excluded=spec.options.delete and spec.options.delete_excluded,
            source_root=here,
            dest_root=there,
            named=bool(chosen.listed),
        )

    def enter(self, dir_key: str) -> bool:
        """Whether the folder ``dir_key`` (ends in "/") of the source is listed at all."""
        return _decided(self._sender, _path(dir_key.removesuffix("/")), True)

    def enter_to_delete(self, dir_key: str) -> bool:
        """Whether anything in the folder ``dir_key`` of the destination may have to be compared or deleted."""
        path = _path(dir_key.removesuffix("/"))
        return self.enter(dir_key) or any(_decided(self._receiver, path, True, doomed) for doomed in (False, True))

    def selects(self, entry: Entry) -> bool:
        """Whether ``entry`` takes part. Links match by their own name, without ``.rclonelink``; sizes limit regular files
        only. What could not be looked at is asked by name, as a file or (key ending in "/") as a folder."""
        return self.fits(entry) and self.shows(entry) and (not self._named or self._entered(entry.key))

    def fits(self, entry: Entry) -> bool:
        """Whether ``entry`` takes part as far as its size and ``--skip-links`` go."""
        if entry.kind is Kind.LINK and not self._links:
            return False
        if entry.kind is Kind.FILE and not entry.key.endswith("/"):
            if self._min is not None and entry.size < self._min:
                return False
            if self._max is not None and entry.size > self._max:
                return False
        return True

    def shows(self, entry: Entry) -> bool:
        """Whether ``entry`` takes part as far as the sender's rules go."""
        return _decided(self._sender, *_named(entry))

    def _entered(self, key: str) -> bool:
        """Whether all folders above ``key`` are; the last answer is kept."""
        above = key[: key.rstrip("/").rfind("/") + 1]
        if self._way[0] != above:
            self._way = above, all(self.enter(above[: at + 1]) for at, c in enumerate(above) if c == "/")
        return self._way[1]

    def protects(self, entry: Entry, doomed: bool = False) -> bool:
        """Whether the receiver's rules keep ``entry`` of the destination from being deleted. ``doomed``: it lies in a folder that
        is to go itself."""
        return not _decided(self._receiver, *_named(entry), doomed)


class _Compiled:
    __slots__ = ("_negated", "_pattern", "_prefix", "include", "perishable")

    def __init__(self, rule: Rule, root: str) -> None:
        flags, pattern = rule
        self.include = flags.startswith(INCLUDE)
        self.perishable = "p" in flags
        self._negated = "!" in flags
        self._pattern = Pattern(_path(pattern), absolute="/" in flags)
        self._prefix = root + "/" if "/" in flags and root else ""

    def matches(self, path: str, folder: bool) -> bool:
        return self._pattern.matches(self._prefix + path, folder) != self._negated


def _decided(rules: list[_Compiled], path: str, folder: bool, doomed: bool = False) -> bool:
    for rule in rules:
        if not (doomed and rule.perishable) and rule.matches(path, folder):
            return rule.include
    return True


def _named(entry: Entry) -> tuple[str, bool]:
    if entry.key.endswith("/"):
        return _path(entry.key[:-1]), True
    return _path(entry.key.removesuffix(LINK_SUFFIX) if entry.kind is Kind.LINK else entry.key), False


def _path(key: str) -> str:
    """A key, or a pattern in key form, as it is compared: a byte that is no UTF-8 is one character, as it is to rsync."""
    return decode_name(key).decode(errors="surrogateescape") if QUOTE in key else key


def _root(path: str) -> str:
    return _path(encode_name(os.fsencode(path))).strip("/")
