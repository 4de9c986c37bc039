"""A run that is told to stop, and a job that is paused: nothing new begins, what is in hand finishes."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from typing import Any

import pytest

from chaos import CALM
from hugesync_producer import coordinating
from hugesync_producer.coordinator import Coordinator
from hugesync_producer.largefile import LargeFileUnit
from hugesync_producer.stopping import DRAIN, INTERRUPTED, Stop, asked, stopping, until
from hugesync_tasks.model import Entry, Kind, Meta, Outcome, Part, Transfer
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.state.base import Task
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.summary import Snapshot, State, Unobserved
from hugesync_tasks.token import Token
from hugesync_tasks.uri import lock_name
from simulation import JOB, Simulation
from test_coordinator import once


class Watched(Simulation):
    """Knows what was put, and when; ``acts`` are done in their turns, counted over all coordinators."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.put: list[tuple[float, str]] = []
        self.acts: dict[int, Any] = {}
        self.at_work: Any = None  # is done once, in the first later turn in which a worker has something in hand
        self.notices: list[str] = []
        self.shots: list[Snapshot] = []
        self.observe_every = 0.2
        self.longest_idle = 0.5

    def more_files(self, n: int) -> None:
        for i in range(n):
            self.source.put(f"more{i:03}", b"x" * 100, Meta(), ANY, Token())

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        put_tasks, turn, turns, watched = self.ledger.put_tasks, Coordinator._turn, [0], self

        def put(job: str, tasks: Any) -> None:
            tasks = list(tasks)
            self.put += [(self.now, task.id) for task in tasks]
            put_tasks(job, tasks)

        def acting(coordinator: Coordinator) -> Any:
            turns[0] += 1
            if turns[0] in self.acts:
                self.acts[turns[0]](coordinator)
            in_hand = any(task.attempts for task in self.ledger._job(JOB).tasks.values())
            if self.at_work is not None and turns[0] > 10 and self.crew and in_hand:
                act, self.at_work = self.at_work, None
                act(coordinator)
            return turn(coordinator)

        class Observing(Unobserved):
            def on_notice(self, message: str) -> None:
                watched.notices.append(message)

            def on_progress(self, snapshot: Snapshot) -> None:
                watched.shots.append(snapshot)
                for counts in (snapshot.files, snapshot.bytes):
                    assert counts["found"] == sum(counts[n] for n in ("done", "skipped", "failed", "pending"))
                assert sum(snapshot.skipped_by.values()) == snapshot.files["skipped"]

        monkeypatch.setattr(self.ledger, "put_tasks", put)
        monkeypatch.setattr(Coordinator, "_turn", acting)
        self.given["observer"] = Observing()

    def put_since(self, when: float) -> list[str]:
        return [task for at, task in self.put if at > when]


def waiting(ledger: Any) -> list[str]:
    """Tasks that a worker could begin now."""
    records = ledger._job(JOB).tasks
    return [task for task, r in records.items() if not r.running and not r.recalled]


def running(ledger: Any) -> list[str]:
    return [task for task, r in ledger._job(JOB).tasks.items() if r.running]


def test_what_is_in_hand_finishes_and_nothing_new_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Watched(4, CALM)
    sim.more_files(300)
    sim.watch(monkeypatch)
    seen: dict[str, Any] = {}

    def told(coordinator: Coordinator) -> None:
        seen.update(when=sim.now, at_work=running(sim.ledger), queued=waiting(sim.ledger))
        coordinator.drain(Stop(State.INTERRUPTED, "enough for today"))
        coordinator.drain(Stop(State.STALLED, "said too late"))

    sim.at_work = told
    summary = once(sim, monkeypatch)
    assert seen["at_work"] != []
    assert (summary.state, summary.reason, summary.resumable) == ("interrupted", "enough for today", True)
    assert sim.put_since(seen["when"]) == []
    assert waiting(sim.ledger) == []
    assert running(sim.ledger) == []
    records = sim.ledger._job(JOB).tasks
    assert len(seen["queued"]) > 5
    assert all(records[task].recalled for task in seen["queued"]), "nobody began what waited in the queue"
    assert not set(seen["at_work"]) & set(sim.ledger._job(JOB).tasks), "they were settled"
    assert summary.files["pending"] > 0
    assert summary.falsehood() == ""
    assert not summary.scan_complete
    assert sim.now - seen["when"] < DRAIN
    assert sim.notices == [stopping(Stop(State.INTERRUPTED, "enough for today"), True)]
    assert sim.notices[0].startswith("stopping: enough for today; what is in hand may finish")
    sim.end()


def test_what_was_told_to_stop_goes_on_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Watched(4, CALM)
    sim.more_files(100)
    sim.watch(monkeypatch)
    sim.at_work = lambda coordinator: coordinator.drain(INTERRUPTED)
    summary = sim.play(monkeypatch)
    assert sim.restarts == 1
    assert (summary.state, summary.files["pending"]) == ("done", 0)
    assert summary.files["found"] == sim.found + 100
    sim.settle_down()


def test_what_does_not_end_in_ten_seconds_is_left_and_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Watched(5, CALM)
    sim.watch(monkeypatch)
    when: list[float] = []

    def told(coordinator: Coordinator) -> None:
        when.append(sim.now)
        for baton in sim.crew:
            baton.until = sim.now + 1000
        assert sim.crew
        coordinator.drain(INTERRUPTED)

    sim.at_work = told
    summary = once(sim, monkeypatch)
    assert summary.state == "interrupted"
    assert DRAIN <= sim.now - when[0] < DRAIN + 2
    assert sim.ledger.meta(JOB)["cancel"] == "1"
    sim.end()


def test_a_ledger_that_is_gone_holds_up_no_one_who_was_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Watched(5, CALM)
    sim.watch(monkeypatch)

    def told(coordinator: Coordinator) -> None:
        coordinator.drain(INTERRUPTED)
        sim.outage_until = sim.now + 1000

    sim.at_work = told
    began = sim.now
    summary = once(sim, monkeypatch)
    assert summary.state == "interrupted"
    assert sim.now - began < 250
    sim.end()


# paused


def paused_for(sim: Watched, seconds: float, seen: dict[str, Any]) -> None:
    """The job is paused while workers have something in hand, and resumed so many seconds later."""

    def pause(coordinator: Coordinator) -> None:
        sim.ledger.set_meta(JOB, pause="1")
        seen["paused"] = sim.now
        step = sim.step

        def later() -> bool:
            if "resumed" not in seen and sim.now > seen["paused"] + seconds:
                seen.update(resumed=sim.now, waiting=waiting(sim.ledger), put=sim.put_since(seen["paused"] + 2))
                sim.ledger.set_meta(JOB, pause="0")
            return step()

        sim.step = later  # type: ignore[method-assign]

    sim.at_work = pause


def test_a_paused_job_sends_nothing_until_it_is_resumed_and_then_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Watched(7, CALM)
    sim.more_files(100)
    sim.spec = replace(sim.spec, options=replace(sim.spec.options, stall_timeout=60.0))
    sim.watch(monkeypatch)
    seen: dict[str, Any] = {}
    paused_for(sim, 300.0, seen)
    summary = sim.play(monkeypatch)
    assert sim.restarts == 0, "five minutes paused are no stall"
    assert seen["put"] == seen["waiting"] == []
    assert (summary.state, summary.files["found"]) == ("done", sim.found + 100)
    assert any(shot.paused for shot in sim.shots)
    assert not sim.shots[-1].paused
    assert [n.split(":")[0] for n in sim.notices] == ["paused", "going on"]
    counts = [task for _, task in sim.put]
    assert max(counts.count(task) for task in counts) <= 2, "what was taken back was sent once more, the rest once"
    sim.settle_down()


def test_what_a_worker_drops_while_its_job_is_paused_is_sent_again_later_and_is_no_stall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sim = Watched(7, CALM)
    sim.more_files(50)
    sim.spec = replace(sim.spec, options=replace(sim.spec.options, stall_timeout=60.0))
    sim.watch(monkeypatch)
    seen: dict[str, Any] = {}
    paused_for(sim, 300.0, seen)
    pause = sim.at_work

    def and_kill(coordinator: Coordinator) -> None:
        pause(coordinator)
        seen["killed"] = running(sim.ledger)
        sim.end()

    sim.at_work = and_kill
    summary = sim.play(monkeypatch)
    assert seen["killed"] != []
    assert seen["put"] == [], "their leases lapsed long ago"
    assert set(seen["killed"]) <= set(sim.put_since(seen["resumed"]))
    assert (summary.state, sim.restarts) == ("done", 0)
    sim.settle_down()


def test_a_signal_makes_a_stand_in_hand_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Watched(2, CALM)
    sim.ledger.open_job(JOB, json.dumps(sim.spec.wire()))
    sim.ledger.set_meta(JOB, state="running", place=lock_name(sim.spec.dest))
    sim.ledger.lead(JOB, "mine", 30_000)
    sim.watch(monkeypatch)
    sim.acts[2] = lambda coordinator: os.kill(os.getpid(), signal.SIGINT)
    sim.given["owner"] = "mine"
    summary = once(sim, monkeypatch)
    assert (summary.state, sim.ledger.meta(JOB)["state"], sim.notices) == ("running", "running", [])
    sim.end()


def test_a_pause_survives_its_coordinator_and_a_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in takes the job up while it is paused: it sends nothing either."""
    sim = Watched(2, CALM)
    sim.ledger.open_job(JOB, json.dumps(sim.spec.wire()))
    sim.ledger.set_meta(JOB, state="running", place=lock_name(sim.spec.dest), pause="1")
    sim.ledger.lead(JOB, "mine", 30_000)
    sim.watch(monkeypatch)
    seen: dict[str, Any] = {}

    def flush(coordinator: Coordinator) -> None:
        assert sim.put == []
        sim.ledger.flush()

    def resume(coordinator: Coordinator) -> None:
        seen.update(meta=sim.ledger.meta(JOB), put=list(sim.put))
        sim.ledger.set_meta(JOB, pause="0")

    sim.acts = {10: flush, 40: resume}
    sim.given["owner"] = "mine"
    summary = once(sim, monkeypatch)
    assert (seen["meta"]["pause"], seen["put"]) == ("1", [])
    assert summary.state == "done"
    sim.end()


def test_a_paused_job_can_be_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Watched(7, CALM)
    sim.watch(monkeypatch)
    seen: dict[str, Any] = {}
    paused_for(sim, 1e9, seen)
    sim.acts[60] = lambda coordinator: coordinator.drain(INTERRUPTED)
    assert once(sim, monkeypatch).state == "interrupted"
    sim.end()


def test_taken_back_parts_steps_and_begins_are_sent_again() -> None:
    unit = LargeFileUnit("f", Transfer(Entry("k", Kind.FILE, 100)), "q", "q.commit")
    begin = unit.next_task()
    assert begin is not None
    assert not unit.waiting
    unit.put_back(begin)
    assert unit.next_task() == begin
    unit.on_event("f:begin", {"file": {"gen": "g", "total": "3"}, "listed": []}, {})
    first, second = unit.next_task(), unit.next_task()
    assert first is not None
    assert second is not None
    unit.put_back(second)
    unit.put_back(first)
    assert (unit.next_task(), unit.next_task()) == (first, second)
    third = unit.next_task()
    assert third is not None
    for number, task in enumerate((first, second, third), 1):
        unit.on_event(task.id, {"part": Part(number, 5, "e").wire()}, {})
    unit.put_back(first)  # it was done after all
    commit = unit.next_task()
    assert commit is not None
    assert commit.kind == "commit"
    unit.put_back(commit)
    assert unit.next_task() == commit
    unit.on_event("f:commit", {"error": Outcome("failed", "transient", "m").wire()}, {})
    late = Task("f:2", "part", "q", 0, json.dumps({"number": 2}), "f")
    unit.put_back(late)  # of an upload that is given up
    abandon = unit.next_task()
    assert abandon is not None
    assert abandon.kind == "abandon"


# --- other reasons than a person ----------------------------------------------------------------------------------------


def in_time(seconds: float, **more: Any) -> Spec:
    return replace(Spec("j", Location("file"), Location("file")), options=Options(max_duration=seconds), **more)


def test_a_run_is_asked_to_stop_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    assert until(in_time(0), began).until == 0
    spec = until(in_time(90, until=1.0), began - 30)  # the time of the run before is no matter; 30 s went by already
    assert abs(spec.until - time.time() - 60) < 20
    assert asked(spec, Unobserved(), lambda: spec.until - 1)() is None
    stop = asked(spec, Unobserved(), lambda: spec.until)()
    assert stop == Stop(State.INTERRUPTED, "its time is over (--max-duration 1m30s)")
    assert asked(in_time(0), Unobserved(), lambda: 1e12)() is None


def test_a_program_can_stop_the_job_that_it_began() -> None:
    class Wants(Unobserved):
        wants = False

        def stop_wanted(self) -> bool:
            return self.wants

    observer = Wants()
    ask = asked(in_time(0), observer)
    assert ask() is None
    observer.wants = True
    stop = ask()
    assert stop is not None
    assert (stop.state, stop.reason) == (State.INTERRUPTED, "stopped by the program that began it")


@pytest.mark.parametrize("standin", [False, True])
def test_a_job_whose_time_is_over_drains_and_says_why_whoever_coordinates_it(
    monkeypatch: pytest.MonkeyPatch, standin: bool
) -> None:
    sim = Watched(4, CALM)
    sim.more_files(300)
    sim.watch(monkeypatch)
    over = [False]
    sim.acts[12] = lambda coordinator: over.__setitem__(0, True)
    stop = Stop(State.INTERRUPTED, "its time is over (--max-duration 2h)")
    monkeypatch.setattr(coordinating, "asked", lambda spec, observer: lambda: stop if over[0] else None)
    if standin:
        sim.given["owner"] = "mine"
    summary = once(sim, monkeypatch)
    assert (summary.state, summary.reason, summary.resumable) == ("interrupted", stop.reason, True)
    assert summary.files["pending"] > 0
    assert summary.falsehood() == ""
    assert sim.ledger.meta(JOB)["state"] == "interrupted", "no other worker goes on with it"
    assert sim.notices == [f"stopping: {stop.reason}; what is in hand may finish, for 10 s at most"]
    sim.end()
