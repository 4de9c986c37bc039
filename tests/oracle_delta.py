"""What matching and laying out must come to, found by trying everything; written from the requirements, not from the code.

Nothing here knows of weak and strong hashes, chains or ranges: all windows of a file are compared, all plans are tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray


def occurrences(basis: bytes, new: bytes, block: int) -> list[int]:
    """Every position of ``new`` at which some whole block of ``basis`` stands: all windows, by a 64-bit polynomial sum."""
    if min(len(basis), len(new)) < block:
        return []
    known = np.unique(_windows(basis, block)[::block])
    return [int(i) for i in np.nonzero(np.isin(_windows(new, block), known))[0]]


def _windows(data: bytes, block: int) -> NDArray[np.uint64]:
    """For each window of ``block`` bytes Σ value(byte) · r^(its place in the window) mod 2⁶⁴."""
    rng = np.random.default_rng(4)
    value = rng.integers(0, 1 << 64, 256, np.uint64)
    base = 0x9E3779B97F4A7C15
    power = np.full(len(data) + 1, base, np.uint64)
    back = np.full(len(data) + 1, pow(base, -1, 1 << 64), np.uint64)
    power[0] = back[0] = 1
    power, back = np.cumprod(power), np.cumprod(back)
    total = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(value[np.frombuffer(data, np.uint8)] * power[:-1], out=total[1:])
    count = len(data) - block + 1
    return (total[block:] - total[:count]) * back[:count]


def least_inserted(basis: bytes, new: bytes, block: int) -> int:
    """Bytes of ``new`` that no choice of disjoint whole blocks of ``basis``, and its short last one at the end, can cover.

    Of intervals of one length the most disjoint ones are had by always taking the one that ends first.
    """
    tail = basis[len(basis) // block * block :]
    where = occurrences(basis, new, block)

    def covered(until: int) -> int:
        free = count = 0
        for at in where:
            if at >= free and at + block <= until:
                count, free = count + 1, at + block
        return count * block

    best = covered(len(new))
    if tail and new.endswith(tail):
        best = max(best, covered(len(new) - len(tail)) + len(tail))
    return len(new) - best


def applied(basis: bytes, new: bytes, copies: Sequence[tuple[int, int, int]]) -> bytes:
    """What a receiver makes of ``basis``, of copies (at, source, length) in order, and of ``new`` between them."""
    out = bytearray()
    for at, source, length in copies:
        assert at >= len(out), "copies overlap or are out of order"
        assert length > 0
        assert 0 <= source <= source + length <= len(basis), "a copy from beyond the basis"
        out += new[len(out) : at]
        out += basis[source : source + length]
    out += new[len(out) :]
    return bytes(out)


def least_uploaded(
    copies: Sequence[tuple[int, int]], size: int, least: int, most: int, most_copy: int, most_parts: int
) -> int | None:
    """Bytes that the best of all legal plans uploads, or None where there is none. ``copies``: (start, end), disjoint.

    A plan is a sequence of parts from 0 to ``size``. Every part but the last has at least ``least`` bytes. An uploaded one
    has at most ``most``, a copied one at most ``most_copy`` and lies inside one of the copies. All parts are tried.
    """
    inside: list[tuple[int, int] | None] = [None] * size
    for copy in copies:
        for i in range(*copy):
            inside[i] = copy

    @cache
    def best(at: int, parts: int) -> float:
        if at == size:
            return 0
        if not parts:
            return float("inf")
        found = float("inf")
        for end in range(at + 1, size + 1):
            if end - at < least and end != size:
                continue
            if end - at <= most:
                found = min(found, end - at + best(end, parts - 1))
            home = inside[at]
            if home is not None and end <= home[1] and end - at <= most_copy:
                found = min(found, best(end, parts - 1))
        return found

    answer = best(0, most_parts)
    return None if answer == float("inf") else int(answer)
