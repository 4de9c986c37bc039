"""The delta file: what makes a new file of its basis. ``docs/hssig.md`` says every byte.

    magic "HSDELT\\r\\n" (8) | version u16 | basis size u64 | basis digest 32 | new size u64 | new digest 32
    then operations: 1 copy {source u64, length u64} | 2 insert {length u64, bytes} | 0 end
    then BLAKE3 of all before it, 32

Little endian. The copies and inserts of a delta cover the new file exactly, in order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import blake3

from hugesync_tasks.delta.ops import Copy, inserts

MAGIC = b"HSDELT\r\n"
VERSION = 1
_START = struct.Struct("<8sHQ32sQ32s")
_COPY, _INSERT = struct.Struct("<BQQ"), struct.Struct("<BQ")
_END, _COPIES, _INSERTS = 0, 1, 2
_PIECE = 1 << 20


class BadDelta(Exception):
    """This is no delta, or a broken one, or one for another basis."""


@dataclass(frozen=True, slots=True)
class Ends:
    """What a delta leads from and to: sizes in bytes, digests as ``blocks.file_digest``."""

    basis_size: int
    basis_digest: bytes
    size: int
    digest: bytes


def write(ends: Ends, copies: Iterable[Copy], read: Callable[[int, memoryview], None]) -> Iterator[bytes]:
    """The delta as chunks. ``copies`` as ``ops.merge`` returns them; ``read`` fills a buffer from the new file."""
    body = blake3.blake3()
    for chunk in _body(ends, list(copies), read):
        body.update(chunk)
        yield chunk
    yield body.digest()


def _body(ends: Ends, copies: list[Copy], read: Callable[[int, memoryview], None]) -> Iterator[bytes]:
    yield _START.pack(MAGIC, VERSION, ends.basis_size, ends.basis_digest, ends.size, ends.digest)
    literal = dict(inserts(copies, ends.size))
    copied = {c.at: c for c in copies}
    at = 0
    while at < ends.size:
        if at in copied:
            copy = copied[at]
            yield _COPY.pack(_COPIES, copy.source, copy.length)
            at += copy.length
            continue
        yield _INSERT.pack(_INSERTS, literal[at])
        end = at + literal[at]
        while at < end:
            piece = bytearray(min(_PIECE, end - at))
            read(at, memoryview(piece))
            yield bytes(piece)
            at += len(piece)
    yield bytes([_END])


class DeltaReader:
    """Reads a delta as a stream; nothing that it says is believed before it is checked. Raises BadDelta."""

    def __init__(self, take: Callable[[int], bytes]) -> None:
        """``take(n)`` returns the next n bytes, or fewer at the end."""
        self._take = take
        self._body = blake3.blake3()
        magic, version, basis_size, basis_digest, size, digest = _START.unpack(self._exactly(_START.size))
        if magic != MAGIC:
            raise BadDelta("this is no delta file")
        if version != VERSION:
            raise BadDelta(f"the delta has format version {version}, and this release reads {VERSION}")
        self.ends = Ends(basis_size, basis_digest, size, digest)

    def __iter__(self) -> Iterator[Copy | bytes]:
        """Copies and the bytes of inserts, in order of the new file. The last step checks the delta's own digest."""
        at = 0
        while (kind := self._exactly(1)[0]) != _END:
            if kind == _COPIES:
                source, length = struct.unpack("<QQ", self._exactly(16))
                if not length or source + length > self.ends.basis_size or at + length > self.ends.size:
                    raise BadDelta("the delta copies what is not there")
                yield Copy(at, source, length)
                at += length
            elif kind == _INSERTS:
                (length,) = struct.unpack("<Q", self._exactly(8))
                if not length or at + length > self.ends.size:
                    raise BadDelta("the delta inserts more than the file holds")
                at += length
                while length:
                    piece = self._exactly(min(_PIECE, length))
                    yield piece
                    length -= len(piece)
            else:
                raise BadDelta("the delta is broken")
        digest = self._body.digest()
        if at != self.ends.size or self._take(32) != digest or self._take(1):
            raise BadDelta("the delta is broken: its own digest does not fit")

    def _exactly(self, n: int) -> bytes:
        piece = self._take(n)
        if len(piece) != n:
            raise BadDelta("the delta is cut off")
        self._body.update(piece)
        return piece
