"""``--events FILE``: what a job tells, as JSON Lines that another program reads while the job runs (docs/events.md)."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from hugesync_producer import human
from hugesync_producer.events import SCHEMA, Ended, Event, FileEvent, Lost, Notice, Progress, Started, wire
from hugesync_producer.lines import Lines
from hugesync_tasks import __version__
from hugesync_tasks.errors import UsageError
from hugesync_tasks.summary import Snapshot, Summary

PROGRESS_EVERY = 1.0  # seconds of the job


def opened(option: str, path: str) -> int:
    """A descriptor that appends to ``path``. Raises UsageError where that cannot be, and for standard output."""
    if path in ("", "-"):
        raise UsageError(f"{option} {path}: give a file; standard output is for the summary")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError(f"{option}: cannot write {human.name(path)}: {error.strerror}") from error
    if _is_stdout(fd):
        os.close(fd)
        raise UsageError(f"{option} {human.name(path)} is standard output, which is for the summary: give another file")
    return fd


def _is_stdout(fd: int) -> bool:
    """/dev/null may be both."""
    found = os.fstat(fd)
    try:
        same = os.path.samestat(found, os.fstat(1))
    except OSError:  # it is closed
        return False
    return same and not (stat.S_ISCHR(found.st_mode) and os.path.samestat(found, os.stat(os.devnull)))


class EventFile:
    """An observer that appends a record for each event. Begins with one that names the schema; ``end`` writes the last."""

    def __init__(self, fd: int, path: str, command: str) -> None:
        self._path = path
        self._lock = Lock()
        self._seq = 0
        self._next = 0.0
        self._lines = Lines(fd, lambda n: self._record(wire(Lost(n))))
        self._add({"event": "begin", "schema": SCHEMA, "version": __version__, "command": command})

    def on_start(self, job_id: str, resumed: bool) -> None:
        self._tell(Started(job_id, resumed))

    def on_progress(self, snapshot: Snapshot) -> None:
        if snapshot.elapsed >= self._next:
            self._next = snapshot.elapsed + PROGRESS_EVERY
            self._tell(Progress(snapshot))

    def on_notice(self, message: str) -> None:
        self._tell(Notice(message))

    def on_file(self, event: FileEvent) -> None:
        self._tell(event)

    def end(self, summary: Summary) -> str:
        """What to say of events that are not in the file; "" = all are there."""
        self._tell(Ended(summary))
        self._lines.close()
        if not self._lines.lost:
            return ""
        return f"events: {human.name(self._path)} lacks {human.count(self._lines.lost)} of them: {self._lines.why}"

    def _tell(self, event: Event) -> None:
        self._add(wire(event))

    def _add(self, record: dict[str, Any]) -> None:
        with self._lock:  # numbers stand in the file in their order
            self._seq += 1
            self._lines.add(self._record({"seq": self._seq, **record}))

    def _record(self, record: dict[str, Any]) -> str:
        return json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **record})
