"""Dispatch: what must be sent again and what must not, how much may be out, and that nothing in hand is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_producer.dispatch import CHECK_EVERY, PATIENCE, Dispatcher, QueueView, must_resend
from hugesync_producer.pool import LEAST_OUT, PER_SLOT, Pool, Stalled
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.state.base import Task, TaskStatus
from hugesync_tasks.state.memory import MemoryLedger

QUEUED, RUNNING, NONE = "queued", "running", ""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def view(passed: int = 0, empty_for: float | None = None, now: float = 1000.0) -> QueueView:
    return QueueView(empty_since=None if empty_for is None else now - empty_for, passed_seq=passed)


@pytest.mark.parametrize(
    ("status", "missing", "queue", "again"),
    [
        (TaskStatus(NONE), 1, view(), False),  # its event may be on the way
        (TaskStatus(NONE), 2, view(), True),
        (TaskStatus(RUNNING, 5, lease_left_ms=1), 0, view(passed=9, empty_for=99), False),
        (TaskStatus(RUNNING, 5, lease_left_ms=-1), 0, view(), True),
        (TaskStatus(QUEUED, 5), 0, view(), False),
        (TaskStatus(QUEUED, 5), 0, view(passed=5), False),
        (TaskStatus(QUEUED, 5), 0, view(passed=6), True),
        (TaskStatus(QUEUED, 5), 0, view(empty_for=PATIENCE - 0.1), False),
        (TaskStatus(QUEUED, 5), 0, view(empty_for=PATIENCE), True),
    ],
)
def test_a_task_is_sent_again_for_these_reasons_only(
    status: TaskStatus, missing: int, queue: QueueView, again: bool
) -> None:
    assert must_resend(status, 5, missing, queue, 1000.0) is again


@given(st.floats(0, 1e9), st.integers(0, 1_000_000))
def test_age_alone_never_sends_a_task_again(age: float, seq: int) -> None:
    """Without workers, or paused: the queue is not empty, nothing of it runs, and a record is queued for however long."""
    queue = QueueView()
    assert not must_resend(TaskStatus(QUEUED, seq), seq, 0, queue, 1000.0 + age)
    running = TaskStatus(RUNNING, seq, lease_left_ms=1, running_ms=round(1000 * age))
    assert not must_resend(running, seq, 0, queue, 1000.0 + age)


def test_a_higher_seq_counts_once_it_has_been_at_work_for_ten_seconds() -> None:
    queue = QueueView()
    queue.saw_at_work(7, 100.0)
    assert queue.settled_past(100.0 + PATIENCE - 0.1) == 0
    assert queue.settled_past(100.0 + PATIENCE) == 7
    queue.saw_at_work(6, 0.0)
    assert queue.settled_past(200.0) == 7


def test_a_steady_stream_of_new_tasks_does_not_hide_a_lost_one() -> None:
    queue, lost = QueueView(), 3
    for tenth in range(1, 300):
        now = tenth / 10
        queue.saw_at_work(lost + tenth, now)
        if must_resend(TaskStatus(QUEUED, lost), lost, 0, queue, now):
            break
    assert PATIENCE <= now <= 2 * PATIENCE


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 30)), max_size=60))
def test_no_seq_passes_before_a_task_of_it_was_at_work_for_ten_seconds(steps: list[tuple[int, float]]) -> None:
    queue, now, seen = QueueView(), 0.0, {}
    for seq, wait in steps:
        queue.saw_at_work(seq, now)
        seen.setdefault(seq, now)
        now += wait
        passed = queue.settled_past(now)
        assert passed == 0 or now - seen[passed] >= PATIENCE


# the dispatcher


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.ledger = MemoryLedger(self.clock)
        self.sent: list[tuple[str, str, str, str]] = []
        self.broken: Exception | None = None
        self.dispatcher = Dispatcher(self.ledger, self.publish, "j", self.clock)
        self.restored = 0

    def publish(self, name: str, queue: str, job: str, task: str) -> None:
        if self.broken:
            raise self.broken
        self.sent.append((name, queue, job, task))
        self.ledger.queues[queue] += 1

    def send(self, *ids: str) -> None:
        self.dispatcher.send((Task(i, "batch", "q", 0, "[]"), i) for i in ids)

    def claim(self, task: str, lease_s: float = 30) -> int:
        self.ledger.queues["q"] = max(0, self.ledger.queues["q"] - 1)
        return self.ledger.claim("j", task, "w", round(1000 * lease_s), 5).attempt

    def look(self, after: float = CHECK_EVERY) -> list[str]:
        """What is sent again by the look after so many seconds."""
        self.clock.now += after
        before = len(self.sent)
        self.dispatcher.look(self.restore)
        return [task for _, _, _, task in self.sent[before:]]

    def restore(self) -> None:
        self.restored += 1
        assert not self.ledger.statuses("j", list(self.dispatcher.out))[0].state, "restored before anything is put"


def test_a_message_tells_the_task_and_nothing_else() -> None:
    bench = Bench()
    bench.send("b1.1")
    assert bench.sent == [("hugesync.batch", "q", "j", "b1.1")]
    assert bench.ledger.statuses("j", ["b1.1"])[0].state == QUEUED


def test_without_workers_nothing_is_ever_sent_twice() -> None:
    bench = Bench()
    bench.send("a", "b", "c")
    for _ in range(500):
        assert bench.look(after=60) == []
    assert len(bench.sent) == 3


def test_a_dead_workers_task_is_sent_again_when_its_lease_has_run_out() -> None:
    bench = Bench()
    bench.send("a")
    bench.claim("a")
    assert bench.look(after=29) == []
    assert bench.look(after=2) == ["a"]
    assert bench.claim("a") == 2


def test_a_lost_message_is_sent_again_once_the_queue_has_been_empty_for_ten_seconds() -> None:
    bench = Bench()
    bench.send("a")
    bench.ledger.queues["q"] = 0
    assert [bench.look() for _ in range(5)] == [[]] * 5
    assert bench.look() == ["a"]
    bench.ledger.queues["q"] = 1
    assert bench.look(after=100) == []


def test_a_lost_message_is_sent_again_when_a_younger_task_runs() -> None:
    bench = Bench()
    bench.send("lost", "runs")
    bench.claim("runs", lease_s=1000)
    assert bench.ledger.queues["q"] == 1  # another job's message keeps the queue from ever being empty
    assert bench.look(after=PATIENCE - 1) == []
    assert bench.look() == ["lost"]


def test_a_task_without_record_or_event_is_made_anew_after_the_ledger_was_restored() -> None:
    bench = Bench()
    bench.send("a")
    bench.ledger.flush()
    assert bench.look() == []
    assert bench.look() == ["a"]
    assert bench.restored == 1
    assert bench.ledger.statuses("j", ["a"])[0].state == QUEUED


@pytest.mark.parametrize("broken", ["put_tasks", "publish"])
def test_a_task_that_ledger_or_broker_failed_to_take_is_not_lost(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    if broken == "publish":
        bench.broken = Unreachable("no broker")
    else:
        monkeypatch.setattr(bench.ledger, "put_tasks", _raise)
    with pytest.raises(Unreachable):
        bench.send("a", "b")
    bench.broken = None
    monkeypatch.undo()
    assert [task for _ in range(8) for task in bench.look()] == ["a", "b"]


def test_a_settled_task_is_out_no_more_and_its_second_event_is_nobodys() -> None:
    bench = Bench()
    bench.send("a")
    assert bench.dispatcher.settled("a") is not None
    assert bench.dispatcher.settled("a") is None
    assert bench.dispatcher.out == {}


def test_when_the_only_worker_died_no_lease_need_run_out() -> None:
    bench = Bench()
    bench.send("a")
    bench.claim("a")
    bench.dispatcher.workers_died()
    assert bench.look(after=0.1) == ["a"]


def _raise(*_: Any) -> None:
    raise Unreachable("no ledger")


# the pool


def pool(
    clock: Callable[[], float], jobs: int = 0, embedded: bool = True, stall: float = 1800.0, start: float = 15.0
) -> Pool:
    options = Options(jobs=jobs, stall_timeout=stall, start_timeout=start)
    spec = Spec("j", Location("s3", bucket="a"), Location("s3", bucket="b"), options=options)
    return Pool(MemoryLedger(clock), spec, embedded, clock)


def serve(pool: Pool, slots: int, queue: str = "hs.any") -> None:
    pool._ledger.heartbeat("w1", json.dumps({"slots": slots, "queues": [queue]}), 20_000)


def test_the_room_follows_the_live_slots_and_what_lies_in_the_queue() -> None:
    clock = Clock()
    it = pool(clock)
    assert it.room(0) == LEAST_OUT
    assert it.room(LEAST_OUT) == 0
    serve(it, 100)
    it.look(False, None)
    assert it.room(10) == PER_SLOT * 100 - 10
    it._ledger.queues["hs.any"] = 390  # type: ignore[attr-defined]
    clock.now += 1
    assert it.room(10) == 10


@given(st.integers(1, 500), st.integers(0, 600), st.integers(0, 300))
def test_of_one_job_never_more_is_out_than_jobs_allows(jobs: int, out: int, slots: int) -> None:
    it = pool(Clock(), jobs=jobs)
    serve(it, slots)
    it.look(False, None)
    room = it.room(out)
    assert room >= 0
    assert out + room <= max(out, jobs)
    assert out + room <= max(out, LEAST_OUT, PER_SLOT * slots)


def test_a_job_with_a_worker_of_its_own_waits_for_it_to_start_and_misses_it_only_later() -> None:
    clock = Clock()
    it = pool(clock)
    it.look(True, 0)
    assert it.waiting_for == "its worker to start"
    clock.now += 20
    it.look(True, 0)
    assert it.waiting_for == "no worker consumes hs.any; workers: none"
    serve(it, 2)
    it.look(True, 0)
    assert it.waiting_for == ""


def test_a_fleet_without_any_consumer_is_stalled_after_fifteen_seconds_and_says_what_is_missing() -> None:
    clock = Clock()
    it = pool(clock, embedded=False)
    serve(it, 4, queue="hs.other")
    it.look(True, 0)
    assert "hs.any" in it.waiting_for
    clock.now += 16
    serve(it, 4, queue="hs.other")
    with pytest.raises(Stalled, match=r"no worker consumes hs\.any; workers: w1"):
        it.look(True, 0)


def test_a_fleet_whose_workers_are_started_on_demand_has_as_long_as_start_timeout_says() -> None:
    clock = Clock()
    it = pool(clock, embedded=False, start=300.0)
    it.look(True, 0)
    clock.now += 299
    it.look(True, 0)
    assert it.waiting_for
    clock.now += 2
    with pytest.raises(Stalled, match=r"no worker consumes hs\.any"):
        it.look(True, 0)


def test_workers_that_vanish_later_are_waited_for_until_the_stall_timeout() -> None:
    clock = Clock()
    it = pool(clock, embedded=False, stall=100.0)
    serve(it, 4)
    it.look(True, 0)
    clock.now += 99
    it.look(True, 0)
    assert it.waiting_for
    clock.now += 2
    it.look(True, 1)  # something moved
    clock.now += 101
    with pytest.raises(Stalled, match="nothing moved for 100 s"):
        it.look(True, 1)
