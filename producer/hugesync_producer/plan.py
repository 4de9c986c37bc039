"""The plan cut into segments, in key order, with its batches (``docs/ledger.md``, Segments)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from hugesync_producer.extras import Seen
from hugesync_producer.join import JoinItem
from hugesync_producer.judge import Extra, Fail, Judge, Missing, Send, Skip, Step, Way
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.model import Entry, Kind, Transfer
from hugesync_tasks.stores.base import MIB
from hugesync_tasks.tally import Tally


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry that will not be transferred. ``size``: its planned bytes; -1 of a folder, which no tally counts."""

    key: str
    reason: FailureClass
    message: str
    size: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the plan that ends with ``last_key``. ``tally`` counts every file found in it; those in ``batches`` and
    ``larges`` stand under pending. ``finishes`` are sent when all before them, in this segment too, is settled.

    ``failures`` may name folders, which the tally does not count. ``specials``: (key, what it is)."""

    last_key: str
    tally: Tally
    batches: tuple[tuple[Transfer, ...], ...] = ()
    larges: tuple[Transfer, ...] = ()
    finishes: tuple[Entry, ...] = ()
    failures: tuple[Failure, ...] = ()
    specials: tuple[tuple[str, str], ...] = ()
    seen: Seen | None = None  # of the join, with ``--delete``
    extras: int = 0
    only_there: tuple[str, ...] = ()  # the extras that are told by name
    notes: tuple[tuple[str, int], ...] = ()  # for the summary, and how often each
    missing: tuple[str, ...] = ()  # the first of what a list names and the source lacks; the tally counts all


@dataclass(frozen=True, slots=True)
class Sizes:
    batch_files: int = 512
    batch_bytes: int = 64 * MIB
    entries: int = 10_000  # decided in one segment
    seconds: float = 0.5  # that one segment stays open


@dataclass(slots=True)
class _Draft:
    opened: float
    last_key: str
    decided: int = 0
    moving: int = 0  # bytes of small and solo files
    tally: Tally = field(default_factory=Tally)
    small: list[Transfer] = field(default_factory=list)
    checks: list[Transfer] = field(default_factory=list)
    solos: list[Transfer] = field(default_factory=list)
    larges: list[Transfer] = field(default_factory=list)
    finishes: list[Entry] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    specials: list[tuple[str, str]] = field(default_factory=list)
    extras: int = 0
    only_there: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def seal(self) -> Segment:
        batches = [tuple(b) for b in (self.small, self.checks) if b] + [(solo,) for solo in self.solos]
        return Segment(
            self.last_key, self.tally, tuple(batches), tuple(self.larges), tuple(self.finishes), tuple(self.failures),
            tuple(self.specials), extras=self.extras, only_there=tuple(self.only_there), missing=tuple(self.missing),
        )  # fmt: skip


class Batcher:
    """Collects steps and closes a segment when a batch is full, a large file came, ``entries`` were decided, or
    ``seconds`` passed. Times are the caller's clock."""

    def __init__(self, sizes: Sizes, now: float, start_after: str = "") -> None:
        self._sizes = sizes
        self._draft = _Draft(now, start_after)

    def add(self, step: Step, now: float) -> list[Segment]:
        """Take one step; the segments that it closed (at most two)."""
        out: list[Segment] = []
        self._draft.finishes.extend(step.finishes)
        verdict = step.verdict
        if isinstance(verdict, Send) and verdict.way in (Way.SMALL, Way.SOLO):
            size = verdict.transfer.source.size
            if self._draft.moving and self._draft.moving + size > self._sizes.batch_bytes:
                out.append(self._close(now))
            self._draft.moving += size
        self._put(step)
        d = self._draft
        d.last_key, d.decided = step.key, d.decided + 1
        full = d.moving >= self._sizes.batch_bytes or max(len(d.small), len(d.checks)) >= self._sizes.batch_files
        if full or d.larges or d.decided >= self._sizes.entries:
            out.append(self._close(now))
        else:
            out.extend(self.tick(now))
        return out

    def tick(self, now: float) -> list[Segment]:
        """Close a segment that has something and was open long enough; call it while nothing comes, too."""
        d = self._draft
        if not d.decided and not d.finishes:
            d.opened = now
            return []
        return [self._close(now)] if now - d.opened >= self._sizes.seconds else []

    def close(self, finishes: Iterable[Entry], now: float) -> list[Segment]:
        """The last segment, with the folders that end with the plan; nothing where there is nothing left."""
        self._draft.finishes.extend(finishes)
        return [self._close(now)] if self._draft.decided or self._draft.finishes else []

    def _put(self, step: Step) -> None:
        d, verdict = self._draft, step.verdict
        if isinstance(verdict, Extra):
            d.extras += 1
            if verdict.listed:
                d.only_there.append(step.key)
        elif isinstance(verdict, Missing):
            d.tally.files["missing"] += verdict.what.count
            d.missing.extend(verdict.what.names)
        elif isinstance(verdict, Skip):
            if step.counted:
                d.tally.find("skipped", step.size, verdict.reason)
            if verdict.reason == "special":
                d.specials.append((step.key, verdict.note))
        elif isinstance(verdict, Fail):
            if step.counted:
                d.tally.find("failed", step.size)
            d.failures.append(Failure(step.key, verdict.failure, verdict.message, step.size if step.counted else -1))
        elif isinstance(verdict, Send):
            if step.counted:
                d.tally.find("pending", step.size)
            ways = {Way.SMALL: d.small, Way.CHECK: d.checks, Way.SOLO: d.solos, Way.LARGE: d.larges}
            ways[verdict.way].append(verdict.transfer)

    def _close(self, now: float) -> Segment:
        sealed = self._draft.seal()
        sealed.tally.assert_law()
        self._draft = _Draft(now, sealed.last_key)
        return sealed


def plan(
    items: Iterable[JoinItem | None], judge: Judge, sizes: Sizes, clock: Callable[[], float], start_after: str = ""
) -> Iterator[Segment | None]:
    """Join -> verdicts -> segments. None passes through where the join has nothing yet, after a segment that is old enough."""
    batcher = Batcher(sizes, clock(), start_after)
    for item in items:
        if item is None:
            yield from batcher.tick(clock())
            yield None
        else:
            yield from batcher.add(judge.judge(item), clock())
    yield from batcher.close(judge.close(), clock())


def planned(transfer: Transfer) -> tuple[int, int]:
    """(files, bytes) that ``transfer`` stands for in a tally: folders count nothing."""
    return (0, 0) if transfer.source.kind is Kind.DIR else (1, transfer.source.size)
