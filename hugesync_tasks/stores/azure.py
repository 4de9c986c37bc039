"""The Azure Blob adapter: ``Store`` on a container and prefix of a storage account.

The SDK signs and keeps connections (``azure_client``); every request's headers are ours. No lease is taken: every write is
conditional instead. Uploads are in ``azure_uploads``, copies in ``azure_copies``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hugesync_tasks.errors import NotFound, Permanent, TooLarge, VersionMismatch
from hugesync_tasks.model import Commit, Entry, Head, Meta
from hugesync_tasks.names import is_ours
from hugesync_tasks.stores.azure_blocks import BlockList, block_of
from hugesync_tasks.stores.azure_client import READ_TIMEOUT, Answered, AzureClients
from hugesync_tasks.stores.azure_copies import AzureCopies, Remembered
from hugesync_tasks.stores.azure_listing import PAGE, AzureListing, instant_ns
from hugesync_tasks.stores.azure_meta import meta_of, meta_of_headers
from hugesync_tasks.stores.azure_root import checksum, condition
from hugesync_tasks.stores.azure_small import AzureSmall
from hugesync_tasks.stores.azure_uploads import combined
from hugesync_tasks.stores.base import ABSENT, ANY, Limits, PutBatch, Reader, Store
from hugesync_tasks.stores.batches import PromptBatch
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.stores.keeping import KeepsByCopy
from hugesync_tasks.stores.object_reader import ObjectReader, checked_span, checked_version, pay_ahead
from hugesync_tasks.stores.obstore_calls import SMALL, is_small
from hugesync_tasks.stores.paced_body import PacedBody
from hugesync_tasks.stores.s3_listing import datetime_ns
from hugesync_tasks.stores.s3_meta import entry_of, quoted, unquoted
from hugesync_tasks.stores.wrapper import innermost
from hugesync_tasks.token import Token


class AzureStore(KeepsByCopy, AzureCopies):
    """One container and prefix ("" or ending in ``/``). Costs nothing until its first call; safe to construct before a fork.

    ``endpoint`` None: the account's own. ``limits`` None: Microsoft's from the table; of any other endpoint nothing is
    believed until ``probe``.
    """

    def __init__(
        self,
        container: str,
        prefix: str = "",
        *,
        profile: str = "",
        endpoint: str | None = None,
        limits: Limits | None = None,
        concurrency: int = 16,
        page_size: int = PAGE,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        super().__init__(container, prefix, AzureClients(profile, endpoint, concurrency, read_timeout), limits)
        self._page_size = page_size
        self._lists: Remembered[BlockList] = Remembered(1)
        self._sizes: Remembered[int] = Remembered(64)
        self._small = AzureSmall(container, self.clients)

    @property
    def endpoint(self) -> str:
        return self.clients.endpoint

    @property
    def device(self) -> str:
        return ""

    @property
    def domain(self) -> str:
        return f"azure {self.endpoint} {self.container}"

    def probe(self, token: Token, writes: bool = True) -> Limits:
        from hugesync_tasks.stores.azure_probe import probe  # it stands on this module

        return probe(self, token, writes)

    def validate(self, token: Token) -> Findings:
        from hugesync_tasks.stores.azure_raw import validate

        return validate(self, token)

    def hazards(self, token: Token) -> tuple[str, ...]:
        """Lifecycle rules are the account's management's, which storage credentials do not reach: none are told."""
        return ()

    def list_ours(self, token: Token, below: str = "") -> Iterator[Entry]:
        """No job leaves anything there; what a probe or ``validate`` left that ended half way is found by this."""
        for row in AzureListing(self.clients, self.container, self.prefix + below, self._page_size).rows(token):
            key = row.whole[len(self.prefix) :]
            if is_ours(key) and not row.folder:
                yield entry_of(key, row.size, row.modified_ns, row.version, row.meta)

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        listing = AzureListing(self.clients, self.container, self.prefix, self._page_size)
        return listing.entries(token, start_after, enter)

    def head(self, key: str, token: Token, digest: bool = False) -> Head | None:
        token.requested("head")
        try:
            answer = self._ask("HEAD", "look at it", key)
        except NotFound:
            return None
        size = int(answer.headers["Content-Length"])
        return self._head_of(key, answer, size, self._digest(key, answer, size, token) if digest else None)

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        if length == 0:  # HTTP has no empty range
            head = self.head(key, token)
            if head is None:
                raise NotFound("cannot read: there is no such blob", key)
            checked_version(key, version, head.entry.version)
            return ObjectReader(head, iter(()), checked_span(key, head.entry.size, start, 0), token, overhead)
        headers = {"If-Match": quoted(version)} if version else {}
        if start or length is not None:
            headers["x-ms-range"] = f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"
        paid = pay_ahead(length, token)
        token.requested("get")
        whole = self._whole(key)
        try:
            if is_small(length, token) and self._small.usable(whole):
                reader = self._read_small(key, whole, version, start, length, token, overhead, paid)
                if reader is not None:
                    return reader
                token.requested("get")  # larger than was to be expected: one answer without its body is the price
            answer = self._ask("GET", "read", key, headers=headers, stream=True)
        except VersionMismatch as exc:  # Azurite says so of what is gone, too
            if self.head(key, token) is None:
                raise NotFound("cannot read: there is no such blob", key) from exc
            raise
        try:
            total = str(answer.headers.get("Content-Range") or "").rpartition("/")[2]
            head = self._head_of(key, answer, int(total if total.isdigit() else answer.headers["Content-Length"]))
            checked_version(key, version, head.entry.version)
            wanted = checked_span(key, head.entry.size, start, length)
        except Exception:
            answer.close()
            raise
        return ObjectReader(head, answer.chunks(key, token), wanted, token, overhead, paid)

    def _read_small(
        self,
        key: str,
        whole: str,
        version: str,
        start: int,
        length: int | None,
        token: Token,
        overhead: bool,
        paid: int,
    ) -> Reader | None:
        """None where it is more than SMALL."""
        result = self._small.get(whole, version, None if start == 0 and length is None else (start, length), key)
        if result.range[1] - result.range[0] > SMALL:
            return None
        about, pairs = result.meta, dict(result.attributes)
        meta = meta_of(pairs, pairs.pop("Content-Type", None))
        modified, etag = datetime_ns(about["last_modified"]), unquoted(about["e_tag"])
        head = Head(entry_of(key, int(about["size"]), modified, etag, meta), meta)
        checked_version(key, version, head.entry.version)
        wanted = checked_span(key, head.entry.size, start, length)
        return ObjectReader(head, self._small.chunks(result, key, wanted), wanted, token, overhead, paid)

    def batch(self) -> PutBatch:
        return PromptBatch(self)

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        if len(body) > self.limits.max_put:
            raise TooLarge(f"cannot write: {len(body)} bytes are more than one put may have", key)
        headers = {"x-ms-blob-type": "BlockBlob", "x-ms-content-crc64": checksum(body)}
        headers |= self._attributes(meta) | condition(expected)
        self._whole(key)
        token.requested("put")
        try:
            answer = self._ask("PUT", "write", key, headers=headers, body=PacedBody(body, token, overhead))
        except NotFound as exc:
            if expected in (None, ANY):
                raise
            raise VersionMismatch("cannot write: the blob is gone", key) from exc
        except VersionMismatch:
            if expected is not None or overhead or self.head(key, token) is not None:
                raise
            return self._put_as_block(key, body, meta, token)
        proven = "crc64nvme" if self.limits.full_crc64 else ""
        return Commit(key, unquoted(answer.headers.get("ETag")), len(body), proven)

    def _put_as_block(self, key: str, body: bytes, meta: Meta, token: Token) -> Commit:
        """Where nothing is to be seen and yet a put is refused because something is: staged blocks of an unfinished upload, which
        Azurite takes for a blob. A commit is not refused, and drops them as a put would have."""
        upload = self.create_upload(key, len(body), max(1, len(body)), meta, token)
        parts = [self.put_part(upload, 1, body, token)] if body else []
        return self.complete(upload, parts, meta, ABSENT, None, token)

    def finish_folder(self, key: str, meta: Meta, token: Token) -> tuple[str, ...]:
        self.put(key, b"", meta, ANY, token)
        return ()

    def delete(self, key: str, expected: str, token: Token) -> None:
        if expected != ANY and not self.limits.delete_conditional:
            head = self.head(key, token)
            if head is None:
                return
            if head.entry.version != expected:
                raise VersionMismatch("cannot delete: the blob is another version now", key)
        token.requested("delete")
        try:
            self._ask("DELETE", "delete", key, headers=condition(expected) if expected != ANY else {})
        except NotFound:
            return
        except VersionMismatch:
            if self.head(key, token) is None:
                return
            raise

    def can_copy_from(self, source: Store) -> bool:
        other = innermost(source)
        if not isinstance(other, AzureStore):
            return False
        ours, theirs = self.clients, other.clients
        return theirs.account == ours.account and (ours.account.token is None or theirs.profile == ours.profile)

    def close(self) -> None:
        self._small.close()
        self.clients.close()

    def _head_of(self, key: str, answer: Answered, size: int, crc64: int | None = None) -> Head:
        meta = meta_of_headers(answer.headers)
        modified = instant_ns(answer.headers.get("Last-Modified") or "")
        return Head(entry_of(key, size, modified, unquoted(answer.headers.get("ETag")), meta), meta, crc64)

    def _digest(self, key: str, answer: Answered, size: int, token: Token) -> int | None:
        """The CRC64NVME of the whole: from those of its blocks, where all are ours and the service checked each when it came."""
        try:
            listed = self._block_list(key, "committed", token)
        except Permanent:
            return None
        if listed.version != unquoted(answer.headers.get("ETag")):
            return None
        found = [(block_of(id), id, length) for id, length in listed.committed]
        if not found or any(block is None or block.size != length for block, _, length in found):
            return None
        return combined([block.part(id) for block, id, _ in found if block is not None])
