"""Whether a file may be its old version with something appended: all that a store without ranged copies can use of it."""

from __future__ import annotations

from hugesync_tasks.model import Head, Transfer
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.reading import whole
from hugesync_tasks.stores.base import KIB
from hugesync_tasks.token import Token

NO_RANGES = "the store has no ranged copy"
SAMPLE = 64 * KIB  # bytes compared at the old version's end


def appended(job: JobContext, transfer: Transfer, basis: Head, token: Token) -> bool:
    """A cheap look before the whole file is read in vain: the last bytes of the old version are in the new one where they
    were. Only what is read here can be proven, so never between two stores."""
    size = basis.entry.size
    if job.source.limits.remote or not basis.entry.size < transfer.source.size:
        return False
    start = max(0, size - SAMPLE)
    with job.dest.open(transfer.key, basis.entry.version, token, start, size - start, overhead=True) as reader:
        theirs = whole(reader)
    key = job.source_key(transfer.source)
    with job.source.open(key, transfer.source.version, token, start, size - start) as reader:
        return whole(reader) == theirs
