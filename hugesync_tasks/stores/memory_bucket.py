"""The server half of the memory store: one bucket that answers as S3 does, with S3's limits, conditions and refusals.

What emulators are known to wave through is refused here: ``MpuObjectSize``, a second Complete, copy-source-if-match,
ranges past the end, wrong checksums, parts that are too small. Keys S3 allows are allowed (``../x``, ``a//b``; a NUL
too, although a real listing could not carry it in XML).
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from awscrt.checksums import combine_crc64nvme, crc64nvme

from hugesync_tasks.errors import Corrupted, NoSuchUpload, Permanent, TooLarge
from hugesync_tasks.model import Meta, Part
from hugesync_tasks.stores.base import Limits
from hugesync_tasks.stores.memory_objects import S3_LIKE, MemoryObjects, StoredObject


@dataclass(slots=True)
class OpenUpload:
    key: str
    id: str
    begun_ns: int
    meta: Meta
    bodies: dict[int, bytes] = field(default_factory=dict)
    parts: dict[int, Part] = field(default_factory=dict)


class MemoryBucket(MemoryObjects):
    """One bucket, shared by every ``MemoryStore`` (prefix) over it. Thread-safe; each call is atomic.

    ``clock``: nanoseconds since the epoch; LastModified has whole seconds, as S3's. ``wire``: what happens to a body
    between client and server (a test flips a bit here and sees it refused). ``log``: (operation, key) of every effect.
    """

    def __init__(self, limits: Limits = S3_LIKE, clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(limits, clock)
        self._uploads: dict[str, OpenUpload] = {}

    def create_upload(self, key: str, meta: Meta) -> str:
        self._check_key(key)
        upload = OpenUpload(key, uuid.uuid4().hex, self._clock(), meta)
        with self._lock:
            self._uploads[upload.id] = upload
            self.log.append(("create", key))
        return upload.id

    def put_part(self, key: str, upload: str, number: int, body: bytes, crc64: int | None = None) -> Part:
        with self._upload(key, upload) as found:
            return self._keep("part", found, number, self._received(body, crc64, key))

    def copy_part(
        self, key: str, upload: str, number: int, source: str, if_match: str, start: int, length: int
    ) -> Part:
        with self._upload(key, upload) as found:
            body = self.get(source, if_match if self.limits.part_conditional else "").body
            if len(body) <= self.limits.min_part:
                raise Permanent(f"{source!r} is too small to be copied from by ranges", source)
            if start < 0 or length < 1 or start + length > len(body):
                raise Permanent(f"the range {start}+{length} is not inside {source!r} ({len(body)} bytes)", source)
            return self._keep("part_copy", found, number, body[start : start + length])

    def list_parts(self, key: str, upload: str) -> list[Part]:
        with self._upload(key, upload) as found:
            return [found.parts[n] for n in sorted(found.parts)]

    def list_uploads(self, prefix: str) -> list[OpenUpload]:
        with self._lock:
            found = [u for u in self._uploads.values() if u.key.startswith(prefix)]
        return sorted(found, key=lambda u: (u.key, u.begun_ns, u.id))

    def abort(self, key: str, upload: str) -> None:
        with self._upload(key, upload) as found:
            del self._uploads[found.id]
            self.log.append(("abort", key))

    def complete(
        self, key: str, upload: str, parts: list[Part], expected: str | None, size: int, crc64: int | None
    ) -> StoredObject:
        """``size`` is MpuObjectSize, ``crc64`` the full-object CRC64NVME; either refuses the result where it is wrong.
        Whatever is refused, the upload stays."""
        with self._upload(key, upload) as found:
            kept = self._chosen(found, parts)
            total, crc = 0, 0
            for number, part in kept:
                if number != kept[-1][0] and part.size < self.limits.min_part:
                    raise Permanent(f"EntityTooSmall: part {number} has {part.size} bytes", key)
                total += part.size
                crc = combine_crc64nvme(crc, crc64nvme(found.bodies[number]), part.size)
            if total != size:
                raise Permanent(f"the parts make {total} bytes, announced were {size}", key)
            if total > self.limits.max_size:
                raise TooLarge(f"{total} bytes are more than an object may have", key)
            if crc64 is not None and self.limits.full_crc64 and crc64 != crc:
                raise Corrupted("BadDigest: the CRC64NVME of the whole object does not agree", key)
            digests = b"".join(bytes.fromhex(part.etag) for _, part in kept)
            etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(kept)}"
            body = b"".join(found.bodies[number] for number, _ in kept)
            made = self._publish("complete", key, self._object(body, etag, found.meta, crc), expected)
            del self._uploads[upload]
            return made

    def _chosen(self, upload: OpenUpload, parts: list[Part]) -> list[tuple[int, Part]]:
        if not parts:
            raise Permanent("MalformedXML: no part was named", upload.key)
        if [p.number for p in parts] != list(range(1, len(parts) + 1)):
            raise Permanent("InvalidPartOrder: parts must be named from 1, ascending, without gaps", upload.key)
        for part in parts:
            kept = upload.parts.get(part.number)
            if kept is None or kept.etag != part.etag or part.crc64 not in (None, kept.crc64):
                raise Permanent(f"InvalidPart: part {part.number} is missing or another one", upload.key)
        return [(p.number, upload.parts[p.number]) for p in parts]

    def _keep(self, op: str, upload: OpenUpload, number: int, body: bytes) -> Part:
        if not 1 <= number <= self.limits.max_parts:
            raise Permanent(f"part number {number} is not between 1 and {self.limits.max_parts}", upload.key)
        if len(body) > self.limits.max_part:
            raise TooLarge(f"{len(body)} bytes are more than a part may have", upload.key)
        crc = crc64nvme(body) if self.limits.full_crc64 else None
        part = Part(number, len(body), hashlib.md5(body, usedforsecurity=False).hexdigest(), crc)
        upload.bodies[number], upload.parts[number] = body, part
        self.log.append((op, upload.key))
        return part

    @contextmanager
    def _upload(self, key: str, id: str) -> Iterator[OpenUpload]:
        with self._lock:
            found = self._uploads.get(id)
            if found is None or found.key != key:
                raise NoSuchUpload(f"the upload of {key!r} is gone", key)
            yield found
