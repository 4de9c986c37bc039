"""Execute one part of a large file: the unit that is repeated after a crash, and so the most that is sent twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from awscrt.checksums import crc32c, crc64nvme

from hugesync_tasks.buffers.copying import Chunk, Counting, tee
from hugesync_tasks.delta.match import Matched
from hugesync_tasks.delta.wire import Row, pack
from hugesync_tasks.errors import (
    Corrupted,
    Disturbed,
    NeedsPerson,
    NoSuchUpload,
    NotFound,
    Permanent,
    SourceChanged,
    StoreError,
    VersionMismatch,
)
from hugesync_tasks.model import Part, Upload
from hugesync_tasks.parts import part_range
from hugesync_tasks.signature.blocks import hash_both
from hugesync_tasks.stages.basis import Delta
from hugesync_tasks.stages.begin import LargeFile
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.reading import into
from hugesync_tasks.stores.base import Body, Reader
from hugesync_tasks.token import Token

_CHECKSUMS = {"crc64nvme": crc64nvme, "crc32c": crc32c}  # by ``limits.copy_proof``


class CopyRefused(Permanent):
    """The store does not copy from the old object: the file must be sent whole."""


def send_part(
    job: JobContext,
    large: LargeFile,
    number: int,
    listed: Part | None,
    token: Token,
    hashed: int = 0,
    room: memoryview | None = None,
) -> tuple[Part, bytes]:
    """Bring part ``number`` to the destination; ``listed`` is what a former run left there under that number.

    A listed part counts only when its size and checksum agree with the source's bytes; else it is sent again. With the
    part comes the note of its hashes, in blocks of ``hashed`` bytes (0 = none is wanted). ``room``: memory that is lent for the part.
    Raises SourceChanged, NoSuchUpload, and what the stores raise.
    """
    upload = large.upload
    start, length = part_range(number, upload.size, upload.part_size)
    key = job.source_key(large.source)
    try:
        if job.copies_parts:
            version, told = large.source.version, large.source_id
            return job.dest.copy_part(upload, number, job.source, key, version, start, length, token, told), b""
    except Disturbed:
        raise
    except (VersionMismatch, NotFound) as error:
        raise _moved(error, key) from error
    body = _read(job, large, start, length, token, room)
    note = b""
    if hashed:
        note = pack(Matched(start, start + length, [], *hash_both(memoryview(body), hashed)))
    return _put(job, upload, number, listed, body, token), note


def make_part(
    job: JobContext,
    large: LargeFile,
    number: int,
    row: Row,
    listed: Part | None,
    token: Token,
    room: memoryview | None = None,
) -> Part:
    """Make part ``number`` of a delta as its row says: copied from the old object, or put together and sent.

    Raises VersionMismatch and NotFound where the old object is not what was planned against any more, CopyRefused where the
    store does not copy from it, else as ``send_part``.
    """
    delta, upload = large.delta, large.upload
    assert delta is not None
    if job.in_place:
        return _put_changes(job, large, number, row, token)
    basis = row.pieces[0][1]
    if len(row.pieces) == 1 and basis is not None:
        checksum = _of_source(job, large, row, token) if delta.way == "upload" else None
        try:
            part = job.dest.copy_part(
                upload,
                number,
                job.dest,
                upload.key,
                delta.basis_version,
                basis,
                row.length,
                token,
                delta.basis_id,
                checksum,
            )
        except Corrupted as error:
            raise CopyRefused(f"the old object is not what its signature says ({error.words})", upload.key) from error
        except (NoSuchUpload, NotFound, VersionMismatch):
            raise
        except (Permanent, NeedsPerson) as error:  # an archived object, a right that is missing
            raise CopyRefused(f"the store refused to copy from the old object ({error.words})", upload.key) from error
        token.reused(row.length)
        if checksum is not None:  # the store has proven the part
            return replace(part, crc64=checksum) if job.dest.limits.copy_proof == "crc64nvme" else part
        if part.crc64 is not None or (job.dest.limits.remote and job.dest.limits.full_crc64):
            return part  # the store knows it, or proves the whole at Complete
        return replace(part, crc64=_crc64(job, upload.key, delta.basis_version, basis, row.length, token))
    pieces, at = [], row.start
    for length, offset in row.pieces:
        lent = None if room is None else room[at - row.start : at - row.start + length]
        pieces.append(_piece(job, large, delta, at, length, offset, token, lent))
        at += length
    body = room if room is not None else pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return _put(job, upload, number, listed, body, token)


def _of_source(job: JobContext, large: LargeFile, row: Row, token: Token) -> int | None:
    """What the store holds a copied range to: the checksum of the bytes that the source has there."""
    algorithm = _CHECKSUMS.get(job.dest.limits.copy_proof)
    if algorithm is None:
        return None
    key = job.source_key(large.source)
    try:
        with job.source.open(key, large.source.version, token, row.start, row.length) as reader:
            value = _digested(reader, algorithm, Counting(token.moved))
    except (VersionMismatch, NotFound) as error:
        raise _moved(error, key) from error
    return value


def _put_changes(job: JobContext, large: LargeFile, number: int, row: Row, token: Token) -> Part:
    """Of a file that is changed in place: all of part ``number`` but what the file has there already."""
    assert large.delta is not None
    pieces: list[tuple[int, Body]] = []
    at = row.start
    for length, offset in row.pieces:
        if offset == at:
            token.reused(length)
        else:
            pieces.append((at, _piece(job, large, large.delta, at, length, offset, token)))
        at += length
    return job.dest.put_pieces(large.upload, number, pieces, token)


def _piece(
    job: JobContext,
    large: LargeFile,
    delta: Delta,
    at: int,
    length: int,
    offset: int | None,
    token: Token,
    room: memoryview | None = None,
) -> Body:
    """The bytes for ``at``: from the source (``offset`` None), or from ``offset`` of the basis. In ``room``, where it is lent."""
    if offset is None:
        body = _read(job, large, at, length, token, room)
        if job.between_folders:
            token.sent(length)  # no network is passed, but bytes that moved must show
        return body
    with job.dest.open(large.upload.key, delta.basis_version, token, offset, length) as reader:
        body = into(room, reader)
    _check_length(body, length, large.upload.key)
    token.reused(length)
    return body


def _put(job: JobContext, upload: Upload, number: int, listed: Part | None, body: Body, token: Token) -> Part:
    if listed is not None and _agrees(job, listed, body):
        return Part(number, len(body), listed.etag, crc64nvme(body))
    return job.dest.put_part(upload, number, body, token)


def _crc64(job: JobContext, key: str, version: str, start: int, length: int, token: Token) -> int:
    """Of a range of the old object, read back: where the store does not prove the whole, this does."""
    with job.dest.open(key, version, token, start, length) as reader:
        return _digested(reader, crc64nvme)


def _digested(reader: Reader, algorithm: Callable[[Chunk, int], int], *sinks: Counting) -> int:
    value = 0

    def digest(chunk: Chunk) -> None:
        nonlocal value
        value = algorithm(chunk, value)

    tee(reader, digest, *sinks)
    return value


def _moved(error: StoreError, key: str) -> SourceChanged:
    return SourceChanged(f"the source changed while it was read ({error.words})", key)


def _read(
    job: JobContext, large: LargeFile, start: int, length: int, token: Token, room: memoryview | None = None
) -> Body:
    key = job.source_key(large.source)
    try:
        with job.source.open(key, large.source.version, token, start, length) as reader:
            body = into(room, reader, token if job.between_folders else None)
    except (VersionMismatch, NotFound) as error:
        raise _moved(error, key) from error
    _check_length(body, length, key)
    return body


def _check_length(body: Body, length: int, key: str) -> None:
    """A short read must never become a short object, nor one that ends in what memory held before."""
    if len(body) != length:
        raise SourceChanged(f"read {len(body)} of {length} bytes", key)


def _agrees(job: JobContext, listed: Part, body: Body) -> bool:
    if listed.size != len(body):
        return False
    if listed.crc64 is not None:
        return listed.crc64 == int(crc64nvme(body))
    if job.dest.limits.etag_is_md5:
        return listed.etag == hashlib.md5(body, usedforsecurity=False).hexdigest()
    return False
