"""Compare files that should be equal, and change nothing: the tasks of ``hugesync verify``.

What comes out of a file is skipped (equal), or failed with a sentence about what differs. Nobody's word is taken for a file that
moves meanwhile: it is neither equal nor different.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from hugesync_tasks import logs
from hugesync_tasks.errors import FailureClass, Stopped, StoreError
from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind, Outcome, Transfer, failed
from hugesync_tasks.spec import Options
from hugesync_tasks.stages.contents import Found, What, compare_contents
from hugesync_tasks.stages.context import KINDS, JobContext
from hugesync_tasks.token import Token

THREADS = 16  # files compared at once inside one task; of each a chunk or two is in memory
RECEIPTS_EVERY = 64  # files
REPORT_EVERY = 1.0  # seconds
MANY = 4096  # ranges of one file; above it they grow

MISSING = "missing at the destination"

log = logging.getLogger(__name__)


def range_size(size: int, options: Options) -> int:
    """Bytes that one task compares of a file; what has no more is compared in one piece."""
    return max(4 * options.part_size, -(-size // MANY))


def compare_batch(
    job: JobContext, items: Mapping[int, Transfer], token: Token, report: Callable[[Mapping[int, Outcome]], None]
) -> None:
    """Compare each of ``items``; ``report`` is called with those that are finished. Raises only Stopped: everything else is
    some file's outcome."""
    numbered, told = list(items.items()), time.monotonic()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="compare", **logs.carry()) as pool:
        for at in range(0, len(numbered), RECEIPTS_EVERY):
            group = numbered[at : at + RECEIPTS_EVERY]
            done: dict[int, Outcome] = {}
            for (index, _), outcome in zip(group, pool.map(lambda item: _one(job, item[1], token), group), strict=True):
                done[index] = outcome
                if time.monotonic() - told >= REPORT_EVERY:
                    told = time.monotonic()
                    report(done)
                    done = {}
            report(done)


def _one(job: JobContext, transfer: Transfer, token: Token) -> Outcome:
    logs.of_file(transfer.key)
    try:
        if transfer.dest is None:
            return _in_its_place(job, transfer.source, token)
        return verdict(compare_contents(job, transfer.source, transfer.dest, token))
    except Stopped:
        raise
    except Exception as error:  # whatever it is, it fails one file
        if not isinstance(error, StoreError):
            log.exception("%s could not be compared", transfer.key)
        return failed(error)
    finally:
        logs.of_file()
        token.moved(0)


def verdict(found: Found) -> Outcome:
    """What a comparison of contents means for a file."""
    match found.what:
        case What.EQUAL:
            return Outcome("skipped", "same", verified=True)
        case What.SOURCE_MOVED:
            return _failed(FailureClass.SOURCE_CHANGED, "the source changed while it was compared")
        case What.DEST_MOVED:
            return _failed(FailureClass.CONFLICT, "the destination changed while it was compared")
    return _failed(FailureClass.PERMANENT, f"the contents differ: {found.how}")


def kinds_differ(source: Kind, dest: Kind) -> str:
    return f"the kinds differ: {KINDS[source]} at the source, {KINDS[dest]} at the destination"


def sizes_differ(source: int, dest: int) -> str:
    return f"the sizes differ: {source} bytes at the source, {dest} at the destination"


def _in_its_place(job: JobContext, source: Entry, token: Token) -> Outcome:
    """What the destination's listing did not show. On a filesystem something else may bear its name."""
    for key in dict.fromkeys((source.key, source.key.removesuffix(LINK_SUFFIX))):
        found = job.dest.head(key, token)
        if found is None:
            continue
        if found.entry.kind is source.kind:
            return verdict(Found(What.DEST_MOVED))  # it was not there when it was listed
        return _failed(FailureClass.PERMANENT, kinds_differ(source.kind, found.entry.kind))
    return _failed(FailureClass.PERMANENT, MISSING)


def _failed(reason: FailureClass, message: str) -> Outcome:
    return Outcome("failed", str(reason), message)
