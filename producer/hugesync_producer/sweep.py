"""After a resumed job: what the killed run left on a filesystem, under names that are ours alone, is removed.

A kill between the exchange of two files and the removal of the old one leaves a temporary that no later put would meet:
its file compares equal. On stores nothing is swept here: an upload without an intent may be another tool's.
"""

from __future__ import annotations

from hugesync_tasks.errors import NotFound, StoreError
from hugesync_tasks.model import Upload
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.token import Token


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
