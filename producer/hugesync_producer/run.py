"""Run one job from its specification: locks, servers, coordinator, and the summary at the end."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from hugesync_producer.again import Retry
from hugesync_producer.coordinating import Run, coordinate, nothing_to_tend
from hugesync_producer.dryrun import dry_run
from hugesync_producer.embedded import Embedded
from hugesync_producer.ends import open_end
from hugesync_producer.filelog import telling
from hugesync_producer.jobfolder import JobFolder
from hugesync_producer.jobmap import JobMap
from hugesync_producer.jobtrace import JobTrace
from hugesync_producer.keptnames import kept_names, refuse_large
from hugesync_producer.mapping import Map
from hugesync_producer.namelist import NameList
from hugesync_producer.ownfolder import own_folder
from hugesync_producer.runtimefolder import refuse_unusable
from hugesync_producer.samedevice import refuse_dry
from hugesync_producer.sending import publisher
from hugesync_producer.stopping import asked, until
from hugesync_tasks.bandwidth import Bandwidth
from hugesync_tasks.celery import publishing
from hugesync_tasks.config import Settings
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.summary import Observer, Summary
from hugesync_tasks.token import Meter

if TYPE_CHECKING:
    pass


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
            tend = nothing_to_tend
        publish = publisher(stack.enter_context(publishing(settings)), trace.headers)
        ledger = open_ledger(settings)
        stack.callback(ledger.close)
        ledger.check_server()
        rates.exchange, rates.draw_at = ledger.share_rate, ledger.draw_at
        requests.heard_from(partial(ledger.draw, spec.job, "coordinator", of="tpslimit"))
        names = stack.enter_context(kept_names(spec, names, ledger, folder)) if retry is None else None
        run = Run(
            job=job, ledger=ledger, publish=publish, observer=observer, meter=meter, began=began, folder=folder, tend=tend,
            fresh=fresh, owner=owner, rates=rates, retry=retry, names=names,
        )  # fmt: skip
        summary = coordinate(run)
        if mapped is not None and folder is None and not summary.resumable:
            mapped.forget()
        return trace.ended(summary)


def _roots(spec: Spec) -> dict[str, str]:
    return {end.root: end.local for end in (spec.source, spec.dest) if end.scheme == "file"}
