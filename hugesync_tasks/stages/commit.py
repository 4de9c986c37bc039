"""Commit a large file: the only exactly-once point, and the store enforces it."""

from __future__ import annotations

from hugesync_tasks.errors import Corrupted, NoSuchUpload, StoreError, VersionMismatch
from hugesync_tasks.model import Commit, Outcome, Part
from hugesync_tasks.stages.begin import LargeFile, abandon, forget
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.verify import check_commit, whole_crc64
from hugesync_tasks.token import Token


def commit(job: JobContext, large: LargeFile, parts: list[Part], token: Token) -> Outcome:
    """Make the file visible if its source is still what was read and its destination still what was planned against.

    The outcome is done, or replan (the world moved; the upload is aborted and nothing is left). Raises StoreError.
    """
    upload = large.upload
    crc64 = whole_crc64(parts)
    head = job.source.head(job.source_key(upload.key), token, digest=True)
    if head is None or head.entry.version != large.source.version:
        abandon(job.dest, upload, token)
        return Outcome("replan", "source_changed", "the source changed during the run")
    if head.crc64 is not None and crc64 is not None and head.crc64 != crc64:
        abandon(job.dest, upload, token)
        raise Corrupted("the parts read do not add up to the source's CRC64NVME", upload.key)
    proven = head.crc64 is not None and crc64 is not None
    try:
        done = job.dest.complete(upload, parts, large.meta, job.expect(large.expected), crc64, token)
    except (VersionMismatch, NoSuchUpload) as error:
        # After a lost reply our own success looks like this. Only a HEAD can tell.
        ours = job.dest.head(upload.key, token, digest=True)
        if ours is None or ours.meta.generation != upload.generation or ours.entry.size != upload.size:
            abandon(job.dest, upload, token)
            reason = "conflict" if isinstance(error, VersionMismatch) else "upload_lost"
            return Outcome("replan", reason, error.of_file(), conflicts=int(reason == "conflict"))
        done = Commit(upload.key, ours.entry.version, ours.entry.size, "crc64nvme" if ours.crc64 == crc64 else "")
    verified, notes = check_commit(done, upload.size, proven), done.notes
    try:
        forget(job.dest, upload, token)
    except StoreError as error:  # the file is there: that its intent stays is a note, not a failure
        notes = (*notes, f"an upload's intent could not be deleted: {error.words}")
    return Outcome("done", how=large.how, verified=verified, notes=notes)
