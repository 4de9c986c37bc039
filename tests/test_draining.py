"""A worker that ends: what it has in hand finishes, or goes back for another to go on with, and nothing is begun anew."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from celery.worker import state

from hugesync_tasks import draining
from hugesync_tasks.budget import Budget
from hugesync_tasks.consumer import RegisterStep
from hugesync_tasks.leaving import Leaving
from hugesync_tasks.model import Outcome, Transfer
from hugesync_tasks.perform import perform
from hugesync_tasks.stages.begin import begin
from hugesync_tasks.state.base import Claimed, Event, Task
from hugesync_tasks.state.memory import MemoryLedger
from simulated import Worker
from test_stages import BODY, Bench, listed, on_call

JOB, LONG = "j", 3_600_000


@pytest.fixture(autouse=True)
def stays() -> Iterator[None]:
    yield
    draining.leave_at(0)


class Fleet:
    """A ledger with tasks, and workers that take them one after another."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.ledger = MemoryLedger()
        self.ledger.open_job(JOB, "{}")

    def put(self, task: str, kind: str, payload: Any, file: str = "") -> None:
        self.ledger.put_tasks(JOB, [Task(task, kind, "q", 1, json.dumps(payload), file)])

    def work(self, task: str) -> str:
        worker = Worker(self.ledger, Budget(1 << 30), self.bench.job, 1)  # one attempt: a second that counts is refused
        return perform(JOB, task, worker)  # type: ignore[arg-type]

    def sent(self) -> int:
        return self.ledger.traffic(JOB).get("bytes.sent", 0)

    def free(self, task: str) -> bool:
        (status,) = self.ledger.statuses(JOB, [task])
        return (status.state, status.lease_left_ms < 0) == ("running", True)


def now(seconds_ago: float = 0.0) -> Any:
    return lambda: draining.leave_at(time.monotonic() - seconds_ago)


def batch(fleet: Fleet, files: int) -> list[Transfer]:
    transfers = [listed(fleet.bench.put(f"f{n:02}", b"%04d" % n)) for n in range(files)]
    fleet.put("b1.1", "batch", [t.wire() for t in transfers])
    return transfers


def test_a_batch_finishes_the_files_it_has_begun_and_another_worker_brings_the_others_once_each() -> None:
    fleet = Fleet()
    batch(fleet, 60)
    puts = count(1)
    on_call(fleet.bench.faulty, "put", lambda: now()() if next(puts) == 20 else None, 60)
    assert fleet.work("b1.1") == "given back"
    brought = len(fleet.bench.bucket.dump())
    assert 20 <= brought <= 20 + 16, "what sixteen threads had begun, and no more"
    assert fleet.sent() == 4 * brought
    assert fleet.free("b1.1")
    assert len(fleet.ledger.finished(JOB, {"b1.1": 0})["b1.1"]) == brought, "each of them has its receipt"

    draining.leave_at(0)
    assert fleet.work("b1.1") == "60 files"
    assert fleet.sent() == 4 * 60, "nothing was sent twice"
    (event,) = fleet.ledger.events(JOB, 0)
    assert states(event) == {"done"}


def states(event: Event) -> set[str]:
    return {Outcome.unwire(wire).state for wire in event.outcome["items"]}


def test_what_a_batch_has_begun_is_left_when_it_takes_too_long_and_fails_no_file() -> None:
    fleet = Fleet()
    batch(fleet, 40)
    puts = count(1)
    late = now(draining.FINISH + 1)
    on_call(fleet.bench.faulty, "put", lambda: late() if next(puts) == 10 else None, 40)
    assert fleet.work("b1.1") == "given back"
    brought = len(fleet.bench.bucket.dump())
    assert brought < 40
    assert len(fleet.ledger.finished(JOB, {"b1.1": 0}).get("b1.1", {})) == brought, (
        "those before it have their receipts"
    )
    assert fleet.free("b1.1")
    draining.leave_at(0)
    assert fleet.work("b1.1") == "40 files"
    assert states(fleet.ledger.events(JOB, 0)[0]) == {"done"}


def test_a_part_in_hand_goes_back_at_once_and_its_file_is_not_begun_anew() -> None:
    fleet = Fleet()
    entry = fleet.bench.put("f", BODY)
    large, _ = begin(fleet.bench.job(), Transfer(entry), fleet.bench.token)
    for number in (1, 2, 3):
        fleet.put(f"F:{number}", "part", {"number": number}, "F")
    fleet.ledger.set_upload(JOB, "F", large.fields())
    assert fleet.work("F:1") == "part 1: more"
    on_call(fleet.bench.faulty, "put_part", now())
    assert fleet.work("F:2") == "given back"
    assert fleet.free("F:2")
    draining.leave_at(0)
    assert (fleet.work("F:2"), fleet.work("F:3")) == ("part 2: more", "part 3: all")
    assert len(fleet.bench.bucket.list_uploads("d/")) == 1


def test_what_is_claimed_when_the_time_has_come_goes_back_untouched() -> None:
    fleet = Fleet()
    batch(fleet, 3)
    draining.leave_at(time.monotonic() - 1)
    assert fleet.work("b1.1") == "given back"
    assert fleet.sent() == 0
    claim = fleet.ledger.claim(JOB, "b1.1", "w", LONG, 1)
    assert (claim.answer, claim.counted) == (Claimed.OK, 0)


def test_a_worker_that_has_ended_well_and_is_slow_to_put_its_memory_away_is_not_killed_by_its_own_timer() -> None:
    """Python gives signals their default back before it takes modules apart: here that takes longer than the timer runs."""
    code = """
import signal, time
import hugesync_worker.__main__
signal.signal(signal.SIGALRM, lambda *_: None)
class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(1)
held = Slow()
signal.setitimer(signal.ITIMER_REAL, 0.5)
"""
    ended = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"], timeout=60)
    assert ended.returncode == 0


def test_a_worker_whose_broker_goes_while_it_ends_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "should_stop", None)
    leaving = Leaving("w", 50.0, close=lambda: None, children=list, ledger=MemoryLedger)
    monkeypatch.setattr(RegisterStep, "leaving", leaving)
    step = object.__new__(RegisterStep)
    step.stop(None)
    assert (leaving.connected, state.should_stop) == (False, None), "nobody told it to end: it looks for the broker"
    leaving.connected, leaving.told = True, signal.SIGTERM
    step.stop(None)
    assert (leaving.connected, state.should_stop) == (False, 0)
