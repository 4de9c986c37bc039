"""``--on-conflict keep-both``: where our version goes when somebody else's stands under its name.

The name is dated by when the other version was written, so that every attempt at one conflict finds the same, and a worker that
was killed after it wrote there is not followed by one that writes a second copy.
"""

from __future__ import annotations

from dataclasses import replace

from hugesync_tasks.decide import Decision
from hugesync_tasks.errors import VersionMismatch
from hugesync_tasks.model import Commit, Entry, Head, Transfer
from hugesync_tasks.names import conflict_key
from hugesync_tasks.stages.compare import look_again
from hugesync_tasks.stages.context import JobContext, called, describe
from hugesync_tasks.token import Token

MOST = 100  # names that may be taken by others


def place_beside(
    job: JobContext, transfer: Transfer, source: Head, rival: Entry, token: Token
) -> tuple[Transfer, Commit | None]:
    """The transfer under a free name beside ``rival``'s, to be written only where nothing is; and our version, where it lies
    there already. ``source``: as it is now. Raises VersionMismatch where all names are taken."""
    written = rival.modified_ns if rival.modified_ns is not None else rival.mtime_ns
    limits = job.dest.limits
    source = called(source, transfer.source)
    now, ours = source.entry, describe(source, None, job.options).generation
    for number in range(1, MOST + 1):
        key = conflict_key(transfer.key, written or 0, number, limits.max_segment or 255)
        there = job.dest.head(key, token)
        beside = replace(transfer, beside=key, expected=None, dest=None, check=False)
        if there is None:
            return beside, None
        if there.meta.generation == ours or look_again(job, transfer.source, there, token) is Decision.SAME:
            return replace(beside, source=now), Commit(key, there.entry.version, there.entry.size)
    raise VersionMismatch(f"{MOST} names for a second version beside it are taken", transfer.key)


def note_of(transfer: Transfer) -> str:
    """What the summary says of a file that was written beside another."""
    return f"{transfer.key}: somebody else's version stays, ours is {transfer.beside}"
