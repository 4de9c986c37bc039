"""``--detach``: hand a job to the fleet and return at once; a worker that has its roots starts its coordinator."""

from __future__ import annotations

import time

from hugesync_producer.ends import open_end
from hugesync_producer.keptnames import refuse_large
from hugesync_producer.namelist import NameList
from hugesync_producer.openjob import open_job
from hugesync_producer.stopping import until
from hugesync_tasks.config import Settings
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Spec
from hugesync_tasks.summary import Observer, State, Summary


def hand_to_fleet(
    spec: Spec, settings: Settings, observer: Observer, *, fresh: bool, began: float, names: NameList | None = None
) -> Summary:
    """Open the job without a coordinator. Raises Refused (it is being run, another job writes there, or with
    ``--delete`` the source is on another device), Unreachable."""
    refuse_large(names)
    spec = until(spec, began)
    ledger = open_ledger(settings)
    try:
        ledger.check_server()
        opened = open_job(ledger, spec, None, observer, fresh, _device(spec), names=names)
        ledger.step_down(spec.job, opened.owner)
    finally:
        ledger.close()
    note = f"handed to the fleet; to follow it: hugesync watch {spec.job}"
    return Summary(
        State.RUNNING, spec.job, compares=spec.compares, elapsed_seconds=time.monotonic() - began, notes=(note,)
    )


def _device(spec: Spec) -> str:
    """What the source lies on here; asked only where something could be deleted for want of it."""
    if not spec.options.delete:
        return ""
    source = open_end(spec.source, spec.source_limits, spec.options, "source", spec.selection.links)
    try:
        return source.device
    finally:
        source.close()
