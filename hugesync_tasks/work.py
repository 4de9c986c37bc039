"""One claimed task and all that it takes to do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hugesync_tasks.lease import Lease
from hugesync_tasks.model import Outcome
from hugesync_tasks.process import Process
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Claim, Task


class UploadLost(Exception):
    """The ledger lacks what this task needs of its file: the file is begun anew."""


@dataclass(frozen=True)
class Work:
    """What a handler is given."""

    process: Process
    job_id: str
    task: Task
    claim: Claim
    lease: Lease

    @property
    def job(self) -> JobContext:
        return self.process.job(self.job_id)

    def settle(self, outcome: dict[str, Any], close_file: str = "") -> None:
        """Record the outcome; the task is over, once."""
        traffic = self.lease.token.meter.take()
        self.lease.insist(
            lambda: self.process.ledger.settle(
                self.job_id, self.task.id, outcome, traffic, close_file=close_file, fence=self.claim.attempt
            )
        )

    def replan(self, reason: str, message: str) -> str:
        """The world moved: the coordinator looks at both ends again."""
        self.settle({"error": Outcome("replan", reason, message, conflicts=int(reason == "conflict")).wire()})
        return reason
