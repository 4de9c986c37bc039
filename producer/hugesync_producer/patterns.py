"""rsync's wildcards as regular expressions.

Taken from rsync's manual, section PATTERN MATCHING RULES, and its matcher:

* ``*`` any characters but ``/``; ``**`` (or more stars) any characters; ``?`` one character but ``/``; ``[a-z]``,
  ``[!x]`` and ``[^x]``, ``[[:alpha:]]``: one character, never ``/``. An unclosed ``[`` matches nothing.
* A backslash escapes only in a pattern that has a wildcard; in others it is an ordinary character.
* A leading ``/`` anchors at the root of the transfer; a trailing ``/`` matches folders only.
* Without ``/`` and ``**`` the last component is compared, at any depth. With an inner ``/`` the last components are.
  With ``**`` the pattern may begin after any slash, and one that begins with ``**/`` also matches at the root.
* ``dir/***`` is the folder itself and everything in it.

One character is a Unicode character, or a byte that is part of none; rsync counts bytes, so that there é needs ``??``.
"""

from __future__ import annotations

import re

_CLASSES = {
    "alnum": "A-Za-z0-9",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_NEVER = "(?!)"
_EMPTY = "/"  # for an empty range: a character that no class ever matches


class Pattern:
    """One compiled pattern. ``matches`` takes a path without a trailing slash and whether it is a folder. ``absolute``: what has
    a slash is compared with a whole path, so that ``**/`` in front must match something."""

    def __init__(self, text: str, absolute: bool = False) -> None:
        self.folders_only = len(text) > 1 and text.endswith("/")
        body = text[:-1] if self.folders_only else text
        wild = any(c in body for c in "*?[")
        anchored = body.startswith("/")
        self._name_only = "/" not in body and "**" not in body
        # dir/*** matches the folder too: rsync offers "dir" and then "dir/" to the same pattern
        self._slash_for_folders = wild and len(body) >= 3 and body.endswith("***")
        self._slash_in_front = body.startswith("**") and not absolute
        rest = body[1:] if anchored else body
        expression = _translate(rest) if wild else re.escape(rest)
        start = "" if anchored or self._name_only or body.startswith("**") else "(?:.*/)?"
        self._match = re.compile(start + expression, re.DOTALL).fullmatch

    def matches(self, path: str, folder: bool) -> bool:
        if self.folders_only and not folder:
            return False
        if self._name_only:
            return self._match(path[path.rfind("/") + 1 :]) is not None
        if self._slash_in_front:
            path = "/" + path
        if self._match(path) is not None:
            return True
        return folder and self._slash_for_folders and self._match(path + "/") is not None


def _translate(glob: str) -> str:
    out: list[str] = []
    i = 0
    while i < len(glob):
        c = glob[i]
        i += 1
        if c == "*":
            end = i
            while end < len(glob) and glob[end] == "*":
                end += 1
            out.append(".*" if end > i else "[^/]*")
            i = end
        elif c == "?":
            out.append("[^/]")
        elif c == "[":
            chars, i = _bracket(glob, i)
            out.append(chars)
        elif c == "\\" and i < len(glob):
            out.append(re.escape(glob[i]))
            i += 1
        else:
            out.append(re.escape(c))
    return "".join(out)


def _bracket(glob: str, i: int) -> tuple[str, int]:
    """The class that begins after the ``[`` before ``i``, and where it ends."""
    negated = glob.startswith(("!", "^"), i)
    i += negated
    out: list[str] = []
    first = True
    while i < len(glob):
        c = glob[i]
        if c == "]" and not first:
            inside = "".join(out)
            return (f"[^/{inside}]" if negated else f"(?!/)[{inside}]"), i + 1
        first = False
        if glob.startswith("[:", i) and (end := glob.find(":]", i + 2)) >= 0:
            if (name := glob[i + 2 : end]) not in _CLASSES:
                return _NEVER, len(glob)
            out.append(_CLASSES[name])
            i = end + 2
            continue
        low, i = _character(glob, i)
        if glob[i : i + 1] == "-" and glob[i + 1 : i + 2] not in ("", "]"):
            high, i = _character(glob, i + 1)
            if low <= high:
                out.append(f"{re.escape(low)}-{re.escape(high)}")
            elif not out:
                out.append(_EMPTY)
        else:
            out.append(re.escape(low))
    return _NEVER, len(glob)


def _character(glob: str, i: int) -> tuple[str, int]:
    if glob[i] == "\\" and i + 1 < len(glob):
        i += 1
    return glob[i], i + 1
