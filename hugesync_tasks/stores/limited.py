"""Holds every call to the rate that the fleet keeps, and tells the fleet when the store complains."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from hugesync_tasks import gauges
from hugesync_tasks.errors import Throttled
from hugesync_tasks.model import Entry
from hugesync_tasks.stores.base import Store
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

    def _do(self, op: str, key: str, token: Token, call: Callable[[], T], size: int = 0) -> T:
        rate = self._rate or self._find()
        began = rate.take(token)
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
        began = rate.take(token)
        try:
            for n, entry in enumerate(self.inner.list(token, start_after, enter), 1):
                yield entry
                if n % PAGE == 0:
                    began = rate.take(token)
        except Throttled:
            rate.complained(began)
            raise

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        yield from self._do("list_uploads", "", token, lambda: tuple(self.inner.list_uploads(token)))

    def _find(self) -> SharedRate:
        """At the first call: an adapter may find its endpoint only then."""
        self._rate = self._rates.of(self.inner.endpoint, self._bucket, self._prefix)
        return self._rate
