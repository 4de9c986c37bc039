"""Verify: what was shown about the bytes, beyond "no error came back"."""

from __future__ import annotations

import hashlib
import re

from awscrt.checksums import combine_crc64nvme, crc32c, crc64nvme

from hugesync_tasks.errors import Corrupted
from hugesync_tasks.model import Commit, Head, Part

_MD5 = re.compile(r"[0-9a-f]{32}")


def check_read(source: Head, body: bytes) -> bool:
    """Compare bytes read whole with the digest the source's store holds; False where it holds none.

    Raises Corrupted when they disagree: the read is repeated, never passed on.
    """
    if len(body) != source.entry.size:
        raise Corrupted(f"read {len(body)} of {source.entry.size} bytes", source.entry.key)
    if source.crc64 is not None:
        if crc64nvme(body) != source.crc64:
            raise Corrupted("the bytes read do not have the store's CRC64NVME", source.entry.key)
        return True
    if source.crc32c is not None:
        if crc32c(body) != source.crc32c:
            raise Corrupted("the bytes read do not have the store's CRC32C", source.entry.key)
        return True
    if source.md5 is not None:
        if _md5(body) != source.md5:
            raise Corrupted("the bytes read do not have the store's MD5", source.entry.key)
        return True
    # An ETag may or may not be an MD5. One that equals the MD5 of what was read proves it; one that differs shows nothing.
    return bool(_MD5.fullmatch(source.entry.version)) and _md5(body) == source.entry.version


def check_commit(commit: Commit, size: int, read_proven: bool) -> bool:
    """Whether the committed object is verified: the store proved it, or what was written had been proven on reading.

    Raises Corrupted when the store shows another size than was sent: nobody may ever see that called done.
    """
    if commit.size != size:
        raise Corrupted(f"the destination holds {commit.size} bytes, {size} were sent", commit.key)
    return bool(commit.proven) or read_proven


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def whole_crc64(parts: list[Part]) -> int | None:
    """CRC64NVME of the concatenation of ``parts`` in order; None where one part has none."""
    total: int | None = 0
    for part in sorted(parts, key=lambda p: p.number):
        if part.crc64 is None or total is None:
            return None
        total = combine_crc64nvme(total, part.crc64, part.size)
    return total
