"""``hugesync scale``: how many child processes the workers of a fleet are to have."""

from __future__ import annotations

from dataclasses import dataclass

from hugesync_producer.fleet import described, live
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import UsageError
from hugesync_tasks.process import open_ledger
from hugesync_tasks.register import known_as
from hugesync_tasks.state.base import EVERYONE


@dataclass(frozen=True, slots=True)
class Scaled:
    """``workers``: those that are there now and follow; each with the children it has at this moment."""

    slots: int
    workers: dict[str, int]


def scale(settings: Settings, slots: int, worker: str = "") -> Scaled:
    """Leave the wish where every worker reads it within a second or two. ``worker``: one by its name, or all of a host by the
    host's; "" = all that are there or come. Raises UsageError without a fleet, and for a worker that is not there."""
    if not settings.broker_url:
        raise UsageError("scale is about the workers of a fleet: --broker URL; the size of a job without one is --jobs")
    ledger = open_ledger(settings)
    try:
        workers = live(ledger)
        meant = {name: row for name, row in workers.items() if worker in ("", *known_as(name))}
        if worker and not meant:
            raise UsageError(f"no worker is called {worker}; workers: {described(workers)}")
        ledger.wish_slots(worker or EVERYONE, slots)
        return Scaled(slots, {name: int(row["slots"]) for name, row in sorted(meant.items())})
    finally:
        ledger.close()
