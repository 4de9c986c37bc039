"""Which stretches of the new file are copied by the store and which are uploaded, so that the least is uploaded. Pure.

A store takes parts of at least ``least`` bytes, except the last one. So a copy shorter than that is of no use, and a gap
between two copies that is shorter must borrow bytes from its neighbours, which are then uploaded though unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hugesync_tasks.delta.ops import Copy


@dataclass(frozen=True, slots=True)
class _Way:
    """The best ways to end with one copy as the last that is kept: cost so far, bytes lost at its head, and from where."""

    cost: int  # bytes uploaded before this copy's kept part, and ``price`` for each copy kept
    head: int  # bytes of it that were lent to the gap before it
    copy: int
    before: _Way | None
    lent: int  # bytes that the copy before gave to the gap between


@dataclass(frozen=True, slots=True)
class Kept:
    """What is copied of one copy: ``copy`` is a stretch of ``of``."""

    copy: Copy
    of: Copy


def choose(copies: Sequence[Copy], size: int, least: int, price: int = 0) -> list[Kept]:
    """The parts of ``copies`` to copy in a file of ``size`` bytes; all the rest is uploaded.

    ``copies`` are disjoint and in order (``ops.merge``). What is returned obeys: every copy has at least ``least`` bytes, or
    ends the file; so has every stretch between them. The sum of what is uploaded is the least possible; with a ``price`` the
    least of uploaded bytes + price · copies, which keeps their number down.

    Why this is exact: a gap of G < least costs ``least``, whoever lends, so only *which* copies are kept decides. From left
    to right a gap takes first from the copy before it, whose end is of no use to anybody else. Of two ways to the same copy
    the one that costs no less and lost no less of its head is never better. And never are three usable copies in a row left
    out: the middle one could be kept, for both its neighbours are as long as a gap must be. A copy no longer than the
    price is never worth it.
    """
    usable = [c for c in copies if (c.length >= least or c.end == size) and c.length > price]
    ways: list[list[_Way]] = []
    for i, copy in enumerate(usable):
        found = _first(copy, i, size, least, price)
        for back in range(1, min(i, 3) + 1):
            for way in ways[i - back]:
                found += _next(way, usable[i - back], copy, i, size, least, price)
        ways.append(_not_worse(found))
    best: _Way | None = None
    cost = size
    for i, here in enumerate(ways):
        for way in here:
            total = way.cost + size - usable[i].end
            if total < cost:
                best, cost = way, total
    return _kept(best, usable)


def _first(copy: Copy, i: int, size: int, least: int, price: int) -> list[_Way]:
    """``copy`` is the first that is kept: all before it is uploaded."""
    head = least - copy.at if 0 < copy.at < least else 0
    return [_Way(copy.at + head + price, head, i, None, 0)] if _holds(copy, head, 0, size, least) else []


def _next(way: _Way, last: Copy, copy: Copy, i: int, size: int, least: int, price: int) -> list[_Way]:
    gap = copy.at - last.end
    missing = least - gap if 0 < gap < least else 0
    lent = min(missing, max(0, last.length - way.head - least))
    head = missing - lent
    if not _holds(copy, head, 0, size, least):
        return []
    return [_Way(way.cost + gap + missing + price, head, i, way, lent)]


def _holds(copy: Copy, head: int, tail: int, size: int, least: int) -> bool:
    left = copy.length - head - tail
    return left >= least or (left > 0 and copy.end == size and not tail)


def _not_worse(ways: list[_Way]) -> list[_Way]:
    out: list[_Way] = []
    for way in sorted(ways, key=lambda w: (w.cost, w.head)):
        if not out or way.head < out[-1].head:
            out.append(way)
    return out


def _kept(way: _Way | None, usable: Sequence[Copy]) -> list[Kept]:
    out: list[Kept] = []
    tail = 0
    while way is not None:
        copy = usable[way.copy]
        kept = Copy(copy.at + way.head, copy.source + way.head, copy.length - way.head - tail)
        out.append(Kept(kept, copy))
        tail = way.lent
        way = way.before
    return out[::-1]
