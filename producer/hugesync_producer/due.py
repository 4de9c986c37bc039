"""What a loop does now and then."""

from __future__ import annotations

from collections.abc import Callable


class Due:
    """``due(what, every)``: whether it is time for ``what``, at most once in ``every`` seconds; the first time at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}

    def __call__(self, what: str, every: float) -> bool:
        now = self._clock()
        if now < self._next.get(what, 0.0):
            return False
        self._next[what] = now + every
        return True

    def at_once(self, what: str) -> None:
        """It is due now, whenever it was done last."""
        self._next.pop(what, None)
