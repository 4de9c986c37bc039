"""Both listings for a while: how fast they come, and the sizes of what a job would send."""

from __future__ import annotations

import bisect
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field

from hugesync_producer.aside import threads
from hugesync_producer.filters import Filter
from hugesync_producer.preflight.values import EDGES, Histogram, Listing, histogram
from hugesync_tasks.errors import NeedsPerson, NotFound, Stopped, StoreError
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.stores.base import Store
from hugesync_tasks.token import Token

KEPT = 32  # files to be read, of each sort
_GRACE = 3.0  # seconds that a listing may end late: a request in hand is not broken off


@dataclass
class Survey:
    """One listing as far as it came. ``some`` is a fair sample of the files that have bytes, ``largest`` the largest ones."""

    listing: Listing = field(default_factory=lambda: Listing(0, 0.0, False))
    files: int = 0
    bytes: int = 0
    some: list[Entry] = field(default_factory=list)
    largest: list[Entry] = field(default_factory=list)
    counted: list[list[int]] = field(default_factory=lambda: [[0, 0] for _ in range(len(EDGES) + 1)])
    denied: bool = False  # the root itself

    @property
    def sizes(self) -> Histogram:
        largest = max((e.size for e in self.largest), default=0)
        return histogram([(i, n, b) for i, (n, b) in enumerate(self.counted)], self.listing.complete, largest)

    def count(self, entry: Entry, chance: random.Random) -> None:
        self.files += 1
        self.bytes += entry.size
        bucket = self.counted[bisect.bisect_left(EDGES, entry.size)]
        bucket[0] += 1
        bucket[1] += entry.size
        if entry.kind is not Kind.FILE or not entry.size:
            return
        if len(self.some) < KEPT:
            self.some.append(entry)
        elif (at := chance.randrange(self.files)) < KEPT:
            self.some[at] = entry
        if len(self.largest) < KEPT or entry.size > self.largest[-1].size:
            bisect.insort(self.largest, entry, key=lambda e: -e.size)
            del self.largest[KEPT:]


def survey(
    source: Store, dest: Store, select: Filter, seconds: float, only: Entry | None = None
) -> tuple[Survey, Survey]:
    """Source and destination, listed at once. ``only``: SOURCE is that one file; then the destination is not listed either.
    Whatever goes wrong is in the result."""
    here, there = Survey(), Survey()
    if only is not None:
        here.count(only, random.Random(0))
        here.listing = there.listing = Listing(1, 0.0, True)
        return here, there
    with threads(2, "survey") as pool:
        until = time.monotonic() + seconds
        tokens = Token(deadline=until), Token(deadline=until)
        running = [
            pool.submit(_look, here, lambda: source.list(tokens[0], "", select.enter), select.selects, until),
            pool.submit(_look, there, lambda: dest.list(tokens[1]), lambda _: True, until),
        ]
        for future, found in zip(running, (here, there), strict=True):
            try:
                future.result(max(0.0, until - time.monotonic()) + _GRACE)
            except Late:
                found.listing = Listing(found.listing.entries, seconds, False, why="nothing came in that time")
        if not all(f.done() for f in running):
            pool.shutdown(wait=False, cancel_futures=True)
    return here, there


def _look(into: Survey, begin: Callable[[], Iterator[Entry]], takes: Callable[[Entry], bool], until: float) -> None:
    began, entries, errors, complete, why = time.monotonic(), 0, 0, False, ""
    chance = random.Random(0)  # the same sample each time
    try:
        complete = True
        for entry in begin():
            entries += 1
            errors += entry.kind is Kind.ERROR
            if entry.kind in (Kind.FILE, Kind.LINK) and takes(entry):
                into.count(entry, chance)
            if entries % 64 == 0 and time.monotonic() > until:
                complete = False
                break
    except NotFound:
        pass  # a destination that is not there yet is an empty one
    except Stopped:
        complete = False
    except StoreError as error:
        complete, why, into.denied = False, error.message, isinstance(error, NeedsPerson)
    into.listing = Listing(entries, time.monotonic() - began, complete, errors, why)
