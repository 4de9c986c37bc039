"""What one thread tells and another takes: bounded, in order, and nobody who tells ever waits."""

from __future__ import annotations

import threading
from collections import deque

from hugesync_producer.events import Ended, Event, Lost, Progress

MOST = 100_000  # events that wait; more are dropped


class Mailbox:
    """Of progress only the newest waits. Where it is full, what comes is dropped and counted, and ``Lost`` stands in its place;
    the end is never dropped."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._waiting: deque[Event] = deque()
        self._progress: Progress | None = None
        self._missing = 0
        self._changed = threading.Condition()

    def put(self, event: Event) -> None:
        with self._changed:
            if isinstance(event, Progress):
                self._progress = event
            elif len(self._waiting) >= self._most and not isinstance(event, Ended):
                self._missing += 1
            else:
                if self._missing:
                    self._waiting.append(Lost(self._missing))
                    self._missing = 0
                self._waiting.append(event)
            self._changed.notify()

    def take(self) -> Event:
        """The next, waited for as long as it takes."""
        with self._changed:
            while not self._waiting and self._progress is None:
                self._changed.wait(1.0)  # in slices, so that a signal is seen on every platform
            if self._progress is not None and (not self._waiting or not isinstance(self._waiting[0], Ended)):
                event: Event = self._progress
                self._progress = None
                return event
            return self._waiting.popleft()
