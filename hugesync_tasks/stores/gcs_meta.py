"""Objects of Google Cloud Storage as ``Entry``, ``Head`` and ``Meta``, and what is written with them.

``mtime`` has rclone's key and, as rclone has it on this service, the form of RFC 3339 with nanoseconds; decimal seconds, as
rclone writes them elsewhere, are read as well.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

from hugesync_tasks.model import Entry, Head, Meta
from hugesync_tasks.stores import s3_meta
from hugesync_tasks.stores.rfc3339 import instant_ns, rfc3339
from hugesync_tasks.stores.s3_meta import MTIME, entry_of

FIELDS = "name,size,updated,generation,metadata"  # of a listing
FULL = f"{FIELDS},crc32c,md5Hash,contentType,storageClass"
_NOTE = re.compile("([0-9a-f]{16})-([0-9a-f]{8})-([0-9a-f]{1,16})")
_PREFIX = "x-goog-meta-"
CRC64 = "hugesync-crc64"


def custom(meta: Meta) -> dict[str, str]:
    """The custom metadata of ``meta``; what is None or empty is left out."""
    pairs = s3_meta.user_metadata(meta)
    if meta.mtime_ns is not None:
        pairs[MTIME] = rfc3339(meta.mtime_ns)
    return pairs


def resource(meta: Meta, note: str = "") -> dict[str, Any]:
    """The object resource that a write carries. ``note``: see ``note_of``."""
    noted = {CRC64: note} if note else {}
    made: dict[str, Any] = {
        "metadata": custom(meta) | noted,
        "contentType": meta.content_type or "application/octet-stream",
    }
    if meta.storage_class:
        made["storageClass"] = meta.storage_class
    return made


def meta_of(pairs: Mapping[str, str], content_type: str | None = None, storage_class: str | None = None) -> Meta:
    """The inverse. Metadata is written by anyone: what cannot be read counts as absent, never as an error."""
    low = {name.lower(): str(value) for name, value in pairs.items()}
    found = s3_meta.meta_of(low, content_type, storage_class)
    return replace(found, mtime_ns=when) if (when := instant_ns(low.get(MTIME, ""))) is not None else found


def entry(key: str, one: Mapping[str, Any]) -> Entry:
    """Of an item of a listing, or of an object's resource."""
    meta = meta_of(one.get("metadata") or {})
    return entry_of(key, int(one.get("size", 0)), instant_ns(str(one.get("updated", ""))), version_of(one), meta)


def head(key: str, one: Mapping[str, Any]) -> Head:
    found = entry(key, one)
    meta = meta_of(one.get("metadata") or {}, one.get("contentType"), one.get("storageClass"))
    return Head(found, meta, crc64_of(one), hex_md5(one.get("md5Hash")), crc32c=crc32c_of_base64(one.get("crc32c")))


def head_of_headers(key: str, headers: Mapping[str, str], size: int) -> Head:
    """Of the answer to a GET."""
    pairs = {n[len(_PREFIX) :].lower(): v for n, v in headers.items() if n.lower().startswith(_PREFIX)}
    meta = meta_of(pairs, headers.get("content-type"), headers.get("x-goog-storage-class"))
    hashes = dict(h.strip().partition("=")[::2] for h in headers.get("x-goog-hash", "").split(","))
    modified = headers.get("last-modified")
    at = int(parsedate_to_datetime(modified).timestamp()) * 10**9 if modified else None
    found = entry_of(key, size, at, headers.get("x-goog-generation", ""), meta)
    digests = hex_md5(hashes.get("md5")), crc32c_of_base64(hashes.get("crc32c"))
    return Head(found, meta, noted_crc64(pairs, digests[1], size), digests[0], crc32c=digests[1])


def head_of_small(key: str, result: Any) -> Head:
    """Of obstore's answer. Its ETag is the MD5 of some objects; which, it does not say. It shows no CRC32C, so no note is believed."""
    about, pairs = result.meta, dict(result.attributes)
    meta = meta_of(pairs, pairs.pop("Content-Type", None), pairs.pop("Storage-Class", None))
    at = int(about["last_modified"].timestamp()) * 10**9
    return Head(entry_of(key, int(about["size"]), at, about["version"], meta), meta)


def note_of(crc64: int | None, crc32c: int, size: int) -> str:
    """The CRC64NVME of an object, which the service itself does not know, for its metadata: once its own CRC32C has shown that
    these are the bytes, a later download of changes can be proven by it. Metadata outlive the bytes they were written with, so
    the number is bound to them. "" where there is none."""
    return "" if crc64 is None else f"{crc64:016x}-{crc32c:08x}-{size:x}"


def noted_crc64(pairs: Mapping[str, Any], crc32c: int | None, size: int) -> int | None:
    """What ``note_of`` noted; None where nothing is, or of other bytes than the store's own CRC32C and size show."""
    found = _NOTE.fullmatch(str(pairs.get(CRC64, "")))
    return int(found[1], 16) if found and (int(found[2], 16), int(found[3], 16)) == (crc32c, size) else None


def crc64_of(one: Mapping[str, Any]) -> int | None:
    """The same, of an object's resource."""
    return noted_crc64(one.get("metadata") or {}, crc32c_of_base64(one.get("crc32c")), int(one.get("size", -1)))


def version_of(one: Mapping[str, Any]) -> str:
    return str(one.get("generation", ""))


def crc32c_of(body: bytes | memoryview) -> int:
    from awscrt import checksums

    return int(checksums.crc32c(body))


def base64_of(crc32c: int) -> str:
    """As the service spells it: four bytes, big-endian."""
    return base64.b64encode(crc32c.to_bytes(4, "big")).decode()


def crc32c_of_base64(text: object) -> int | None:
    """The inverse; None where the store gave none, or no such thing."""
    raw = _decoded(text)
    return int.from_bytes(raw, "big") if len(raw) == 4 else None


def hex_md5(text: object) -> str | None:
    raw = _decoded(text)
    return raw.hex() if len(raw) == 16 else None


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except binascii.Error:
        return b""
