"""What a fleet has to do and who is there for it: plain values, for metrics, health and scaling."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

LOAD_MS = 2_000  # what was counted for one is told to all that ask within so long
RECENT_JOBS = 200  # of which a load tells how they ended
DETAILED_JOBS = 20  # of which it tells how far they are
# of what a coordinator tells of its job (``latest.wire``); the names of files in flight stay where they are
TOLD = ("files", "bytes", "traffic", "conflicts", "scan_complete", "throttled", "elapsed")


@dataclass(frozen=True, slots=True)
class JobLoad:
    """How much of a job that has not ended is unsettled: tasks by how they stand."""

    job: str
    state: str  # "running"; "" where the ledger lost it
    paused: bool
    led: bool  # a coordinator holds its lease
    offered: bool  # it wants one
    unsettled: int  # all tasks, those included whose record was lost
    queued: int = 0
    running: int = 0  # under a lease that stands
    expired: int = 0
    recalled: int = 0
    told: Mapping[str, Any] | None = None  # by its coordinator, the keys of ``TOLD``
    told_age: float = 0.0  # seconds

    @property
    def alive(self) -> bool:
        return self.led or self.offered or self.unsettled > 0

    @property
    def work(self) -> int:
        """What workers are needed for. A job that runs is work also while no task of it is out: its listing may take long, and a
        detached one has no coordinator before a worker is there."""
        return self.running if self.paused else max(self.unsettled, int(self.alive))

    @property
    def standing(self) -> str:
        """A word of the metric ``hugesync_jobs``."""
        return "paused" if self.paused else "running" if self.led else "uncoordinated"


@dataclass(frozen=True, slots=True)
class Load:
    jobs: tuple[JobLoad, ...] = ()  # that have not ended
    ended: Mapping[str, int] = field(default_factory=dict)  # state -> how many of the newest jobs
    workers: Mapping[str, int] = field(default_factory=dict)  # whose heartbeat stands -> slots
    queues: Mapping[str, int] = field(default_factory=dict)  # queue that jobs use -> messages, its twin's included

    @property
    def work(self) -> int:
        return sum(job.work for job in self.jobs)

    @property
    def running(self) -> int:
        return sum(job.running for job in self.jobs)

    @property
    def slots(self) -> int:
        return sum(self.workers.values())

    def wire(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def unwire(cls, text: str) -> Self | None:
        """None for what another release wrote and this one cannot read."""
        try:
            w = json.loads(text)
            known = {f.name for f in fields(JobLoad)}
            jobs = tuple(JobLoad(**{k: v for k, v in job.items() if k in known}) for job in w["jobs"])
            return cls(jobs, w["ended"], w["workers"], w["queues"])
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def told_of(latest: str) -> dict[str, Any]:
    """What a load keeps of what a coordinator told."""
    told = json.loads(latest)
    return {name: told[name] for name in TOLD if name in told}


def counted(states: Iterable[str]) -> dict[str, int]:
    return dict(Counter(states))


def slots_of(workers: Mapping[str, str]) -> dict[str, int]:
    """Worker -> slots, from their heartbeats."""
    return {name: int(json.loads(row).get("slots", 0)) for name, row in workers.items() if row}


def queues_of(announced: Iterable[str]) -> list[str]:
    """The queues that jobs use, from their announcements (``queue|job``), and the one that needs no root."""
    return sorted({"hs.any", *(field.rpartition("|")[0] for field in announced)})
