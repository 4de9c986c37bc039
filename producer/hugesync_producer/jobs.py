"""Jobs that exist: listed, shown, resumed, cancelled. Embedded ones lie in this machine's job folders, a fleet's in Redis."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hugesync_producer import human, latest
from hugesync_producer.coordinator import LEASE_MS
from hugesync_producer.fleet import leaderless, live, standing
from hugesync_producer.jobfolder import DestinationLock, JobFolder, history
from hugesync_producer.leadership import place_of
from hugesync_producer.openjob import UNFINISHED
from hugesync_producer.pool import queue_of
from hugesync_producer.roots import placed, seen_here
from hugesync_producer.run import run_job
from hugesync_producer.window import Counters
from hugesync_tasks.caps import Caps
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import Refused, Unreachable, UsageError
from hugesync_tasks.process import open_ledger, roots_of
from hugesync_tasks.spec import Spec
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.summary import JobLine, Observer, State, Summary
from hugesync_tasks.token import Meter

WATCH_EVERY = 1.0  # seconds
RESUMABLE = tuple(state for state in UNFINISHED if state != "running")  # what runs needs nobody to go on with it


def list_jobs(settings: Settings) -> list[JobLine]:
    """Newest first: the fleet's where a broker is configured, else this machine's."""
    if not settings.broker_url:
        return [
            _line(
                job["job"],
                _state(settings, job),
                float(job.get("started", 0)),
                job.get("spec", {}),
                _paused(settings, job),
            )
            for job in history(settings.state_dir)
            if job.get("state") != "usage"  # it never began
        ]
    ledger = open_ledger(settings)
    try:
        lines = []
        for job, started in ledger.jobs():
            spec = ledger.spec(job)
            if spec is not None:
                meta = ledger.meta(job)
                lines.append(_line(job, meta.get("state", ""), started, json.loads(spec), meta.get("pause") == "1"))
        return lines
    finally:
        ledger.close()


def status(job_id: str, settings: Settings) -> dict[str, Any]:
    """Design §6's object with source, dest, started and resumable. Of a job without a summary (it runs, or was killed) as it
    stood when its run last told of it, else at its last checkpoint, with ``as_of`` (``latest.AsOf``); of a running one in a
    fleet with its workers (``fleet.standing``). ``reason``, where there is one: why it ended as it did, or why nobody
    coordinates it. ``paused``: true of a running job that was told to send nothing."""
    now: tuple[str, float] | None = None
    reason, led, paused = "", True, False
    if not settings.broker_url:
        folder = folder_of(settings, job_id)
        spec, state, summary = folder.data["spec"], _state(settings, folder.data), folder.data.get("summary")
        counters = (folder.data.get("checkpoint") or {}).get("counters")
        started, workers = float(folder.data.get("started", 0)), None
        if state == "running":
            now, paused = _told(settings, folder.data)
    else:
        ledger = open_ledger(settings)
        try:
            text = known(ledger, job_id)
            spec, meta = json.loads(text), ledger.meta(job_id)
            state, summary = meta.get("state", "running"), json.loads(meta["summary"]) if meta.get("summary") else None
            found = ledger.read_checkpoint(job_id)
            counters = (
                {**json.loads(found[1]), "failures": json.loads(found[2] or "[]")} if found and found[1] else None
            )
            now = ledger.told(job_id)
            started = dict(ledger.jobs()).get(job_id, 0.0)
            rows = live(ledger) if state == "running" else {}
            workers = standing(rows, queue_of(Spec.unwire(spec))) if state == "running" else None
            led, reason = state != "running" or bool(ledger.leader(job_id)), meta.get("reason", "")
            paused = state == "running" and meta.get("pause") == "1"
            if not led:
                reason = "; ".join(filter(None, (leaderless(Spec.unwire(spec), rows), reason)))
        finally:
            ledger.close()
    shown = dict(summary) if summary and state != "running" else _so_far(job_id, state, counters, now)
    location = Spec.unwire(spec)
    source, dest = location.shown()
    shown.update(
        source=source,
        dest=dest,
        started=started,
        resumable=state in RESUMABLE or not led,
    )
    if location.compares:
        shown["compares"] = True
    if paused:
        shown["paused"] = True
    if reason and (state != "running" or not led):
        shown["reason"] = reason
    if workers is not None:
        shown["workers"] = workers
    return shown


def resume(job_id: str, settings: Settings, observer: Observer) -> Summary:
    """Go on with an unfinished job at its checkpoint; one that is paused goes on where it runs, and is followed. Raises UsageError
    for one that is unknown or has finished."""
    from hugesync_producer.pausing import goes_on

    if not settings.broker_url:
        folder = folder_of(settings, job_id)
        spec, state = Spec.unwire(folder.data["spec"]), folder.data.get("state")
        said = folder.data
    else:
        ledger = open_ledger(settings)
        try:
            spec = Spec.unwire(json.loads(known(ledger, job_id)))
            said = ledger.meta(job_id)
            state = said.get("state")
        finally:
            ledger.close()
    if state not in UNFINISHED:
        raise UsageError(f"{stands(job_id, state)}: there is nothing to resume; submit it again to sync anew")
    if state == "running" and goes_on(job_id, settings):
        from hugesync_producer.watching import followed

        return followed(job_id, settings, observer)
    spec = replace(
        spec, options=Caps.of(spec.options).told(said).into(spec.options)
    )  # they may have changed while it ran
    if settings.broker_url:
        spec = placed(seen_here(spec, roots_of(settings)), settings, observer)
    return run_job(spec, settings, observer, fresh=False, meter=Meter(), began=time.monotonic())


def watch(job_id: str, settings: Settings, observer: Observer) -> Summary:
    """Follow a running job until it ends; of one that has ended, how. Raises Unreachable where the ledger stays away."""
    from hugesync_producer.watching import watch_all

    return watch_all([job_id], settings, {job_id: observer}, lambda job, summary: None)[job_id]


def cancel(job_id: str, settings: Settings) -> None:
    """Tell a running job to stop; it stays resumable."""
    with running(job_id, settings, "cancel") as ledger:
        ledger.cancel(job_id)
        if settings.broker_url and not ledger.leader(job_id):
            _cancel_leaderless(ledger, job_id)


@contextmanager
def running(job_id: str, settings: Settings, verb: str) -> Iterator[Ledger]:
    """The ledger of a job that runs. Raises UsageError, and Refused for one whose server is gone."""
    if settings.broker_url:
        ledger = open_ledger(settings)
        try:
            known(ledger, job_id)
            if (state := ledger.meta(job_id).get("state", "running")) != "running":
                raise UsageError(f"{stands(job_id, state)}: there is nothing to {verb}")
            yield ledger
        finally:
            ledger.close()
        return
    folder = folder_of(settings, job_id)
    if folder.data.get("state") != "running" or not folder.data.get("broker"):
        raise UsageError(f"{stands(job_id, folder.data.get('state'))}: there is nothing to {verb}")
    ledger = open_ledger(at_server(settings, folder.data))
    try:
        yield ledger
    except Unreachable as error:
        raise Refused(f"job {job_id} is not running any more (its server does not answer)") from error
    finally:
        ledger.close()


def _cancel_leaderless(ledger: Ledger, job_id: str) -> None:
    """Nobody is there to be told: the job stops here, unless somebody takes it up just now, who finds it cancelled."""
    owner = f"cancel/{secrets.token_hex(4)}"
    if not ledger.lead(job_id, owner, LEASE_MS):
        return
    for field in ledger.announced():
        if field.endswith(f"|{job_id}"):
            ledger.retract(field)
    ledger.withdraw(job_id)
    ledger.set_meta(job_id, state=str(State.CANCELLED), reason="cancelled while nobody coordinated it")
    ledger.step_down(job_id, owner)


def stands(job_id: str, state: str | None) -> str:
    """How a job stands, as the first half of a sentence."""
    return f"job {job_id} is {human.state(state)}" if state else f"job {job_id} never began"


def _state(settings: Settings, data: dict[str, Any]) -> str:
    """As job.json has it; a run that nobody runs any more was killed, and so interrupted."""
    state = str(data.get("state", ""))
    if state == "running" and "spec" in data:
        lock = DestinationLock(settings.state_dir, place_of(Spec.unwire(data["spec"])))
        return state if lock.holder() == data.get("job") else str(State.INTERRUPTED)
    return state


def folder_of(settings: Settings, job_id: str) -> JobFolder:
    """Of an embedded job. Raises UsageError for one that this machine does not know."""
    folder = JobFolder(settings.state_dir, job_id)
    if not folder.read() or "spec" not in folder.data:
        raise UsageError(f"no job {job_id} on this machine")
    return folder


def known(ledger: Ledger, job_id: str) -> str:
    """The specification of a job of a fleet. Raises UsageError for one that the fleet does not know."""
    text = ledger.spec(job_id)
    if text is None:
        raise UsageError(f"no job {job_id} in this fleet")
    return text


def _line(job: str, state: str, started: float, spec: dict[str, Any], paused: bool) -> JobLine:
    its = Spec.unwire(spec)
    return JobLine(
        job,
        State(state or "running"),
        started,
        *its.shown(),
        state in RESUMABLE,
        its.compares,
        paused and state == "running",
    )


def at_server(settings: Settings, data: dict[str, Any]) -> Settings:
    """The settings that reach an embedded job's own server, while it lives."""
    return settings.model_copy(update={"broker_url": data["broker"], "state_url": ""})


def _told(settings: Settings, data: dict[str, Any]) -> tuple[tuple[str, float] | None, bool]:
    """What the run of an embedded job told of itself, and whether it is paused, while its server lives."""
    if data.get("state") != "running" or not data.get("broker"):
        return None, False
    ledger = open_ledger(at_server(settings, data))
    try:
        return ledger.told(data["job"]), ledger.meta(data["job"]).get("pause") == "1"
    except Unreachable:
        return None, False
    finally:
        ledger.close()


def _paused(settings: Settings, data: dict[str, Any]) -> bool:
    return _state(settings, data) == "running" and _told(settings, data)[1]


def _so_far(job: str, state: str, counters: dict[str, Any] | None, now: tuple[str, float] | None) -> dict[str, Any]:
    """Of a job without a summary: as its run told of it (``now``: with its age), else as of its checkpoint."""
    from hugesync_producer.report import to_json

    saved = Counters.unwire(counters) if counters else Counters()
    if now is not None:
        summary, as_of = latest.of_run(job, State(state or "running"), json.loads(now[0]), now[1])
    else:
        ago = time.time() - counters["at"] if counters and "at" in counters else None
        summary, as_of = latest.of_checkpoint(job, State(state or "running"), saved, ago)
    failures = replace(summary, failures=saved.failure_list(), failures_omitted=saved.failures_omitted)
    return {**to_json(failures), "as_of": as_of.to_json()}
