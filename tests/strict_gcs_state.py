"""What the strict fake of Google Cloud Storage holds: buckets of live objects, generations, conditions. No HTTP here."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from strict_gcs_rules import (
    MAX_OBJECT_BYTES,
    Refused,
    check_metadata,
    check_name,
    crc32c,
    invalid,
    md5,
    no_bucket,
    no_object,
    not_held,
    not_modified,
    too_fast,
    too_large,
)

# What a client may set beside ``metadata``; everything else of a resource that it sends is the server's.
SETTABLE = ("contentType", "contentEncoding", "contentDisposition", "contentLanguage", "cacheControl", "customTime")


@dataclass(frozen=True)
class Version:
    """One generation of an object. ``components`` is 0 where it is no composite."""

    bucket: str
    name: str
    data: bytes = field(repr=False)
    generation: int
    created: float  # seconds since the epoch, as ``updated``
    updated: float
    crc: str
    md5: str | None
    metageneration: int = 1
    components: int = 0
    storage_class: str = "STANDARD"
    kms_key: str = ""  # named by the write; the bucket's default key is not modelled
    fields: Mapping[str, str] = field(default_factory=dict)  # of SETTABLE
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """Opaque, and new with every generation and metageneration."""
        return base64.b64encode(b"\x08" + _varint(self.generation) + b"\x10" + _varint(self.metageneration)).decode()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@dataclass(frozen=True)
class Conditions:
    """The preconditions of one request about one object; None is not asked."""

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None
    etag: str | None = None
    not_etag: str | None = None

    @classmethod
    def of(cls, query: Mapping[str, str], headers: Mapping[str, str] | None = None, prefix: str = "if") -> Conditions:
        """From the parameters of the JSON API (``prefix`` "if" or "ifSource") and the If-(None-)Match headers."""
        names = (f"{prefix}{name}" for name in _NAMES)
        etags = [(headers or {}).get(name) for name in ("if-match", "if-none-match")]
        return cls(*(int64(query, name) for name in names), *(etag and etag.strip('"') for etag in etags))

    def check(self, found: Version | None) -> None:
        """412 where an object is not the one meant, 304 where it is the one that was not wanted. No live object is
        generation 0; every condition but ``ifGenerationMatch=0`` fails on it."""
        if self.generation is not None and self.generation != (found.generation if found else 0):
            raise not_held()
        if self.metageneration is not None and (found is None or self.metageneration != found.metageneration):
            raise not_held()
        if self.etag is not None and (found is None or self.etag not in ("*", found.etag, entity_tag(found))):
            raise not_held()
        if self.not_generation is not None and (found is None or self.not_generation == found.generation):
            raise not_modified()
        if self.not_metageneration is not None and (found is None or self.not_metageneration == found.metageneration):
            raise not_modified()
        if self.not_etag is not None and found and self.not_etag in ("*", found.etag, entity_tag(found)):
            raise not_modified()


_NAMES = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")


def entity_tag(version: Version) -> str:
    """The XML API's: the MD5 in hex, but of a composite the opaque one."""
    return base64.b64decode(version.md5).hex() if version.md5 else version.etag


def int64(query: Mapping[str, Any], name: str) -> int | None:
    """A number that may be absent; anything else than 64 bits of digits is refused."""
    value = query.get(name)
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, bool) or not 0 <= number < 2**63:
        raise invalid(f"Invalid value: '{value}'", name)
    return number


def stamp(seconds: float) -> str:
    """RFC 3339 with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class State:
    """The buckets. Not thread safe: its owner holds one lock around every request."""

    def __init__(
        self,
        buckets: Iterable[str],
        clock: Callable[[], float],
        writes_per_second: float | None,
        max_object_bytes: int = MAX_OBJECT_BYTES,
    ) -> None:
        self.may_delete = True  # the permission storage.objects.delete
        self.clock, self.max_object_bytes = clock, max_object_bytes
        self.buckets: dict[str, dict[str, Version]] = {name: {} for name in buckets}
        self.bucket_fields: dict[str, dict[str, Any]] = {name: {} for name in self.buckets}
        self._gap = 1 / writes_per_second if writes_per_second else 0.0
        self._written: dict[tuple[str, str], float] = {}
        self._generation = 0

    def bucket(self, name: str) -> dict[str, Version]:
        if name not in self.buckets:
            raise no_bucket()
        return self.buckets[name]

    def live(self, bucket: str, name: str) -> Version | None:
        return self.bucket(bucket).get(name)

    def found(self, bucket: str, name: str, generation: int | None = None) -> Version:
        """The live object; another ``generation`` than the live one is gone, there is no versioning here."""
        version = self.live(bucket, name)
        if version is None or generation not in (None, version.generation):
            raise no_object(bucket, name)
        return version

    def mutate(self, bucket: str, name: str) -> None:
        """Counts a create, update or delete of ``name``: 429 when it follows the last one too soon. Asked before the
        conditions, so that a retry right after a lost reply meets the limit, as it would there."""
        self.bucket(bucket)
        now, last = self.clock(), self._written.get((bucket, name))
        if self._gap and last is not None and now - last < self._gap:
            raise too_fast(bucket, name)

    def insert(
        self,
        bucket: str,
        name: str,
        data: bytes,
        resource: Mapping[str, Any],
        conditions: Conditions,
        *,
        components: int = 0,
        with_md5: bool = True,
        kms_key: str = "",
    ) -> Version:
        """A new generation of ``name`` with the bytes and the settable fields of ``resource``."""
        check_name(name)
        if len(data) > self.max_object_bytes:
            raise too_large(f"An object of {len(data)} bytes")
        self.mutate(bucket, name)
        conditions.check(self.live(bucket, name))
        if self.live(bucket, name) is not None:  # to replace is to delete
            self.check_may_delete()
        now = self.clock()
        self._generation = max(self._generation + 1, int(now * 1_000_000))
        version = Version(
            bucket=bucket,
            name=name,
            data=data,
            generation=self._generation,
            created=now,
            updated=now,
            crc=crc32c(data),
            md5=md5(data) if with_md5 else None,
            components=components,
            storage_class=resource.get("storageClass") or self.bucket_fields[bucket].get("storageClass", "STANDARD"),
            fields={name: resource[name] for name in SETTABLE if resource.get(name)},
            kms_key=kms_key,
            metadata=check_metadata(resource.get("metadata") or {}),
        )
        self.buckets[bucket][name] = version
        self._written[bucket, name] = now
        return version

    def update(self, found: Version, resource: Mapping[str, Any], *, whole: bool) -> Version:
        """New metadata of a live object (a patch, or all of it): the generation stays, the metageneration grows."""
        self.mutate(found.bucket, found.name)
        fields, metadata = ({}, {}) if whole else (dict(found.fields), dict(found.metadata))
        fields |= {name: resource[name] for name in SETTABLE if name in resource}
        given = resource.get("metadata", {})
        metadata = metadata | given if given is not None else {}
        if not isinstance(given or {}, Mapping):
            raise Refused(400, "parseError", "Parse Error")
        version = replace(
            found,
            fields={name: value for name, value in fields.items() if value is not None},
            metadata=check_metadata({key: value for key, value in metadata.items() if value is not None}),
            metageneration=found.metageneration + 1,
            updated=self.clock(),
        )
        self.buckets[found.bucket][found.name] = version
        self._written[found.bucket, found.name] = self.clock()
        return version

    def check_may_delete(self) -> None:
        if not self.may_delete:
            raise Refused(403, "forbidden", "The caller does not have storage.objects.delete access to the object.")

    def delete(self, found: Version, *, counted: bool = True) -> None:
        """``counted`` False: as part of a compose, which has no limit of its own on its sources."""
        self.check_may_delete()
        if counted:
            self.mutate(found.bucket, found.name)
            self._written[found.bucket, found.name] = self.clock()
        del self.buckets[found.bucket][found.name]
