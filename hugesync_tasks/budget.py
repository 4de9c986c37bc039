"""A bound on the bytes in hand: what ``--memory`` leaves to a worker process after start-up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Budget:
    """``hold(n)`` waits until ``n`` bytes fit. More than the whole is let in alone, so that nobody waits for ever."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._held = 0
        self._free = Condition()

    @contextmanager
    def hold(self, n: int) -> Iterator[None]:
        n = min(n, self._total)
        with self._free:
            self._free.wait_for(lambda: self._held + n <= self._total)
            self._held += n
        try:
            yield
        finally:
            with self._free:
                self._held -= n
                self._free.notify_all()
