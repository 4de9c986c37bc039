"""Sliding a window over a piece of a file, by the compiled loop of ``kernel``."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from awscrt.checksums import crc32c
from numpy.typing import NDArray

from hugesync_tasks.delta.compiler_memory import give_back
from hugesync_tasks.delta.kernel import LANES, compiled
from hugesync_tasks.delta.records import weak_and_strong
from hugesync_tasks.delta.rolling import WeakIndex, arriving, leaving, plain
from hugesync_tasks.signature.blocks import MIB

Positions = NDArray[np.int32]
Slots = NDArray[np.int32]


class Slider:
    """The buffers and the index for one signature; positions are looked at in pieces of ``most``."""

    def __init__(self, records: bytes, whole: int, block: int) -> None:
        """``whole``: how many of the ``records`` are of blocks of exactly ``block`` bytes."""
        warm()
        self.index = WeakIndex(*weak_and_strong(records, whole), block)
        self.block = block
        # The windows' first hashes cost 3 blocks at 12 GB/s. Lanes whose distance is a multiple of 4 KiB share sets of the first
        # cache: 7 % slower.
        self.most = max(MIB, 2 * block) - LANES * 1088
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
    view, window = data.data, index.window
    first = [crc32c(view[i * lane : i * lane + window]) ^ plain(window) for i in range(LANES)]
    return looked(data, lane, np.array(first, np.uint32), index, where, slots)


def looked(
    data: NDArray[np.uint8], lane: int, registers: NDArray[np.uint32], index: WeakIndex, where: Positions, slots: Slots,
    instruction: bool | None = None,
) -> NDArray[np.int64]:  # fmt: skip
    """Write every position below ``LANES * lane`` whose window's register is known to ``where``, and as which to ``slots``: lane by
    lane, the first at 0, the second at ``lane``. Returns how many each has found. ``registers``: of each lane's first window.

    ``instruction``: as ``kernel.compiled`` takes it. Raises ValueError where an array has no room for so many positions.
    """
    window, most = index.window, LANES * lane
    arrives, leaves = arriving(), leaving(window)  # held: the machine code keeps nothing alive
    if lane < 1 or len(data) < most + window or len(where) < most or len(slots) < most or len(registers) != LANES:
        raise ValueError(f"there is no room for {most} positions")  # the machine code would write to what is not ours
    found = np.zeros(LANES, np.int64)
    compiled(instruction)(
        _at(data), window, lane, _at(registers), _at(arrives), _at(leaves), _at(index.filter), index.filter_shift,
        _at(index.table), index.table_shift, len(index.table) - 1, int(index.salt), _at(index.known), _at(index.alive),
        _at(where), _at(slots), _at(found),
    )  # fmt: skip
    return found


def _at(array: NDArray[Any]) -> int:
    """Where it lies in memory."""
    address: int = array.__array_interface__["data"][0]
    return address


_making = Lock()


def warm() -> None:
    """Make the loop and give back what made it: before an index is in memory, because for a moment it takes more than all that comes
    after it."""
    with _making:  # once, though several threads come
        _made()


@cache
def _made() -> None:
    compiled(None)
    give_back()
