"""Run one job from its specification: locks, servers, coordinator, and the summary at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError

from hugesync_producer import human
from hugesync_producer.again import NothingToPlan, Retry
from hugesync_producer.aside import aside
from hugesync_producer.checkpoint import TakenOver
from hugesync_producer.coordinator import Coordinator
from hugesync_producer.deletes import Deletes
from hugesync_producer.dispatch import Publish
from hugesync_producer.dryrun import dry_run
from hugesync_producer.embedded import Embedded
from hugesync_producer.ending import end, forget, hand_over, summarise
from hugesync_producer.ends import open_end
from hugesync_producer.failedfirst import failed_first
from hugesync_producer.filelog import telling
from hugesync_producer.jobfolder import JobFolder
from hugesync_producer.jobmap import JobMap
from hugesync_producer.jobtrace import JobTrace
from hugesync_producer.keptnames import give, kept_names, refuse_large
from hugesync_producer.lasttries import LastTries
from hugesync_producer.leadership import keep_lock
from hugesync_producer.mapped import MappedStore
from hugesync_producer.mapping import Map
from hugesync_producer.namelist import NameList
from hugesync_producer.openjob import open_job
from hugesync_producer.ownfolder import own_folder
from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.pool import Pool
from hugesync_producer.runtimefolder import refuse_unusable
from hugesync_producer.samedevice import refuse_dry, updated
from hugesync_producer.stopping import asked, until
from hugesync_producer.sweep import sweep, sweep_uploads
from hugesync_producer.window import Counters, Window
from hugesync_tasks.bandwidth import Bandwidth
from hugesync_tasks.celery import app, publishing
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import HugeSyncError, Unreachable
from hugesync_tasks.logs import get_logger
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.summary import Observer, State, Summary, state_of_error
from hugesync_tasks.token import Meter, Token

if TYPE_CHECKING:
    from celery import Celery

log = get_logger(__name__)


def run_job(
    spec: Spec,
    settings: Settings,
    observer: Observer,
    *,
    fresh: bool,
    meter: Meter,
    began: float,
    rates: SharedRates | None = None,
    owner: str = "",
    retry: Retry | None = None,
    names: NameList | None = None,
    given: Map | None = None,
) -> Summary:
    """Do the job, or ``retry`` what of it failed, and sum it up. ``owner``: whose lease this process was started under
    (``openjob``). ``names``: the list that the job is given; of a job that is gone on with, None: it is found where it was kept.
    ``given``: the same of its map. Raises UsageError, Refused and Unreachable from before the first entry was planned."""
    rates = rates or SharedRates()
    rates.requests = requests = Bandwidth(None, spec.options.tpslimit, name="--tpslimit", unit="requests")
    if not owner:  # else the run goes on whose time was begun elsewhere
        spec = until(spec, began)
    mapped = JobMap(spec, settings.state_dir, given) if spec.map_digest else None
    with ExitStack() as stack:
        trace = stack.enter_context(JobTrace(spec))
        source = open_end(
            spec.source,
            spec.source_limits,
            spec.options,
            "source",
            spec.selection.links,
            rates,
            spec.compares,
            spec.job,
        )
        job = JobContext(
            spec,
            mapped.over(source, spec) if mapped is not None else source,
            open_end(
                spec.dest,
                spec.dest_limits,
                spec.options,
                "destination",
                rates=rates,
                reads_only=spec.compares,
                job=spec.job,
            ),
        )
        stack.callback(job.close)
        stack.enter_context(telling(observer, spec, job.dest.limits.remote))
        if spec.dry_run:
            refuse_dry(spec, settings, job.source.device)
            return dry_run(job, meter, observer, began, spec.options.estimate, names, asked(spec, observer))
        folder: JobFolder | None = None
        if not settings.broker_url:
            if settings.runtime_dir is not None and "runtime_dir" in settings.model_fields_set:
                refuse_unusable(settings.runtime_dir)
            folder = stack.enter_context(own_folder(spec, settings, fresh))
            if mapped is not None:
                mapped.keep()
            embedded = Embedded(folder.path, settings, _roots(spec), (spec.source.scheme, spec.dest.scheme))
            stack.callback(embedded.stop)
            url = embedded.start()
            folder.save(broker=url)
            settings = settings.model_copy(update={"broker_url": url, "state_url": ""})
            tend = embedded.tend
        else:
            refuse_large(names)
            if mapped is not None:
                mapped.keep()
            tend = _nothing_to_tend
        publish = _publisher(stack.enter_context(publishing(settings)), trace.headers)
        ledger = open_ledger(settings)
        stack.callback(ledger.close)
        ledger.check_server()
        rates.exchange, rates.draw_at = ledger.share_rate, ledger.draw_at
        requests.heard_from(partial(ledger.draw, spec.job, "coordinator", of="tpslimit"))
        names = stack.enter_context(kept_names(spec, names, ledger, folder)) if retry is None else None
        summary = _coordinate(
            job, ledger, folder, tend, observer, fresh, meter, began, owner, rates, retry, names, publish
        )
        if mapped is not None and folder is None and not summary.resumable:
            mapped.forget()
        return trace.ended(summary)


def _coordinate(
    job: JobContext,
    ledger: Ledger,
    folder: JobFolder | None,
    tend: Callable[[], str],
    observer: Observer,
    fresh: bool,
    meter: Meter,
    began: float,
    owner: str = "",
    rates: SharedRates | None = None,
    retry: Retry | None = None,
    names: NameList | None = None,
    publish: Publish | None = None,
) -> Summary:
    spec, device = job.spec, job.source.device
    left = (retry.key, retry.counters) if retry is not None else None
    opened = open_job(ledger, spec, folder, observer, fresh, device, owner, left, names)
    resumed, place, started = opened.resumed, opened.place, opened.at
    key, counters = resumed or ("", Counters())
    window = Window(key, counters)
    deletes = Deletes(
        job, meter, window, resumed is not None, device,
        lambda: sweep(job, started, Token(meter)) if resumed is not None else None,
    )  # fmt: skip
    if retry is not None:
        deletes.forgo("nothing was deleted: only what had failed was tried again")
    # A worker started this one, so one is there; but a root that a killed one served may be its own for 20 s more.
    patience = spec.options.stall_timeout if owner else None
    pool = Pool(ledger, spec, embedded=folder is not None, patience=patience)
    pool.uses(job.source, job.dest)
    planner = PlanFeed(job, meter, key, names) if retry is None else NothingToPlan(job, meter, key)
    coordinator = Coordinator(
        job, ledger, publish or _publisher(), planner, window, deletes, pool, opened.checkpoint, observer, tend,
        keep_more=lambda: keep_lock(ledger, spec, place), owner=opened.owner,
        look_at_rates=rates.look if rates is not None else _no_rates, asked=asked(spec, observer),
    )  # fmt: skip
    coordinator.units.replan.token.pace = Bandwidth(partial(ledger.draw, spec.job, "coordinator"))
    if folder is None:
        coordinator.give_names = partial(give, ledger, spec.job, names)
    look = partial(failed_first, job, window, coordinator.units, meter, coordinator.keep, _stored(job))
    wants = retry.wants if retry is not None else lambda failure: True
    coordinator.tries = LastTries(window, job.options.retries, look, wants, observer.on_notice).go_on
    log.info(
        "work begins", queue=pool.queue, window=pool.window, jobs=spec.options.jobs or "as many as slots",
        memory=spec.options.memory, part_size=spec.options.part_size, server_copy=job.server_copy, resumed_after=key,
    )  # fmt: skip
    reason = ""
    try:
        if retry is not None:
            coordinator.save()  # before anything is done: a run that is killed now is resumed from here
            planner.first = _again(job, window, coordinator, meter, observer, retry)
        elif resumed is not None:
            failed_first(job, window, coordinator.units, meter, coordinator.keep, _stored(job))
        state = coordinator.run(drains=not owner)  # a stand-in's job goes on, by another: it hands over at once
        reason = coordinator.stop.reason if coordinator.stop is not None and state == coordinator.stop.state else ""
        if retry is not None and retry.state_after(state) != state:
            state, coordinator.scan_complete = retry.state_after(state), False
            reason = f"only what had failed was tried again; the rest waits for: hugesync resume {spec.job}"
        if state in (State.DONE, State.DONE_WITH_ERRORS) and not spec.compares:
            aside(lambda: _tidy(job, ledger, resumed is not None, started, Token(meter)))
    except TakenOver:
        raise
    except (HugeSyncError, KeyboardInterrupt) as error:
        state = state_of_error(error)
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else error.told()
        if owner and isinstance(error, KeyboardInterrupt):  # its worker ends, not the job
            hand_over(ledger, spec, coordinator)
            return summarise(job, State.RUNNING, window, coordinator, meter, began, "handed over: the worker ends")
        if owner and isinstance(error, HugeSyncError) and not coordinator.planned_anything:
            raise  # perhaps another worker can
        never_began = resumed is None and not coordinator.scanned_anything
        if never_began and isinstance(error, HugeSyncError) and not isinstance(error, Unreachable):
            coordinator.keep_now()
            forget(ledger, pool, spec, place, folder, opened.devices)
            raise
    summary = summarise(job, state, window, coordinator, meter, began, reason)
    ended_well = summary.state in (State.DONE, State.DONE_WITH_ERRORS)
    devices = updated(opened.devices, device) if ended_well else opened.devices
    return end(ledger, pool, spec, place, folder, summary, coordinator, devices)


def _again(
    job: JobContext, window: Window, coordinator: Coordinator, meter: Meter, observer: Observer, retry: Retry
) -> Entry | None:
    """Plan what is to be tried again; the first file of it."""
    wanted = sum(map(retry.wants, window.base.failures))
    planned = failed_first(job, window, coordinator.units, meter, coordinator.keep, _stored(job), retry.wants)
    gone = wanted - len(planned)
    found = f"; {human.count(gone)} cannot be found at the source now and stay failed" if gone else ""
    omitted = sum(window.base.omitted.values())
    more = (
        f"; {human.count(omitted)} more were only counted: the same command again looks at every file"
        if omitted
        else ""
    )
    observer.on_notice(f"trying {human.counted(len(planned), 'file')} again{found}{more}")
    return next((entry for entry in planned if entry.kind is Kind.FILE), None)


def _stored(job: JobContext) -> Callable[[list[str]], dict[str, str]] | None:
    return job.source.stored if isinstance(job.source, MappedStore) else None


def _tidy(job: JobContext, ledger: Ledger, resumed: bool, started: float, token: Token) -> None:
    sweep_uploads(job, ledger, token)
    if resumed:
        sweep(job, started, token)


def _roots(spec: Spec) -> dict[str, str]:
    return {end.root: end.local for end in (spec.source, spec.dest) if end.scheme == "file"}


def _publisher(sender: Celery | None = None, headers: Mapping[str, str] | None = None) -> Publish:
    sender = sender or app
    more = {"headers": dict(headers)} if headers else {}

    def publish(name: str, queue: str, job: str, task: str) -> None:
        try:
            sender.send_task(name, args=(job, task), queue=queue, ignore_result=True, retry=False, **more)
        except (OperationalError, *sender.connection_for_write().connection_errors) as error:
            raise Unreachable(f"the broker cannot be reached: {type(error).__name__}") from error

    return publish


def _nothing_to_tend() -> str:
    return ""


def _no_rates() -> bool:
    return False
