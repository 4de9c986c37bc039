"""The ledger's promises, on memory and on a real server: every transition, races, zombies, loss of everything."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hugesync_producer.embedded_server import EmbeddedServer
from hugesync_tasks.errors import Refused
from hugesync_tasks.model import Part
from hugesync_tasks.state.base import (
    AS_PLANNED,
    EVERYONE,
    SHARES_MS,
    Claimed,
    Event,
    Ledger,
    PartAnswer,
    Renewed,
    TakenUp,
    Task,
    TaskStatus,
)
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.state.redis import RedisLedger

LONG = 3_600_000  # ms
GONE_AT_ONCE = 0  # ms: a task's lease that has expired when the claim returns
THREADS = 16
BIG = 2**64 - 1  # no double holds it


@dataclass
class Bench:
    """A ledger, and how its time passes."""

    ledger: Ledger
    tick: Callable[[], None]
    flush: Callable[[], None]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            self.tick()


@pytest.fixture(scope="module")
def server(server_dir: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(server_dir / "contract", server_dir)
    server.start()
    yield server
    server.stop()


def redis_bench(server: EmbeddedServer) -> Bench:
    ledger = RedisLedger.from_url(server.url, prefix=f"t{uuid.uuid4().hex}:")
    return Bench(ledger, lambda: time.sleep(0.005), lambda: ledger._server.call(lambda r: r.flushall()))


def memory_bench() -> Bench:
    now = [1_700_000_000.0]
    ledger = MemoryLedger(lambda: now[0])

    def tick() -> None:
        now[0] += 0.005

    return Bench(ledger, tick, ledger.flush)


@pytest.fixture(params=["memory", "redis"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = memory_bench() if request.param == "memory" else redis_bench(request.getfixturevalue("server"))
    yield bench
    bench.ledger.close()


@pytest.fixture
def ledger(bench: Bench) -> Ledger:
    return bench.ledger


def batch(n: int = 1, seq: int | None = None, payload: str = '["é\\u0000"]') -> Task:
    return Task(f"b0.{n}", "batch", "hs.any", n if seq is None else seq, payload)


def part_task(number: int, file: str = "F") -> Task:
    return Task(f"{file}:{number}", "part", "hs.any", number, "{}", file)


def part(number: int, crc: int | None = BIG, etag: str = 'W/"e\\,]é', size: int = 5 << 20) -> Part:
    return Part(number, size, etag, crc)


BEGIN = Task("F:begin", "begin", "hs.any", 0, "{}", "F")


def open_file(ledger: Ledger, total: int, gen: str = "g1", upload: str = "u1") -> dict[str, str]:
    return ledger.set_upload("j", "F", {"gen": gen, "upload": upload, "total": str(total)})


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """``work(i)`` in THREADS threads that start together."""
    gate, results, failures = threading.Barrier(THREADS), [None] * THREADS, []

    def run(i: int) -> None:
        gate.wait()
        try:
            results[i] = work(i)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    return results


# ---- jobs


def test_jobs_are_listed_newest_first_and_keep_their_specification(bench: Bench) -> None:
    bench.ledger.open_job("old", '{"n": "é"}')
    bench.tick()
    bench.ledger.open_job("new", "{}")
    assert [job for job, _ in bench.ledger.jobs()] == ["new", "old"]
    assert bench.ledger.spec("old") == '{"n": "é"}'
    assert bench.ledger.spec("never") is None
    bench.tick()
    bench.ledger.open_job("old", "{}")
    assert [job for job, _ in bench.ledger.jobs()] == ["old", "new"]


def test_meta_fields_are_set_one_by_one(ledger: Ledger) -> None:
    assert ledger.meta("j") == {}
    ledger.set_meta("j", state="running", paused="0")
    ledger.set_meta("j", state="done")
    ledger.set_meta("j")
    ledger.cancel("j")
    assert ledger.meta("j") == {"state": "done", "paused": "0", "cancel": "1"}


def test_a_task_is_read_with_its_files_record_and_stays_as_it_was(ledger: Ledger) -> None:
    assert ledger.task("j", "F:1") is None
    ledger.put_tasks("j", [part_task(1), batch(1)])
    assert ledger.task("j", "F:1") == (part_task(1), {})
    fields = open_file(ledger, 2)
    assert ledger.task("j", "F:1") == (part_task(1), fields)
    assert ledger.task("j", "b0.1") == (batch(1), {})
    assert [s.state for s in ledger.statuses("j", ["F:1", "b0.1"])] == ["queued", "queued"]
    assert ledger.claim("j", "F:1", "w", LONG, 5).attempt == 1
    assert ledger.task("j", "F:1") == (part_task(1), fields), "of one that runs, too"


@pytest.mark.parametrize("history", [True, False])
def test_forgetting_a_job_leaves_its_history_or_nothing(bench: Bench, history: bool) -> None:
    ledger = bench.ledger
    ledger.open_job("j", "{}")
    ledger.set_meta("j", state="done")
    ledger.lead("j", "me", LONG)
    ledger.checkpoint("j", "me", "k", "{}", "[]")
    ledger.put_tasks("j", [batch(1), batch(2), part_task(1)])
    ledger.claim("j", "b0.1", "w", LONG, 5)
    ledger.receipts("j", "b0.1", 1, {0: "done"}, LONG, {"bytes.sent": 1})
    open_file(ledger, 2)
    ledger.put_parts("j", "F", "g1", [part(2)])
    ledger.settle("j", "b0.2", {}, {})
    ledger.forget_job("j", history)

    assert (ledger.spec("j"), ledger.meta("j")) == (("{}", {"state": "done", "owner": "me"}) if history else (None, {}))
    assert [job for job, _ in ledger.jobs()] == (["j"] if history else [])
    assert ledger.read_checkpoint("j") is None
    assert ledger.statuses("j", ["b0.1", "F:1"]) == [TaskStatus(""), TaskStatus("")]
    assert (ledger.events("j", 0), ledger.traffic("j"), ledger.file("j", "F"), ledger.parts("j", "F")) == (
        [],
        {},
        {},
        {},
    )
    if isinstance(ledger, RedisLedger):
        left = ledger._server.call(lambda r: r.keys(f"{ledger._prefix}*"))
        assert sorted(k.split(":", 1)[1] for k in left) == (["job:{j}:meta", "job:{j}:spec", "jobs"] if history else [])


# ---- leadership, checkpoint, lock


def test_one_coordinator_leads_until_it_steps_down(ledger: Ledger) -> None:
    assert ledger.lead("j", "a", LONG)
    assert ledger.lead("j", "a", LONG)
    assert not ledger.lead("j", "b", LONG)
    ledger.step_down("j", "b")
    assert not ledger.lead("j", "b", LONG)
    ledger.step_down("j", "a")
    assert ledger.lead("j", "b", LONG)


def test_a_lapsed_leader_is_followed_and_its_checkpoint_refused(bench: Bench) -> None:
    ledger = bench.ledger
    assert ledger.lead("j", "a", 50)
    assert ledger.checkpoint("j", "a", "k1", '{"done":1}', "[]")
    bench.until(lambda: ledger.lead("j", "b", LONG))
    assert not ledger.checkpoint("j", "a", "k2", '{"done":2}', "[]")
    assert ledger.read_checkpoint("j") == ("k1", '{"done":1}', "[]")
    with pytest.raises(Refused):
        ledger.take_over("j", "a")
    assert ledger.take_over("j", "b") > 0


def test_a_lease_that_ran_out_is_kept_by_its_owner_but_not_after_another_led(bench: Bench) -> None:
    ledger = bench.ledger
    assert ledger.leader("j") == ""
    assert ledger.lead("j", "a", 50)
    assert ledger.leader("j") == "a"
    bench.until(lambda: ledger.leader("j") == "")
    assert ledger.keep_lead("j", "a", 50), "it stood still, and nobody came"
    bench.until(lambda: ledger.lead("j", "b", LONG))
    assert not ledger.keep_lead("j", "a", LONG)
    ledger.step_down("j", "b")
    assert not ledger.keep_lead("j", "a", LONG), "the other has come and gone: what it settled is settled"
    assert ledger.leader("j") == ""
    ledger.forget_job("j", history=True)
    assert not ledger.keep_lead("j", "a", LONG)
    bench.flush()
    assert ledger.keep_lead("j", "a", LONG), "a ledger that lost everything is made anew by who lives"


def test_a_job_is_offered_until_it_is_withdrawn_and_leaderless_while_nobody_leads(ledger: Ledger) -> None:
    assert ledger.leaderless() == {}
    ledger.offer("j", '{"roots":[]}')
    ledger.offer("k", "old")
    ledger.offer("k", "new é")
    assert ledger.leaderless() == {"j": '{"roots":[]}', "k": "new é"}
    ledger.lead("j", "a", LONG)
    assert ledger.leaderless() == {"k": "new é"}
    ledger.withdraw("k")
    ledger.step_down("j", "a")
    assert set(ledger.leaderless()) == {"j"}


def take_up(ledger: Ledger, owner: str, lease_ms: int = LONG, most: int = 3, wait: int = 0) -> TakenUp:
    return ledger.take_up("j", owner, lease_ms, most, (wait, wait * 8))


def test_of_many_workers_one_takes_a_job_up(ledger: Ledger) -> None:
    ledger.set_meta("j", state="running")
    assert Counter(at_once(lambda i: take_up(ledger, f"w{i}"))) == {TakenUp.OK: 1, TakenUp.LED: THREADS - 1}
    assert ledger.meta("j")["owner"] == ledger.leader("j") != ""


@pytest.mark.parametrize("state", ["", "done", "stalled", "cancelled"])
def test_a_job_that_does_not_run_is_not_taken_up(ledger: Ledger, state: str) -> None:
    ledger.set_meta("j", state=state)
    assert take_up(ledger, "w") is TakenUp.ENDED
    assert ledger.leader("j") == ""


def test_tries_without_progress_are_counted_and_progress_forgives_them(ledger: Ledger) -> None:
    def tried(owner: str) -> TakenUp:
        answer = take_up(ledger, owner)
        if answer is TakenUp.OK:
            assert ledger.checkpoint("j", owner, key, "{}", "[]")
            ledger.step_down("j", owner)
        return answer

    ledger.set_meta("j", state="running")
    key = ""
    assert [tried(f"a{n}") for n in range(4)] == [*[TakenUp.OK] * 3, TakenUp.WORN]
    assert ledger.leader("j") == ""
    ledger.set_meta("j", tries="0")  # handed over, or resumed by a person
    key = "k1"
    assert tried("b") is TakenUp.OK
    assert [tried(f"c{n}") for n in range(4)] == [*[TakenUp.OK] * 3, TakenUp.WORN]


def test_between_two_tries_there_is_a_pause_that_doubles(bench: Bench) -> None:
    ledger = bench.ledger
    ledger.set_meta("j", state="running")
    assert take_up(ledger, "a", wait=200) is TakenUp.OK
    ledger.step_down("j", "a")
    assert take_up(ledger, "b", wait=200) is TakenUp.LATER
    bench.until(lambda: take_up(ledger, "b", wait=200) is TakenUp.OK)
    ledger.step_down("j", "b")
    assert take_up(ledger, "c", most=9, wait=100_000) is TakenUp.LATER
    bench.until(lambda: take_up(ledger, "c", wait=100) is TakenUp.OK)


def test_a_checkpoint_without_any_lease_is_refused(ledger: Ledger) -> None:
    assert not ledger.checkpoint("j", "a", "k", "{}", "[]")
    assert ledger.read_checkpoint("j") is None


def test_a_checkpoint_holds_any_key_and_large_counters(ledger: Ledger) -> None:
    ledger.lead("j", "a", LONG)
    values = ("dir/\U0001f600 ü\n‛FF", '{"bytes":18446744073709551615}', '[{"path":"x"}]')
    assert ledger.checkpoint("j", "a", *values)
    assert ledger.read_checkpoint("j") == values


def test_a_takeover_drops_tasks_and_events_and_keeps_uploads_and_receipts(ledger: Ledger) -> None:
    ledger.lead("j", "a", LONG)
    open_file(ledger, 3)
    ledger.put_tasks("j", [batch(1), batch(2), part_task(1)])
    assert ledger.claim("j", "b0.1", "w", LONG, 5).answer is Claimed.OK
    ledger.receipts("j", "b0.1", 1, {0: "done"}, LONG, {})
    assert ledger.part_done("j", "F:1", "F", "g1", part(1), {}) is PartAnswer.MORE
    ledger.step_down("j", "a")
    ledger.lead("j", "b", LONG)

    first, second = ledger.take_over("j", "b"), ledger.take_over("j", "b")
    assert first < second
    assert ledger.meta("j")["epoch"] == str(second)
    assert ledger.statuses("j", ["b0.1", "b0.2", "F:1"]) == [TaskStatus("")] * 3
    assert ledger.events("j", 0) == []
    assert ledger.file("j", "F")["upload"] == "u1"
    assert ledger.parts("j", "F") == {1: part(1)}
    assert ledger.renew("j", "b0.1", 1, LONG, {}) is Renewed.LOST
    ledger.put_tasks("j", [batch(1)])
    assert ledger.claim("j", "b0.1", "w", LONG, 5).receipts == {}


def test_a_worker_of_a_dead_run_never_settles_the_work_of_a_run_that_knows_nothing_of_it(bench: Bench) -> None:
    """``--fresh``, or a flushed ledger under a coordinator that died: whatever counted before counts from nothing."""
    ledger = bench.ledger
    ledger.lead("j", "a", LONG)
    task = Task(f"b{ledger.take_over('j', 'a')}.1", "batch", "q", 1, "[]")
    ledger.put_tasks("j", [task])
    claim = ledger.claim("j", task.id, "w", LONG, 5)
    bench.tick()
    ledger.forget_job("j", history=False)
    ledger.lead("j", "a", LONG)
    again = Task(f"b{ledger.take_over('j', 'a')}.1", "batch", "q", 1, "[]")
    ledger.put_tasks("j", [again])
    assert not ledger.settle("j", task.id, {"items": []}, {}, fence=claim.attempt)
    assert ledger.statuses("j", [again.id])[0].state == "queued"


def test_a_destination_is_one_jobs_and_the_others_learn_whose(bench: Bench) -> None:
    ledger = bench.ledger
    assert ledger.lock("s3://b/p ü", "j1", 50) == "j1"
    assert ledger.lock("s3://b/p ü", "j2", 50) == "j1"
    assert ledger.lock("s3://b/other", "j2", LONG) == "j2"
    bench.until(lambda: ledger.lock("s3://b/p ü", "j2", LONG) == "j2")
    ledger.unlock("s3://b/p ü", "j1")
    assert ledger.lock("s3://b/p ü", "j1", LONG) == "j2"
    ledger.unlock("s3://b/p ü", "j2")
    assert ledger.lock("s3://b/p ü", "j1", LONG) == "j1"


# ---- tasks


def test_a_claim_gives_the_task_as_it_was_put_and_the_record_of_its_file(ledger: Ledger) -> None:
    open_file(ledger, 2)
    ledger.put_tasks("j", [batch(1), part_task(7)])
    claim = ledger.claim("j", "b0.1", "w", LONG, 5)
    assert (claim.answer, claim.task, claim.attempt, claim.receipts, claim.file) == (Claimed.OK, batch(1), 1, {}, {})
    assert ledger.claim("j", "F:7", "w", LONG, 5).file == {"gen": "g1", "upload": "u1", "total": "2"}


def test_a_task_is_claimed_once_and_an_unknown_one_never(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1)])
    answers = [ledger.claim("j", task, "w", LONG, 5).answer for task in ("b0.1", "b0.1", "b0.2")]
    assert answers == [Claimed.OK, Claimed.BUSY, Claimed.GONE]


def test_a_lease_expires_and_renewing_prolongs_it(bench: Bench) -> None:
    ledger = bench.ledger
    ledger.put_tasks("j", [batch(1)])
    assert ledger.claim("j", "b0.1", "w1", 50, 5).attempt == 1
    assert ledger.renew("j", "b0.1", 1, LONG, {}) is Renewed.OK
    bench.until(lambda: ledger.statuses("j", ["b0.1"])[0].running_ms > 60)
    assert ledger.claim("j", "b0.1", "w2", LONG, 5).answer is Claimed.BUSY
    assert ledger.renew("j", "b0.1", 1, 50, {}) is Renewed.OK
    bench.until(lambda: ledger.statuses("j", ["b0.1"])[0].lease_left_ms <= 0)
    claim = ledger.claim("j", "b0.1", "w2", LONG, 5)
    assert (claim.answer, claim.attempt) == (Claimed.OK, 2)


def test_a_running_tasks_status_tells_the_payload_of_its_attempts_renewals(bench: Bench) -> None:
    ledger = bench.ledger
    ledger.put_tasks("j", [batch(1)])
    ledger.claim("j", "b0.1", "w1", LONG, 5)
    ledger.renew("j", "b0.1", 1, LONG, {"bytes.sent": 5, "bytes.received": 7, "requests.put": 3})
    ledger.renew("j", "b0.1", 1, 1, {"bytes.copied_server_side": 2**40, "bytes.overhead": 100})
    assert ledger.statuses("j", ["b0.1"])[0].moved == 2**40 + 12
    bench.until(lambda: ledger.statuses("j", ["b0.1"])[0].lease_left_ms <= 0)
    ledger.claim("j", "b0.1", "w2", LONG, 5)
    assert ledger.statuses("j", ["b0.1"])[0].moved == 0


def test_what_a_job_told_last_is_read_with_its_age_until_the_job_is_forgotten(bench: Bench) -> None:
    ledger = bench.ledger
    assert ledger.told("j") is None
    ledger.open_job("j", "spec")
    ledger.tell("j", "old")
    ledger.tell("j", '{"é": 1}')
    bench.until(lambda: (ledger.told("j") or ("", 0.0))[1] > 0.03)
    told = ledger.told("j")
    assert told is not None
    assert told[0] == '{"é": 1}'
    assert 0.03 < told[1] < 5
    assert ledger.told("another") is None
    ledger.forget_job("j", history=True)
    assert ledger.told("j") is None


def test_putting_again_keeps_attempts_and_receipts_and_never_disturbs_a_live_lease(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1)])
    ledger.claim("j", "b0.1", "w1", LONG, 5)
    ledger.put_tasks("j", [batch(1, seq=9)])
    assert ledger.statuses("j", ["b0.1"])[0].seq == 1
    assert ledger.receipts("j", "b0.1", 1, {0: ["done", 5], 511: {"failed": "é"}}, GONE_AT_ONCE, {}) is Renewed.OK
    ledger.put_tasks("j", [batch(1, seq=10)])
    assert ledger.statuses("j", ["b0.1"]) == [TaskStatus("queued", seq=10, attempts=1)]
    claim = ledger.claim("j", "b0.1", "w2", LONG, 5)
    assert claim.attempt == 2
    assert claim.receipts == {0: ["done", 5], 511: {"failed": "é"}}


def test_a_task_attempted_too_often_is_handed_over_to_be_settled_as_failed(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1)])
    assert [ledger.claim("j", "b0.1", "w", GONE_AT_ONCE, 2).answer for _ in range(2)] == [Claimed.OK, Claimed.OK]
    poison = ledger.claim("j", "b0.1", "judge", LONG, 2)
    assert (poison.answer, poison.task, poison.attempt) == (Claimed.POISON, batch(1), 3)
    assert ledger.claim("j", "b0.1", "other", LONG, 2).answer is Claimed.BUSY
    assert not ledger.settle("j", "b0.1", {"done": 1}, {}, fence=2)
    assert ledger.settle("j", "b0.1", {"failed": 1}, {}, fence=3)
    assert ledger.events("j", 0) == [Event("b0.1", {"failed": 1})]


def test_a_task_that_is_given_back_is_free_at_once_and_the_attempt_is_not_counted(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1)])
    for n in range(1, 4):
        claim = ledger.claim("j", "b0.1", "w", LONG, 1)
        assert (claim.answer, claim.attempt, claim.given, claim.counted) == (Claimed.OK, n, n - 1, 0)
        ledger.receipts("j", "b0.1", n, {n: "done"}, LONG, {})
        for _ in range(2):  # a reply that was lost: the same again
            assert ledger.give_back("j", "b0.1", n, {"n": 1})
        (status,) = ledger.statuses("j", ["b0.1"])
        assert (status.state, status.lease_left_ms < 0) == ("running", True), "what the coordinator sends again at once"
        assert ledger.renew("j", "b0.1", n, LONG, {}) is Renewed.LOST, "a renewal that was under way takes nothing back"
        ledger.put_tasks("j", [batch(1, seq=n)])
    assert ledger.traffic("j") == {"n": 3}
    claim = ledger.claim("j", "b0.1", "w", GONE_AT_ONCE, 1)
    assert claim.receipts == {1: "done", 2: "done", 3: "done"}
    assert ledger.claim("j", "b0.1", "w", LONG, 1).answer is Claimed.POISON, "that one counted"


def test_only_the_latest_attempt_gives_a_task_back(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1)])
    ledger.claim("j", "b0.1", "w1", GONE_AT_ONCE, 5)
    ledger.claim("j", "b0.1", "w2", LONG, 5)
    assert not ledger.give_back("j", "b0.1", 1, {})
    assert ledger.claim("j", "b0.1", "w3", LONG, 5).answer is Claimed.BUSY
    assert ledger.settle("j", "b0.1", {}, {}, fence=2)
    assert not ledger.give_back("j", "b0.1", 2, {})


def test_what_is_wished_of_everyone_takes_back_what_was_wished_of_one(ledger: Ledger) -> None:
    assert ledger.wished_slots() == {}
    ledger.wish_slots(EVERYONE, 4)
    ledger.wish_slots("h-1", 0)
    assert ledger.wished_slots() == {EVERYONE: 4, "h-1": 0}
    ledger.wish_slots(EVERYONE, AS_PLANNED)
    assert ledger.wished_slots() == {EVERYONE: AS_PLANNED}


def test_a_cancelled_job_gives_no_task_and_tells_those_who_run(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1), batch(2)])
    ledger.claim("j", "b0.1", "w", LONG, 5)
    ledger.cancel("j")
    assert ledger.claim("j", "b0.2", "w", LONG, 5).answer is Claimed.CANCELLED
    assert ledger.statuses("j", ["b0.2"]) == [TaskStatus("queued", seq=2)]
    assert ledger.renew("j", "b0.1", 1, LONG, {}) is Renewed.CANCELLED
    assert ledger.receipts("j", "b0.1", 1, {4: "done"}, GONE_AT_ONCE, {"n": 1}) is Renewed.CANCELLED
    ledger.set_meta("j", cancel="0")
    assert ledger.claim("j", "b0.1", "w", LONG, 5).receipts == {4: "done"}
    assert ledger.traffic("j") == {"n": 1}


def test_a_task_that_was_taken_back_is_begun_by_nobody_until_it_is_put_again(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1), batch(2), batch(3)])
    assert ledger.claim("j", "b0.1", "w", GONE_AT_ONCE, 5).answer is Claimed.OK
    ledger.receipts("j", "b0.1", 1, {3: "done"}, GONE_AT_ONCE, {})
    ledger.put_tasks("j", [batch(1)])
    assert ledger.claim("j", "b0.2", "w", LONG, 5).answer is Claimed.OK
    for _ in range(2):  # a repeat answers the same
        assert ledger.recall("j", ["b0.1", "b0.2", "b0.3", "b0.4"]) == ["b0.1", "b0.3"]
    assert ledger.recall("j", []) == []
    assert [ledger.claim("j", f"b0.{n}", "w", LONG, 5).answer for n in (1, 3)] == [Claimed.GONE, Claimed.GONE]
    assert ledger.statuses("j", ["b0.3"]) == [TaskStatus("recalled", seq=3)]
    assert ledger.renew("j", "b0.2", 1, LONG, {}) is Renewed.OK
    ledger.put_tasks("j", [batch(1, seq=7)])
    again = ledger.claim("j", "b0.1", "w", LONG, 5)
    assert (again.answer, again.attempt, again.receipts) == (Claimed.OK, 2, {3: "done"})


def test_an_attempt_that_was_only_slow_goes_on_with_a_task_that_was_taken_back(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1)])
    ledger.claim("j", "b0.1", "slow", GONE_AT_ONCE, 5)
    ledger.put_tasks("j", [batch(1)])
    assert ledger.recall("j", ["b0.1"]) == ["b0.1"]
    assert ledger.renew("j", "b0.1", 1, LONG, {}) is Renewed.OK
    assert ledger.recall("j", ["b0.1"]) == []
    assert ledger.settle("j", "b0.1", {"done": 1}, {}, fence=1)


def test_the_receipts_of_batches_at_work_are_told_where_there_are_more_than_known(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(n) for n in range(1, 12)])
    for n in range(1, 12):
        ledger.claim("j", f"b0.{n}", "w", LONG, 5)
        ledger.receipts("j", f"b0.{n}", 1, {i: ["done", n] for i in range(n)}, LONG, {})
    known = {f"b0.{n}": 3 for n in range(1, 12)}
    found = ledger.finished("j", {**known, "b0.99": 0})
    assert set(found) == {f"b0.{n}" for n in range(4, 12)}
    assert found["b0.5"] == {i: ["done", 5] for i in range(5)}
    ledger.settle("j", "b0.5", {"done": 1}, {})
    assert ledger.finished("j", {"b0.5": 0}) == ledger.finished("j", {}) == {}


def test_a_zombie_changes_nothing(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1)])
    ledger.claim("j", "b0.1", "dead", GONE_AT_ONCE, 5)
    assert ledger.claim("j", "b0.1", "live", LONG, 5).attempt == 2
    assert ledger.renew("j", "b0.1", 1, GONE_AT_ONCE, {"n": 1}) is Renewed.LOST
    assert ledger.receipts("j", "b0.1", 1, {0: "zombie's"}, GONE_AT_ONCE, {"n": 1}) is Renewed.LOST
    assert not ledger.settle("j", "b0.1", {"by": "zombie"}, {"n": 1}, fence=1)
    assert ledger.claim("j", "b0.1", "third", LONG, 5).answer is Claimed.BUSY
    assert (ledger.traffic("j"), ledger.events("j", 0)) == ({}, [])
    assert ledger.renew("j", "b0.1", 2, GONE_AT_ONCE, {}) is Renewed.OK
    assert ledger.claim("j", "b0.1", "third", LONG, 5).receipts == {}


def test_an_attempt_that_was_only_slow_takes_its_task_back(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1)])
    ledger.claim("j", "b0.1", "slow", GONE_AT_ONCE, 5)
    ledger.put_tasks("j", [batch(1, seq=2)])
    assert ledger.renew("j", "b0.1", 1, LONG, {}) is Renewed.OK
    assert ledger.claim("j", "b0.1", "other", LONG, 5).answer is Claimed.BUSY


def test_settling_twice_counts_once(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1)])
    ledger.claim("j", "b0.1", "w", LONG, 5)
    assert ledger.settle("j", "b0.1", {"done": 3}, {"bytes.sent": BIG // 4})
    assert not ledger.settle("j", "b0.1", {"done": 3}, {"bytes.sent": 1})
    assert ledger.events("j", 0) == [Event("b0.1", {"done": 3})]
    assert ledger.traffic("j") == {"bytes.sent": BIG // 4}
    assert ledger.claim("j", "b0.1", "w", LONG, 5).answer is Claimed.GONE
    assert ledger.renew("j", "b0.1", 1, LONG, {"bytes.sent": 1}) is Renewed.LOST


def test_a_commits_settling_closes_its_file(ledger: Ledger) -> None:
    open_file(ledger, 1)
    ledger.put_parts("j", "F", "g1", [part(1)])
    ledger.put_tasks("j", [Task("F:commit", "commit", "q.commit", 1, "{}", "F")])
    assert ledger.settle("j", "F:commit", {"done": 1}, {}, close_file="F")
    assert (ledger.file("j", "F"), ledger.parts("j", "F")) == ({}, {})


def test_statuses_come_in_the_order_asked_for_and_of_hundreds(ledger: Ledger) -> None:
    ledger.put_tasks("j", (batch(n) for n in range(2345)))
    ledger.claim("j", "b0.7", "w", LONG, 5)
    names = [f"b0.{n}" for n in range(2345)]
    statuses = ledger.statuses("j", [*reversed(names), "never"])
    assert [s.seq for s in statuses[:-1]] == list(reversed(range(2345)))
    assert statuses[-1] == TaskStatus("")
    running = statuses[2344 - 7]
    assert (running.state, running.attempts) == ("running", 1)
    assert LONG - 10_000 < running.lease_left_ms <= LONG
    assert 0 <= running.running_ms < 10_000
    assert Counter(s.state for s in statuses) == {"queued": 2344, "running": 1, "": 1}
    assert ledger.statuses("j", []) == []


def test_an_event_wakes_who_waits_and_a_time_out_is_an_empty_answer(ledger: Ledger) -> None:
    assert ledger.events("j", 0.02) == []
    ledger.put_tasks("j", [batch(n) for n in range(5)])
    woken: list[Event] = []
    waiter = threading.Thread(target=lambda: woken.extend(ledger.events("j", 20)))
    waiter.start()
    ledger.settle("j", "b0.0", {"é": 1}, {})
    waiter.join(10)
    assert woken == [Event("b0.0", {"é": 1})]
    for n in range(1, 5):
        ledger.settle("j", f"b0.{n}", {}, {})
    assert [e.task for e in ledger.events("j", 5, most=1)] == ["b0.1"]
    assert [e.task for e in ledger.events("j", 5, most=2)] == ["b0.2", "b0.3"]
    assert [e.task for e in ledger.events("j", 5)] == ["b0.4"]


def test_jobs_do_not_see_each_others_tasks(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(1)])
    assert ledger.claim("k", "b0.1", "w", LONG, 5).answer is Claimed.GONE
    ledger.settle("j", "b0.1", {}, {"n": 1})
    assert (ledger.events("k", 0), ledger.traffic("k")) == ([], {})


# ---- large files


def test_the_first_upload_of_a_generation_stands_and_another_generation_replaces_it(ledger: Ledger) -> None:
    assert open_file(ledger, 2, "g1", "u1")["upload"] == "u1"
    assert open_file(ledger, 2, "g1", "u2")["upload"] == "u1"
    ledger.put_parts("j", "F", "g1", [part(1)])
    assert open_file(ledger, 3, "g2", "u3") == {"gen": "g2", "upload": "u3", "total": "3"}
    assert ledger.parts("j", "F") == {}
    assert ledger.file("j", "F")["upload"] == "u3"


def test_what_a_task_says_of_an_upload_is_recorded_only_while_its_job_has_tasks(ledger: Ledger) -> None:
    """One that was claimed before its job ended begins a file: nobody would ever take the record away again."""
    fields, other = ({"gen": "g1", "upload": upload, "total": "2"} for upload in ("u1", "u2"))
    assert ledger.set_upload("j", "F", fields, of_task=True) == {}
    assert ledger.open_files("j") == []
    ledger.put_tasks("j", [BEGIN])
    assert ledger.set_upload("j", "F", fields, of_task=True) == fields
    ledger.settle("j", BEGIN.id, {}, {})
    assert ledger.set_upload("j", "F", other, of_task=True) == fields, "what stands is nobody's to take away"
    ledger.forget_job("j")
    assert ledger.set_upload("j", "F", fields, of_task=True) == {}
    assert (ledger.file("j", "F"), ledger.open_files("j")) == ({}, [])


def test_a_coordinator_restores_a_record_before_its_tasks(ledger: Ledger) -> None:
    assert ledger.set_upload("j", "F", {"gen": "g1", "upload": "u1", "total": "2"})["upload"] == "u1"
    assert ledger.put_parts("j", "F", "g1", [part(1)])
    assert ledger.parts("j", "F") == {1: part(1)}


def test_files_with_an_upload_are_known_until_they_are_closed(ledger: Ledger) -> None:
    assert ledger.open_files("j") == []
    for file in ("f1", "f2", "f3"):
        ledger.set_upload("j", file, {"gen": "g", "upload": "u", "total": "1"})
    ledger.close_file("j", "f2")
    ledger.put_tasks("j", [Task("f3:commit", "commit", "q", 1, "", "f3")])
    ledger.settle("j", "f3:commit", {}, {}, close_file="f3")
    assert ledger.open_files("j") == ["f1"]
    ledger.forget_job("j")
    assert ledger.open_files("j") == []


def test_a_record_is_closed_as_unbegun_only_while_it_is_of_that_generation_and_names_no_upload(ledger: Ledger) -> None:
    ledger.set_upload("j", "F", {"gen": "g1", "upload": "", "total": "2"})
    ledger.put_notes("j", "F", "g1", {"m0": b"row"})
    ledger.close_file("j", "F", unbegun="g2")
    assert ledger.open_files("j") == ["F"]
    ledger.close_file("j", "F", unbegun="g1")
    assert (ledger.open_files("j"), ledger.file("j", "F")) == ([], {})
    open_file(ledger, 2)
    assert ledger.notes("j", "F", ["m0"]) == [None]
    ledger.close_file("j", "F", unbegun="g1")
    assert ledger.file("j", "F")["upload"] == "u1"


def test_a_record_without_an_upload_gives_way_to_one_that_has_it(ledger: Ledger) -> None:
    ledger.set_upload("j", "F", {"gen": "g1", "upload": "", "total": "2", "stale": "1"})
    assert open_file(ledger, 2) == {"gen": "g1", "upload": "u1", "total": "2"}


def test_a_list_of_names_is_kept_with_the_jobs_work_and_goes_with_it(ledger: Ledger) -> None:
    assert list(ledger.names("j")) == []
    blocks = [bytes(range(256)), b"", b"x" * 3_000_000]
    ledger.put_names("j", iter(blocks))
    assert list(ledger.names("j")) == blocks
    ledger.put_names("j", [b"another"])
    assert list(ledger.names("j")) == [b"another"]
    ledger.forget_job("j", history=True)
    assert list(ledger.names("j")) == []


def test_notes_of_a_file_are_kept_by_name_for_its_generation_only(ledger: Ledger) -> None:
    assert not ledger.put_notes("j", "F", "g1", {"m0": b"early"})  # no record yet
    ledger.set_upload("j", "F", {"gen": "g1", "upload": "", "total": "2"})
    raw = bytes(range(256))
    assert ledger.put_notes("j", "F", "g1", {"m0": raw, "m1": b""})
    assert not ledger.put_notes("j", "F", "g2", {"m0": b"a stranger's"})
    assert ledger.notes("j", "F", ["m1", "m0", "m7"]) == [b"", raw, None]


def test_notes_survive_the_upload_of_their_generation_and_go_with_another(ledger: Ledger) -> None:
    ledger.set_upload("j", "F", {"gen": "g1", "upload": "", "total": "2"})
    ledger.put_notes("j", "F", "g1", {"m0": b"x"})
    open_file(ledger, 2)
    assert ledger.notes("j", "F", ["m0"]) == [b"x"]
    open_file(ledger, 2, gen="g2")
    assert ledger.notes("j", "F", ["m0"]) == [None]


def test_notes_go_with_their_file(ledger: Ledger) -> None:
    closings = {
        "closed": lambda f: ledger.close_file("j", f),
        "settled": lambda f: (ledger.put_tasks("j", [Task(f"{f}:c", "commit", "q", 1, "", f)]), ledger.settle("j", f"{f}:c", {}, {}, close_file=f)),
        "forgotten": lambda f: ledger.forget_job("j"),
    }  # fmt: skip
    for file, close in closings.items():
        ledger.set_upload("j", file, {"gen": "g", "upload": "u", "total": "1"})
        ledger.put_notes("j", file, "g", {f"l{n}": b"row" for n in range(200)})
        assert ledger.notes("j", file, [f"l{n}" for n in range(200)]) == [b"row"] * 200
        close(file)
        ledger.set_upload("j", file, {"gen": "g", "upload": "u", "total": "1"})
        assert ledger.notes("j", file, ["l0"]) == [None]


def test_parts_are_receipted_settled_and_told_in_one_step(ledger: Ledger) -> None:
    open_file(ledger, 2)
    ledger.put_tasks("j", [part_task(1), part_task(2)])
    assert ledger.part_done("j", "F:1", "F", "g1", part(1), {"bytes.sent": 5}) is PartAnswer.MORE
    assert ledger.part_done("j", "F:2", "F", "g1", part(2, crc=None), {"bytes.sent": 6}) is PartAnswer.ALL
    assert ledger.parts("j", "F") == {1: part(1), 2: part(2, crc=None)}
    assert ledger.statuses("j", ["F:1", "F:2"]) == [TaskStatus("")] * 2
    assert ledger.events("j", 0) == [
        Event("F:1", {"part": part(1).wire(), "answer": "MORE"}),
        Event("F:2", {"part": part(2, crc=None).wire(), "answer": "ALL"}),
    ]
    assert ledger.traffic("j") == {"bytes.sent": 11}


def test_a_part_reported_again_answers_the_same_and_says_nothing(ledger: Ledger) -> None:
    open_file(ledger, 1)
    ledger.put_tasks("j", [part_task(1)])
    assert [ledger.part_done("j", "F:1", "F", "g1", part(1), {"n": 1}) for _ in range(3)] == [PartAnswer.ALL] * 3
    assert len(ledger.events("j", 0)) == 1
    assert ledger.traffic("j") == {"n": 1}


def test_a_part_whose_task_record_is_gone_still_counts_and_wakes_the_coordinator(ledger: Ledger) -> None:
    open_file(ledger, 1)
    assert ledger.part_done("j", "F:1", "F", "g1", part(1), {}) is PartAnswer.ALL
    assert [e.task for e in ledger.events("j", 0)] == ["F:1"]


def test_a_part_already_receipted_settles_a_task_that_was_put_for_it(ledger: Ledger) -> None:
    open_file(ledger, 2)
    assert ledger.put_parts("j", "F", "g1", [part(1)])
    ledger.put_tasks("j", [part_task(1)])
    assert ledger.part_done("j", "F:1", "F", "g1", part(1), {}) is PartAnswer.MORE
    assert ledger.statuses("j", ["F:1"]) == [TaskStatus("")]
    assert len(ledger.events("j", 0)) == 1


@pytest.mark.parametrize(("gen", "upload"), [("g0", ""), ("g1", "u0")])
def test_a_part_of_another_generation_or_upload_is_fenced(ledger: Ledger, gen: str, upload: str) -> None:
    assert ledger.part_done("j", "F:1", "F", gen, part(1), {}, upload=upload) is PartAnswer.FENCED
    open_file(ledger, 1)
    ledger.put_tasks("j", [part_task(1)])
    assert ledger.part_done("j", "F:1", "F", gen, part(1), {"n": 1}, upload=upload) is PartAnswer.FENCED
    assert not ledger.put_parts("j", "F", gen, [part(1)], upload=upload)
    assert not ledger.put_parts("j", "F", gen, [], upload=upload)
    assert (ledger.parts("j", "F"), ledger.events("j", 0), ledger.traffic("j")) == ({}, [], {})
    assert ledger.statuses("j", ["F:1"])[0].state == "queued"
    assert ledger.part_done("j", "F:1", "F", "g1", part(1), {}, upload="u1") is PartAnswer.ALL


@pytest.mark.parametrize(
    ("again", "answer"),
    [
        (part(1, crc=BIG, etag="other"), PartAnswer.MORE),  # encrypted stores: same bytes, new ETag
        (part(1, crc=BIG - 1), PartAnswer.MISMATCH),  # equal as doubles
        (part(1, crc=None), PartAnswer.MORE),
        (part(1, crc=None, etag="other"), PartAnswer.MISMATCH),
        (part(1, size=1), PartAnswer.MISMATCH),
    ],
)
def test_other_bytes_for_the_same_part_are_a_mismatch(ledger: Ledger, again: Part, answer: PartAnswer) -> None:
    open_file(ledger, 2)
    ledger.part_done("j", "F:1", "F", "g1", part(1), {})
    assert ledger.part_done("j", "F:1", "F", "g1", again, {}) is answer
    assert ledger.parts("j", "F")[1] == (part(1) if answer is PartAnswer.MISMATCH else again)


def test_thousands_of_parts_are_adopted(ledger: Ledger) -> None:
    open_file(ledger, 10_000)
    assert ledger.put_parts("j", "F", "g1", (part(n) for n in range(1, 10_000)), upload="u1")
    assert len(ledger.parts("j", "F")) == 9_999
    assert ledger.part_done("j", "F:10000", "F", "g1", part(10_000), {}) is PartAnswer.ALL
    ledger.close_file("j", "F")
    assert (ledger.file("j", "F"), ledger.parts("j", "F")) == ({}, {})


# ---- traffic, workers, queues


def test_traffic_adds_up(ledger: Ledger) -> None:
    ledger.add_traffic("j", {"requests.get": 2, "bytes.sent": 1 << 50})
    ledger.add_traffic("j", {"bytes.sent": 1})
    ledger.add_traffic("j", {})
    assert ledger.traffic("j") == {"requests.get": 2, "bytes.sent": (1 << 50) + 1}


def test_a_worker_is_seen_as_long_as_its_heart_beats(bench: Bench) -> None:
    ledger = bench.ledger
    assert ledger.workers() == {}
    ledger.heartbeat("h1", '{"slots":2}', 50)
    ledger.heartbeat("h2", "{}", LONG)
    assert set(ledger.workers()) == {"h1", "h2"}
    bench.until(lambda: ledger.workers() == {"h2": "{}"})
    ledger.heartbeat("h1", '{"slots":3}', LONG)
    assert ledger.workers()["h1"] == '{"slots":3}'


def test_a_worker_that_fell_silent_is_told_from_one_just_heard(bench: Bench) -> None:
    ledger = bench.ledger
    ledger.heartbeat("killed", "{}", LONG)
    assert set(ledger.workers(heard_within_ms=LONG)) == {"killed"}
    bench.until(lambda: ledger.workers(heard_within_ms=500) == {})
    ledger.heartbeat("alive", "{}", LONG)
    assert set(ledger.workers(heard_within_ms=500)) == {"alive"}
    assert set(ledger.workers()) == {"killed", "alive"}


def test_queues_are_announced_and_retracted(ledger: Ledger) -> None:
    ledger.announce("hs.root", '{"roots":["root"]}')
    ledger.announce("hs.any", "{}")
    ledger.retract("hs.any")
    assert ledger.announced() == {"hs.root": '{"roots":["root"]}'}
    assert ledger.queue_length("hs.root") == 0


# ---- shares and limits


def test_each_job_tells_its_stake_and_hears_the_others_until_they_leave(bench: Bench) -> None:
    ledger = bench.ledger
    assert set(ledger.share("j", '{"out": 1}', "hs.any b1.1")) == {"j"}
    bench.until(lambda: ledger.share("k", '{"out": 2}')["j"][1] > 0)
    heard = ledger.share("k", '{"out": 3}')
    assert {job: row for job, (row, _) in heard.items()} == {"j": '{"out": 1}', "k": '{"out": 3}'}
    assert 0 < heard["j"][1] < SHARES_MS / 1000
    assert ledger.heads() == {"j": "hs.any b1.1"}
    ledger.share("j", '{"out": 1}')
    assert ledger.heads() == {}, "something of it runs now"
    ledger.share("j", '{"out": 1}', "hs.any b1.2")
    assert set(ledger.share("j", "")) == {"k"}
    assert ledger.heads() == {}


def test_an_endpoints_limits_are_kept_for_all_jobs_and_drawn_from_by_all(ledger: Ledger) -> None:
    url = "http://[::1]:9000"
    assert ledger.draw_at(url, "", "a", 5, True, "bwlimit").rate is None, "nothing is known of it"
    ledger.limit_endpoint(url, {"bwlimit": "1000000", "jobs": "3"})
    ledger.limit_endpoint(url, {"tpslimit": "2.5"})
    ledger.limit_endpoint("https://other", {"tpslimit": "0.0"})
    assert ledger.endpoints() == {
        url: {"bwlimit": "1000000", "jobs": "3", "tpslimit": "2.5"},
        "https://other": {"tpslimit": "0.0"},
    }
    assert ledger.draw_at("https://other", "p", "a", 1, False, "tpslimit").rate == 0.0
    first = ledger.draw_at(url, "", "a", 100_000, False, "bwlimit")
    second = ledger.draw_at(url, "", "b", 100_000, False, "bwlimit")
    assert (first.rate, first.n, second.sharers) == (1_000_000.0, 100_000, 2)
    assert second.wait > first.wait
    one, other = (ledger.draw_at(url, prefix, "a", 1, False, "tpslimit") for prefix in ("p", "q"))
    assert (one.rate, one.wait) == (2.5, other.wait), "a bucket for each prefix"
    assert ledger.draw_at(url, "p", "a", 1, False, "tpslimit").wait > one.wait


def test_a_jobs_requests_are_drawn_apart_from_its_bytes(ledger: Ledger) -> None:
    ledger.set_meta("j", bwlimit="0", tpslimit="2.0")
    assert ledger.draw("j", "a", 1, False).rate == 0.0
    assert ledger.draw("j", "a", 1, False, of="tpslimit").rate == 2.0
    assert ledger.draw("j", "a", 1, False, of="tpslimit").wait > 0


# ---- races and losses


def test_racing_claims_give_each_task_to_one(ledger: Ledger) -> None:
    names = [f"b0.{n}" for n in range(60)]
    ledger.put_tasks("j", [batch(n) for n in range(60)])

    def claim_all(i: int) -> list[str]:
        mine = random.Random(i).sample(names, len(names))
        return [task for task in mine if ledger.claim("j", task, f"w{i}", LONG, 5).answer is Claimed.OK]

    assert sorted(task for won in at_once(claim_all) for task in won) == sorted(names)


def test_racing_reports_of_parts_lose_none_and_end_in_all(ledger: Ledger) -> None:
    total = 60
    open_file(ledger, total)
    ledger.put_tasks("j", [part_task(n) for n in range(1, total + 1)])

    def report_all(i: int) -> list[PartAnswer]:
        numbers = random.Random(i).sample(range(1, total + 1), total)
        return [ledger.part_done("j", f"F:{n}", "F", "g1", part(n), {"parts": 1}) for n in numbers]

    answers = at_once(report_all)
    assert all(mine[-1] is PartAnswer.ALL for mine in answers)  # whoever has reported all of them hears it
    assert ledger.parts("j", "F") == {n: part(n) for n in range(1, total + 1)}
    events = ledger.events("j", 0)
    assert Counter(e.task for e in events) == {f"F:{n}": 1 for n in range(1, total + 1)}
    assert [e.outcome["answer"] for e in events] == ["MORE"] * (total - 1) + ["ALL"]
    assert ledger.traffic("j") == {"parts": total}


def test_racing_settlements_count_once(ledger: Ledger) -> None:
    ledger.put_tasks("j", [batch(n) for n in range(30)])
    won = at_once(lambda i: [ledger.settle("j", f"b0.{n}", {"by": i}, {"n": 1}) for n in range(30)])
    assert [sum(column) for column in zip(*won, strict=True)] == [1] * 30
    assert len(ledger.events("j", 0)) == 30
    assert ledger.traffic("j") == {"n": 30}


def test_racing_coordinators_have_one_leader(ledger: Ledger) -> None:
    assert sum(at_once(lambda i: ledger.lead("j", f"c{i}", LONG))) == 1


def test_after_a_flush_workers_go_on_and_the_window_is_put_again(bench: Bench) -> None:
    ledger = bench.ledger
    ledger.lead("j", "me", LONG)
    open_file(ledger, 2)
    ledger.put_tasks("j", [batch(1), batch(2), part_task(1)])
    for _ in range(2):
        ledger.claim("j", "b0.1", "w", GONE_AT_ONCE, 5)
    bench.flush()

    assert ledger.statuses("j", ["b0.1", "b0.2"]) == [TaskStatus("")] * 2
    assert ledger.renew("j", "b0.1", 2, LONG, {}) is Renewed.LOST
    assert not ledger.settle("j", "b0.2", {}, {})
    assert ledger.part_done("j", "F:1", "F", "g1", part(1), {}) is PartAnswer.FENCED
    assert not ledger.checkpoint("j", "me", "k", "{}", "[]")
    assert ledger.lead("j", "me", LONG)
    assert ledger.checkpoint("j", "me", "k", "{}", "[]")
    ledger.put_tasks("j", [batch(1, seq=5), batch(2, seq=6)])
    assert ledger.receipts("j", "b0.1", 2, {0: "done"}, LONG, {}) is Renewed.OK
    assert ledger.claim("j", "b0.1", "other", LONG, 5).answer is Claimed.BUSY
    assert ledger.statuses("j", ["b0.1"])[0].attempts == 2
    assert ledger.claim("j", "b0.2", "w", LONG, 5).answer is Claimed.OK
    assert ledger.settle("j", "b0.1", {"done": 1}, {}, fence=2)
    assert ledger.events("j", 0) == [Event("b0.1", {"done": 1})]


@pytest.mark.parametrize("seed", range(12))
def test_memory_and_redis_answer_alike_to_any_sequence(server: EmbeddedServer, seed: int) -> None:
    rnd = random.Random(seed)
    twins = [memory_bench().ledger, redis_bench(server).ledger]

    def lease() -> int:
        return rnd.choice([GONE_AT_ONCE, LONG])

    def step() -> Callable[[Ledger], Any]:
        n, gen, up = rnd.randint(1, 4), rnd.choice(["g1", "g2"]), rnd.choice(["", "u1", "u2"])
        fence, ms, crc = rnd.randint(1, 4), lease(), rnd.choice([None, BIG, BIG - 1])
        task, who = rnd.choice([batch(n), part_task(n)]), rnd.choice("abc")
        some = part(n, crc, rnd.choice(["e1", "e2"]))
        moves: list[Callable[[Ledger], Any]] = [
            lambda x: x.put_tasks("j", [batch(n, seq=fence), part_task(n)]),
            lambda x: x.claim("j", task.id, who, ms, 3),
            lambda x: x.claim("j", task.id, who, ms, 3),
            lambda x: x.renew("j", task.id, fence, ms, {"n": n, "bytes.sent": n, "bytes.overhead": 9}),
            lambda x: x.receipts("j", task.id, fence, {n: [fence, who]}, ms, {"n": n}),
            lambda x: x.give_back("j", task.id, fence, {"n": n}),
            lambda x: x.settle("j", task.id, {"by": who}, {"n": 1}, rnd_close, fence=rnd_fence),
            lambda x: x.set_upload("j", "F", {"gen": gen, "upload": up, "total": "3"}),
            lambda x: x.put_parts("j", "F", gen, [some], up),
            lambda x: x.part_done("j", f"F:{n}", "F", gen, some, {"p": n}, up),
            lambda x: x.part_done("j", f"F:{n}", "F", gen, some, {"p": n}, up),
            lambda x: x.lead("j", who, LONG),
            lambda x: x.step_down("j", who),
            lambda x: x.checkpoint("j", who, str(n), "{}", "[]"),
            lambda x: x.events("j", 0, n),
            lambda x: x.set_meta("j", cancel=str(int(n == 1))),
            lambda x: x.close_file("j", "F") if n == 1 else x.file("j", "F"),
        ]
        rnd_close, rnd_fence = rnd.choice(["", "", "F"]), rnd.choice([None, fence])
        return rnd.choice(moves)

    def seen(x: Ledger) -> Any:
        names = [t.id for n in range(1, 5) for t in (batch(n), part_task(n))]
        statuses = [(s.state, s.seq, s.lease_left_ms > 0, s.attempts, s.moved) for s in x.statuses("j", names)]
        return statuses, x.file("j", "F"), x.parts("j", "F"), x.traffic("j"), x.read_checkpoint("j"), x.meta("j")

    for number in range(250):
        move = step()
        answers = [move(twin) for twin in twins]
        assert answers[0] == answers[1], f"step {number}"
        if number % 10 == 0:
            assert seen(twins[0]) == seen(twins[1]), f"after step {number}"
    assert seen(twins[0]) == seen(twins[1])
