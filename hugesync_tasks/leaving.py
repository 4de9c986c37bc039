"""How a worker ends: at SIGTERM it takes nothing more, and what it has in hand finishes or goes back.

    SIGTERM                  no queue is asked any more; its coordinators hand their jobs over; children go on with what they have
    + drain_timeout          children give back what is not finished: parts at once, of a batch what they have not begun
    + KILL_AFTER             what still hangs is killed, its leases are given up
    nothing in hand          Celery's own way out, exit code 0
    a second SIGTERM, SIGQUIT    everything ends at once, leases given up, exit code 128 + the signal

The children know the time by themselves (``draining``), and a timer of the operating system sees to it that the process ends, so
that a main process which waits for a broker that is gone holds nothing up.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery.worker import state

from hugesync_tasks import draining
from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.state.base import Ledger, expire_leases

KILL_AFTER = draining.FINISH + 2.0  # seconds after drain_timeout
END_AFTER = 8.0  # seconds after drain_timeout: the process is gone
LAST_WORDS = 1.5  # seconds for giving up the leases of what was killed

log = logging.getLogger(__name__)


class Leaving:
    """``close``: nothing more is taken from a queue. ``children``: the pids of the pool. ``ledger`` opens one of its own: a
    signal may come in the middle of another's call."""

    def __init__(
        self,
        name: str,
        timeout: float,
        close: Callable[[], None],
        children: Callable[[], list[int]],
        ledger: Callable[[], Ledger],
    ) -> None:
        self.told = 0  # the signal by which it was told to end
        self.connected = True  # to the broker: ``step`` is called
        self.said = False
        self._name, self._timeout, self._close, self._children, self._ledger = name, timeout, close, children, ledger
        self._until = 0.0

    def listen(self) -> None:
        """In place of Celery's handlers."""
        signal.signal(signal.SIGTERM, self._asked)
        signal.signal(signal.SIGINT, self._asked)
        signal.signal(signal.SIGQUIT, lambda signum, _: self._end(128 + signum))
        signal.signal(signal.SIGALRM, lambda *_: self._end(0))

    def step(self, idle: bool) -> None:
        """While ``told``, several times a second: ends the worker as soon as it can."""
        if not self.said:
            self.said = True
            n = len(state.reserved_requests)
            log.info(
                "told to end by %s: takes nothing more; in hand: %d, may finish within %g s",
                signal.Signals(self.told).name, n, self._timeout,
            )  # fmt: skip
        if idle:
            state.should_stop = 0
        elif time.monotonic() >= self._until + KILL_AFTER:
            log.warning("%d tasks did not end in time: they are killed and go back", len(state.reserved_requests))
            self._end(0)

    def _asked(self, signum: int, _: Any) -> None:
        if self.told:
            self._end(128 + signum)
        self.told, self._until = signum, time.monotonic() + self._timeout
        self._close()
        draining.leave_at(self._until)
        signal.setitimer(signal.ITIMER_REAL, self._timeout + END_AFTER)
        self._need_no_broker()

    def lost(self) -> None:
        """The broker is gone: ``step`` is not called until it is back. Whoever is told to end does not wait for that."""
        self.connected = False
        self._need_no_broker()

    def _need_no_broker(self) -> None:
        if self.told and not self.connected:
            state.should_stop = 0  # Celery looks before each attempt, and then waits for its children

    def _end(self, code: int) -> None:
        """At once: nothing of what is in hand goes on, and it is free for others."""
        signal.signal(signal.SIGALRM, lambda *_: os._exit(code))
        signal.setitimer(signal.ITIMER_REAL, LAST_WORDS)
        try:
            held = [args for request in list(state.reserved_requests) if len(args := tuple(request.args or ())) == 2]
            for pid in self._children():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(HugeSyncError):
                ledger = self._ledger()
                for job, task in held:
                    expire_leases(ledger, job, [task])
                ledger.heartbeat(self._name, "", 1)
        finally:
            os._exit(code)
