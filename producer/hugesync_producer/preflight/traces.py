"""What measuring makes at a destination, and that it goes again: by this process, or where it was killed by the watchdog.

Every name begins with a tag that nobody else has. The watchdog is told the tag before anything of that name is made.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import TracebackType

from hugesync_producer.aside import aside
from hugesync_producer.preflight.removal import MARKER, remove_all
from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.model import RESERVED_SEGMENT
from hugesync_tasks.spec import Location

LOCAL_MARKER = f"{RESERVED_SEGMENT}-preflight-"
WAITING = 30.0  # seconds for the watchdog to take away what this process could not


class Traces:
    """A context: at its end nothing is left. ``left``: places of which that could not be seen."""

    def __init__(self) -> None:
        self._begun: dict[str, Location] = {}
        self._watchdog: subprocess.Popen[bytes] | None = None
        self.left: list[str] = []

    @contextmanager
    def at(self, location: Location) -> Iterator[str]:
        """A tag for names at ``location``; what bears it goes at the end. Raises OSError where no watchdog can be started:
        then nothing may be made. Interrupted, it is left to the watchdog: requests may still be on their way."""
        tag = self._begin(location)
        try:
            yield tag
        except Exception:
            self._end(tag)
            raise
        self._end(tag)

    def _begin(self, location: Location) -> str:
        tag = secrets.token_hex(8)
        tag = f"{LOCAL_MARKER}{tag}" if location.scheme == "file" else f"{MARKER}{tag}/"
        self._tell({"begin": tag, "location": asdict(location)})
        self._begun[tag] = location
        return tag

    def _end(self, tag: str) -> None:
        location = self._begun[tag]
        try:
            gone = aside(lambda: remove_all(location, tag, again=False))
        except HugeSyncError:
            gone = False
        if gone:
            with suppress(OSError):
                self._tell({"end": tag})
                del self._begun[tag]

    def __enter__(self) -> Traces:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is begun and not ended is the watchdog's. It is waited for, but not where a person or signal ended this."""
        if self._watchdog is None or self._watchdog.stdin is None:
            return
        if not self._begun:
            self._watchdog.kill()
            self._watchdog.wait()
            return
        with suppress(OSError):
            self._watchdog.stdin.close()
        if kind is not None and not issubclass(kind, Exception):
            return
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = self._watchdog.wait(WAITING)
        if code != 0:
            self.left = [f"{place.display().rstrip('/')}/{tag}" for tag, place in self._begun.items()]

    def _tell(self, said: dict[str, object]) -> None:
        if self._watchdog is None:
            self._watchdog = _start()
        pipe = self._watchdog.stdin
        assert pipe is not None
        pipe.write(json.dumps(said).encode() + b"\n")
        pipe.flush()


def _start() -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(p for p in sys.path if p)
    return subprocess.Popen(
        [sys.executable, "-m", "hugesync_producer.preflight.watchdog"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,  # what kills our process group does not kill it
        cwd="/",
    )
