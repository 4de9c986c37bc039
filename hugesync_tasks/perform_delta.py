"""The tasks that find a delta: sign a range of the basis, match a range, lay out the parts."""

from __future__ import annotations

import json
from dataclasses import replace

from hugesync_tasks.errors import NotFound, SourceChanged, VersionMismatch
from hugesync_tasks.filenotes import FileNotes
from hugesync_tasks.signature.format import Unusable
from hugesync_tasks.stages.basis import BUFFERS
from hugesync_tasks.stages.begin import open_upload
from hugesync_tasks.stages.intents import take_back
from hugesync_tasks.stages.laying import blocks_of, lay, saves_nothing
from hugesync_tasks.stages.match import match_range, sign_range
from hugesync_tasks.stores.base import MIB
from hugesync_tasks.work import UploadLost, Work


def sign(work: Work) -> str:
    """Hash one range of a basis that has no signature."""
    return _found(work, "s")


def match(work: Work) -> str:
    """Match one range against a signature."""
    return _found(work, "m")


def _found(work: Work, kind: str) -> str:
    large = work.large
    notes, number = FileNotes(work, large), int(json.loads(work.task.payload)["range"])
    key, delta, token = large.upload.key, large.delta, work.lease.token
    assert delta is not None
    if kind == "m":
        work.process.begin_to_match()
    try:
        with work.process.budget.hold(BUFFERS * max(delta.block, 8 * MIB), token):
            if kind == "s":
                found = sign_range(work.job, key, delta, number, token)
            else:
                found = match_range(work.job, large.source, delta, notes.signatures()[0], number, token)
        notes.keep_range(kind, number, found)
    except SourceChanged as error:
        return work.replan("source_changed", error.of_file())
    except (VersionMismatch, NotFound) as error:
        return work.replan("conflict", error.of_file())
    except Unusable as error:
        return work.replan("upload_lost", str(error))
    work.settle({"noted": number})
    return f"range {number}, {sum(c.length for c in found.copies)} of {found.end - found.start} bytes are known"


def lay_out(work: Work) -> str:
    """Make parts of what was matched and open their upload."""
    large = work.large
    notes, delta, upload, job = FileNotes(work, large), large.delta, large.upload, work.job
    assert delta is not None
    try:
        ranges = notes.ranges("m", delta.matching(upload.size))
        signatures = notes.signatures() if delta.way != "upload" else []
        blocks, most = blocks_of(job, upload.key, delta, work.lease.token), work.process.budget.total
        laid = lay(delta, upload.size, ranges, signatures, job.dest.limits, upload.part_size, most, blocks)
        if laid is None:
            large = replace(large, how="full", delta=None, total=0, whole=saves_nothing(job.dest.limits))
        else:
            large = replace(large, delta=laid.delta, total=laid.total)
            notes.keep_rows(laid.rows)  # before the upload's id: whoever finds that finds these, too
        opened, listed = open_upload(job, upload.key, upload.size, upload.part_size, large.meta, work.lease.token)
    except Unusable as error:
        return work.replan("upload_lost", str(error))
    mine = replace(large, upload=opened).fields()
    try:
        stands = work.set_upload(mine)
    except UploadLost:
        if not listed:
            take_back(job.dest, opened, work.lease.token)
        raise
    if stands["upload"] != mine["upload"]:
        if job.dest.limits.intents:
            job.dest.abort(opened, work.lease.token)
        return work.replan("upload_lost", "another upload of this file was begun")
    work.settle({"file": mine, "listed": [p.wire() for p in listed]})
    return f"{large.total or mine['total']} parts"
