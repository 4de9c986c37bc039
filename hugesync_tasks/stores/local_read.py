"""Reading a local file, pinned: the bytes that come out are those of one version or the read fails."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from hugesync_tasks.buffers import copying
from hugesync_tasks.errors import NotFound, Permanent, SourceChanged, VersionMismatch
from hugesync_tasks.model import Entry, Head
from hugesync_tasks.stores.base import MIB
from hugesync_tasks.stores.beneath import Beneath
from hugesync_tasks.stores.local_errors import store_error, translated
from hugesync_tasks.stores.local_names import Name, entry_of, meta_of, version_of
from hugesync_tasks.token import Token

CHUNK = MIB
_READ = os.O_RDONLY | os.O_NONBLOCK  # a FIFO in the file's place must not make the open wait for ever


def open_regular(place: Beneath, name: Name, version: str) -> tuple[int, os.stat_result]:
    """The descriptor and stat of a regular file that is ``version`` ("" = any). Raises NotFound, VersionMismatch."""
    try:
        fd = place.open(name.path, _READ)
    except NotADirectoryError as e:
        raise NotFound(f"{name.key}: not found", name.key) from e
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.ENXIO) and head_of(place, name) is not None:
            raise VersionMismatch(f"{name.key}: no longer a regular file", name.key) from e  # a symlink, a socket
        raise store_error(e, name.key) from e
    try:
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode):
            raise VersionMismatch(f"{name.key}: no longer a regular file", name.key)
        if version not in ("", version_of(st)):
            raise VersionMismatch(f"{name.key}: changed since it was looked at", name.key)
    except BaseException:
        os.close(fd)
        raise
    return fd, st


def unchanged(fd: int, st: os.stat_result, key: str) -> None:
    """Raise SourceChanged where the open file is no longer what ``st`` showed."""
    if version_of(os.fstat(fd)) != version_of(st):
        raise SourceChanged(f"{key}: changed while it was read", key)


class FileReader:
    """A range of an open regular file in chunks of at most 1 MiB."""

    def __init__(self, fd: int, st: os.stat_result, name: Name, start: int, length: int | None, token: Token) -> None:
        self._fd, self._st, self._key, self._token = fd, st, name.key, token
        self._at = start
        self._end = st.st_size if length is None else start + length
        entry = entry_of(name.key, st)
        self.head = Head(entry, meta_of(entry))
        if start < 0 or not start <= self._end <= st.st_size:
            self.close()
            raise Permanent(f"{name.key}: the range {start}-{self._end} is not inside {st.st_size} bytes", name.key)
        if self._end - start > 8 * CHUNK and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, start, self._end - start, os.POSIX_FADV_SEQUENTIAL)

    def __iter__(self) -> Iterator[bytes]:
        with translated(self._key):
            to_eof = self._end == self._st.st_size
            while self._at < self._end:
                want = min(CHUNK, self._end - self._at)
                last = want == self._end - self._at
                chunk = os.pread(self._fd, want + (to_eof and last), self._at)  # one more than there must be
                if len(chunk) > want:
                    raise SourceChanged(f"{self._key}: grew while it was read", self._key)
                if not chunk:
                    raise SourceChanged(f"{self._key}: shrank while it was read", self._key)
                self._at += len(chunk)
                if self._at == self._end:
                    unchanged(self._fd, self._st, self._key)
                self._token.moved(len(chunk))
                yield chunk
            if self._end == 0 == self._st.st_size:
                self._token.check()
                unchanged(self._fd, self._st, self._key)

    def fill(self, room: memoryview) -> Iterator[int] | None:
        """The range into ``room``, without a copy in between."""
        return self._filled(room) if len(room) == self._end - self._at and len(room) else None

    def _filled(self, room: memoryview) -> Iterator[int]:
        first, step = self._at, copying.piece()
        with translated(self._key):
            while self._at < self._end:
                at = self._at - first
                n = os.preadv(self._fd, [room[at : at + step]], self._at)
                if n == 0:
                    raise SourceChanged(f"{self._key}: shrank while it was read", self._key)
                self._at += n
                if self._at == self._end:
                    if self._end == self._st.st_size and os.pread(self._fd, 1, self._end):
                        raise SourceChanged(f"{self._key}: grew while it was read", self._key)
                    unchanged(self._fd, self._st, self._key)
                self._token.moved(n)
                yield n

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> FileReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class LinkReader:
    """A symlink's target as the bytes of an object."""

    def __init__(self, entry: Entry, target: bytes, token: Token) -> None:
        self.head = Head(entry, meta_of(entry))
        self._target, self._token = target, token

    def __iter__(self) -> Iterator[bytes]:
        self._token.moved(len(self._target))
        if self._target:
            yield self._target

    def __enter__(self) -> LinkReader:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def read_link(place: Beneath, name: Name, version: str) -> tuple[Entry, bytes]:
    """A link's entry and target. Raises NotFound; VersionMismatch where it is another version, or no link."""
    with translated(name.key), place.folder(name.parent) as folder:
        st = os.stat(name.name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISLNK(st.st_mode):
            raise VersionMismatch(f"{name.key}: no longer a symlink", name.key)
        target = os.readlink(name.name, dir_fd=folder)
        after = os.stat(name.name, dir_fd=folder, follow_symlinks=False)
    if version_of(after) != version_of(st) or version not in ("", version_of(st)):
        raise VersionMismatch(f"{name.key}: changed since it was looked at", name.key)
    return entry_of(name.key, st), target


def head_of(place: Beneath, name: Name) -> Head | None:
    """What is there now under the key's path, whatever its kind, with the key as it was asked for."""
    try:
        with place.folder(name.parent) as folder:
            st = os.stat(name.name, dir_fd=folder, follow_symlinks=place.follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise store_error(e, name.key) from e
    entry = entry_of(name.key, st)
    return Head(entry, meta_of(entry))
