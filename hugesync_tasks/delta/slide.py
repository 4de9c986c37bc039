"""Sliding a window over a piece of a file, by the compiled loop of ``kernel``."""

from __future__ import annotations

import numpy as np
from awscrt.checksums import crc32c
from numpy.typing import NDArray

from hugesync_tasks.delta.compiler_memory import give_back
from hugesync_tasks.delta.kernel import LANES, slide
from hugesync_tasks.delta.rolling import WeakIndex, arriving, leaving, plain
from hugesync_tasks.signature.blocks import MIB, MIN_BLOCK, RECORD

Positions = NDArray[np.int32]
Slots = NDArray[np.int32]


class Slider:
    """The buffers and the index for one signature; positions are looked at in pieces of ``most``."""

    def __init__(self, records: bytes, whole: int, block: int) -> None:
        """``whole``: how many of the ``records`` are of blocks of exactly ``block`` bytes."""
        packed = np.frombuffer(records, np.dtype([("weak", "<u4"), ("strong", "<u8"), ("rest", "V24")]), whole)
        assert packed.dtype.itemsize == RECORD
        weak, strong = np.ascontiguousarray(packed["weak"]), np.ascontiguousarray(packed["strong"])
        self.index = WeakIndex(weak, strong, block)
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
        index, block = self.index, self.block
        view = self._data.data
        registers = np.array(
            [crc32c(view[i * lane : i * lane + block]) ^ plain(block) for i in range(LANES)], np.uint32
        )
        found = slide(
            self._data, block, lane, registers, arriving(), leaving(block), index.filter,
            np.uint32(32 - index.filter_bits), index.table, np.uint32(index.table_shift), index.salt, index.known,
            index.alive, self._where, self._slots,
        )  # fmt: skip
        give_back()
        pieces = [slice(i * lane, i * lane + int(found[i])) for i in range(LANES)]
        where = np.concatenate([self._where[p] for p in pieces])
        slots = np.concatenate([self._slots[p] for p in pieces])
        inside = where < count
        return where[inside], slots[inside]

    def paired(self, where: Positions, slots: Slots) -> tuple[Positions, Slots]:
        """Only those that have another one exactly a block before or behind: chance equals stand alone."""
        keep = np.isin(where + self.block, where) | np.isin(where - self.block, where)
        return where[keep], slots[keep]


def warm() -> None:
    """Have the loop compiled, and its code kept where later processes find it (an image calls this as it is built)."""
    slider = Slider(bytes(RECORD), 1, MIN_BLOCK)
    slider.room(LANES)[:] = bytes(MIN_BLOCK + LANES)
    slider.look(LANES)
