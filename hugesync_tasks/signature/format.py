"""The ``.hssig`` file: a signature with what it was made from. ``docs/hssig.md`` says every byte.

    magic "HSSIG\\r\\n\\x1a" (8) | version u16 | header length u16 | header | records | trailer

The header is fixed-order binary, little endian. A signature is a hint: whoever may write to the bucket may have written
it. So the reader trusts no number before it is checked, allocates only what the number of bytes at hand allows, and
anything wrong, foreign or stale is ``Unusable``, which means "make a new one", never a failed file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import blake3

from hugesync_tasks.signature.blocks import MAX_BLOCK, MAX_BLOCKS, RECORD, allowed_block, block_count, least_block

MAGIC = b"HSSIG\r\n\x1a"  # a transfer that changes line ends, or cuts at Ctrl-Z, breaks it visibly
VERSION = 1
HASHES = ("crc32c", "blake3")  # the weak and the strong one of version 1
MAX_TEXT = 1024  # bytes of each text of the header
MAX_HEADER = 8 * 1024
MAX_SIZE = 1 << 62  # bytes a signed file may have
_START = struct.Struct("<8sHH")
_FIXED = struct.Struct("<QIQqQ32s")  # size, block, blocks, mtime ns, made at (s), file digest
_NO_MTIME = -(1 << 63)
_TRAILER = 32
_CHUNK = 16_384 * RECORD


class Unusable(Exception):
    """This signature cannot be used: broken, of another version, or of another object. A new one must be made."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The object a signature is of. ``version`` is the store's (ETag, generation; "" of a local file: size and mtime bind it)."""

    size: int  # bytes
    version: str = ""
    version_id: str = ""
    mtime_ns: int | None = None  # the source's mtime that was stored with the object


@dataclass(frozen=True, slots=True)
class Header:
    """Everything a signature says besides its records."""

    binding: Binding
    block: int  # bytes
    digest: bytes  # 32 bytes: of the whole file, ``blocks.file_digest``
    creator: str = ""
    made_at: int = 0  # seconds since 1970
    weak: str = "crc32c"
    strong: str = "blake3"

    @property
    def blocks(self) -> int:
        """How many records follow."""
        return block_count(self.binding.size, self.block)

    @property
    def length(self) -> int:
        """Bytes of the whole ``.hssig``."""
        return _START.size + len(_encode(self)) + self.blocks * RECORD + _TRAILER


@dataclass(frozen=True, slots=True)
class Signature:
    """A whole signature. ``records``: 36 bytes a block, as ``blocks.hash_blocks`` packs them."""

    header: Header
    records: bytes


def write(header: Header, records: Iterable[bytes | bytearray]) -> Iterator[bytes | bytearray]:
    """The file as chunks; ``records`` may come in pieces of any size. Raises ValueError where they do not fit the header."""
    if not 0 <= header.binding.size < MAX_SIZE or not _fits(header.binding.size, header.block):
        raise ValueError(f"a signature of {header.binding.size} bytes cannot have blocks of {header.block}")
    encoded = _encode(header)
    body = blake3.blake3()
    start = _START.pack(MAGIC, VERSION, len(encoded)) + encoded
    body.update(start)
    yield start
    left = header.blocks * RECORD
    for piece in records:
        left -= len(piece)
        body.update(piece)
        yield piece
    if left:
        raise ValueError(f"the records are {left} bytes short of {header.blocks} blocks")
    yield body.digest()


def read(take: Callable[[int], bytes], expect: Binding | None = None, length: int | None = None) -> Signature:
    """Read one signature. ``take(n)`` returns the next n bytes, or fewer at the end; ``length``: bytes of the whole, where known.

    ``expect``: what it must be of. Raises Unusable, before anything is allocated that the header only claims.
    """
    header, start = read_header(take)
    if expect is not None and not _binds(header.binding, expect):
        raise Unusable("it is of another version of the object")
    if length is not None and length != header.length:
        raise Unusable(f"it has {length} bytes, and its header means {header.length}")
    body = blake3.blake3(start)
    records = bytearray()
    left = header.blocks * RECORD
    while left:
        piece = _exactly(take, min(left, _CHUNK))  # memory follows the bytes that come, not the number that is claimed
        body.update(piece)
        records += piece
        left -= len(piece)
    if _exactly(take, _TRAILER) != body.digest():
        raise Unusable("its own digest does not fit")
    if take(1):
        raise Unusable("something follows its end")
    return Signature(header, bytes(records))


def read_header(take: Callable[[int], bytes]) -> tuple[Header, bytes]:
    """The header and the bytes it was read from. Raises Unusable."""
    start = _exactly(take, _START.size)
    magic, version, length = _START.unpack(start)
    if magic != MAGIC:
        raise Unusable("it is no signature")
    if version != VERSION:
        raise Unusable(f"it has format version {version}, and this release reads {VERSION}")
    if not _FIXED.size <= length <= MAX_HEADER:
        raise Unusable(f"its header claims {length} bytes")
    encoded = _exactly(take, length)
    return _decode(encoded), start + encoded


def _fits(size: int, block: int) -> bool:
    """Whether so large a file may have such blocks: whoever matches holds some of them in memory, so none is larger than need be."""
    return (
        allowed_block(block) and block_count(size, block) <= MAX_BLOCKS and block <= max(MAX_BLOCK, least_block(size))
    )


def _encode(header: Header) -> bytes:
    bound = header.binding
    if len(header.digest) != 32 or (header.weak, header.strong) != HASHES:
        raise ValueError("a signature has a digest of 32 bytes, and hashes that can be read back")
    mtime = _NO_MTIME if bound.mtime_ns is None else bound.mtime_ns
    out = _FIXED.pack(bound.size, header.block, header.blocks, mtime, header.made_at, header.digest)
    for text in (bound.version, bound.version_id, header.creator, header.weak, header.strong):
        raw = text.encode()
        if len(raw) > MAX_TEXT:
            raise ValueError(f"{len(raw)} bytes of text in a signature's header")
        out += struct.pack("<H", len(raw)) + raw
    return out


def _decode(encoded: bytes) -> Header:
    size, block, blocks, mtime, made_at, digest = _FIXED.unpack_from(encoded)
    texts, at = [], _FIXED.size
    for _ in range(5):
        if at + 2 > len(encoded):
            raise Unusable("its header is cut off")
        (n,) = struct.unpack_from("<H", encoded, at)
        raw = encoded[at + 2 : at + 2 + n]
        if n > MAX_TEXT or len(raw) != n:
            raise Unusable("its header is cut off")
        try:
            texts.append(raw.decode())
        except UnicodeDecodeError:
            raise Unusable("its header is not UTF-8") from None
        at += 2 + n
    if at != len(encoded):
        raise Unusable("something follows in its header")
    version, version_id, creator, weak, strong = texts
    if (weak, strong) != HASHES:
        raise Unusable("it has other hashes")
    if size >= MAX_SIZE or not _fits(size, block) or blocks != block_count(size, block):
        raise Unusable(f"its numbers do not fit: {size} bytes in {blocks} blocks of {block}")
    bound = Binding(size, version, version_id, None if mtime == _NO_MTIME else mtime)
    return Header(bound, block, digest, creator, made_at, weak, strong)


def _binds(found: Binding, expect: Binding) -> bool:
    if found.size != expect.size:
        return False
    if expect.version or found.version:  # a store's version alone decides: a mtime can be set back
        said = (found.version_id, expect.version_id)
        return found.version == expect.version and (said[0] == said[1] or not all(said))
    return found.mtime_ns is not None and found.mtime_ns == expect.mtime_ns  # a size alone binds nothing


def _exactly(take: Callable[[int], bytes], n: int) -> bytes:
    piece = take(n)
    if len(piece) < n:
        raise Unusable("it is cut off")
    return piece
