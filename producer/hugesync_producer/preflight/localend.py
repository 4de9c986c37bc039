"""What one operation costs on a mounted filesystem, where the page cache cannot flatter it: what is read is dropped from the
cache first, what is written is made durable before it counts.

What is written never has a name for longer than it takes to drop it: ``O_TMPFILE``, or where that is not known a file that is
unlinked as soon as it is open. What is in the way of another's kill is the watchdog's, by its name.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable

from hugesync_producer.preflight.samples import SMALL, Read
from hugesync_producer.preflight.values import MIB
from hugesync_tasks.model import Entry
from hugesync_tasks.names import decode_name
from hugesync_tasks.stores import local_kernel

PER_SYNC = 64  # small files that share one syncfs; a job's batches share it among up to 512
_NOATIME = getattr(os, "O_NOATIME", 0)


def reader_of(root: str) -> Read:
    """Reads files below ``root``, which are left as they are, their times of access too where the system lets us."""
    folder = os.fsencode(root)

    def read(entry: Entry, start: int, length: int) -> int:
        fd = open_quietly(os.path.join(folder, decode_name(entry.key)))
        try:
            alone(fd)
            drop(fd)
            read = 0
            while read < length:
                body = os.pread(fd, min(MIB, length - read), start + read)
                if not body:
                    break  # it is shorter now
                read += len(body)
            drop(fd)
            return read
        finally:
            os.close(fd)

    return read


class LocalScratch:
    """Writes in ``folder`` what nobody will see. ``tag``: what any name begins with that may stand there for a moment."""

    def __init__(self, folder: str, tag: str) -> None:
        self.folder, self._tag = folder, tag
        self._turn = itertools.count()
        self._named = False  # O_TMPFILE is not known here
        self._body = os.urandom(MIB)  # what a disk or filesystem compresses would flatter it
        self._dir = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._dir)

    def write_small(self) -> int:
        """A new name, 4 KiB, and no name again; one in 64 pays for the durability of all."""
        turn = next(self._turn)
        fd = self._unlinked(named=True)
        try:
            os.write(fd, self._body[:SMALL])
            if turn % PER_SYNC == PER_SYNC - 1:
                self._sync(fd)
        finally:
            os.close(fd)
        return SMALL

    def write_chunk(self, size: int) -> int:
        """``size`` bytes into a file of its own, durable."""
        fd = self._unlinked()
        try:
            self._fill(fd, size)
            os.fsync(fd)
            drop(fd)
            return size
        finally:
            os.close(fd)

    def reader(self, size: int) -> tuple[Callable[[], int], Callable[[], None]]:
        """(reads that written file back from the disk in chunks of up to 1 MiB, lets go of it)."""
        fd, turn = self._unlinked(), itertools.count()
        alone(fd)
        self._fill(fd, size)
        os.fsync(fd)

        def read() -> int:
            step = min(MIB, size)
            start = next(turn) * step % size
            drop(fd)
            return len(os.pread(fd, step, start))

        return read, lambda: os.close(fd)

    def _fill(self, fd: int, size: int) -> None:
        written = 0
        while written < size:
            written += os.write(fd, self._body[: min(MIB, size - written)])

    def _unlinked(self, named: bool = False) -> int:
        if not named and not self._named and hasattr(os, "O_TMPFILE"):
            try:
                return os.open(self.folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                    raise
                self._named = True
        name = f"{self._tag}-{next(self._turn)}"
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._dir)
        os.unlink(name, dir_fd=self._dir)
        return fd

    def _sync(self, fd: int) -> None:
        try:
            local_kernel.syncfs(fd)
        except OSError:
            os.fsync(fd)


def open_quietly(path: bytes) -> int:
    """For reading, without a new time of access where this user may have that. Raises OSError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags | _NOATIME)
    except PermissionError:
        return os.open(path, flags)


def drop(fd: int) -> None:
    """Forget what the page cache holds of this file. The whole of it: a kernel that caches in large pieces keeps those which a
    shorter stretch only cuts. What is not on the disk yet stays."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def alone(fd: int) -> None:
    """Nothing is read ahead: what one stream asks for does not come to another for nothing."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)


def may_write(folder: str) -> str:
    """Why nothing can be written in ``folder`` by this user; "" where it can."""
    if not os.access(folder, os.W_OK | os.X_OK):
        reason = "read-only filesystem" if _read_only(folder) else "permission denied"
        return f"{folder}: {reason}"
    return ""


def _read_only(folder: str) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False
