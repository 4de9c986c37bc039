"""This process's part in the bandwidth of one job (``--bwlimit``; ``bucket`` has the arithmetic). Every byte that goes to a
store, comes from one, or is read to be written into another folder is paid for before it goes on.

While there is no limit a payment costs a look at the clock, and once a second a question whether there is one now. Under a
limit a process draws a twentieth of a second of its share at once, and its threads take slices of that in the order they came.
The ledger is reached through a callable. Where it fails this process keeps to its last share by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

from hugesync_tasks import bucket
from hugesync_tasks.bucket import Grant, Taken
from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.token import Token

Draw = Callable[[int, bool], Grant]  # (need, busy)

LOOK = 1.0  # seconds between two questions while there is no limit
ALONE = 5.0  # seconds until the ledger is tried again
STALE = 1.0  # seconds after which what was drawn and not used is void
SLICE = 0.05  # seconds of this process's share that go in one piece
LEAST = 4 << 10  # bytes of a slice, however low the rate
_STEP = 0.25  # seconds slept between two looks at the token

log = logging.getLogger(__name__)


class Bandwidth:
    """One job, in one process. Thread-safe. ``rate``: what is known before anybody was asked; with ``draw`` None all there is."""

    def __init__(
        self,
        draw: Draw | None,
        rate: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        name: str = "--bwlimit",
        unit: str = "bytes",
    ) -> None:
        """``name`` and ``unit`` are for the log; what is paid for may be requests as well."""
        self._name, self._unit = name, unit
        self._draw, self._clock, self._sleep = draw, clock, sleep
        self._lock = Lock()
        self._rate = rate  # of the whole job; 0 = no limit
        self._sharers = 1
        self._look = self._again = clock()  # when to ask while there is no limit; when to try the ledger again
        self._alone = Taken()  # what this process does by itself
        self._left, self._next, self._gap = (
            0,
            0.0,
            0.0,
        )  # of what was drawn and not used yet: bytes, when, seconds a byte
        self._drew = -STALE  # when the last draw was made

    def heard_from(self, draw: Draw) -> None:
        """The ledger is known now."""
        self._draw, self._look = draw, self._clock()

    @property
    def rate(self) -> float:
        """Of the whole job, as far as this process has heard; 0 = no limit."""
        return self._rate

    def slice(self, most: int) -> int:
        """How many bytes should go in one piece: ``most`` without a limit."""
        if not self._rate:
            if self._draw is None or self._clock() < self._look:
                return most
            with self._lock:
                self._ask(self._clock(), 0)
            if not self._rate:
                return most
        return min(most, max(LEAST, int(self._rate * SLICE / self._sharers)))

    def pay(self, n: int, token: Token) -> None:
        """Return when ``n`` bytes may go on. Keeps the task's lease while it waits; raises what the token raises, at most a
        quarter of a second after it is due."""
        if not self._rate and (self._draw is None or self._clock() < self._look):
            return
        while n > 0:
            piece = self.slice(n)
            with self._lock:
                now = self._clock()
                until = now + self._turn(now, piece)
            while (left := until - self._clock()) > 0:
                self._sleep(min(left, _STEP))
                token.alive()
            n -= piece

    def _turn(self, now: float, n: int) -> float:
        """Seconds until ``n`` bytes may go."""
        if not self._rate and now < self._look:
            return 0.0
        if self._left and now > self._next + self._left * self._gap + STALE:
            self._left = 0
        if self._left < n:
            short = n - self._left
            grant = self._ask(now, short)
            if not grant.n:
                self._left = 0
                return 0.0
            self._left, self._next = grant.n - short, now + grant.wait + short * self._gap
            return grant.wait
        wait = self._next - now
        self._left, self._next = self._left - n, self._next + n * self._gap
        return wait

    def _ask(self, now: float, need: int) -> Grant:
        busy = need > 0 and now - self._drew < STALE
        self._drew = now if need else self._drew
        if self._draw is not None and now >= self._again:
            try:
                grant = self._draw(need, busy)
            except HugeSyncError as error:
                self._again = now + ALONE
                log.info("the ledger is away, and %s is kept by this process alone: %s", self._name, error)
            else:
                if grant.rate is not None:  # else it has lost what it knew, until the coordinator writes it anew
                    self._hear(grant)
                    self._look = now + LOOK
                    return grant
        if not self._rate or not need:
            self._look = now + LOOK
            return Grant(self._rate)
        share = self._rate / self._sharers
        self._alone, grant = bucket.draw(self._alone, share, need, busy, 1, now)
        self._gap = 1 / share
        return grant

    def _hear(self, grant: Grant) -> None:
        rate = grant.rate or 0.0
        if rate != self._rate:
            log.info("%s is %s now", self._name, f"{rate:.12g} {self._unit}/s over all processes" if rate else "off")
        self._rate = rate
        if rate:
            self._sharers, self._gap = grant.sharers, 1 / rate
