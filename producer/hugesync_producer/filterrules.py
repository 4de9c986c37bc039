"""rsync's filter rules as text: ``--filter``, ``--include``, ``--exclude``, their files, and rules in merged files.

A rule is a pair (flags, pattern), both strings, as it lies in a job's specification. ``flags`` begins with ``+`` or ``-``; after
it come, sorted, those of ``MODIFIERS`` that hold: ``!`` where the pattern does NOT match, ``/`` compared with the absolute path,
``p`` no protection in a folder that is being deleted, ``r`` of the receiver only, ``s`` of the sender only (both: of both, whatever
``--delete-excluded`` says). What rsync has and cannot be honoured here is refused by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hugesync_tasks.errors import UsageError
from hugesync_tasks.names import decode_name, encode_name

Rule = tuple[str, str]
INCLUDE, EXCLUDE = "+", "-"
MODIFIERS = "!/prs"
DEEPEST = 32  # merged files within merged files

_LONG = {
    "clear": "!",
    "dir-merge": ":",
    "exclude": "-",
    "hide": "H",
    "include": "+",
    "merge": ".",
    "protect": "P",
    "risk": "R",
    "show": "S",
}
_SIDED = {"H": ("-", "s"), "S": ("+", "s"), "P": ("-", "r"), "R": ("+", "r")}
_LONG_NAME = re.compile(r"([a-z][a-z-]*)(?=[\s_,]|\Z)")
_NEVER = {
    ":": "rules in the tree itself (dir-merge) are not read: give them on the command line, or merge their files",
    "x": "extended attributes are not kept, so there is nothing for the modifier x to choose",
}
# cvs's own list, as rsync's manual has it under --cvs-exclude
_CVS = (
    "RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state .nse_depinfo *~ #* .#* ,* _$* *$ *.old *.bak *.BAK *.orig "
    "*.rej .del-* *.a *.olb *.o *.obj *.so *.exe *.Z *.elc *.ln core .svn/ .git/ .hg/ .bzr/"
)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a merged file is read, and what its rules have from the rule that merged it."""

    given: str = ""  # modifiers that all its rules have
    only: str = ""  # "+" or "-": every line is such a pattern, and has no rule before it
    words: bool = False  # rules are separated by any white space, and there are no comments
    cvs: bool = False  # with ``only``: a lone ! clears


class RuleReader:
    """Collects the rules of one command line. ``read``: what a file that is merged holds; raises UsageError."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self.rules: list[Rule] = []
        self._read = read

    def old(self, text: str, default: str) -> None:
        """One ``--include`` or ``--exclude`` argument, or a line of their files: a pattern that is ``default``; ``+ PATTERN``
        and ``- PATTERN`` say what they are, ``!`` alone clears the list. Raises UsageError."""
        if text == "!":
            self.rules.clear()
            return
        action, pattern = (text[0], text[2:]) if text[:2] in ("+ ", "- ") else (default, text)
        self._add(action, "", pattern, text)

    def old_file(self, name: str, default: str) -> None:
        """The rules of an ``--include-from`` or ``--exclude-from`` file."""
        for line in _lines(self._read(name)):
            self.old(line, default)

    def filter(self, text: str) -> None:
        """One ``--filter`` argument."""
        self._one(text, Manner(), 0)

    def words(self, content: bytes, manner: Manner) -> None:
        """Rules separated by white space."""
        for word in _lines(content, words=True):
            self._one(word, manner, 0)

    def _one(self, text: str, manner: Manner, depth: int) -> None:
        if manner.only:
            if manner.cvs and text == "!":
                self.rules.clear()
            else:
                self._add(manner.only, manner.given, text, text)
            return
        kind, modifiers, argument = _parted(text)
        if kind == "!":
            if argument or modifiers:
                raise UsageError(f"the filter rule {text!r} has something after the !, which clears the whole list")
            self.rules.clear()
            return
        side = _SIDED[kind][1] if kind in _SIDED else ""
        _check(text, kind, modifiers, side)
        sides = side + "".join(m for m in modifiers if m in "rs")
        if sides and any(m in "rs" for m in manner.given):
            raise UsageError(f"the filter rule {text!r} names a side, and so does the rule that merged its file")
        given = "".join(m for m in modifiers if m in MODIFIERS) + side + manner.given
        if kind == ".":
            self._merge(text, argument, _manner(modifiers, given), "e" in modifiers, depth)
        elif "C" in modifiers:
            if argument or kind != EXCLUDE:
                raise UsageError(f"the filter rule {text!r}: -C stands alone")
            self.rules.extend(cvs_rules(given))
        else:
            self._add(_SIDED[kind][0] if side else kind, given, argument, text)

    def _merge(self, text: str, name: str, manner: Manner, hides_itself: bool, depth: int) -> None:
        if not name and manner.cvs:
            name = ".cvsignore"
        if not name:
            raise UsageError(f"the filter rule {text!r} names no file")
        if depth >= DEEPEST:
            raise UsageError(f"the filter rule {text!r}: files are merged into each other {DEEPEST} deep")
        if hides_itself:
            self._add(EXCLUDE, "", name.rpartition("/")[2], text)
        path = os.fsdecode(decode_name(name))
        for line in _lines(self._read(path), manner.words):
            try:
                self._one(line, manner, depth + 1)
            except UsageError as error:
                raise UsageError(f"{path}: {error}" if depth == 0 else str(error)) from error

    def _add(self, action: str, given: str, pattern: str, text: str) -> None:
        if not pattern:
            raise UsageError(f"the filter rule {text!r} has no pattern")
        self.rules.append((action + "".join(m for m in MODIFIERS if m in given), pattern))


def _parted(text: str) -> tuple[str, str, str]:
    """Kind (one letter), modifiers and argument of a rule. Raises UsageError."""
    long = _LONG_NAME.match(text)
    if long:
        if long[1] not in _LONG:
            raise UsageError(f"unknown filter rule {text!r}: {long[1]} is none of {', '.join(_LONG)}")
        kind, rest = _LONG[long[1]], text[long.end() :]
        if rest[:1].isspace():
            rest = " " + rest[1:]
    else:
        kind, rest = text[:1], text[1:]
        if kind not in "!:+-.HSPR" or not kind:
            raise UsageError(
                f"unknown filter rule {text!r}: it begins with none of - + . ! H S P R, nor with such a word as exclude"
            )
    if kind == "!":
        return kind, "", rest
    rest = rest.removeprefix(",")
    end = next((i for i, c in enumerate(rest) if c in " _"), len(rest))
    return kind, rest[:end], rest[end + 1 :]


def _check(text: str, kind: str, modifiers: str, side: str) -> None:
    """Raises UsageError for what cannot be honoured, or is not rsync's."""
    if kind == ":":
        raise UsageError(f"the filter rule {text!r} cannot be honoured: {_NEVER[':']}")
    merges = kind == "."
    for modifier in modifiers:
        if modifier == "x":
            raise UsageError(f"the filter rule {text!r} cannot be honoured: {_NEVER['x']}")
        if modifier == "n" and merges:
            raise UsageError(f"the filter rule {text!r} cannot be honoured: n is of dir-merge")
        fits = {"/": True, "p": True, "!": not merges, "C": not side, "r": not side, "s": not side}
        if not fits.get(modifier, merges and modifier in "-+ew"):
            raise UsageError(f"the filter rule {text!r}: {modifier!r} is no modifier that it can have")
    if merges and len([m for m in modifiers if m in "-+C"]) > 1:
        raise UsageError(f"the filter rule {text!r}: only one of - + C can be meant")


def _manner(modifiers: str, given: str) -> Manner:
    cvs = "C" in modifiers
    only = INCLUDE if "+" in modifiers else EXCLUDE if cvs or "-" in modifiers else ""
    return Manner(given, only, cvs or "w" in modifiers, cvs)


def _lines(content: bytes, words: bool = False) -> list[str]:
    """The rules in a file, in key form: one per line (LF, CR or both), blank ones and comments left out."""
    if words:
        return [encode_name(word) for word in content.split()]
    return [encode_name(line) for line in re.split(rb"[\r\n]", content) if line and line[:1] not in (b"#", b";")]


def cvs_rules(given: str = "") -> list[Rule]:
    """What ``-C`` stands for: cvs's own list, ``~/.cvsignore`` and ``$CVSIGNORE``. ``given``: modifiers that all of them have."""
    own = RuleReader(lambda _: b"")
    manner = Manner(given, EXCLUDE, words=True, cvs=True)
    own.words(_CVS.encode(), replace(manner, given=given + "p"))
    with suppress(OSError, RuntimeError):  # there is none, or no home
        own.words((Path.home() / ".cvsignore").read_bytes(), manner)
    own.words(os.fsencode(os.environ.get("CVSIGNORE", "")), manner)
    return own.rules


def of_sides(flags: str) -> str:
    """For which sides a rule is: "s", "r", or "sr" for one that names none or both."""
    return "".join(side for side in "sr" if side in flags) or "sr"


def absolute(rules: Iterable[Rule], side: str) -> str:
    """The first rule of ``side`` ("s" or "r") that is compared with the absolute path, for people; "" for none."""
    return next((f"{flags} {pattern}" for flags, pattern in rules if "/" in flags and side in of_sides(flags)), "")
