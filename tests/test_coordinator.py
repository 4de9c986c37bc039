"""The coordinator alone in the world: who may run a job, how a run ends, and signals while the books are kept."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from chaos import CALM, Chaos
from hugesync_producer.checkpoint import TakenOver
from hugesync_producer.coordinating import Run, coordinate
from hugesync_producer.coordinator import TELL_EVERY, Coordinator
from hugesync_producer.interrupts import Interrupts
from hugesync_producer.pace import LASTING
from hugesync_producer.pool import Stalled
from hugesync_tasks.errors import AccessDenied, Refused, Throttled, Transient
from hugesync_tasks.model import Meta
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.faults import Fault, FaultyStore
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.summary import Snapshot, Summary, Unobserved
from hugesync_tasks.token import Token
from hugesync_tasks.uri import lock_name
from oracle import check_bytes, check_leftovers
from simulated import SimStore
from simulation import JOB, Simulation

BEGAN = 1_700_000_200.0


WATCHED: Any = {"observe_every": 0.2, "longest_idle": 0.0}  # as often as a real coordinator looks


class Alone(Simulation):
    """Nobody takes a message."""

    def step(self) -> bool:
        return False

    def disturb(self) -> None: ...


def stores(sim: Simulation, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    """The producer's own view of the source fails once, as ``fault`` says."""
    stack = sim.stack

    def faulty(store: Any, faults: bool) -> Any:
        return (
            FaultyStore(stack(store, faults), [fault]) if store is sim.source and not faults else stack(store, faults)
        )

    monkeypatch.setattr(sim, "stack", faulty)


def once(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One run, whatever it ends in."""
    endings: list[Any] = []

    def first(run: Run) -> Summary:
        endings.append(coordinate(run))
        raise StopAsyncIteration

    monkeypatch.setattr(sim, "coordinate", first)
    with pytest.raises(StopAsyncIteration):
        sim.play(monkeypatch)
    return endings[0]


def test_a_fleet_without_workers_is_stalled_after_fifteen_seconds_and_not_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sim = Alone(1, CALM)
    summary = once(sim, monkeypatch)
    assert (summary.state, summary.resumable) == ("stalled", True)
    assert "no worker consumes hs.any" in summary.reason
    assert 15 <= sim.now - BEGAN < 18
    assert summary.files["pending"] > 0
    assert summary.files["found"] == sum(summary.files[s] for s in ("done", "skipped", "failed", "pending"))
    assert sim.ledger.meta(JOB)["state"] == "stalled"


def test_a_ledger_that_is_away_for_five_minutes_stalls_the_job_after_one_and_the_next_run_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sim = Simulation(4, CALM)
    step, steps = sim.step, itertools.count()
    went: list[float] = []
    endings: list[tuple[Any, float]] = []

    def away() -> bool:
        if next(steps) == 40:
            went.append(sim.now)
            sim.outage_until = sim.now + 300
        return step()

    def noted(run: Run) -> Summary:
        endings.append((coordinate(run), sim.now))
        return endings[-1][0]

    monkeypatch.setattr(sim, "step", away)
    sim.coordinate = noted
    last = sim.play(monkeypatch)
    sim.settle_down()
    (first, at), *_ = endings
    assert (first.state, first.resumable) == ("stalled", True)
    assert 60 <= at - went[0] < 70
    assert first.files["pending"] > 0
    assert (last.state, last.files["found"], last.files["failed"]) == ("done", sim.found, 0)
    check_bytes(sim, set())
    check_leftovers(sim)


def test_the_same_job_twice_is_refused_and_the_first_one_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(2, CALM)
    sim.ledger.lead(JOB, "the first", 30_000)
    sim.ledger.open_job(JOB, "its specification")
    sim.ledger.set_meta(JOB, state="running", beat="1")
    sim.ledger.checkpoint(JOB, "the first", "k", "{}", "[]")
    beats = iter(range(2, 1000))

    def alive(*_: object, **__: object) -> None:
        sim.now += 0.2
        sim.ledger.set_meta(JOB, beat=str(next(beats)))

    monkeypatch.setattr(sim, "everybody_else", alive)
    sim.coordinate = _unwrapped
    with pytest.raises(_Ended) as ended:
        sim.play(monkeypatch)
    assert isinstance(ended.value.__cause__, Refused)
    assert sim.ledger.spec(JOB) == "its specification"
    assert sim.ledger.meta(JOB)["state"] == "running"
    assert sim.ledger.read_checkpoint(JOB) == ("k", "{}", "[]")
    assert not sim.ledger.lead(JOB, "a third", 1000)


class _Ended(BaseException):
    pass


def _unwrapped(run: Run) -> Summary:
    try:
        return coordinate(run)
    except Exception as error:
        raise _Ended from error


@pytest.mark.parametrize(("error", "state"), [(AccessDenied("denied"), "usage"), (Transient("gone"), "stalled")])
def test_a_listing_that_breaks_in_the_middle_ends_in_a_true_summary(
    error: Exception, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = Simulation(3, CALM)
    for n in range(40):
        sim.source.put(f"more{n}", b"x", Meta(), ANY, Token())
    stores(sim, monkeypatch, Fault(op="list", mode="cut", at=25, error=error))
    summary = once(sim, monkeypatch)
    assert summary.state == state
    assert not summary.scan_complete
    assert summary.falsehood() == ""
    assert 0 < summary.files["found"] <= 25
    assert "denied" in summary.reason or "gone" in summary.reason


def test_a_source_that_cannot_be_listed_at_all_leaves_no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(3, CALM)
    stores(sim, monkeypatch, Fault(op="list", error=AccessDenied("denied")))
    sim.coordinate = _unwrapped
    with pytest.raises(_Ended) as ended:
        sim.play(monkeypatch)
    assert isinstance(ended.value.__cause__, AccessDenied)
    assert sim.ledger.jobs() == []


def test_a_cancelled_job_stops_and_goes_on_later(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(5, Chaos())
    step, steps = sim.step, [0]

    def cancelled() -> bool:
        steps[0] += 1
        if steps[0] == 30:
            sim.ledger.cancel(JOB)
        return step()

    monkeypatch.setattr(sim, "step", cancelled)
    summary = sim.play(monkeypatch)
    sim.end()
    assert sim.restarts == 1
    assert any("the run ended: cancelled" in line for line in sim.story)
    assert summary.state == "done"
    assert summary.files["found"] == sim.found


# what is seen of a run


class Watching(Unobserved):
    """Keeps every snapshot."""

    def __init__(self) -> None:
        self.seen: list[Snapshot] = []

    def on_progress(self, snapshot: Snapshot) -> None:
        self.seen.append(snapshot)


def watched(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> list[Snapshot]:
    """The snapshots of a whole job."""
    sim.given["observer"] = watching = Watching()
    sim.play(monkeypatch)
    sim.end()
    return watching.seen


def test_a_worker_that_is_throttled_is_seen_while_it_waits_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(2, CALM, **WATCHED)
    slow = [Fault(op="put", error=Throttled("slow down", retry_after=40.0))]

    def stack(store: Any, faults: bool) -> Any:
        far = FaultyStore(SimStore(store, sim, faults), slow if faults and store is sim.dest else [])
        return RetryingStore(far, 5, sleep=sim.sleep, random=sim.rng.random)

    monkeypatch.setattr(sim, "stack", stack)
    seen = watched(sim, monkeypatch)
    throttled = [s.elapsed for s in seen if s.throttled]
    assert LASTING - 1 < throttled[-1] - throttled[0] < LASTING + 1
    assert seen[-1].elapsed > throttled[-1] + 20


def test_whoever_asks_another_process_hears_how_the_job_stood_two_seconds_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Alone(2, CALM, **WATCHED)
    told: list[tuple[str, float]] = []

    class Asking(Unobserved):
        def on_progress(self, snapshot: Snapshot) -> None:
            if (heard := sim.ledger.told(JOB)) is not None:
                told.append(heard)

    sim.given["observer"] = Asking()
    summary = once(sim, monkeypatch)
    assert TELL_EVERY - 1 < max(age for _, age in told) < TELL_EVERY + 1
    assert json.loads(told[-1][0])["files"] == summary.files


def test_a_listing_that_is_throttled_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(3, CALM, **WATCHED)
    asked = [Fault(op="list", error=Throttled("slow down"))]
    monkeypatch.setattr(
        sim,
        "stack",
        lambda store, faults: RetryingStore(
            FaultyStore(SimStore(store, sim, faults), [] if faults else asked),
            5,
            sleep=sim.sleep,
            random=sim.rng.random,
        ),
    )
    assert any(s.throttled for s in watched(sim, monkeypatch))


# signals


def test_a_signal_waits_until_the_books_are_in_order_and_a_second_one_does_not() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with Interrupts() as interrupts:
            interrupts.check()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0)
            assert seen == []
            with pytest.raises(KeyboardInterrupt):
                interrupts.check()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0)
            assert seen == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)
        assert len(seen) == 2, "the former handler is back"
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ignored_signals_stay_ignored_and_other_threads_are_left_alone() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            interrupts.check()
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    checked: list[bool] = []

    def elsewhere() -> None:
        with Interrupts() as interrupts:
            interrupts.check()
            checked.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert checked == [True]


# a coordinator that a worker started, and one that was overtaken


def fleet_of_one(seed: int) -> Alone:
    sim = Alone(seed, CALM)
    sim.folder = None
    sim.ledger.open_job(JOB, json.dumps(sim.spec.wire()))
    sim.ledger.set_meta(JOB, state="running", place=lock_name(sim.spec.dest), tries="3")
    return sim


def raised(sim: Simulation, monkeypatch: pytest.MonkeyPatch, owner: str = "") -> BaseException | None:
    """What a run that was started under ``owner`` raised."""
    sim.coordinate, sim.given["owner"] = _unwrapped, owner
    with pytest.raises(_Ended) as ended:
        sim.play(monkeypatch)
    return ended.value.__cause__


def on_first_turn(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    turn, turns = Coordinator._turn, [0]

    def acting(self: Coordinator) -> Any:
        turns[0] += 1
        if turns[0] == 3:
            act()
        return turn(self)

    monkeypatch.setattr(Coordinator, "_turn", acting)


def test_a_coordinator_under_a_lease_that_is_anothers_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = fleet_of_one(2)
    sim.ledger.lead(JOB, "another", 30_000)
    before = sim.ledger.meta(JOB)
    assert isinstance(raised(sim, monkeypatch, "mine"), TakenOver)
    assert sim.ledger.meta(JOB) == before
    assert sim.ledger.leader(JOB) == "another"
    assert sim.ledger.announced() == sim.ledger.leaderless() == {}


@pytest.mark.parametrize("how", ["at its turn", "interrupted", "its workers are gone"])
def test_whoever_was_overtaken_writes_no_end_over_the_others_job(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = fleet_of_one(2)

    def overtaken() -> None:
        sim.ledger.step_down(JOB, sim.ledger.leader(JOB))
        assert sim.ledger.lead(JOB, "another", 300_000)
        sim.ledger.set_meta(JOB, mine="1")
        if how == "interrupted":
            raise KeyboardInterrupt
        if how == "its workers are gone":
            raise Stalled("nobody is there")
        sim.now += 60  # it stood still

    on_first_turn(monkeypatch, overtaken)
    error = raised(sim, monkeypatch)
    assert isinstance(error, TakenOver)
    assert "was taken over" in str(error)
    meta = sim.ledger.meta(JOB)
    assert (meta["state"], meta["owner"], meta["mine"], meta.get("summary", "")) == ("running", "another", "1", "")
    assert list(sim.ledger.announced())
    assert sim.ledger.leader(JOB) == "another"


def test_a_coordinator_whose_worker_ends_hands_the_running_job_over(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = fleet_of_one(2)
    sim.ledger.lead(JOB, "mine", 30_000)

    def told_to_end() -> None:
        raise KeyboardInterrupt

    on_first_turn(monkeypatch, told_to_end)
    sim.given["owner"] = "mine"
    summary = once(sim, monkeypatch)
    assert summary.state == "running"
    meta = sim.ledger.meta(JOB)
    assert (meta["state"], meta["tries"]) == ("running", "0")
    assert list(sim.ledger.leaderless()) == [JOB]
    assert list(sim.ledger.announced())


def test_a_listing_that_this_worker_may_not_read_is_left_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = fleet_of_one(3)
    sim.ledger.lead(JOB, "mine", 30_000)
    stores(sim, monkeypatch, Fault(op="list", error=AccessDenied("denied")))
    assert isinstance(raised(sim, monkeypatch, "mine"), AccessDenied)
    assert sim.ledger.meta(JOB)["state"] == "running"
    sim.ledger.step_down(JOB, "mine")
    assert list(sim.ledger.leaderless()) == [JOB]


def test_a_coordinator_that_a_worker_started_waits_for_that_worker_longer_than_a_submitter_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A root that a killed worker served is not served by another before its heartbeat has expired: 20 s."""
    sim = fleet_of_one(1)
    sim.spec = replace(sim.spec, options=replace(sim.spec.options, stall_timeout=40.0))
    sim.ledger.lead(JOB, "mine", 30_000)
    sim.given["owner"] = "mine"
    summary = once(sim, monkeypatch)
    assert (summary.state, summary.resumable) == ("stalled", True)
    assert sim.now - BEGAN >= 40 > sim.spec.options.start_timeout


def test_a_job_that_was_cancelled_while_a_coordinator_was_started_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = fleet_of_one(3)
    sim.ledger.lead(JOB, "mine", 30_000)
    sim.ledger.cancel(JOB)
    sim.given["owner"] = "mine"
    assert once(sim, monkeypatch).state == "cancelled"
    assert sim.ledger.leaderless() == {}
