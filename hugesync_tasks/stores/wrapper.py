"""What every wrapper is made of: a store that hands each call on to the store inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Self, TypeVar

from hugesync_tasks.model import Commit, Entry, Head, Meta, Part, Upload
from hugesync_tasks.stores.base import Body, Limits, Parts, PutBatch, Reader, Store, Stretch
from hugesync_tasks.stores.batches import PromptBatch
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.token import Token

T = TypeVar("T")


def innermost(store: Store) -> Store:
    """The adapter inside any number of wrappers: copies within a service are between adapters."""
    while isinstance(store, Wrapper):
        store = store.inner
    return store


class Wrapper:
    """Hands on every call through ``_do``, which a wrapper overrides; by itself it changes nothing."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def limits(self) -> Limits:  # not read when made: an adapter may find its endpoint only at its first use
        return self.inner.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.inner.limits = limits

    def _do(self, op: str, key: str, token: Token, call: Callable[[], T], size: int = 0) -> T:
        """Make one call. ``op``: the method's name (``batch.put``, ``batch.finish`` for a batch's), ``size``: the bytes
        of the body that goes with it."""
        return call()

    @property
    def endpoint(self) -> str:
        return self.inner.endpoint

    @property
    def domain(self) -> str:
        return self.inner.domain

    @property
    def device(self) -> str:
        return self.inner.device

    def probe(self, token: Token, writes: bool = True) -> Limits:
        return self._do("probe", "", token, lambda: self.inner.probe(token, writes))

    def validate(self, token: Token) -> Findings:
        """Not repeated and not delayed by any wrapper: what fails is an answer, and it cleans up by itself."""
        return self.inner.validate(token)

    def hazards(self, token: Token) -> tuple[str, ...]:
        return self._do("hazards", "", token, lambda: self.inner.hazards(token))

    def held(self, upload: Upload, token: Token) -> int | None:
        return self._do("held", upload.key, token, lambda: self.inner.held(upload, token))

    def list_ours(self, token: Token, below: str = "") -> Iterator[Entry]:
        yield from self._do("list_ours", below, token, lambda: self.inner.list_ours(token, below))

    def within(self, folder: str) -> Self:
        made = copy(self)
        made.inner = self.inner.within(folder)
        return made

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        yield from self._do("list", start_after, token, lambda: self.inner.list(token, start_after, enter))

    def head(self, key: str, token: Token, digest: bool = False) -> Head | None:
        return self._do("head", key, token, lambda: self.inner.head(key, token, digest))

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        return self._do("open", key, token, lambda: self.inner.open(key, version, token, start, length, overhead))

    def batch(self) -> PutBatch:
        """Where folders are real a batch's durability is paid for once, so it stays the inner store's; elsewhere a put
        is durable at once and a batch is so many puts of this wrapper."""
        return WrappedBatch(self._do, self.inner.batch()) if self.limits.folders else PromptBatch(self)

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        def call() -> Commit:
            return self.inner.put(key, body, meta, expected, token, overhead)

        return self._do("put", key, token, call, len(body))

    def finish_folder(self, key: str, meta: Meta, token: Token) -> tuple[str, ...]:
        return self._do("finish_folder", key, token, lambda: self.inner.finish_folder(key, meta, token))

    def delete(self, key: str, expected: str, token: Token) -> None:
        return self._do("delete", key, token, lambda: self.inner.delete(key, expected, token))

    def keep(self, key: str, version: str, to: str, token: Token) -> str:
        return self._do("keep", key, token, lambda: self.inner.keep(key, version, to, token))

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
        bare = innermost(source)

        def call() -> Commit:
            return self.inner.copy(bare, key, source_key, source_version, meta, expected, token)

        return self._do("copy", key, token, call)

    def can_copy_from(self, source: Store) -> bool:
        return self.inner.can_copy_from(innermost(source))

    def create_upload(self, key: str, size: int, part_size: int, meta: Meta, token: Token) -> Upload:
        return self._do(
            "create_upload", key, token, lambda: self.inner.create_upload(key, size, part_size, meta, token)
        )

    def put_part(self, upload: Upload, number: int, body: Body, token: Token) -> Part:
        def call() -> Part:
            return self.inner.put_part(upload, number, body, token)

        return self._do("put_part", upload.key, token, call, len(body))

    def copy_part(
        self, upload: Upload, number: int, source: Store, source_key: str, source_version: str, start: int, length: int,
        token: Token, source_id: str = "", checksum: int | None = None,
    ) -> Part:  # fmt: skip
        bare = innermost(source)

        def call() -> Part:
            return self.inner.copy_part(
                upload, number, bare, source_key, source_version, start, length, token, source_id, checksum
            )

        return self._do("copy_part", upload.key, token, call)

    def blocks(self, key: str, version: str, token: Token) -> Sequence[Stretch]:
        return self._do("blocks", key, token, lambda: self.inner.blocks(key, version, token))

    def list_parts(self, upload: Upload, token: Token) -> Parts:
        return self._do("list_parts", upload.key, token, lambda: self.inner.list_parts(upload, token))

    def complete(
        self, upload: Upload, parts: Parts, meta: Meta, expected: str | None, crc64: int | None, token: Token
    ) -> Commit:  # fmt: skip
        def call() -> Commit:
            return self.inner.complete(upload, parts, meta, expected, crc64, token)

        return self._do("complete", upload.key, token, call)

    def put_pieces(self, upload: Upload, number: int, pieces: Sequence[tuple[int, Body]], token: Token) -> Part:
        def call() -> Part:
            return self.inner.put_pieces(upload, number, pieces, token)

        return self._do("put_pieces", upload.key, token, call, sum(len(body) for _, body in pieces))

    def overwrite(
        self, upload: Upload, kept: Sequence[Stretch], meta: Meta, expected: str, crc64: int, token: Token
    ) -> Commit:
        def call() -> Commit:
            return self.inner.overwrite(upload, kept, meta, expected, crc64, token)

        return self._do("overwrite", upload.key, token, call)

    def abort(self, upload: Upload, token: Token) -> None:
        return self._do("abort", upload.key, token, lambda: self.inner.abort(upload, token))

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        yield from self._do("list_uploads", "", token, lambda: self.inner.list_uploads(token))

    def close(self) -> None:
        self.inner.close()


class WrappedBatch:
    """A batch of the inner store, its calls made through the wrapper's ``_do``."""

    def __init__(self, do: Callable[..., None], inner: PutBatch) -> None:
        self._do = do
        self._inner = inner

    def put(self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token) -> None:
        self._do("batch.put", key, token, lambda: self._inner.put(key, body, meta, expected, token), len(body))

    def finish(self, token: Token) -> dict[str, Commit | Exception]:
        answers: dict[str, Commit | Exception] = {}
        self._do("batch.finish", "", token, lambda: answers.update(self._inner.finish(token)))
        return answers

    def discard(self) -> None:
        self._inner.discard()
