"""How much time and traffic measuring may still take: ``--max-seconds`` and ``--max-bytes``."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock


class Allowance:
    """Shared by all who measure. Thread-safe."""

    def __init__(self, seconds: float, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self.began = clock()
        self.until = self.began + seconds
        self._size, self.moved = size, 0

    @property
    def left(self) -> float:
        """Seconds, never below 0."""
        return max(0.0, self.until - self._clock())

    @property
    def spent(self) -> float:
        return self._clock() - self.began

    @property
    def bytes_left(self) -> int:
        return self._size - self.moved

    def take(self, n: int) -> bool:
        """Reserve ``n`` bytes; False where they are not there."""
        with self._lock:
            if self.moved + n > self._size:
                return False
            self.moved += n
            return True

    def portion(self, share: float, size_share: float) -> Allowance:
        """A part of what is left, for one measurement; what it moves counts here too."""
        return _Portion(self, self.left * share, int(self.bytes_left * size_share), self._clock)


class _Portion(Allowance):
    def __init__(self, whole: Allowance, seconds: float, size: int, clock: Callable[[], float]) -> None:
        super().__init__(seconds, size, clock)
        self._whole = whole

    def take(self, n: int) -> bool:
        return super().take(n) and self._whole.take(n)
