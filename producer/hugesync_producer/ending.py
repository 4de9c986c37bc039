"""The end of a run: summed up, and recorded wherever it can be recorded."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from hugesync_producer.again import left
from hugesync_producer.checkpoint import TakenOver
from hugesync_producer.comparing import looked_at
from hugesync_producer.coordinator import Coordinator
from hugesync_producer.jobfolder import CannotSave, JobFolder
from hugesync_producer.mapped import MappedStore
from hugesync_producer.openjob import UNFINISHED
from hugesync_producer.pace import slowed
from hugesync_producer.pool import Pool
from hugesync_producer.samedevice import Devices
from hugesync_producer.window import Window
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.spec import Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.summary import BYTES, OUTCOMES, REQUESTS, State, Summary
from hugesync_tasks.token import Meter


def end(
    ledger: Ledger,
    pool: Pool,
    spec: Spec,
    place: str,
    folder: JobFolder | None,
    summary: Summary,
    coordinator: Coordinator,
    devices: Devices,
) -> Summary:
    """Record it; returns the summary, which says where that could not be. Raises TakenOver where the job is another's now."""
    from hugesync_producer.report import to_json

    text = json.dumps(to_json(summary))
    kept = left(coordinator.window) if summary.state is State.DONE_WITH_ERRORS else None
    finished = summary.state in (State.DONE, State.DONE_WITH_ERRORS, State.REFUSED)  # what was refused is judged anew
    if folder is not None:
        try:
            folder.save(
                state=str(summary.state), summary=json.loads(text), devices=devices, left=kept,
                **({"checkpoint": None} if finished else {}),
            )  # fmt: skip
        except CannotSave as error:
            if str(error) not in summary.reason:
                summary = replace(summary, notes=(*summary.notes, f"this end is not recorded: {error}"))
    try:
        coordinator.keep_now()
        pool.retract()
        told = {"state": str(summary.state), "summary": text, "reason": summary.reason, "left": json.dumps(kept)}
        ledger.set_meta(spec.job, **told, devices=json.dumps(devices))
        if not finished:  # what a worker still has in hand, or takes from the queue, ends; a resume takes it back
            ledger.cancel(spec.job)
        if finished:
            ledger.forget_job(spec.job, history=True)
        coordinator.step_down()
        ledger.unlock(place, spec.job)
    except TakenOver:
        raise
    except Unreachable:
        pass  # the ledger is what was lost; its leases expire by themselves
    return summary


def hand_over(ledger: Ledger, spec: Spec, coordinator: Coordinator) -> None:
    """Leave the running job to whoever takes it up next, at once."""
    coordinator.save()
    ledger.set_meta(spec.job, tries="0")  # this one did not fail
    coordinator.step_down()


def forget(ledger: Ledger, pool: Pool, spec: Spec, place: str, folder: JobFolder | None, devices: Devices) -> None:
    """The job never began: no history of it stays, but what protects the next run."""
    pool.retract()
    ledger.forget_job(spec.job, history=False)
    if devices:
        ledger.set_meta(spec.job, devices=json.dumps(devices))
    ledger.unlock(place, spec.job)
    if folder is not None:
        folder.save(state="usage", checkpoint=None)


def summarise(
    job: JobContext, state: State, window: Window, coordinator: Coordinator, meter: Meter, began: float, reason: str
) -> Summary:
    """The counters as they stand; traffic is the workers' and this process's own."""
    total = coordinator.observing.total()
    traffic = coordinator.observing.final_traffic()
    for name, n in meter.take().items():
        traffic[name] = traffic.get(name, 0) + n
    notes = slowed(traffic)  # what is of the whole job comes first: of many notes people are shown the first
    guard = job.dest.limits.conditional_commit
    if job.spec.sample is not None:
        notes += looked_at(total, job.spec.sample)
    elif job.options.unsafe_no_conflict_check:
        notes.append("conflict guard: off (--unsafe-no-conflict-check)")
    elif guard != "enforced":
        notes.append(f"conflict guard: {guard} on {job.spec.dest.display()}")
    notes += coordinator.deletes.notes
    notes += job.source.notes if isinstance(job.source, MappedStore) else ()
    notes += [f"{n} × {note}" for note, n in sorted(total.notes.items())]
    return Summary(
        state,
        job.spec.job,
        scan_complete=coordinator.scan_complete,
        files=total.tally.files,
        skipped_by=total.tally.skipped_by,
        bytes={**total.tally.bytes, **{n: traffic.get(f"bytes.{n}", 0) for n in BYTES if n not in OUTCOMES}},
        requests={n: traffic.get(f"requests.{n}", 0) for n in REQUESTS},
        transfers=dict(total.transfers),
        verified=total.verified,
        retries=traffic.get("retries", 0),
        conflicts=total.conflicts,
        failures=total.failure_list(),
        failures_omitted=total.failures_omitted,
        elapsed_seconds=time.monotonic() - began,
        missing=tuple(total.missing),
        reason=reason,
        notes=tuple(notes),
        resumable=str(state) in UNFINISHED,
        compares=job.spec.compares,
    )
