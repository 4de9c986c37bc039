"""What a worker's buffers did, counted in the shared table: one set of figures for all its children, dead ones included."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate

from hugesync_tasks.buffers import table as _table
from hugesync_tasks.buffers.table import BUCKETS, Table
from hugesync_tasks.config_units import show_size

GETS, PUTS, HITS, MISSES, WAITS, TIMEOUTS, REFUSED, UNRETURNED = range(len(_table.NAMES))
_LEAST = 1e-6  # seconds, the bound of the first bucket; each next one is the square root of two higher


def bucket_of(seconds: float) -> int:
    """Where a wait is counted."""
    if seconds <= _LEAST:
        return 0
    return min(BUCKETS - 1, math.ceil(2 * math.log2(seconds / _LEAST)))


def bound_of(bucket: int) -> float:
    """Seconds that no wait of the bucket is longer than (the last one's are)."""
    return float(_LEAST * 2 ** (bucket / 2))


def percentile(histogram: list[int], share: float) -> float:
    """Seconds that ``share`` of the waits did not pass, at most 41 % too high; 0 where nobody waited."""
    if not (total := sum(histogram)):
        return 0.0
    return bound_of(bisect_left(list(accumulate(histogram)), math.ceil(share * total)))


def of(table: Table) -> dict[str, float]:
    """Figures of one moment: bytes (``budget``, ``held``, ``idle``: of ``held`` what nobody uses, ``high_water``,
    ``reclaimed``: taken back from processes that died), counts since the worker began, and how long those waited that had to."""
    words, rows = table.words, table.taken()
    found: dict[str, float] = {
        "budget": words[_table.TOTAL],
        "held": table.held(),
        "idle": sum(words[at + _table.SPARE] for at in rows),
        "high_water": words[_table.HIGHEST],
        "reclaimed": words[_table.LOST],
        "processes": sum(words[at + _table.PID] > 0 for at in rows),
        "waiting": sum(words[at + _table.TICKET] > 0 for at in rows),
    }
    for n, name in enumerate(_table.NAMES):
        found[name] = sum(words[at + _table.COUNTS + n] for at in rows)
    histogram = [sum(words[at + _table.HISTOGRAM + b] for at in rows) for b in range(BUCKETS)]
    found["wait_p50_seconds"], found["wait_p99_seconds"] = percentile(histogram, 0.5), percentile(histogram, 0.99)
    return found


def sentence(found: dict[str, float]) -> str:
    """The line of the log."""
    used, kept, budget, highest = (
        show_size(int(n) >> 20 << 20)
        for n in (found["held"] - found["idle"], found["idle"], found["budget"], found["high_water"])
    )
    return (
        f"buffers: {used} in use and {kept} kept of {budget}, at most {highest}; {found['gets']:.0f} gets, {found['puts']:.0f} puts, "
        f"{found['hits']:.0f} hits, {found['misses']:.0f} misses, {found['waits']:.0f} waits "
        f"(p50 {found['wait_p50_seconds'] * 1000:.1f} ms, p99 {found['wait_p99_seconds'] * 1000:.1f} ms)"
    )
