"""The only place where a store's call is repeated. Adapters do not retry and callers do not either."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from hugesync_tasks.errors import NoSuchUpload, NotFound, Throttled, Transient, VersionMismatch
from hugesync_tasks.model import Commit, Entry, Meta, Upload
from hugesync_tasks.stores.base import Parts, Reader, Store
from hugesync_tasks.stores.resuming import ResumingReader
from hugesync_tasks.stores.wrapper import Wrapper, innermost
from hugesync_tasks.token import Token

T = TypeVar("T")
_SLICE = 0.25  # seconds slept between two looks at the token


class RetryingStore(Wrapper):
    """Repeats what failed with Transient, and nothing else, at most ``attempts`` times in all.

    Between attempts it waits a random time below ``min(cap, base * 2**n)`` seconds (full jitter), after a Throttled
    with ``retry_after`` that much longer, but never more than ``longest`` seconds. A wait the token's deadline would cut short is not begun: the error stands.
    Each repeat counts as ``retries`` on the token's meter, one after a Throttled as ``throttled`` too, and a wait keeps
    the task's lease. Progress in a listing or a stream starts the count anew. No attempt begins later than ``patience``
    seconds after the first failure: a call of a silent store lasts until its socket's time-out, and so does each repeat.

    A commit (put, copy, complete) that is refused after an earlier attempt had an unknown outcome is judged by a HEAD:
    what carries our generation, size (and checksum, where both are known) is our own success.
    """

    def __init__(
        self,
        inner: Store,
        attempts: int = 5,
        base: float = 0.2,
        cap: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random.random,
        patience: float = float("inf"),
        longest: float = float("inf"),
    ) -> None:
        super().__init__(inner)
        self._longest = longest
        self._attempts = max(1, attempts)
        self._base = base
        self._cap = cap
        self._sleep = sleep
        self._random = random
        self._patience = patience

    def _do(self, op: str, key: str, token: Token, call: Callable[[], T], size: int = 0) -> T:
        if op == "batch.finish":  # its answers are per key; what failed is some file's outcome
            return call()
        try:
            return call()
        except Transient as error:
            return self.again(error, token, call)

    def again(self, error: Transient, token: Token, call: Callable[[], T]) -> T:
        """Repeat ``call``, which just failed with ``error``, until it succeeds or there is no point any more."""
        first: list[Transient] = [error]

        def attempt() -> T:
            if first:
                raise first.pop()  # counts as the first attempt; kept out of the way of calls that succeed
            return call()

        return Retrying(
            retry=retry_if_exception_type(Transient),
            stop=lambda state: self._enough(state) or _too_late(state, token),
            wait=self._wait,
            before_sleep=lambda state: _count(state, token),
            sleep=lambda seconds: self._pause(seconds, token),
            reraise=True,
        )(attempt)

    def _enough(self, state: RetryCallState) -> bool:
        return state.attempt_number >= self._attempts or (state.seconds_since_start or 0.0) > self._patience

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        last = start_after
        entries: Iterator[Entry] | None = None

        def resume() -> tuple[Iterator[Entry], Entry | None]:
            rest = self.inner.list(token, last, enter)
            return rest, next(rest, None)

        while True:
            try:
                if entries is None:  # within the ``try``: some stores ask for their first page when called
                    entries = self.inner.list(token, start_after, enter)
                for entry in entries:
                    last = entry.key
                    yield entry
                return
            except Transient as error:
                entries, following = self.again(error, token, resume)
            if following is not None:
                last = following.key
                yield following

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        reader = super().open(key, version, token, start, length, overhead)
        return ResumingReader(self, reader, key, token, start, length, overhead)

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        def call() -> Commit:
            return self.inner.put(key, body, meta, expected, token, overhead)

        return self._commit(key, meta.generation, lambda: len(body), None, token, call)

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

        def size() -> int | None:
            head = bare.head(source_key, token)
            return head.entry.size if head is not None and head.entry.version == source_version else None

        return self._commit(key, meta.generation, size, None, token, call)

    def complete(
        self, upload: Upload, parts: Parts, meta: Meta, expected: str | None, crc64: int | None, token: Token
    ) -> Commit:  # fmt: skip
        def call() -> Commit:
            return self.inner.complete(upload, parts, meta, expected, crc64, token)

        return self._commit(upload.key, upload.generation, lambda: upload.size, crc64, token, call)

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        yield from self._do("list_uploads", "", token, lambda: tuple(self.inner.list_uploads(token)))

    def _commit(
        self, key: str, generation: str, size: Callable[[], int | None], crc64: int | None, token: Token,
        call: Callable[[], Commit],
    ) -> Commit:  # fmt: skip
        unknown = False  # whether an earlier attempt may have taken effect

        def judged() -> Commit:
            nonlocal unknown
            try:
                return call()
            except Transient:
                unknown = True
                raise
            except (VersionMismatch, NoSuchUpload, NotFound):
                ours = self._ours(key, generation, size, crc64, token) if unknown and generation else None
                if ours is None:
                    raise
                return ours

        return self._do("commit", key, token, judged)

    def _ours(
        self, key: str, generation: str, size: Callable[[], int | None], crc64: int | None, token: Token
    ) -> Commit | None:
        head = self.inner.head(key, token)
        if head is None or head.meta.generation != generation or head.entry.size != size():
            return None
        known = crc64 is not None and head.crc64 is not None
        if known and head.crc64 != crc64:
            return None
        return Commit(key, head.entry.version, head.entry.size, "crc64nvme" if known else "", litter=True)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        jitter: float = self._random() * min(self._cap, self._longest, self._base * 2 ** (state.attempt_number - 1))
        asked = error.retry_after if isinstance(error, Throttled) else None
        return min(self._longest, jitter + (asked or 0.0))

    def _pause(self, seconds: float, token: Token) -> None:
        token.check()
        while seconds > 0:
            self._sleep(min(seconds, _SLICE))
            seconds -= _SLICE
            token.alive()


def _count(state: RetryCallState, token: Token) -> None:
    token.meter.add("retries")
    if state.outcome is not None and isinstance(state.outcome.exception(), Throttled):
        token.meter.add("throttled")


def _too_late(state: RetryCallState, token: Token) -> bool:
    return token.remaining(state.upcoming_sleep) < state.upcoming_sleep
