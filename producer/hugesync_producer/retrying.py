"""``hugesync retry``: plan the files again that failed in a job which has ended, and no others."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import Any

from hugesync_producer import human
from hugesync_producer.again import Retry
from hugesync_producer.jobs import folder_of, known, stands
from hugesync_producer.openjob import UNFINISHED
from hugesync_producer.roots import placed, seen_here
from hugesync_producer.run import run_job
from hugesync_producer.window import Counters
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import UsageError
from hugesync_tasks.process import open_ledger, roots_of
from hugesync_tasks.spec import Spec
from hugesync_tasks.summary import Observer, State, Summary
from hugesync_tasks.token import Meter

ENDED_WITH_FAILURES = str(State.DONE_WITH_ERRORS)


def retry(job_id: str, settings: Settings, observer: Observer, classes: Collection[str] = ()) -> Summary:
    """Plan the failed files of ``classes`` (none = all) of a finished or stopped job again, and sum up the whole job. Raises
    UsageError for a job that is unknown or runs, and where there is nothing to try."""
    if not settings.broker_url:
        folder = folder_of(settings, job_id)
        spec, state = Spec.unwire(folder.data["spec"]), str(folder.data.get("state"))
        saved = folder.data.get("checkpoint") if state in UNFINISHED else folder.data.get("left")
    else:
        ledger = open_ledger(settings)
        try:
            spec, meta = Spec.unwire(json.loads(known(ledger, job_id))), ledger.meta(job_id)
            state, saved = meta.get("state", "running"), json.loads(meta.get("left") or "null")
            if state in UNFINISHED:
                found = ledger.read_checkpoint(job_id)
                saved = _checkpoint(*found) if found is not None and found[1] else None
            if state == "running" and not ledger.leader(job_id):
                raise UsageError(f"job {job_id} runs, and a worker is to take it up: it tries again by itself")
        finally:
            ledger.close()
    again = Retry(frozenset(classes), *_stood(job_id, state, saved, settings))
    if not any(again.wants(failure) for failure in again.counters.failures):
        raise UsageError(f"{stands(job_id, state)}: {_why_nothing(again)}")
    if settings.broker_url:
        spec = placed(seen_here(spec, roots_of(settings)), settings, observer)
    return run_job(spec, settings, observer, fresh=False, meter=Meter(), began=time.monotonic(), retry=again)


def _checkpoint(key: str, counters: str, failures: str) -> dict[str, Any]:
    return {"key": key, "counters": {**json.loads(counters), "failures": json.loads(failures or "[]")}}


def _stood(job_id: str, state: str, saved: dict[str, Any] | None, settings: Settings) -> tuple[State, str, Counters]:
    if state == "running" and settings.broker_url:
        raise UsageError(f"job {job_id} runs: wait for its end (hugesync watch {job_id}), or cancel it first")
    if state not in (*UNFINISHED, ENDED_WITH_FAILURES) or (state == ENDED_WITH_FAILURES and not saved):
        raise UsageError(f"{stands(job_id, state)}: there is nothing to try again")
    # embedded and "running": its run was killed, or its lock refuses this one
    stood = State.INTERRUPTED if state == "running" else State(state)
    return (stood, saved["key"], Counters.unwire(saved["counters"])) if saved else (stood, "", Counters())


def _why_nothing(again: Retry) -> str:
    of_class = f" of class {' or '.join(sorted(again.classes))}" if again.classes else ""
    refused = sum(1 for f in again.counters.failures if not f.again)
    if refused and not again.classes:
        return f"its {human.counted(refused, 'failure')} would be met again: the plan refuses those files"
    return f"no failure{of_class} is recorded that could be tried again"
