"""External sort of keyed records: runs on disk, bounded memory.

For listings whose server (or folder) yields in another order than the keys' own. At most ``run_size`` records are in
memory; above that each sorted run is spooled to an unlinked temporary file and the runs are merged while they are
read. Every ``FAN_IN`` runs become one larger run, so that open files and read buffers grow with the logarithm of the
number of records.
"""

from __future__ import annotations

import errno
import heapq
import marshal
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from operator import attrgetter
from typing import IO, Any, TypeVar

from hugesync_tasks.errors import NoSpace
from hugesync_tasks.model import Entry

FAN_IN = 32  # runs of one level before they become one run of the next
_BLOCK = 128  # records per block: what each run holds in memory while it is merged

T = TypeVar("T")
Folder = str | os.PathLike[str] | None


def sorted_entries(entries: Iterable[Entry], run_size: int = 100_000, tmp: Folder = None) -> Iterator[Entry]:
    """``entries`` by ``key`` (code points: the byte order of UTF-8), equal keys in the order they came.

    ``tmp``: the folder of the runs, by default the system's. Raises NoSpace where the runs do not fit there.
    """
    return sorted_records(entries, attrgetter("key"), Entry.wire, Entry.unwire, run_size, tmp)


def sorted_records(
    records: Iterable[T],
    key: Callable[[T], Any],
    encode: Callable[[T], Any],
    decode: Callable[[Any], T],
    run_size: int = 100_000,
    tmp: Folder = None,
) -> Iterator[T]:
    """``records`` by ``key``, stable. ``encode`` turns a record into plain values (numbers, strings, bytes, None,
    tuples, lists), ``decode`` is its inverse. Up to ``run_size`` records never touch the disk."""
    source = iter(records)
    first = sorted(islice(source, run_size), key=key)
    if len(first) < run_size:
        yield from first
        return
    with ExitStack() as files:
        runs = _Runs(files, key, encode, decode, tmp)
        try:
            runs.add(first)
            del first
            while run := sorted(islice(source, run_size), key=key):
                runs.add(run)
                del run  # or two runs would be in memory while runs are merged
                runs.compact()
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                where = os.fspath(tmp) if tmp is not None else tempfile.gettempdir()
                raise NoSpace(f"no space to sort a listing in {where} (TMPDIR)") from e
            raise
        yield from runs.merged()


class _Runs:
    """The sorted runs on disk, oldest first, their levels never increasing."""

    def __init__(
        self,
        files: ExitStack,
        key: Callable[[T], Any],
        encode: Callable[[T], Any],
        decode: Callable[[Any], T],
        tmp: Folder,
    ) -> None:
        self._files, self._key, self._encode, self._decode, self._tmp = files, key, encode, decode, tmp
        self._runs: list[tuple[int, IO[bytes]]] = []

    def add(self, records: Iterable[Any]) -> None:
        self._runs.append((0, self._spool(records)))

    def compact(self) -> None:
        while len(self._runs) >= FAN_IN and self._runs[-FAN_IN][0] == (level := self._runs[-1][0]):
            tail = [run for _, run in self._runs[-FAN_IN:]]
            merged = self._spool(self._merge(tail))
            for run in tail:
                run.close()
            self._runs[-FAN_IN:] = [(level + 1, merged)]

    def merged(self) -> Iterator[Any]:
        return self._merge([run for _, run in self._runs])

    def _merge(self, runs: list[IO[bytes]]) -> Iterator[Any]:
        return heapq.merge(*(self._read(run) for run in runs), key=self._key)  # stable: earlier runs first

    def _spool(self, records: Iterable[Any]) -> IO[bytes]:
        run = self._files.enter_context(tempfile.TemporaryFile(dir=self._tmp))
        source = iter(records)
        while block := [self._encode(r) for r in islice(source, _BLOCK)]:
            marshal.dump(block, run)  # only this process ever reads it
        run.flush()
        run.seek(0)
        return run

    def _read(self, run: IO[bytes]) -> Iterator[Any]:
        while True:
            try:
                block = marshal.load(run)
            except EOFError:
                return
            yield from map(self._decode, block)
