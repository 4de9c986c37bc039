"""This process's part in the rate that a whole fleet keeps towards one place of a store (``aimd``).

While nobody complained a request costs a look at the clock, and a process that makes requests tells the others once a second
how many. Under a limit it takes the requests of a fifth of a second at once. The others are reached through a callable that
whoever opens the stores hands in: stores know no ledger. Where it fails, this process keeps its last share by itself.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from threading import Lock
from weakref import WeakValueDictionary

from hugesync_tasks import aimd, bucket
from hugesync_tasks.aimd import Grant, Limit, Report
from hugesync_tasks.bandwidth import Bandwidth
from hugesync_tasks.caps import endpoint_of
from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.token import Pace, Token

Exchange = Callable[[str, str, Report], Grant]  # (place, sharer, report)
DrawAt = Callable[[str, str, str, int, bool, str], bucket.Grant]  # (endpoint, place, sharer, need, busy, of)

ALONE = 5.0  # seconds until the others are tried again
STALE = 1.0  # seconds after which what was taken and not used is void
SAID = 1.25  # a rate is said again when it changed by this factor
_SLICE = 0.25  # seconds slept between two looks at the token

log = logging.getLogger(__name__)


class SharedRate:
    """One place: an endpoint, and what in it shares one rate. Thread-safe."""

    def __init__(
        self,
        place: str,
        sharer: str,
        exchange: Callable[[], Exchange | None],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.place = place
        self._sharer, self._exchange, self._clock, self._sleep = sharer, exchange, clock, sleep
        self._lock = Lock()
        self._used = 0  # since the last report
        self._told = self._look = (
            clock()
        )  # when the last report was made; when the next is due, while there is no limit
        self._again = 0.0  # when the others are tried again
        self._sharers = 1
        self._is_alone = True
        self._alone = aimd.Rate(self._told)  # what this process does by itself
        self._limit: Limit | None = None  # the fleet's
        self._left, self._next, self._gap, self._void = 0, 0.0, 0.0, 0.0  # of what was taken and not used yet
        self._said = 0.0

    def take(self, token: Token) -> float:
        """Return when one request may go: the instant it goes, for ``complained``. Keeps the task's lease while it waits;
        raises what the token raises, at most a quarter of a second after it is due."""
        held = False
        while True:
            with self._lock:
                now = self._clock()
                wait, granted = self._turn(now)
                self._used += granted
            if wait > 0 and not held:
                held = True
                token.meter.add("held")
            until = now + wait
            while (left := until - self._clock()) > 0:
                self._sleep(min(left, _SLICE))
                token.alive()
            if granted:
                return self._clock() if held else now

    def complained(self, began: float) -> None:
        """The store refused a request that began at ``began`` because there were too many."""
        with self._lock:
            self._report(self._clock(), age=self._clock() - began)

    def look(self) -> bool:
        """Hear how things stand and say what changed (with ``-v``); whether there is a limit."""
        with self._lock:
            return self._report(self._clock()).limit is not None

    def _turn(self, now: float) -> tuple[float, bool]:
        """Seconds to wait, and whether the request may go then."""
        if self._limit is None:
            if now < self._look:
                return 0.0, True
            self._report(now)
            if self._limit is None:
                return 0.0, True
        if not self._left or now >= self._void:
            grant = self._report(now, need=True)
            if grant.limit is None:
                return 0.0, True
            if not grant.tokens:
                return max(0.01, grant.wait), False
            self._left, self._next = grant.tokens, now + grant.wait
            self._gap = (self._sharers if self._is_alone else 1) / grant.limit.rate
            self._void = self._next + grant.tokens * self._gap + STALE
        at = max(now, self._next)
        self._left, self._next = self._left - 1, at + self._gap
        return at - now, True

    def _report(self, now: float, need: bool = False, age: float | None = None) -> Grant:
        report = Report(self._used, max(0.0, now - self._told), need, age, self._believed(now))
        grant = self._asked(report, now)
        self._used, self._told, self._look = 0, now, now + aimd.WINDOW
        self._limit = grant.limit
        if grant.limit is None:
            self._left = 0
        self._say()
        return grant

    def _believed(self, now: float) -> Limit | None:
        if self._limit is None:
            return None
        left = self._limit.left - (now - self._told)
        return replace(self._limit, left=left) if left > 0 else None

    def _asked(self, report: Report, now: float) -> Grant:
        exchange = self._exchange()
        if exchange is not None and now >= self._again:
            try:
                grant = exchange(self.place, self._sharer, report)
            except HugeSyncError as error:
                self._again = now + ALONE
                if not self._is_alone:
                    log.info("the rate of %s is kept by this process alone: %s", self.place, error)
            else:
                self._sharers, self._is_alone = grant.sharers, False
                self._alone = aimd.limited(grant.share, now)
                return grant
        self._is_alone = True
        self._alone, grant = aimd.exchange(self._alone, replace(report, believed=None), 1, now)
        return replace(grant, limit=_times(grant.limit, self._sharers))

    def _say(self) -> None:
        rate = self._limit.rate if self._limit is not None else 0.0
        if rate == self._said or (rate and self._said and self._said / SAID < rate < self._said * SAID):
            return
        if rate:
            log.info("throttled by %s: at most %.1f requests/s, all processes together", self.place, rate)
        else:
            log.info("no longer throttled by %s", self.place)
        self._said = rate


def _place(endpoint: str, container: str, prefix: str) -> str:
    return f"{endpoint}/{container}/{prefix.partition('/')[0]}"


def _times(limit: Limit | None, n: int) -> Limit | None:
    return None if limit is None else replace(limit, rate=limit.rate * n, knee=limit.knee * n)


class SharedRates:
    """Those of one process, which tells of itself under one name. ``exchange`` None, which may change later: nobody else is
    known. A place that no open store uses is forgotten. Made in the process that uses it, never before a fork."""

    def __init__(
        self,
        exchange: Exchange | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        draw_at: DrawAt | None = None,
    ) -> None:
        self.exchange = exchange
        self.draw_at = draw_at  # of what an operator allows all jobs at an endpoint
        self.requests: Pace | None = None  # of the one job whose stores these are (``--tpslimit``)
        self._sharer = secrets.token_hex(8)
        self._clock, self._sleep = clock, sleep
        self._lock = Lock()
        self._rates: WeakValueDictionary[str, SharedRate] = WeakValueDictionary()
        self._paces: WeakValueDictionary[tuple[str, str], Bandwidth] = WeakValueDictionary()

    def of_job(self, requests: Pace) -> SharedRates:
        """The same for the stores of one job, whose requests wait for ``requests`` as well."""
        made = copy(self)
        made.requests = requests
        return made

    def bytes_toward(self, endpoint: str) -> Bandwidth:
        """This process's part in what all jobs together may send to and take from an endpoint."""
        return self._pace(endpoint, "", "bwlimit", "bytes")

    def requests_toward(self, endpoint: str, container: str, prefix: str) -> Bandwidth:
        """The same of requests, to everything below the first segment of ``prefix``."""
        return self._pace(endpoint, _place(endpoint, container, prefix), "tpslimit", "requests")

    def _pace(self, endpoint: str, place: str, of: str, unit: str) -> Bandwidth:
        try:
            endpoint = endpoint_of(endpoint)
        except ValueError:  # a store of a test
            pass

        def draw(need: int, busy: bool) -> bucket.Grant:
            draw_at = self.draw_at
            return bucket.Grant(0.0) if draw_at is None else draw_at(endpoint, place, self._sharer, need, busy, of)

        with self._lock:
            pace = self._paces.get((of, place or endpoint))
            if pace is None:
                pace = Bandwidth(draw, clock=self._clock, sleep=self._sleep, name=f"--{of} at {endpoint}", unit=unit)
                self._paces[of, place or endpoint] = pace
            return pace

    def of(self, endpoint: str, container: str, prefix: str) -> SharedRate:
        """The rate towards everything below the first segment of ``prefix``: where stores count requests, they do so by
        what keys begin with."""
        place = _place(endpoint, container, prefix)
        with self._lock:
            rate = self._rates.get(place)
            if rate is None:
                rate = SharedRate(place, self._sharer, lambda: self.exchange, self._clock, self._sleep)
                self._rates[place] = rate
            return rate

    def look(self) -> bool:
        """``SharedRate.look`` at each place in use; whether any is limited."""
        with self._lock:
            rates = list(self._rates.values())
        return sum(rate.look() for rate in rates) > 0  # each of them looks
