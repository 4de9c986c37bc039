"""Which files of a source are read to measure it, in turn. What cannot be read is passed over and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock

from hugesync_producer.preflight.values import KIB, MIB
from hugesync_tasks.errors import AccessDenied, NotFound, SourceChanged, VersionMismatch
from hugesync_tasks.model import Entry

SMALL = 4 * KIB
LONG = MIB  # from which size on a file shows how fast long reads are
_PASSED_OVER = (PermissionError, FileNotFoundError, AccessDenied, NotFound, VersionMismatch, SourceChanged)

Read = Callable[[Entry, int, int], int]  # entry, start, length -> bytes that came


class Samples:
    """``read_small`` and ``read_chunk`` may be called by several threads. They raise what reading raises, and where no file is
    left that can be read the last reason."""

    def __init__(self, read: Read, some: Sequence[Entry], largest: Sequence[Entry]) -> None:
        self._read = read
        self._some, self._largest = list(some), [e for e in largest if e.size >= LONG]
        self._turn = 0
        self._places: dict[str, int] = {}
        self._read_now: Counter[str] = Counter()
        self._lock = Lock()
        self.passed_over: dict[str, str] = {}  # key -> why

    @property
    def has_chunks(self) -> bool:
        return bool(self._largest)

    def read_small(self) -> int:
        """The first 4 KiB of the next file: opened, read, closed."""
        return self._from(self._some, lambda e: (0, min(SMALL, e.size)))

    def read_chunk(self, size: int) -> int:
        """The next ``size`` bytes of one of the largest files, each stretch once before any comes again."""

        def stretch(entry: Entry) -> tuple[int, int]:
            start = self._places.get(entry.key, 0)
            length = min(size, entry.size - start)
            self._places[entry.key] = start + length if start + length < entry.size else 0
            return start, length

        return self._from(self._largest, stretch)

    def _from(self, entries: list[Entry], stretch: Callable[[Entry], tuple[int, int]]) -> int:
        while True:
            with self._lock:
                entry = self._next(entries)
                self._read_now[entry.key] += 1
                start, length = stretch(entry)
            try:
                return self._read(entry, start, length)
            except _PASSED_OVER as error:
                with self._lock:
                    why = error.strerror if isinstance(error, OSError) else error.message
                    self.passed_over[entry.key] = why or type(error).__name__
                    if entry in entries and len(entries) > 1:
                        entries.remove(entry)
                    elif entry in entries:
                        raise
            finally:
                with self._lock:
                    self._read_now.subtract([entry.key])

    def _next(self, entries: list[Entry]) -> Entry:
        """Not one that another stream reads, if there is another: what one has read, the other finds in the cache."""
        for _ in entries:
            self._turn += 1
            entry = entries[self._turn % len(entries)]
            if not self._read_now[entry.key]:
                break
        return entry
