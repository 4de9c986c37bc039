"""A dry run: the same scan, join and decision, true counts and bytes, nothing written and no worker started."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from hugesync_producer import filelog
from hugesync_producer.aside import threads
from hugesync_producer.deleterules import refuse, unfit
from hugesync_producer.foresee import SAMPLE, Foreseen, foresee
from hugesync_producer.mapped import MappedStore
from hugesync_producer.namelist import NameList
from hugesync_producer.pace import Slowdown, slowed
from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.stopping import Stop
from hugesync_producer.window import Counters
from hugesync_tasks.bandwidth import Bandwidth
from hugesync_tasks.decide import Decision
from hugesync_tasks.errors import FailureClass, Refused, StoreError
from hugesync_tasks.model import Kind, Outcome, Transfer, failed
from hugesync_tasks.stages.compare import compares_same, look_again
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.summary import BYTES, OUTCOMES, REQUESTS, Observer, Snapshot, State, Summary
from hugesync_tasks.token import Meter, Token

HEADS = 16  # looked at at once, where a listing cannot decide


class _Stopped(Exception):
    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.reason)
        self.stop = stop


def dry_run(
    job: JobContext,
    meter: Meter,
    observer: Observer,
    began: float,
    estimate: bool = False,
    names: NameList | None = None,
    asked: Callable[[], Stop | None] = lambda: None,
) -> Summary:
    """What would be transferred stands under pending; what a listing cannot decide is looked at, as a worker would. Deltas are
    computed, or guessed with ``estimate``: what they would reuse stands under ``reused``, their number under ``delta``.
    When ``asked`` says so it ends where it is."""
    total, notes, deltas, reused = Counters(), Counter[str](), 0, 0
    token, slowdown = Token(meter, pace=Bandwidth(None, job.options.bwlimit)), Slowdown()
    observer.on_start(job.spec.job, False)
    stopped: Stop | None = None
    feed = PlanFeed(job, meter, names=names)
    feed.start()
    try:
        with threads(HEADS, "head") as pool:
            for segment in feed.segments(lambda: _go_on(asked)):
                total.tally.add(segment.tally)
                total.lacks(segment.missing)
                notes.update(dict(segment.notes))
                if segment.seen is not None:
                    total.seen.add(segment.seen)
                for failure in segment.failures:
                    total.failed(failure.key, str(failure.reason), failure.message, failure.size)
                larges = list(segment.larges)
                checks = [t for batch in segment.batches for t in batch if t.check and t.source.kind is not Kind.DIR]
                for transfer, outcome in zip(checks, pool.map(lambda t: _look(job, t, token), checks), strict=True):
                    if outcome is None:
                        filelog.would_send(transfer)
                        larges.append(transfer)
                    else:
                        filelog.settled(transfer, outcome)
                        total.settle(transfer.key, transfer.source.size, outcome)
                for large in larges:  # beside the main thread, so that Ctrl-C need not wait for a store
                    foreseen = pool.submit(foresee, job, large, token, estimate).result()
                    deltas, reused = deltas + bool(foreseen.reused), reused + foreseen.reused
                    notes.update(_notes(foreseen))
                    filelog.foreseen(large.key, foreseen.block, foreseen.reused, foreseen.whole)
                elapsed = time.monotonic() - began
                slow = slowdown.saw(feed.throttled, elapsed)
                observer.on_progress(Snapshot(total.tally.files, total.tally.bytes, elapsed=elapsed, throttled=slow))
    except _Stopped as told:
        stopped = told.stop
    finally:
        feed.stop()
    total.tally.assert_law()
    traffic = meter.take()
    traffic["bytes.reused"] = reused
    state, reason, kept = _deletes(job, total) if stopped is None else (stopped.state, stopped.reason, "")
    return Summary(
        state,
        job.spec.job,
        dry_run=True,
        scan_complete=stopped is None,
        files=total.tally.files,
        skipped_by=total.tally.skipped_by,
        bytes={**total.tally.bytes, **{n: traffic.get(f"bytes.{n}", 0) for n in BYTES if n not in OUTCOMES}},
        requests={n: traffic.get(f"requests.{n}", 0) for n in REQUESTS},
        transfers={"delta": deltas},
        verified=total.verified,
        missing=tuple(total.missing),
        notes=(
            *slowed(traffic),
            *(job.source.notes if isinstance(job.source, MappedStore) else ()),
            *(f"{n} × {note}" for note, n in sorted(notes.items())),
            *((kept,) if kept else ()),
        ),
        retries=traffic.get("retries", 0),
        failures=total.failure_list(),
        failures_omitted=total.failures_omitted,
        elapsed_seconds=time.monotonic() - began,
        reason=reason,
    )


def _go_on(asked: Callable[[], Stop | None]) -> None:
    if (stop := asked()) is not None:
        raise _Stopped(stop)


def _notes(foreseen: Foreseen) -> list[str]:
    guessed = f"guessed from up to {SAMPLE} blocks of the file, not computed: what a delta would reuse"
    said = [f"would be sent whole: {foreseen.whole}"] if foreseen.whole else []
    return [*said, guessed] if foreseen.guessed else said


def _deletes(job: JobContext, total: Counters) -> tuple[State, str, str]:
    """The state the job would end in, its reason, and why nothing would be deleted; ``total`` then says what would be."""
    files, seen = total.tally.files, total.seen
    kept = unfit(seen, total) if job.options.delete else ""
    if seen.errors and job.options.delete and not total.failures:
        total.failed(seen.error_key, str(FailureClass.PERMANENT), f"not deleted: {seen.error}")
    state = State.DONE_WITH_ERRORS if files["failed"] or total.failures else State.DONE
    if not job.options.delete or kept:
        return state, "", kept.replace("was deleted", "would be deleted")
    try:
        refuse(seen, job.spec)
    except Refused as error:
        return State.REFUSED, error.told(), ""
    files["deleted"] = seen.files
    return state, "", ""


def _look(job: JobContext, transfer: Transfer, token: Token) -> Outcome | None:
    """None = it would be transferred, and stays pending."""
    try:
        decision = look_again(job, transfer.source, job.dest.head(transfer.key, token), token)
    except StoreError as error:
        return failed(error)
    if decision is Decision.SAME:
        return Outcome("skipped", "same", verified=compares_same(job, transfer.source))
    return Outcome("skipped", "existing") if decision is Decision.EXISTING else None
