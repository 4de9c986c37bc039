"""Moving the weak hash of a window by one byte, and how a block is found by it."""

from __future__ import annotations

import secrets
from bisect import bisect_left
from functools import lru_cache
from typing import Any

import numpy as np
from awscrt.checksums import crc32c
from numpy.typing import NDArray

from hugesync_tasks.delta.records import U32, U64

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected


@lru_cache(maxsize=1)
def arriving() -> U32:
    """How the register changes by a byte that arrives: the usual table of a CRC, bytewise."""
    table = np.zeros(256, np.uint32)
    for i in range(256):
        c = i
        for _ in range(8):
            c = (c >> 1) ^ _POLYNOMIAL if c & 1 else c >> 1
        table[i] = c
    return table


@lru_cache(maxsize=8)
def leaving(window: int) -> U32:
    """What a byte has left in the register when ``window`` further bytes have passed: to be taken out as it leaves.

    A CRC is linear: crc(a ^ b) = crc(a) ^ crc(b) ^ crc(0), so the contribution of one byte is found alone.
    """
    zeros = bytes(window)
    nothing = crc32c(bytes(window + 1))
    return np.array([crc32c(bytes([b]) + zeros) ^ nothing for b in range(256)], np.uint32)


@lru_cache(maxsize=8)
def plain(window: int) -> int:
    """The difference between the CRC-32C of ``window`` bytes and the bare register (start and end values left out)."""
    return int(crc32c(bytes(window)))


class WeakIndex:
    """Finds blocks by their weak hash: a bit filter that fits the processor's second cache, then a table, then the chain.

    Who wrote the signature chose the weak hashes. So the table's places are drawn by a multiplier that nobody can know, and
    a chain of equal weak hashes is not walked: it is in order of the strong hash.

    Of 2²⁰ blocks, the most there are, it keeps 29 MiB, and 20 more while it is made.
    """

    def __init__(self, weak: U32, strong: U64, window: int) -> None:
        """``weak``, and ``strong`` (its first 8 bytes): of the blocks of exactly ``window`` bytes, in order. ``strong`` is kept: as
        a view of a signature's records it costs nothing."""
        self.window, self.strong = window, strong
        self.salt = np.uint32(secrets.randbits(32) | 1)
        mixed = weak ^ np.uint32(plain(window))
        mixed *= self.salt
        self.order = np.lexsort((strong, mixed)).astype(np.int32)  # stable: of equal blocks the first comes first
        mixed = mixed[self.order]
        new = np.ones(len(mixed), np.bool_)
        np.not_equal(mixed[1:], mixed[:-1], out=new[1:])
        self.known = mixed[new]
        self.first = np.append(np.nonzero(new)[0], len(mixed)).astype(np.int32)  # and where the last chain ends
        del mixed, new
        self.alive = np.ones(len(self.known), np.uint8)
        n = max(1, len(self.known))
        # 16,384 blocks, 2 MiB of L2: 2¹⁹ bits 1.96 s a GiB, 2²⁰ 1.42, 2²¹ 1.35, 2²² 1.43 (four lanes). What passes the
        # filter by chance costs a wrongly predicted branch, and that costs more than a filter beyond the first cache.
        filter_bits = min(23, max(16, (128 * n - 1).bit_length()))
        table_bits = max(4, (2 * n - 1).bit_length())
        self.table_shift = 32 - table_bits
        self.filter_shift = 32 - (filter_bits - 5)  # the high bits name a word of it, the low ones the bit
        self.filter = np.zeros(1 << (filter_bits - 5), np.uint32)
        at = weak ^ np.uint32(plain(window))
        np.bitwise_or.at(self.filter, at >> np.uint32(self.filter_shift), np.uint32(1) << (at & np.uint32(31)))
        self.table = np.full(1 << table_bits, -1, np.int32)
        self._fill(1 << table_bits)

    def _fill(self, size: int) -> None:
        # Sorted values placed by their high bits are put in runs: each goes to its own place, or the next one free.
        slots = np.arange(len(self.known), dtype=np.int32)
        place = (self.known >> np.uint32(self.table_shift)).astype(np.int32)
        place -= slots
        np.maximum.accumulate(place, out=place)
        place += slots
        inside = int(np.searchsorted(place, size))
        self.table[place[:inside]] = slots[:inside]
        over = slots[inside:]  # the few that run over the end go on at its beginning
        if len(over):
            self.table[np.nonzero(self.table < 0)[0][: len(over)]] = over

    def blocks(self, slot: int, strong: bytes, most: int) -> NDArray[Any]:
        """The numbers of at most ``most`` blocks of one weak hash whose strong one begins with the 8 bytes of ``strong``."""
        order, value = self.order, int.from_bytes(strong[:8], "little")
        last = int(self.first[slot + 1])
        first = bisect_left(range(last), value, int(self.first[slot]), key=lambda i: int(self.strong[order[i]]))
        some = order[first : min(last, first + most)]
        found: NDArray[Any] = some[self.strong[some] == np.uint64(value)]
        return found

    def forget(self, slot: int) -> None:
        """Never find this weak hash again: it has been confirmed in vain too often (a hash flood)."""
        self.alive[slot] = 0
