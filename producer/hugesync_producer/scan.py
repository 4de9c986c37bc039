"""One listing in its own thread, read through a bounded buffer.

The listing's errors come out of ``poll`` when everything before them was taken, so that a caller never takes a broken
listing for a finished one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from threading import Event, Thread

from hugesync_tasks.errors import Cancelled
from hugesync_tasks.model import Entry
from hugesync_tasks.stores.base import Store
from hugesync_tasks.token import Token

CAPACITY = 10_000  # entries held; at most a few megabytes
_PATIENCE = 0.5  # seconds between two looks at a stop, while the reader is slow


class Signal(Enum):
    END = auto()


END = Signal.END


class Feed:
    """``store.list`` behind a thread. One reader. ``name`` is for messages: "source", "destination"."""

    def __init__(
        self,
        store: Store,
        token: Token,
        *,
        name: str,
        start_after: str = "",
        enter: Callable[[str], bool] | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self.name = name
        self.start_after = start_after
        self._store, self._token, self._enter, self._capacity = store, token, enter, capacity
        self._buffer: deque[Entry] = deque()
        self._ready, self._room = Event(), Event()
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name=f"list-{name}", daemon=True)

    def start(self) -> Feed:
        self._thread.start()
        return self

    def poll(self, timeout: float) -> Entry | Signal | None:
        """The next entry; END after the last; None when nothing came within ``timeout`` s. Raises what the listing
        raised, again at every later call."""
        entry = self._take()
        if entry is None and not self._ended:
            self._ready.clear()
            if not self._buffer and not self._ended:  # looked at after the clear: what comes later sets it
                self._ready.wait(timeout)
            entry = self._take()
        if entry is not None:
            return entry
        if not self._ended or self._buffer:
            return None
        if self._error is not None:
            raise self._error
        return END

    def cancel(self) -> None:
        """Tell the listing to end; what was not taken is dropped."""
        self._stopped = True
        self._token.cancel(Cancelled(f"the listing of the {self.name} was stopped"))
        self._buffer.clear()
        self._room.set()

    def stop(self, timeout: float = 0.5) -> None:
        """``cancel``, and wait at most ``timeout`` s: a silent store lets go of the thread only at its own time-out."""
        self.cancel()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _take(self) -> Entry | None:
        try:
            entry = self._buffer.popleft()
        except IndexError:
            return None
        if len(self._buffer) <= self._capacity // 2 and not self._room.is_set():
            self._room.set()
        return entry

    def _run(self) -> None:
        try:
            for entry in self._store.list(self._token, self.start_after, self._enter):
                while len(self._buffer) >= self._capacity and not self._stopped:
                    self._room.clear()
                    if len(self._buffer) >= self._capacity:
                        self._room.wait(_PATIENCE)
                if self._stopped:
                    break
                self._buffer.append(entry)
                if not self._ready.is_set():
                    self._ready.set()
        except BaseException as e:  # handed to the reader, which raises it
            self._error = e
        finally:
            if self._stopped and self._error is None:
                self._error = Cancelled(f"the listing of the {self.name} was stopped")
            self._ended = True
            self._ready.set()
