"""A run that stands still is said to, and ends as stalled; one that moves anything at all never does."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from chaos import CALM
from hugesync_producer.pool import SAY_AFTER, Pool, Stalled
from hugesync_tasks import lease
from hugesync_tasks.errors import LeaseLost
from hugesync_tasks.lease import LEASE_MS, Lease
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.state.base import Renewed, Task
from hugesync_tasks.state.memory import MemoryLedger
from simulated import InlinePlan
from simulation import JOB, WORKERS, Simulation
from test_coordinator import BEGAN, once
from test_pool import Clock
from test_stopping import Watched


def held(seed: int, stall_timeout: float) -> Watched:
    """A simulation in which every worker stands still as soon as it has something in hand; their heartbeats go on."""
    sim = Watched(seed, CALM)
    sim.spec = replace(sim.spec, options=replace(sim.spec.options, stall_timeout=stall_timeout))
    step = sim.step

    def standing() -> bool:
        for baton in sim.crew:
            baton.until = 1e12
        return step()

    sim.step = standing  # type: ignore[method-assign]
    return sim


def test_workers_that_live_and_move_nothing_are_a_stall_and_are_named_before(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = held(3, 120.0)
    sim.watch(monkeypatch)
    summary = once(sim, monkeypatch)
    assert (summary.state, summary.resumable) == ("stalled", True)
    assert re.fullmatch(r"stalled: nothing moved for 120 s: \d tasks? at work, \d+ in queue hs\.any", summary.reason)
    assert 120 <= sim.now - BEGAN < 140
    said = [shot for shot in sim.shots if shot.waiting_for.startswith("nothing has moved for ")]
    assert SAY_AFTER - 1 < said[0].elapsed < SAY_AFTER + 5
    assert said[-1].elapsed > 100
    sim.end()


@pytest.mark.parametrize("what", ["worked", "bytes.reused"])
def test_what_hashes_or_moves_but_a_little_is_never_ended(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = held(3, 60.0)
    sim.watch(monkeypatch)
    began, disturb, at = sim.now, sim.disturb, [0.0]

    def moving() -> None:
        disturb()
        if sim.now > at[0] + 25 and sim.now < began + 400:
            at[0] = sim.now
            sim.ledger.add_traffic(JOB, {what: 1})

    sim.disturb = moving  # type: ignore[method-assign]
    summary = once(sim, monkeypatch)
    assert summary.state == "stalled"
    assert sim.now - began > 400
    sim.end()


def test_tasks_that_end_are_progress_where_as_many_follow_them() -> None:
    ledger, clock = MemoryLedger(), Clock()
    spec = Spec("job", Location("s3", bucket="a"), Location("s3", bucket="b"), options=Options(stall_timeout=100.0))
    pool = Pool(ledger, spec, embedded=False, clock=clock)
    ledger.heartbeat("w", WORKERS, 10_000_000)
    for settled in range(50):
        pool.look(64, (0, settled), 8)
        clock.now += 90
        ledger.heartbeat("w", WORKERS, 10_000_000)
    assert pool.waiting_for == ""
    pool.look(64, (0, 49), 8)
    assert pool.waiting_for == "nothing has moved for 1 minute and 30 seconds: 8 tasks at work, 56 in queue hs.any"
    clock.now += 11
    with pytest.raises(Stalled, match=r"nothing moved for 100 s: 8 tasks .*, 56 in queue hs\.any"):
        pool.look(64, (0, 49), 8)


def test_the_progress_of_a_run_counts_every_task_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(3, CALM, observe_every=0.2)
    seen: list[Any] = []
    look = Pool.look

    def looking(pool: Pool, out: int, progress: object, at_work: int = 0) -> None:
        seen.append(progress)
        look(pool, out, progress, at_work)

    monkeypatch.setattr(Pool, "look", looking)
    sim.play(monkeypatch)
    ended = [p[-1] for p in seen if p]
    assert ended == sorted(ended)
    assert ended[-1] > 3
    sim.settle_down()


def test_what_a_task_reads_or_hashes_is_told_with_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, now = MemoryLedger(), [100.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    ledger.put_tasks("j", [Task("t", "match", "q", 1, "{}")])
    held = Lease(ledger, "j", ledger.claim("j", "t", "w", LEASE_MS, 5), LEASE_MS, now[0])
    held.token.moved(7)
    now[0] += 1.1
    held.token.moved(5)
    held.token.alive()
    assert ledger.traffic("j") == {"worked": 12}
    now[0] += 1.1
    held.token.alive()
    assert ledger.traffic("j") == {"worked": 12}, "a wait is no work"


def test_a_worker_that_stands_still_before_it_hears_the_answer_asks_again_before_it_does_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seed 69701 of *deadly*: its lease was over, and it made an upload for a file that was done."""
    ledger, now = MemoryLedger(), [100.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    ledger.put_tasks("j", [Task("t", "begin", "q", 1, "{}")])
    held = Lease(ledger, "j", ledger.claim("j", "t", "w", LEASE_MS, 5), LEASE_MS, now[0])
    held.token.deadline = held.token._patience = None  # by another clock
    answers = [Renewed.OK, Renewed.LOST]

    def slowly(*_: object) -> Renewed:
        now[0] += 40
        return answers.pop(0)

    monkeypatch.setattr(MemoryLedger, "renew", slowly)
    now[0] += 1.1
    held.token.moved(0)
    with pytest.raises(LeaseLost):
        held.token.moved(0)


def test_listings_that_bring_nothing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Watched(2, CALM)
    sim.watch(monkeypatch)
    poll, began = InlinePlan.poll, sim.now
    monkeypatch.setattr(InlinePlan, "poll", lambda *a: None if sim.now < began + 300 else poll(*a))
    summary = sim.play(monkeypatch)
    assert summary.state == "done"
    said = [shot.waiting_for for shot in sim.shots if shot.waiting_for]
    assert said[0].startswith("the listings have brought nothing for 30")
    assert not sim.shots[0].waiting_for
    sim.settle_down()
