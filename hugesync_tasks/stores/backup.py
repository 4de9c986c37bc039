"""The outermost wrapper of a destination with ``--backup-dir``: a version is kept before it is overwritten or deleted.

The write that follows is conditional on the very version that was kept: whatever somebody else writes in between is met by that
condition, as without a backup.
"""

from __future__ import annotations

from hugesync_tasks.errors import NotFound, StoreError, VersionMismatch
from hugesync_tasks.model import Commit, Meta, Upload
from hugesync_tasks.names import is_ours
from hugesync_tasks.stores.base import ABSENT, ANY, Parts, PutBatch, Store
from hugesync_tasks.stores.batches import PromptBatch
from hugesync_tasks.stores.wrapper import Wrapper, innermost
from hugesync_tasks.token import Token


class BackingUp(Wrapper):
    """``folder``: a key below the root, ending in ``/``."""

    def __init__(self, inner: Store, folder: str) -> None:
        super().__init__(inner)
        self._folder = folder

    def kept(self, key: str, expected: str | None, token: Token) -> str | None:
        """The condition of the write that follows. Raises StoreError: then there must be no such write."""
        if expected in (ABSENT, ANY) or expected is None or is_ours(key):
            return expected
        try:
            return self.inner.keep(key, expected, self._folder + key.removesuffix("/"), token)
        except NotFound:
            return expected  # the write finds out by itself

    def batch(self) -> PutBatch:
        return _KeepingBatch(self, self.inner.batch()) if self.limits.folders else PromptBatch(self)

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        condition = expected if overhead else self.kept(key, expected, token)
        return self.inner.put(key, body, meta, condition, token, overhead)

    def delete(self, key: str, expected: str, token: Token) -> None:
        self.inner.delete(key, self.kept(key, expected, token) or expected, token)

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
        condition = self.kept(key, expected, token)
        return self.inner.copy(innermost(source), key, source_key, source_version, meta, condition, token)

    def complete(
        self, upload: Upload, parts: Parts, meta: Meta, expected: str | None, crc64: int | None, token: Token
    ) -> Commit:
        try:
            condition = self.kept(upload.key, expected, token)
        except VersionMismatch:
            if not self.limits.folders:  # objects carry who wrote them: the caller looks
                raise
            condition = (
                expected  # refused below as well, unless an earlier attempt has published the upload: then it is gone
            )
        return self.inner.complete(upload, parts, meta, condition, crc64, token)


class _KeepingBatch:
    def __init__(self, store: BackingUp, inner: PutBatch) -> None:
        self._store, self._inner = store, inner
        self._refused: dict[str, Commit | Exception] = {}

    def put(self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token) -> None:
        try:
            condition = self._store.kept(key, expected, token)
        except StoreError as error:  # an answer like any other: a mismatch is compared afresh
            self._refused[key] = error
            return
        self._inner.put(key, body, meta, condition, token)

    def finish(self, token: Token) -> dict[str, Commit | Exception]:
        answers, self._refused = self._refused, {}
        return {**self._inner.finish(token), **answers}

    def discard(self) -> None:
        self._refused = {}
        self._inner.discard()
