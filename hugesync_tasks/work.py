"""One claimed task and all that it takes to do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hugesync_tasks.lease import Lease
from hugesync_tasks.model import Outcome
from hugesync_tasks.process import Process
from hugesync_tasks.stages.begin import LargeFile
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

    @property
    def large(self) -> LargeFile:
        """The large file that the task is of. Raises UploadLost."""
        if not self.claim.file:
            raise UploadLost("the ledger has no record of the file")
        return LargeFile.of(dict(self.claim.file))

    @property
    def begun(self) -> LargeFile:
        """``large`` with its upload. Raises UploadLost where none is begun: a store might take a part without its id for the whole."""
        large = self.large
        if not large.upload.id:
            raise UploadLost("the ledger has no upload of the file")
        return large

    def settle(self, outcome: dict[str, Any], close_file: str = "") -> None:
        """Record the outcome; the task is over, once."""
        traffic = self.lease.token.meter.take()
        self.lease.insist(
            lambda: self.process.ledger.settle(
                self.job_id, self.task.id, outcome, traffic, close_file=close_file, fence=self.claim.attempt
            )
        )

    def set_upload(self, fields: dict[str, str]) -> dict[str, str]:
        """Record the file's upload; the record that stands. Raises UploadLost where it was not taken: the job is over, another
        coordinator has begun, or the ledger lost it."""
        ledger = self.process.ledger
        stands = self.lease.insist(lambda: ledger.set_upload(self.job_id, self.task.file, fields, of_task=True))
        if stands.get("gen") != fields["gen"] or (fields["upload"] and not stands["upload"]):
            raise UploadLost("the ledger has no record of the job")
        return stands

    def close_unbegun(self, gen: str) -> None:
        """Forget the file's record of generation ``gen``, unless somebody has begun an upload of it since."""
        self.lease.insist(lambda: self.process.ledger.close_file(self.job_id, self.task.file, unbegun=gen))

    def replan(self, reason: str, message: str) -> str:
        """The world moved: the coordinator looks at both ends again."""
        self.settle({"error": Outcome("replan", reason, message, conflicts=int(reason == "conflict")).wire()})
        return reason
