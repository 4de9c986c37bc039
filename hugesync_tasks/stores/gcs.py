"""The Google Cloud Storage adapter: ``Store`` on a bucket and prefix. A version is the object's generation.

Every write carries ``ifGenerationMatch``, every read is of the generation it asks for. Objects are read by the XML API, whose
answers alone carry the metadata with the bytes, everything else goes by the JSON API. Uploads in parts are in ``gcs_uploads``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from hugesync_tasks.errors import Corrupted, NotFound, TooLarge, Transient, Unsupported, VersionMismatch
from hugesync_tasks.model import Commit, Entry, Head, Meta
from hugesync_tasks.names import is_ours
from hugesync_tasks.stores.base import ANY, Limits, PutBatch, Reader, Store
from hugesync_tasks.stores.batches import PromptBatch
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.stores.gcs_client import READ_TIMEOUT, GcsClients, segment
from hugesync_tasks.stores.gcs_listing import PAGE, GcsListing
from hugesync_tasks.stores.gcs_meta import crc32c_of, entry, head, head_of_headers, head_of_small, resource, version_of
from hugesync_tasks.stores.gcs_place import Place
from hugesync_tasks.stores.gcs_reader import streamed
from hugesync_tasks.stores.gcs_root import GcsRoot, condition, generation, kms_key
from hugesync_tasks.stores.gcs_uploads import GcsUploads
from hugesync_tasks.stores.keeping import KeepsByCopy
from hugesync_tasks.stores.object_reader import ObjectReader, checked_span, checked_version, pay_ahead
from hugesync_tasks.stores.obstore_calls import SMALL, is_small
from hugesync_tasks.stores.wrapper import innermost
from hugesync_tasks.token import Token

_MD5 = re.compile("[0-9a-f]{32}")


class GcsStore(KeepsByCopy, GcsUploads):
    """One bucket and prefix ("" or ending in ``/``). Costs nothing until its first call; safe to construct before a fork.

    ``place``: what the profile says, the rest is Google's own places'. ``limits`` None: the service's from its documents.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        place: Place = Place(),
        limits: Limits | None = None,
        concurrency: int = 16,
        page_size: int = PAGE,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        super().__init__(bucket, prefix, GcsClients(place, concurrency, read_timeout), limits)
        self.page_size = page_size

    @property
    def endpoint(self) -> str:
        return self.clients.endpoint

    @property
    def device(self) -> str:
        return ""

    @property
    def domain(self) -> str:
        return f"gs {self.endpoint} {self.bucket}"

    def probe(self, token: Token, writes: bool = True) -> Limits:
        from hugesync_tasks.stores.gcs_probe import probe  # it stands on this module

        return probe(self, token, writes)

    def validate(self, token: Token) -> Findings:
        from hugesync_tasks.stores.gcs_raw import validate

        return validate(self, token)

    def hazards(self, token: Token) -> tuple[str, ...]:
        from hugesync_tasks.stores.gcs_lifecycle import hazards

        return hazards(self, token)

    def list_ours(self, token: Token, below: str = "") -> Iterator[Entry]:
        for one in GcsListing(self.clients, self.bucket, self.prefix + below, self.page_size).items(token):
            if is_ours(key := str(one["name"])[len(self.prefix) :]):
                yield entry(key, one)

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        return GcsListing(self.clients, self.bucket, self.prefix, self.page_size).entries(token, start_after, enter)

    def head(self, key: str, token: Token, digest: bool = False) -> Head | None:
        whole = self._whole(key)
        try:
            if not digest and self._small.usable(whole):
                token.requested("head")
                if (result := self._small.get(whole, None, head=True)) is not None:
                    return head_of_small(key, result)
            return head(key, self._resource(whole, token, "look at it", key))
        except NotFound:
            return None

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        whole = self._whole(key)
        if length == 0:  # HTTP has no empty range
            found = self.head(key, token)
            if found is None:
                raise NotFound("cannot read: there is no such object", key)
            checked_version(key, version, found.entry.version)
            return ObjectReader(found, iter(()), checked_span(key, found.entry.size, start, 0), token, overhead)
        paid = pay_ahead(length, token)
        if is_small(length, token) and self._small.usable(whole):
            token.requested("get")
            result = self._small.get(whole, None if start == 0 and length is None else (start, length))
            if result is not None and result.range[1] - result.range[0] <= SMALL:
                found = head_of_small(key, result)
                checked_version(key, version, found.entry.version)
                wanted = checked_span(key, found.entry.size, start, length)
                return ObjectReader(found, self._small.chunks(result, key, wanted), wanted, token, overhead, paid)
            # larger than was to be expected: one answer without its body is the price of not having asked first
        headers = {"Accept-Encoding": "gzip"}  # or the service unpacks what was stored packed
        if version:
            headers["x-goog-if-generation-match"] = generation(version)
        if start or length is not None:
            headers["Range"] = f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"
        token.requested("get")
        path = f"/{segment(self.bucket)}/{segment(whole)}"
        answer = self.clients.send("GET", path, "read", key, headers=headers, stream=True)
        chunks = streamed(answer, key, token)
        try:
            found = head_of_headers(key, answer.headers, _stored(answer.headers, key))
            checked_version(key, version, found.entry.version)
            wanted = checked_span(key, found.entry.size, start, length)
        except Exception:
            answer.close()
            raise
        return ObjectReader(found, chunks, wanted, token, overhead, paid)

    def batch(self) -> PutBatch:
        return PromptBatch(self)

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        whole = self._whole(key)
        if len(body) > self.limits.max_put:
            raise TooLarge(f"cannot write: {len(body)} bytes are more than one put may have", key)
        if is_small(len(body), token) and not meta.sse_kms_key and self._small.puts(whole):
            token.requested("put")
            token.pay(len(body))
            wanted = expected if expected in (None, ANY) else generation(expected)
            if (small := self._small.put(whole, body, meta, wanted)) is not None:
                token.sent(len(body), overhead)
                token.moved(len(body))
                return Commit(key, small[0], len(body), self._shown(whole, body, *small, token, key))
        made = self._write(
            "put", whole, body, resource(meta), expected, token, "write", key, overhead=overhead, kms=meta.sse_kms_key
        )
        return Commit(key, version_of(made), len(body), "crc32c")

    def _shown(self, whole: str, body: bytes, version: str, etag: str, token: Token, key: str) -> str:
        """What the ETag proves of a put that was sent without a checksum. Raises Corrupted. One that looks like an MD5 and is
        another is none where the object is encrypted in some ways: what the store says that it holds decides."""
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if etag == md5 or not _MD5.fullmatch(etag):
            return "md5" if etag == md5 else ""
        now: dict[str, Any] = {}
        with suppress(NotFound):
            now = self._resource(whole, token, "write", key)
        if version_of(now) != version:
            raise Corrupted("cannot write: the store held other bytes than were sent, and others again by now", key)
        self._check_made(now, whole, len(body), crc32c_of(body), token, "write", key)
        return "crc32c"

    def finish_folder(self, key: str, meta: Meta, token: Token) -> tuple[str, ...]:
        self.put(key, b"", meta, ANY, token)
        return ()

    def delete(self, key: str, expected: str, token: Token) -> None:
        whole = self._whole(key)
        if expected != ANY and not self.limits.delete_conditional:
            now = self.version_now(key, token, "delete")
            if now is None:
                return
            if now != expected:
                raise VersionMismatch("cannot delete: the object is another version now", key)
        try:
            self._delete_whole(whole, expected, token, key)
        except NotFound:
            return
        except VersionMismatch:
            if self.version_now(key, token, "delete") is not None:  # else gone already
                raise

    def copy(
        self,
        source: Store,
        key: str,
        source_key: str,
        source_version: str,
        meta: Meta,
        expected: str | None,
        token: Token,
    ) -> Commit:
        other = innermost(source)
        if not isinstance(other, GcsRoot):
            raise Unsupported("cannot copy within the service: the source is another kind of store", source_key)
        whole, doing = self._whole(key), "copy"
        self._guard(key, expected, token, doing)
        pinned = {"ifSourceGenerationMatch": generation(source_version)} if source_version else {}
        query = (
            condition(expected)
            | pinned
            | {f"destination{k[0].upper()}{k[1:]}": v for k, v in kms_key(meta.sse_kms_key).items()}
        )
        path = f"{other._path(other._whole(source_key))}/rewriteTo/b/{segment(self.bucket)}/o/{segment(whole)}"
        made = self._rewrite("put", path, query, resource(meta), token, doing, key)
        size = int(made["size"])
        token.copied_server_side(size)
        return Commit(key, version_of(made), size)

    def can_copy_from(self, source: Store) -> bool:
        other = innermost(source)
        return (
            isinstance(other, GcsStore)
            and other.clients.place == self.clients.place
            and other.clients.endpoint == self.clients.endpoint
        )

    def close(self) -> None:
        self._small.close()
        self.clients.close()


def _stored(headers: dict[str, str], key: str) -> int:
    """The whole object's size, of the answer to a GET of it or of a range."""
    total = headers.get("content-range", "").rpartition("/")[2]
    for text in (headers.get("x-goog-stored-content-length", ""), total, headers.get("content-length", "")):
        if text.isdigit():
            return int(text)
    raise Transient("cannot read: the store does not say how much there is", key)
