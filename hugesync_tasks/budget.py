"""A bound on the bytes in hand: what ``--memory`` leaves to a worker process after start-up."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1  # malloc.h
_MAPPED = 2 << 20  # bytes; above the chunks of a stream, which are reused, and below the bodies of parts


class Budget:
    """``hold(n)`` waits until ``n`` bytes fit. More than the whole is let in alone, so that nobody waits for ever."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = 0
        self._free = Condition()

    @contextmanager
    def hold(self, n: int) -> Iterator[None]:
        n = min(n, self.total)
        with self._free:
            self._free.wait_for(lambda: self._held + n <= self.total)
            self._held += n
        try:
            yield
        finally:
            with self._free:
                self._held -= n
                self._free.notify_all()


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
