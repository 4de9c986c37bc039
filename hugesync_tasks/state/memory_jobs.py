"""The quiet half of the ledger in memory: jobs, leases, checkpoint, workers. ``memory.py`` adds tasks and files."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from threading import Condition
from typing import Any

from hugesync_tasks.errors import Refused
from hugesync_tasks.model import Part
from hugesync_tasks.state.base import EVERYONE, TOLD_MS, TakenUp, Task
from hugesync_tasks.state.memory_rates import MemoryRates


@dataclass(slots=True)
class TaskRecord:
    task: Task
    attempts: int = 0
    running: bool = False
    recalled: bool = False
    until: float = 0.0
    since: float | None = None
    moved: int = 0
    gave: int = 0  # the attempt that gave it back last
    given: int = 0  # how many did
    receipts: dict[int, Any] = field(default_factory=dict)


@dataclass(slots=True)
class UploadRecord:
    fields: dict[str, str]
    parts: dict[int, Part] = field(default_factory=dict)
    notes: dict[str, bytes] = field(default_factory=dict)

    def takes(self, gen: str, upload: str) -> bool:
        return self.fields["gen"] == gen and upload in ("", self.fields.get("upload"))


@dataclass(slots=True)
class JobRecord:
    meta: dict[str, str] = field(default_factory=dict)
    checkpoint: tuple[str, str, str] | None = None
    latest: tuple[str, float] | None = None
    names: list[bytes] = field(default_factory=list)
    tasks: dict[str, TaskRecord] = field(default_factory=dict)
    files: dict[str, UploadRecord] = field(default_factory=dict)
    events: deque[str] = field(default_factory=deque)
    traffic: Counter[str] = field(default_factory=Counter)


class MemoryJobs(MemoryRates):
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.queues: Counter[str] = Counter()
        self._changed = Condition()
        self.flush()

    def flush(self) -> None:
        """Forget everything, as FLUSHALL does."""
        with self._changed:
            self._specs: dict[str, tuple[str, float]] = {}
            self._jobs: dict[str, JobRecord] = {}
            self._leases: dict[tuple[str, str], tuple[str, float]] = {}  # (what, of whom) -> (holder, until)
            self._announced: dict[str, str] = {}
            self._offers: dict[str, str] = {}
            self._heard: dict[str, float] = {}  # worker -> its last heartbeat
            self._wishes: dict[str, int] = {}
            self._flush_rates()

    def _job(self, job: str) -> JobRecord:
        return self._jobs.setdefault(job, JobRecord())

    def _said(self, job: str, of: str) -> str | None:
        return self._job(job).meta.get(of)

    # jobs
    def check_server(self) -> None:
        return None

    def open_job(self, job: str, spec: str) -> None:
        with self._changed:
            self._specs[job] = (spec, self.clock())

    def spec(self, job: str) -> str | None:
        return self._specs[job][0] if job in self._specs else None

    def jobs(self) -> list[tuple[str, float]]:
        with self._changed:
            started = [(job, when) for job, (_, when) in self._specs.items()]
        return sorted(started, key=lambda row: (row[1], row[0]), reverse=True)

    def meta(self, job: str) -> dict[str, str]:
        with self._changed:
            return dict(self._job(job).meta)

    def set_meta(self, job: str, **fields: str) -> None:
        with self._changed:
            self._job(job).meta.update(fields)

    def cancel(self, job: str) -> None:
        self.set_meta(job, cancel="1")

    def forget_job(self, job: str, history: bool = True) -> None:
        with self._changed:
            meta = self._job(job).meta
            self._jobs.pop(job)
            self._leases.pop(("lead", job), None)
            if history:
                self._job(job).meta = meta
            else:
                self._specs.pop(job, None)

    def put_names(self, job: str, blocks: Iterable[bytes]) -> None:
        with self._changed:
            self._job(job).names = list(blocks)

    def names(self, job: str) -> Iterator[bytes]:
        with self._changed:
            return iter(list(self._job(job).names))

    # leadership, checkpoint, destination lock
    def lead(self, job: str, owner: str, lease_ms: int) -> bool:
        with self._changed:
            if self._hold(("lead", job), owner, lease_ms) != owner:
                return False
            self._job(job).meta["owner"] = owner
            return True

    def keep_lead(self, job: str, owner: str, lease_ms: int) -> bool:
        with self._changed:
            led_since = self._job(job).meta.get("owner", owner) != owner
            if self._holder(("lead", job)) is None and led_since:
                return False
            return self.lead(job, owner, lease_ms)

    def leader(self, job: str) -> str:
        with self._changed:
            return self._holder(("lead", job)) or ""

    def step_down(self, job: str, owner: str) -> None:
        self._release(("lead", job), owner)

    def offer(self, job: str, needs: str) -> None:
        with self._changed:
            self._offers[job] = needs

    def withdraw(self, job: str) -> None:
        with self._changed:
            self._offers.pop(job, None)

    def leaderless(self) -> dict[str, str]:
        with self._changed:
            return {job: needs for job, needs in self._offers.items() if self._holder(("lead", job)) is None}

    def take_up(self, job: str, owner: str, lease_ms: int, most: int, wait_ms: tuple[int, int]) -> TakenUp:
        with self._changed:
            meta, key = self._job(job).meta, (self._job(job).checkpoint or ("",))[0]
            if self._holder(("lead", job)) is not None:
                return TakenUp.LED
            if meta.get("state") != "running":
                return TakenUp.ENDED
            tries = int(meta.get("tries", "0")) if meta.get("tried_key") == key else 0
            if tries >= most:
                return TakenUp.WORN
            wait = min(wait_ms[1], wait_ms[0] * 2 ** (tries - 1)) / 1000 if tries else 0.0
            if self.clock() < float(meta.get("tried_at", "0")) / 1000 + wait:
                return TakenUp.LATER
            self.lead(job, owner, lease_ms)
            meta.update(tries=str(tries + 1), tried_at=f"{self.clock() * 1000:.0f}", tried_key=key)
            return TakenUp.OK

    def take_over(self, job: str, owner: str) -> int:
        with self._changed:
            if self._holder(("lead", job)) != owner:
                raise Refused(f"another coordinator leads job {job}")
            j = self._job(job)
            j.tasks.clear()
            j.events.clear()
            j.meta["epoch"] = str(max(int(self.clock() * 1000), int(j.meta.get("epoch", "0")) + 1))
            return int(j.meta["epoch"])

    def checkpoint(self, job: str, owner: str, key: str, counters: str, failures: str) -> bool:
        with self._changed:
            if self._holder(("lead", job)) != owner:
                return False
            self._job(job).checkpoint = (key, counters, failures)
            return True

    def read_checkpoint(self, job: str) -> tuple[str, str, str] | None:
        with self._changed:
            return self._job(job).checkpoint

    def tell(self, job: str, latest: str) -> None:
        with self._changed:
            self._job(job).latest = (latest, self.clock())

    def told(self, job: str) -> tuple[str, float] | None:
        with self._changed:
            latest, when = self._job(job).latest or ("", 0.0)
            age = self.clock() - when
            return (latest, age) if when and age < TOLD_MS / 1000 else None

    def lock(self, destination: str, job: str, lease_ms: int) -> str:
        return self._hold(("lock", destination), job, lease_ms)

    def unlock(self, destination: str, job: str) -> None:
        self._release(("lock", destination), job)

    def _holder(self, lease: tuple[str, str]) -> str | None:
        holder, until = self._leases.get(lease, ("", 0.0))
        return holder if until > self.clock() else None

    def _hold(self, lease: tuple[str, str], caller: str, lease_ms: int) -> str:
        with self._changed:
            holder = self._holder(lease)
            if holder not in (None, caller):
                return str(holder)
            self._leases[lease] = (caller, self.clock() + lease_ms / 1000)
            return caller

    def _release(self, lease: tuple[str, str], caller: str) -> None:
        with self._changed:
            if self._holder(lease) == caller:
                del self._leases[lease]

    # workers, announcements
    def heartbeat(self, worker: str, info: str, lease_ms: int) -> None:
        with self._changed:
            self._leases["worker", worker] = (info, self.clock() + lease_ms / 1000)
            self._heard[worker] = self.clock()

    def workers(self, heard_within_ms: int | None = None) -> dict[str, str]:
        with self._changed:
            now = self.clock()
            since = 0.0 if heard_within_ms is None else now - heard_within_ms / 1000
            return {
                who: info
                for (what, who), (info, until) in self._leases.items()
                if what == "worker" and until > now and self._heard[who] >= since
            }

    def wish_slots(self, whom: str, slots: int) -> None:
        with self._changed:
            if whom == EVERYONE:
                self._wishes.clear()
            self._wishes[whom] = slots

    def wished_slots(self) -> dict[str, int]:
        with self._changed:
            return dict(self._wishes)

    def announce(self, queue: str, needs: str) -> None:
        with self._changed:
            self._announced[queue] = needs

    def retract(self, queue: str) -> None:
        with self._changed:
            self._announced.pop(queue, None)

    def announced(self) -> dict[str, str]:
        with self._changed:
            return dict(self._announced)

    def queue_length(self, queue: str) -> int:
        return self.queues[queue]

    def close(self) -> None:
        return None
