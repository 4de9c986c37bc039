"""The hashes of a file's blocks: a weak one that rolls (CRC-32C) and a strong one that decides (BLAKE3).

The weak hash is the CRC-32C of the whole block. It is linear over GF(2), so a window can be moved by one byte with two
table look-ups (``delta.rolling``), and the processor computes it for an aligned block at memory speed: 12.8 GB/s here,
where an Adler sum over whole blocks ran at 1.3 GB/s. Signing and matching aligned blocks therefore need no compiler.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import blake3
from awscrt.checksums import crc32c

KIB, MIB = 1 << 10, 1 << 20
MIN_BLOCK = 64 * KIB
MAX_BLOCK = 5 * MIB
MAX_BLOCKS = 1 << 20
RECORD = 36  # bytes: u32 weak, little endian; 32 bytes strong
LEAF = MIB  # bytes: the file digest is BLAKE3 over the digests of its leaves, so that any worker may hash any of them

_PACK = struct.Struct("<I32s").pack


def auto_block(size: int) -> int:
    """Bytes per block for a file of ``size`` bytes: 64 KiB times a power of two near 1.5 · √size, at most 5 MiB.

    A signature costs 36 bytes a block and every changed place about one block, so for c places the least is at
    B = √(36 · size / c): this rule is that optimum for 16 places. ``docs/hssig.md`` has the measured gain over a
    fixed 5 MiB. Above 5 TiB blocks grow past 5 MiB, because a signature holds at most 2²⁰.
    """
    block = MIN_BLOCK
    while block < MAX_BLOCK and 16 * block * block < RECORD * size:
        block *= 2
    return max(min(block, MAX_BLOCK), least_block(size))


def least_block(size: int) -> int:
    """The smallest ``allowed_block`` of which a file of ``size`` bytes has no more than ``MAX_BLOCKS``."""
    block = MIN_BLOCK
    while block < MIB and block * MAX_BLOCKS < size:
        block *= 2
    return max(block, -(-size // (MAX_BLOCKS * MIB)) * MIB) if block == MIB else block


def allowed_block(block: int) -> bool:
    """Whether a signature may have blocks of so many bytes: 64, 128, 256, 512 KiB or whole MiB, so that blocks and leaves
    divide each other and every part of a file can be hashed alone."""
    return block in (MIN_BLOCK, 2 * MIN_BLOCK, 4 * MIN_BLOCK, 8 * MIN_BLOCK) or (block > 0 and block % MIB == 0)


def block_count(size: int, block: int) -> int:
    """How many blocks; the last may be short. An empty file has none."""
    return -(-size // block)


def hash_blocks(data: memoryview, block: int) -> bytes:
    """The packed records of ``data``, which begins at a block's start; the last block may be short."""
    out = bytearray()
    for start in range(0, len(data), block):
        piece = data[start : start + block]
        out += _PACK(crc32c(piece), blake3.blake3(piece).digest())
    return bytes(out)


def leaf_digests(data: memoryview) -> bytes:
    """The packed 32-byte BLAKE3 digests of the leaves of ``data``, which begins at a leaf's start."""
    return b"".join(blake3.blake3(data[start : start + LEAF]).digest() for start in range(0, len(data), LEAF))


def hash_both(data: memoryview, block: int) -> tuple[bytes, bytes]:
    """The records and the leaves of ``data``, each MiB of it (or block, of larger ones) hashed twice while the processor has it at
    hand: 0.84 s a GiB of signing, and 1.02 in two passes over 8 MiB."""
    unit, records, leaves = max(block, LEAF), bytearray(), bytearray()
    for start in range(0, len(data), unit):
        piece = data[start : start + unit]
        records += hash_blocks(piece, block)
        leaves += leaf_digests(piece)
    return bytes(records), bytes(leaves)


def file_digest(leaves: Iterable[bytes | bytearray]) -> bytes:
    """The digest of a whole file from the packed digests of all its leaves, in order, in pieces (of an empty file: from none)."""
    digest = blake3.blake3(derive_key_context=_CONTEXT)
    for some in leaves:
        digest.update(some)
    return digest.digest()


_CONTEXT = "hugesync file digest: BLAKE3 over the digests of 1 MiB leaves, version 1"


@dataclass
class BlockHasher:
    """Hashes a stream of chunks of any size into records and leaves."""

    block: int
    records: bytearray = field(default_factory=bytearray)
    leaves: bytearray = field(default_factory=bytearray)
    size: int = 0

    def __post_init__(self) -> None:
        self._unit = max(self.block, LEAF)  # one divides the other: ``allowed_block``
        self._rest = bytearray()

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes of the file; chunks of whole MiB are hashed where they lie."""
        self.size += len(chunk)
        view = memoryview(chunk)
        if self._rest:
            some = min(len(view), self._unit - len(self._rest))
            self._rest += view[:some]
            view = view[some:]
            if len(self._rest) == self._unit:
                self._hash(memoryview(bytes(self._rest)))
                self._rest.clear()
        whole = len(view) // self._unit * self._unit
        self._hash(view[:whole])
        self._rest += view[whole:]

    def finish(self) -> bytes:
        """Hash what is left and return the file's digest; nothing may be fed after it."""
        self._hash(memoryview(bytes(self._rest)))
        self._rest.clear()
        return file_digest([self.leaves])

    def _hash(self, view: memoryview) -> None:
        records, leaves = hash_both(view, self.block)
        self.records += records
        self.leaves += leaves


def records_of(packed: bytes) -> Iterator[tuple[int, bytes]]:
    """(weak, strong) of each packed record."""
    return struct.iter_unpack("<I32s", packed)
