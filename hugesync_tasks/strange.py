"""Tasks of another release: their name or their kind is not known to this worker.

They are left to workers that know them. The worker takes the attempt and lets its lease lapse, so that the coordinator sends the
task again and no message circles between old workers; when all attempts are used up the file fails and says why.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from hugesync_tasks import __version__
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.model import Outcome
from hugesync_tasks.spec import Spec
from hugesync_tasks.state.base import Claimed, Ledger

DECLINED_MS = 60_000  # five attempts outlast the middle of a rolling deploy

log = logging.getLogger(__name__)


def decline(ledger: Ledger, job: str, task: str, owner: str) -> str:
    """Of a message whose task name this worker does not know, in its main process; what became of it, for the log."""
    text = ledger.spec(job)
    if text is None:
        return "gone"
    claim = ledger.claim(job, task, owner, DECLINED_MS, Spec.unwire(json.loads(text)).options.retries)
    if claim.task is None or claim.answer not in (Claimed.OK, Claimed.POISON):
        return claim.answer.lower()
    if claim.answer is Claimed.POISON:
        ledger.settle(job, task, unknown(claim.task.kind, claim.counted), {}, fence=claim.attempt)
        return "given up"
    log.warning(
        "task %s of job %s is of a kind that release %s does not know: %s", task, job, __version__, claim.task.kind
    )
    return "left to others"


def unknown(kind: str, attempts: int) -> dict[str, Any]:
    """The outcome of a task that was offered so often and met no worker that knows it."""
    why = (
        f"its task is of the kind {kind!r}, and in {attempts} attempts no worker that took it knew that; the last one is of "
        f"release {__version__}: workers and producer are of different releases"
    )
    return {"error": Outcome("failed", str(FailureClass.PERMANENT), why).wire()}
