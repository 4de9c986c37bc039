"""What health is judged by, in the folder that a worker shares with its children and its exporter: until when each child's task has
a lease, which canary it took last, when the main process turned last, what it knows of its buffers, and whether the worker
is told to end.

The file is whole from the beginning, so a full disk takes no part in it, and it works also where metrics do not.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

CHILDREN = 1024  # as many have room: the most of worker_concurrency
_RECORD = struct.Struct("ddd")
_FILE, _TURNED, _ENDING, _BUFFERS, _NEW = "vitals", "turned", "ending", "buffers", "buffers.new"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Child:
    until: float = 0.0  # seconds since the epoch; 0: no task is in hand
    canary: float = 0.0  # when the last canary that it took was sent
    pid: float = 0.0


class Vitals:
    """Of one worker. ``make`` in its main process, before it forks. Writing never raises: no job may end for it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._path = os.path.join(folder, _FILE)
        self._fd: int | None = None
        self._pid = 0

    def make(self) -> None:
        """Raises OSError."""
        with open(self._path, "wb") as out:
            out.write(bytes(CHILDREN * _RECORD.size))
        with open(os.path.join(self.folder, _TURNED), "wb"):
            pass

    def read(self) -> list[Child]:
        """Of each child, by its place in the pool. Raises OSError."""
        with open(self._path, "rb") as file:
            return [Child(*record) for record in _RECORD.iter_unpack(file.read())]

    def begins(self, child: int) -> None:
        """This process is that child now."""
        self._write(child, 0, 0.0)
        self._write(child, 16, float(os.getpid()))

    def leased(self, child: int, until: float) -> None:
        self._write(child, 0, until)

    def took_canary(self, child: int, sent: float) -> None:
        self._write(child, 8, sent)

    def tell_buffers(self, stats: Mapping[str, float]) -> None:
        """The figures of the worker's buffers at this moment."""
        try:
            with open(os.path.join(self.folder, _NEW), "w") as out:
                json.dump(stats, out)
            os.replace(os.path.join(self.folder, _NEW), os.path.join(self.folder, _BUFFERS))
        except (OSError, TypeError, ValueError) as error:
            log.debug("the figures of the buffers could not be written: %s", error)

    def buffers(self) -> dict[str, float]:
        """What was told last; {} where nothing was."""
        try:
            with open(os.path.join(self.folder, _BUFFERS)) as file:
                told = json.load(file)
        except (OSError, ValueError):
            return {}
        return {name: float(n) for name, n in told.items() if name.isidentifier() and isinstance(n, (int, float))}

    def turned(self) -> None:
        """The main process is about its work."""
        try:
            os.utime(os.path.join(self.folder, _TURNED))
        except OSError:
            pass

    def since_turned(self) -> float:
        """Seconds. Raises OSError."""
        return max(0.0, time.time() - os.stat(os.path.join(self.folder, _TURNED)).st_mtime)

    def ending(self) -> None:
        try:
            with open(os.path.join(self.folder, _ENDING), "wb"):
                pass
        except OSError:
            pass

    def is_ending(self) -> bool:
        return os.path.exists(os.path.join(self.folder, _ENDING))

    def _write(self, child: int, at: int, value: float) -> None:
        if not 0 <= child < CHILDREN:
            return
        try:
            if self._fd is None or self._pid != os.getpid():
                self._fd, self._pid = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC), os.getpid()
            os.pwrite(self._fd, struct.pack("d", value), child * _RECORD.size + at)
        except OSError as error:
            log.debug("a sign of life could not be written: %s", error)
