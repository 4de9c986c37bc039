"""The memory store: a strict fake of S3 behind the store's contract, for tests, dry runs and the crash matrix.

The server is a ``MemoryBucket``; stores (prefixes) over one bucket copy between each other without the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from awscrt.checksums import crc64nvme

from hugesync_tasks.errors import NoSuchUpload, NotFound, Permanent, TooLarge, Unsupported, VersionMismatch
from hugesync_tasks.model import Commit, Entry, Head, Meta, Part, Upload
from hugesync_tasks.names import is_ours
from hugesync_tasks.stores.base import ANY, MIB, Body, Limits, NoBlocks, NotInPlace, Parts, PutBatch, Store
from hugesync_tasks.stores.batches import PromptBatch
from hugesync_tasks.stores.borrowed import borrowed
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.stores.keeping import KeepsByCopy
from hugesync_tasks.stores.listing import Doorkeeper
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.memory_objects import S3_LIKE, StoredObject, bad_name
from hugesync_tasks.stores.memory_raw import MemoryRaw
from hugesync_tasks.stores.s3_meta import entry_of
from hugesync_tasks.stores.scratch import validate
from hugesync_tasks.stores.sorting import sorted_entries
from hugesync_tasks.stores.wrapper import innermost
from hugesync_tasks.token import Token


class MemoryStore(KeepsByCopy, NotInPlace, NoBlocks):
    """The keys of ``bucket`` below ``prefix``. ``limits`` make a new bucket where none is given.

    ``page_size``: keys per listing request. ``run_size``: keys sorted in memory where the server lists otherwise.
    """

    def __init__(
        self,
        bucket: MemoryBucket | None = None,
        prefix: str = "",
        limits: Limits | None = None,
        page_size: int = 1000,
        run_size: int = 100_000,
    ) -> None:
        self.bucket = bucket if bucket is not None else MemoryBucket(limits or S3_LIKE)
        self.limits = limits or self.bucket.limits
        self.prefix = prefix
        self._page_size = page_size
        self._run_size = run_size

    @property
    def endpoint(self) -> str:
        return f"memory://{id(self.bucket)}"

    @property
    def device(self) -> str:
        return ""

    def probe(self, token: Token, writes: bool = True) -> Limits:
        return self.limits

    @property
    def domain(self) -> str:
        return f"memory {self.endpoint}"

    def validate(self, token: Token) -> Findings:
        raw = MemoryRaw(self.bucket, self.prefix)
        return validate(raw, raw, self.limits.name)

    def hazards(self, token: Token) -> tuple[str, ...]:
        return ()

    def list_ours(self, token: Token, below: str = "") -> Iterator[Entry]:
        after, more = None, True
        while more:
            token.requested("list")
            page, more = self.bucket.page(self.prefix + below, after, self._page_size)
            for whole, found in page:
                after = whole
                if is_ours(key := whole[len(self.prefix) :]):
                    yield entry_of(key, len(found.body), found.modified_ns, found.etag)

    def within(self, folder: str) -> MemoryStore:
        return borrowed(self, folder)

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        doorkeeper = Doorkeeper(enter)
        if self.limits.list_order == "utf8":
            found = self._listed(token, self.prefix + start_after if start_after else None)
            yield from (e for e in found if doorkeeper.admits(e.key))
            return
        admitted = (e for e in self._listed(token, None) if doorkeeper.admits(e.key))
        yield from (e for e in sorted_entries(admitted, self._run_size) if e.key > start_after)

    def head(self, key: str, token: Token, digest: bool = False) -> Head | None:
        whole = self._whole(key)
        token.requested("head")
        try:
            return self._as_head(key, self.bucket.get(whole))
        except NotFound:
            return None

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> MemoryReader:
        whole = self._whole(key)
        token.requested("get")
        found = self.bucket.get(whole, version)
        end = len(found.body) if length is None else start + length
        if start < 0 or not start <= end <= len(found.body):
            raise Permanent(f"the range {start}-{end} is not inside {key!r} ({len(found.body)} bytes)", key)
        return MemoryReader(self._as_head(key, found), memoryview(found.body)[start:end], token, overhead)

    def batch(self) -> PutBatch:
        return PromptBatch(self)

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        whole = self._whole(key)
        if key.endswith("/") and body:
            raise Permanent("a folder has no bytes of its own", key)
        self._check_condition(key, expected)
        token.requested("put")
        token.pay(len(body))
        token.sent(len(body), overhead)
        token.moved(len(body))
        made = self.bucket.put(whole, bytes(body), meta, expected, self._crc64(body))
        return self._as_commit(key, made)

    def finish_folder(self, key: str, meta: Meta, token: Token) -> tuple[str, ...]:
        self.put(key, b"", meta, ANY, token)
        return ()

    def delete(self, key: str, expected: str, token: Token) -> None:
        whole = self._whole(key)
        if expected != ANY and not self.limits.delete_conditional:
            head = self.head(key, token)
            if head is None:
                return
            if head.entry.version != expected:
                raise VersionMismatch(f"{key!r} is another version now", key)
            expected = ANY
        token.requested("delete")
        self.bucket.delete(whole, expected)

    def can_copy_from(self, source: Store) -> bool:
        bare = innermost(source)
        return isinstance(bare, MemoryStore) and bare.bucket is self.bucket

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
        whole, source_whole = self._whole(key), self._source(source)._whole(source_key)
        self._check_condition(key, expected)
        token.requested("put")
        made = self.bucket.copy(source_whole, source_version, whole, meta, expected)
        token.copied_server_side(len(made.body))
        return self._as_commit(key, made)

    def create_upload(self, key: str, size: int, part_size: int, meta: Meta, token: Token) -> Upload:
        whole = self._whole(key)
        if size > self.limits.max_size:
            raise TooLarge(f"{size} bytes are more than an object may have ({self.limits.max_size})", key)
        token.requested("create")
        return Upload(key, self.bucket.create_upload(whole, meta), meta.generation, size, part_size)

    def put_part(self, upload: Upload, number: int, body: Body, token: Token) -> Part:
        token.requested("part")
        token.pay(len(body))
        token.sent(len(body))
        token.moved(len(body))
        return self.bucket.put_part(self._whole(upload.key), upload.id, number, bytes(body), self._crc64(body))

    def copy_part(
        self, upload: Upload, number: int, source: Store, source_key: str, source_version: str, start: int, length: int,
        token: Token, source_id: str = "", checksum: int | None = None,
    ) -> Part:  # fmt: skip
        source_whole = self._source(source)._whole(source_key)
        token.requested("part_copy")
        part = self.bucket.copy_part(
            self._whole(upload.key), upload.id, number, source_whole, source_version, start, length
        )
        token.copied_server_side(part.size)
        return part

    def list_parts(self, upload: Upload, token: Token) -> Parts:
        token.requested("list")
        return self.bucket.list_parts(self._whole(upload.key), upload.id)

    def complete(
        self, upload: Upload, parts: Parts, meta: Meta, expected: str | None, crc64: int | None, token: Token
    ) -> Commit:
        self._check_condition(upload.key, expected)
        token.requested("complete")
        made = self.bucket.complete(self._whole(upload.key), upload.id, parts, expected, upload.size, crc64)
        proven = "crc64nvme" if crc64 is not None and self.limits.full_crc64 else ""
        return Commit(upload.key, made.etag, len(made.body), proven)

    def abort(self, upload: Upload, token: Token) -> None:
        token.requested("abort")
        with suppress(NoSuchUpload):
            self.bucket.abort(self._whole(upload.key), upload.id)

    def held(self, upload: Upload, token: Token) -> int | None:
        return sum(part.size for part in self.list_parts(upload, token))

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        token.requested("list")
        for upload in self.bucket.list_uploads(self.prefix):
            yield upload.key[len(self.prefix) :], upload.id, upload.begun_ns

    def close(self) -> None:
        """Nothing is held open; the bucket stays."""

    def _listed(self, token: Token, after: str | None) -> Iterator[Entry]:
        more = True
        while more:
            token.requested("list")
            page, more = self.bucket.page(self.prefix, after, self._page_size)
            for whole, found in page:
                after = whole
                key = whole[len(self.prefix) :]
                if key and not is_ours(key):
                    token.moved(0)
                    yield entry_of(key, len(found.body), found.modified_ns, found.etag)

    def _whole(self, key: str) -> str:
        reason = bad_name(self.prefix + key, self.limits) if key else bad_name(key, self.limits)
        if reason is not None:
            raise reason
        return self.prefix + key

    def _source(self, source: Store) -> MemoryStore:
        bare = innermost(source)
        if not isinstance(bare, MemoryStore) or bare.bucket is not self.bucket:
            raise Unsupported(f"cannot copy within {self.limits.name} from {source.limits.name}")
        return bare

    def _check_condition(self, key: str, expected: str | None) -> None:
        if expected != ANY and self.limits.conditional_commit == "none":
            raise Unsupported("this store cannot make a commit conditional", key)

    def _crc64(self, body: Body) -> int | None:
        return crc64nvme(body) if self.limits.full_crc64 else None

    def _as_commit(self, key: str, made: StoredObject) -> Commit:
        return Commit(key, made.etag, len(made.body), "crc64nvme" if self.limits.full_crc64 else "")

    def _as_head(self, key: str, found: StoredObject) -> Head:
        return Head(
            entry_of(key, len(found.body), found.modified_ns, found.etag, found.meta),
            found.meta,
            found.crc64 if self.limits.full_crc64 else None,
            found.md5 if self.limits.etag_is_md5 else None,
        )


class MemoryReader:
    """One response: the bytes are those of the version that was opened, whatever is written meanwhile."""

    def __init__(self, head: Head, body: memoryview, token: Token, overhead: bool) -> None:
        self.head = head
        self._body = body
        self._token = token
        self._overhead = overhead

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self._body), MIB):
            chunk = bytes(self._body[at : at + MIB])
            self._token.received(len(chunk), self._overhead)
            self._token.moved(len(chunk))
            self._token.pay(len(chunk))
            yield chunk

    def __enter__(self) -> MemoryReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._body = memoryview(b"")
