"""What a worker does for jobs that nobody coordinates: it starts a coordinator where it can, and where no worker can it says why.

A job is offered in the ledger as long as it wants a coordinator. When its lease lapses (killed, host gone, detached) a worker
that has its roots takes the lease and starts the coordinator as a process of its own, by exec: the worker's main process
touches no store, and a Celery task must not hold a job. The lease is the election; the new process goes on under the same name.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from hugesync_tasks.errors import Refused, UsageError
from hugesync_tasks.register import Register, holds
from hugesync_tasks.state.base import Ledger, TakenUp

LOOK_EVERY = 2.0  # seconds
START_MS = 30_000  # a process that was started has so long to take its lease
TRIES = 8  # coordinators that ended in a row while K stood still
WAIT_MS = (5_000, 300_000)  # between two of them: doubled each time
PATIENCE = 60.0  # seconds that a worker which has a job's roots is waited for
DECLINES_FOR = 600.0  # seconds that a worker remembers what it could not do
MOST = 8  # coordinators of one worker; a job that waits for one is looked at again
DECLINED = (
    UsageError.exit_code,
    Refused.exit_code,
)  # ended before the job began, for a reason that another try here will meet

log = logging.getLogger(__name__)


class Started(Protocol):
    """A coordinator's process (``subprocess.Popen``)."""

    pid: int

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Coordinator:
    process: Started
    owner: str


class Leading:
    """One worker's part. ``start(job, owner)`` starts a coordinator; ``tick`` is called about once a second."""

    def __init__(
        self, register: Register, start: Callable[[str, str], Started], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._register, self._start, self._clock = register, start, clock
        self._next = 0.0
        self._coordinators: dict[str, Coordinator] = {}
        self._declined: dict[str, float] = {}  # job -> when
        self._alone_since: dict[str, float] = {}  # job that no worker could take -> since when

    @property
    def _ledger(self) -> Ledger:
        return self._register.ledger

    def tick(self) -> None:
        """Take up what nobody leads. Raises HugeSyncError where the ledger cannot be asked."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + LOOK_EVERY
        self._reap(now)
        jobs = {job: json.loads(needs) for job, needs in self._ledger.leaderless().items()}
        self._alone_since = {job: since for job, since in self._alone_since.items() if job in jobs}
        for job, needs in jobs.items():
            if job in self._coordinators:
                continue  # it lost its lease, or never took it; it ends by itself
            why = self._why_not(job, needs)
            if why:
                self._register.declines[job] = why
                self._consider_end(job, needs, now)
            elif len(self._coordinators) < MOST:
                self._take_up(job)

    def stop(self) -> None:
        """The worker ends: its coordinators hand their jobs over."""
        for coordinator in self._coordinators.values():
            coordinator.process.terminate()

    def _take_up(self, job: str) -> None:
        owner = f"{self._register.name}/{secrets.token_hex(4)}"
        answer = self._ledger.take_up(job, owner, START_MS, TRIES, WAIT_MS)
        if answer is TakenUp.OK:
            try:
                self._coordinators[job] = Coordinator(self._start(job, owner), owner)
            except OSError as error:
                log.error("no coordinator could be started for job %s: %s", job, error)
                self._ledger.step_down(job, owner)
                return
            log.info("job %s has no coordinator: started one, pid %d", job, self._coordinators[job].process.pid)
        elif answer is TakenUp.WORN:
            last = self._ledger.meta(job).get("reason", "")
            self._end(
                job, f"its coordinator ended {TRIES} times without getting any further{f': {last}' if last else ''}"
            )
        elif answer is TakenUp.ENDED:
            self._ledger.withdraw(job)  # whoever ended it died before this

    def _reap(self, now: float) -> None:
        for job, coordinator in list(self._coordinators.items()):
            code = coordinator.process.poll()
            if code is None:
                continue
            del self._coordinators[job]
            log.info("the coordinator of job %s ended with exit code %d", job, code)
            if code in DECLINED:
                self._declined[job] = now
                self._register.declines[job] = self._ledger.meta(job).get("reason", "") or f"exit code {code}"
        self._declined = {job: when for job, when in self._declined.items() if now - when < DECLINES_FOR}
        declines = self._register.declines
        for job in [job for job in declines if job not in self._declined]:
            del declines[job]  # what is still so is found again

    def _why_not(self, job: str, needs: dict[str, Any]) -> str:
        """Why this worker cannot coordinate a job; "" where it can."""
        if job in self._declined:
            return self._register.declines[job]
        for root in needs.get("roots", []):
            path = self._register.roots.get(root["name"])
            if path is None:
                return _lacks(root)
            samples, mark = root.get("samples", []), root.get("mark")
            if not root.get("dest") and not os.path.isdir(os.path.join(path, root.get("path", ""))):
                return f"root {root['name']} at {path} is not the submitter's: {root['path']!r} is missing"
            if samples and not any(holds(path, sample) for sample in samples):
                return f"root {root['name']} at {path} is not the submitter's: {samples[0][0]!r} differs or is missing"
            if mark and not os.path.lexists(os.path.join(path, mark)):
                return f"root {root['name']} at {path} is not the submitter's: {mark} is missing"
        return ""

    def _consider_end(self, job: str, needs: dict[str, Any], now: float) -> None:
        """A job that no worker can coordinate is stalled, once one that could has been waited for."""
        reasons = {self._register.name: self._register.declines[job]}
        for name, row in self._register.fellows().items():
            missing = [_lacks(root) for root in needs.get("roots", []) if root["name"] not in row.get("roots", {})]
            reasons[name] = row.get("declines", {}).get(job, "") or "; ".join(missing)
        if not all(reasons.values()):
            self._alone_since.pop(job, None)
            return
        patience = 2 * LOOK_EVERY if job in self._declined else PATIENCE
        if now - self._alone_since.setdefault(job, now) >= patience:
            self._end(job, "; ".join(f"{name}: {why}" for name, why in sorted(reasons.items())))

    def _end(self, job: str, why: str) -> None:
        """Let the job stand still, where a person sees it and can resume it; unless somebody leads it after all."""
        owner = f"{self._register.name}/end"
        if not self._ledger.lead(job, owner, START_MS):
            return
        if self._ledger.meta(job).get("state") == "running":
            log.warning("job %s is stalled: no worker can coordinate it: %s", job, why)
            self._ledger.set_meta(job, state="stalled", reason=f"no worker can coordinate it: {why}")
        for field in self._ledger.announced():
            if field.endswith(f"|{job}"):
                self._ledger.retract(field)
        self._ledger.withdraw(job)
        self._ledger.step_down(job, owner)


def _lacks(root: dict[str, Any]) -> str:
    return f"it has no root {root['name']} ({root.get('shown', '')})"
