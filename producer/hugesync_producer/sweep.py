"""After a job: what a killed process left behind, under names that are ours alone, is removed.

A kill between the exchange of two files and the removal of the old one leaves a temporary that no later put would meet:
its file compares equal. Between a commit and the deletion of its intent it leaves the intent, which the ledger still knows.
On stores nothing else is swept here: an upload without an intent may be another tool's.
"""

from __future__ import annotations

from contextlib import suppress

from hugesync_tasks.errors import NotFound, StoreError, Unreachable
from hugesync_tasks.model import Upload
from hugesync_tasks.stages.begin import leave
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.token import Token


def sweep_uploads(job: JobContext, ledger: Ledger, token: Token) -> None:
    """Forget the uploads that the ledger still knows when every file of the job has ended."""
    with suppress(Unreachable):  # they stay, with their intents, for the next run or whoever cleans up there
        for file in ledger.open_files(job.spec.job):
            fields = ledger.file(job.spec.job, file)
            with suppress(StoreError):
                if fields:
                    leave(job, fields, token)
                ledger.close_file(job.spec.job, file)


def sweep(job: JobContext, before: float, token: Token) -> None:
    """Remove temporaries of the destination that are older than ``before`` (seconds since the epoch): those of this run
    are gone already, and what is younger belongs to somebody at work."""
    if job.dest.limits.remote:
        return
    try:
        left = [(key, name) for key, name, begun in job.dest.list_uploads(token) if begun < before * 1e9]
    except NotFound:
        return
    for key, name in left:
        try:
            job.dest.abort(Upload(key, name, "", 0, 0), token)
        except StoreError:
            continue  # it stays listed by ``list_uploads``; nothing depends on its absence
