"""From copies to the parts of an upload: a pure function of them and the store's limits."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from hugesync_tasks.delta.ops import Copy
from hugesync_tasks.delta.runs import Kept, choose
from hugesync_tasks.stores.base import MIB, Limits, Stretch

EDGE = 5 * MIB  # bytes: where parts begin by preference, so that the next version's parts meet this one's
COPY_STEP = 256 * MIB  # bytes copied by one request: small enough that a store copies several of one file at once


class IllegalLayout(Exception):
    """No legal layout exists; the file must be sent whole."""


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """One part of an upload: ``length`` bytes at ``start``, copied from ``source`` of the basis, or uploaded (None)."""

    number: int  # from 1
    start: int
    length: int
    source: int | None = None


def lay_out(copies: Sequence[Copy], size: int, limits: Limits, step: int, most: int | None = None) -> list[PlannedPart]:
    """The parts of a file of ``size`` bytes of which ``copies`` (``ops.merge``) are at hand.

    ``step``: bytes of an uploaded part, by preference; ``most``: the greatest (what a worker may hold). The fewest bytes
    are uploaded that ``limits`` allow; only when that would take too many parts, copies are given up, least first by
    what they save. Raises IllegalLayout.
    """
    most = min(most or limits.max_part, limits.max_part)
    least = limits.min_part
    step = min(max(-(-step // EDGE) * EDGE, least), most)
    if step + 2 * least > most:  # a piece that is too short joins its neighbour, at both ends
        step = most - 2 * least
    if size <= 0 or step < max(1, least) or min(limits.max_copy, limits.max_part) < 3 * least:
        raise IllegalLayout(f"{size} bytes in parts of {least} to {most}")

    def parts(kept: Sequence[Kept]) -> list[PlannedPart]:
        return list(_number(_cut_all(_on_edges(kept, least, size), size, step, limits)))

    copies = _most(copies, 3 * limits.max_parts + 3)
    kept = choose(copies, size, least)
    found = parts(kept)
    while len(found) > limits.max_parts and step < most - 2 * least:  # larger parts cost nothing but memory
        step = min(2 * step, most - 2 * least)
        found = parts(kept)
    if len(found) > limits.max_parts:
        found = _fewer(parts, copies, size, least, limits.max_parts)
    check(found, size, limits, most)
    return found


def _most(copies: Sequence[Copy], sure: int) -> Sequence[Copy]:
    """Without those that ``_fewer`` would give up in any case: of ``sure`` that are worth their price more than a third is kept
    (``choose``), and that is too many parts. Of equally long ones the first count. A file of TiB that changed all over has half a
    million copies, and choosing among all of them would take 800 MB."""
    if len(copies) <= sure:
        return copies
    price = sorted((c.length for c in copies), reverse=True)[sure - 1]
    out, equal = [], 0
    for copy in copies:
        equal += copy.length == price
        if copy.length > price or (copy.length == price and equal <= sure):
            out.append(copy)
    return out


def _fewer(
    parts: Callable[[Sequence[Kept]], list[PlannedPart]], copies: Sequence[Copy], size: int, least: int, most: int
) -> list[PlannedPart]:
    """Nearly the least uploaded in no more than ``most`` parts: copies are kept that save more than a price. Where many save
    the same, no price is right: then the cheaper choice holds up to some place in the file, and the dearer one behind it."""
    lengths = sorted((c.length for c in copies), reverse=True)
    sure = 3 * most + 3
    low, high = (lengths[sure] - 1 if len(lengths) > sure else 0), (lengths[0] if lengths else 0)
    many, few = choose(copies, size, least, low), list[Kept]()
    while high - low > max(1, high >> 10):
        price = (low + high) // 2
        kept = choose(copies, size, least, price)
        if len(parts(kept)) > most:
            low, many = price, kept
        else:
            high, few = price, kept
    found = parts(few)
    first, beyond = 0, len(many)
    while first + 1 < beyond:
        middle = (first + beyond) // 2
        end = many[middle - 1].copy.end
        tried = parts([*many[:middle], *(k for k in few if k.copy.at == end or k.copy.at >= end + least)])
        if len(tried) > most:
            beyond = middle
        else:
            first, found = middle, tried
    return found


def uploaded(parts: Sequence[PlannedPart]) -> int:
    """Bytes that pass through workers."""
    return sum(p.length for p in parts if p.source is None)


def check(parts: Sequence[PlannedPart], size: int, limits: Limits, most: int, taken: Container[Stretch] = ()) -> None:
    """Never hand on a layout that the store would refuse or that would leave a hole. ``taken``: ranges of the old object that
    the store takes over as they are, however large. Raises IllegalLayout."""
    at = 0
    for number, part in enumerate(parts, 1):
        last = number == len(parts)
        largest = most if part.source is None else min(limits.max_copy, limits.max_part)
        if part.source is not None and (part.source, part.length) in taken:
            largest = limits.max_size
        if part.number != number or part.start != at or not 0 < part.length <= largest:
            raise IllegalLayout(f"part {part.number}: {part.length} bytes at {part.start}, where {at} comes next")
        if part.length < limits.min_part and not last:
            raise IllegalLayout(f"part {number} has {part.length} bytes, the least is {limits.min_part}")
        at += part.length
    if at != size or len(parts) > limits.max_parts:
        raise IllegalLayout(f"{len(parts)} parts hold {at} of {size} bytes")


def _on_edges(kept: Sequence[Kept], least: int, size: int) -> list[Copy]:
    """Where a short gap borrowed from its neighbours, move it so that it begins on an edge, if that costs nothing."""
    out: list[Kept] = []
    for right in kept:
        if out and right.copy.at - out[-1].copy.end == least:
            left = out[-1]
            edge = left.copy.end // EDGE * EDGE
            for move in (edge - left.copy.end, edge + EDGE - left.copy.end):
                if _may_move(left, right, move, least, size):
                    out[-1] = Kept(_stretch(left.copy, 0, move), left.of)
                    right = Kept(_stretch(right.copy, move, 0), right.of)
                    break
        out.append(right)
    return [k.copy for k in out]


def _may_move(left: Kept, right: Kept, move: int, least: int, size: int) -> bool:
    if left.copy.end + move > left.of.end or right.copy.at + move < right.of.at:
        return False
    shortest = 1 if right.copy.end == size else least
    return left.copy.length + move >= least and right.copy.length - move >= shortest


def _stretch(copy: Copy, head: int, tail: int) -> Copy:
    return Copy(copy.at + head, copy.source + head, copy.length - head + tail)


def _cut_all(kept: Sequence[Copy], size: int, step: int, limits: Limits) -> Iterator[tuple[int, int, int | None]]:
    at = 0
    most = min(limits.max_copy, limits.max_part) - 2 * limits.min_part
    copy_step = min(max(COPY_STEP, -(-2 * size // limits.max_parts)), most)  # copies take at most half of the parts
    for copy in [*kept, Copy(size, 0, 0)]:
        for start, end in _cut(at, copy.at, step, limits.min_part, size):
            yield start, end - start, None
        for start, end in _cut(copy.at, copy.end, copy_step, limits.min_part, size):
            yield start, end - start, copy.source + start - copy.at
        at = copy.end


def _cut(start: int, end: int, step: int, least: int, size: int) -> Iterator[tuple[int, int]]:
    """Pieces of [start, end) that meet on multiples of ``step``; a first or last one that is too short joins its neighbour."""
    at = start
    edge = start // step * step + step
    while edge < end:
        if edge - at >= least and (end - edge >= least or end == size):
            yield at, edge
            at = edge
        edge += step
    if end > at:
        yield at, end


def _number(pieces: Iterator[tuple[int, int, int | None]]) -> Iterator[PlannedPart]:
    for number, (start, length, source) in enumerate(pieces, 1):
        yield PlannedPart(number, start, length, source)
