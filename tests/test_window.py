"""The window: the law at every instant, K that only grows, counters that belong to it, and failures that are tried again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugesync_producer.window import Counters, Failed, OpenSegment, Window
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.model import Outcome
from hugesync_tasks.summary import FAILURES_KEPT
from hugesync_tasks.tally import Tally

CLASSES = st.sampled_from([str(c) for c in FailureClass])
OUTCOMES = st.one_of(
    st.builds(
        Outcome,
        st.just("done"),
        how=st.sampled_from(["full", "server_copy"]),
        verified=st.booleans(),
        conflicts=st.integers(0, 2),
        notes=st.sampled_from([(), ("chown not permitted",)]),
    ),
    st.builds(Outcome, st.just("skipped"), st.sampled_from(["same", "existing"]), conflicts=st.integers(0, 2)),
    st.builds(Outcome, st.just("failed"), CLASSES, st.text(max_size=5)),
)


@dataclass
class File:
    segment: int
    key: str
    size: int
    outcome: Outcome


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[list[File]], list[int], list[File]]:
    """Segments of files, how many lie behind each added one when it is added, and an order in which all settle."""
    segments = []
    for number in range(draw(st.integers(1, 90))):
        files = [
            File(number, f"{number:03}/{i}", draw(st.integers(0, 99)), draw(OUTCOMES))
            for i in range(draw(st.integers(0, 3)))
        ]
        segments.append(files)
    order = draw(st.permutations([f for files in segments for f in files]))
    return segments, draw(st.lists(st.integers(0, len(order)), max_size=5)), order


def opened(number: int, files: list[File]) -> OpenSegment:
    tally = Tally()
    tally.find("skipped", 7, "same")
    for file in files:
        tally.find("pending", file.size)
    return OpenSegment(f"{number:03}~", Counters(tally), set(range(len(files))))


@settings(deadline=None)  # a busy machine stands still for longer
@given(histories())
def test_the_law_holds_at_every_instant_k_only_grows_and_the_counters_are_exactly_those_up_to_k(
    history: tuple[list[list[File]], list[int], list[File]],
) -> None:
    segments, looks, order = history
    window, open_segments = Window(), {}
    for number, files in enumerate(segments):
        open_segments[number] = opened(number, files)
        window.add(open_segments[number])
    settled: set[str] = set()
    for n, file in enumerate(order):
        segment = open_segments[file.segment]
        segment.counters.settle(file.key, file.size, file.outcome)
        segment.unsettled.discard(int(file.key[4:]))
        settled.add(file.key)
        before = window.key
        if n % 3 == 0 or n in looks:
            window.advance()
        assert window.key >= before
        assert window.total().tally.broken() is None
        check_base(window, segments, settled)
    window.advance()
    assert window.empty
    assert window.base.tally.files["pending"] == 0
    check_base(window, segments, settled)
    assert window.base.wire() == window.total().wire()


def check_base(window: Window, segments: list[list[File]], settled: set[str]) -> None:
    behind = [files for number, files in enumerate(segments) if f"{number:03}~" <= window.key]
    files = [f for some in behind for f in some]
    base = window.base
    assert {f.key for f in files} <= settled
    assert base.tally.files["found"] == len(files) + len(behind)
    assert base.tally.files["pending"] == 0
    for state in ("done", "failed"):
        mine = [f for f in files if f.outcome.state == state]
        assert (base.tally.files[state], base.tally.bytes[state]) == (len(mine), sum(f.size for f in mine))
    assert base.conflicts == sum(f.outcome.conflicts for f in files)
    assert base.verified == sum(f.outcome.verified for f in files if f.outcome.state == "done")
    assert base.transfers == Counter(f.outcome.how for f in files if f.outcome.state == "done")
    assert base.notes == Counter(note for f in files for note in f.outcome.notes)
    assert sorted(f.key for f in base.failures) == sorted(f.key for f in files if f.outcome.state == "failed")


@settings(deadline=None)  # a busy machine stands still for longer
@given(histories())
def test_memory_is_bounded_by_what_is_unsettled(history: tuple[list[list[File]], list[int], list[File]]) -> None:
    segments, _, order = history
    window, open_segments = Window(), {}
    stuck = OpenSegment("", Counters(), {0})  # K cannot move
    window.add(stuck)
    for number, files in enumerate(segments):
        open_segments[number] = opened(number, files)
        window.add(open_segments[number])
    for file in order:
        open_segments[file.segment].counters.settle(file.key, file.size, file.outcome)
        open_segments[file.segment].unsettled.discard(int(file.key[4:]))
    total = window.total().wire()
    assert not window.advance()
    assert len(window) <= 65
    if len(segments) > 64:
        assert len(window) == 2
    assert sort(window.total().wire()) == sort(total)
    stuck.unsettled.clear()
    assert window.advance()
    assert window.key == f"{len(segments) - 1:03}~"


def sort(wire: dict[str, Any]) -> dict[str, Any]:
    return {**wire, "failures": sorted(wire["failures"])}


@given(st.lists(st.tuples(st.text(max_size=4), st.integers(0, 1 << 40), OUTCOMES), max_size=30))
def test_counters_go_over_the_wire_and_back(files: list[tuple[str, int, Outcome]]) -> None:
    counters = Counters()
    for key, size, outcome in files:
        counters.found("pending", size)
        counters.settle(key, size, outcome)
    counters.failed("folder/", "permanent", "not permitted")
    counters.omitted["transient"] += 3
    back = Counters.unwire(json.loads(json.dumps(counters.wire())))
    assert back == counters
    assert back.failures[-1].size == -1


def test_a_folder_that_could_not_be_made_fails_once_and_for_that_reason() -> None:
    total, finishing = Counters(), Counters()
    total.failed("sub/", "needs_person", "the filesystem is read-only")
    finishing.failed("sub/", "permanent", "not found")
    finishing.failed("other/", "permanent", "not found")
    total.add(finishing)
    assert [(f.path, f.message) for f in total.failure_list()] == [
        ("sub/", "the filesystem is read-only"), ("other/", "not found"),
    ]  # fmt: skip


def test_failures_beyond_the_cap_are_counted_by_class() -> None:
    counters, more = Counters(), Counters()
    for n in range(FAILURES_KEPT + 5):
        for some in (counters, more) if n < 3 else (counters,):
            some.found("pending", 1)
            some.settle(str(n), 1, Outcome("failed", "transient", "x"))
    counters.add(more)
    assert len(counters.failure_list()) == FAILURES_KEPT
    assert counters.omitted == Counter({"transient": 8})
    assert counters.tally.files["failed"] == FAILURES_KEPT + 8


def test_folders_of_a_segment_are_finished_only_when_everything_before_them_is_settled() -> None:
    window = Window()
    first, second = OpenSegment("a", Counters(), {1}), OpenSegment("b", Counters(), {2}, ["folder"])
    window.add(first)
    window.add(second)
    second.unsettled.clear()
    window.advance()
    assert window.finishable() is None
    first.unsettled.clear()
    window.advance()
    assert window.key == "a"
    assert window.finishable() is second
    second.finishes.clear()
    window.advance()
    assert window.key == "b"


def test_broken_counters_are_never_shown() -> None:
    counters = Counters()
    counters.tally.files["found"] = 1
    with pytest.raises(AssertionError):
        Window("", counters).total()


# failures that are tried again


def failing(size: int = 10) -> tuple[Window, Failed]:
    base = Counters()
    base.found("pending", size)
    base.settle("k", size, Outcome("failed", "transient", "no answer"))
    base.found("failed", 5)
    base.failed("../x", "permanent", "bad name", 5)
    return Window("m", base), base.failures[0]


def test_only_what_a_worker_met_is_tried_again() -> None:
    window, met = failing()
    assert [f.again for f in window.base.failures] == [True, False]
    assert met == Failed("k", "transient", "no answer", 10, True)


@pytest.mark.parametrize("ends", ["done", "failed"])
def test_a_failure_tried_again_is_found_once_and_stays_failed_behind_k_until_it_is_settled(ends: str) -> None:
    window, met = failing()
    before = window.base.wire()
    retry = OpenSegment("m", Counters(), {1})
    retry.counters.withdraw(met, 12)
    window.add(retry)
    now = window.total()
    assert now.tally.files["found"] == 2
    assert (now.tally.files["failed"], now.tally.files["pending"]) == (1, 1)
    assert (now.tally.bytes["found"], now.tally.bytes["pending"]) == (17, 12)
    assert [f.key for f in now.failures] == ["../x"]
    assert not window.advance()
    assert window.base.wire() == before, "a checkpoint written now must still tell of the failure"
    outcome = Outcome("done") if ends == "done" else Outcome("failed", "transient", "still no answer")
    retry.counters.settle("k", 12, outcome)
    retry.unsettled.clear()
    assert window.advance()
    assert window.key == "m"
    kept = [(f.key, f.message) for f in window.base.failures]
    assert kept == [("../x", "bad name")] + ([] if ends == "done" else [("k", "still no answer")])
    assert window.base.tally.broken() is None
    assert window.base.tally.files[ends] == (1 if ends == "done" else 2)


@given(st.sets(st.integers(0, 40)), st.integers(1, 40))
def test_any_of_the_failures_may_come_back_in_any_number(taken: set[int], n: int) -> None:
    base = Counters()
    for i in range(n):
        base.found("pending", i)
        base.settle(str(i), i, Outcome("failed", "transient"))
    window = Window("k", base)
    retry = OpenSegment("k", Counters(), {1})
    again = [f for f in base.failures if int(f.key) in taken]
    for failure in again:
        retry.counters.withdraw(failure, failure.size)
    window.add(retry)
    for failure in again:
        assert window.total().tally.broken() is None
        retry.counters.settle(failure.key, failure.size, Outcome("done"))
    retry.unsettled.clear()
    window.advance()
    assert window.total().tally.files["done"] == len(again)
    assert len(window.base.failures) == n - len(again)
