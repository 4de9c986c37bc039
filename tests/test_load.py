"""What a fleet has to do is told by the ledger, on memory and on a real server: the number that KEDA scales on."""

from __future__ import annotations

import json

import pytest

from hugesync_tasks.state.base import Ledger
from hugesync_tasks.state.load import DETAILED_JOBS, JobLoad, Load
from hugesync_tasks.state.redis import RedisLedger
from test_state_contract import LONG, Bench, batch, bench, ledger, server

__all__ = ["bench", "ledger", "server"]  # fixtures


def job_of(bench: Bench, job: str = "j") -> JobLoad:
    """Afresh, whatever was counted a moment ago."""
    if isinstance(bench.ledger, RedisLedger):
        key = f"{bench.ledger._prefix}load"
        bench.ledger._server.call(lambda r: r.delete(key))
    return next((j for j in bench.ledger.load().jobs if j.job == job), JobLoad(job, "gone", False, False, False, 0))


def running(ledger: Ledger, job: str = "j") -> None:
    ledger.open_job(job, "{}")
    ledger.set_meta(job, state="running", pause="0")
    ledger.offer(job, "{}")


def test_a_job_that_nobody_leads_yet_is_work_though_no_task_is_out(bench: Bench) -> None:
    running(bench.ledger)
    seen = job_of(bench)
    assert (seen.work, seen.unsettled, seen.led, seen.standing) == (1, 0, False, "uncoordinated")
    bench.ledger.lead("j", "me", LONG)
    assert (job_of(bench).work, job_of(bench).standing) == (1, "running")


def test_tasks_are_counted_by_how_they_stand_whatever_the_queue_holds(bench: Bench) -> None:
    running(bench.ledger)
    bench.ledger.put_tasks("j", [batch(n) for n in range(1, 6)])  # and no message of any is in a queue
    bench.ledger.claim("j", "b0.1", "w", LONG, 5)
    bench.ledger.claim("j", "b0.2", "w", 1, 5)
    bench.ledger.recall("j", ["b0.3"])
    bench.until(lambda: job_of(bench).expired == 1)
    seen = job_of(bench)
    assert (seen.unsettled, seen.queued, seen.running, seen.expired, seen.recalled) == (5, 2, 1, 1, 1)
    assert seen.work == 5
    assert bench.ledger.load().queues == {"hs.any": 0}
    bench.ledger.settle("j", "b0.1", {}, {})
    assert job_of(bench).work == 4


def test_of_a_paused_job_only_what_is_in_hand_is_work(bench: Bench) -> None:
    running(bench.ledger)
    bench.ledger.lead("j", "me", LONG)
    bench.ledger.put_tasks("j", [batch(1), batch(2)])
    bench.ledger.claim("j", "b0.1", "w", LONG, 5)
    bench.ledger.set_meta("j", pause="1")
    assert (job_of(bench).work, job_of(bench).standing) == (1, "paused")
    bench.ledger.settle("j", "b0.1", {}, {})
    assert job_of(bench).work == 0
    bench.ledger.set_meta("j", pause="0")
    assert job_of(bench).work == 1


def test_a_job_that_ended_is_no_work_and_is_counted_by_its_end(bench: Bench) -> None:
    running(bench.ledger)
    bench.ledger.put_tasks("j", [batch(1)])
    bench.ledger.set_meta("j", state="stalled")
    assert job_of(bench).state == "gone"
    assert bench.ledger.load().ended == {"stalled": 1}


def test_workers_and_their_slots_are_those_whose_heartbeat_stands(bench: Bench) -> None:
    bench.ledger.heartbeat("a", json.dumps({"slots": 3}), LONG)
    bench.ledger.heartbeat("b", json.dumps({"slots": 0}), LONG)
    bench.ledger.heartbeat("dead", "", LONG)  # as a worker leaves
    load = bench.ledger.load()
    assert (load.workers, load.slots) == ({"a": 3, "b": 0}, 3)


def test_what_a_coordinator_told_is_there_without_the_names_of_files(bench: Bench) -> None:
    running(bench.ledger)
    bench.ledger.tell("j", json.dumps({"files": {"done": 3}, "in_flight": [["secret name", 1, 2]], "elapsed": 1.5}))
    seen = job_of(bench)
    assert seen.told == {"files": {"done": 3}, "elapsed": 1.5}
    assert "secret name" not in bench.ledger.load().wire()


def test_the_queue_is_counted_with_its_twin(bench: Bench) -> None:
    bench.ledger.announce("hs.data|j", "{}")
    if isinstance(bench.ledger, RedisLedger):
        prefix = bench.ledger._queue_prefix
        bench.ledger._server.call(lambda r: [r.lpush(f"{prefix}hs.data{twin}", "m") for twin in ("", ".commit")])
    else:
        bench.ledger.queues.update({"hs.data": 1, "hs.data.commit": 1})  # type: ignore[attr-defined]
    job_of(bench)
    assert bench.ledger.load().queues == {"hs.any": 0, "hs.data": 2}
    if isinstance(bench.ledger, RedisLedger):
        bench.ledger._server.call(lambda r: r.delete(f"{prefix}hs.data", f"{prefix}hs.data.commit"))


def test_of_many_askers_one_counts_for_all_and_another_releases_answer_is_counted_anew(server: object) -> None:
    from test_state_contract import redis_bench

    bench = redis_bench(server)  # type: ignore[arg-type]
    one, key = bench.ledger, f"{bench.ledger._prefix}load"  # type: ignore[attr-defined]
    running(one)
    assert one.load().work == 1
    one.put_tasks("j", [batch(1), batch(2)])
    assert one.load().work == 1  # as a moment ago
    assert isinstance(one, RedisLedger)
    assert 0 < one._server.call(lambda r: r.pttl(key)) <= 2000  # type: ignore[operator]
    one._server.call(lambda r: r.set(key, '{"what": "another release"}'))
    assert one.load().work == 2
    one.close()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"jobs": [{}], "ended": {}, "workers": {}, "queues": {}}'])
def test_what_cannot_be_read_is_not_taken_for_an_empty_fleet(text: str) -> None:
    assert Load.unwire(text) is None


def test_a_load_passes_through_its_wire() -> None:
    load = Load(
        (JobLoad("j", "running", False, True, True, 3, 1, 2, told={"files": {}}, told_age=0.5),),
        {"done": 1},
        {"w": 2},
        {},
    )
    assert Load.unwire(load.wire()) == load
    assert DETAILED_JOBS == 20
