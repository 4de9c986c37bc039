"""A span for each call of a store, right around the adapter: each repeat is one of its own, and no wait is part of any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from hugesync_tasks.model import Entry
from hugesync_tasks.stores.base import Reader, Store, filling
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token
from hugesync_tasks.tracing import Tracer

T = TypeVar("T")


class TracedStore(Wrapper):
    """``side``: source or destination of ``job``."""

    def __init__(self, inner: Store, tracer: Tracer, job: str, side: str) -> None:
        super().__init__(inner)
        self._tracer, self._job, self._side = tracer, job, side

    def _do(self, op: str, key: str, token: Token, call: Callable[[], T], size: int = 0) -> T:
        span, error = self._begin(op, key, size), None
        try:
            return call()
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._tracer.end(span, error)

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        """One span over all pages, while their entries are taken."""
        span, error, entries = self._begin("list", start_after), None, 0
        try:
            for entry in self.inner.list(token, start_after, enter):
                entries += 1
                yield entry
        except GeneratorExit:
            raise
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._tracer.end(span, error, entries=entries)

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        """Its span ends with the reader, and says how many bytes came."""
        span = self._begin("open", key)
        try:
            return _TracedReader(self.inner.open(key, version, token, start, length, overhead), self._tracer, span)
        except BaseException as error:
            self._tracer.end(span, error)
            raise

    def _begin(self, op: str, key: str, size: int = 0) -> Any:
        said: dict[str, str | int] = {"store": self._side, "call": op}
        if key:
            said["path"] = key
        if size:
            said["bytes"] = size
        return self._tracer.begin(f"{self._side} {op}", self._job, said, kind="CLIENT")


class _TracedReader:
    def __init__(self, inner: Reader, tracer: Tracer, span: Any) -> None:
        self._inner, self._tracer, self._span = inner, tracer, span
        self.head = inner.head
        self._bytes = 0
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self._watched(self._inner, len)

    def fill(self, room: memoryview) -> Iterator[int] | None:
        pieces = filling(self._inner, room)
        return None if pieces is None else self._watched(pieces, int)

    def _watched(self, pieces: Iterable[T], size: Callable[[T], int]) -> Iterator[T]:
        try:
            for piece in pieces:
                self._bytes += size(piece)
                yield piece
        except GeneratorExit:
            raise
        except BaseException as error:  # a reader that broke may be left as it is
            self._end(error)
            raise

    def __enter__(self) -> Reader:
        self._inner.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._inner.__exit__(*exc)
        finally:
            self._end(next((e for e in exc if isinstance(e, BaseException)), None))

    def _end(self, error: BaseException | None) -> None:
        if not self._over:
            self._over = True
            self._tracer.end(self._span, error, bytes=self._bytes)
