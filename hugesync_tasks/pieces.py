"""From copies to parts, where a store takes over the very pieces that an object was put together from: a pure function."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import itemgetter

from hugesync_tasks.delta.ops import Copy
from hugesync_tasks.layout import COPY_STEP, IllegalLayout, PlannedPart, check
from hugesync_tasks.stores.base import Limits, Stretch


def lay_pieces(
    copies: Sequence[Copy], pieces: Sequence[Stretch], size: int, limits: Limits, step: int, ranges: bool
) -> list[PlannedPart]:
    """The parts of a file of ``size`` bytes: every one of the old object's ``pieces`` (offset, bytes; in order, apart) that
    lies whole in a copy is a part by itself, which costs the store nothing. What is left of a copy is copied as a range where
    it copies ``ranges``, else uploaded like all the rest, in parts of at most ``step`` bytes.

    Only for stores without a least size of parts. Raises IllegalLayout: too many parts, or parts that are too large.
    """
    if limits.min_part > 1 or step < 1:
        raise IllegalLayout(f"{limits.name} has a least size of parts ({limits.min_part})")
    cut: list[tuple[int, int, int | None]] = []
    at = 0
    most = min(COPY_STEP, limits.max_copy, limits.max_part) if ranges else 0
    for copy in copies:
        for start, length, source in _of_copy(copy, pieces, most):
            cut += [(s, n, None) for s, n in _steps(at, start, step)]
            cut.append((start, length, source))
            at = start + length
    cut += [(s, n, None) for s, n in _steps(at, size, step)]
    parts = [PlannedPart(number, *one) for number, one in enumerate(cut, 1)]
    check(parts, size, limits, step, frozenset(pieces))
    return parts


def _of_copy(copy: Copy, pieces: Sequence[Stretch], most: int) -> Iterator[tuple[int, int, int]]:
    """(offset in the new file, bytes, offset in the old object) of what is taken of one copy, in order. ``most``: bytes of a
    range, 0 = pieces alone."""
    shift, at, end = copy.at - copy.source, copy.source, copy.source + copy.length
    for start, length in pieces[bisect_left(pieces, copy.source, key=itemgetter(0)) :]:
        if start + length > end:
            break
        if most:
            yield from ((s + shift, n, s) for s, n in _steps(at, start, most))
        yield start + shift, length, start
        at = start + length
    if most:
        yield from ((s + shift, n, s) for s, n in _steps(at, end, most))


def _steps(start: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of [start, end) cut at the multiples of ``step``, so that the next version's parts meet this one's."""
    while start < end:
        stop = min(end, start // step * step + step)
        yield start, stop - start
        start = stop
