"""``LocalStore.validate``: what a filesystem does, found out in a folder of our own."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from hugesync_tasks.model import RESERVED_SEGMENT
from hugesync_tasks.stores import local_kernel as kernel
from hugesync_tasks.stores.beneath import Beneath
from hugesync_tasks.stores.findings import NO, UNKNOWN, YES, Fact, Findings
from hugesync_tasks.stores.local_copy import write_at
from hugesync_tasks.stores.local_errors import translated
from hugesync_tasks.stores.scratch import littered, scratch_folder
from hugesync_tasks.token import Token

if TYPE_CHECKING:
    from hugesync_tasks.stores.local import LocalStore

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HOLE = 1 << 20  # bytes

Answer = tuple[str, str]


def validate(store: LocalStore, token: Token) -> Findings:
    """See ``Store.validate``. The root must be there."""
    place, path = store.place, scratch_folder().rstrip("/").encode()
    facts: list[Fact] = []
    with translated(""):
        place.root_fd()
        made: set[bytes] = set()
        try:
            with place.folder(path, made) as folder:
                for name, question in _QUESTIONS.items():
                    token.check()
                    facts.append(_asked(name, question, folder))
        except BaseException as error:
            raise littered(error, _clean(place, path, b"" in made)) from error
    return Findings(store.limits.name, tuple(facts), tuple(_clean(place, path, b"" in made)))


def _asked(name: str, question: Callable[[int], Answer], folder: int) -> Fact:
    try:
        return Fact(name, *question(folder))
    except OSError as error:
        return Fact(name, UNKNOWN, (error.strerror or str(error)).lower())


def _file(folder: int, name: str, body: bytes = b"") -> int:
    fd = os.open(name, _CREATE, 0o600, dir_fd=folder)
    write_at(fd, body, 0)
    return fd


def _content(folder: int, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def _pair(folder: int, name: str) -> tuple[str, str]:
    for which in ("old", "new"):
        os.close(_file(folder, f"{name}-{which}", which.encode()))
    return f"{name}-new", f"{name}-old"


def _noreplace(folder: int) -> Answer:
    new, old = _pair(folder, "noreplace")
    try:
        kernel.renameat2(folder, new.encode(), old.encode(), kernel.RENAME_NOREPLACE)
    except FileExistsError:
        return (YES, "") if _content(folder, old) == b"old" else (NO, "refused, and replaced all the same")
    except OSError as error:
        return NO, (error.strerror or "").lower()
    return NO, "it was asked for, and ignored"


def _exchange(folder: int) -> Answer:
    new, old = _pair(folder, "exchange")
    try:
        kernel.renameat2(folder, new.encode(), old.encode(), kernel.RENAME_EXCHANGE)
    except OSError as error:
        return NO, (error.strerror or "").lower()
    swapped = (_content(folder, old), _content(folder, new)) == (b"new", b"old")
    return (YES, "") if swapped else (NO, "the two files did not change places")


def _reflink(folder: int) -> Answer:
    source = _file(folder, "clone-source", bytes(range(256)) * 256)
    dest = _file(folder, "clone")
    try:
        os.fsync(source)
        kernel.clone_range(source, 0, 0, dest, 0)  # 0: to the end
        return (YES, "") if os.fstat(dest).st_size == 65536 else (NO, "nothing was shared")
    except OSError as error:
        return NO, (error.strerror or "").lower()
    finally:
        os.close(source)
        os.close(dest)


def _holes(folder: int) -> Answer:
    fd = _file(folder, "holes", b"x" * _HOLE)
    try:
        os.ftruncate(fd, 8 * _HOLE)
        os.fsync(fd)
        full = os.fstat(fd).st_blocks * 512
        if full >= 8 * _HOLE:
            return NO, "a file takes its whole size"
        try:
            kernel.punch_hole(fd, 0, _HOLE)
        except OSError as error:
            return NO, f"none can be punched: {(error.strerror or '').lower()}"
        os.fsync(fd)
        return (YES, "") if os.fstat(fd).st_blocks * 512 < full else (NO, "a punched hole takes its space still")
    finally:
        os.close(fd)


def _fsync(folder: int) -> Answer:
    """That the calls succeed. Whether a device keeps what it promised no program can see."""
    fd = _file(folder, "sync", b"x")
    try:
        os.fsync(fd)
    except OSError as error:
        return NO, (error.strerror or "").lower()
    finally:
        os.close(fd)
    missing = []
    for what, call in (("folders", os.fsync), ("the whole at once (syncfs)", kernel.syncfs)):
        try:
            call(folder)
        except OSError:
            missing.append(what)
    return YES, f"but not of {' and '.join(missing)}" if missing else ""


def _case(folder: int) -> Answer:
    os.close(_file(folder, "Case"))
    try:
        os.close(_file(folder, "cASE"))
    except FileExistsError:
        return NO, ""
    return YES, ""


_QUESTIONS: dict[str, Callable[[int], Answer]] = {
    "rename_noreplace": _noreplace,
    "rename_exchange": _exchange,
    "reflink": _reflink,
    "holes": _holes,
    "fsync": _fsync,
    "case_sensitive": _case,
}


def _clean(place: Beneath, path: bytes, made_ours: bool) -> list[str]:
    """Remove the folder, and the one above it if that was made for it; what is left, and why."""
    left: list[str] = []
    above, _, name = path.rpartition(b"/")
    try:
        with place.folder(path) as folder:
            for child in os.listdir(folder):
                try:
                    os.unlink(child, dir_fd=folder)
                except OSError as error:
                    left.append(f"{os.fsdecode(path)}/{child} ({error.strerror})")
        with place.folder(above) as folder:
            os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        return left or [f"{os.fsdecode(path)} ({error.strerror})"]
    if made_ours:
        with suppress(OSError), place.folder(b"") as root:  # somebody may have put something there meanwhile
            os.rmdir(RESERVED_SEGMENT, dir_fd=root)
    return left
