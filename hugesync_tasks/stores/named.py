"""The outermost wrapper: an error that leaves the stack says at which end it happened, and where that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from hugesync_tasks.errors import StoreError
from hugesync_tasks.model import Commit, Entry
from hugesync_tasks.stores.base import PutBatch, Reader, Store, filling
from hugesync_tasks.stores.batches import PromptBatch
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.stores.wrapper import WrappedBatch, Wrapper
from hugesync_tasks.token import Token

T = TypeVar("T")
_BOTH = ("copy", "copy_part")  # either end may be what failed, and only the store knows


class NamedStore(Wrapper):
    """``side``: source or destination; ``place``: as a person would write the location."""

    def __init__(self, inner: Store, side: str, place: str) -> None:
        super().__init__(inner)
        self._side = side
        self._place = place

    def _do(self, op: str, key: str, token: Token, call: Callable[[], T], size: int = 0) -> T:
        try:  # no context manager: this is on the way of every small file
            return call()
        except StoreError as error:
            if op not in _BOTH:
                self._name(error)
            raise

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        with self._naming():
            yield from self.inner.list(token, start_after, enter)

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        with self._naming():
            yield from self.inner.list_uploads(token)

    def list_ours(self, token: Token, below: str = "") -> Iterator[Entry]:
        with self._naming():
            yield from self.inner.list_ours(token, below)

    def validate(self, token: Token) -> Findings:
        with self._naming():
            return self.inner.validate(token)

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        return _NamedReader(super().open(key, version, token, start, length, overhead), self._naming)

    def batch(self) -> PutBatch:
        return _NamedBatch(self._do, self.inner.batch(), self._name) if self.limits.folders else PromptBatch(self)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._name(error)
            raise

    def _name(self, error: StoreError) -> None:
        if not error.side:
            error.side, error.place = self._side, self._place


class _NamedReader:
    def __init__(self, inner: Reader, naming: Callable[[], AbstractContextManager[None]]) -> None:
        self._inner = inner
        self._naming = naming
        self.head = inner.head

    def __iter__(self) -> Iterator[bytes]:
        with self._naming():
            yield from self._inner

    def fill(self, room: memoryview) -> Iterator[int] | None:
        pieces = filling(self._inner, room)
        return None if pieces is None else self._named(pieces)

    def _named(self, pieces: Iterator[int]) -> Iterator[int]:
        with self._naming():
            yield from pieces

    def __enter__(self) -> Reader:
        self._inner.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._inner.__exit__(*exc)


class _NamedBatch(WrappedBatch):
    def __init__(self, do: Callable[..., None], inner: PutBatch, name: Callable[[StoreError], None]) -> None:
        super().__init__(do, inner)
        self._name = name

    def finish(self, token: Token) -> dict[str, Commit | Exception]:
        answers = super().finish(token)
        for answer in answers.values():
            if isinstance(answer, StoreError):
                self._name(answer)
        return answers
