"""Path confinement: everything below one root folder is opened without leaving it or passing through a symlink.

Where the kernel has openat2 one call resolves a whole path; elsewhere (macOS, old kernels, strict sandboxes) the path
is walked folder by folder, each opened by O_NOFOLLOW relative to the one before. A check of the path's text followed
by an ordinary open must never stand in for this: between the two a folder can become a symlink.

Folders are opened for each operation and not kept: openat2 and close together cost 3 µs, and a kept descriptor would
go on writing into a folder that was moved out of the root.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from hugesync_tasks.stores import local_kernel as kernel

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_RESOLVE = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS
_O_PATH: int = getattr(os, "O_PATH", 0)  # enters a folder that may not be listed


class Beneath:
    """One root folder. Paths are bytes relative to it, already validated (``local_names``); ``b""`` is the root.

    ``follow``: symlinks are followed wherever they lead (``--copy-links``); such an instance only ever reads.
    ``use_openat2``: None = where the kernel allows it. All methods raise OSError; ELOOP: a symlink is in the path.
    """

    def __init__(self, root: bytes, follow: bool = False, use_openat2: bool | None = None) -> None:
        self.root = root
        self.follow = follow
        self._use_openat2 = use_openat2
        self._fd: int | None = None
        self._old: list[int] = []
        self._lock = Lock()

    def root_fd(self) -> int:
        """The root's descriptor, opened on first use; FileNotFoundError while there is no root."""
        with self._lock:
            if self._fd is None:
                self._fd = _open_folder(self.root, None)
                if self._use_openat2 is None:
                    self._use_openat2 = _can_openat2(self._fd)
            return self._fd

    def make_root(self) -> int:
        """``root_fd``, creating the root and what is missing above it."""
        try:
            return self.root_fd()
        except FileNotFoundError:
            os.makedirs(self.root, exist_ok=True)
            above = os.open(os.path.dirname(self.root.rstrip(b"/")) or b".", FOLDER)
            try:
                os.fsync(above)
            finally:
                os.close(above)
            return self.root_fd()

    def open(self, path: bytes, flags: int) -> int:
        """Open an existing file or folder; the descriptor is the caller's. ``flags`` without O_CREAT."""
        flags |= os.O_CLOEXEC
        root = self.root_fd()
        if self.follow:
            return os.open(path or b".", flags, dir_fd=root)
        if self._use_openat2:  # no O_NOFOLLOW: with it a symlink in a folder's place would be ENOTDIR, not ELOOP
            return kernel.openat2(root, path or b".", flags, _RESOLVE)
        flags |= os.O_NOFOLLOW
        parent, _, name = path.rpartition(b"/")
        fd = self._walk(parent, None)
        try:
            return _open_last(name or b".", flags, fd)
        finally:
            os.close(fd)

    @contextmanager
    def folder(self, path: bytes, made: set[bytes] | None = None) -> Iterator[int]:
        """A folder's descriptor for the block. With ``made``, missing folders are created (the root too), and the
        paths of the folders that got a new child are added to it: they must be synced."""
        if made is None:
            fd = self._open_folder(path)
        else:
            self.make_root()
            try:
                fd = self._open_folder(path)
            except FileNotFoundError:
                self._forget_removed_root()
                self.make_root()
                fd = self._walk(path, made)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open_folder(self, path: bytes) -> int:
        try:
            return self.open(path, FOLDER)
        except PermissionError:
            if not _O_PATH:
                raise
            return self.open(path, _O_PATH | os.O_DIRECTORY)

    def _walk(self, path: bytes, made: set[bytes] | None) -> int:
        fd = os.dup(self.root_fd())
        done: list[bytes] = []
        try:
            for name in path.split(b"/") if path else ():
                created = made is not None and _mkdir(name, fd)
                if created and made is not None:
                    made.add(b"/".join(done))
                below = _open_folder(name, fd)
                os.close(fd)
                fd = below
                if created and (mode := os.fstat(fd).st_mode) & 0o700 != 0o700:
                    os.fchmod(fd, stat.S_IMODE(mode) | 0o700)  # whatever the umask, we must be able to fill it
                done.append(name)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _forget_removed_root(self) -> None:
        with self._lock:
            if self._fd is not None and os.fstat(self._fd).st_nlink == 0:
                self._old.append(self._fd)  # another thread may be using it
                self._fd = None

    def close(self) -> None:
        with self._lock:
            for fd in [*self._old, *([] if self._fd is None else [self._fd])]:
                os.close(fd)
            self._old, self._fd = [], None


def _can_openat2(fd: int) -> bool:
    try:
        os.close(kernel.openat2(fd, b".", FOLDER, _RESOLVE))
    except OSError:  # ENOSYS; EPERM from a sandbox that does not know the call
        return False
    return True


def _open_folder(name: bytes, dir_fd: int | None) -> int:
    """Relative to ``dir_fd`` never through a symlink; the root itself (no ``dir_fd``) may be one: the user named it."""
    flags = FOLDER if dir_fd is None else FOLDER | os.O_NOFOLLOW
    try:
        return _open_last(name, flags, dir_fd)
    except PermissionError:
        if not _O_PATH:
            raise
        return _open_last(name, flags | _O_PATH, dir_fd)


def _open_last(name: bytes, flags: int, dir_fd: int | None) -> int:
    try:
        return os.open(name, flags, dir_fd=dir_fd)
    except NotADirectoryError:  # what Linux says of a symlink under O_DIRECTORY | O_NOFOLLOW
        if dir_fd is not None and stat.S_ISLNK(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise


def _mkdir(name: bytes, dir_fd: int) -> bool:
    try:
        os.mkdir(name, dir_fd=dir_fd)
    except FileExistsError:
        return False
    return True
