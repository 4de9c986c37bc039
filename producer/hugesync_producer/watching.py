"""Follow jobs that run elsewhere, one or several, from any host that reaches their ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from hugesync_producer import latest
from hugesync_producer.coordinator import LEDGER_PATIENCE
from hugesync_producer.jobs import WATCH_EVERY, status
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.summary import Observer, State, Summary


def followed(job: str, settings: Settings, observer: Observer) -> Summary:
    """The end of a job that goes on in another process. Raises Unreachable where the ledger stays away."""
    observer.on_notice(f"job {job} goes on in the process that runs it, which is followed here")
    return watch_all([job], settings, {job: observer}, lambda job, summary: None)[job]


def watch_all(
    jobs: Sequence[str], settings: Settings, observers: Mapping[str, Observer], ended: Callable[[str, Summary], object]
) -> dict[str, Summary]:
    """Until all of them have ended; ``observers`` by job. ``ended`` is told of each as it ends. Raises UsageError for one that nobody
    knows before any is followed, Unreachable where the ledger stays away."""
    left, summaries = list(dict.fromkeys(jobs)), dict[str, Summary]()
    away_since: float | None = None
    while True:
        try:
            found, away_since = {job: status(job, settings) for job in left}, None
        except Unreachable as error:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > LEDGER_PATIENCE:
                raise
            observers[left[0]].on_notice(f"waiting for the ledger: {error}")
            time.sleep(WATCH_EVERY)
            continue
        for job, stands in found.items():
            if stands["state"] != State.RUNNING:
                summaries[job] = latest.ended(stands)
                ended(job, summaries[job])
            else:
                observers[job].on_progress(latest.snapshot(stands))
        left = [job for job in left if job not in summaries]
        if not left:
            return {job: summaries[job] for job in dict.fromkeys(jobs)}
        time.sleep(WATCH_EVERY)
