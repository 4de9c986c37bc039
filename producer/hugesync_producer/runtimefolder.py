"""The short-lived folder of one embedded job: its server's socket, and the temporary files of its worker.

``BASE/hugesync-<random>/``, 0700, locked by the process that made it for as long as that lives. So a killed job's folder is
known by its free lock, and the next job of this user removes it; a living job's is never touched. BASE is the runtime
folder, else the one for temporary files.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hugesync_tasks.errors import Unreachable, UsageError

LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is 108, macOS's 104
_PREFIX = "hugesync-"
_NAME = re.compile(_PREFIX + "[a-z0-9_]{8}")  # as mkdtemp makes them
_SOCKET, _TEMPORARY = "redis.sock", "tmp"  # all that ever lies in it: a folder with anything else in it is not ours


class RuntimeFolder:
    """One folder, made and locked from the beginning. ``close`` removes it and may be called twice."""

    def __init__(self, runtime_dir: Path | None = None) -> None:
        """Raises Unreachable where no place for it is short enough and writable."""
        self._lock: int | None
        self.path, self._lock = _make(_bases(runtime_dir))

    @property
    def socket(self) -> Path:
        """Where the server listens; at most 100 bytes."""
        return self.path / _SOCKET

    @property
    def temporary(self) -> Path:
        """The worker's TMPDIR: it is killed in the end, and removes nothing itself."""
        return self.path / _TEMPORARY

    def close(self) -> None:
        if self._lock is not None:
            _remove(self.path, self._lock)
            os.close(self._lock)
            self._lock = None


def refuse_unusable(runtime_dir: Path) -> None:
    """Raises UsageError where a folder that somebody asked for cannot be used: to take another one in silence is to leave
    the socket where nobody looks for it."""
    if why := _unusable(runtime_dir):
        raise UsageError(f"runtime_dir (HUGESYNC_RUNTIME_DIR) {runtime_dir} cannot be used: {why}")


def _unusable(folder: Path) -> str:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        return "it is a symlink" if folder.is_symlink() else (error.strerror or str(error)).lower()
    try:
        if not _private(fd):
            return "it must belong to this user and be closed to others (chmod 700)"
    finally:
        os.close(fd)
    if not os.access(folder, os.W_OK | os.X_OK):
        return "permission denied"
    if (length := _socket_length(folder)) > LONGEST_SOCKET_PATH:
        return f"a socket in it would have a path of {length} bytes, and {LONGEST_SOCKET_PATH} are possible"
    return ""


def _socket_length(base: Path) -> int:
    return len(os.fsencode(base / f"{_PREFIX}{'x' * 8}" / _SOCKET))


def sweep_runtime_folders(runtime_dir: Path | None = None) -> None:
    """Remove what killed jobs of this user left. Never raises, and never waits for anybody."""
    for base in _bases(runtime_dir):
        with suppress(OSError), os.scandir(base) as entries:
            for name in [e.name for e in entries if _NAME.fullmatch(e.name)]:
                with suppress(OSError):  # another job sweeps too, or it is not ours
                    _sweep(base / name)


def _sweep(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its owner lives: BlockingIOError
        if _private(fd) and set(os.listdir(fd)) <= {_SOCKET, _TEMPORARY} and _is(folder, fd):
            _remove(folder, fd)
    finally:
        os.close(fd)


def _bases(runtime_dir: Path | None) -> Iterator[Path]:
    """Where the folder may lie, best first; each once."""
    found = []
    if runtime_dir is not None:
        with suppress(OSError):
            fd = os.open(runtime_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if _private(fd):
                    found.append(runtime_dir)
            finally:
                os.close(fd)
    with suppress(OSError):
        found.append(Path(tempfile.gettempdir()))
    yield from dict.fromkeys([*found, Path("/tmp")])


def _make(bases: Iterator[Path]) -> tuple[Path, int]:
    for base in bases:
        if _socket_length(base) <= LONGEST_SOCKET_PATH:
            with suppress(OSError):
                return _make_in(base)
    raise Unreachable(
        "there is no folder for the embedded Redis's socket: set XDG_RUNTIME_DIR or TMPDIR to a short, writable path"
    )


def _make_in(base: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        with suppress(BlockingIOError, FileNotFoundError):  # a sweep came before the lock and took it for a dead one's
            return folder, _claim(folder)


def _claim(folder: Path) -> int:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / _TEMPORARY).mkdir(mode=0o700)
        return fd
    except BaseException:
        os.close(fd)
        with suppress(OSError):
            folder.rmdir()
        raise


def _remove(folder: Path, fd: int) -> None:
    shutil.rmtree(_TEMPORARY, ignore_errors=True, dir_fd=fd)
    with suppress(OSError):
        os.unlink(_SOCKET, dir_fd=fd)
    with suppress(OSError):
        folder.rmdir()


def _private(fd: int) -> bool:
    found = os.fstat(fd)
    return found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077 == 0


def _is(folder: Path, fd: int) -> bool:
    """Whether ``folder`` still is what was opened and locked."""
    try:
        return os.path.samestat(folder.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False
