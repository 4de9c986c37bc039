"""Run one job from its specification: locks, servers, coordinator, and the summary at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from kombu.exceptions import OperationalError

from hugesync_producer.aside import aside
from hugesync_producer.checkpoint import Checkpoint, TakenOver
from hugesync_producer.comparing import looked_at
from hugesync_producer.coordinator import LEASE_MS, Coordinator
from hugesync_producer.deletes import Deletes
from hugesync_producer.dispatch import Publish
from hugesync_producer.dryrun import dry_run
from hugesync_producer.embedded import Embedded
from hugesync_producer.ends import open_end
from hugesync_producer.failedfirst import failed_first
from hugesync_producer.jobfolder import CannotSave, DestinationLock, JobFolder
from hugesync_producer.leadership import keep_lock, lead, lock, place_of
from hugesync_producer.pace import slowed
from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.pool import Pool
from hugesync_producer.processes import this_process
from hugesync_producer.runtimefolder import refuse_unusable
from hugesync_producer.samedevice import Devices, refuse_another, refuse_dry, remembered, updated
from hugesync_producer.sweep import sweep, sweep_uploads
from hugesync_producer.window import Counters, Window
from hugesync_tasks.celery import app, configure
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import HugeSyncError, Refused, Unreachable, UsageError
from hugesync_tasks.logs import get_logger
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.summary import BYTES, OUTCOMES, REQUESTS, Observer, State, Summary, state_of_error
from hugesync_tasks.token import Meter, Token

log = get_logger(__name__)

UNFINISHED = ("running", "stalled", "interrupted", "cancelled", "conflict")


def run_job(
    spec: Spec,
    settings: Settings,
    observer: Observer,
    *,
    fresh: bool,
    meter: Meter,
    began: float,
    rates: SharedRates | None = None,
) -> Summary:
    """Do the job and sum it up. Raises UsageError, Refused and Unreachable from before the first entry was planned."""
    rates = rates or SharedRates()
    with ExitStack() as stack:
        job = JobContext(
            spec,
            open_end(
                spec.source, spec.source_limits, spec.options, "source", spec.selection.links, rates, spec.compares
            ),
            open_end(spec.dest, spec.dest_limits, spec.options, "destination", rates=rates, reads_only=spec.compares),
        )
        stack.callback(job.close)
        if spec.dry_run:
            refuse_dry(spec, settings, job.source.device)
            return dry_run(job, meter, observer, began, spec.options.estimate)
        folder: JobFolder | None = None
        if not settings.broker_url:
            if settings.runtime_dir is not None and "runtime_dir" in settings.model_fields_set:
                refuse_unusable(settings.runtime_dir)
            folder = stack.enter_context(_folder(spec, settings, fresh))
            embedded = Embedded(folder.path, settings, _roots(spec), (spec.source.scheme, spec.dest.scheme))
            stack.callback(embedded.stop)
            url = embedded.start()
            folder.save(broker=url)
            settings = settings.model_copy(update={"broker_url": url, "state_url": ""})
            tend = embedded.tend
        else:
            tend = _nothing_to_tend
        configure(app, settings)
        ledger = open_ledger(settings)
        stack.callback(ledger.close)
        ledger.check_server()
        rates.exchange = ledger.share_rate
        return _coordinate(job, ledger, folder, tend, observer, fresh, meter, began, rates)


def _coordinate(
    job: JobContext,
    ledger: Ledger,
    folder: JobFolder | None,
    tend: Callable[[], str],
    observer: Observer,
    fresh: bool,
    meter: Meter,
    began: float,
    rates: SharedRates | None = None,
) -> Summary:
    spec = job.spec
    place = place_of(spec)  # looked up once: what is renewed and given back must be what was taken
    lock(ledger, spec, place)
    started = time.time()
    owner = lead(ledger, spec, folder is not None, observer)
    devices, device = remembered(ledger, spec.job, folder), job.source.device
    if spec.options.delete:
        try:
            refuse_another(spec, devices, device)
        except Refused:  # nothing of the job was touched
            ledger.step_down(spec.job, owner)
            ledger.unlock(place, spec.job)
            raise
    checkpoint = Checkpoint(ledger, spec.job, folder)
    resumed = None if fresh or not _unfinished(ledger, spec.job, folder) else checkpoint.read() or ("", Counters())
    if resumed is None:
        ledger.forget_job(spec.job, history=False)
        ledger.lead(spec.job, owner, LEASE_MS)
        ledger.set_meta(spec.job, owner=owner, coordinator=this_process(), devices=json.dumps(devices))
    observer.on_start(spec.job, resumed is not None)
    ledger.open_job(spec.job, json.dumps(spec.wire()))
    ledger.set_meta(spec.job, state="running", cancel="0", host=_host())
    if folder is not None:
        folder.save(
            job=spec.job, spec=spec.wire(), state="running", started=time.time(), summary=None,
            **({} if resumed else {"checkpoint": None}),
        )  # fmt: skip
    key, counters = resumed or ("", Counters())
    window = Window(key, counters)
    deletes = Deletes(
        job, meter, window, resumed is not None, device,
        lambda: sweep(job, started, Token(meter)) if resumed is not None else None,
    )  # fmt: skip
    pool = Pool(ledger, spec, embedded=folder is not None)
    coordinator = Coordinator(
        job, ledger, _publisher(), PlanFeed(job, meter, key), window, deletes, pool, checkpoint, observer, tend,
        keep_more=lambda: keep_lock(ledger, spec, place), owner=owner,
        look_at_rates=rates.look if rates is not None else _no_rates,
    )  # fmt: skip
    log.info(
        "work begins", queue=pool.queue, window=pool.window, jobs=spec.options.jobs or "as many as slots",
        memory=spec.options.memory, part_size=spec.options.part_size, server_copy=job.server_copy, resumed_after=key,
    )  # fmt: skip
    reason = ""
    try:
        if resumed is not None:
            failed_first(job, window, coordinator.units, meter, coordinator.keep)
        state = coordinator.run()
        if state in (State.DONE, State.DONE_WITH_ERRORS) and not spec.compares:
            aside(lambda: _tidy(job, ledger, resumed is not None, started, Token(meter)))
    except TakenOver:
        raise
    except (HugeSyncError, KeyboardInterrupt) as error:
        state = state_of_error(error)
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else error.told()
        never_began = resumed is None and not coordinator.scanned_anything
        if never_began and isinstance(error, HugeSyncError) and not isinstance(error, Unreachable):
            _forget(ledger, pool, spec, place, folder, devices)
            raise
    summary = summarise(job, state, window, coordinator, meter, began, reason)
    if summary.state in (State.DONE, State.DONE_WITH_ERRORS):
        devices = updated(devices, device)
    return _end(ledger, pool, spec, place, folder, summary, coordinator, devices)


def _tidy(job: JobContext, ledger: Ledger, resumed: bool, started: float, token: Token) -> None:
    sweep_uploads(job, ledger, token)
    if resumed:
        sweep(job, started, token)


def _end(
    ledger: Ledger,
    pool: Pool,
    spec: Spec,
    place: str,
    folder: JobFolder | None,
    summary: Summary,
    coordinator: Coordinator,
    devices: Devices,
) -> Summary:
    """Record the end wherever it can be recorded; returns the summary, which says where it could not be."""
    from hugesync_producer.report import to_json

    text = json.dumps(to_json(summary))
    finished = summary.state in (State.DONE, State.DONE_WITH_ERRORS, State.REFUSED)  # what was refused is judged anew
    if folder is not None:
        try:
            folder.save(
                state=str(summary.state), summary=json.loads(text), devices=devices,
                **({"checkpoint": None} if finished else {}),
            )  # fmt: skip
        except CannotSave as error:
            if str(error) not in summary.reason:
                summary = replace(summary, notes=(*summary.notes, f"this end is not recorded: {error}"))
    try:
        pool.retract()
        ledger.set_meta(spec.job, state=str(summary.state), summary=text, devices=json.dumps(devices))
        if finished:
            ledger.forget_job(spec.job, history=True)
        coordinator.step_down()
        ledger.unlock(place, spec.job)
    except Unreachable:
        pass  # the ledger is what was lost; its leases expire by themselves
    return summary


def _forget(ledger: Ledger, pool: Pool, spec: Spec, place: str, folder: JobFolder | None, devices: Devices) -> None:
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
    total = window.total()
    traffic = coordinator.final_traffic()
    for name, n in meter.take().items():
        traffic[name] = traffic.get(name, 0) + n
    notes = [f"{n} × {note}" for note, n in sorted(total.notes.items())] + slowed(traffic)
    guard = job.dest.limits.conditional_commit
    if job.spec.sample is not None:
        notes += looked_at(total, job.spec.sample)
    elif job.options.unsafe_no_conflict_check:
        notes.append("conflict guard: off (--unsafe-no-conflict-check)")
    elif guard != "enforced":
        notes.append(f"conflict guard: {guard} on {job.spec.dest.display()}")
    notes += coordinator.deletes.notes
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
        reason=reason,
        notes=tuple(notes),
        resumable=str(state) in UNFINISHED,
        compares=job.spec.compares,
    )


@contextmanager
def _folder(spec: Spec, settings: Settings, fresh: bool) -> Iterator[JobFolder]:
    try:
        lock = DestinationLock(settings.state_dir, place_of(spec))
        lock.take(spec.job)
    except OSError as error:
        raise _no_state(settings, error) from error
    try:
        folder = JobFolder(settings.state_dir, spec.job)
        try:
            if fresh or folder.open().get("state") not in UNFINISHED:
                folder.open()
                folder.forget_work()
            folder.save()
        except OSError as error:
            raise _no_state(settings, error) from error
        except CannotSave as error:  # nothing has begun
            raise UsageError(f"{error} (HUGESYNC_STATE_DIR)") from error
        yield folder
        if folder.data.get("state") not in UNFINISHED:
            folder.forget_work()
    finally:
        lock.release()


def _no_state(settings: Settings, error: OSError) -> UsageError:
    return UsageError(f"cannot write the state folder {settings.state_dir} (HUGESYNC_STATE_DIR): {error.strerror}")


def _unfinished(ledger: Ledger, job: str, folder: JobFolder | None) -> bool:
    state = folder.data.get("state") if folder is not None else ledger.meta(job).get("state")
    return state in UNFINISHED


def _roots(spec: Spec) -> dict[str, str]:
    return {end.root: end.local for end in (spec.source, spec.dest) if end.scheme == "file"}


def _publisher() -> Publish:
    def publish(name: str, queue: str, job: str, task: str) -> None:
        try:
            app.send_task(name, args=(job, task), queue=queue, ignore_result=True, retry=False)
        except (OperationalError, *app.connection_for_write().connection_errors) as error:
            raise Unreachable(f"the broker cannot be reached: {type(error).__name__}") from error

    return publish


def _nothing_to_tend() -> str:
    return ""


def _no_rates() -> bool:
    return False


def _host() -> str:
    import socket

    return socket.gethostname()
