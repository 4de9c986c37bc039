"""Which bytes of a file a signature already knows: aligned blocks first, then sliding inside what did not match.

A range of a file is matched alone, so that many workers share one huge file: it looks at the positions from its start up
to its end and reads up to a block beyond, and ``ops.merge`` joins what ranges found. Everything here is a hint made
certain: a weak hash that fits is always confirmed by BLAKE3 over the whole block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import blake3
from awscrt.checksums import crc32c, crc64nvme

from hugesync_tasks.delta.ops import Copy, merge
from hugesync_tasks.signature.blocks import LEAF, MIB, RECORD, hash_both
from hugesync_tasks.signature.format import Signature

if TYPE_CHECKING:
    from hugesync_tasks.delta.slide import Slider

Read = Callable[[int, memoryview], None]
"""Fill the buffer with the file's bytes from an offset, or raise: a file that is shorter now was changed."""

CHUNK = MIB  # bytes read at a time, and hashed while the processor has them at hand; rounded to whole blocks
CHAIN = 64  # blocks of one weak hash and one beginning of the strong one that are compared
IN_VAIN = 64  # confirmations that may fail one after the other for one weak hash before it is never looked for again
# Bytes hashed in vain: so many, and so many for each position looked at. A u32 equals one of a basis of S bytes by chance so
# often that S / 4 GiB bytes are hashed per position: only above 16 GiB is it worth while to take no block that stands alone.
LONELY = 64 * MIB, 4
FEW = 16  # weak hashes that fit in one probe and are confirmed; more are looked at one after the other
HOSTILE = 512 * MIB, 16  # chance never comes to this: whoever made the signature means to keep us busy


@dataclass
class Matched:
    """What was found in one range. ``records`` and ``leaves`` are for the new file's own signature."""

    start: int
    end: int
    copies: list[Copy]
    records: bytes = b""
    leaves: bytes = b""
    crc64: int = 0  # CRC64NVME of the range


@dataclass
class Matcher:
    """Finds the blocks of one signature in files. Not thread-safe: each task has its own.

    ``least``: bytes of a copy below which it is of no use (a store's smallest part). Then a region in which nothing fits is only
    probed: no copy of so many bytes is missed, and none that may be joined with one of the next range.
    """

    signature: Signature
    least: int = 0
    block: int = field(init=False)
    slid: int = field(default=0, init=False)  # positions looked at, for reports and tests
    confirmed_in_vain: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.block = self.signature.header.block
        self._size = self.signature.header.binding.size
        self._records = self.signature.records
        self._whole = self._size // self.block
        self._tail = self._size % self.block
        self._fails: Counter[int] = Counter()
        self._slider: Slider | None = None
        self._ahead = memoryview(b"")

    def match(self, read: Read, size: int, start: int, end: int, sign: bool = True) -> Matched:
        """Match positions ``start`` to ``end`` of a file of ``size`` bytes; both are multiples of max(block, 1 MiB), or ``end``
        is ``size``. ``sign``: the range's records, leaves and CRC64 are wanted too."""
        unit = max(self.block, LEAF)
        if start % unit or (end % unit and end != size):
            raise ValueError(f"the range {start}-{end} does not lie on multiples of {unit}")
        out = Matched(start, end, [])
        last = self._aligned(read, size, out, sign, unit)
        at = start
        for copy in [*out.copies, None]:
            stop = copy.at if copy else min(size, end + self.block - 1)
            if copy is None or stop > at:
                self._slide(read, size, at, stop, out)
            at = copy.end if copy else at
        out.copies = merge([*out.copies, *last])
        return out

    def _record(self, k: int) -> bytes:
        return self._records[k * RECORD : (k + 1) * RECORD]

    def _aligned(self, read: Read, size: int, out: Matched, sign: bool, unit: int) -> list[Copy]:
        """Add the blocks that stand where they stood. The short last one is returned apart: it may be a single byte that is
        equal by chance, and must not keep a whole block from being found across it."""
        last: list[Copy] = []
        step = -(-CHUNK // unit) * unit
        buffer = memoryview(bytearray(min(step, max(1, out.end - out.start))))
        records, leaves = bytearray(), bytearray()
        for start in range(out.start, out.end, step):
            data = buffer[: min(step, out.end - start)]
            read(start, data)
            first = start // self.block
            if sign:
                mine, some = hash_both(data, self.block)
                records += mine
                leaves += some
                out.crc64 = crc64nvme(data, out.crc64)
                for i in range(len(data) // self.block):
                    if mine[i * RECORD : (i + 1) * RECORD] == self._record(first + i) and first + i < self._whole:
                        self._stands(first + i, out)
            else:
                for i in range(len(data) // self.block):
                    if first + i < self._whole and self._is(first + i, data[i * self.block : (i + 1) * self.block]):
                        self._stands(first + i, out)
            at = self._whole * self.block - start
            if (
                self._tail
                and at >= 0
                and at + self._tail <= len(data)
                and self._is(self._whole, data[at : at + self._tail])
            ):
                last.append(Copy(start + at, start + at, self._tail))
        out.records, out.leaves = bytes(records), bytes(leaves)
        return last

    def _stands(self, k: int, out: Matched) -> None:
        """Block ``k`` stands where it stood, the next after those that are known to."""
        at, copies = k * self.block, out.copies
        if copies and copies[-1].end == at:
            copies[-1] = Copy(copies[-1].at, copies[-1].at, copies[-1].length + self.block)
        else:
            copies.append(Copy(at, at, self.block))

    def _is(self, k: int, piece: memoryview) -> bool:
        """Whether ``piece`` is block ``k``; BLAKE3 is asked only where the weak hash fits."""
        record = self._record(k)
        return (
            crc32c(piece) == int.from_bytes(record[:4], "little") and blake3.blake3(piece).digest() == record[4:]
        )  # fmt: skip

    # inside what did not match
    def _slide(self, read: Read, size: int, start: int, stop: int, out: Matched) -> None:
        at, expected = start, -1
        if self._whole and stop - start >= self.block:
            if self._slider is None:
                from hugesync_tasks.delta.slide import Slider

                self._slider = Slider(self._records, self._whole, self.block)
            dense, stride = start + self.least, self.least - 2 * self.block
            while at + self.block <= stop:
                if at >= dense and stride >= 2 * self.block:
                    at, dense = self._probe(read, at, stop, stride)
                found = len(out.copies)
                at, expected = self._chunk(read, at, stop, expected, out)
                if len(out.copies) > found:
                    dense = at + self.least
        self._end(read, size, start, stop, out)

    def _probe(self, read: Read, at: int, stop: int, stride: int) -> tuple[int, int]:
        """From where on, and up to where, to look at every position: no useful copy begins between ``at`` and there.

        A copy that begins behind ``at`` and up to the probe has ``stride`` bytes and two blocks more, or goes on beyond ``stop``:
        one of its blocks begins within the probe, which looks at the positions of one block.
        """
        while at + stride + 2 * self.block <= stop:
            if self._known(read, at + stride):
                return at, at + stride + self.block + self.least
            at += stride
        return at, stop

    def _known(self, read: Read, at: int) -> bool:
        """Whether a block begins at one of a block's positions from ``at`` on; where too many might, it is not found out here."""
        slider = self._slider
        assert slider is not None
        data = slider.room(self.block)
        read(at, data[: 2 * self.block - 1])
        self.slid += self.block
        where, slots = slider.look(self.block)
        found = zip(where.tolist(), slots.tolist(), strict=True)
        return len(where) > FEW or any(self._confirm(slider, data[p : p + self.block], s, -1) >= 0 for p, s in found)

    def _chunk(self, read: Read, at: int, stop: int, expected: int, out: Matched) -> tuple[int, int]:
        """Look at some positions from ``at`` on; returns where to go on and which block would come next."""
        slider = self._slider
        assert slider is not None
        count = min(slider.most, stop - self.block - at + 1)
        data = slider.room(count)
        read(at, data[: count + self.block - 1])
        self.slid += count
        where, slots = slider.look(count)
        if self._in_vain(*LONELY):
            where, slots = slider.paired(where, slots)
        i, done = 0, at
        while i < len(where) and not self._in_vain(*HOSTILE):
            position, slot = int(where[i]), int(slots[i])
            k = self._confirm(slider, data[position : position + self.block], slot, expected)
            if k < 0:
                if not slider.index.alive[slot]:
                    keep = slots != slot
                    keep[: i + 1] = False
                    where, slots, i = where[keep], slots[keep], 0
                else:
                    i += 1
                continue
            length, expected = self._run(read, at + position, k, stop)
            out.copies.append(Copy(at + position, k * self.block, length))
            done = at + position + length
            if self._tail and expected == self._whole and done + self._tail <= stop:
                self._tail_at(read, done, out)
            i = int(where.searchsorted(done - at))
        return max(at + count, done), expected

    def _in_vain(self, some: int, each: int) -> bool:
        return self.confirmed_in_vain * self.block > some + each * self.slid

    def _confirm(self, slider: Slider, piece: memoryview, slot: int, expected: int) -> int:
        """The block that ``piece`` is, or -1. The one that continues the last copy is preferred."""
        strong = blake3.blake3(piece).digest()
        if 0 <= expected < self._whole and self._record(expected)[4:] == strong:
            return expected
        for k in slider.index.blocks(slot, strong, CHAIN):
            if self._record(int(k))[4:] == strong:
                self._fails.pop(slot, None)
                return int(k)
        self.confirmed_in_vain += 1
        self._fails[slot] += 1
        if self._fails[slot] >= IN_VAIN:
            slider.index.forget(slot)
        return -1

    def _run(self, read: Read, at: int, k: int, stop: int) -> tuple[int, int]:
        """How many bytes from ``at`` on are block ``k`` and those that follow it, and the block after them."""
        end, k = at + self.block, k + 1
        few = self.block  # a run that ends soon costs little, a long one is read in large pieces
        while True:
            n = min(few, stop - end, (self._whole - k) * self.block) // self.block * self.block
            if n <= 0:
                break
            if len(self._ahead) < n:
                self._ahead = memoryview(bytearray(n))  # kept: new pages each time cost 0.02 to 0.4 s a GiB
            data = self._ahead[:n]
            read(end, data)
            for i in range(0, n, self.block):  # BLAKE3 alone: here a block most often fits
                if blake3.blake3(data[i : i + self.block]).digest() != self._record(k)[4:]:
                    return end - at, k
                end, k = end + self.block, k + 1
            few = min(2 * few, max(CHUNK, self.block))
        return end - at, k

    def _end(self, read: Read, size: int, start: int, stop: int, out: Matched) -> None:
        """The short last block, where the file ends with it."""
        at = size - self._tail
        if not self._tail or stop != size or at < start or out.end != size:
            return
        self._tail_at(read, at, out)

    def _tail_at(self, read: Read, at: int, out: Matched) -> None:
        data = memoryview(bytearray(self._tail))
        read(at, data)
        if self._is(self._whole, data):
            out.copies.append(Copy(at, self._whole * self.block, self._tail))
