"""Read back what was committed (``--verify``): a file that its store did not prove counts as done only when it is there."""

from __future__ import annotations

from dataclasses import replace

from hugesync_tasks.errors import FailureClass, Stopped, StoreError
from hugesync_tasks.model import Commit, Entry, Kind, Outcome
from hugesync_tasks.stages.contents import End, Found, Moved, What, by_digest, compare_contents, digest
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.token import Token

_REFUSED = {
    # it has our time and size now, so a plain second run would take it for the same
    What.DIFFERENT: (FailureClass.PERMANENT, "the destination does not hold what was sent; --checksum sends it again"),
    What.SOURCE_MOVED: (
        FailureClass.SOURCE_CHANGED,
        "the source changed before what was sent could be compared with it",
    ),
    What.DEST_MOVED: (FailureClass.CONFLICT, "the destination changed before it could be read back"),
}


def confirmed(job: JobContext, done: Outcome, commit: Commit, source: Entry, sent: int | None, token: Token) -> Outcome:
    """``done`` as it may count: with ``--verify transferred`` or ``all`` only after the version that ``commit`` made was read
    back, unless its store proved it. That its source was proven on reading says nothing of what arrived.

    ``source``: under the key it was planned for; the one that was written is ``commit``'s. ``sent``: the CRC64NVME of what was read from it, where that is known; else both
    ends are compared, by the digests they hold where they do. Raises Stopped; everything else is the outcome.
    """
    if job.options.verify == "none" or done.state != "done" or commit.proven or source.kind is Kind.DIR:
        return done
    try:
        found = _found(job, source, commit, sent, token)
    except Stopped:
        raise
    except StoreError as error:
        message = f"sent, but it could not be read back: {error.of_file()}"
        return Outcome("failed", str(error.failure_class), message, conflicts=done.conflicts, notes=done.notes)
    if found.what is What.EQUAL:
        return replace(done, verified=True)
    reason, message = _REFUSED[found.what]
    return Outcome("failed", str(reason), message, conflicts=done.conflicts, notes=done.notes)


def _found(job: JobContext, source: Entry, commit: Commit, sent: int | None, token: Token) -> Found:
    if sent is None:
        return compare_contents(job, source, Entry(commit.key, source.kind, source.size, version=commit.version), token)
    try:
        there = End(job.dest, commit.key, commit.version, What.DEST_MOVED)
        return by_digest("crc64", digest(there.chunks(token), "crc64") == sent)
    except Moved as moved:
        return Found(moved.what)
