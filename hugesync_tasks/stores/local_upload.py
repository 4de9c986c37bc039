"""Multi-part writes: a sparse temporary beside the target that any worker fills range by range, and its ``.ranges``.

The upload's id is the temporary's name and follows from the generation, so a repeat finds the same upload and the parts
that are already durable in it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex

from hugesync_tasks.errors import Corrupted, NoSuchUpload, NotFound, Permanent
from hugesync_tasks.model import Commit, Kind, Meta, Part, Upload
from hugesync_tasks.stores import local_litter, local_meta, local_ranges, local_temporary
from hugesync_tasks.stores.base import Body, Stretch
from hugesync_tasks.stores.beneath import Beneath
from hugesync_tasks.stores.local_commit import Publisher
from hugesync_tasks.stores.local_copy import copy_range, write_at, write_sparse
from hugesync_tasks.stores.local_errors import translated
from hugesync_tasks.stores.local_inplace import change
from hugesync_tasks.stores.local_names import Name, parse, ranges_of, upload_name, version_of
from hugesync_tasks.stores.local_read import open_regular, unchanged
from hugesync_tasks.stores.local_sync import sync_folder
from hugesync_tasks.stores.local_write import creation_mode
from hugesync_tasks.token import Token

_ID = re.compile(r"\.hugesync-[0-9a-f]{16}\.part")
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAX_SIZE = 8 << 60


class LocalUploads:
    """The upload half of ``LocalStore``; ``place`` is where it writes."""

    place: Beneath
    publisher: Publisher

    def create_upload(self, key: str, size: int, part_size: int, meta: Meta, token: Token) -> Upload:
        token.check()
        name = parse(key)
        if name.kind is not Kind.FILE:
            raise Permanent(f"{key}: only a file is written in parts", key)
        generation = meta.generation or token_hex(16)
        upload = Upload(key, upload_name(name.name, generation), generation, size, part_size)
        made: set[bytes] = set()
        with translated(key), self.place.folder(name.parent, made) as folder:
            created = not _adopt(folder, upload, name.name)
            if created:
                _create(folder, upload, name.name, creation_mode(meta))
                made.add(name.parent)
            try:
                for path in sorted(made):  # or a receipt could outlive its file
                    sync_folder(self.place, path)
            except OSError:
                if created:  # whoever gets no upload aborts none
                    _remove(folder, upload)
                raise
        return upload

    def put_part(self, upload: Upload, number: int, body: Body, token: Token) -> Part:
        from awscrt.checksums import crc64nvme

        token.check()
        _check_length(upload, number, len(body))
        part = Part(number, len(body), "", crc64nvme(body))
        with translated(upload.key), self._opened(upload) as (temp, ranges):
            write_sparse(temp, body, (number - 1) * upload.part_size)
            token.moved(len(body))
            return _record(temp, ranges, upload, part)

    def copy_range_into(
        self, upload: Upload, number: int, source: Beneath, source_name: Name, version: str, start: int, length: int,
        token: Token, paid: bool,
    ) -> Part:  # fmt: skip
        """``copy_part`` from a file below ``source``; ``paid`` as of ``copy_range``."""
        token.check()
        _check_length(upload, number, length)
        fd, st = open_regular(source, source_name, version)
        try:
            if start < 0 or start + length > st.st_size:
                raise Permanent(f"{source_name.key}: the range is not inside {st.st_size} bytes", source_name.key)
            with translated(upload.key), self._opened(upload) as (temp, ranges):
                copy_range(fd, start, length, temp, (number - 1) * upload.part_size, token, source_name.key, paid)
                unchanged(fd, st, source_name.key)
                return _record(temp, ranges, upload, Part(number, length, ""))
        finally:
            os.close(fd)

    def list_parts(self, upload: Upload, token: Token) -> list[Part]:
        token.check()
        with translated(upload.key), self._opened(upload) as (_, ranges):
            return local_ranges.read_parts(ranges, upload, parse(upload.key).name)

    def complete(
        self, upload: Upload, parts: list[Part], meta: Meta, expected: str | None, crc64: int | None, token: Token
    ) -> Commit:
        token.check()
        name = parse(upload.key)
        with translated(upload.key):
            with self._opened(upload) as (temp, ranges):
                _check_covered(upload, parts, local_ranges.read_parts(ranges, upload, name.name), crc64)
                notes = local_meta.apply(temp, meta)
                st = os.fstat(temp)
                if st.st_size != upload.size:
                    raise Corrupted(f"{upload.key}: the temporary file has {st.st_size} bytes", upload.key)
                os.fsync(temp)
            with self.place.folder(name.parent) as folder:
                temporary = upload.id.encode()
                st = self.publisher.publish(folder, temporary, name.name, expected, st.st_ino, upload.key)
                local_temporary.remove(folder, ranges_of(upload.id).encode())
            sync_folder(self.place, name.parent)
        return Commit(upload.key, version_of(st), upload.size, notes=(*notes, *self.publisher.notes))

    def put_pieces(self, upload: Upload, number: int, pieces: Sequence[tuple[int, Body]], token: Token) -> Part:
        token.check()
        length = local_ranges.part_length(upload, number)
        _check_length(upload, number, length)
        first = (number - 1) * upload.part_size
        with translated(upload.key), self._opened(upload) as (temp, _):
            for at, body in pieces:
                if not first <= at <= at + len(body) <= first + length:
                    raise Permanent(f"{upload.key}: {len(body)} bytes at {at} are not of part {number}", upload.key)
                write_sparse(temp, body, at)
                token.moved(len(body))
            os.fsync(temp)
        return Part(number, length, "")

    def overwrite(
        self, upload: Upload, kept: Sequence[Stretch], meta: Meta, expected: str, crc64: int, token: Token
    ) -> Commit:
        token.check()
        name = parse(upload.key)
        opened, beside = self._opened(upload), self.place.folder(name.parent)
        with translated(upload.key), opened as (temp, ranges), beside as folder:
            st, notes = change(folder, name.name, temp, ranges, upload, kept, meta, expected, crc64, token)
            _remove(folder, upload)
        return Commit(upload.key, version_of(st), upload.size, notes=notes)

    def abort(self, upload: Upload, token: Token) -> None:
        token.check()
        name = parse(upload.key)
        with translated(upload.key):
            try:
                with self.place.folder(name.parent) as folder:
                    for temporary in (upload.id, ranges_of(_checked_id(upload))):
                        try:
                            os.unlink(temporary, dir_fd=folder)
                        except FileNotFoundError:
                            pass
            except (FileNotFoundError, NotADirectoryError):
                pass  # no folder, no upload

    def held(self, upload: Upload, token: Token) -> int | None:
        """What the temporary takes on the disk: it is as long as its file from the beginning, and sparse."""
        token.check()
        name = parse(upload.key)
        try:
            with translated(upload.key), self.place.folder(name.parent) as folder:
                return os.stat(_checked_id(upload), dir_fd=folder, follow_symlinks=False).st_blocks * 512
        except NotFound as e:
            raise _gone(upload) from e

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        return local_litter.temporaries(self.place, token)

    @contextmanager
    def _opened(self, upload: Upload) -> Iterator[tuple[int, int]]:
        """Descriptors of the temporary and its ranges. Raises NoSuchUpload."""
        name = parse(upload.key)
        id = _checked_id(upload)
        fds: list[int] = []
        try:
            try:
                with self.place.folder(name.parent) as folder:
                    fds.extend(os.open(n, _OPEN, dir_fd=folder) for n in (id, ranges_of(id)))
            except (FileNotFoundError, NotADirectoryError) as e:
                raise _gone(upload) from e
            if not all(stat.S_ISREG(os.fstat(fd).st_mode) for fd in fds):
                raise _gone(upload)
            yield fds[0], fds[1]
        finally:
            for fd in fds:
                os.close(fd)


def _adopt(folder: int, upload: Upload, target: bytes) -> bool:
    """Whether the upload is there already, of the same size and part size."""
    try:
        ranges = os.open(ranges_of(upload.id), _OPEN, dir_fd=folder)
    except OSError:
        return False
    try:
        if local_ranges.read_header(ranges) != local_ranges.header(upload, target):
            return False
        st = os.stat(upload.id, dir_fd=folder, follow_symlinks=False)
        return stat.S_ISREG(st.st_mode) and st.st_size == upload.size
    except FileNotFoundError:
        return False
    finally:
        os.close(ranges)


def _create(folder: int, upload: Upload, target: bytes, mode: int) -> None:
    """Both files new, the ranges first: a temporary never stands beside another upload's ranges."""
    ranges_name = ranges_of(upload.id)
    _remove(folder, upload)
    flags = _OPEN | os.O_CREAT | os.O_EXCL
    try:
        ranges = os.open(ranges_name, flags, 0o600, dir_fd=folder)
        try:
            write_at(ranges, local_ranges.header(upload, target), 0)
            os.fsync(ranges)
        finally:
            os.close(ranges)
        temp = os.open(upload.id, flags, mode, dir_fd=folder)
        try:
            os.ftruncate(temp, upload.size)
            os.fsync(temp)
        finally:
            os.close(temp)
    except FileExistsError:
        if not _adopt(folder, upload, target):  # another worker began the same upload at this moment
            raise
    except OSError:
        _remove(folder, upload)
        raise


def _remove(folder: int, upload: Upload) -> None:
    for name in (upload.id, ranges_of(upload.id)):
        local_temporary.remove(folder, name.encode())


def _record(temp: int, ranges: int, upload: Upload, part: Part) -> Part:
    """The part is durable before its slot says so."""
    os.fdatasync(temp) if hasattr(os, "fdatasync") else os.fsync(temp)
    raw, offset = local_ranges.slot(upload, part)
    write_at(ranges, raw, offset)
    os.fdatasync(ranges) if hasattr(os, "fdatasync") else os.fsync(ranges)
    return Part(part.number, part.size, local_ranges.etag(part.crc64), part.crc64)


def _check_length(upload: Upload, number: int, length: int) -> None:
    want = local_ranges.part_length(upload, number)
    if number < 1 or length != want or (length == 0 and upload.size):
        raise Permanent(f"{upload.key}: part {number} has {length} bytes and must have {max(want, 0)}", upload.key)


def _check_covered(upload: Upload, parts: list[Part], there: list[Part], crc64: int | None) -> None:
    """The parts cover the file, each is on disk and is what the caller sent, and together they have its CRC."""
    total = local_ranges.part_total(upload)
    if sorted(p.number for p in parts) != list(range(1, total + 1)) or sum(p.size for p in parts) != upload.size:
        raise Permanent(f"{upload.key}: the parts do not cover {upload.size} bytes", upload.key)
    held = {p.number: p for p in there}
    if len(held) != total:
        raise Permanent(f"{upload.key}: {total - len(held)} parts are not on disk", upload.key)
    for part in parts:
        slot = held[part.number]
        if part.size != slot.size or (None not in (part.crc64, slot.crc64) and part.crc64 != slot.crc64):
            raise Corrupted(f"{upload.key}: part {part.number} on disk is not the one that was sent", upload.key)
    if crc64 is None or any(p.crc64 is None for p in there):
        return
    from awscrt.checksums import combine_crc64nvme

    whole = 0
    for part in there:
        whole = combine_crc64nvme(whole, part.crc64, part.size)
    if whole != crc64:
        raise Corrupted(f"{upload.key}: the parts together are not the file that was sent", upload.key)


def _checked_id(upload: Upload) -> str:
    """An id comes from a ledger or a message: it must never name anything but a temporary of ours."""
    if not _ID.fullmatch(upload.id):
        raise _gone(upload)
    return upload.id


def _gone(upload: Upload) -> NoSuchUpload:
    return NoSuchUpload(f"{upload.key}: no such upload", upload.key)
