"""The digest of an entry, and whether both ends hold the same bytes, each read at most once and only where no store tells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from awscrt.checksums import crc64nvme

from hugesync_tasks.stages.contents import End, What, held
from hugesync_tasks.token import Token


@dataclass(frozen=True, slots=True)
class Compared:
    """``crc64``: the CRC64NVME of the source's bytes."""

    crc64: int
    equal: bool


def digest_of(end: End, token: Token) -> int:
    """The CRC64NVME of the object: what its store holds, else of its bytes. Raises Moved, and what the store raises."""
    known = end.digests(token).get("crc64")
    if known is None:
        known, _ = _read(end, token)
    return int(known)


def compare(ours: End, theirs: End, token: Token) -> Compared:
    """The source's digest, and whether the destination has these bytes. Raises as ``digest_of``."""
    here, there = ours.digests(token), theirs.digests(token)
    found = held(here, there)
    equal = found.what is What.EQUAL if found is not None else None
    crc = here.get("crc64")
    if crc is None:
        by_md5 = equal is None and "crc64" not in there and "md5" in there
        crc, md5 = _read(ours, token, by_md5)
        theirs.check(token)
        if by_md5:
            equal = md5 == there["md5"]
    if equal is None:
        other = there.get("crc64")
        if other is None:
            other, _ = _read(theirs, token)
            ours.check(token)
        equal = other == crc
    return Compared(int(crc), equal)


def _read(end: End, token: Token, with_md5: bool = False) -> tuple[int, str]:
    """CRC64NVME, and with it the MD5 in hex where that is wanted, of a version that was there before and after."""
    crc = 0
    md5 = hashlib.md5(usedforsecurity=False)
    chunks: Iterator[bytes] = end.chunks(token)
    for chunk in chunks:
        crc = crc64nvme(chunk, crc)
        if with_md5:
            md5.update(chunk)
    end.check(token)
    return crc, md5.hexdigest()
