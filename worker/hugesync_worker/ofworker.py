"""The exporter of one worker: gathers what is seen of it, and answers for it as long as it lives."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from threading import Event

from hugesync_tasks import endpoint
from hugesync_tasks.config import Settings
from hugesync_tasks.endpoint import CannotServe, Endpoint, Page, Pages
from hugesync_tasks.state.opening import open_ledger
from hugesync_tasks.vitals import Vitals
from hugesync_worker import health
from hugesync_worker.canary import Canaries
from hugesync_worker.exporter import BIND_EVERY, in_background, work
from hugesync_worker.figures import LOOK_EVERY, LedgerFigures
from hugesync_worker.health import Seen, Verdict
from hugesync_worker.selffigures import WorkerFigures

PR_SET_PDEATHSIG = 1
TURN = 0.5  # seconds: how soon the end of the worker is seen

log = logging.getLogger(__name__)


class OfWorker:
    def __init__(self, settings: Settings, name: str, parent: int, vitals: Vitals) -> None:
        self._settings, self._name, self._parent, self._vitals = settings, name, parent, vitals
        self.ledger = LedgerFigures(open_ledger(settings))
        self.canaries = Canaries(settings, name, vitals)
        self.figures = WorkerFigures(
            vitals, parent, settings.memory, self._slots, self._passes, lambda: self.canaries.took
        )
        self._started, self._consumed = time.time(), 0.0

    def serve(self, ended: Event, life_fd: int) -> None:
        """Until the worker ends, or this process is told to."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        os.set_blocking(life_fd, False)
        in_background(self.ledger.look, LOOK_EVERY, ended)
        in_background(self._look_at_canaries, 1.0, ended)
        served: Endpoint | None = None
        next_try, said = 0.0, ""
        while not ended.wait(TURN) and os.getppid() == self._parent and not _closed(life_fd):
            if served is None and time.monotonic() >= next_try:
                try:
                    served = Endpoint(self._settings.metrics_host, self._settings.metrics_port, self.pages())
                    log.info("serves port %d of %s", served.port, self._settings.metrics_host)
                except CannotServe as error:
                    next_try = time.monotonic() + BIND_EVERY
                    if str(error) != said:
                        log.warning("%s", error)
                        said = str(error)
        ended.set()
        self.canaries.close()

    def pages(self) -> Pages:
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self.figures)
        registry.register(self.ledger)

        def answer(judge: Callable[[Seen], Verdict], accept: str) -> Page:
            return Page.verdict(*judge(self.seen()))

        return {
            "/metrics": partial(endpoint.metrics, registry),
            "/livez": partial(answer, health.live),
            "/readyz": partial(answer, health.ready),
            "/consuming": partial(answer, health.consuming),
            "/work": partial(work, self.ledger),
        }

    def seen(self) -> Seen:
        load = self.ledger.current()
        children, now = self.figures.children(), time.time()
        busy = sum(child.until > now for child in children.values())
        return Seen(
            ledger_for=self.ledger.answers_for(),
            ledger_why=self.ledger.why,
            broker_for=self.canaries.broker_for,
            registered=load is not None and self._name in load.workers,
            ending=self._vitals.is_ending(),
            since_turned=self._vitals.since_turned(),
            slots=self._slots(),
            children=len(children),
            busy=busy,
            consumed=self._consumed > 0,
            since_consumed=now - (self._consumed or self._started),
            canary_waits=self.canaries.waits,
            canary_why=self.canaries.why,
        )

    def _look_at_canaries(self) -> None:
        if self._vitals.is_ending():
            return
        self.canaries.look()
        self._consumed = max(self._consumed, self.canaries.back)
        seen = self.seen()
        if seen.children and seen.busy >= seen.children:
            self._consumed = time.time()

    def _slots(self) -> int | None:
        load = self.ledger.current()
        return None if load is None else load.workers.get(self._name)

    def _passes(self) -> dict[str, bool]:
        seen = self.seen()
        return {"live": health.live(seen)[0], "ready": health.ready(seen)[0], "consuming": health.consuming(seen)[0]}


def _closed(fd: int) -> bool:
    """Whether the other end of the pipe is closed; nothing is ever written to it."""
    try:
        return os.read(fd, 1) == b""
    except BlockingIOError:
        return False
