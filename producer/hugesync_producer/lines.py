"""Lines for a file or a pipe that may be slow, full, or without a reader: a thread of their own writes them, so that whoever
adds one never waits and nothing that happens to them can touch the job. What could not be written is counted."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable

MOST = 50_000  # lines that wait; more are dropped
CHUNK = 256 << 10  # bytes written at once, about
PATIENCE = 10.0  # seconds for the last of them, at the end
AGAIN = 1.0  # seconds between two attempts at a full disk
_FOREVER = (errno.EPIPE, errno.EBADF, errno.EINVAL, errno.ENXIO)


class Lines:
    """Closes ``fd`` at the end if it ``owns`` it. ``gap(n)``: the line that stands where ``n`` are missing, "" = none."""

    def __init__(
        self, fd: int, gap: Callable[[int], str] = lambda n: "", *, owns: bool = True, most: int = MOST
    ) -> None:
        self._fd, self._gap, self._owns, self._most = fd, gap, owns, most
        self.lost = 0  # in all
        self.why = ""  # the last of what went wrong
        self.reader_left = False
        self._missing = 0  # lost, and no line says so yet
        self._dead = self._closing = False
        self._torn = not _ends_in_newline(fd)
        self._waiting: deque[bytes] = deque()
        self._in_hand = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    def add(self, line: str) -> None:
        """``line`` without its end. Never waits, never raises."""
        with self._changed:
            if self._dead or self._closing or len(self._waiting) >= self._most:
                self._lose(1, "" if self._dead or self._closing else "it was too slow")
                return
            self._waiting.append(line.encode(errors="backslashreplace") + b"\n")
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def close(self, patience: float | None = PATIENCE) -> None:
        """Wait until all is written, at most ``patience`` seconds (None: as long as it takes). Then ``lost`` is final."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(patience)
        with self._changed:
            if self._thread.is_alive():  # it is in a write that nobody can end; the fd stays its own
                self._dead = True
                self._lose(len(self._waiting) + self._in_hand, "it took nothing more")
                self._waiting.clear()
            elif self._owns:
                os.close(self._fd)

    def _lose(self, n: int, why: str) -> None:
        self.lost += n
        self._missing += n
        self.why = why or self.why

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                batch = self._take()
                missing, last = self._missing, self._closing and not self._waiting
            if not (batch or missing) or self._dead:
                if last or self._dead:
                    return
                continue
            if not self._written(batch, missing) and not self._dead:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, AGAIN)
            elif last and not self._missing:
                return
            if last and not batch:  # the gap alone could not be told
                return

    def _take(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._waiting and size < CHUNK:
            batch.append(self._waiting.popleft())
            size += len(batch[-1])
        self._in_hand = len(batch)
        return batch

    def _written(self, batch: list[bytes], missing: int) -> bool:
        gap = self._gap(missing).encode() if missing else b""
        head = (b"\n" if self._torn else b"") + (gap + b"\n" if gap else b"")
        data = head + b"".join(batch)
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, memoryview(data)[done:])
        except OSError as error:
            self._failed(batch, missing, data, len(head), done, error)
            return False
        with self._changed:
            self._torn, self._in_hand = False, 0
            self._missing -= missing
        return True

    def _failed(self, batch: list[bytes], missing: int, data: bytes, head: int, done: int, error: OSError) -> None:
        """Of what was begun, whole lines count as written; the others wait for another attempt, which begins a line of its own."""
        whole = data[head:done].count(b"\n") if done > head else 0
        with self._changed:
            self._in_hand = 0
            if done >= head:
                self._missing -= missing
            if done:
                self._torn = data[done - 1 : done] != b"\n"
            if self._dead:  # ``close`` gave up, and has counted them
                return
            self._waiting.extendleft(reversed(batch[whole:]))
            self.why = error.strerror or str(error)
            self.reader_left = error.errno == errno.EPIPE
            self._dead = error.errno in _FOREVER
            if self._dead or self._closing:
                self._lose(len(self._waiting), "")
                self._waiting.clear()


def _ends_in_newline(fd: int) -> bool:
    """Whether a line may follow what is there: an earlier run may have died within one."""
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or not found.st_size:
            return True
        return os.pread(fd, 1, found.st_size - 1) == b"\n"
    except OSError:  # not readable
        return True
