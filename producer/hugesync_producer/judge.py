"""What becomes of each key: the judge. It takes the join's items in key order and answers each with a ``Step``.

Nothing here waits, reads or writes. The order of the questions to a source entry:

1. the filters (by name, and files by size)            Skip filtered
2. could it be looked at, here and there               Fail
3. FIFO, socket, device                                Skip special
4. a name or size the destination cannot hold          Fail
5. ``decide``                                          Skip same | existing, or Send
   (with ``doubt_same`` Send also what is the same)

Folders are not counted. Where the destination has real folders (``limits.folders``) a missing one is created like a
small file, and finished (mode, owner, mtime) after its last descendant when it is new, differs, or something directly
in it may be written. On object stores only empty folders become an object, and those that are one at the source; with
``dir_metadata`` all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from hugesync_producer.filters import Filter
from hugesync_producer.folders import OpenFolders
from hugesync_producer.join import JoinItem, Lacking
from hugesync_producer.obstacles import Obstacles
from hugesync_tasks.decide import Decision, decide
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.model import Entry, Kind, Transfer
from hugesync_tasks.spec import Rules
from hugesync_tasks.stores.base import MIB, Limits


class Way(StrEnum):
    """How a transfer travels."""

    SMALL = "small"  # in a batch with others
    CHECK = "check"  # in a batch of checks, counted by number: nothing is known to move
    SOLO = "solo"  # a batch of its own
    LARGE = "large"  # in parts


@dataclass(frozen=True, slots=True)
class Skip:
    reason: str  # tally.REASONS
    note: str = ""  # of special files: what it is


@dataclass(frozen=True, slots=True)
class Fail:
    failure: FailureClass
    message: str


@dataclass(frozen=True, slots=True)
class Send:
    transfer: Transfer
    way: Way


@dataclass(frozen=True, slots=True)
class Extra:
    """Only the destination has it. ``listed``: and is told by name."""

    listed: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """A list, or a map, names this, and the source lacks it."""

    what: Lacking


@dataclass(frozen=True, slots=True)
class Nothing:
    """A folder with nothing to be done."""


Verdict = Skip | Fail | Send | Extra | Missing | Nothing


@dataclass(frozen=True, slots=True)
class Step:
    """The answer to one key. ``finishes`` are the folders that ended before it, deepest first; they come first."""

    key: str
    size: int  # planned bytes
    counted: bool  # as a file (design §6): folders and extras are not
    verdict: Verdict
    finishes: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Cuts:
    """From which size on (bytes) a file travels by itself, and in parts."""

    solo_from: int = 8 * MIB
    large_from: int = 16 * MIB + 1


@dataclass(frozen=True, slots=True)
class Terms:
    """All that the judge needs to know beforehand. ``metadata`` false: modes and times of folders are left alone."""

    dest_limits: Limits
    rules: Rules = field(default_factory=Rules)
    select: Filter = field(default_factory=Filter)
    cuts: Cuts = field(default_factory=Cuts)
    metadata: bool = True
    dir_metadata: bool = False
    prefix: str = ""  # the destination's
    backup: str = ""  # the folder of --backup-dir; nothing of the source may lie there
    doubt_same: bool = False  # what looks the same is sent to be compared (``--verify all``)


class Judge:
    """``open_folders``: of a resumed scan, the source's entries of ``folders_of(start_after)``, outermost first."""

    def __init__(self, terms: Terms, open_folders: Iterable[Entry] = ()) -> None:
        self._terms = terms
        self._obstacles = Obstacles(terms.dest_limits, terms.prefix)
        self._finishing = terms.dest_limits.folders and terms.metadata
        self._folders = OpenFolders(open_folders if self._finishing else ())

    def judge(self, item: JoinItem) -> Step:
        """The answer to the next key; keys must increase."""
        finishes = tuple(self._folders.leave(item.key))
        source = item.source
        if source is None:
            return Step(item.key, 0, False, Missing(item.missing) if item.missing is not None else Extra(), finishes)
        verdict = self._verdict(source, item.dest)
        if isinstance(verdict, Send):
            self._folders.touch(item.key)  # before a new folder is entered: it changes the one it lies in
        if source.kind is Kind.DIR and not isinstance(verdict, Skip | Fail):
            self._enter(source, item.dest, isinstance(verdict, Send))
            return Step(item.key, 0, False, verdict, finishes)
        if source.kind is Kind.MISSING:
            return Step(item.key, 0, False, verdict, finishes)
        return Step(item.key, source.size, _counts(source), verdict, finishes)

    def close(self) -> tuple[Entry, ...]:
        """After the last item: the folders still open that must be finished, deepest first."""
        return tuple(self._folders.leave_all())

    def _verdict(self, source: Entry, dest: Entry | None) -> Verdict:
        if not self._terms.select.selects(source):
            return Nothing() if source.kind is Kind.MISSING else Skip("filtered")
        if source.kind is Kind.MISSING:
            return Missing(Lacking(1, (source.key,)))
        if self._terms.backup and source.key.startswith(self._terms.backup):
            return Fail(
                FailureClass.PERMANENT, f"its name is below --backup-dir {self._terms.backup}: give another one"
            )
        if source.kind is Kind.ERROR:
            note = source.note or "could not be looked at"
            return Fail(class_of(note), note if note.startswith(("reserved", "the map")) else f"at the source: {note}")
        if dest is not None and dest.kind is Kind.ERROR:
            return Fail(class_of(dest.note), f"at the destination: {dest.note or 'could not be looked at'}")
        if source.kind is Kind.SPECIAL:
            return Skip("special", source.note)
        if why := self._obstacles.refuse(source):
            return Fail(FailureClass.PERMANENT, why)
        if source.size > self._terms.dest_limits.max_size:
            limits = self._terms.dest_limits
            return Fail(
                FailureClass.PERMANENT,
                f"its {source.size} bytes are more than {limits.name} holds in one file ({limits.max_size})",
            )
        return self._folder(source, dest) if source.kind is Kind.DIR else self._file(source, dest)

    def _file(self, source: Entry, dest: Entry | None) -> Verdict:
        decision = decide(source, dest, self._terms.rules)
        expected = dest.version if dest is not None else None
        if decision is Decision.SAME:
            if self._terms.doubt_same and source.size:
                return Send(Transfer(source, expected, dest, check=True), self._way_to_read(source))
            return Skip("same")
        if decision is Decision.EXISTING:
            return Skip("existing")
        if decision is Decision.UNKNOWN:
            return Send(Transfer(source, expected, dest, check=True), Way.CHECK)
        return Send(Transfer(source, expected, dest), self._way(source))

    def _way(self, source: Entry) -> Way:
        if source.kind is Kind.LINK or source.size < min(self._terms.cuts.solo_from, self._terms.cuts.large_from):
            return Way.SMALL
        return Way.LARGE if source.size >= self._terms.cuts.large_from else Way.SOLO

    def _way_to_read(self, source: Entry) -> Way:
        """Of what is compared before it is known to move: what it may cost to read decides."""
        return Way.SMALL if self._way(source) is Way.SMALL else Way.SOLO

    def _folder(self, source: Entry, dest: Entry | None) -> Verdict:
        real = self._terms.dest_limits.folders
        of_itself = source.modified_ns is not None  # an object at the source, which a store need not have for a folder
        if not real and not (source.empty or of_itself or self._terms.dir_metadata):
            return Nothing()
        if dest is None:
            return Nothing() if self._terms.rules.existing else Send(Transfer(source), Way.SMALL)
        if not real and self._terms.dir_metadata and not self._terms.rules.ignore_existing:
            return Send(Transfer(source, dest.version, dest, check=True), Way.CHECK)  # a listing shows no metadata
        return Nothing()

    def _enter(self, source: Entry, dest: Entry | None, created: bool) -> None:
        if not self._finishing or (dest is None and not created):
            return
        known = source.mode is not None or source.mtime_ns is not None or self._terms.dir_metadata
        differs = dest is not None and decide(source, dest, self._terms.rules) is Decision.DIFFERENT
        unsaid = dest is not None and self._terms.dir_metadata and source.mode is None and source.mtime_ns is None
        self._folders.enter(source, created or differs or unsaid, known)


def _counts(entry: Entry) -> bool:
    """As a file. A folder that could not be read is none either; an object with bytes is one, whatever its key."""
    return entry.kind is not Kind.DIR and (entry.size > 0 or not entry.key.endswith("/"))


def class_of(note: str) -> FailureClass:
    """A listing gives the reason as text only; a missing permission is what a person can mend."""
    return FailureClass.NEEDS_PERSON if "denied" in note or "not permitted" in note else FailureClass.PERMANENT
