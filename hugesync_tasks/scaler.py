"""Autoscaling of one worker: ``autoscale`` is asked once a window, about what the children did in it."""

from __future__ import annotations

import time
from collections.abc import Callable

from celery.worker import state

from hugesync_tasks import autoscale, gauges
from hugesync_tasks.autoscale import Scale
from hugesync_tasks.slots import Slots


class Scaler:
    """``tick`` is called about once a second, in the main process."""

    def __init__(self, slots: Slots, low: int, high: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots, self._low, self._high, self._clock = slots, low, high, clock
        self._begin()

    def _begin(self) -> None:
        self._scale = Scale(self._slots.now)
        self._window()

    def _window(self) -> None:
        self._since, self._before, self._busy = self._clock(), gauges.total(), list[float]()

    def tick(self) -> None:
        if self._slots.wished:  # a person has said how many
            self._begin()
            return
        self._busy.append(min(1.0, len(state.reserved_requests) / max(1, self._slots.now)))
        seconds = self._clock() - self._since
        if seconds < autoscale.EVERY:
            return
        seen, busy = gauges.total().since(self._before), sum(self._busy) / len(self._busy)
        if self._scale.slots != self._slots.now:  # somebody else changed it meanwhile
            self._scale = Scale(self._slots.now)
        self._scale, why = autoscale.decide(self._scale, seen, seconds, busy, self._low, self._high)
        if why:
            self._slots.resize(self._scale.slots, f"autoscale: {why}")
        self._window()
