"""Execute one part of a large file: the unit that is repeated after a crash, and so the most that is sent twice."""

from __future__ import annotations

import hashlib

from awscrt.checksums import crc64nvme

from hugesync_tasks.errors import NotFound, SourceChanged, VersionMismatch
from hugesync_tasks.model import Part
from hugesync_tasks.parts import part_range
from hugesync_tasks.stages.begin import LargeFile
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.reading import whole
from hugesync_tasks.token import Token


def send_part(job: JobContext, large: LargeFile, number: int, listed: Part | None, token: Token) -> Part:
    """Bring part ``number`` to the destination; ``listed`` is what a former run left there under that number.

    A listed part counts only when its size and checksum agree with the source's bytes; else it is sent again.
    Raises SourceChanged, NoSuchUpload, and what the stores raise.
    """
    upload = large.upload
    start, length = part_range(number, upload.size, upload.part_size)
    key = job.source_key(upload.key)
    try:
        if job.copies_parts:
            return job.dest.copy_part(upload, number, job.source, key, large.source.version, start, length, token)
        body = _read(job, large, key, start, length, token)
    except (VersionMismatch, NotFound) as error:
        raise SourceChanged(f"the source changed while it was read ({error.words})", key) from error
    if listed is not None and _agrees(job, listed, body):
        return Part(number, length, listed.etag, crc64nvme(body))
    return job.dest.put_part(upload, number, body, token)


def _read(job: JobContext, large: LargeFile, key: str, start: int, length: int, token: Token) -> bytes:
    with job.source.open(key, large.source.version, token, start, length) as reader:
        body = whole(reader)
    if len(body) != length:  # a short read must never become a short object
        raise SourceChanged(f"read {len(body)} of {length} bytes", key)
    return body


def _agrees(job: JobContext, listed: Part, body: bytes) -> bool:
    if listed.size != len(body):
        return False
    if listed.crc64 is not None:
        return listed.crc64 == int(crc64nvme(body))
    if job.dest.limits.etag_is_md5:
        return listed.etag == hashlib.md5(body, usedforsecurity=False).hexdigest()
    return False
