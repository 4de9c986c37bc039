"""A resumed job plans what had failed before it scans on: those files lie behind K and would not be met again."""

from __future__ import annotations

from dataclasses import replace

from hugesync_producer.plan import Segment
from hugesync_producer.units import Units
from hugesync_producer.window import Window
from hugesync_tasks.errors import StoreError
from hugesync_tasks.model import Entry, Kind, Transfer
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.tally import Tally
from hugesync_tasks.token import Meter, Token

BATCH = 256


def failed_first(job: JobContext, window: Window, units: Units, meter: Meter) -> None:
    """Take the kept failures out of the counters as of K and plan each again as a checked transfer.

    A file is found, and counted, once: what is retried leaves "failed" and "found" and enters as pending.
    """
    base = window.base
    again: list[Entry] = []
    kept = []
    for failure in base.failures:
        key, _, _, size = failure
        entry = _now(job, key, meter)
        if entry is None or size < 0:
            kept.append(failure)
            continue
        again.append(entry)
        for counts, n in ((base.tally.files, 1), (base.tally.bytes, size)):
            counts["failed"] -= n
            counts["found"] -= n
    base.failures = kept
    for at in range(0, len(again), BATCH):
        some = again[at : at + BATCH]
        tally = Tally()
        for entry in some:
            tally.find("pending", entry.size)
        units.add(Segment(window.key, tally, (tuple(Transfer(e, check=True) for e in some),)))


def _now(job: JobContext, key: str, meter: Meter) -> Entry | None:
    try:
        head = job.source.head(job.source_key(key), Token(meter))
    except StoreError:
        return None
    if head is None or head.entry.kind not in (Kind.FILE, Kind.LINK):
        return None
    return replace(head.entry, key=key)
