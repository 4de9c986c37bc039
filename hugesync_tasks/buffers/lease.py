"""Bytes on loan: counted, and where they were asked for with memory a view of it, which ends when they are returned."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType


class Misused(Exception):
    """A mistake of the program: a lease returned twice, or used after it was returned."""


class Lease:
    """Made by ``Pool.lease``; returned once, by ``close`` or as a context manager. ``n``: the bytes that were asked for;
    ``charged``: what they count as, which with memory is its class. ``what``: for whom, in a list of those not returned."""

    def __init__(
        self, n: int, charged: int, memory: mmap.mmap | None, returned: Callable[[Lease], None], what: str
    ) -> None:
        self.n, self.charged, self.what = n, charged, what
        self.since = time.monotonic()
        self.memory = memory
        self._view = None if memory is None else memoryview(memory)[:n]
        self._returned = returned
        self.open = True

    @property
    def view(self) -> memoryview:
        """The memory, of exactly ``n`` bytes with anything in them. Raises Misused after the return, and where none was asked for."""
        if self._view is None:
            raise Misused(
                f"{self.what}: used after its return" if not self.open else f"{self.what}: leased without memory"
            )
        return self._view

    def close(self) -> None:
        """Return it. The view ends: whoever kept it gets a ValueError of its. Raises Misused at the second time."""
        if not self.open:
            raise Misused(f"{self.what}: returned twice")
        self.open = False
        if self._view is not None:
            with suppress(BufferError):  # something still reads from it: then the memory is not lent again
                self._view.release()
            self._view = None
        self._returned(self)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def is_shared(memory: mmap.mmap) -> bool:
    """Whether somebody still has a view of it, made from the lease's own: it must not be lent again."""
    try:
        memory.resize(len(memory))  # changes nothing, and is refused while a view is alive
    except BufferError:
        return True
    except (SystemError, OSError):  # a system without mremap looks for views first
        return False
    return False
