"""The local listing: all keys of a tree in byte order, memory bounded by the depth and not by the tree.

The children of a folder are sorted by encoded name with ``/`` after folders and ``.rclonelink`` after links, so that
depth first is key order. Where folders are slow to read (cold disks, networks) a few threads read them ahead of the
merge point; where they are not, handing them between threads would halve the rate (165,000 entries/s against 95,000,
warm, two cores) and is left out. A folder read ahead hands over at most ``AHEAD_NAMES`` names, the rest of a large one
is read, and above 100,000 names sorted on disk, when its turn comes.
Files are looked at (lstat) as late as possible, when they are yielded.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind
from hugesync_tasks.stores.beneath import Beneath
from hugesync_tasks.stores.local_errors import store_error, translated
from hugesync_tasks.stores.local_folder import BROKEN, DIR, RESERVED, Folder, Record, read_folder, why_broken
from hugesync_tasks.stores.local_names import entry_of
from hugesync_tasks.token import Token

THREADS = 4
AHEAD_FOLDERS = 4  # of one folder's subfolders
AHEAD_TOTAL = 48  # of the whole listing: descriptors, and times AHEAD_NAMES names in memory
_BLOCK = 256  # records of one folder looked over for subfolders to read ahead
SLOW = 0.001  # seconds to wait for a folder, plus 5 µs for each name, that make reading ahead worth its cost
_CREDIT = 64  # folders read ahead after each slow one
_OPEN_DEPTH = 32  # folders on the way down that keep their descriptor


RESERVED_NAME = (
    "reserved name: names ending in .rclonelink stand for links, those beginning .hugesync are HugeSync's own"
)


class Walk:
    """One listing in progress. ``entries`` may be iterated once; closing it ends the threads."""

    def __init__(self, place: Beneath, token: Token, start_after: str, enter: Callable[[str], bool] | None) -> None:
        self.place, self.token, self.start_after, self.enter = place, token, start_after, enter
        self.ahead = 0
        self._credit = 0
        self._pool: ThreadPoolExecutor | None = None
        self._stack: list[_Level] = []

    def entries(self) -> Iterator[Entry]:
        with translated(""):
            root = read_folder(self.place, b"")
        try:
            level = self._descend(root, "")
            with translated(""):
                level.fill()
            while self._stack:
                yield from self._files(self._stack[-1])
                yield from self._next_folder(self._stack[-1])
        finally:
            while self._stack:
                self._stack.pop().close()
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)

    def read_ahead(self, path: bytes) -> Future[Folder] | None:
        if self.ahead >= AHEAD_TOTAL or self._credit <= 0:
            return None
        self._credit -= 1
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="read-ahead")
        self.ahead += 1
        return self._pool.submit(read_folder, self.place, path)

    def waited(self, seconds: float, names: int) -> None:
        """A folder with ``names`` names came after ``seconds``."""
        if seconds > SLOW + 5e-6 * names:
            self._credit = _CREDIT

    def _descend(self, folder: Folder, prefix: str) -> _Level:
        level = _Level(self, folder, prefix)
        self._stack.append(level)
        if len(self._stack) > _OPEN_DEPTH:
            self._stack[-1 - _OPEN_DEPTH].folder.rest()
        return level

    def _files(self, level: _Level) -> Iterator[Entry]:
        """Entries of ``level`` up to its next folder, which stays in the queue, or to its end."""
        queue, prefix, check = level.queue, level.prefix, self.token.check
        while True:
            check()
            if len(queue) < 2 and not level.drained:
                level.fill()
            if not queue:
                return
            shown, name, kind = queue[0]
            if kind == DIR:
                return
            queue.popleft()
            key = prefix + shown
            if queue and queue[0][0] == shown:  # a link NAME and a file NAME.rclonelink: one key cannot be both
                queue.popleft()
                yield Entry(key, Kind.ERROR, note=f"reserved name: a link and a file {shown} both need this key")
                continue
            try:
                fd = level.folder.descriptor()
                if kind == BROKEN:
                    yield Entry(key, Kind.ERROR, note=why_broken(name, fd))
                    continue
                entry = entry_of(key, os.stat(name, dir_fd=fd, follow_symlinks=self.place.follow))
            except FileNotFoundError:
                continue  # gone since the folder was read: a listing made now would not have it
            except OSError as e:
                yield _failed(key, e)
                continue
            if kind == RESERVED and entry.kind is not Kind.SPECIAL:
                yield Entry(key, Kind.ERROR, entry.size, note=RESERVED_NAME)
            elif entry.kind is Kind.DIR or (entry.kind is Kind.LINK) != key.endswith(LINK_SUFFIX):
                yield Entry(key, Kind.ERROR, note="changed while it was listed")
            else:
                yield entry

    def _next_folder(self, level: _Level) -> Iterator[Entry]:
        if not level.queue:
            level.close()
            self._stack.pop()
            return
        record = level.queue.popleft()
        key = level.prefix + record[0]
        shown = key > self.start_after
        try:
            folder = level.take(record)
            if self.place.follow and any(os.path.samestat(folder.st, up.folder.st) for up in self._stack):
                folder.close()
                raise OSError(errno.ELOOP, "a loop of links")
            below = self._descend(folder, key)
            try:
                below.fill()
            except OSError:
                self._stack.pop().close()
                raise
        except FileNotFoundError:
            return
        except OSError as e:
            if shown:
                yield _failed(key, e)
            return
        if shown:
            yield entry_of(key, folder.st, below.empty)


class _Level:
    """One folder on the way down: its records still to come and the subfolders being read ahead."""

    def __init__(self, walk: Walk, folder: Folder, prefix: str) -> None:
        self.walk, self.folder, self.prefix = walk, folder, prefix
        self.queue: deque[Record] = deque()
        self.drained = False
        self.empty = True
        self._bound = walk.start_after if walk.start_after.startswith(prefix) else ""
        self._waiting: deque[Record] = deque()  # folders of the queue that nobody reads yet
        self._reading: dict[str, Future[Folder]] = {}

    def fill(self) -> None:
        """Take records until two are queued, or all: two, because equal neighbours are one conflict."""
        while len(self.queue) < 2 and not self.drained:
            block = list(islice(self.folder.records, _BLOCK))
            self.drained = len(block) < _BLOCK
            self.empty = self.empty and not block
            if self._bound or self.walk.enter is not None:
                block = [r for r in block if self._wanted(r)]
            self.queue.extend(block)
            self._waiting.extend(r for r in block if r[2] == DIR)
        self._read_ahead()

    def take(self, record: Record) -> Folder:
        """The opened folder of a record, read ahead or now."""
        reading = self._reading.pop(record[0], None)
        if self._waiting and self._waiting[0] is record:
            self._waiting.popleft()
        if reading is not None:
            self.walk.ahead -= 1
        self._read_ahead()
        start = time.perf_counter()
        folder = reading.result() if reading is not None else read_folder(self.walk.place, self._path(record))
        self.walk.waited(time.perf_counter() - start, folder.names)
        return folder

    def close(self) -> None:
        for reading in self._reading.values():
            self.walk.ahead -= 1
            if not reading.cancel() and reading.exception() is None:
                reading.result().close()
        self._reading.clear()
        self.folder.close()

    def _read_ahead(self) -> None:
        while self._waiting and len(self._reading) < AHEAD_FOLDERS:
            reading = self.walk.read_ahead(self._path(self._waiting[0]))
            if reading is None:
                return
            self._reading[self._waiting.popleft()[0]] = reading

    def _path(self, record: Record) -> bytes:
        name = os.fsencode(record[1])
        return self.folder.path + b"/" + name if self.folder.path else name

    def _wanted(self, record: Record) -> bool:
        key = self.prefix + record[0]
        if self._bound and key <= self._bound and not (record[2] == DIR and self._bound.startswith(key)):
            return False
        return record[2] != DIR or self.walk.enter is None or self.walk.enter(key)


def _failed(key: str, e: OSError) -> Entry:
    if e.strerror == "a loop of links":
        return Entry(key, Kind.ERROR, note=e.strerror)
    return Entry(key, Kind.ERROR, note=store_error(e, "").message)
