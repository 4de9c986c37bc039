"""What one worker child holds between tasks: the ledger's connection, the jobs' stores, the byte budget.

Made in the child, after the fork, at its first task: one store client made in the parent would hang every child.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from threading import Lock

import psutil

from hugesync_tasks.bandwidth import Bandwidth
from hugesync_tasks.budget import HEADROOM, in_hand, memory_for, return_freed_memory
from hugesync_tasks.buffers import sharing
from hugesync_tasks.config import Settings, load
from hugesync_tasks.errors import Permanent, Unreachable
from hugesync_tasks.signature.format import Signature
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.stages.basis import SLIDING
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.state.opening import open_ledger as open_ledger
from hugesync_tasks.stores.backup import BackingUp
from hugesync_tasks.stores.base import Store
from hugesync_tasks.stores.opening import open_store
from hugesync_tasks.stores.shared_rate import SharedRates

JOBS_KEPT = 8  # stores of so many jobs stay open in one child
SLACK, ROUND = 16 << 20, 64 << 20  # of an advised --memory: children differ a little


class Process:
    """One per worker child (``current``)."""

    _current: Process | None = None

    def __init__(self, settings: Settings, ledger: Ledger, roots: dict[str, str]) -> None:
        self.pid = os.getpid()
        self.settings = settings
        self.ledger = ledger
        self.rates = SharedRates(ledger.share_rate, draw_at=ledger.draw_at)
        self._roots = roots
        self._jobs: OrderedDict[str, JobContext] = OrderedDict()
        self._attempts: dict[str, int] = {}
        self._paces: OrderedDict[str, Bandwidth] = OrderedDict()
        self._sharer = secrets.token_hex(8)
        self.signatures: dict[str, list[Signature]] = {}  # of the file at hand
        self._lock = Lock()
        self._resident: int = psutil.Process().memory_info().rss
        self.budget = sharing.budget_for(settings, in_hand(settings.memory, self._resident))
        self._matches = False

    @classmethod
    def current(cls) -> Process:
        """This child's process; a fork's copy of the parent's is never used."""
        if cls._current is None or cls._current.pid != os.getpid():
            return_freed_memory()
            settings = load({})
            cls._current = Process(settings, open_ledger(settings), roots_of(settings))
        return cls._current

    def begin_to_match(self) -> None:
        """This process will have the compiler and its code loaded from now on."""
        with self._lock:
            if not self._matches:
                self.budget.reserve(int(SLIDING * HEADROOM))
            self._matches = True

    def memory_for(self, in_hand: int) -> int:
        """The ``--memory``, a round number of bytes, under which a worker like this one may hold ``in_hand`` bytes."""
        least = memory_for(in_hand, self._resident) + SLACK
        return -(-least // ROUND) * ROUND

    def job(self, job_id: str) -> JobContext:
        """The job's stores, opened at its first task here."""
        with self._lock:
            known = self._jobs.get(job_id)
            if known is not None:
                self._jobs.move_to_end(job_id)
                return known
            text = self.ledger.spec(job_id)
            if text is None:
                # flushed: its coordinator writes it anew. The task is not failed, its lease lapses and it is sent again.
                raise Unreachable(f"the ledger does not know job {job_id}")
            spec = Spec.unwire(json.loads(text))
            rates = self.rates.of_job(self._requests(job_id))
            job = JobContext(
                spec,
                open_store(
                    self.placed(spec.source),
                    spec.source_limits,
                    spec.options,
                    role="source",
                    links=spec.selection.links,
                    rates=rates,
                    reads_only=spec.compares,
                    job=job_id,
                ),
                self._dest(spec, rates),
            )
            self._jobs[job_id] = job
            while len(self._jobs) > JOBS_KEPT:
                self._jobs.popitem(last=False)[1].close()
            return job

    def pace(self, job_id: str) -> Bandwidth:
        """This process's part in the job's bandwidth. Asks nobody yet."""
        with self._lock:
            known = self._paces.pop(job_id, None)
            if known is None:
                known = Bandwidth(partial(self.ledger.draw, job_id, self._sharer))
            self._paces[job_id] = known
            while len(self._paces) > JOBS_KEPT:
                self._paces.popitem(last=False)
            return known

    def _requests(self, job_id: str) -> Bandwidth:
        """This process's part in the job's requests per second."""
        draw = partial(self.ledger.draw, job_id, self._sharer, of="tpslimit")
        return Bandwidth(draw, name="--tpslimit", unit="requests")

    def _dest(self, spec: Spec, rates: SharedRates) -> Store:
        place, limits = self.placed(spec.dest), spec.dest_limits
        only = spec.compares
        store = open_store(place, limits, spec.options, role="destination", rates=rates, reads_only=only, job=spec.job)
        return BackingUp(store, spec.options.backup_dir) if spec.options.backup_dir else store

    def max_attempts(self, job_id: str) -> int:
        """The job's own ``--retries``; this worker's setting where the ledger has lost the job."""
        known = self._attempts.get(job_id)
        if known is None:
            text = self.ledger.spec(job_id)
            if text is None:
                return self.settings.retries
            known = Spec.unwire(json.loads(text)).options.retries
            while len(self._attempts) >= JOBS_KEPT:
                self._attempts.popitem()
            self._attempts[job_id] = known
        return known

    def placed(self, location: Location) -> Location:
        """The location as this worker sees it: a root's name becomes the folder it stands for here."""
        if location.scheme != "file":
            return location
        base = self._roots.get(location.root)
        if base is None:
            raise Permanent(f"this worker has no root named {location.root}")
        return replace(location, local=os.path.join(base, location.path) if location.path else base)


def roots_of(settings: Settings) -> dict[str, str]:
    """``NAME=PATH`` or ``PATH`` (named by itself) of each ``--root``."""
    roots = {}
    for text in settings.worker_roots:
        name, eq, path = text.partition("=")
        if not eq or "/" in name:
            name = path = text
        roots[name] = os.path.abspath(path)
    return roots
