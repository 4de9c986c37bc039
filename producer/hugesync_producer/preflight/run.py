"""One preflight from SOURCE and DEST to its report: the library call of ``hugesync preflight`` and of ``--preflight``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from hugesync_producer.aside import aside
from hugesync_producer.ends import Ends, open_end, resolve
from hugesync_producer.filters import Filter
from hugesync_producer.fleet import live
from hugesync_producer.preflight.allowance import Allowance
from hugesync_producer.preflight.blockers import blockers
from hugesync_producer.preflight.estimate import estimate
from hugesync_producer.preflight.host import host_facts, start_seconds
from hugesync_producer.preflight.measure import measure_dest, measure_source, plain_end
from hugesync_producer.preflight.recommend import recommend
from hugesync_producer.preflight.report import Report, applied
from hugesync_producer.preflight.survey import Survey, survey
from hugesync_producer.preflight.traces import Traces
from hugesync_producer.preflight.values import MIB, End, Measurements
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import AccessDenied, HugeSyncError, StoreError, Transient, Unreachable, UsageError
from hugesync_tasks.model import Entry
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Location, Options, Selection, Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import Store
from hugesync_tasks.token import Meter, Token

MAX_SECONDS, MAX_BYTES = 30.0, 256 * MIB
_LISTING, _SOURCE = 0.25, 0.45  # of the time that is left when each begins
_SIZE = 0.5  # of the bytes, for each end


def preflight(
    source: str,
    dest: str,
    *,
    settings: Settings,
    options: Options | None = None,
    selection: Selection | None = None,
    source_profile: str = "",
    dest_profile: str = "",
    max_seconds: float = MAX_SECONDS,
    max_bytes: int = MAX_BYTES,
    say: Callable[[str], None] | None = None,
) -> Report:
    """Measure this machine and both ends for about ``max_seconds``, moving at most ``max_bytes``; ``say`` is told what is being
    done. SRC is only read; nothing is left at DST, also where this process is killed.

    Raises UsageError (no such source or bucket, wrong credentials), Refused (the ends overlap), Unreachable. What a job could
    not succeed with is in the report."""
    allowance, say = Allowance(max_seconds, max_bytes), say or (lambda _: None)
    options, selection = options or Options(), selection or Selection()
    once = replace(options, retries=1)
    ends = resolve(source, dest, source_profile, dest_profile, once, Meter(), selection.links)
    with ExitStack() as stack:
        a = open_end(ends.source, None, once, "source", selection.links, reads_only=True)
        stack.callback(a.close)
        b = open_end(ends.dest, None, once, "destination")
        stack.callback(b.close)
        refused = _probe(a, ends.source, False), _probe(b, ends.dest, True)
        job = JobContext(Spec("", ends.source, ends.dest, options=options), a, b)
        server_copy = not any(refused) and job.server_copy
        say("looking at this machine")
        host = replace(host_facts(), start_seconds=start_seconds())
        say("listing both ends")
        only = _single(a, ends)
        here, there = survey(a, b, Filter.of(selection), allowance.left * _LISTING, only)
        say(f"reading {ends.source.display()}")
        at_source = measure_source(ends.source, a, here, allowance.portion(_SOURCE, _SIZE))
        say(f"writing to {ends.dest.display()} what nobody will see")
        traces = stack.enter_context(Traces())
        at_dest = plain_end(ends.dest, b)
        if refused[1]:
            at_dest = replace(at_dest, listing=there.listing, blockers=(f"writing: {refused[1]}",))
        else:
            copies = (a, here.largest) if job.server_copy and job.copies_parts else None
            at_dest = measure_dest(ends.dest, b, there, allowance.portion(1.0, 1.0), traces, copies)
    if refused[0]:
        at_source = replace(at_source, blockers=(f"reading: {refused[0]}", *at_source.blockers))
    slots, notes = _workers(settings)
    measured = Measurements(
        host, _named(at_source, ends.source, ends.single_source), at_dest, here.sizes, allowance.spent, allowance.moved,
        server_copy, not settings.broker_url, notes,
    )  # fmt: skip
    return _reported(measured, there, options, settings, slots, tuple(traces.left))


def _reported(
    measured: Measurements,
    there: Survey,
    options: Options,
    settings: Settings,
    slots: int | None,
    left: tuple[str, ...],
) -> Report:
    advice = recommend(measured, options)
    taken, _, _ = applied(advice, options, settings)
    return Report(
        measured,
        advice,
        estimate(measured, options, slots or settings.jobs or settings.worker_concurrency or None),
        estimate(measured, taken, slots),
        blockers(measured, there.bytes, there.files, there.listing.complete),
        left,
    )


def _probe(store: Store, location: Location, writes: bool) -> str:
    """Set the store's limits; why it may not be used, or ""."""
    try:
        store.limits = aside(lambda: store.probe(Token(), writes))
    except AccessDenied as error:
        return error.message
    except Transient as error:
        raise Unreachable(f"{location.display()} at {location.endpoint}: {error}") from error
    except StoreError as error:
        raise UsageError(f"{location.display()}: {error}") from error
    return ""


def _single(store: Store, ends: Ends) -> Entry | None:
    if not ends.single_source:
        return None
    try:
        head = aside(lambda: store.head(ends.single_source, Token()))
    except StoreError as error:
        raise UsageError(f"{ends.source.display()}: {error}") from error
    return head.entry if head is not None else None


def _named(end: End, location: Location, single: str) -> End:
    return replace(end, place=location.display_of(single)) if single else end


def _workers(settings: Settings) -> tuple[int | None, tuple[str, ...]]:
    """(slots of the fleet's live workers, what to say of it); None where the job brings its own worker."""
    if not settings.broker_url:
        return None, ()
    try:
        ledger = open_ledger(settings)
        try:
            slots = sum(int(w["slots"]) for w in live(ledger).values())
        finally:
            ledger.close()
    except HugeSyncError as error:
        return None, (f"the fleet cannot be asked for its workers: {error.told()}",)
    return slots or None, (
        "measured on this host, not on the workers' hosts; jobs and memory are each worker's own and are not advised",
    )
