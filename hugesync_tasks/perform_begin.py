"""The task that begins a large file. Its generation is in the ledger before its upload is opened: of whoever is killed in between
a record stays, by which the next one to begin the file, or the end of the job, finds what was opened.
"""

from __future__ import annotations

import json

from hugesync_tasks.errors import SourceChanged, StoreError
from hugesync_tasks.model import Transfer
from hugesync_tasks.stages.begin import LargeFile, leave
from hugesync_tasks.stages.begin import begin as begin_file
from hugesync_tasks.stages.intents import put_intent, take_back
from hugesync_tasks.work import UploadLost, Work


def begin(work: Work) -> str:
    """Find the upload that an earlier attempt or run left, or open one; of a file that goes as a delta say what is to be done first."""
    job, token = work.job, work.lease.token
    process, todo = work.process, json.loads(work.task.payload)
    before = dict(work.claim.file) or todo.get("former", {})
    stands: dict[str, str] = {}

    def announce(large: LargeFile) -> None:
        token.moved(0)  # who stood still for too long must not touch what others have begun since
        if before and before["gen"] != large.upload.generation:  # source or destination changed: nobody goes on with it
            leave(job, before, token)
        if large.delta is not None or job.dest.limits.intents:
            stands.update(work.set_upload(large.fields()))

    of = (Transfer.unwire(todo["transfer"]), token, process.budget.total, process.memory_for, todo["whole"])
    try:
        large, listed = begin_file(job, *of, process.budget.limit, announce)
    except SourceChanged as error:
        return work.replan("source_changed", error.of_file())
    except StoreError:
        if stands and not stands["upload"] and before.get("gen") != stands["gen"]:
            work.close_unbegun(stands["gen"])  # what failed here left nothing, and a record is of what is in flight
        raise
    mine = large.fields()
    if large.delta is None:
        try:
            stands = work.set_upload(mine)
        except UploadLost:  # nobody else would ever know of what was just begun
            if not listed:
                take_back(job.dest, large.upload, token)
            raise
    elif not stands["upload"]:
        steps = [("sign", large.delta.signing), ("match", large.delta.matching(large.upload.size)), ("lay", 1)]
        work.settle({"file": mine, "steps": steps})
        return "a delta is looked for"
    if stands["upload"] != mine["upload"] and not mine["upload"]:
        large, listed = LargeFile.of(stands), []  # another coordinator's delta was laid out: it goes on
    elif stands["upload"] != mine["upload"]:
        # Somebody began the same generation first; two uploads of it would waste one, and only theirs has receipts.
        if job.dest.limits.intents:
            job.dest.abort(large.upload, token)
            put_intent(job.dest, LargeFile.of(stands).upload, token)
        large, listed = LargeFile.of(stands), []
    work.settle({"file": large.fields(), "listed": [p.wire() for p in listed]})
    return f"{large.fields()['total']} parts"
