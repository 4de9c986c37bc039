"""One run of a job whose ends and ledger are open: from its place among the jobs to its summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hugesync_producer import human
from hugesync_producer.again import NothingToPlan, Retry
from hugesync_producer.aside import aside
from hugesync_producer.checkpoint import TakenOver
from hugesync_producer.coordinator import Coordinator
from hugesync_producer.deletes import Deletes
from hugesync_producer.dispatch import Publish
from hugesync_producer.ending import end, forget, hand_over, summarise
from hugesync_producer.failedfirst import failed_first
from hugesync_producer.jobfolder import JobFolder
from hugesync_producer.keptnames import give
from hugesync_producer.lasttries import LastTries
from hugesync_producer.leadership import keep_lock
from hugesync_producer.namelist import NameList
from hugesync_producer.openjob import Opened, open_job
from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.pool import Pool
from hugesync_producer.samedevice import updated
from hugesync_producer.stopping import asked
from hugesync_producer.sweep import sweep, sweep_uploads
from hugesync_producer.window import Counters, Window
from hugesync_tasks.bandwidth import Bandwidth
from hugesync_tasks.errors import HugeSyncError, Unreachable
from hugesync_tasks.logs import get_logger
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.summary import Observer, State, Summary, state_of_error
from hugesync_tasks.token import Meter, Token

log = get_logger(__name__)


def nothing_to_tend() -> str:
    """A fleet's workers are nobody's to look after here."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run is given. ``folder``: the job's own of the embedded mode, None = on a fleet; ``tend`` looks after that mode's
    servers. ``fresh``: what an earlier run left is not gone on with. ``owner``: whose lease this process was started under
    (``openjob``), "" = nobody's. ``retry``: only what of the job failed is tried again. ``names``: the list that the job is given."""

    job: JobContext
    ledger: Ledger
    publish: Publish
    observer: Observer
    meter: Meter
    began: float  # seconds since the epoch
    folder: JobFolder | None = None
    tend: Callable[[], str] = nothing_to_tend
    fresh: bool = False
    owner: str = ""
    rates: SharedRates | None = None
    retry: Retry | None = None
    names: NameList | None = None


def coordinate(run: Run) -> Summary:
    """Until the job is settled or stopped. Raises TakenOver (another coordinator has it), Refused, and from before the first entry
    was planned UsageError and what else the ends raise."""
    job, spec = run.job, run.job.spec
    left = (run.retry.key, run.retry.counters) if run.retry is not None else None
    opened = open_job(
        run.ledger, spec, run.folder, run.observer, run.fresh, job.source.device, run.owner, left, run.names
    )
    # A worker started this one, so one is there; but a root that a killed one served may be its own for 20 s more.
    patience = spec.options.stall_timeout if run.owner else None
    pool = Pool(run.ledger, spec, embedded=run.folder is not None, patience=patience)
    pool.uses(job.source, job.dest)
    coordinator = _coordinator(run, opened, pool)
    try:
        state, reason = _work(run, opened, coordinator)
    except TakenOver:
        raise
    except (HugeSyncError, KeyboardInterrupt) as error:
        if run.owner and isinstance(error, KeyboardInterrupt):  # its worker ends, not the job
            hand_over(run.ledger, spec, coordinator)
            return _summary(run, coordinator, State.RUNNING, "handed over: the worker ends")
        if run.owner and isinstance(error, HugeSyncError) and not coordinator.planned_anything:
            raise  # perhaps another worker can
        never_began = opened.resumed is None and not coordinator.scanned_anything
        if never_began and isinstance(error, HugeSyncError) and not isinstance(error, Unreachable):
            coordinator.keep_now()
            forget(run.ledger, pool, spec, opened.place, run.folder, opened.devices)
            raise
        state = state_of_error(error)
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else error.told()
    summary = _summary(run, coordinator, state, reason)
    ended_well = summary.state in (State.DONE, State.DONE_WITH_ERRORS)
    devices = updated(opened.devices, job.source.device) if ended_well else opened.devices
    return end(run.ledger, pool, spec, opened.place, run.folder, summary, coordinator, devices)


def _coordinator(run: Run, opened: Opened, pool: Pool) -> Coordinator:
    job, spec, ledger = run.job, run.job.spec, run.ledger
    key, counters = opened.resumed or ("", Counters())
    window = Window(key, counters)
    deletes = Deletes(
        job, run.meter, window, opened.resumed is not None, job.source.device,
        lambda: sweep(job, opened.at, Token(run.meter)) if opened.resumed is not None else None,
    )  # fmt: skip
    if run.retry is not None:
        deletes.forgo("nothing was deleted: only what had failed was tried again")
    planner = PlanFeed(job, run.meter, key, run.names) if run.retry is None else NothingToPlan(job, run.meter, key)
    coordinator = Coordinator(
        job, ledger, run.publish, planner, window, deletes, pool, opened.checkpoint, run.observer, run.tend,
        keep_more=lambda: keep_lock(ledger, spec, opened.place), owner=opened.owner,
        look_at_rates=run.rates.look if run.rates is not None else _no_rates, asked=asked(spec, run.observer),
    )  # fmt: skip
    coordinator.units.replan.token.pace = Bandwidth(partial(ledger.draw, spec.job, "coordinator"))
    if run.folder is None:
        coordinator.give_names = partial(give, ledger, spec.job, run.names)
    look = partial(failed_first, job, window, coordinator.units, run.meter, coordinator.keep)
    wants = run.retry.wants if run.retry is not None else lambda failure: True
    coordinator.tries = LastTries(window, job.options.retries, look, wants, run.observer.on_notice).go_on
    log.info(
        "work begins", queue=pool.queue, window=pool.window, jobs=spec.options.jobs or "as many as slots",
        memory=spec.options.memory, part_size=spec.options.part_size, server_copy=job.server_copy, resumed_after=key,
    )  # fmt: skip
    return coordinator


def _work(run: Run, opened: Opened, coordinator: Coordinator) -> tuple[State, str]:
    """What the job is when its coordinator has come to an end, and the reason where there is one to be told."""
    job, retry = run.job, run.retry
    if retry is not None:
        coordinator.save()  # before anything is done: a run that is killed now is resumed from here
        coordinator.planner.first = _again(run, retry, coordinator)
    elif opened.resumed is not None:
        failed_first(job, coordinator.window, coordinator.units, run.meter, coordinator.keep)
    state = coordinator.run(drains=not run.owner)  # a stand-in's job goes on, by another: it hands over at once
    reason = coordinator.stop.reason if coordinator.stop is not None and state == coordinator.stop.state else ""
    if retry is not None and retry.state_after(state) != state:
        state, coordinator.scan_complete = retry.state_after(state), False
        reason = f"only what had failed was tried again; the rest waits for: hugesync resume {job.spec.job}"
    if state in (State.DONE, State.DONE_WITH_ERRORS) and not job.spec.compares:
        aside(lambda: _tidy(run, opened))
    return state, reason


def _again(run: Run, retry: Retry, coordinator: Coordinator) -> Entry | None:
    """Plan what is to be tried again; the first file of it."""
    window = coordinator.window
    wanted = sum(map(retry.wants, window.base.failures))
    planned = failed_first(run.job, window, coordinator.units, run.meter, coordinator.keep, retry.wants)
    gone = wanted - len(planned)
    found = f"; {human.count(gone)} cannot be found at the source now and stay failed" if gone else ""
    omitted = sum(window.base.omitted.values())
    more = (
        f"; {human.count(omitted)} more were only counted: the same command again looks at every file"
        if omitted
        else ""
    )
    run.observer.on_notice(f"trying {human.counted(len(planned), 'file')} again{found}{more}")
    return next((entry for entry in planned if entry.kind is Kind.FILE), None)


def _tidy(run: Run, opened: Opened) -> None:
    token = Token(run.meter)
    sweep_uploads(run.job, run.ledger, token)
    if opened.resumed is not None:
        sweep(run.job, opened.at, token)


def _summary(run: Run, coordinator: Coordinator, state: State, reason: str) -> Summary:
    return summarise(run.job, state, coordinator.window, coordinator, run.meter, run.began, reason)


def _no_rates() -> bool:
    return False
