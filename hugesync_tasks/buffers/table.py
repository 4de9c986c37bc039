"""The one byte budget of a worker: shared memory in which every child has a row, made before the children are forked.

What must never happen: more bytes taken than there are; bytes that stay taken because their holder was killed; a wait for ever.

* A row is written by its own process alone, a word at a time, and there is no sum beside the rows: what is taken is counted from
  them under the lock. So a ``kill -9`` at any instant leaves nothing half done.
* A row lives as long as its process holds the POSIX lock on the row's byte of the file. The kernel gives that up when the process
  dies, before anybody may reap it, whatever killed it; a pid can be another's by then. Whoever is short of room clears the
  rows of the dead.
* The lock of the whole is byte 0 of the same file, given up in the same way. It is tried, not waited for: its holder may
  have been stopped.

A file's POSIX locks are lost with any descriptor of it that the process closes, so this one is unlinked, nobody can open it
again, and ``mmap``'s own copy of the descriptor lives as long as the table.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from hugesync_tasks.buffers.bell import Bell
from hugesync_tasks.errors import Transient

ROWS = 1024  # children that a worker may have, the dead ones among them not counted
_WORD = 8
_HEAD = 16  # words
TOTAL, TOP, WAITING, HIGHEST, LOST = range(
    5
)  # words of the head; WAITING is only a hint, TOP how many rows were ever used
ROW = 96  # words
PID, HELD, SPARE, TICKET, WANT, STANDING, BELL = range(7)  # words of a row; SPARE is only a hint
COUNTS, BUCKETS = 16, 64  # where its counters begin, and of how many buckets the histogram behind them is
NAMES = ("gets", "puts", "hits", "misses", "waits", "timeouts", "refused", "unreturned")
HISTOGRAM = COUNTS + len(NAMES)

LOCK_WAIT = 10.0  # seconds for the lock, of a holder that was stopped inside it; it is held for microseconds

assert HISTOGRAM + BUCKETS <= ROW


class Table:
    """``total``: bytes. Made by the process that forks; a child has a ``Row`` of it."""

    def __init__(self, total: int, rows: int = ROWS) -> None:
        """Raises OSError where there is no shared memory to be had."""
        fd = os.memfd_create("hugesync-buffers") if hasattr(os, "memfd_create") else _unlinked()
        try:
            os.ftruncate(fd, (_HEAD + rows * ROW) * _WORD)
            self._map(fd)
        except BaseException:
            os.close(fd)
            raise
        self.words[TOTAL] = total

    @classmethod
    def of(cls, fd: int) -> Table:
        """The table behind a descriptor that was inherited, to be read. Raises OSError, ValueError where it is none."""
        made = cls.__new__(cls)
        made._map(fd)
        return made

    def _map(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        self.fd, self.rows = fd, (size // _WORD - _HEAD) // ROW
        self._memory = mmap.mmap(fd, size)
        self.words = memoryview(self._memory).cast("Q")
        self._mutex = Lock()
        self._mine: set[int] = set()  # rows, of the process ``_pid``
        self._pid = os.getpid()

    def close(self) -> None:
        """Nobody uses it any more in this process."""
        with suppress(BufferError):  # a bell's word is still somewhere: the mapping goes with it
            self._memory.close()
        os.close(self.fd)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all processes and threads. Raises Transient where the holder does not go on."""
        until = time.monotonic() + LOCK_WAIT
        pause = 0.00005
        with self._mutex:
            while True:
                try:
                    fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
                    break
                except OSError:  # EAGAIN or EACCES: another's
                    if time.monotonic() > until:
                        raise Transient("the buffers' lock is held by a process that does not go on") from None
                    time.sleep(pause)
                    pause = min(0.005, pause * 2)
            try:
                yield
            finally:
                fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, 0)

    def claim(self) -> int:
        """Where the row is that is this process's from now on. Raises OSError where none is free."""
        if self._pid != os.getpid():  # a fork: the locks were the parent's, and a thread of it may have had the mutex
            self._pid, self._mine, self._mutex = os.getpid(), set(), Lock()
        with self.locked():
            for n in range(self.rows):
                at = _HEAD + n * ROW
                if self.alive(at):
                    continue
                self.clear(at)
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 + n)
                self._mine.add(at)
                self.words[TOP] = max(self.words[TOP], n + 1)
                self.words[at + PID] = os.getpid()
                return at
        raise OSError(f"all {self.rows} rows of the buffers are taken")

    def taken(self) -> range:
        """Where the rows are that were ever used: the first free one is given out, so they are as many as processes at once."""
        return range(_HEAD, _HEAD + self.words[TOP] * ROW, ROW)

    def alive(self, at: int) -> bool:
        """Whether the row's process lives. Only under the lock, or two would ask at once and take each other for it."""
        if at in self._mine or not self.words[at + PID]:
            return at in self._mine
        byte = 1 + (at - _HEAD) // ROW
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError:
            return True
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, byte)
        return False

    def clear(self, at: int) -> None:
        """Of a process that is gone: all but what it counted. PID last: who is killed in here is followed by the next."""
        for word in (TICKET, WANT, SPARE, STANDING, HELD, PID):
            self.words[at + word] = 0

    def reap(self) -> int:
        """Clear the rows of the dead, under the lock; the bytes that came back."""
        freed = 0
        for at in self.taken():
            if self.words[at + PID] and not self.alive(at):
                freed += self.words[at + HELD]
                self.clear(at)
        if freed:
            self.words[LOST] += freed
        return freed

    def held(self) -> int:
        """Bytes taken now, by all."""
        return sum(self.words[at + HELD] for at in self.taken())

    @property
    def capacity(self) -> int:
        """The most that one may ever get: without what stays with others for as long as they live."""
        return max(0, self.words[TOTAL] - sum(self.words[at + STANDING] for at in self.taken()))

    def resize(self, total: int) -> None:
        """From now on ``total`` bytes; nobody gets any more until what is taken fits."""
        with self.locked():
            self.words[TOTAL] = total
        self.ring(all_of_them=True)

    def release(self, at: int) -> None:
        """Give everything of an own row back, and the row."""
        with self.locked():
            self.clear(at)
            self._mine.discard(at)
            fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, 1 + (at - _HEAD) // ROW)
        self.ring()

    def first(self) -> int:
        """Where the row is that waits longest; 0 where none does."""
        waiting = [(self.words[at + TICKET], at) for at in self.taken() if self.words[at + TICKET]]
        return min(waiting)[1] if waiting else 0

    def ring(self, all_of_them: bool = False) -> None:
        """Wake whoever waits longest, or all."""
        for at in self.taken() if all_of_them else filter(None, [self.first()]):
            Bell(self._memory, (at + BELL) * _WORD).ring()

    def bell(self, at: int) -> Bell:
        return Bell(self._memory, (at + BELL) * _WORD)


def _unlinked() -> int:
    """A file without a name, where the system has no memfd."""
    fd, path = tempfile.mkstemp(prefix="hugesync-buffers-")
    os.unlink(path)
    return fd
