"""How fast a job goes and when it may end, from what its snapshots say. Pure; the clock is the snapshots' own."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from hugesync_producer import human
from hugesync_tasks.summary import Snapshot

FILE_COST = 128 << 10  # bytes: what one more small file costs in time beside its bytes, as peers' figures show
WINDOW = 60.0  # seconds that are remembered
RECENT = 30.0  # seconds over which the recent rate of work is taken, for what is foretold
SETTLING = 3.0  # seconds before anything is foretold
LASTING = 5.0  # seconds for which one request to slow down counts
SLOWED = ("throttled", "held")  # traffic that tells of it: calls repeated, calls that waited their turn
WIDTH = 0.1  # a range is never narrower than this part of its middle, to either side


class Sample(NamedTuple):
    elapsed: float  # seconds
    work: float
    moved: int  # bytes
    settled: int  # files


class Pace:
    """Feed it each snapshot; it holds at most one sample per half second of the window."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()
        self._first: tuple[float, float] | None = None
        self._last: Snapshot | None = None

    def add(self, snapshot: Snapshot) -> None:
        sample = Sample(snapshot.elapsed, _work_done(snapshot), snapshot.moved_bytes, settled(snapshot.files))
        if self._first is None:
            self._first = sample[:2]
        if len(self._samples) > 1 and snapshot.elapsed - self._samples[-2][0] < 0.5:
            self._samples.pop()
        self._samples.append(sample)
        while len(self._samples) > 2 and snapshot.elapsed - self._samples[0][0] > WINDOW:
            self._samples.popleft()
        self._last = snapshot

    def bytes_per_second(self, seconds: float = 10.0) -> float:
        """Bytes moved per second over the last ``seconds``, at most ``WINDOW``; 0 before there are two samples."""
        a, b = self._since(seconds)
        return max(0.0, (b.moved - a.moved) / (b.elapsed - a.elapsed)) if b.elapsed > a.elapsed else 0.0

    def files_per_second(self, seconds: float = 10.0) -> float:
        """Files done, skipped or failed per second over the last ``seconds``; those that the listing alone settled count, too."""
        a, b = self._since(seconds)
        return max(0.0, (b.settled - a.settled) / (b.elapsed - a.elapsed)) if b.elapsed > a.elapsed else 0.0

    def whole(self) -> float:
        """Bytes moved per second since this run began, whoever watched it since when."""
        return self._last.moved_bytes / self._last.elapsed if self._last is not None and self._last.elapsed > 0 else 0.0

    def rates(self) -> dict[str, float]:
        """Bytes per second over 10 s, a minute, and the whole run."""
        return {"10s": self.bytes_per_second(), "60s": self.bytes_per_second(60.0), "all": self.whole()}

    def _since(self, seconds: float) -> tuple[Sample, Sample]:
        """The oldest sample of the last ``seconds`` and the newest; where there is but one older, that one."""
        if not self._samples:
            return (Sample(0.0, 0.0, 0, 0),) * 2
        newest = self._samples[-1]
        for n in range(len(self._samples) - 1, -1, -1):
            if newest.elapsed - self._samples[n].elapsed > seconds:
                inside = n + 1 if n + 1 < len(self._samples) - 1 else n
                return self._samples[inside], newest
        return self._samples[0], newest

    def eta(self) -> tuple[float, float | None] | None:
        """(soonest, latest) seconds to go. None: nothing can be said yet. ``latest`` None: the scan has not ended, so
        more may come. The ends come from the recent rate and from the rate since the start, the faster and the slower.
        """
        if self._last is None or self._first is None or self._last.elapsed - self._first[0] < SETTLING:
            return None
        if self._last.waiting_for:
            return None
        (t0, w0, *_), (t1, w1, *_) = self._since(RECENT)
        rates = [(w1 - w) / (t1 - t) for t, w in ((t0, w0), self._first) if t1 > t]
        rates = [r for r in rates if r > 0]
        if not rates:
            return None
        left = _work_left(self._last)
        soonest, latest = left / max(rates), left / min(rates)
        middle = (soonest + latest) / 2
        soonest, latest = min(soonest, middle * (1 - WIDTH)), max(latest, middle * (1 + WIDTH))
        return soonest, latest if self._last.scan_complete else None


class Slowdown:
    """Whether a store asked us to slow down within the last ``LASTING`` seconds, by a count of how often it did."""

    def __init__(self) -> None:
        self._count = 0
        self._rose: float | None = None

    def saw(self, count: int, now: float) -> bool:
        """Take the count as of ``now`` (seconds on any clock). A count that fell is a ledger's that lost its data."""
        if count > self._count:
            self._rose = now
        self._count = count
        return self._rose is not None and now - self._rose < LASTING


def slowed(traffic: Mapping[str, int]) -> list[str]:
    """What a summary says to a person of a store that asked us to slow down; nothing where none did."""
    again, held = (traffic.get(name, 0) for name in SLOWED)
    if not again and not held:
        return []
    repeated = f"{human.counted(again, 'request')} repeated because the store asked us to slow down"
    return [f"throttled: {repeated}, {human.count(held)} held back for a while"]


def settled(files: Mapping[str, int]) -> int:
    """Files that are done, skipped or failed."""
    return files.get("found", 0) - files.get("pending", 0)


def _moving(s: Snapshot) -> int:
    return sum(min(moved, size) for _, moved, size in s.in_flight)


def _work_done(s: Snapshot) -> float:
    return s.bytes.get("done", 0) + _moving(s) + FILE_COST * (s.files.get("done", 0))


def _work_left(s: Snapshot) -> float:
    return max(0, s.bytes.get("pending", 0) - _moving(s)) + FILE_COST * s.files.get("pending", 0)
