"""What the ledger tells of the fleet, looked up in the background, so that nobody who asks waits for Redis."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.job_figures import family, of_jobs
from hugesync_tasks.metric_names import ENDED, METRICS, MOST_JOBS, MOST_QUEUES, OTHER
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.state.load import Load

LOOK_EVERY = 2.0  # seconds
STALE = 15.0  # seconds; older figures are not told, for nobody shall scale by them

log = logging.getLogger(__name__)


class LedgerFigures:
    """``look`` now and then; the rest answers at once. A collector of prometheus-client."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._clock = ledger, clock
        self._lock = Lock()
        self._load: Load | None = None
        self._at = 0.0
        self._since: float | None = None  # when it began to answer each time
        self.why = "the ledger was not asked yet"

    def look(self) -> None:
        """Raises nothing: what hinders is in ``why``."""
        try:
            load = self._ledger.load()
        except HugeSyncError as error:
            with self._lock:
                if self._since is not None or not self.why:
                    log.warning("the ledger cannot be asked: %s", error)
                self._since, self.why = None, str(error)
            return
        with self._lock:
            self._load, self._at, self.why = load, self._clock(), ""
            self._since = self._clock() if self._since is None else self._since

    def current(self) -> Load | None:
        """None where nothing is known that is not stale."""
        with self._lock:
            return self._load if self._load is not None and self._clock() - self._at < STALE else None

    def answers_for(self) -> float:
        """Seconds for which the ledger has answered each time; 0 where it does not now."""
        with self._lock:
            return 0.0 if self._since is None else self._clock() - self._since

    def collect(self) -> Iterator[Any]:
        load = self.current()
        yield family("ledger_up", [((), float(load is not None))])
        if load is None:
            return
        states = METRICS["hugesync_jobs"].labels["state"]
        yield family("unsettled_tasks", [((), float(load.work))])
        stand = {
            name: sum(getattr(job, name) for job in load.jobs)
            for name in METRICS["hugesync_ledger_tasks"].labels["state"]
        }
        yield family("ledger_tasks", (((name,), float(n)) for name, n in stand.items()))
        jobs = Counter(job.standing for job in load.jobs)
        yield family("jobs", (((state,), float(jobs[state])) for state in states))
        yield family("jobs_ended", (((state,), float(load.ended.get(state, 0))) for state in ENDED))
        yield family("workers", [((), float(len(load.workers)))])
        yield family("slots", [((), float(load.slots))])
        yield family(
            "queue_messages", (((queue,), float(n)) for queue, n in _bounded(load.queues, MOST_QUEUES).items())
        )
        unsettled = {job.job: job.unsettled for job in load.jobs}
        yield family("job_unsettled_tasks", (((job,), float(n)) for job, n in _bounded(unsettled, MOST_JOBS).items()))
        told = {job.job: job.told for job in load.jobs if job.told is not None}
        yield from of_jobs(told)
        ages = [(job.job, job.told_age) for job in load.jobs if job.told is not None]
        yield family("job_told_age_seconds", (((job,), age) for job, age in ages[:MOST_JOBS]))


def _bounded(counts: dict[str, int] | Any, most: int) -> dict[str, int]:
    """At most so many by themselves, the others in one."""
    items = list(counts.items())
    rest = sum(n for _, n in items[most:])
    return dict(items[:most]) | ({OTHER: rest} if len(items) > most else {})
