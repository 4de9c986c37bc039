"""Listings and partial responses of the JSON API. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from strict_gcs_rules import invalid
from strict_gcs_state import Version


@dataclass(frozen=True)
class Page:
    items: tuple[Version, ...]
    prefixes: tuple[str, ...]
    token: str | None  # of the next page


def page(
    versions: Iterable[Version],
    size: int,
    *,
    prefix: str = "",
    delimiter: str = "",
    start: str = "",  # inclusive
    end: str = "",  # exclusive
    token: str = "",
    trailing: bool = False,  # objects whose names end with the delimiter are items as well as prefixes
) -> Page:
    """One page in the order of the names' UTF-8 bytes, which is that of their code points. Items and prefixes count
    alike."""
    after = read_token(token).decode() if token else ""
    chosen = [
        (version.name, version)
        for version in versions
        if version.name.startswith(prefix) and version.name >= start and (not end or version.name < end)
    ]
    items: list[Version] = []
    prefixes: list[str] = []
    last = ""
    for name, version in sorted((pair for pair in chosen if pair[0] > after), key=lambda pair: pair[0]):
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        folder = name[: cut + len(delimiter)] if cut >= 0 else ""
        if folder and folder <= after:  # told on a page before, with all below it
            continue
        new = bool(folder) and folder not in prefixes[-1:]
        item = not folder or (trailing and folder == name)
        if not new and not item:
            continue
        if len(items) + len(prefixes) >= size:
            return Page(tuple(items), tuple(prefixes), write_token(last.encode()))
        if new:
            prefixes.append(folder)
        if item:
            items.append(version)
        last = folder or name
    return Page(tuple(items), tuple(prefixes), None)


def write_token(last: bytes) -> str:
    return base64.urlsafe_b64encode(b"\x0a" + last).decode()


def read_token(token: str) -> bytes:
    try:
        raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if raw[:1] != b"\x0a":
        raise invalid("Invalid argument.", "pageToken")
    return raw[1:]


Tree = dict[str, "Tree"]  # an empty one takes everything below


def read_fields(text: str) -> Tree:
    """``items(name,size),nextPageToken`` and ``items/name`` as a tree."""
    tree, rest = _fields(text)
    if rest or not tree:
        raise invalid(f"Invalid field selection {text}", "fields")
    return tree


def _fields(text: str) -> tuple[Tree, str]:
    """Fields up to the end or a closing parenthesis, and what is left."""
    tree: Tree = {}
    while True:
        one, text = _field(text)
        for name, below in one.items():
            tree[name] = tree.get(name, {}) | below
        if not text.startswith(","):
            return tree, text
        text = text[1:]


def _field(text: str) -> tuple[Tree, str]:
    stop = next((at for at, sign in enumerate(text) if sign in ",()/"), len(text))
    name, rest = text[:stop].strip(), text[stop:]
    below: Tree = {}
    if rest.startswith("/"):
        below, rest = _field(rest[1:])
    elif rest.startswith("("):
        below, rest = _fields(rest[1:])
        if not rest.startswith(")"):
            raise invalid(f"Invalid field selection {text}", "fields")
        rest = rest[1:]
    if not name:
        raise invalid(f"Invalid field selection {text}", "fields")
    return {name: below}, rest


def take(document: Any, tree: Tree) -> Any:
    """The parts of a JSON document that a field selection names."""
    if not tree or "*" in tree:
        return document
    if isinstance(document, list):
        return [take(each, tree) for each in document]
    if not isinstance(document, dict):
        return document
    return {name: take(value, tree[name]) for name, value in document.items() if name in tree}
