"""Signals that arrive while the books are being kept: noted, and raised where every entry is in its place."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Within the context a first signal only waits for ``check``; a second one acts at once. Outside the main thread, and for
    signals nobody handles, it changes nothing."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._noted = False

    @property
    def noted(self) -> bool:
        """Whether a signal came."""
        return self._noted

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came."""
        if self._noted:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted:
            self._before[number](number, frame)
        self._noted = True

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self._before = {number: handler for number, handler in handlers.items() if callable(handler)}
            for number in self._before:
                signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
