"""A process's buffers: what it may hold, out of its own bound and of the worker's budget, and memory that is lent again.

Large memory is worth keeping: fresh pages are mapped and zeroed one by one [measured: docs/buffers.md]. What is kept
counts as taken; whoever waits for it, in whichever process, gets it back within milliseconds.
"""

from __future__ import annotations

import logging
import mmap
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Thread

from hugesync_tasks.budget import LEAST, OF_PROCESS, OF_WORKER
from hugesync_tasks.buffers import statistics
from hugesync_tasks.buffers.classes import Sizes
from hugesync_tasks.buffers.lease import Lease, Misused, is_shared
from hugesync_tasks.buffers.row import Row
from hugesync_tasks.buffers.share import Share
from hugesync_tasks.buffers.table import Table
from hugesync_tasks.token import Token

WAIT = 600.0  # seconds for a lease; then the task fails as one that may be tried again
IDLE = 10.0  # seconds after which memory that is kept is given up, where others might want it

log = logging.getLogger("hugesync_tasks.buffers")


class Pool:
    """``bound``: the bytes that this process may hold (``--memory``), and one lease of more, up to ``whole``, alone; ``table``: the worker's. ``watch``: others share the table,
    so what lies idle here is given back when they wait, and after a while anyhow, by a thread."""

    def __init__(self, bound: int, table: Table, sizes: Sizes, watch: bool = False, whole: int = 0) -> None:
        """Raises OSError where the table has no row left."""
        self.sizes, self.table, self._alone = sizes, table, whole
        self._share = Share(Row(table), bound, self._reclaim, whole)
        self._lock = self._share.lock
        self._row = self._share.row
        self._kept: dict[int, list[mmap.mmap]] = {}  # by class
        self._open: dict[int, tuple[str, int, float]] = {}  # by id: what, bytes, since
        self._small = max((size for size in sizes.classes() if size < sizes.reuse_from), default=0)  # never kept
        self._busy = time.monotonic()
        self._closed = False
        if watch:
            Thread(target=self._watch, name="buffers", daemon=True).start()

    @property
    def total(self) -> int:
        """The most that a lease may ever get: of this process's bound and the worker's budget the lower."""
        return min(max(self._share.bound, self._alone), self.table.capacity)

    @property
    def limit(self) -> str:
        return OF_PROCESS if self._share.bound <= self.table.capacity else OF_WORKER

    def hold(
        self, n: int, token: Token | None = None, memory: bool = False
    ) -> AbstractContextManager[memoryview | None]:
        """``n`` bytes for a while; with ``memory`` a view of so many, where it is worth while (from ``reuse_from`` up). As ``lease``."""
        if memory and n > self._small and self._keeps(self._class(n)) and self._class(n) <= self.total:
            return self._hold_memory(n, token)
        return _Held(self._share, n, token)

    @contextmanager
    def _hold_memory(self, n: int, token: Token | None) -> Iterator[memoryview | None]:
        with self.lease(n, token, what="held") as lease:
            yield lease.view

    def lease(
        self,
        n: int | None = None,
        token: Token | None = None,
        timeout: float = WAIT,
        memory: bool = True,
        what: str = "a lease",
    ) -> Lease:
        """Wait until ``n`` bytes (by default ``size``) are free: first come, first served, over all processes. Memory comes in
        classes; above the greatest it is exactly ``n``, and not kept.

        ``token`` keeps its task alive meanwhile, and ends the wait. Raises TooLarge at once where they never will fit,
        Transient after ``timeout`` seconds, ValueError below 0, and what ``token`` raises.
        """
        n = self.sizes.size if n is None else n
        if n < 0:
            raise ValueError(f"a lease of {n} bytes")
        if self._closed:
            raise Misused(f"{what}: the pool is closed")
        room = self._class(n) if memory else n
        if n <= self.total < room:
            room = n  # the whole is no class
        charged, found = self._memory(room, token, timeout) if memory else (self._share.take(n, token, timeout), None)
        lease = _Owned(n, charged, found, self._returned, what)
        with self._lock:
            self._open[id(lease)] = (what, charged, lease.since)
        return lease

    def stats(self) -> dict[str, float]:
        """The figures of the whole worker, with all that this process has counted."""
        self._share.show()
        return statistics.of(self.table)

    def reserve(self, n: int) -> None:
        """``n`` bytes are this process's own from now on, or as many of them as leave a part's room to all."""
        self._share.reserve(n, LEAST)

    def close(self) -> None:
        """Give everything back; leases that were not returned are listed in the log, and freed."""
        with self._lock:
            self._closed = True
            lost, now = list(self._open.values()), time.monotonic()
            self._open.clear()
            self._share.count(statistics.UNRETURNED, len(lost))
        for what, n, since in lost:
            log.warning("buffers: %s of %d bytes was not returned, after %.0f s; it is freed", what, n, now - since)
        self._reclaim(self._share.kept)
        self._share.end()

    # --- memory --------------------------------------------------------------------------------------

    def _class(self, n: int) -> int:
        return (self.sizes.class_of(n) or n) if n else 0

    def _keeps(self, charged: int) -> bool:
        return self.sizes.reuse_from <= charged <= self.sizes.most

    def _memory(self, room: int, token: Token | None, timeout: float) -> tuple[int, mmap.mmap | None]:
        """What it counts as, and memory of ``room`` bytes, none of 0."""
        with self._lock:
            if self._kept.get(room):
                self._share.count(statistics.GETS)
                self._share.count(statistics.HITS)
                self._count_kept(-room)
                return room, self._kept[room].pop()
        charged = self._share.take(room, token, timeout)
        if not room:
            return 0, None
        self._share.count(statistics.MISSES)
        try:
            return charged, mmap.mmap(-1, room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except BaseException:
            self._share.give(charged)
            raise

    def _returned(self, lease: Lease) -> None:
        """By ``Lease.close``, whose view has ended."""
        with self._lock:
            if self._open.pop(id(lease), None) is None:
                return  # closed with the pool, which freed it
        memory, lease.memory = lease.memory, None
        if memory is None:
            self._share.give(lease.charged)
            return
        if (
            self._keeps(lease.charged)
            and lease.charged == len(memory)
            and not self._row.others_wait
            and not is_shared(memory)
        ):
            with self._lock:
                self._kept.setdefault(lease.charged, []).append(memory)
                self._count_kept(lease.charged)
                self._share.count(statistics.PUTS)
            return
        _unmap(memory)
        self._share.give(lease.charged)

    def _reclaim(self, n: int) -> None:
        """Free about ``n`` bytes of what is kept, the largest first."""
        while n > 0:
            with self._lock:
                largest = max((size for size, kept in self._kept.items() if kept), default=0)
                if not largest:
                    return
                memory = self._kept[largest].pop()
                self._count_kept(-largest)
            _unmap(memory)
            self._share.give(largest, put=False)
            n -= largest

    def _count_kept(self, n: int) -> None:
        self._share.keep(n)
        self._busy = time.monotonic()

    def _watch(self) -> None:
        while not self._closed:
            rung = self._row.bell.rung
            self._share.show()
            idle = time.monotonic() - self._busy > IDLE
            if self._row.others_wait or idle:
                self._reclaim(self._share.kept)
                self._share.settle()
            self._row.bell.wait(rung, IDLE if not self._share.kept else 1.0)


class _Held:
    """Bytes without memory: on the way of every small file, so there is no generator and no list of it."""

    __slots__ = ("_n", "_share", "_token")

    def __init__(self, share: Share, n: int, token: Token | None) -> None:
        self._share, self._n, self._token = share, n, token

    def __enter__(self) -> None:
        if self._n:
            self._n = self._share.take(self._n, self._token, WAIT)

    def __exit__(self, *exc: object) -> None:
        if self._n:
            self._share.give(self._n)


class _Owned(Lease):
    """One that is dropped without a word is returned by the interpreter."""

    def __del__(self) -> None:
        if getattr(self, "open", False):
            log.warning("buffers: %s of %d bytes was never returned; it is now", self.what, self.n)
            self.close()


def _unmap(memory: mmap.mmap) -> None:
    try:
        memory.close()
    except BufferError:  # somebody still has a view, in an exception perhaps: it goes with that
        pass
