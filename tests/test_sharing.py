"""Several jobs on the same workers: whose tasks are next (``docs/sharing.md``), in simulated time and by themselves."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_world import MIB, Fleet, Load
from hugesync_producer.dispatch import PATIENCE, Dispatcher
from hugesync_producer.unitkinds import Batch
from hugesync_producer.window import Counters, OpenSegment
from hugesync_tasks import draining, lending, share
from hugesync_tasks.lending import Lender
from hugesync_tasks.model import Entry, Kind, Transfer
from hugesync_tasks.register import own_name
from hugesync_tasks.share import BEHIND, Room, Stake
from hugesync_tasks.state.base import Task
from hugesync_tasks.state.memory import MemoryLedger
from scale import mostly_full

QUEUE = "hs.any"


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fleet]:
    def played(seconds: float, *loads: Load, **how: Any) -> Fleet:
        return Fleet(list(loads), **how).play(monkeypatch, seconds)

    return played


def ratio(fleet: Fleet) -> float:
    return fleet.served["a"] / fleet.served["b"]


# --- by weight, in bytes ------------------------------------------------------------------------------------------------

SHAPES: dict[str, tuple[Load, Load]] = {
    "the light one has large tasks": (Load("a", MIB), Load("b", 8 * MIB)),
    "the heavy one has large tasks": (Load("a", 8 * MIB), Load("b", MIB)),
    "equal tasks": (Load("a", 8 * MIB), Load("b", 8 * MIB)),
    "parts of large files": (Load("a", 64 * MIB, part=16 * MIB, speed=50 * MIB), Load("b", 8 * MIB, speed=50 * MIB)),
    "the light one's store is slow": (Load("a", 8 * MIB), Load("b", 4 * MIB, speed=2 * MIB)),
}


@pytest.mark.parametrize("slots", mostly_full([2, 1, 8], 1))
@pytest.mark.parametrize("shape", mostly_full([*SHAPES], 2))
def test_of_two_jobs_each_gets_bytes_by_its_weight(play: Callable[..., Fleet], shape: str, slots: int) -> None:
    a, b = SHAPES[shape]
    fleet = play(120 if slots == 1 else 60, replace(a, weight=4), b, slots=slots)
    assert ratio(fleet) == pytest.approx(4, rel=0.1)
    assert fleet.idle < 0.02 * 60 * slots, "no slot idles while two jobs have work"
    assert all(made.dispatcher.resent == 0 for made in fleet.coordinators.values())


def test_a_weight_that_is_changed_holds_from_then_on(play: Callable[..., Fleet]) -> None:
    a, b = Load("a", 4 * MIB), Load("b", 4 * MIB)
    before: list[tuple[int, int]] = []
    fleet = Fleet([a, b], slots=4)
    fleet.events = [
        (60.0, lambda: before.append((fleet.served["a"], fleet.served["b"]))),
        (60.0, lambda: fleet.ledger.set_meta("a", weight="4")),
    ]
    with pytest.MonkeyPatch.context() as patch:
        fleet.play(patch, 120)
    (first,) = before
    assert first[0] / first[1] == pytest.approx(1, rel=0.1)
    assert (fleet.served["a"] - first[0]) / (fleet.served["b"] - first[1]) == pytest.approx(4, rel=0.1)


def test_three_jobs_and_one_that_has_little_to_do_leave_no_slot_idle(play: Callable[..., Fleet]) -> None:
    loads = [
        Load("a", 4 * MIB, weight=2),
        Load("b", 4 * MIB),
        Load("c", 4 * MIB),
        Load("d", 4 * MIB, files=5, weight=50),
    ]
    fleet = play(60, *loads, slots=4)
    assert "d" in fleet.ended
    assert fleet.served["a"] / fleet.served["c"] == pytest.approx(2, rel=0.1)
    assert fleet.served["b"] / fleet.served["c"] == pytest.approx(1, rel=0.1)
    assert fleet.idle < 0.02 * 60 * 4


def test_a_job_that_its_own_limit_slows_does_not_sit_in_all_slots(play: Callable[..., Fleet]) -> None:
    slow = Load("a", 8 * MIB, bwlimit=128 << 10, speed=64 << 10)
    fleet = play(60, slow, Load("b", 8 * MIB), slots=2)
    alone = play(60, Load("b", 8 * MIB), slots=1)
    assert fleet.served["b"] > 0.8 * alone.served["b"]


def test_a_job_that_cannot_use_its_turn_starves_nobody(play: Callable[..., Fleet]) -> None:
    """Its store gives a thousandth of the other's: by bytes it would be first for ever."""
    fleet = play(120, Load("a", 8 * MIB, speed=10 << 10), Load("b", MIB), slots=4)
    assert fleet.served["b"] > 50 * MIB


# --- a small job behind a huge one --------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", mostly_full([2, 1, 8], 2))
def test_a_small_job_begins_within_two_seconds_while_every_slot_is_in_a_part_of_minutes(
    play: Callable[..., Fleet], slots: int
) -> None:
    huge = Load("a", 640 * MIB, part=16 * MIB, speed=100 << 10)
    fleet = play(60, huge, Load("b", MIB, files=3, after=30), slots=slots)
    assert fleet.begun["b"] - fleet.put["b"] < 2.0
    assert fleet.ended["b"] - 30 < 15.0
    without = play(60, huge, Load("b", MIB, files=3, after=30), slots=slots, lends=False)
    assert "b" not in without.begun, "nothing but the lent thread could do that"


def test_a_small_job_begins_within_two_seconds_behind_a_full_window(play: Callable[..., Fleet]) -> None:
    """Tasks of a second each, 64 in the queue: what the other job queued is taken back, and nobody need lend anything."""
    huge, small = Load("a", 8 * MIB, speed=8 * MIB), Load("b", MIB, files=20, after=20)
    fleet = play(60, huge, small, slots=2, lends=False)
    assert fleet.begun["b"] - fleet.put["b"] < 3.0
    assert fleet.ended["b"] - 20 < 20.0
    assert fleet.served["a"] > 0.8 * 60 * 2 * 8 * MIB, "and the huge one goes on"


def test_a_job_that_is_alone_fills_the_window_as_before(play: Callable[..., Fleet]) -> None:
    fleet = play(10, Load("a", 8 * MIB), slots=2)
    assert fleet.most_out == 64
    assert fleet.dead == 0
    assert max(fleet.sent.values()) == 1


def test_what_was_taken_back_is_sent_again_when_the_other_has_ended(play: Callable[..., Fleet]) -> None:
    fleet = play(120, Load("a", MIB, files=800), Load("b", MIB, files=100, after=5), slots=2)
    assert set(fleet.ended) == {"a", "b"}
    assert (fleet.served["a"], fleet.served["b"]) == (800 * MIB, 100 * MIB), "each once"
    assert all(made.dispatcher.resent == 0 for made in fleet.coordinators.values()), "nothing counted as lost"


@pytest.mark.parametrize("seed", mostly_full(range(20), 2))
def test_lost_messages_are_found_beside_other_jobs_too(play: Callable[..., Fleet], seed: int) -> None:
    fleet = play(300, Load("a", MIB, files=300), Load("b", MIB, files=100, after=2), slots=3, drop=0.1, seed=seed)
    assert set(fleet.ended) == {"a", "b"}
    assert (fleet.served["a"], fleet.served["b"]) == (300 * MIB, 100 * MIB)


def test_whoever_dies_leaves_its_share_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet([Load("a", 4 * MIB), Load("b", 4 * MIB, weight=1000)], slots=2)
    served: list[int] = []
    fleet.events = [
        (10.0, lambda: fleet.kill("b")),
        *((t, lambda: served.append(fleet.served["a"])) for t in (30.0, 59.0)),
    ]
    fleet.play(monkeypatch, 60)
    assert served[1] - served[0] > 0.9 * 29 * 2 * 10 * MIB


def test_a_flushed_ledger_is_told_anew_by_the_next_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet([Load("a", 4 * MIB, weight=4), Load("b", 4 * MIB)], slots=2)
    before: list[tuple[int, int]] = []

    def flush() -> None:
        fleet.ledger.flush()
        fleet.queues.clear()

    fleet.events = [(20.0, flush), (40.0, lambda: before.append((fleet.served["a"], fleet.served["b"])))]
    fleet.play(monkeypatch, 100)
    ((a, b),) = before
    assert (fleet.served["a"] - a) / (fleet.served["b"] - b) == pytest.approx(4, rel=0.1)


# --- limits of an endpoint ----------------------------------------------------------------------------------------------


def test_all_jobs_together_keep_to_the_tasks_that_an_endpoint_allows(play: Callable[..., Fleet]) -> None:
    url = "https://s3.example"
    loads = [Load(job, 4 * MIB, weight=weight, ends=(url,)) for job, weight in (("a", 3), ("b", 1))]
    fleet = Fleet(loads, slots=8)
    most: list[int] = []

    def look() -> None:
        most.append(sum(len(made.dispatcher.out) for made in fleet.coordinators.values()))

    fleet.events = [(1.0, lambda: fleet.ledger.limit_endpoint(url, {"jobs": "4"}))]
    fleet.events += [(t / 10, look) for t in range(150, 600)]
    with pytest.MonkeyPatch.context() as patch:
        fleet.play(patch, 60)
    assert max(most) <= 4 + 1, "one more where both see room at the same instant"
    assert sum(most) / len(most) > 3
    assert ratio(fleet) == pytest.approx(3, rel=0.2)


# --- the arithmetic -----------------------------------------------------------------------------------------------------

stakes = st.builds(
    Stake,
    queue=st.just(QUEUE),
    weight=st.integers(1, 1000),
    out=st.integers(0, 100),
    wants=st.booleans(),
    turn=st.floats(0, 1e12),
    step=st.floats(0, 1e9),
    held=st.floats(0, 1e6),
    pace=st.floats(0, 1000),
    limited=st.booleans(),
).map(lambda stake: replace(stake, done=stake.turn))


@given(stakes, st.lists(stakes, max_size=6), st.integers(0, 200), st.integers(64, 800))
def test_never_more_is_sent_than_the_window_holds_and_somebody_may_always_send(
    mine: Stake, others: list[Stake], slots: int, window: int
) -> None:
    others = share.active(others, {QUEUE})
    room = share.room(mine, others, slots, window)
    assert room.sure >= 0
    assert room.free >= 0
    assert room.free <= window
    total = mine.out + sum(other.out for other in others)
    everybody = [mine, *others]
    if total < min(slots, window) and not any(stake.limited for stake in everybody):
        assert room.takes(0, 0), "no slot idles"
    if total < share.depth(everybody, max(1, slots), window) and all(s.wants and not s.limited for s in everybody):
        rooms = [share.room(s, [o for o in everybody if o is not s], slots, window) for s in everybody]
        assert any(r.takes(0, 0) for r in rooms)


def test_a_job_of_which_nothing_is_out_may_send_its_first_task_into_a_queue_full_of_anothers() -> None:
    """Of the slots none may come free for minutes, and only a task that is out can be lent a thread."""
    huge = Stake(QUEUE, out=40, wants=True, turn=100.0, held=50.0)
    new = Stake(QUEUE, wants=True, turn=100.0, held=50.0)
    assert share.room(new, [huge], 2, 64).takes(0, 0)
    assert not share.room(replace(new, out=1), [huge], 2, 64).takes(0, 0)
    assert not share.room(replace(new, turn=101.0), [huge], 2, 64).takes(0, 0), "it has had more than the other"


def test_a_job_that_the_bytes_keep_out_of_the_slots_comes_in_by_their_time() -> None:
    slow = Stake(QUEUE, out=40, wants=True, turn=100.0, held=50.0)
    kept = Stake(QUEUE, wants=True, turn=500.0, done=500.0, held=50.0 / share.FAIR - 1)
    assert share.room(kept, [slow], 2, 64).takes(0, 0)
    assert share.entitled(kept, [slow])
    assert not share.room(replace(kept, held=50.0), [slow], 2, 64).takes(0, 0)
    assert not share.entitled(replace(kept, held=50.0), [slow])


@given(stakes, st.lists(stakes, min_size=1, max_size=6), st.booleans())
def test_nobody_goes_back_and_nobody_falls_behind_without_end(mine: Stake, others: list[Stake], rested: bool) -> None:
    turn = share.joined(mine, others, rested).turn
    assert turn >= mine.turn
    wanting = [other.turn for other in others if other.wants] or [other.turn for other in others]
    assert turn <= max(mine.turn, max(wanting))
    assert turn >= max(wanting) - BEHIND * max(stake.step for stake in (mine, *others))
    if rested:
        there = [other for other in others if other.wants] or others
        assert turn >= min(other.done for other in there)


def test_a_room_takes_the_sure_ones_and_the_others_while_there_is_credit() -> None:
    room = Room(1, 3, 10.0)
    assert [room.takes(0, 99), room.takes(1, 99), room.takes(1, 10), room.takes(3, 0)] == [True, False, True, False]
    assert room.most(2).takes(2, 0) is False
    assert Room(0, 5, -1.0).tasks == 0


def test_a_row_of_another_release_is_read() -> None:
    stake = Stake(QUEUE, 3, 4, True, 1.5, limited=True, ends=("e",))
    assert Stake.unwire(stake.wire()) == stake
    assert Stake.unwire('{"queue": "hs.any", "humour": 3}') == Stake(QUEUE)


# --- what was taken back is no evidence ---------------------------------------------------------------------------------


class Desk:
    """A dispatcher, its queue as a list of messages, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ledger = MemoryLedger(lambda: self.now)
        self.messages: list[str] = []
        self.dispatcher = Dispatcher(self.ledger, lambda n, q, j, t: self._came(t), "j", lambda: self.now)

    def _came(self, task: str) -> None:
        self.messages.append(task)
        self.ledger.queues[QUEUE] = len(self.messages)

    def send(self, *names: str) -> None:
        self.dispatcher.send([(Task(name, "batch", QUEUE, 0, "[]", cost=5 * MIB), None) for name in names])

    def begin(self, name: str) -> None:
        self.ledger.claim("j", name, "w", 30_000, 5)
        self.messages.remove(name)
        self.ledger.queues[QUEUE] = len(self.messages)

    def looks(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 2
            for name, record in self.ledger._job("j").tasks.items():
                if record.running:
                    self.ledger.renew("j", name, record.attempts, 30_000, {})
            self.dispatcher.look(lambda: None)


def test_a_task_begun_by_its_old_message_makes_nobody_send_the_others_twice() -> None:
    desk = Desk()
    desk.send("t1", "t2", "t3")
    assert [out.task.id for out in desk.dispatcher.recall(2)] == ["t2", "t3"]
    desk.send("t4")
    desk.send("t3")  # again: its old message stands before that of t4
    desk.begin("t3")
    desk.looks(3 * PATIENCE)
    assert desk.dispatcher.resent == 0
    desk.messages.clear()  # and t1 and t4 were lost
    desk.ledger.queues[QUEUE] = 0
    desk.looks(2 * PATIENCE)
    assert desk.dispatcher.resent == 2


def test_a_task_that_was_never_taken_back_is_evidence_as_before() -> None:
    desk = Desk()
    desk.send("t1", "t2")
    desk.begin("t2")
    desk.looks(2 * PATIENCE)
    assert desk.dispatcher.resent == 1


def test_only_what_nobody_has_begun_is_taken_back_the_newest_first_and_counts_no_longer() -> None:
    desk = Desk()
    desk.send("t1", "t2", "t3")
    desk.begin("t3")
    desk.now += 2
    desk.dispatcher.look(lambda: None)
    assert [out.task.id for out in desk.dispatcher.recall(1)] == ["t2"]
    assert desk.dispatcher.charged == 10 * MIB
    desk.begin("t1")  # not seen at work yet
    assert desk.dispatcher.recall(2) == []
    assert set(desk.dispatcher.out) == {"t1", "t3"}


def test_the_oldest_task_is_named_when_it_waits_and_nothing_runs() -> None:
    desk = Desk()
    desk.send("t1", "t2")
    assert desk.dispatcher.head() is None, "it has not waited yet"
    desk.now += 1
    head = desk.dispatcher.head()
    assert head is not None
    assert head.id == "t1"
    desk.begin("t2")
    assert desk.dispatcher.head() is None, "something runs"


def test_what_a_process_does_by_itself_alone_is_not_named() -> None:
    desk = Desk()
    desk.dispatcher.send([(Task("f:match0", "match", QUEUE, 0, "{}"), None)])
    desk.now += 1
    assert desk.dispatcher.head() is None


# --- lending ------------------------------------------------------------------------------------------------------------


class Child:
    """What a lender needs of its process."""

    def __init__(self, heads: dict[str, str], slots: int = 4) -> None:
        self.kept: list[str] = []
        self.done: list[tuple[str, str]] = []
        self.release = threading.Event()
        self.looks = 0
        self.ledger = SimpleNamespace(
            heads=lambda: self.looked(heads),
            workers=lambda: {self.worker: f'{{"queues": ["hs.any"], "slots": {slots}}}'},
        )
        self.lender = Lender(self, self.perform)  # type: ignore[arg-type]

    def looked(self, heads: dict[str, str]) -> dict[str, str]:
        self.looks += 1
        return dict(heads)

    @property
    def worker(self) -> str:
        return own_name(os.getppid())

    def job(self, job: str) -> None:
        self.kept.append(job)

    def perform(self, job: str, task: str, process: object) -> str:
        self.done.append((job, task))
        self.release.wait(10)
        return "done"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_busy_child_does_the_task_that_waits_once_and_its_own_ends_after_it() -> None:
    child = Child({"mine": "hs.any b1.9", "else": "hs.other b2.1", "small": "hs.any b1.1"})
    ended = threading.Event()

    def own() -> None:
        with child.lender.busy("mine"):
            until(lambda: bool(child.done))
        ended.set()
        with child.lender.busy("mine"):
            until(lambda: child.looks >= 3)

    thread = threading.Thread(target=own)
    thread.start()
    until(lambda: bool(child.done))
    assert not ended.wait(3 * lending.LOOK), "the slot is taken until both are over"
    child.release.set()
    thread.join(10)
    assert ended.is_set()
    assert child.done == [("small", "b1.1")], (
        "nobody's twice, not its own job's, and none of a queue that it does not serve"
    )
    assert child.kept == ["mine"], "its own stores stay open"


@pytest.mark.parametrize("why", ["told to end", "paused"])
def test_a_worker_that_takes_nothing_more_lends_nothing_either(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child({"small": "hs.any b1.1"}, slots=0 if why == "paused" else 4)
    child.release.set()
    looks: list[None] = []
    look = Lender._look

    def looking(lender: Lender, mine: str) -> None:
        look(lender, mine)
        looks.append(None)

    monkeypatch.setattr(Lender, "_look", looking)
    if why == "told to end":
        monkeypatch.setattr(draining, "_page", bytearray(struct.pack("d", time.monotonic() + 50)))
    with child.lender.busy("mine"):
        until(lambda: len(looks) >= 2)
    assert child.done == []


def test_a_child_that_is_soon_done_lends_nothing() -> None:
    child = Child({"small": "hs.any b1.1"})
    for _ in range(5):
        with child.lender.busy("mine"):
            time.sleep(lending.BUSY / 5)
    assert child.done == []


# --- batches beside other jobs ------------------------------------------------------------------------------------------


def a_batch(*sizes: int) -> Batch:
    segment = OpenSegment("z", Counters())
    return Batch(1, segment, [Transfer(Entry(f"f{n}", Kind.FILE, size)) for n, size in enumerate(sizes)])


@given(st.lists(st.integers(0, 20), max_size=30).filter(bool), st.integers(1, 40))
def test_a_batch_is_cut_into_what_fits_and_loses_no_file(sizes: list[int], most: int) -> None:
    batch, cut = a_batch(*sizes), []
    rest = batch.items[:]
    while rest:
        batch = replace(batch, items=rest)
        rest = batch.cut(most)
        cut.append([t.source.size for t in batch.items])
    assert [size for piece in cut for size in piece] == sizes
    assert all(sum(piece) <= most or len(piece) == 1 for piece in cut)


def test_a_batch_that_a_worker_has_begun_stays_whole() -> None:
    """What it did has left receipts by the place of each file."""
    desk, batch = Desk(), a_batch(5, 5)
    desk.dispatcher.send([(Task("t1", "batch", QUEUE, 0, "[]"), batch)])
    assert not desk.dispatcher.recall()[0].begun
    desk.dispatcher.send([(Task("t1", "batch", QUEUE, 0, "[]"), batch)])
    desk.begin("t1")
    desk.now += 2
    desk.dispatcher.look(lambda: None)
    desk.now += 31  # its worker was killed: its lease runs out, and it is sent again
    desk.dispatcher.look(lambda: None)
    assert desk.dispatcher.resent == 1
    (out,) = desk.dispatcher.recall()
    assert out.begun
    batch.begun = True
    assert batch.cut(5) == []


def test_small_files_in_batches_of_many_megabytes_are_shared_by_bytes_too(play: Callable[..., Fleet]) -> None:
    fleet = play(
        60, Load("a", 5 * MIB, weight=4, speed=3 * MIB), Load("b", MIB, batch=64, speed=3 * MIB, after=1), slots=3
    )
    assert ratio(fleet) == pytest.approx(4, rel=0.1)
