"""Changing a file where it stands (``--inplace``): only the ranges that change are written, and the inode stays.

The new bytes lie in the upload's temporary, a sparse file with holes where the file keeps its own bytes, so no second copy
needs room. Nothing of the file changes before both together have the CRC64NVME of the whole. From then on the change is not
atomic: a mark beside the temporary says that it was begun, so that whoever repeats it after a kill does not take our own
half for a rival's. Ranges that are kept are never written, so a repeat proves and writes the same again.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence
from hashlib import blake2b

from awscrt.checksums import crc64nvme

from hugesync_tasks.buffers.copying import Chunk, Counting, tee
from hugesync_tasks.errors import Corrupted, Permanent, VersionMismatch
from hugesync_tasks.model import Meta, Upload
from hugesync_tasks.stores import local_meta, local_ranges
from hugesync_tasks.stores.base import Stretch
from hugesync_tasks.stores.local_copy import copy_range, write_at
from hugesync_tasks.stores.local_names import version_of
from hugesync_tasks.token import Token

NOTE = "written in place: the conflict guard was best effort, and a crash would have left a mixture until the next run"
_MARK = struct.Struct(">Q8s")  # inode of the file that is being changed, checksum
_AT = 400  # behind the header of the ``.ranges``, before its first slot
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

assert local_ranges.HEADER <= _AT <= local_ranges.FIRST - _MARK.size


def change(
    folder: int, name: bytes, temp: int, ranges: int, upload: Upload, kept: Sequence[Stretch], meta: Meta,
    expected: str, crc64: int, token: Token,
) -> tuple[os.stat_result, tuple[str, ...]]:  # fmt: skip
    """Write what is not ``kept`` of the temporary ``temp`` into the file ``name``; its stat then, durable, and notes.

    Raises VersionMismatch where another version than ``expected`` stands there, Corrupted where file and temporary do not
    make ``crc64``, both with the file as it was; OSError.
    """
    try:
        file = os.open(name, _OPEN, dir_fd=folder)
    except FileNotFoundError as e:
        raise VersionMismatch(f"{upload.key}: it is gone", upload.key) from e
    try:
        before = os.fstat(file)
        if not stat.S_ISREG(before.st_mode):
            raise VersionMismatch(f"{upload.key}: no longer a regular file", upload.key)
        begun = _marked(ranges, upload) == before.st_ino
        if not begun and version_of(before) != expected:
            raise VersionMismatch(f"{upload.key}: another version is there now", upload.key)
        _check_kept(kept, min(before.st_size, upload.size), upload.key)
        _prove(file, temp, kept, upload, crc64, token)
        if not begun:
            if version_of(os.fstat(file)) != expected:  # while its bytes were proven
                raise VersionMismatch(f"{upload.key}: another version is there now", upload.key)
            write_at(ranges, _mark(upload, before.st_ino), _AT)
            os.fsync(ranges)
        os.ftruncate(file, upload.size)
        for start, length in _between(kept, upload.size):
            copy_range(temp, start, length, file, start, token, upload.key)
        notes = local_meta.apply(file, meta)
        os.fsync(file)
        return os.fstat(file), (*notes, NOTE)
    finally:
        os.close(file)


def _prove(file: int, temp: int, kept: Sequence[Stretch], upload: Upload, crc64: int, token: Token) -> None:
    crc, at = 0, 0

    def digest(chunk: Chunk) -> None:
        nonlocal crc
        crc = crc64nvme(chunk, crc)

    for start, length in (*kept, (upload.size, 0)):
        for fd, end in ((temp, start), (file, start + length)):
            if at < end:
                at += tee(fd, digest, Counting(token.moved), at=at, length=end - at, token=token)
            if at < end:
                raise Corrupted(f"{upload.key}: ends at {at} of {end} bytes", upload.key)
    if crc != crc64:
        raise Corrupted(f"{upload.key}: what is there and what was fetched are not the file that was sent", upload.key)


def _check_kept(kept: Sequence[Stretch], size: int, key: str) -> None:
    at = 0
    for start, length in kept:
        if start < at or length < 0 or start + length > size:
            raise Permanent(f"{key}: cannot keep {length} bytes at {start}", key)
        at = start + length


def _between(kept: Sequence[Stretch], size: int) -> list[Stretch]:
    """What lies between the kept stretches."""
    out, at = [], 0
    for start, length in (*kept, (size, 0)):
        if start > at:
            out.append((at, start - at))
        at = start + length
    return out


def _mark(upload: Upload, inode: int) -> bytes:
    digest = blake2b(upload.generation.encode() + inode.to_bytes(8, "big"), digest_size=8, person=b"hugesync mark")
    return _MARK.pack(inode, digest.digest())


def _marked(ranges: int, upload: Upload) -> int:
    """The inode of the file that this upload began to change; -1 where it did not."""
    raw = os.pread(ranges, _MARK.size, _AT)
    if len(raw) < _MARK.size:
        return -1
    inode: int = _MARK.unpack(raw)[0]
    return inode if _mark(upload, inode) == raw else -1
