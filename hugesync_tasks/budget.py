"""A bound on the bytes in hand: what ``--memory`` leaves to a worker process after start-up."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Condition
from typing import Protocol

from hugesync_tasks.errors import TooLarge
from hugesync_tasks.token import Token

HEADROOM = 0.6  # of what --memory leaves: copies inside the HTTP client and the interpreter's own slack take the rest
LEAST = 32 << 20  # bytes that may be held at once, whatever --memory says: one part must fit, if need be alone
# Bytes: what the stores' libraries (14 MiB) and the connections of sixteen threads (7) take after start-up [measured, S3].
LATER = 20 << 20
TOGETHER = 8 << 20  # bytes that are always held side by side
OF_PROCESS, OF_WORKER = "--memory", "--buffer-budget"  # what bounds the bytes in hand
ALIVE_EVERY = 1.0  # seconds
_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1  # malloc.h
_MAPPED = 2 << 20  # bytes; above the chunks of a stream, which are reused, and below the bodies of parts


def in_hand(memory: int, resident: int) -> int:
    """The bytes that a process of ``resident`` bytes may hold under ``--memory``; what is more than that, up to ``LEAST``, goes
    alone."""
    return max(TOGETHER, int((memory - resident - LATER) * HEADROOM))


def memory_for(in_hand: int, resident: int) -> int:
    """The inverse: the ``--memory`` under which a process of ``resident`` bytes may hold ``in_hand``."""
    return resident + LATER + int(in_hand / HEADROOM)


class Holds(Protocol):
    """What bounds the bytes in hand: a ``Budget``, or the pool of ``buffers``."""

    @property
    def total(self) -> int:
        """The most that one lease may be."""
        ...

    @property
    def limit(self) -> str:
        """The option that keeps ``total`` from being more."""
        ...

    def hold(
        self, n: int, token: Token | None = None, memory: bool = False
    ) -> AbstractContextManager[memoryview | None]:
        """Wait until ``n`` bytes fit, and hold them. ``token`` keeps the task alive meanwhile. Where ``memory`` is asked for and
        lent, a view of exactly ``n`` bytes, until the end; None: whoever asked allocates by itself. Raises TooLarge where they
        never will fit."""
        ...

    def reserve(self, n: int) -> None:
        """``n`` bytes are the process's own from now on."""
        ...


class Budget:
    """A process's own bound, without a pool. What is more, up to ``whole`` (by default ``total``), or fitted before something was
    reserved, is let in alone, so that nobody waits for ever."""

    def __init__(self, total: int, limit: str = OF_PROCESS, whole: int = 0) -> None:
        self._bound, self._alone, self.limit = total, whole, limit
        self._whole = max(total, whole)
        self._held = 0
        self._free = Condition()

    @property
    def total(self) -> int:
        """As ``Holds``."""
        return max(self._bound, self._alone)

    @contextmanager
    def hold(self, n: int, token: Token | None = None, memory: bool = False) -> Iterator[memoryview | None]:
        """As ``Holds``; no memory is lent."""
        if n > self._whole:
            raise TooLarge(f"{n} bytes are more than the {self._whole} that {self.limit} leaves to a process")
        with self._free:
            while self._held + min(n, self._bound) > self._bound:
                self._free.wait(ALIVE_EVERY)
                if token is not None:
                    token.alive()
            n = min(n, self._bound)
            self._held += n
        try:
            yield None
        finally:
            with self._free:
                self._held -= n
                self._free.notify_all()

    def reserve(self, n: int) -> None:
        """``n`` bytes are the process' own from now on."""
        with self._free:
            self._bound = min(self._bound, max(LEAST, self._bound - n))


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
