"""``--detach``: hand a job to the fleet and return at once; a worker that has its roots starts its coordinator."""

from __future__ import annotations

import time

from hugesync_producer.openjob import open_job
from hugesync_tasks.config import Settings
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Spec
from hugesync_tasks.summary import Observer, State, Summary


def hand_to_fleet(spec: Spec, settings: Settings, observer: Observer, *, fresh: bool, began: float) -> Summary:
    """Open the job without a coordinator. Raises Refused (it is being run, or another job writes there), Unreachable."""
    ledger = open_ledger(settings)
    try:
        ledger.check_server()
        opened = open_job(ledger, spec, None, observer, fresh)
        ledger.step_down(spec.job, opened.owner)
    finally:
        ledger.close()
    note = f"handed to the fleet; to follow it: hugesync watch {spec.job}"
    return Summary(State.RUNNING, spec.job, elapsed_seconds=time.monotonic() - began, notes=(note,))
