"""Commit a large file: the only exactly-once point, and the store enforces it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hugesync_tasks.errors import Corrupted, NoSuchUpload, StoreError, VersionMismatch
from hugesync_tasks.model import Commit, Outcome, Part, Transfer
from hugesync_tasks.stages.basis import Delta
from hugesync_tasks.stages.begin import LargeFile
from hugesync_tasks.stages.beside import note_of
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.intents import abandon, forget
from hugesync_tasks.stages.readback import confirmed
from hugesync_tasks.stages.verify import check_commit, whole_crc64
from hugesync_tasks.stores.base import Limits, Stretch
from hugesync_tasks.token import Token

UNPROVEN = "unproven"  # the reason of a replan: the file is to be sent whole


def commit(
    job: JobContext,
    large: LargeFile,
    parts: list[Part],
    token: Token,
    afterwards: Callable[[Commit], str] = lambda done: "",
    kept: Sequence[Stretch] = (),
) -> Outcome:
    """Make the file visible if its source is still what was read and its destination still what was planned against.

    The outcome is done, or replan (the world moved, or a delta could not be proven; the upload is aborted and nothing is left),
    or failed (``--verify``: it is there, and is not what was sent).
    ``afterwards`` is called once it is visible and may say a note. ``kept``: of a delta written in place, what the file has
    already. Raises StoreError.
    """
    upload = large.upload
    crc64 = whole_crc64(parts)
    head = job.source.head(job.source_key(large.source), token, digest=True)
    if head is None or head.entry.version != large.source.version:
        abandon(job.dest, upload, token)
        return Outcome("replan", "source_changed", "the source changed during the run")
    in_place = large.delta is not None and job.in_place
    if large.delta is not None:
        crc64, doubt = _delta_crc64(large.delta, head.crc64, crc64, in_place or _proves(large.delta, job.dest.limits))
        if doubt:
            abandon(job.dest, upload, token)
            return Outcome("replan", UNPROVEN, doubt)
    if head.crc64 is not None and crc64 is not None and head.crc64 != crc64:
        abandon(job.dest, upload, token)
        raise Corrupted("the parts read do not add up to the source's CRC64NVME", upload.key)
    proven = head.crc64 is not None and crc64 is not None
    try:
        if in_place and large.expected is not None and crc64 is not None:
            done = job.dest.overwrite(upload, kept, large.meta, large.expected, crc64, token)
        else:
            done = job.dest.complete(upload, parts, large.meta, job.expect(large.expected), crc64, token)
    except Corrupted as error:
        if large.delta is None:
            raise
        abandon(job.dest, upload, token)
        return Outcome("replan", UNPROVEN, f"the delta did not make the file: {error.words}")
    except (VersionMismatch, NoSuchUpload) as error:
        # After a lost reply our own success looks like this. Only a HEAD can tell.
        ours = job.dest.head(upload.key, token, digest=True)
        if ours is None or ours.meta.generation != upload.generation or ours.entry.size != upload.size:
            abandon(job.dest, upload, token)
            reason = "conflict" if isinstance(error, VersionMismatch) else "upload_lost"
            return Outcome("replan", reason, error.of_file(), conflicts=int(reason == "conflict"))
        done = Commit(
            upload.key,
            ours.entry.version,
            ours.entry.size,
            "crc64nvme" if ours.crc64 == crc64 else "",
            version_id=ours.version_id,
            litter=True,
        )
    verified, notes = check_commit(done, upload.size, proven), done.notes
    try:
        if done.litter:  # whoever made it visible ended, or did not hear of it, before all was tidied up
            job.dest.abort(upload, token)
        forget(job.dest, upload, token)
    except StoreError as error:  # the file is there: that something stays beside it is a note, not a failure
        notes = (*notes, f"what was left of an upload could not be deleted: {error.words}")
    if upload.key != large.source.key:
        notes = (*notes, note_of(Transfer(large.source, beside=upload.key)))
    outcome = Outcome("done", how=large.how, verified=verified, notes=notes)
    outcome = confirmed(job, outcome, done, large.source, crc64, token)
    if outcome.state != "done":
        return outcome
    made = large.delta is not None and large.delta.signs
    generated = "there was no signature: one was made by reading what was at the destination" if made else ""
    said = (afterwards(done), f"sent whole: {large.whole}" if large.whole else "", generated)
    return replace(outcome, notes=(*notes, *filter(None, said)))


def _proves(delta: Delta, limits: Limits) -> bool:
    """Whether the store holds the whole, or held every copied range, to the source's own bytes."""
    return limits.full_crc64 or bool(limits.copy_proof and delta.way == "upload")


def _delta_crc64(delta: Delta, of_source: int | None, of_parts: int | None, proves: bool) -> tuple[int | None, str]:
    """The CRC64NVME that the result must have, and why it cannot be published, or "". A signature may be anybody's work:
    nothing that it says is believed before the whole is proven by the source's own bytes."""
    wanted = delta.crc64 if delta.way != "download" else of_source
    if wanted is None:
        return None, "the source's digest is not known any more"
    if of_parts is None and not proves:
        return None, "the parts' digests are not known"
    if of_parts is not None and of_parts != wanted:
        return None, "the parts do not add up to the source: a signature was wrong"
    return wanted, ""
