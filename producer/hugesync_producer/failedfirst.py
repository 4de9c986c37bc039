"""A resumed job plans what had failed before it scans on: those files lie behind K and would not be met again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hugesync_producer.aside import threads
from hugesync_producer.plan import Segment
from hugesync_producer.units import Units
from hugesync_producer.window import Failed, Window
from hugesync_tasks.errors import StoreError
from hugesync_tasks.model import Entry, Kind, Transfer
from hugesync_tasks.stages.context import JobContext, called
from hugesync_tasks.tally import Tally
from hugesync_tasks.token import Meter, Token

BATCH = 256
THREADS = 16  # HEADs at a time


def failed_first(
    job: JobContext,
    window: Window,
    units: Units,
    meter: Meter,
    keep: Callable[[], object],
    wants: Callable[[Failed], bool] = lambda failure: failure.again,
    stored: Callable[[list[str]], Mapping[str, str]] | None = None,
) -> list[Entry]:
    """Plan each kept failure that a worker met, and that ``wants``, again, as a checked transfer; ``keep`` is called as it goes on.
    Returns the files as the source has them now.

    All of them are one segment, and they stay failed in the counters as of K until it is settled: a job that is killed
    before that resumes with them once more. A file that cannot be looked at now stays as it is. ``stored``: of keys, those at
    the source, where a map gives it other names.
    """
    failures = [f for f in window.base.failures if wants(f)]
    token = Token(meter)
    names = stored([f.key for f in failures]) if stored is not None and failures else {}
    if stored is not None:
        failures = [f for f in failures if f.key in names]
    again = []
    with threads(THREADS, "head") as pool:
        for failure, entry in zip(
            failures,
            pool.map(lambda f: _now(job, Entry(f.key, Kind.FILE, stored=names.get(f.key, "")), token), failures),
        ):
            keep()
            if entry is not None:
                again.append((failure, entry))
        theirs: list[Entry | None] = [None] * len(again)
        if job.spec.compares:  # its workers compare two versions that were seen
            theirs = list(pool.map(lambda found: _there(job, found[1].key, token), again))
    if not again:
        return []
    transfers = [Transfer(entry, dest=dest, check=True) for (_, entry), dest in zip(again, theirs, strict=True)]
    batches = tuple(tuple(transfers[at : at + BATCH]) for at in range(0, len(transfers), BATCH))
    segment = units.add(Segment(window.key, Tally(), batches))
    for failure, entry in again:
        segment.counters.withdraw(failure, entry.size)
    return [entry for _, entry in again]


def _now(job: JobContext, named: Entry, token: Token) -> Entry | None:
    try:
        head = job.source.head(job.source_key(named), token)
    except StoreError:
        return None
    if head is None or head.entry.kind not in (Kind.FILE, Kind.LINK):
        return None
    return called(head, named).entry


def _there(job: JobContext, key: str, token: Token) -> Entry | None:
    try:
        head = job.dest.head(key, token)
    except StoreError:
        return None  # the worker will meet it too
    return head.entry if head is not None else None
