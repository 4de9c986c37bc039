"""One large file as the coordinator sees it: begin, parts, commit; or abandon, when none of its parts is out any more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_producer.largefile import LargeFileUnit
from hugesync_tasks.model import Entry, Kind, Outcome, Part, Transfer
from hugesync_tasks.state.base import Task

TRANSFER = Transfer(Entry("big", Kind.FILE, 40, version="v1"))
FIELDS = {"gen": "g" * 32, "upload": "u1", "total": "4", "size": "40", "part_size": "10"}


def unit() -> LargeFileUnit:
    return LargeFileUnit("f", TRANSFER, "q", "q.commit")


def part(number: int) -> Part:
    return Part(number, 10, f"e{number}", number)


def tasks(it: LargeFileUnit) -> list[Task]:
    out = []
    while task := it.next_task():
        out.append(task)
    return out


def begun(have: dict[int, Part] | None = None, listed: list[Part] | None = None) -> LargeFileUnit:
    it = unit()
    assert [t.id for t in tasks(it)] == ["f:begin"]
    outcome = {"file": FIELDS, "listed": [p.wire() for p in listed or []]}
    it.on_event("f:begin", json.loads(json.dumps(outcome)), have or {})
    return it


def error(state: str, reason: str = "", conflicts: int = 0) -> dict[str, Any]:
    return {"error": Outcome(state, reason, "a sentence", conflicts=conflicts).wire()}


def done(it: LargeFileUnit, number: int) -> None:
    it.on_event(f"f:{number}", {"part": part(number).wire(), "answer": "MORE"}, {})


def test_a_file_is_begun_sent_in_parts_and_committed() -> None:
    it = begun()
    sent = tasks(it)
    assert [(t.id, t.kind, t.queue, t.file) for t in sent] == [(f"f:{n}", "part", "q", "f") for n in (1, 2, 3, 4)]
    for number in (2, 4, 1):
        done(it, number)
        assert it.next_task() is None
    assert it.moved == 30
    done(it, 3)
    assert it.first_wave
    assert [(t.id, t.queue) for t in tasks(it)] == [("f:commit", "q.commit")]
    it.on_event("f:commit", error("done"), {})
    assert it.state == "ended"
    assert it.outcome is not None
    assert it.outcome.state == "done"
    assert it.next_task() is None


def test_parts_that_have_a_receipt_are_not_sent_and_listed_ones_are_compared() -> None:
    it = begun({1: part(1)}, [part(1), part(3)])
    payloads = {t.id: json.loads(t.payload) for t in tasks(it)}
    assert set(payloads) == {"f:2", "f:3", "f:4"}
    assert payloads["f:3"] == {"number": 3, "listed": part(3).wire()}
    assert payloads["f:2"]["listed"] is None


def test_a_file_whose_parts_are_all_there_is_committed_at_once() -> None:
    it = begun({n: part(n) for n in range(1, 5)})
    assert [t.id for t in tasks(it)] == ["f:commit"]


def test_an_upload_is_abandoned_only_when_none_of_its_parts_is_out() -> None:
    it = begun()
    for _ in range(3):
        it.next_task()
    it.on_event("f:2", error("replan", "source_changed"), {})
    assert it.state == "abandon"
    assert it.next_task() is None, "parts 1 and 3 are out: a late one must not meet the next try's tasks"
    done(it, 1)
    assert it.next_task() is None
    it.on_event("f:3", error("failed", "transient"), {})
    (abandon,) = tasks(it)
    assert (abandon.id, abandon.queue) == ("f:abandon", "q.commit")
    assert json.loads(abandon.payload) == FIELDS, "what to abort, should the ledger have lost it"
    it.on_event("f:abandon", {"abandoned": True}, {})
    assert it.state == "ended"
    assert it.outcome is not None
    assert it.outcome.reason == "source_changed", "the first failure is the reason"


@pytest.mark.parametrize("state", ["done", "replan"])
def test_a_commit_that_decided_cleans_up_itself(state: str) -> None:
    it = begun({n: part(n) for n in range(1, 5)})
    it.next_task()
    it.on_event("f:commit", error(state, "conflict" if state == "replan" else ""), {})
    assert it.state == "ended"


def test_a_commit_that_failed_leaves_an_upload_to_be_abandoned() -> None:
    it = begun({n: part(n) for n in range(1, 5)})
    it.next_task()
    it.on_event("f:commit", error("failed", "transient"), {})
    assert [t.id for t in tasks(it)] == ["f:abandon"]


def test_a_begin_that_failed_has_nothing_to_abandon() -> None:
    it = unit()
    it.next_task()
    it.on_event("f:begin", error("failed", "needs_person"), {})
    assert it.state == "ended"


def test_planned_again_it_begins_anew_with_nothing_of_the_former_try() -> None:
    it = begun()
    tasks(it)
    for number in (1, 2, 3):
        done(it, number)
    it.on_event("f:4", error("replan", "upload_lost"), {})
    it.next_task()
    it.on_event("f:abandon", {"abandoned": True}, {})
    it.again(Transfer(TRANSFER.source, "v9"))
    assert (it.tries, it.moved, it.outcome, it.state) == (1, 0, None, "begin")
    (begin,) = tasks(it)
    assert Transfer.unwire(json.loads(begin.payload)["transfer"]).expected == "v9"
    it.on_event("f:begin", {"file": FIELDS, "listed": []}, {})
    assert len(tasks(it)) == 4


def lost() -> LargeFileUnit:
    """The ledger was flushed; its commit knew of no upload, so nothing was taken away."""
    it = begun({n: part(n) for n in range(1, 5)})
    it.next_task()
    it.on_event("f:commit", error("replan", "upload_lost"), {})
    assert it.state == "ended"
    return it


def test_whoever_begins_anew_is_told_of_the_upload_that_the_ledger_lost() -> None:
    """Of its own generation it is adopted; of another, because a rival wrote meanwhile, it would stay for ever (seed 87065)."""
    it = lost()
    it.again(Transfer(TRANSFER.source, "v9"))
    (begin,) = tasks(it)
    assert json.loads(begin.payload)["former"] == FIELDS


def test_an_upload_that_the_ledger_lost_is_abandoned_where_nobody_begins_anew() -> None:
    it = lost()
    equal = Outcome("skipped", "same")
    assert it.give_up(equal)
    (abandon,) = tasks(it)
    assert (abandon.id, json.loads(abandon.payload)) == ("f:abandon", FIELDS)
    it.on_event("f:abandon", {"abandoned": True}, {})
    assert (it.state, it.outcome) == ("ended", equal)
    assert not it.give_up(equal), "once"


def test_an_event_after_the_end_changes_nothing() -> None:
    it = begun({n: part(n) for n in range(1, 5)})
    it.next_task()
    it.on_event("f:commit", error("done"), {})
    for event in (error("failed", "transient"), {"part": part(1).wire()}, {"abandoned": True}):
        it.on_event("f:commit", event, {})
    assert it.outcome is not None
    assert it.outcome.state == "done"


@given(st.data())
def test_any_order_of_answers_ends_and_never_with_a_task_out_or_a_part_sent_after_a_failure(
    data: st.DataObject,
) -> None:
    """Answers come in any order, parts fail, commits conflict; it is planned again twice at most."""
    it, out, failing = unit(), [], False
    for _ in range(400):
        if it.state == "ended":
            if it.outcome is not None and it.outcome.state == "replan" and it.tries < 2:
                assert not it.out
                it.again(TRANSFER)
                failing = False
                continue
            break
        send = it.waiting and (not out or data.draw(st.booleans()))
        if send:
            task = it.next_task()
            assert task is not None
            assert task.id not in [t.id for t in out]
            assert not (failing and task.kind == "part")
            assert task.kind != "commit" or len(it.receipts) == 4
            assert task.kind != "abandon" or not out
            out.append(task)
            continue
        assert out, "nothing to send and nothing out: it would hang"
        task = out.pop(data.draw(st.integers(0, len(out) - 1)))
        good = data.draw(st.integers(0, 3)) > 0
        if task.kind == "abandon":
            answer: dict[str, Any] = {"abandoned": True} if good else error("failed", "transient")
        elif task.kind == "begin":
            answer = {"file": FIELDS, "listed": []} if good else error("failed", "transient")
        elif task.kind == "part":
            number = int(task.id.partition(":")[2])
            answer = {"part": part(number).wire()} if good else error("replan", "source_changed")
            failing = failing or not good
        else:
            answer = error("done") if good else error("replan", "conflict", 1)
        it.on_event(task.id, answer, {})
    assert it.state == "ended"
    assert not it.out
    assert it.outcome is not None
