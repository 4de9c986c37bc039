"""The tasks that compare one huge file, in ranges, by any workers: begin, compare a range, conclude. Nothing is written.

What has to be read is fixed at the beginning, and lies in the file's record as ``how``: "source" or "destination" (the other holds
a CRC64NVME; the ranges' own are combined and must give it), or "both" (compared range by range).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing

from awscrt.checksums import combine_crc64nvme

from hugesync_tasks import identity, measuring
from hugesync_tasks.filenotes import FileNotes
from hugesync_tasks.model import Entry, Meta, Outcome, Transfer, Upload
from hugesync_tasks.parts import part_count, part_range
from hugesync_tasks.spec import RULES_VERSION
from hugesync_tasks.stages.begin import LargeFile
from hugesync_tasks.stages.contents import (
    End,
    Found,
    Moved,
    What,
    by_digest,
    compare_contents,
    digest,
    ends,
    first_difference,
    held,
)
from hugesync_tasks.stages.equality import range_size, verdict
from hugesync_tasks.work import UploadLost, Work

_CRC = 8  # bytes of a note


def begin(work: Work) -> str:
    """By the digests that both ends hold where they do; else what is to be read is shared out."""
    transfer = Transfer.unwire(json.loads(work.task.payload)["transfer"])
    source, dest = transfer.source, transfer.dest
    assert dest is not None  # what is missing has no ranges
    ours, theirs = ends(work.job, source, dest)
    token = work.lease.token
    try:
        here, there = ours.digests(token), theirs.digests(token)
    except Moved as moved:
        return _over(work, Found(moved.what), source.size)
    found = held(here, there)
    if found is None and "crc64" not in here and "crc64" not in there and (here or there):
        found = compare_contents(work.job, source, dest, token)  # an MD5 is of the whole, and no sum of ranges
    if found is not None:
        return _over(work, found, source.size)
    how = "source" if "crc64" in there else "destination" if "crc64" in here else "both"
    generation = identity.generation(identity.fingerprint(source), dest.version, Meta(), RULES_VERSION)
    upload = Upload(transfer.key, "", generation, source.size, range_size(source.size, work.job.options))
    large = LargeFile(upload, Meta(), source, dest.version, how)
    mine = large.fields()
    work.set_upload(mine)
    count = part_count(upload.size, upload.part_size)
    work.settle({"file": mine, "steps": [("compare", count), ("conclude", 1)]})
    return f"{count} ranges of {how}"


def compare(work: Work) -> str:
    """One range."""
    return _of_file(work, _range)


def conclude(work: Work) -> str:
    """The whole, from its ranges."""
    return _of_file(work, _whole)


def _of_file(work: Work, step: Callable[[Work, LargeFile, End, End], Found | None]) -> str:
    large = work.large
    dest = Entry(large.upload.key, large.source.kind, large.upload.size, version=large.expected or "")
    try:
        found = step(work, large, *ends(work.job, large.source, dest))
    except Moved as moved:
        found = Found(moved.what)
    if found is not None:
        return _over(work, found, large.upload.size)
    number = int(json.loads(work.task.payload)["range"])
    work.settle({"noted": number})
    return f"range {number}"


def _range(work: Work, large: LargeFile, ours: End, theirs: End) -> Found | None:
    number, token, upload = int(json.loads(work.task.payload)["range"]), work.lease.token, large.upload
    start, length = part_range(number + 1, upload.size, upload.part_size)
    if large.how == "both":
        with closing(ours.chunks(token, start, length)) as mine, closing(theirs.chunks(token, start, length)) as other:
            at = first_difference(mine, other)
        if at is None:
            return None
        ours.check(token)  # of versions that are still there
        theirs.check(token)
        return Found(What.DIFFERENT, f"at byte {start + at}")
    end = ours if large.how == "source" else theirs
    crc = int(digest(end.chunks(token, start, length), "crc64"))
    FileNotes(work, large).keep({f"c{number}": crc.to_bytes(_CRC, "big")})
    return None


def _whole(work: Work, large: LargeFile, ours: End, theirs: End) -> Found:
    token, upload = work.lease.token, large.upload
    here, there = ours.digests(token), theirs.digests(token)
    if large.how == "both":
        return Found(What.EQUAL)
    count, total = part_count(upload.size, upload.part_size), 0
    for number, note in enumerate(FileNotes(work, large).crcs(count)):
        total = combine_crc64nvme(
            total, int.from_bytes(note, "big"), part_range(number + 1, upload.size, upload.part_size)[1]
        )
    holds = there if large.how == "source" else here
    if "crc64" not in holds:
        raise UploadLost("the store shows no checksum any more")
    return by_digest("crc64", holds["crc64"] == total)


def _over(work: Work, found: Found, size: int) -> str:
    outcome: Outcome = verdict(found)
    work.settle({"error": outcome.wire()}, close_file=work.task.file if outcome.state == "skipped" else "")
    measuring.finished(outcome, size)
    return f"{outcome.state} {outcome.message}"
