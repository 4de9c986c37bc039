"""What a delta is made of: copies from the basis; everything between them is to be sent. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hugesync_tasks.signature.blocks import RECORD


@dataclass(frozen=True, slots=True)
class Copy:
    """``length`` bytes from offset ``source`` of the basis stand at offset ``at`` of the new file."""

    at: int
    source: int
    length: int

    @property
    def end(self) -> int:
        """The first byte of the new file behind it."""
        return self.at + self.length

    @property
    def shift(self) -> int:
        """How far the bytes moved."""
        return self.at - self.source


def merge(copies: Iterable[Copy]) -> list[Copy]:
    """Copies of all ranges, made disjoint and coalesced, in order of the new file.

    Ranges overlap by a block at their seams; where two copies cover the same bytes the earlier stays whole and the later
    is cut, which is always right because both say the same bytes.
    """
    out: list[Copy] = []
    for copy in sorted(copies, key=lambda c: (c.at, -c.length)):
        if out:
            last = out[-1]
            cut = last.end - copy.at
            if cut >= copy.length:
                continue
            if cut > 0:
                copy = Copy(copy.at + cut, copy.source + cut, copy.length - cut)
            if last.end == copy.at and last.shift == copy.shift:
                out[-1] = Copy(last.at, last.source, last.length + copy.length)
                continue
        out.append(copy)
    return out


def inserts(copies: Iterable[Copy], size: int) -> Iterator[tuple[int, int]]:
    """(start, length) of what no copy covers, in order; ``copies`` as ``merge`` returns them."""
    at = 0
    for copy in copies:
        if copy.at > at:
            yield at, copy.at - at
        at = copy.end
    if size > at:
        yield at, size - at


def same_blocks(old: bytes, new: bytes, old_size: int, new_size: int, block: int) -> list[Copy]:
    """Copies between two files of which only the records are known: equal blocks at equal places, and equal blocks moved.

    The strong hash decides. A short last block counts only where both end with it.
    """
    return merge(_coalesced(_same(old, new, old_size, new_size, block)))


def _same(old: bytes, new: bytes, old_size: int, new_size: int, block: int) -> Iterator[Copy]:
    # numpy: 18 MiB, in no process that needs none
    from hugesync_tasks.delta.records import first_equal, weak_and_strong

    # of whole blocks, by 8 bytes: whether it is the same one is found out below
    theirs, mine = weak_and_strong(old, old_size // block)[1], weak_and_strong(new, new_size // block)[1]
    anywhere = first_equal(theirs, mine)
    previous = -2
    for i in range(-(-new_size // block)):
        record = new[i * RECORD : (i + 1) * RECORD]
        length = min(block, new_size - i * block)
        places = (i, previous + 1, int(anywhere[i]) if length == block else -2)
        previous = next(
            (k for k in places if 0 <= k * block < old_size and old[k * RECORD : (k + 1) * RECORD] == record
             and min(block, old_size - k * block) == length),
            -2,
        )  # fmt: skip
        if previous >= 0:
            yield Copy(i * block, previous * block, length)


def _coalesced(copies: Iterable[Copy]) -> Iterator[Copy]:
    """Copies in order, those that go on where the last ended joined as they come: of equal files one, not a million."""
    last: Copy | None = None
    for copy in copies:
        if last is not None and last.end == copy.at and last.shift == copy.shift:
            last = Copy(last.at, last.source, last.length + copy.length)
            continue
        if last is not None:
            yield last
        last = copy
    if last is not None:
        yield last


def turned(copies: Iterable[Copy]) -> list[Copy]:
    """The same equalities read from the other file's side: what was matched becomes what is made."""
    return merge(Copy(c.source, c.at, c.length) for c in copies)


def with_repeats(copies: list[Copy], records: bytes, size: int, block: int) -> list[Copy]:
    """``copies`` and, for every block of the new file that they leave out, a copy of an equal block that they have.

    Matching the basis finds each of its places once; a block that the new file repeats is found here. ``records``: of the new file.
    """
    from hugesync_tasks.delta.records import first_equal, weak_and_strong

    have, sources, missing = array("q"), array("q"), array("q")  # numbers of blocks, and offsets in the basis
    ordered = iter(copies)
    copy = next(ordered, None)
    for i in range(size // block):
        at = i * block
        while copy is not None and copy.end <= at:
            copy = next(ordered, None)
        if copy is not None and copy.at <= at and at + block <= copy.end:
            have.append(i)
            sources.append(copy.source + at - copy.at)
        else:
            missing.append(i)
    if not have or not missing:
        return copies
    strong = weak_and_strong(records, size // block)[1]
    found = first_equal(strong[have], strong[missing])
    more = [
        Copy(i * block, sources[k], block)
        for i, k in zip(missing, found.tolist(), strict=True)
        if k >= 0 and records[i * RECORD : (i + 1) * RECORD] == records[have[k] * RECORD : (have[k] + 1) * RECORD]
    ]
    return merge([*copies, *more]) if more else copies
