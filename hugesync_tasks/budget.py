"""A bound on the bytes in hand: what ``--memory`` leaves to a worker process after start-up."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

HEADROOM = 0.6  # of what --memory leaves: copies inside the HTTP client and the interpreter's own slack take the rest
LEAST = 32 << 20  # bytes in hand, whatever --memory says: one part must fit
_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1  # malloc.h
_MAPPED = 2 << 20  # bytes; above the chunks of a stream, which are reused, and below the bodies of parts


def in_hand(memory: int, resident: int) -> int:
    """The bytes that a process of ``resident`` bytes may hold under ``--memory``."""
    return max(LEAST, int((memory - resident) * HEADROOM))


class Budget:
    """``hold(n)`` waits until ``n`` bytes fit. More than the whole is let in alone, so that nobody waits for ever."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = 0
        self._free = Condition()

    @contextmanager
    def hold(self, n: int) -> Iterator[None]:
        with self._free:
            self._free.wait_for(lambda: self._held + min(n, self.total) <= self.total)
            n = min(n, self.total)
            self._held += n
        try:
            yield
        finally:
            with self._free:
                self._held -= n
                self._free.notify_all()

    def reserve(self, n: int) -> None:
        """``n`` bytes are the process' own from now on."""
        with self._free:
            self.total = max(LEAST, self.total - n)


def return_freed_memory() -> None:
    """Make the C library give large freed blocks back to the system, in the process that calls it (glibc; elsewhere nothing).

    As it comes, glibc learns from each large block that is freed to keep the next ones, in an arena for every thread:
    sixteen threads that each handled a file of 8 MiB once then hold far more than is in use.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none, and gives back by itself
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED)
        mallopt(_M_TRIM_THRESHOLD, _MAPPED)
