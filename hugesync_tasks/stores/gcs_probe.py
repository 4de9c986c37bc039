"""What an endpoint that speaks Google Cloud Storage's language honours.

Google's own is taken from its documents with one request: is the bucket there, are the credentials good? An emulator is
measured, below ``.hugesync/``: it is asked for what must be refused, and what it made all the same is removed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from hugesync_tasks.errors import NoSuchUpload, NotFound, Permanent, StoreError, VersionMismatch
from hugesync_tasks.model import RESERVED_SEGMENT
from hugesync_tasks.stores.base import ABSENT, ANY, Limits
from hugesync_tasks.stores.gcs import GcsStore
from hugesync_tasks.stores.gcs_client import segment
from hugesync_tasks.stores.gcs_meta import version_of
from hugesync_tasks.stores.gcs_parts import Piece, piece_of
from hugesync_tasks.stores.gcs_root import GCS_LIMITS
from hugesync_tasks.token import Token

_BODY = b"hugesync asks what this endpoint honours"
_DOING = f"try out writing below {RESERVED_SEGMENT}/"


def probe(store: GcsStore, token: Token, writes: bool = True) -> Limits:
    """The limits of ``store``'s endpoint; the caller sets them on the store and sends them to the workers. ``writes`` false, for
    a source, asks for nothing that needs the right to write, and of an emulator believes nothing of what it would have shown.
    Raises what a person must mend (NoSuchBucket, BadCredentials, AccessDenied) and Transient."""
    query = {"prefix": store.prefix, "maxResults": "1", "fields": "items(name)"}
    try:
        store._ask("list", "GET", f"/storage/v1/b/{segment(store.bucket)}/o", token, "list", "", query=query)
    except NotFound as gone:
        from hugesync_tasks.errors import NoSuchBucket

        raise NoSuchBucket("cannot list: there is no such bucket", "") from gone
    if store.clients.is_google:
        return GCS_LIMITS
    emulator = replace(
        GCS_LIMITS,
        name="gcs (emulator)",
        conditional_commit="none",
        part_conditional=False,
        copy_conditional=False,
        delete_conditional=False,
        probed=True,
    )
    return _Probe(store, token).run(emulator) if writes else emulator


class _Probe:
    """The requests that write, on keys of our own that nobody else has."""

    def __init__(self, store: GcsStore, token: Token) -> None:
        self._store = store
        self._token = token
        self._key = f"{store.prefix}{RESERVED_SEGMENT}/probe-{uuid.uuid4().hex}"

    def run(self, limits: Limits) -> Limits:
        store, token = self._store, self._token
        made: set[str] = {self._key}
        try:
            there = self._put(self._key, ABSENT)
            other = Piece(there.name, str(int(there.version) + 1), there.size, there.crc32c)
            put = self._refused(lambda: self._put(self._key, ABSENT)) and self._refused(
                lambda: self._put(self._key, "1")
            )
            at = f"{self._key}-to"
            made.add(at)

            def compose(pieces: list[Piece], expected: str | None) -> object:
                return store._compose(at, pieces, {}, expected, token, "")

            def copy(source_version: str, expected: str | None) -> object:
                path = f"{store._path(there.name)}/rewriteTo/b/{segment(store.bucket)}/o/{segment(at)}"
                query = {"ifSourceGenerationMatch": source_version}
                query["ifGenerationMatch"] = "0" if expected is None else expected
                return store._ask("put", "POST", path, token, _DOING, "", query=query, json={})

            compose([there], ANY)
            composed = self._refused(lambda: compose([there], ABSENT)) and self._refused(lambda: compose([there], "1"))
            pinned = self._refused(lambda: compose([other], ANY))
            copied = self._refused(lambda: copy(there.version, ABSENT))
            version = version_of(store._resource(at, token, _DOING, ""))
            pinned = pinned and self._refused(lambda: copy(other.version, version))
            deleted = self._refused(lambda: store._delete_whole(at, "1", token, ""))
        finally:
            for name in sorted(made):
                with suppress(StoreError):
                    store._delete_whole(name, ANY, token, "")
        commit = "enforced" if put and composed and copied else "best effort" if put else "none"
        return replace(
            limits,
            conditional_commit=commit,
            part_conditional=pinned,
            copy_conditional=composed and copied,
            delete_conditional=deleted,
        )

    def _put(self, name: str, expected: str | None) -> Piece:
        about = {"contentType": "application/octet-stream"}
        return piece_of(self._store._write("put", name, _BODY, about, expected, self._token, _DOING, "", overhead=True))

    @staticmethod
    def _refused(call: Callable[[], object]) -> bool:
        """Whether the condition that cannot hold was seen. Refusing it in another way is no proof."""
        try:
            call()
        except (VersionMismatch, NoSuchUpload):  # of a source that never was
            return True
        except Permanent:
            return False
        return False
