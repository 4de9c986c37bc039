"""The one loop over every byte: imported only where something must be slid over, because the compiler costs 0.5 s to load.

Compiled code is cached beside this file, where that cannot be written below ``NUMBA_CACHE_DIR`` or the user's cache folder,
and where none of them can, each process compiles for itself (a read-only container: the image is built with a warm cache).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

LANES = 4  # windows that move side by side: 965 MB/s with an empty filter, 640 with 16,384 blocks in it; 2: 936, 594; 8: 410, 376


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as machine code that takes no GIL."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # "no locator available": nowhere may a cache be written
        return njit(nogil=True)(function)


@compiled
def _look(register, filter_, filter_shift, table, table_shift, salt, known, alive):  # type: ignore[no-untyped-def]
    h = register >> filter_shift
    if (filter_[h >> np.uint32(3)] >> (h & np.uint32(7))) & np.uint8(1) == 0:
        return -1
    mixed = np.uint32(np.uint64(register) * np.uint64(salt))
    at = np.int64(mixed >> table_shift)
    last = table.shape[0] - 1
    while table[at] >= 0:
        slot = table[at]
        if known[slot] == mixed:
            return slot if alive[slot] else -1
        at = np.int64(at + 1 if at < last else 0)
    return -1


@compiled
def slide(  # type: ignore[no-untyped-def]
    data, window, lane, registers, arriving, leaving, filter_, filter_shift, table, table_shift, salt, known, alive,
    where, slots,
):  # fmt: skip
    """Write every position in [0, 4 · lane) whose window's register is known to ``where`` and its slot to ``slots``, lane by
    lane; returns how many each of the four lanes found. ``data`` holds at least 4 · lane + window bytes, and ``where`` and
    ``slots`` room for 4 · lane entries."""
    found = np.zeros(4, np.int64)
    byte = np.uint32(255)
    eight = np.uint32(8)
    c0, c1, c2, c3 = registers[0], registers[1], registers[2], registers[3]
    n0, n1, n2, n3 = 0, lane, 2 * lane, 3 * lane
    for p0 in range(lane):
        p1 = p0 + lane
        p2 = p1 + lane
        p3 = p2 + lane
        s = _look(c0, filter_, filter_shift, table, table_shift, salt, known, alive)
        if s >= 0:
            where[n0] = p0
            slots[n0] = s
            n0 += 1
        s = _look(c1, filter_, filter_shift, table, table_shift, salt, known, alive)
        if s >= 0:
            where[n1] = p1
            slots[n1] = s
            n1 += 1
        s = _look(c2, filter_, filter_shift, table, table_shift, salt, known, alive)
        if s >= 0:
            where[n2] = p2
            slots[n2] = s
            n2 += 1
        s = _look(c3, filter_, filter_shift, table, table_shift, salt, known, alive)
        if s >= 0:
            where[n3] = p3
            slots[n3] = s
            n3 += 1
        c0 = (c0 >> eight) ^ arriving[(c0 ^ data[p0 + window]) & byte] ^ leaving[data[p0]]
        c1 = (c1 >> eight) ^ arriving[(c1 ^ data[p1 + window]) & byte] ^ leaving[data[p1]]
        c2 = (c2 >> eight) ^ arriving[(c2 ^ data[p2 + window]) & byte] ^ leaving[data[p2]]
        c3 = (c3 >> eight) ^ arriving[(c3 ^ data[p3 + window]) & byte] ^ leaving[data[p3]]
    found[0], found[1], found[2], found[3] = n0, n1 - lane, n2 - 2 * lane, n3 - 3 * lane
    return found
