"""``Raw`` on a memory bucket. The bucket is strict; what a less honest server waves through is named in ``ignores``."""

from __future__ import annotations

import hashlib
from collections.abc import Container

from hugesync_tasks.errors import Corrupted, NotFound
from hugesync_tasks.model import Meta, Part
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.raw import Version


class MemoryRaw:
    """Keys below ``prefix``. ``ignores``: names of ``findings.CAPABILITIES`` that this server does not have."""

    keeps_versions = False

    def __init__(self, bucket: MemoryBucket, prefix: str = "", ignores: Container[str] = ()) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._ignores = ignores

    def put(
        self,
        key: str,
        body: bytes,
        *,
        if_match: str = "",
        absent: bool = False,
        crc64: int | None = None,
        md5: str = "",
    ) -> str:
        if md5 and md5 != _md5(body) and "put_md5" not in self._ignores:
            raise Corrupted("BadDigest: the body that arrived has another MD5", key)
        crc64 = None if "put_crc64" in self._ignores else crc64
        return self._bucket.put(self._whole(key), body, Meta(), self._expected("put", if_match, absent), crc64).etag

    def copy(self, source: str, key: str, *, source_match: str = "", if_match: str = "", absent: bool = False) -> None:
        pinned = "" if "copy_source_if_match" in self._ignores else source_match
        expected = self._expected("copy", if_match, absent)
        self._bucket.copy(self._whole(source), pinned, self._whole(key), Meta(), expected)

    def delete(self, key: str, *, if_match: str = "") -> None:
        self._bucket.delete(self._whole(key), self._expected("delete", if_match, False) or ANY)

    def read(self, key: str) -> bytes | None:
        try:
            return self._bucket.get(self._whole(key)).body
        except NotFound:
            return None

    def create(self, key: str, *, crc64: bool = False) -> str:
        return self._bucket.create_upload(self._whole(key), Meta())

    def part(self, key: str, upload: str, number: int, body: bytes, *, crc64: int | None = None) -> str:
        crc64 = None if "part_crc64" in self._ignores else crc64
        return self._bucket.put_part(self._whole(key), upload, number, body, crc64).etag

    def copy_part(
        self, key: str, upload: str, number: int, source: str, start: int, length: int, *, source_match: str = ""
    ) -> tuple[str, int | None]:
        pinned = "" if "part_copy_source_if_match" in self._ignores else source_match
        start = 0 if "part_copy_range" in self._ignores else start
        part = self._bucket.copy_part(self._whole(key), upload, number, self._whole(source), pinned, start, length)
        return part.etag, None if "part_copy_crc64" in self._ignores else part.crc64

    def complete(
        self, key: str, upload: str, etags: list[str], *, if_match: str = "", absent: bool = False,
        crc64: int | None = None,
    ) -> None:  # fmt: skip
        held = {part.number: part.size for part in self._bucket.list_parts(self._whole(key), upload)}
        parts = [Part(n, held.get(n, 0), etag) for n, etag in enumerate(etags, 1)]
        expected = self._expected("complete", if_match, absent)
        crc64 = None if "complete_crc64" in self._ignores else crc64
        self._bucket.complete(self._whole(key), upload, parts, expected, sum(p.size for p in parts), crc64)

    def abort(self, key: str, upload: str) -> None:
        self._bucket.abort(self._whole(key), upload)

    def parts(self, key: str, upload: str) -> list[int]:
        return [part.number for part in self._bucket.list_parts(self._whole(key), upload)]

    def page(self, prefix: str, size: int, *, after: str = "", next: str = "") -> tuple[list[str], str]:
        found, more = self._bucket.page(
            self._whole(prefix), self._whole(after or next) if after or next else None, size
        )
        keys = [whole[len(self._prefix) :] for whole, _ in found]
        return keys, keys[-1] if more else ""

    def uploads(self, prefix: str) -> list[tuple[str, str]]:
        return [(u.key[len(self._prefix) :], u.id) for u in self._bucket.list_uploads(self._whole(prefix))]

    def versions(self, prefix: str) -> list[Version]:
        return []

    def delete_version(self, version: Version) -> None:
        raise NotFound("no versions are kept", version.key)

    def _whole(self, key: str) -> str:
        return self._prefix + key

    def _expected(self, doing: str, if_match: str, absent: bool) -> str | None:
        if absent and f"{doing}_if_none_match" not in self._ignores:
            return None
        return if_match if if_match and f"{doing}_if_match" not in self._ignores else ANY


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
