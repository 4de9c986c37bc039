"""The window: segments of the plan in key order, what of them is unsettled, and K, up to which everything is settled.

Pure bookkeeping. Each entry is in exactly one segment and leaves "pending" once, so the law holds at every instant; K and the
counters as of K always belong together (docs/ledger.md).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hugesync_producer.extras import Seen
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.model import Outcome
from hugesync_tasks.summary import FAILURES_KEPT, UNMATCHED, Failure
from hugesync_tasks.tally import Tally

NOTES_KEPT = 1000
MORE_NOTES = "another note, not kept"


class Failed(NamedTuple):
    """One failure as the checkpoint keeps it."""

    key: str
    reason: str  # a FailureClass
    message: str
    size: int  # planned bytes; -1 of a folder, which no tally counts
    again: bool  # a worker met it, so a resumed job tries again; what the plan refused it would refuse again


@dataclass
class Counters:
    """Everything a summary counts exactly. A segment has one; added up to K they are the checkpoint's."""

    tally: Tally = field(default_factory=Tally)
    transfers: Counter[str] = field(default_factory=Counter)  # by how: full, delta, server_copy
    verified: int = 0
    conflicts: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    failures: list[Failed] = field(default_factory=list)
    omitted: Counter[str] = field(default_factory=Counter)  # failures beyond the cap, by class
    unmatched: int = 0  # what only the destination has, of a job that compares; it is beside the law
    unmatched_keys: list[str] = field(default_factory=list)  # the first of them
    missing: list[str] = field(default_factory=list)  # the first of what a list names and the source lacks
    withdrawn: list[Failed] = field(default_factory=list)  # earlier failures whose files are pending again in here
    seen: Seen = field(default_factory=Seen)  # by the join, with --delete

    def add(self, other: Counters) -> None:
        self.tally.add(other.tally)
        self.transfers.update(other.transfers)
        self.verified += other.verified
        self.conflicts += other.conflicts
        self._note(other.notes)
        self.omitted.update(other.omitted)
        self.unmatched += other.unmatched
        self.unmatched_keys += other.unmatched_keys[: FAILURES_KEPT - len(self.unmatched_keys)]
        self.lacks(other.missing)
        self.seen.add(other.seen)
        if other.withdrawn:
            back = set(other.withdrawn)
            self.failures = [f for f in self.failures if f not in back]
        for failure in other.failures:
            self._keep(failure)

    def found(self, outcome: str, size: int, reason: str = "") -> None:
        self.tally.find(outcome, size, reason)

    def settle(self, key: str, size: int, outcome: Outcome) -> None:
        """One pending entry of ``size`` planned bytes ended."""
        self.tally.settle(outcome.state, size, outcome.reason if outcome.state == "skipped" else "")
        self.extras(outcome)
        self.verified += outcome.verified
        if outcome.state == "done":
            self.transfers[outcome.how] += 1
        elif outcome.state == "failed":
            self._keep(Failed(key, outcome.reason, outcome.message, size, True))

    def extras(self, outcome: Outcome) -> None:
        self.conflicts += outcome.conflicts
        self._note(Counter(outcome.notes))

    def _note(self, notes: Mapping[str, int]) -> None:
        """Some notes name their file: so many are kept, the others are counted."""
        for note, n in notes.items():
            known = note in self.notes or len(self.notes) < NOTES_KEPT
            self.notes[note if known else MORE_NOTES] += n

    def failed(self, key: str, reason: str, message: str, size: int = -1) -> None:
        """Record a failure that was counted by ``found``, or that is not a file's (a folder's: size -1)."""
        self._keep(Failed(key, reason, message, size, False))

    def only_there(self, keys: Sequence[str]) -> None:
        """Only the destination has these."""
        self.unmatched += len(keys)
        self.unmatched_keys += keys[: FAILURES_KEPT - len(self.unmatched_keys)]

    def beside(self, missing: Sequence[str], notes: Iterable[tuple[str, int]]) -> None:
        """What the plan has to say beside its entries."""
        self.lacks(missing)
        self._note(dict(notes))

    def lacks(self, keys: Sequence[str]) -> None:
        """A list names these, and the source lacks them; the tally counts them."""
        self.missing += keys[: FAILURES_KEPT - len(self.missing)]

    def withdraw(self, failure: Failed, size: int) -> None:
        """A file that is counted as failed elsewhere is tried again, with ``size`` planned bytes; it stays found once. Whoever
        adds these counters to those others has it pending, and until then the others alone are as true as before."""
        self.tally.files["failed"] -= 1
        self.tally.bytes["failed"] -= failure.size
        self.tally.files["pending"] += 1
        self.tally.bytes["pending"] += size
        self.tally.bytes["found"] += size - failure.size
        self.withdrawn.append(failure)

    def _keep(self, failure: Failed) -> None:
        if failure.size < 0 and any(known.key == failure.key for known in self.failures):
            return  # a folder that could not be made cannot be finished either: it failed once
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(failure)
        else:
            self.omitted[failure.reason] += 1

    def failure_list(self) -> tuple[Failure, ...]:
        """What failed, then what only the destination has: at most ``FAILURES_KEPT`` together."""
        failures = [Failure(f.key, FailureClass(f.reason), f.message) for f in self.failures]
        unmatched = [Failure(key, FailureClass.PERMANENT, UNMATCHED) for key in self.unmatched_keys]
        return tuple((failures + unmatched)[:FAILURES_KEPT])

    @property
    def failures_omitted(self) -> int:
        """How many more there are than ``failure_list`` has."""
        total = len(self.failures) + sum(self.omitted.values()) + self.unmatched
        return total - len(self.failure_list())

    def wire(self) -> dict[str, Any]:
        return {
            "tally": self.tally.wire(),
            "transfers": dict(self.transfers),
            "verified": self.verified,
            "conflicts": self.conflicts,
            "notes": dict(self.notes),
            "failures": [list(f) for f in self.failures],
            "omitted": dict(self.omitted),
            **({"unmatched": self.unmatched, "unmatched_keys": self.unmatched_keys} if self.unmatched else {}),
            **({"missing": self.missing} if self.missing else {}),
            "seen": self.seen.wire(),
        }

    @classmethod
    def unwire(cls, w: dict[str, Any]) -> Counters:
        return cls(
            Tally.unwire(w["tally"]),
            Counter(w["transfers"]),
            w["verified"],
            w["conflicts"],
            Counter(w["notes"]),
            [Failed(*f) for f in w["failures"]],
            Counter(w["omitted"]),
            w.get("unmatched", 0),
            list(w.get("unmatched_keys", ())),
            missing=list(w.get("missing", ())),
            seen=Seen.unwire(w.get("seen", {})),
        )


@dataclass(eq=False)
class OpenSegment:
    """One stretch of the plan that is not yet behind K."""

    last_key: str
    counters: Counters
    unsettled: set[int] = field(default_factory=set)  # units
    finishes: list[Any] = field(default_factory=list)  # folders to finish when everything before is settled

    @property
    def settled(self) -> bool:
        return not self.unsettled and not self.finishes


class Window:
    """Segments beyond K. ``base`` is as of K, ``total`` as of now."""

    def __init__(self, key: str = "", base: Counters | None = None) -> None:
        self.key = key
        self.base = base or Counters()
        self.aside = (
            Counters()
        )  # of what is no part of the plan and is done anew by a resumed job (deletes); in no checkpoint
        self._open: deque[OpenSegment] = deque()

    def add(self, segment: OpenSegment) -> None:
        self._open.append(segment)

    @property
    def empty(self) -> bool:
        return not self._open

    def __len__(self) -> int:
        return len(self._open)

    def advance(self) -> bool:
        """Move K over what is settled and merge settled neighbours beyond it; true if K moved."""
        moved = False
        while self._open and self._open[0].settled:
            segment = self._open.popleft()
            self.key = max(self.key, segment.last_key)
            self.base.add(segment.counters)
            moved = True
        if len(self._open) > 64:
            self._merge()
        return moved

    def _merge(self) -> None:
        merged: deque[OpenSegment] = deque()
        for segment in self._open:
            if merged and segment.settled and merged[-1].settled:
                merged[-1].last_key = segment.last_key
                merged[-1].counters.add(segment.counters)
            else:
                merged.append(segment)
        self._open = merged

    def finishable(self) -> OpenSegment | None:
        """The first segment, if only its folders' finishes are left: everything before them is settled."""
        head = self._open[0] if self._open else None
        return head if head and not head.unsettled and head.finishes else None

    def total(self) -> Counters:
        """Counters as of now. The law is asserted, not hoped."""
        now = Counters()
        now.add(self.base)
        now.add(self.aside)
        for segment in self._open:
            now.add(segment.counters)
        now.tally.assert_law()
        return now
