"""A resumed job plans what had failed before it scans on: those files lie behind K and would not be met again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from hugesync_producer.aside import threads
from hugesync_producer.folders import folders_of
from hugesync_producer.mapped import MappedStore
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
) -> list[Entry]:
    """Plan each kept failure that a worker met, and that ``wants``, again, as a checked transfer; ``keep`` is called as it goes on.
    Returns the files as the source has them now.

    All of them are one segment, and they stay failed in the counters as of K until it is settled: a job that is killed
    before that resumes with them once more. A file that cannot be looked at now stays as it is.
    """
    failures = [f for f in window.base.failures if wants(f)]
    token = Token(meter)
    mapped = job.source if isinstance(job.source, MappedStore) else None
    names = mapped.stored([f.key for f in failures]) if mapped is not None and failures else {}
    if mapped is not None:
        failures = [f for f in failures if f.key in names]
    again: list[tuple[Failed, Transfer]] = []
    folders: list[Entry] = []
    with threads(THREADS, "head") as pool:
        named = [Entry(f.key, Kind.FILE, stored=names.get(f.key, "")) for f in failures]
        for failure, transfer in zip(failures, pool.map(lambda entry: _seen(job, entry, token), named)):
            keep()
            if transfer is not None:
                again.append((failure, transfer))
        if mapped is None and job.dest.limits.folders and job.options.metadata and not job.spec.compares:
            folders = _folders(job, [transfer.key for _, transfer in again], pool, keep, token)
    if not again:
        return []
    transfers = [transfer for _, transfer in again]
    batches = tuple(tuple(transfers[at : at + BATCH]) for at in range(0, len(transfers), BATCH))
    segment = units.add(Segment(window.key, Tally(), batches, finishes=tuple(folders)))
    for failure, transfer in again:
        segment.counters.withdraw(failure, transfer.source.size)
    return [transfer.source for transfer in transfers]


def _seen(job: JobContext, named: Entry, token: Token) -> Transfer | None:
    """The transfer of one; None where an end cannot be looked at now, or the file is gone. The workers of a comparison compare two
    versions that were seen: there none means that there is none."""
    source = _now(job, named, token)
    if source is None or not job.spec.compares:
        return Transfer(source, check=True) if source is not None else None
    try:
        head = job.dest.head(source.key, token)
    except StoreError:
        return None
    return Transfer(source, dest=head.entry if head is not None else None, check=True)


def _folders(
    job: JobContext, keys: Iterable[str], pool: ThreadPoolExecutor, keep: Callable[[], object], token: Token
) -> list[Entry]:
    """The source's folders on the way to ``keys``, deepest first: they were finished, and what comes into them now changes their
    times."""
    names = sorted({folder for key in keys for folder in folders_of(key)}, reverse=True)
    found = []
    for entry in pool.map(lambda name: _entry(job, name, token), names):
        keep()
        if entry is not None and entry.kind is Kind.DIR:
            found.append(entry)
    return found


def _entry(job: JobContext, key: str, token: Token) -> Entry | None:
    try:
        head = job.source.head(key, token)
    except StoreError:
        return None
    return head.entry if head is not None else None


def _now(job: JobContext, named: Entry, token: Token) -> Entry | None:
    try:
        head = job.source.head(job.source_key(named), token)
    except StoreError:
        return None
    if head is None or head.entry.kind not in (Kind.FILE, Kind.LINK):
        return None
    return called(head, named).entry
