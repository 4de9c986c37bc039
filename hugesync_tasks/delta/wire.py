"""What the tasks of a delta leave for each other in the ledger, as bytes. Only our own workers write it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hugesync_tasks.delta.match import Matched
from hugesync_tasks.delta.ops import Copy

_HEAD = struct.Struct("<QQQII")  # start, end, CRC64NVME, copies, bytes of records; the leaves follow
_COPY = struct.Struct("<QQQ")


def pack(found: Matched) -> bytes:
    """The note of one matched range; ``unpack`` is its inverse."""
    head = _HEAD.pack(found.start, found.end, found.crc64, len(found.copies), len(found.records))
    copies = b"".join(_COPY.pack(c.at, c.source, c.length) for c in found.copies)
    return head + copies + found.records + found.leaves


def unpack(raw: bytes) -> Matched:
    """Raises struct.error where it is no such note."""
    start, end, crc64, count, records = _HEAD.unpack_from(raw)
    at = _HEAD.size + count * _COPY.size
    copies = [Copy(*fields) for fields in _COPY.iter_unpack(raw[_HEAD.size : at])]
    return Matched(start, end, copies, raw[at : at + records], raw[at + records :], crc64)


@dataclass(frozen=True, slots=True)
class Row:
    """How one part is made: ``start`` in the new file, then pieces (length, offset in the basis; None = from the source)."""

    start: int
    pieces: tuple[tuple[int, int | None], ...]

    @property
    def length(self) -> int:
        return sum(length for length, _ in self.pieces)

    @property
    def fetched(self) -> int:
        """Bytes that come from the source."""
        return sum(length for length, basis in self.pieces if basis is None)

    @property
    def kept(self) -> list[tuple[int, int]]:
        """(offset, bytes) of what the basis has at the same place: a file changed in place keeps it."""
        out, at = [], self.start
        for length, basis in self.pieces:
            if basis == at:
                out.append((at, length))
            at += length
        return out

    def pack(self) -> bytes:
        return json.dumps([self.start, self.pieces], separators=(",", ":")).encode()

    @classmethod
    def unpack(cls, raw: bytes) -> Row:
        start, pieces = json.loads(raw)
        return cls(start, tuple((length, basis) for length, basis in pieces))


def rows_of(copies: Iterable[Copy], size: int, step: int) -> Iterator[Row]:
    """A file of ``size`` bytes in parts of ``step`` bytes, each made of pieces; ``copies`` as ``ops.merge`` returns them."""
    pieces: list[tuple[int, int | None]] = []
    begun = at = 0
    for length, basis in _stretches(copies, size):
        while length:
            some = min(length, step - at % step)
            pieces.append((some, basis))
            at, length = at + some, length - some
            basis = None if basis is None else basis + some
            if at % step == 0 or at == size:
                yield Row(begun, tuple(pieces))
                begun, pieces = at, []


def _stretches(copies: Iterable[Copy], size: int) -> Iterator[tuple[int, int | None]]:
    at = 0
    for copy in copies:
        yield copy.at - at, None
        yield copy.length, copy.source
        at = copy.end
    yield size - at, None
