"""Files that are finished inside a batch count before the batch is: one by one, once, and the law holds throughout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaos import CALM, Chaos
from hugesync_producer.inside import MOST, Inside
from hugesync_producer.plan import Segment
from hugesync_tasks.model import Entry, Kind, Outcome, Transfer
from hugesync_tasks.stages import execute
from hugesync_tasks.state.base import Event
from hugesync_tasks.tally import Tally
from test_in_flight import JOB, LONG, Bench
from test_stopping import Watched


def planned(bench: Bench, batches: int, files: int) -> list[str]:
    """So many batches of files of 10 bytes each; the ids of their tasks."""
    tally, segments = Tally(), []
    for b in range(batches):
        transfers = tuple(Transfer(Entry(f"{b:03}/{n:03}", Kind.FILE, 10)) for n in range(files))
        for t in transfers:
            tally.find("pending", t.source.size)
        segments.append(transfers)
    bench.units.add(Segment("~", tally, tuple(segments)))
    bench.units.fill()
    return bench.tasks("batch")


def finish(bench: Bench, task: str, outcomes: dict[int, Outcome]) -> None:
    if bench.ledger.statuses(JOB, [task])[0].state == "queued":
        bench.ledger.claim(JOB, task, "w", LONG, 5)
    bench.ledger.receipts(JOB, task, 1, {i: o.wire() for i, o in outcomes.items()}, LONG, {})


def total(bench: Bench, counting: Inside) -> Any:
    now = bench.units.window.total()
    counting.count_in(now)
    now.tally.assert_law()
    return now.tally


def test_a_file_counts_with_its_receipt_and_not_again_with_its_batch() -> None:
    bench = Bench()
    (task,) = planned(bench, 1, 6)
    counting = Inside(bench.ledger, JOB, bench.dispatcher)
    counting.look()
    assert total(bench, counting).files["pending"] == 6
    some = {
        0: Outcome("done"),
        1: Outcome("skipped", "same"),
        2: Outcome("failed", "transient", "m"),
        3: Outcome("large"),  # it goes on by itself
    }
    finish(bench, task, some)
    assert total(bench, counting).files["pending"] == 6, "nobody has looked"
    counting.look()
    tally = total(bench, counting)
    assert (tally.files["done"], tally.files["skipped"], tally.files["failed"], tally.files["pending"]) == (1, 1, 1, 3)
    assert (tally.bytes["done"], tally.bytes["pending"]) == (10, 30)
    assert tally.skipped_by["same"] == 1
    every = [*some.values(), Outcome("done"), Outcome("done")]
    bench.units.on_event(Event(task, {"items": [o.wire() for o in every]}))
    tally = total(bench, counting)
    assert (tally.files["done"], tally.files["skipped"], tally.files["failed"], tally.files["pending"]) == (3, 1, 1, 1)


def test_of_many_batches_so_many_are_read_at_a_look_and_all_of_them_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    tasks = planned(bench, 60, 2)
    assert len(tasks) > MOST
    asked: list[int] = []
    finished = bench.ledger.finished

    def counted(job: str, known: Any) -> Any:
        asked.append(len(known))
        return finished(job, known)

    monkeypatch.setattr(bench.ledger, "finished", counted)
    counting = Inside(bench.ledger, JOB, bench.dispatcher)
    for task in tasks:
        finish(bench, task, {0: Outcome("done")})
    counting.look()
    assert total(bench, counting).files["done"] == MOST
    counting.look()
    assert total(bench, counting).files["done"] == len(tasks)
    assert max(asked) == MOST


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_job_in_trouble_is_seen_file_by_file_and_its_counters_always_add_up(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``Watched`` checks the law in each snapshot. Here batches are large and workers slow, so most is seen inside them."""
    sim = Watched(seed, Chaos(kill=0.002, flush=0.0003) if seed != 2 else CALM)
    sim.spec = replace(sim.spec, options=replace(sim.spec.options, batch_files=200, batch_bytes=1 << 30))
    sim.more_files(150)
    sim.watch(monkeypatch)
    monkeypatch.setattr(execute, "REPORT_EVERY", 0.0)
    monkeypatch.setattr("hugesync_producer.coordinator.CHECK_EVERY", 0.2)
    step = sim.step

    def slow() -> bool:
        sim.now += 0.05
        return step()

    sim.step = slow  # type: ignore[method-assign]
    summary = sim.play(monkeypatch)
    assert summary.state == "done"
    seen = {shot.files["done"] for shot in sim.shots}
    assert len(seen) > 20, "two hundred files of one batch are seen as they come"
    sim.end()
