"""The budget that the children of one worker share: made once before they are forked, found by each of them."""

from __future__ import annotations

import logging
import time

from hugesync_tasks.budget import LEAST, OF_WORKER, Budget, Holds
from hugesync_tasks.buffers import copying, statistics
from hugesync_tasks.buffers.classes import Sizes
from hugesync_tasks.buffers.pool import Pool
from hugesync_tasks.buffers.sizing import budget_of, memory_limit
from hugesync_tasks.buffers.table import Table
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import Transient

log = logging.getLogger("hugesync_tasks.buffers")

_table: Table | None = None  # of this worker; a fork has its parent's
_pool: Pool | None = None  # of this process
_slots = 1
_told, _said = 0.0, ""


def share(settings: Settings, slots: int, budget: int = 0) -> int:
    """In the process that forks, before it does, once: make the budget of ``slots`` children (``budget``: as it was planned). Its bytes, also where it could not be
    made: then, and with ``buffers_enabled`` false, each child keeps to its own part of them. Starts no thread."""
    global _table, _slots
    _slots = slots
    budget = budget or budget_of(settings.buffers_budget, settings.memory, slots, memory_limit())
    if _table is not None:
        _table.resize(budget)
    elif settings.buffers_enabled:
        try:
            _table = Table(budget)
        except (OSError, ValueError) as error:
            log.warning("buffers: there is no pool, each process keeps to its part of the budget: %s", error)
    return budget


def budget_for(settings: Settings, bound: int) -> Holds:
    """In a process that does tasks: its pool. ``bound``: the bytes that it may hold, whatever the worker has. Without a pool, a
    budget of its own that gives the same results."""
    global _pool
    if settings.buffers_enabled:
        try:
            sizes = sizes_of(settings)
            found = _table or Table(
                min(max(bound, LEAST), budget_of(settings.buffers_budget, settings.memory, 1, memory_limit())), 1
            )
            _pool = Pool(bound, found, sizes, watch=_table is not None, whole=LEAST)
            copying.use(_pool, sizes.size)
            return _pool
        except (OSError, ValueError, Transient) as error:
            log.warning("buffers: this process goes on without a pool: %s", error)
    each = budget_of(settings.buffers_budget, settings.memory, _slots, memory_limit()) // _slots
    return Budget(bound, whole=min(LEAST, each)) if bound <= each else Budget(each, OF_WORKER)


def sizes_of(settings: Settings) -> Sizes:
    return Sizes(settings.buffers_min, settings.buffers_size, settings.buffers_max, settings.buffers_reuse_from)


def end() -> None:
    """In a process that did tasks and ends: leases that were not returned are listed and freed."""
    global _pool
    if _pool is not None:
        _pool.close()
        _pool = None


def table() -> Table | None:
    """This worker's table, for a process that is started and not forked: its ``fd`` can be inherited, and ``Table.of`` reads it."""
    return _table


def tell(every: float) -> None:
    """Log the figures, if ``every`` seconds have passed since the last time and they are others; 0: never. To be called often."""
    global _told, _said
    now = time.monotonic()
    if every and now - _told >= every and (found := stats()):
        _told, said = now, statistics.sentence(found)
        if said != _said:
            _said = said
            log.info("%s", said)


def stats() -> dict[str, float]:
    """The figures of this worker's buffers (``statistics.of``), in its main process and in its children; {} without a pool."""
    if _pool is not None:
        return _pool.stats()
    return statistics.of(_table) if _table is not None else {}
