"""A file that is replaced in one step when what is to be in it is complete, and else stays what it was."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hugesync_tasks.errors import UsageError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """What is written goes beside ``path`` and, once the block has ended well, is synced and takes its place, with the mode of
    what was there. A symlink stays and its target is replaced; what is no regular file (``/dev/stdout``, a pipe) is
    written to as it is. Raises UsageError where the file system does not let us."""
    temporary = ""
    try:
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            with open(path, "wb") as out:
                yield out
            return
        target = Path(os.path.realpath(path))
        temporary = str(
            target.with_name(f".hugesync-{secrets.token_hex(8)}.part")
        )  # a name that no listing of ours shows
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with open(fd, "wb") as out:
            if mode is not None:
                os.fchmod(fd, stat.S_IMODE(mode))
            yield out
            out.flush()
            os.fsync(fd)
        os.replace(temporary, target)
        temporary = ""
        _sync(target.parent)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)


def _mode(path: Path) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _sync(folder: Path) -> None:
    """A rename is on the disk when its folder is."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
