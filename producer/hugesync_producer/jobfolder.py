"""The folder of an embedded job: its specification, checkpoint and history, and the lock on its destination."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import blake3

from hugesync_producer.pool import Stalled
from hugesync_tasks.errors import Refused

LOOK = 0.1  # s; ``holder`` holds a free lock for an instant, and must not keep a run away


class CannotSave(Stalled):
    """The job's state cannot be written: its disk is full, or gone. What was saved before is whole, so the job can be resumed."""


class JobFolder:
    """``STATE_DIR/jobs/<job>/``, mode 0700. ``job.json`` is replaced in one step, so it is always one whole state."""

    def __init__(self, state_dir: Path, job: str) -> None:
        self.path = state_dir / "jobs" / job
        self._file = self.path / "job.json"
        self.data: dict[str, Any] = {}

    def open(self) -> dict[str, Any]:
        """Create or read it; returns what an earlier run left ({} for none)."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(self.path, 0o700)
        return self.read()

    def read(self) -> dict[str, Any]:
        """What job.json holds; {} for no such job."""
        self.data = read_json(self._file)
        return self.data

    def save(self, **fields: Any) -> None:
        """Replace fields of job.json: written beside, synced, renamed, and the name synced too. Raises CannotSave; the
        file then holds what it held before."""
        self.data.update(fields)
        temporary = self._file.with_suffix(".new")
        try:
            with open(temporary, "w") as out:
                json.dump(self.data, out)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, self._file)
            self._sync()
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise CannotSave(f"cannot write {self._file}: {error.strerror}") from error

    def _sync(self) -> None:
        """A rename is on the disk when its folder is."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def forget_work(self) -> None:
        """A finished job keeps only job.json, as history."""
        for entry in sorted(self.path.rglob("*"), reverse=True):
            if entry != self._file:
                entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink(missing_ok=True)


class DestinationLock:
    """At most one embedded job writes to a destination (``uri.lock_name``) on this machine. The kernel frees the lock of a
    killed run."""

    def __init__(self, state_dir: Path, destination: str) -> None:
        folder = state_dir / "locks"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / blake3.blake3(os.fsencode(destination)).hexdigest(length=16)
        self._fd: int | None = None

    def take(self, job: str) -> None:
        """Raises Refused naming the job that holds it."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOOK
        while not _locked(fd):
            if time.monotonic() > deadline:
                holder = os.pread(fd, 100, 0).decode(errors="replace").strip()
                os.close(fd)
                doing = "being run by another process" if holder == job else "writing to this destination"
                raise Refused(f"job {holder} is {doing} now")
            time.sleep(0.01)
        os.ftruncate(fd, 0)
        os.pwrite(fd, job.encode(), 0)
        self._fd = fd

    def holder(self) -> str:
        """The job of the living run that holds it now; "" for none."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        try:
            return "" if _locked(fd) else os.pread(fd, 100, 0).decode(errors="replace").strip()
        finally:
            os.close(fd)

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def read_json(path: Path) -> dict[str, Any]:
    """{} where there is none or it cannot be read as JSON: then the job starts at the beginning, which is always safe."""
    try:
        data = json.loads(path.read_text())
        return data if isinstance(data, dict) else {}
    except (FileNotFoundError, ValueError):
        return {}


def history(state_dir: Path) -> list[dict[str, Any]]:
    """Every embedded job of this machine, newest first."""
    jobs = [read_json(p) for p in (state_dir / "jobs").glob("*/job.json")]
    return sorted((j for j in jobs if "job" in j), key=lambda j: -float(j.get("started", 0)))
