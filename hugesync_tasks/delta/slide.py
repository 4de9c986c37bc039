"""Sliding a window over a piece of a file, by the compiled loop of ``kernel``."""

from __future__ import annotations

from functools import cache

import numpy as np
from awscrt.checksums import crc32c
from numpy.typing import NDArray

from hugesync_tasks.delta.compiler_memory import give_back
from hugesync_tasks.delta.kernel import LANES, slide
from hugesync_tasks.delta.records import weak_and_strong
from hugesync_tasks.delta.rolling import WeakIndex, arriving, leaving, plain
from hugesync_tasks.signature.blocks import MIB, MIN_BLOCK

Positions = NDArray[np.int32]
Slots = NDArray[np.int32]


class Slider:
    """The buffers and the index for one signature; positions are looked at in pieces of ``most``."""

    def __init__(self, records: bytes, whole: int, block: int) -> None:
        """``whole``: how many of the ``records`` are of blocks of exactly ``block`` bytes."""
        warm()
        self.index = WeakIndex(*weak_and_strong(records, whole), block)
        self.block = block
        self.most = max(MIB, 2 * block)  # the windows' first hashes cost 4 blocks at 12 GB/s
        self._data = np.zeros(self.most + block + LANES, np.uint8)
        self._where = np.empty(self.most + LANES, np.int32)  # pages are touched only where something is found
        self._slots = np.empty(self.most + LANES, np.int32)

    def room(self, count: int) -> memoryview:
        """Where the bytes of ``count`` positions (and a block less one) are to be put."""
        return self._data.data[: count + self.block]

    def look(self, count: int) -> tuple[Positions, Slots]:
        """The positions below ``count``, ascending, whose window's weak hash is known, and as which."""
        lane = -(-count // LANES)
        found = _slide(self._data, lane, self.index, self._where, self._slots)
        pieces = [slice(i * lane, i * lane + int(found[i])) for i in range(LANES)]
        where = np.concatenate([self._where[p] for p in pieces])
        slots = np.concatenate([self._slots[p] for p in pieces])
        inside = where < count
        return where[inside], slots[inside]

    def paired(self, where: Positions, slots: Slots) -> tuple[Positions, Slots]:
        """Only those that have another one exactly a block before or behind: chance equals stand alone."""
        keep = np.isin(where + self.block, where) | np.isin(where - self.block, where)
        return where[keep], slots[keep]


def _slide(data: NDArray[np.uint8], lane: int, index: WeakIndex, where: Positions, slots: Slots) -> NDArray[np.int64]:
    """``kernel.slide`` over the first ``LANES * lane`` positions of ``data``."""
    view, window = data.data, index.window
    registers = np.array([crc32c(view[i * lane : i * lane + window]) ^ plain(window) for i in range(LANES)], np.uint32)
    found: NDArray[np.int64] = slide(
        data, window, lane, registers, arriving(), leaving(window), index.filter, np.uint32(32 - index.filter_bits),
        index.table, np.uint32(index.table_shift), index.salt, index.known, index.alive, where, slots,
    )  # fmt: skip
    return found


@cache
def warm() -> None:
    """Have the loop compiled, its code kept where later processes find it (an image calls this as it is built), and the compiler
    given back: before an index is in memory, because for a moment it takes more than all that comes after it."""
    index = WeakIndex(np.zeros(1, np.uint32), np.zeros(1, np.uint64), MIN_BLOCK)
    _slide(np.zeros(MIN_BLOCK + LANES, np.uint8), 1, index, np.empty(LANES, np.int32), np.empty(LANES, np.int32))
    give_back()
