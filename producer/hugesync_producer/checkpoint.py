"""Write the checkpoint: K and the counters as of K, in one step, to the ledger and (embedded) to the job's folder."""

from __future__ import annotations

import json
import time
from typing import Any

from hugesync_producer.jobfolder import JobFolder
from hugesync_producer.window import Counters, Window
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.state.base import Ledger


class TakenOver(Unreachable):
    """Another process leads the job now, or has since: nothing of it is ours to change any more."""

    def __init__(self, job: str) -> None:
        super().__init__(
            f"job {job} was taken over by another process while this one stood still; what became of it tells: "
            f"hugesync status {job}"
        )


class Checkpoint:
    """Where a job's checkpoint lies. The folder's copy is what survives the loss of Redis and producer together."""

    def __init__(self, ledger: Ledger, job: str, folder: JobFolder | None) -> None:
        self._ledger, self._job, self._folder = ledger, job, folder

    def write(self, owner: str, window: Window) -> None:
        """Raises TakenOver when another coordinator has the lease: it, not we, says what is settled."""
        wire = {**window.base.wire(), "at": time.time()}  # for people: a status says how old it is
        failures = wire.pop("failures")
        if not self._ledger.checkpoint(self._job, owner, window.key, json.dumps(wire), json.dumps(failures)):
            raise TakenOver(self._job)
        if self._folder is not None:
            self._folder.save(checkpoint={"key": window.key, "counters": {**wire, "failures": failures}})

    def keep(self, **fields: Any) -> None:
        """Fields of job.json, embedded; a fleet's ledger has them already."""
        if self._folder is not None:
            self._folder.save(**fields)

    def read(self) -> tuple[str, Counters] | None:
        """The newest there is, or None."""
        found = self._ledger.read_checkpoint(self._job)
        if found is not None and found[1]:
            return found[0], Counters.unwire({**json.loads(found[1]), "failures": json.loads(found[2] or "[]")})
        saved: dict[str, Any] | None = self._folder.data.get("checkpoint") if self._folder is not None else None
        return (saved["key"], Counters.unwire(saved["counters"])) if saved else None
