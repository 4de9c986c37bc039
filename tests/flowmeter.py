"""How fast something grows, seen from outside: sampled while a job runs, judged afterwards over every window of so many seconds."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import pairwise

STARVED = 0.2  # seconds that the sampler was kept from running


class Flowmeter:
    """Samples ``count`` (bytes so far) every 20 ms from ``with`` to its end."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self.samples: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Flowmeter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            self.samples.append((time.monotonic(), self._count()))

    def rates(
        self, seconds: float, beyond: int, settle: float = 0.5, since: float = 0.0, until: float = float("inf")
    ) -> list[float]:
        """Bytes per second over each window of ``seconds`` that lies between the moment when more than ``beyond`` bytes had passed
        (and ``since``) and the last byte (and ``until``), ``settle`` seconds away from either. A window in
        which the machine kept this very process from running for a while says nothing and is left out."""
        first, last = self.samples[0][1], self.samples[-1][1]
        begun = next(t for t, n in self.samples if n > first + beyond and t >= since) + settle
        ended = min(until, next(t for t, n in self.samples if n >= last)) - settle
        times = [t for t, _ in self.samples]
        starved = [b for a, b in pairwise(times) if b - a > STARVED]
        rates = []
        for t, n in self.samples:
            if begun <= t and t + seconds <= ended:
                if bisect_right(starved, t) != bisect_right(starved, t + seconds):
                    continue
                at = bisect_left(times, t + seconds)
                rates.append((self.samples[at][1] - n) / (times[at] - t))
        return rates
