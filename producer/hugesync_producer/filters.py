"""Which entries take part: include and exclude rules in rsync's order, and size limits.

The first rule that matches decides, and what no rule matches takes part. Rules are asked while descending: a folder that
is excluded is never entered, so nothing below it can be included again. A rule is ("+" or "-", pattern), the pattern in
rsync's syntax (``patterns``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hugesync_producer.patterns import Pattern
from hugesync_tasks.errors import UsageError
from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind
from hugesync_tasks.names import encode_name
from hugesync_tasks.spec import Selection

Rule = tuple[str, str]
INCLUDE, EXCLUDE = "+", "-"


class Filter:
    """``enter`` is for listings, ``selects`` for the planner. Both assume that the folders above were entered."""

    def __init__(
        self, rules: Iterable[Rule] = (), min_size: int | None = None, max_size: int | None = None, links: bool = True
    ) -> None:
        self._links = links
        self._rules = [(action == INCLUDE, Pattern(pattern)) for action, pattern in rules]
        self._min, self._max = min_size, max_size

    @classmethod
    def of(cls, selection: Selection) -> Filter:
        return cls(selection.filters, selection.min_size, selection.max_size, links=selection.links != "skip")

    def enter(self, dir_key: str) -> bool:
        """Whether the folder ``dir_key`` (ends in "/") is listed at all."""
        return self._included(dir_key.removesuffix("/"), folder=True)

    def selects(self, entry: Entry) -> bool:
        """Whether ``entry`` takes part. Links match by their own name, without ``.rclonelink``; sizes limit regular files
        only. What could not be looked at is asked by name, as a file or (key ending in "/") as a folder."""
        if entry.key.endswith("/"):
            return self.enter(entry.key)
        if entry.kind is Kind.LINK and not self._links:  # --skip-links
            return False
        if entry.kind is Kind.FILE:
            if self._min is not None and entry.size < self._min:
                return False
            if self._max is not None and entry.size > self._max:
                return False
        path = entry.key.removesuffix(LINK_SUFFIX) if entry.kind is Kind.LINK else entry.key
        return self._included(path, folder=False)

    def _included(self, path: str, folder: bool) -> bool:
        for include, pattern in self._rules:
            if pattern.matches(path, folder):
                return include
        return True


def add_rule(rules: list[Rule], text: str, default: str) -> None:
    """Append one ``--include`` or ``--exclude`` argument, or a line of a file, to ``rules``.

    ``+ PATTERN`` and ``- PATTERN`` say what they are; everything else is ``default`` ("+" or "-"); ``!`` alone clears
    the list, as in rsync. Raises UsageError for an empty pattern."""
    if text == "!":
        rules.clear()
        return
    action, pattern = (text[0], text[2:]) if text[:2] in ("+ ", "- ") else (default, text)
    if not pattern:
        raise UsageError(f"the filter rule {text!r} has no pattern")
    rules.append((action, pattern))


def add_rules_of_file(rules: list[Rule], content: bytes, default: str) -> None:
    """Append the rules of an ``--include-from`` or ``--exclude-from`` file: one per line; blank lines and lines that begin
    with ``#`` or ``;`` are comments. Names that are no UTF-8 match as their key form."""
    for line in re.split(rb"[\r\n]", content):
        if line and line[:1] not in (b"#", b";"):
            add_rule(rules, encode_name(line), default)
