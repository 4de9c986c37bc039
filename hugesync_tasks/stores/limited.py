"""Holds every call to the rate that the fleet keeps and to what an operator allows, and tells the fleet when the store complains."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from hugesync_tasks import gauges
from hugesync_tasks.bandwidth import Bandwidth
from hugesync_tasks.errors import Throttled
from hugesync_tasks.model import Commit, Entry, Meta, Part, Upload
from hugesync_tasks.stores.base import Reader, Store
from hugesync_tasks.stores.shared_rate import SharedRate, SharedRates
from hugesync_tasks.stores.throttle import PAGE
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token

T = TypeVar("T")


class LimitedStore(Wrapper):
    """Inside the retries, so that each repeat waits its turn too. A call counts as one request, a listing as one for each
    thousand entries."""

    def __init__(self, inner: Store, rates: SharedRates, bucket: str, prefix: str) -> None:
        super().__init__(inner)
        self._rates, self._bucket, self._prefix = rates, bucket, prefix
        self._rate: SharedRate | None = None
        self._requests: Bandwidth | None = None
        self._bytes: Bandwidth | None = None

    def _do(self, op: str, key: str, token: Token, call: Callable[[], T], size: int = 0) -> T:
        rate = self._rate or self._find()
        began = self._turn(rate, token)
        asked = time.monotonic()
        try:
            return call()
        except Throttled:
            rate.complained(began)
            raise
        finally:
            gauges.answered(time.monotonic() - asked)

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        rate = self._rate or self._find()
        began = self._turn(rate, token)
        try:
            for n, entry in enumerate(self.inner.list(token, start_after, enter), 1):
                yield entry
                if n % PAGE == 0:
                    began = self._turn(rate, token)
        except Throttled:
            rate.complained(began)
            raise

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        yield from self._do("list_uploads", "", token, lambda: tuple(self.inner.list_uploads(token)))

    # what has a body: its bytes count at this endpoint
    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        return super().open(key, version, self._toward(token), start, length, overhead)

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        return super().put(key, body, meta, expected, self._toward(token), overhead)

    def put_part(self, upload: Upload, number: int, body: bytes | memoryview, token: Token) -> Part:
        return super().put_part(upload, number, body, self._toward(token))

    def put_pieces(
        self, upload: Upload, number: int, pieces: Sequence[tuple[int, bytes | memoryview]], token: Token
    ) -> Part:
        return super().put_pieces(upload, number, pieces, self._toward(token))

    def _toward(self, token: Token) -> Token:
        if self._bytes is None:
            self._find()
        assert self._bytes is not None
        return token.toward(self._bytes)

    def _turn(self, rate: SharedRate, token: Token) -> float:
        """Return when one request may go: the instant it goes."""
        if self._rates.requests is not None:
            self._rates.requests.pay(1, token)
        if self._requests is not None:
            self._requests.pay(1, token)
        return rate.take(token)

    def _find(self) -> SharedRate:
        """At the first call: an adapter may find its endpoint only then."""
        endpoint = self.inner.endpoint
        self._bytes = self._rates.bytes_toward(endpoint)
        self._requests = self._rates.requests_toward(endpoint, self._bucket, self._prefix)
        self._rate = self._rates.of(endpoint, self._bucket, self._prefix)
        return self._rate
