"""The S3 adapter: ``Store`` on a bucket and prefix, of Amazon S3 and of what speaks its language.

Two libraries share the work. obstore (``s3_small``) takes GET, PUT and HEAD of small objects with plain keys; boto3 takes
the rest. Neither retries. Multipart calls are in ``s3_uploads``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from hugesync_tasks.errors import Corrupted, NotFound, Permanent, TooLarge, VersionMismatch
from hugesync_tasks.model import Commit, Entry, Head, Meta
from hugesync_tasks.names import is_ours
from hugesync_tasks.stores.base import ANY, Limits, PutBatch, Reader, Store
from hugesync_tasks.stores.batches import PromptBatch
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.stores.keeping import KeepsByCopy
from hugesync_tasks.stores.object_reader import ObjectReader, checked_span, checked_version, pay_ahead
from hugesync_tasks.stores.obstore_calls import SMALL, is_small
from hugesync_tasks.stores.paced_body import PacedBody
from hugesync_tasks.stores.s3_checksum import base64_of, crc64_of, crc64_of_base64, md5_of
from hugesync_tasks.stores.s3_client import READ_TIMEOUT, S3Clients
from hugesync_tasks.stores.s3_errors import translated
from hugesync_tasks.stores.s3_listing import PAGE, S3Listing, datetime_ns
from hugesync_tasks.stores.s3_meta import entry_of, meta_of, quoted, unquoted, version_id_of
from hugesync_tasks.stores.s3_root import condition
from hugesync_tasks.stores.s3_stream import streamed
from hugesync_tasks.stores.s3_uploads import S3Uploads
from hugesync_tasks.stores.wrapper import innermost
from hugesync_tasks.token import Token


class S3Store(KeepsByCopy, S3Uploads):
    """One bucket and prefix ("" or ending in ``/``). Costs nothing until its first call; safe to construct before a fork.

    ``endpoint`` None: the boto chain decides. ``limits`` None: Amazon's from the table; of any other endpoint nothing is
    believed until ``probe``. A ``head`` for the digest goes through boto3, at ten times the CPU of obstore's.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        profile: str = "",
        endpoint: str | None = None,
        limits: Limits | None = None,
        concurrency: int = 16,
        page_size: int = PAGE,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        super().__init__(bucket, prefix, S3Clients(profile, endpoint, concurrency, read_timeout), limits)
        self._page_size = page_size

    @property
    def endpoint(self) -> str:
        return self.clients.endpoint

    @property
    def device(self) -> str:
        return ""

    def probe(self, token: Token, writes: bool = True) -> Limits:
        from hugesync_tasks.stores.s3_probe import probe  # it stands on this module

        return probe(self, token, writes)

    @property
    def domain(self) -> str:
        return f"s3 {self.endpoint} {self.bucket}"  # versioning, encryption and policy are a bucket's

    def validate(self, token: Token) -> Findings:
        from hugesync_tasks.stores.s3_validate import validate

        return validate(self, token)

    def hazards(self, token: Token) -> tuple[str, ...]:
        from hugesync_tasks.stores.s3_lifecycle import hazards

        return hazards(self, token)

    def list_ours(self, token: Token, below: str = "") -> Iterator[Entry]:
        listing = S3Listing(self.clients, self.bucket, self.prefix + below, self.limits, self._page_size)
        next: str | None = ""
        while next is not None:
            page = listing.page(token, "", next or None)
            next = page.next
            for whole, size, modified, etag in page.rows:
                if is_ours(key := whole[len(self.prefix) :]):
                    yield entry_of(key, size, modified, etag)

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        listing = S3Listing(self.clients, self.bucket, self.prefix, self.limits, self._page_size)
        return listing.entries(token, start_after, enter)

    def head(self, key: str, token: Token, digest: bool = False) -> Head | None:
        whole = self._whole(key)
        token.requested("head")
        if not digest and self._small.usable(whole):
            try:
                result = self._small.get(whole, "", None, head=True)
            except NotFound:
                return None
            if result is not None:
                return self._small_head(key, result)
        checksum = {"ChecksumMode": "ENABLED"} if digest else {}
        try:
            answer = self.clients.control.head_object(Bucket=self.bucket, Key=whole, **checksum)
        except Exception as exc:
            error = translated(exc, "look at it", key)
            if isinstance(error, NotFound):
                return None
            raise error from exc
        return self._head_of(key, answer, int(answer["ContentLength"]))

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        whole = self._whole(key)
        if length == 0:  # HTTP has no empty range
            head = self.head(key, token)
            if head is None:
                raise NotFound("cannot read: there is no such object", key)
            checked_version(key, version, head.entry.version)
            return ObjectReader(head, iter(()), checked_span(key, head.entry.size, start, 0), token, overhead)
        span = None if start == 0 and length is None else (start, length)
        paid = pay_ahead(length, token)
        if is_small(length, token) and self._small.usable(whole):
            token.requested("get")
            result = self._small.get(whole, version, span)
            if result is not None and result.range[1] - result.range[0] <= SMALL:
                head = self._small_head(key, result)
                checked_version(key, version, head.entry.version)
                wanted = checked_span(key, head.entry.size, start, length)
                return ObjectReader(head, self._small.chunks(result, key, wanted), wanted, token, overhead, paid)
            # larger than was to be expected: one answer without its body is the price of not having asked first
        token.requested("get")
        more: dict[str, Any] = {"IfMatch": quoted(version)} if version else {}
        if span is not None:
            more["Range"] = f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"
        try:
            answer = self.clients.control.get_object(Bucket=self.bucket, Key=whole, **more)
        except Exception as exc:
            raise translated(exc, "read", key) from exc
        total = str(answer.get("ContentRange", "")).rpartition("/")[2]
        head = self._head_of(key, answer, int(total) if total.isdigit() else int(answer["ContentLength"]))
        chunks = streamed(answer["Body"], key, token)
        try:
            checked_version(key, version, head.entry.version)
            wanted = checked_span(key, head.entry.size, start, length)
        except Exception:
            answer["Body"].close()
            raise
        return ObjectReader(head, chunks, wanted, token, overhead, paid)

    def batch(self) -> PutBatch:
        return PromptBatch(self)

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        whole = self._whole(key)
        if len(body) > self.limits.max_put:
            raise TooLarge(f"cannot write: {len(body)} bytes are more than one put may have", key)
        token.requested("put")
        etag: str | None = None
        if is_small(len(body), token) and not meta.sse_kms_key and self._small.usable(whole):
            token.pay(len(body))
            token.sent(len(body), overhead)
            try:
                etag = self._small.put(whole, body, meta, expected)
            except NotFound as gone:  # If-Match where nothing is: Amazon says 404, others 412
                raise self._unexpected(gone, expected, key) from gone
            token.moved(len(body))
        if etag is None:
            etag = self._put_by_boto(key, whole, body, meta, expected, token, overhead)
        return Commit(key, unquoted(etag), len(body), self._proof(key, body, unquoted(etag), meta))

    def finish_folder(self, key: str, meta: Meta, token: Token) -> tuple[str, ...]:
        self.put(key, b"", meta, ANY, token)
        return ()

    def delete(self, key: str, expected: str, token: Token) -> None:
        whole = self._whole(key)
        conditional = expected != ANY and self.limits.delete_conditional
        if expected != ANY and not conditional and not self._still(key, expected, token):
            return
        token.requested("delete")
        more = {"IfMatch": quoted(expected)} if conditional else {}
        try:
            self.clients.control.delete_object(Bucket=self.bucket, Key=whole, **more)
        except Exception as exc:
            error = translated(exc, "delete", key)
            if isinstance(error, NotFound):
                return
            if isinstance(error, VersionMismatch) and self.head(key, token) is None:
                return  # SeaweedFS says 412 of what is not there
            raise error from exc

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
        whole = self._whole(key)
        more = self._copy_source(source, source_key, source_version) | self._attributes(meta) | condition(expected)
        token.requested("put")
        try:
            answer = self.clients.slow.copy_object(Bucket=self.bucket, Key=whole, MetadataDirective="REPLACE", **more)
        except Exception as exc:
            error = translated(exc, "copy", key)
            raise (self._unexpected(error, expected, key) if isinstance(error, NotFound) else error) from exc
        version = unquoted(answer["CopyObjectResult"].get("ETag"))
        head = self.head(key, token)  # the answer does not say how much was copied
        if head is None or head.entry.version != version:
            raise VersionMismatch("copied, but the object is another version already", key)
        token.copied_server_side(head.entry.size)
        return Commit(key, version, head.entry.size, version_id=head.version_id)

    def can_copy_from(self, source: Store) -> bool:
        other = innermost(source)
        if not isinstance(other, S3Store) or other.clients.profile != self.clients.profile:
            return False
        mine, theirs = self.clients, other.clients
        return mine.endpoint == theirs.endpoint and mine.credentials().access_key == theirs.credentials().access_key

    def close(self) -> None:
        if self._small_store is not None:
            self._small_store.close()
        self.clients.close()

    def _put_by_boto(
        self, key: str, whole: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool
    ) -> str:
        more = self._attributes(meta) | condition(expected)
        if self.limits.full_crc64:
            more["ChecksumCRC64NVME"] = base64_of(crc64_of(body))
        guarded = self.limits.full_crc64 or self.clients.is_tls
        paced = PacedBody(body, token, overhead, signed=not guarded)
        client = self.clients.bulk if guarded else self.clients.control
        try:
            answer = client.put_object(Bucket=self.bucket, Key=whole, Body=paced, **more)
        except Exception as exc:
            if paced.stopped is not None:
                raise paced.stopped from None
            error = translated(exc, "write", key)
            raise (self._unexpected(error, expected, key) if isinstance(error, NotFound) else error) from exc
        return str(answer["ETag"])

    def _proof(self, key: str, body: bytes, etag: str, meta: Meta) -> str:
        """What is proven of a put that the store took."""
        if self.limits.full_crc64:
            return "crc64nvme"
        if self.limits.etag_is_md5 and not meta.sse_kms_key:
            if hashlib.md5(body, usedforsecurity=False).hexdigest() != etag:
                raise Corrupted("cannot write: the store holds other bytes than were sent", key)
            return "md5"
        return ""

    def _still(self, key: str, expected: str, token: Token) -> bool:
        """Whether the object is there; raises VersionMismatch where it is another than ``expected``."""
        head = self.head(key, token)
        if head is not None and head.entry.version != expected:
            raise VersionMismatch("cannot delete: the object is another version now", key)
        return head is not None

    def _unexpected(self, error: NotFound, expected: str | None, key: str) -> Permanent:
        """A 404 answer to a write: the version it was conditioned on is gone."""
        if expected not in (None, ANY):
            return VersionMismatch("cannot write: the object is gone", key)
        return error

    def _small_head(self, key: str, result: Any) -> Head:
        about, attributes = result.meta, dict(result.attributes)
        content_type = attributes.pop("Content-Type", None)
        meta = meta_of(attributes, content_type, attributes.pop("Storage-Class", None))
        etag = unquoted(about["e_tag"])
        entry = entry_of(key, int(about["size"]), datetime_ns(about["last_modified"]), etag, meta)
        md5 = md5_of(etag) if self.limits.etag_is_md5 else None
        return Head(entry, meta, None, md5, version_id_of(about.get("version")))

    def _head_of(self, key: str, answer: dict[str, Any], size: int) -> Head:
        etag = unquoted(answer.get("ETag"))
        meta = meta_of(answer.get("Metadata", {}), answer.get("ContentType"), answer.get("StorageClass"))
        modified = answer.get("LastModified")
        entry = entry_of(key, size, datetime_ns(modified) if modified else None, etag, meta)
        whole = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"  # this algorithm has no other, yet say it
        checksum = crc64_of_base64(answer.get("ChecksumCRC64NVME")) if whole else None
        plain = answer.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in answer
        trusted = plain and (self.limits.etag_is_md5 or self.clients.is_aws)
        return Head(entry, meta, checksum, md5_of(etag) if trusted else None, version_id_of(answer.get("VersionId")))
