"""Pause a job and let it go on: a word in its ledger, which its coordinator reads every second, and whoever takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hugesync_producer.jobfolder import DestinationLock
from hugesync_producer.jobs import at_server, folder_of, known, stands
from hugesync_producer.leadership import place_of
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import Refused, Unreachable, UsageError
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Spec
from hugesync_tasks.state.base import Ledger


def pause(job_id: str, settings: Settings) -> None:
    """Tell a running job to send nothing more; what workers have in hand finishes. Raises UsageError for a job that is unknown,
    or does not run; Refused where an embedded one was killed: the pause of such a job lies in its own server."""
    with _ledger_of(job_id, settings, "there is nothing to pause") as ledger:
        if ledger.meta(job_id).get("cancel") == "1":
            raise UsageError(f"job {job_id} was told to stop: there is nothing to pause")
        ledger.set_meta(job_id, pause="1")


def goes_on(job_id: str, settings: Settings) -> bool:
    """Let a paused job go on in the process that runs it; False where it was not paused, or where nobody runs it."""
    if not settings.broker_url:
        data = folder_of(settings, job_id).data
        if DestinationLock(settings.state_dir, place_of(Spec.unwire(data["spec"]))).holder() != job_id:
            return False
    with _ledger_of(job_id, settings, "there is nothing to resume") as ledger:
        led = not settings.broker_url or bool(ledger.leader(job_id))
        if not led or ledger.meta(job_id).get("pause") != "1":
            return False
        ledger.set_meta(job_id, pause="0")
        return True


@contextmanager
def _ledger_of(job_id: str, settings: Settings, otherwise: str) -> Iterator[Ledger]:
    """Of a running job; ``otherwise``: the end of the sentence that refuses one that does not run."""
    if settings.broker_url:
        ledger = open_ledger(settings)
        state: str | None = None
    else:
        data = folder_of(settings, job_id).data
        state = data.get("state")
        if state != "running" or not data.get("broker"):
            raise UsageError(f"{stands(job_id, state)}: {otherwise}")
        ledger = open_ledger(at_server(settings, data))
    try:
        if settings.broker_url:
            known(ledger, job_id)
            state = ledger.meta(job_id).get("state", "running")
            if state != "running":
                raise UsageError(f"{stands(job_id, state)}: {otherwise}")
        yield ledger
    except Unreachable as error:
        if settings.broker_url:
            raise
        raise Refused(f"job {job_id} is not running any more (its server does not answer): {otherwise}") from error
    finally:
        ledger.close()
