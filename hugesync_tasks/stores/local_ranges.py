"""The ``.ranges`` file beside a multi-part temporary: which parts are on disk, told slot by slot.

A slot is written after its range was synced, and carries the generation, the part's size and CRC64NVME and a checksum
of itself, so that neither a torn write nor another generation's slot can pass for a part.
"""

from __future__ import annotations

import os
import struct
from hashlib import blake2b

from hugesync_tasks.model import Part, Upload

_SLOT = struct.Struct(">16sQQQ8s")  # generation, size, CRC64NVME, 1 where the CRC is known, checksum
_HEADER = struct.Struct(">16sQQQ8s256p")  # generation, size of the file, part size, format, checksum, its name
_FORMAT = 1
SIZE = _SLOT.size
HEADER = _HEADER.size
FIRST = 512  # where the slots begin
_READ = 4096 * SIZE


def part_length(upload: Upload, number: int) -> int:
    """Bytes of part ``number``; 0 or less where there is none."""
    return min(upload.part_size, upload.size - (number - 1) * upload.part_size)


def part_total(upload: Upload) -> int:
    return -(-upload.size // upload.part_size)


def header(upload: Upload, name: bytes) -> bytes:
    """What begins the file; ``name``: the target's, by which ``list_uploads`` knows what the upload is for."""
    fields = (_generation(upload), upload.size, upload.part_size, _FORMAT)
    return _HEADER.pack(*fields, _checksum(0, fields, name), name)


def read_header(fd: int) -> bytes:
    """The header as it is on disk, to be compared with ``header``. Raises OSError."""
    return os.pread(fd, _HEADER.size, 0)


def target_name(fd: int) -> bytes | None:
    """The name of the file the upload is for; None where the header is not whole. Raises OSError."""
    raw = read_header(fd)
    if len(raw) < _HEADER.size:
        return None
    *fields, checksum, name = _HEADER.unpack(raw)
    whole = checksum == _checksum(0, (fields[0], fields[1], fields[2], fields[3]), name)
    return name if whole and name and b"/" not in name else None


def slot(upload: Upload, part: Part) -> tuple[bytes, int]:
    """The slot of a part and its offset in the file."""
    fields = (_generation(upload), part.size, part.crc64 or 0, int(part.crc64 is not None))
    return _SLOT.pack(*fields, _checksum(part.number, fields)), _offset(part.number)


def read_parts(fd: int, upload: Upload, name: bytes) -> list[Part]:
    """The valid slots of this upload; none where the header is another upload's. Raises OSError."""
    if read_header(fd) != header(upload, name):
        return []
    parts: list[Part] = []
    number, total = 1, part_total(upload)
    while number <= total and (block := os.pread(fd, _READ, _offset(number))):
        for at in range(0, len(block) - SIZE + 1, SIZE):
            part = _part(block[at : at + SIZE], upload, number)
            if part is not None:
                parts.append(part)
            number += 1
        if len(block) < SIZE:
            break
    return parts


def etag(crc64: int | None) -> str:
    """A part's ETag: its CRC in hex, "" where nobody has computed it."""
    return "" if crc64 is None else f"{crc64:016x}"


def _part(raw: bytes, upload: Upload, number: int) -> Part | None:
    generation, size, crc, known, checksum = _SLOT.unpack(raw)
    if generation != _generation(upload) or checksum != _checksum(number, (generation, size, crc, known)):
        return None
    if size != part_length(upload, number):
        return None
    crc64 = crc if known else None
    return Part(number, size, etag(crc64), crc64)


def _generation(upload: Upload) -> bytes:
    return blake2b(upload.generation.encode(), digest_size=16).digest()


def _offset(number: int) -> int:
    return FIRST + (number - 1) * SIZE


def _checksum(number: int, fields: tuple[bytes, int, int, int], name: bytes = b"") -> bytes:
    digest = blake2b(fields[0], digest_size=8, person=b"hugesync slot")
    digest.update(struct.pack(">QQQQ", number, *fields[1:]) + name)
    return digest.digest()
