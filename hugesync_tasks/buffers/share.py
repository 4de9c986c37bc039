"""A process's part of the worker's budget: what its threads use of what it has taken, and who of them waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, RLock

from hugesync_tasks.buffers import statistics
from hugesync_tasks.buffers.row import Row
from hugesync_tasks.buffers.table import NAMES
from hugesync_tasks.errors import TooLarge, Transient
from hugesync_tasks.token import Token

SHOWN_EVERY = 32  # leases
LOOK = 0.05  # seconds between two looks of who waits: rings may be lost, and processes die
BESIDE = 1.0  # seconds between two looks of who waits behind another thread: only its turn wakes it
QUANTUM = 1 << 20  # bytes: small amounts are taken together, and so many are kept between two of them


@dataclass(eq=False, slots=True)
class _Waiter:
    n: int
    ticket: int  # of CLOCK_MONOTONIC, which is one for all processes of a host


class Share:
    """``bound``: the bytes that this process may hold, whatever the worker has; what is more, up to ``whole``, goes alone. ``reclaim(n)`` frees what is kept for later, about
    ``n`` bytes or all there is, through ``give``; without a lock of ours held."""

    def __init__(self, row: Row, bound: int, reclaim: Callable[[int], object], whole: int = 0) -> None:
        self.row, self.bound, self._reclaim = row, bound, reclaim
        self._whole = max(bound, whole)
        self.lock = RLock()  # guards what follows; taken by itself, a condition's way in is as long as all the rest
        self.changed = Condition(self.lock)
        self.used = 0  # bytes of leases, and of memory that is kept
        self.kept = 0  # bytes of that memory
        self._taken = 0  # of the worker's budget
        self._queue: deque[_Waiter] = deque()
        self._ended = False
        self._counts = [0] * len(
            NAMES
        )  # that the table does not show yet: for a small file it would be as far as all the rest

    def take(self, n: int, token: Token | None, timeout: float) -> int:
        """Wait until ``n`` bytes fit; what they count as, to be given back: all of them, or where less is left than that, what is
        left, and alone. ``token`` keeps its task alive meanwhile, and ends the wait.

        Raises TooLarge where they never will, Transient after ``timeout`` seconds, and what ``token`` raises.
        """
        with self.lock:
            self._counts[statistics.GETS] += 1
            if not n:
                return 0
            if not self._queue and self._taken - self.used >= n:
                self.used += n
                return n
            waiter = _Waiter(self._counted(n), time.monotonic_ns())
            self._queue.append(waiter)
        try:
            began = time.monotonic()
            if not self._turn(waiter):
                self._wait(waiter, token, timeout)
                with self.lock:
                    self.count(statistics.WAITS)
                    self.row.waited(statistics.bucket_of(time.monotonic() - began))
        except BaseException:
            self._leave(waiter)
            raise
        return waiter.n

    def reserve(self, n: int, least: int) -> None:
        """``n`` bytes are used for as long as the process lives, or as many of them as leave ``least``."""
        with self.lock:
            self.bound = min(self.bound, max(least, self.bound - n))
        self.row.stand(n, least)

    def _counted(self, n: int) -> int:
        """As what ``n`` bytes count. Raises TooLarge. With ``lock`` held."""
        if n <= self._whole and n <= self.row.total:
            return max(1, min(n, self.bound, self.row.capacity))
        self.count(statistics.REFUSED)
        if n > self._whole:
            raise TooLarge(f"{n} bytes are more than the {self._whole} that --memory leaves to a process")
        raise TooLarge(f"{n} bytes are more than the {self.row.total} of the worker's --buffer-budget")

    def _wait(self, waiter: _Waiter, token: Token | None, timeout: float) -> None:
        until = time.monotonic() + timeout
        while True:
            rung = self.row.bell.rung
            if self._turn(waiter):
                return
            if token is not None:
                token.alive()
            left = until - time.monotonic()
            if left <= 0:
                with self.lock:
                    self.count(statistics.TIMEOUTS)
                raise Transient(f"no {waiter.n} bytes of memory were free for {timeout:.0f} s")
            with self.lock:
                first = self._queue[0] is waiter
                if not first:
                    self.changed.wait(min(left, BESIDE))
            if first:
                self.row.bell.wait(rung, min(left, LOOK))

    def _turn(self, waiter: _Waiter) -> bool:
        """Let ``waiter`` have its bytes, if it is the first here and may."""
        with self.lock:
            if self._queue[0] is not waiter:
                return False
            if self._have(waiter):
                return True
            waiter.n = self._counted(waiter.n)  # both may have become less
            short = waiter.n - (self._taken - self.used)
        if self.kept:
            self._reclaim(short)
        with self.lock:
            if self._have(waiter):
                return True
            room = self.bound - self.used - waiter.n
            short = waiter.n - (self._taken - self.used)
            following = self._next(1)
        if room < 0:
            self.row.wait_as(0, 0)  # what is awaited is of this process; others need not wait for that
            return False
        more = min(QUANTUM, room) if waiter.n < QUANTUM else 0
        got = self.row.take(short, more, waiter.ticket, following)
        with self.lock:
            self._taken += got
            if not got or not self._have(waiter):
                return False
        return True

    def _have(self, waiter: _Waiter) -> bool:
        """From what is taken already."""
        if self._taken - self.used < waiter.n:
            return False
        self.used += waiter.n
        self._say()
        self._queue.popleft()
        self.changed.notify_all()
        self.row.wait_as(*self._next(0))
        return True

    def _next(self, at: int) -> tuple[int, int]:
        """Ticket and bytes of the waiter at that place of the queue; zeros where none is."""
        return (self._queue[at].ticket, self._queue[at].n) if len(self._queue) > at else (0, 0)

    def _leave(self, waiter: _Waiter) -> None:
        with self.lock:
            if waiter not in self._queue:
                return
            first = self._queue[0] is waiter
            self._queue.remove(waiter)
            self.changed.notify_all()
        if first:
            self.row.wait_as(0, 0)
        self.settle()

    def give(self, n: int, put: bool = True) -> None:
        """``n`` bytes are used no longer. ``put``: it was a lease that had them."""
        with self.lock:
            if self._ended:
                return
            self.used -= n
            if put:
                self._counts[statistics.PUTS] += 1
            idle = self._taken - self.used
            if not self._queue and idle <= QUANTUM and not self.row.anybody_waits:
                if self._counts[statistics.PUTS] > SHOWN_EVERY:
                    self.show()
                return
            others = self.row.others_wait
            keep = 0 if others else self._taken if self._queue else QUANTUM
            extra = max(0, self._taken - self.used - keep)
            self._taken -= extra
            self.show()
            waited = bool(self._queue)
        if extra:
            self.row.give(extra)
        if waited:
            self.row.bell.ring()

    def count(self, name: int, n: int = 1) -> None:
        """One of the table's counters."""
        with self.lock:
            self._counts[name] += n
            self.show()

    def show(self) -> None:
        """Put into the table what was counted, and what can be had again."""
        with self.lock:
            if not self._ended:
                self.row.count(self._counts)
                self._counts = [0] * len(NAMES)
                self._say()

    def keep(self, n: int) -> None:
        """``n`` bytes more (or less) of what is used are memory that is kept. With ``lock`` held."""
        self.kept += n
        self._say()

    def _say(self) -> None:
        """To all: how much of what is taken can be had again."""
        self.row.spare(self.kept + self._taken - self.used)

    def settle(self) -> None:
        """Give back all that nobody uses, and say what is kept."""
        with self.lock:
            extra = 0 if self._queue and not self.row.others_wait else self._taken - self.used
            self._taken -= extra
            self.show()
        if extra:
            self.row.give(extra)

    def end(self) -> None:
        """Give everything back, used or not; what is given later is forgotten."""
        with self.lock:
            self.show()
            self._ended, self._taken, self.used, self.kept = True, 0, 0, 0
            self.row.leave()
