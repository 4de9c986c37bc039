"""``Store.keep`` by a copy within the store, pinned to the version that is kept; and where a kept version may lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hugesync_tasks import identity
from hugesync_tasks.errors import NotFound, Permanent, StoreError, VersionMismatch
from hugesync_tasks.model import LINK_SUFFIX, Head, Meta
from hugesync_tasks.stores.base import ABSENT, GIB, Store
from hugesync_tasks.token import Token

STEP = GIB  # bytes of one part of an object that is too large for one copy


def places(to: str, mark: str) -> Iterator[str]:
    """The keys under which a version may be kept: ``to``, and where that holds another one, a name with this one's mark."""
    yield to
    link = LINK_SUFFIX if to.endswith(LINK_SUFFIX) else ""
    yield f"{to.removesuffix(link)}.~{mark[:16]}~{link}"


class KeepsByCopy:
    """For adapters of object stores."""

    def keep(self: Store, key: str, version: str, to: str, token: Token) -> str:
        found = self.head(key, token)
        _still(found, key, version)
        if found is None or key.endswith("/") or found.meta.sidecar:
            return version
        mark = identity.backup_mark(key, version)
        meta = replace(found.meta, generation=mark)
        for place in places(to, mark):
            there = self.head(place, token)
            if there is None and _copied(self, key, found, place, meta, token):
                return version
            if there is not None and there.meta.generation == mark and there.entry.size == found.entry.size:
                return version
        raise Permanent(f"cannot keep it: {to} is taken", key)


def _copied(store: Store, key: str, found: Head, place: str, meta: Meta, token: Token) -> bool:
    """False where somebody else wrote ``place`` in the meantime. Raises VersionMismatch where ``key`` is another version."""
    version = found.entry.version
    try:
        if found.entry.size <= store.limits.max_copy:
            store.copy(store, place, key, version, meta, ABSENT, token)
        else:
            _copy_parts(store, key, found, place, meta, token)
    except VersionMismatch:
        _still(store.head(key, token), key, version)
        now = store.head(place, token)
        return now is not None and now.meta.generation == meta.generation
    if (
        not store.limits.part_conditional
    ):  # the copy was not pinned: what was copied is what is there before and after it
        _still(store.head(key, token), key, version)
    return True


def _copy_parts(store: Store, key: str, found: Head, place: str, meta: Meta, token: Token) -> None:
    size = found.entry.size
    step = max(min(STEP, store.limits.max_part), -(-size // store.limits.max_parts))
    upload = store.create_upload(place, size, step, meta, token)
    try:
        starts = range(0, size, step)
        parts = [
            store.copy_part(upload, n, store, key, found.entry.version, at, min(step, size - at), token)
            for n, at in enumerate(starts, 1)
        ]
        store.complete(upload, parts, meta, ABSENT, found.crc64, token)
    except StoreError:
        store.abort(upload, token)
        raise


def _still(found: Head | None, key: str, version: str) -> None:
    if found is None:
        raise NotFound("cannot keep it: it is gone", key)
    if found.entry.version != version:
        raise VersionMismatch("cannot keep it: another version is there now", key)
