"""A process's own row of the shared table: what it takes, gives back and waits for."""

from __future__ import annotations

import time
from threading import Lock

from hugesync_tasks.buffers.table import (
    COUNTS,
    HELD,
    HIGHEST,
    NAMES,
    ROW,
    SPARE,
    STANDING,
    TICKET,
    TOTAL,
    WAITING,
    WANT,
    Table,
)

GRACE = 2.0  # seconds that a process which could take its bytes, and does not, may keep others waiting


class Row:
    """A process's own row. Its methods may be called by several threads; ``take`` by one at a time."""

    def __init__(self, table: Table) -> None:
        """Raises OSError where the table has none left."""
        self._table, self._at = table, table.claim()
        at = self._at
        self._words = table.words
        self._mutex = Lock()  # of HELD: it is read and written back
        self.bell = table.bell(at)
        self._counts = table.words[at + COUNTS : at + ROW]
        self._stuck: tuple[int, float] = (0, 0.0)

    @property
    def total(self) -> int:
        return self._words[TOTAL]

    @property
    def capacity(self) -> int:
        return self._table.capacity

    @property
    def anybody_waits(self) -> bool:
        """Of all processes; a hint."""
        return self._words[WAITING] > 0

    @property
    def others_wait(self) -> bool:
        return self._words[WAITING] > bool(self._words[self._at + TICKET])

    def take(self, n: int, more: int, ticket: int, following: tuple[int, int] = (0, 0)) -> int:
        """``n`` bytes and up to ``more`` beside them, if nobody who came before ``ticket`` waits; else 0, and the row waits under
        its ticket. ``following``: ticket and bytes of who waits next in this process; it keeps its place.

        Raises Transient where the lock cannot be had.
        """
        table, words, at = self._table, self._words, self._at
        with table.locked():
            granted = self._granted(n, more, ticket)
            if not granted and table.reap():
                granted = self._granted(n, more, ticket)
            if granted:
                with self._mutex:
                    words[at + HELD] += granted
                words[HIGHEST] = max(words[HIGHEST], table.held())
                self._mark(*following)
            else:
                self._mark(ticket, n)
            words[WAITING] = sum(words[row + TICKET] > 0 for row in table.taken())
        if granted:
            table.ring()
        else:
            self._ask_back()
        return granted

    def _granted(self, n: int, more: int, ticket: int) -> int:
        words, table = self._words, self._table
        room = words[TOTAL] - table.held()
        before = [
            (words[row + TICKET], row) for row in table.taken() if 0 < words[row + TICKET] < ticket and row != self._at
        ]
        if before:
            first, row = min(before)
            fits, now = words[row + WANT] <= room, time.monotonic()
            if not fits or self._stuck[0] != first:
                self._stuck = (first if fits else 0, now)
                return 0
            if now - self._stuck[1] < GRACE:  # it was rung, and may be on its way
                return 0
            more = 0  # it could take what it wants and does not: it was stopped
        if n > room:
            return 0
        return n + min(more, room - n)

    def wait_as(self, ticket: int, n: int) -> None:
        """Wait for ``n`` bytes from now on, under this ticket; not at all with 0."""
        before = self._words[self._at + TICKET]
        self._mark(ticket, n)
        if before not in (0, ticket):
            self._table.ring()

    def _mark(self, ticket: int, n: int) -> None:
        self._words[self._at + WANT] = n
        self._words[self._at + TICKET] = ticket

    def give(self, n: int) -> None:
        """``n`` bytes back. Needs no lock: until it is seen too much counts as taken, never too little."""
        with self._mutex:
            self._words[self._at + HELD] -= n
        if self._words[WAITING]:
            self._table.ring()

    def stand(self, n: int, least: int) -> int:
        """Take ``n`` bytes, or as many as there are, for as long as this process lives, and leave ``least`` to all. How many."""
        table, words, at = self._table, self._words, self._at
        with table.locked():
            n = max(0, min(n, words[TOTAL] - table.held(), table.capacity - least))
            with self._mutex:
                words[at + HELD] += n
            words[at + STANDING] += n
            words[HIGHEST] = max(words[HIGHEST], table.held())
        return n

    def spare(self, n: int) -> None:
        """Say how many of the bytes taken nobody uses: others that wait will ask for them."""
        self._words[self._at + SPARE] = n

    def _ask_back(self) -> None:
        for row in self._table.taken():  # not by SPARE: that is a hint
            if row != self._at and self._words[row + HELD]:
                self._table.bell(row).ring()

    def count(self, more: list[int]) -> None:
        """So many more of each of ``NAMES``. By one thread at a time."""
        for name, n in enumerate(more):
            if n:
                self._counts[name] += n

    def waited(self, bucket: int) -> None:
        """In the histogram."""
        self._counts[len(NAMES) + bucket] += 1

    def leave(self) -> None:
        """Give everything back: the process ends, or needs its row no longer."""
        self._table.release(self._at)
