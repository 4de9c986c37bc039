"""A worker's hold on one task: renewed as bytes move, given up when the ledger says that it is no longer ours."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TypeVar

from hugesync_tasks import draining, measuring
from hugesync_tasks.errors import Cancelled, LeaseLost, Returned, Unreachable
from hugesync_tasks.gauges import GaugedMeter
from hugesync_tasks.model import Outcome
from hugesync_tasks.state.base import Claim, Ledger, Renewed
from hugesync_tasks.token import Pace, Token

LEASE_MS = 30_000  # renewed as bytes move
COMMIT_LEASE_MS = 930_000  # a Complete may take minutes and moves no bytes: its read time-out + 30 s
LEDGER_PATIENCE = 25.0  # seconds; shorter than a lease
RENEW_EVERY = 1.0  # seconds; also how soon a cancel is seen
SLOW_ANSWER = 5.0  # seconds; what took longer to hear may be old, and is asked again before anything is done
PATIENCE = 930.0  # seconds without a byte moved: longer than the longest silent call, a Complete's 900

LONG_KINDS = frozenset(("part", "sign", "match", "compare"))  # what they have done of a task is lost when they leave it

T = TypeVar("T")

log = logging.getLogger(__name__)


class Lease:
    """Keeps one claim alive while bytes move, and ends the task when the ledger says it is no longer ours."""

    def __init__(
        self, ledger: Ledger, job: str, claim: Claim, lease_ms: int, asked: float, pace: Pace | None = None
    ) -> None:
        """``asked``: when the claim was sent (monotonic). A process may have stood still since then, its lease may be over."""
        assert claim.task is not None
        self._ledger, self._job, self._task = ledger, job, claim.task.id
        self._fence, self._lease_ms = claim.attempt, lease_ms
        self._stays = 0.0 if claim.task.kind in LONG_KINDS else draining.FINISH
        self._lock = Lock()
        self._renewed = asked
        self._worked = 0  # bytes read, hashed or moved since the last renewal
        self.token = Token(GaugedMeter(), pulse=self._pulse, patience=PATIENCE, pace=pace)
        measuring.leased(lease_ms)

    def _pulse(self, moved: int) -> None:
        if draining.leaving(self._stays):
            self.token.cancel(Returned("this worker ends, another goes on with it"))
            self.token.check()
        self._worked += moved  # of several threads a count may get lost: it tells that something moves, not how much
        if time.monotonic() - self._renewed < RENEW_EVERY or not self._lock.acquire(blocking=False):
            return
        try:
            if time.monotonic() - self._renewed < RENEW_EVERY:
                return
            asked = time.monotonic()
            worked = self.worked()
            measuring.worked(worked)
            traffic = self.token.meter.take() | ({"worked": worked} if worked else {})
            answer = self._ledger.renew(self._job, self._task, self._fence, self._lease_ms, traffic)
            answered = (
                time.monotonic()
            )  # this process may have stood still before it heard: the lease runs from the question
            self._renewed = asked if answered - asked > SLOW_ANSWER else answered
            self._heard(answer)
        except Unreachable:
            self._renewed = time.monotonic()  # it may have waited long for nothing, and must not do so for every chunk
            log.warning("the ledger cannot be reached; going on with the task in hand")
        finally:
            self._lock.release()

    def worked(self) -> int:
        """Bytes read, hashed or moved since this was asked last."""
        worked, self._worked = self._worked, 0
        return worked

    def receipts(self, items: Mapping[int, Outcome]) -> None:
        """Record finished files of a batch; a crash after this repeats none of them."""
        self._heard(
            self._ledger.receipts(
                self._job,
                self._task,
                self._fence,
                {i: o.wire() for i, o in items.items()},
                self._lease_ms,
                self.token.meter.take(),
            )
        )

    def give_back(self) -> None:
        """The task is left as far as it has come; whoever is sent it goes on at once."""
        traffic = self.token.meter.take()
        try:
            self.insist(lambda: self._ledger.give_back(self._job, self._task, self._fence, traffic))
        except Unreachable:
            log.warning("task %s cannot be given back, the ledger cannot be reached; its lease will lapse", self._task)

    def insist(self, record: Callable[[], T]) -> T:
        """Record work that is done. A ledger that restarts is waited for, or the work would be thrown away."""
        until = time.monotonic() + LEDGER_PATIENCE
        while True:
            try:
                return record()
            except Unreachable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def _heard(self, answer: Renewed) -> None:
        if answer is Renewed.OK:
            measuring.leased(self._lease_ms)
        if answer is Renewed.LOST:
            self.token.cancel(LeaseLost("another worker has this task now"))
        elif answer is Renewed.CANCELLED:
            self.token.cancel(Cancelled("the job was cancelled"))
        self.token.check()
