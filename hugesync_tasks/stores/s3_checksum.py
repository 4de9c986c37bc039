"""Checksums as S3 spells them."""

from __future__ import annotations

import base64
import binascii
import re

_MD5 = re.compile(r"[0-9a-f]{32}")


def crc64_of(body: bytes | memoryview) -> int:
    """CRC64NVME."""
    from awscrt import checksums

    return int(checksums.crc64nvme(body))


def base64_of(crc64: int) -> str:
    """As in ``x-amz-checksum-crc64nvme``: eight bytes, big-endian."""
    return base64.b64encode(crc64.to_bytes(8, "big")).decode()


def crc64_of_base64(text: str | None) -> int | None:
    """The inverse; None where the store gave none, or no such thing."""
    try:
        raw = base64.b64decode(text or "", validate=True)
    except binascii.Error:
        return None
    return int.from_bytes(raw, "big") if len(raw) == 8 else None


def md5_of(etag: str) -> str | None:
    """The MD5 that an ETag of a single-part object is; None of a multipart one."""
    return etag if _MD5.fullmatch(etag) else None
