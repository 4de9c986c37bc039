"""A stream that is read on where it broke."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from hugesync_tasks.errors import Corrupted, Transient
from hugesync_tasks.stores.base import Reader, filling
from hugesync_tasks.token import Token

if TYPE_CHECKING:
    from hugesync_tasks.stores.retry import RetryingStore


class ResumingReader:
    """A stream that, when it breaks, goes on at the byte it had reached, of the same version.

    Corrupted is not healed: what was handed out is wrong already. Nor is an object without a version, of which the
    rest could be another's.
    """

    def __init__(
        self,
        store: RetryingStore,
        reader: Reader,
        key: str,
        token: Token,
        start: int,
        length: int | None,
        overhead: bool,
    ) -> None:
        self.head = reader.head
        self._store = store
        self._reader = reader
        self._key = key
        self._token = token
        self._start = start
        self._wanted = length if length is not None else max(0, reader.head.entry.size - start)
        self._overhead = overhead
        self._done = 0

    def __iter__(self) -> Iterator[bytes]:
        return self._on(iter(self._reader))

    def _on(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        while True:
            try:
                for chunk in chunks:
                    self._done += len(chunk)
                    yield chunk
                if self._done >= self._wanted:
                    return
                error = self._short()
            except Corrupted:
                raise
            except Transient as broken:
                error = broken
            if self._done >= self._wanted:
                return  # it broke after its last byte
            chunks, chunk = self._again(error)
            self._done += len(chunk)
            yield chunk

    def fill(self, room: memoryview) -> Iterator[int] | None:
        pieces = filling(self._reader, room)
        return None if pieces is None else self._filled(pieces, room)

    def _filled(self, pieces: Iterator[int], room: memoryview) -> Iterator[int]:
        """Straight into ``room``; what comes after a break, chunk by chunk."""
        try:
            for n in pieces:
                self._done += n
                yield n
            return
        except Corrupted:
            raise
        except Transient as broken:
            if self._done >= self._wanted:
                return
            chunks, first = self._again(broken)
        for chunk in self._on(chain([first], chunks)):
            at = self._done - len(chunk)
            room[at : self._done] = chunk
            yield len(chunk)

    def __enter__(self) -> ResumingReader:
        self._reader.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._reader.__exit__(*exc)

    def _again(self, error: Transient) -> tuple[Iterator[bytes], bytes]:
        if not self.head.entry.version:
            raise error
        return self._store.again(error, self._token, self._resume)

    def _resume(self) -> tuple[Iterator[bytes], bytes]:
        self._reader.__exit__(None, None, None)
        self._reader = self._store.inner.open(
            self._key,
            self.head.entry.version,
            self._token,
            self._start + self._done,
            self._wanted - self._done,
            self._overhead,
        )
        self._reader.__enter__()
        chunks = iter(self._reader)
        chunk = next(chunks, b"")
        if not chunk:
            raise self._short()
        return chunks, chunk

    def _short(self) -> Transient:
        return Transient(f"the stream ended after {self._done} of {self._wanted} bytes", self._key)
