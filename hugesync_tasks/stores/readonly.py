"""A store that cannot be written: both ends of a job that only compares. What it was not made for it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hugesync_tasks.errors import Unsupported
from hugesync_tasks.stores.base import Limits, PutBatch
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token

T = TypeVar("T")

_READS = frozenset(
    {"list", "list_ours", "head", "open", "list_parts", "list_uploads", "held", "hazards", "blocks"}
)  # any other call is refused, a future one too


class ReadOnlyStore(Wrapper):
    """Hands on what reads. A write raises Unsupported before anything is asked of the store inside."""

    def _do(self, op: str, key: str, token: Token, call: Callable[[], T], size: int = 0) -> T:
        if op not in _READS:
            raise Unsupported(f"{op}: this job only compares, nothing is written", key)
        return call()

    def probe(self, token: Token, writes: bool = True) -> Limits:
        if writes:
            raise Unsupported("probe: this job only compares, nothing is written")
        return self.inner.probe(token, False)

    def validate(self, token: Token) -> Findings:
        raise Unsupported("validate: this job only compares, nothing is written")

    def batch(self) -> PutBatch:
        raise Unsupported("batch: this job only compares, nothing is written")
