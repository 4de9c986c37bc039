"""The objects of a memory bucket: S3's limits, conditions and orders of listing, without multi-part uploads."""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any

from awscrt.checksums import crc64nvme

from hugesync_tasks.errors import BadName, Corrupted, NotFound, StoreError, TooLarge, VersionMismatch
from hugesync_tasks.model import Meta
from hugesync_tasks.stores.base import ANY, Limits

S3_LIKE = Limits(
    name="memory",
    part_conditional=True,
    full_crc64=True,
    etag_is_md5=True,
    intents=True,
    delete_conditional=True,
    probed=True,
)
DEFAULT_TYPE = "binary/octet-stream"  # what S3 answers for an object that was put without a Content-Type

_ORDERS: dict[str, Callable[[str], Any]] = {
    "utf8": lambda key: key,  # Python compares code points, which is the byte order of UTF-8
    "segments": lambda key: key.split("/"),
    "utf16": lambda key: key.encode("utf-16-be"),
    "none": lambda key: hashlib.md5(key.encode(), usedforsecurity=False).digest(),
}


@dataclass(frozen=True, slots=True)
class StoredObject:
    body: bytes
    etag: str
    modified_ns: int
    meta: Meta
    crc64: int

    @property
    def md5(self) -> str | None:
        return None if "-" in self.etag else self.etag


class MemoryObjects:
    """Objects by whole key. Thread-safe; each call is atomic. Arguments as ``MemoryBucket``'s."""

    def __init__(self, limits: Limits = S3_LIKE, clock: Callable[[], int] = time.time_ns) -> None:
        self.limits = limits
        self.log: list[tuple[str, str]] = []
        self.wire: Callable[[bytes], bytes] = bytes
        self._clock = clock
        self._lock = RLock()
        self._objects: dict[str, StoredObject] = {}
        self._order = _ORDERS[limits.list_order]
        self._keys: list[str] = []  # in the server's order

    # what tests look at

    def dump(self) -> dict[str, StoredObject]:
        """Every object by its whole key; equal dumps mean that nothing visible was touched."""
        with self._lock:
            return dict(self._objects)

    def restore(self, objects: dict[str, StoredObject]) -> None:
        """Put the bucket back to a ``dump``."""
        with self._lock:
            self._objects = dict(objects)
            self._keys = sorted(objects, key=self._order)

    # objects

    def get(self, key: str, if_match: str = "") -> StoredObject:
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            raise NotFound(f"no object {key!r}", key)
        if if_match and found.etag != if_match:
            raise VersionMismatch(f"{key!r} is another version now", key)
        return found

    def page(self, prefix: str, after: str | None, size: int) -> tuple[list[tuple[str, StoredObject]], bool]:
        """At most ``size`` objects after the key ``after``, in the server's own order, and whether there are more."""
        contiguous = self.limits.list_order != "none"
        found: list[tuple[str, StoredObject]] = []
        with self._lock:
            at = bisect_left(self._keys, self._order(prefix), key=self._order) if contiguous else 0
            if after is not None:
                at = max(at, bisect_right(self._keys, self._order(after), key=self._order))
            for i in range(at, len(self._keys)):
                key = self._keys[i]
                if key.startswith(prefix):
                    if len(found) == size:
                        return found, True
                    found.append((key, self._objects[key]))
                elif contiguous:
                    break
        return found, False

    def put(self, key: str, body: bytes, meta: Meta, expected: str | None, crc64: int | None = None) -> StoredObject:
        if len(body) > self.limits.max_put:
            raise TooLarge(f"{len(body)} bytes are more than one put may carry ({self.limits.max_put})", key)
        body = self._received(body, crc64, key)
        made = self._object(body, hashlib.md5(body, usedforsecurity=False).hexdigest(), meta, crc64nvme(body))
        return self._publish("put", key, made, expected)

    def copy(self, source: str, if_match: str, key: str, meta: Meta, expected: str | None) -> StoredObject:
        with self._lock:
            found = self.get(source, if_match if self.limits.part_conditional else "")
            if len(found.body) > self.limits.max_copy:
                raise TooLarge(f"{len(found.body)} bytes are more than one copy may carry", source)
            etag = hashlib.md5(found.body, usedforsecurity=False).hexdigest()
            return self._publish("copy", key, self._object(found.body, etag, meta, found.crc64), expected)

    def delete(self, key: str, expected: str) -> None:
        with self._lock:
            found = self._objects.get(key)
            if found is None:
                return
            if expected not in (ANY, found.etag):
                raise VersionMismatch(f"{key!r} is another version now", key)
            del self._objects[key]
            del self._keys[bisect_left(self._keys, self._order(key), key=self._order)]
            self.log.append(("delete", key))

    # rules common to every write

    def _received(self, body: bytes, crc64: int | None, key: str) -> bytes:
        body = self.wire(body)
        if crc64 is not None and crc64nvme(body) != crc64:
            raise Corrupted("BadDigest: the body that arrived has another CRC64NVME", key)
        return body

    def _object(self, body: bytes, etag: str, meta: Meta, crc64: int) -> StoredObject:
        now = self._clock()
        stored = replace(meta, content_type=meta.content_type or DEFAULT_TYPE, owner=False)
        return StoredObject(body, etag, now - now % 1_000_000_000, stored, crc64)

    def _publish(self, op: str, key: str, made: StoredObject, expected: str | None) -> StoredObject:
        self._check_key(key)
        with self._lock:
            there = self._objects.get(key)
            if expected != ANY and (there.etag if there else None) != expected:
                raise VersionMismatch(f"{key!r} is another version now", key)
            if there is None:
                insort(self._keys, key, key=self._order)
            self._objects[key] = made
            self.log.append((op, key))
        return made

    def _check_key(self, key: str) -> None:
        reason = bad_name(key, self.limits)
        if reason is not None:
            raise reason


def bad_name(key: str, limits: Limits) -> StoreError | None:
    """Why no object can have this whole key, or None."""
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return BadName("the key is not valid UTF-8", key.encode(errors="backslashreplace").decode())
    if not encoded:
        return BadName("an object needs a name", key)
    if len(encoded) > limits.max_key:
        return BadName(f"the key has {len(encoded)} bytes, {limits.max_key} are allowed", key)
    return None
