"""Holds a process to a rate of bytes and of requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Lock
from typing import TypeVar

from hugesync_tasks.model import Entry
from hugesync_tasks.stores.base import Reader, Store
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token

T = TypeVar("T")
_SLICE = 0.25  # seconds slept between two looks at the token
PAGE = 1000  # entries that one listing request brings


class Rate:
    """A token bucket that allows debt: whoever takes more than there is waits until the debt is paid, so a body larger
    than the bucket passes and callers are served in the order they came. Holds one second's worth. Thread-safe."""

    def __init__(self, per_second: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        if per_second <= 0:
            raise ValueError("a rate must be greater than nothing")
        self._per_second = per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = Lock()
        self._level = per_second
        self._at = clock()

    def take(self, n: float, token: Token) -> None:
        """Return when ``n`` may go; raises what the token raises, at most a quarter of a second after it is due."""
        with self._lock:
            now = self._clock()
            self._level = min(self._per_second, self._level + (now - self._at) * self._per_second) - n
            self._at = now
            wait = -self._level / self._per_second
        while wait > 0:
            self._sleep(min(wait, _SLICE))
            wait -= _SLICE
            token.check()


class ThrottledStore(Wrapper):
    """At most ``bytes_per_second`` of bodies, both ways together, and ``requests_per_second``; None = no limit.

    For this process only; what a store copies within itself has no body here and is not counted.
    """

    def __init__(
        self,
        inner: Store,
        bytes_per_second: float | None = None,
        requests_per_second: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(inner)
        self._bytes = Rate(bytes_per_second, clock, sleep) if bytes_per_second is not None else None
        self._requests = Rate(requests_per_second, clock, sleep) if requests_per_second is not None else None

    def _do(self, op: str, key: str, token: Token, call: Callable[[], T], size: int = 0) -> T:
        if self._requests is not None:
            self._requests.take(1, token)
        if self._bytes is not None and size:
            self._bytes.take(size, token)
        return call()

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        for n, entry in enumerate(super().list(token, start_after, enter), 1):
            yield entry
            if self._requests is not None and n % PAGE == 0:
                self._requests.take(1, token)

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        reader = super().open(key, version, token, start, length, overhead)
        return reader if self._bytes is None else ThrottledReader(reader, self._bytes, token)


class ThrottledReader:
    """Hands out each chunk when its bytes are paid for."""

    def __init__(self, inner: Reader, rate: Rate, token: Token) -> None:
        self.head = inner.head
        self._inner = inner
        self._rate = rate
        self._token = token

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            self._rate.take(len(chunk), self._token)
            yield chunk

    def __enter__(self) -> ThrottledReader:
        self._inner.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._inner.__exit__(*exc)
