"""A rolling deploy: a worker meets tasks whose name or kind only another release knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

import servers
from hugesync_tasks.celery import options
from hugesync_tasks.config import Settings
from hugesync_tasks.model import Outcome
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.state.base import Task, TaskStatus, expire_leases
from hugesync_tasks.state.redis import RedisLedger
from hugesync_tasks.strange import DECLINED_MS
from processes import Place, wait_until

RETRIES = 2
NAMES = {"unknown name": "hugesync.tomorrow", "known name": "hugesync.batch"}  # task id -> the name it is sent under


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    it = Place(tmp_path / "place")
    yield it
    it.end()


class Tomorrow:
    """A coordinator of the next release."""

    def __init__(self, url: str) -> None:
        settings = Settings(broker_url=url)
        self.ledger: RedisLedger = open_ledger(settings)
        self._app = Celery("tomorrow")
        self._app.conf.update(options(settings))
        spec = Spec("j", Location("s3", bucket="a"), Location("s3", bucket="b"), options=Options(retries=RETRIES))
        self.ledger.open_job("j", json.dumps(spec.wire()))
        self.ledger.set_meta("j", state="running")

    def send(self) -> None:
        tasks = [Task(task, "tomorrow", "hs.any", 1, "{}", "F") for task in NAMES]
        self.ledger.put_tasks("j", tasks)
        for task, name in NAMES.items():
            self._app.send_task(name, args=("j", task), queue="hs.any", ignore_result=True)

    def seen(self) -> list[TaskStatus]:
        return self.ledger.statuses("j", list(NAMES))


def held(status: TaskStatus, attempt: int) -> bool:
    """Nobody else is sent it at once, and nobody has settled it."""
    return (status.state, status.attempts) == ("running", attempt) and status.lease_left_ms > DECLINED_MS - 10_000


def test_a_task_that_only_another_release_knows_is_left_to_it_and_fails_with_the_reason_where_there_is_none(
    place: Place, broker: servers.ValkeyServer
) -> None:
    worker = place.worker(broker.url, "--concurrency", "1")
    coordinator = Tomorrow(broker.url)
    for attempt in range(1, RETRIES + 1):
        coordinator.send()
        wait_until(lambda n=attempt: all(held(s, n) for s in coordinator.seen()), what=f"attempt {attempt}")
        assert all(s.lease_left_ms <= DECLINED_MS for s in coordinator.seen())
        assert coordinator.ledger.events("j", 0) == []
        expire_leases(coordinator.ledger, "j", list(NAMES))
        wait_until(lambda: all(s.lease_left_ms < 0 for s in coordinator.seen()), what="the end of both leases")
    coordinator.send()

    failed: dict[str, Outcome] = {}

    def told() -> bool:
        failed.update({e.task: Outcome.unwire(e.outcome["error"]) for e in coordinator.ledger.events("j", 0)})
        return set(failed) == set(NAMES)

    wait_until(told, what="both verdicts")
    for outcome in failed.values():
        assert (outcome.state, outcome.reason) == ("failed", "permanent")
        assert "'tomorrow'" in outcome.message
        assert f"in {RETRIES} attempts" in outcome.message
    assert worker.process.poll() is None
    assert "does not know" in worker.said()
    coordinator.ledger.close()
    assert worker.stop() == 0
