"""Autoscaling: more children while that moves more, fewer when requests fail or nothing comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery.worker import state

from hugesync_tasks import autoscale, gauges
from hugesync_tasks.autoscale import IDLE_FOR, REST, Scale, decide
from hugesync_tasks.gauges import GaugedMeter, Totals
from hugesync_tasks.scaler import Scaler
from hugesync_tasks.slots import Slots

MB = 1e6


def window(rate: float, latency: float = 0.05, failures: float = 0, requests: float = 1000) -> Totals:
    """Ten seconds in which so many MB/s came by."""
    return Totals(10 * rate * MB - requests * autoscale.PER_REQUEST, requests, failures, requests, requests * latency)


def played(
    scale: Scale, machine: Callable[[int], Totals], windows: int, busy: float = 1.0, low: int = 1, high: int = 16
) -> tuple[Scale, list[str]]:
    said = []
    for _ in range(windows):
        scale, why = decide(scale, machine(scale.slots), 10.0, busy, low, high)
        if why:
            said.append(f"{scale.slots}: {why}")
    return scale, said


def test_children_are_added_while_each_moves_more_up_to_the_most() -> None:
    scale, said = played(Scale(1), lambda n: window(20 * n), 40, high=8)
    assert scale.slots == 8
    assert said[0] == "2: 1 had work all the time and moved 19.1 MiB/s"
    assert len(said) == 7


def test_one_that_brings_nothing_is_taken_back_and_it_is_tried_again_only_after_a_while() -> None:
    """A link of 100 MB/s: five children fill it."""
    scale, said = played(Scale(1), lambda n: window(min(100, 20 * n)), 11 + REST)
    assert scale.slots in (5, 6)
    back = [line for line in said if line.startswith("5: ")][-1]
    assert back == "5: 6 moved 95.4 MiB/s, 5 had moved 95.4 MiB/s"
    assert len([line for line in said if line.startswith("6: ")]) == 1


def test_failing_requests_halve_the_children_at_once() -> None:
    scale, why = decide(Scale(12), window(200, failures=80), 10.0, 1.0, 2, 16)
    assert (scale.slots, why) == (6, "8 % of the requests failed")
    assert decide(Scale(3), window(200, failures=80), 10.0, 1.0, 2, 16)[0].slots == 2, "but not below the least"
    assert decide(Scale(12, rest=9), window(200, failures=80), 10.0, 1.0, 2, 16)[0].slots == 6, "also while it rests"
    assert decide(Scale(12), window(200, failures=2, requests=20), 10.0, 1.0, 2, 12)[0].slots == 12, "two may be chance"
    assert decide(Scale(12), window(200, failures=40), 10.0, 1.0, 2, 12)[0].slots == 12, "one in twenty-five passes"


def test_requests_that_take_twice_as_long_and_move_no_more_cost_a_quarter() -> None:
    before = Scale(8, rate=100 * MB, latency=0.05)
    scale, why = decide(before, window(99, latency=0.12), 10.0, 1.0, 1, 16)
    assert (scale.slots, why) == (6, "a request takes 120 ms, it took 50, and no more is moved")
    assert decide(before, window(140, latency=0.12), 10.0, 1.0, 1, 16)[0].slots == 9, "larger files, but more is moved"


def test_with_too_little_to_do_children_go_one_by_one_down_to_the_least_and_not_for_a_pause() -> None:
    scale, said = played(Scale(4), lambda n: window(1), IDLE_FOR - 1, busy=0.2, low=2)
    assert (scale.slots, said) == (4, [])
    assert played(scale, lambda n: window(1), 1, busy=1.0, low=2, high=4)[0].idle == 0
    scale, said = played(scale, lambda n: window(1), 30, busy=0.2, low=2)
    assert (scale.slots, said[0]) == (2, "3: 80 % of the children had nothing to do")
    assert played(Scale(2), lambda n: window(9), 5, busy=0.7)[0].slots == 2, "enough for these, not for one more"


def test_what_children_did_is_added_up_over_all_of_them_and_their_successors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "_mine", None)
    monkeypatch.setattr(gauges, "_counts", [0.0] * 5)
    before = gauges.total()
    for row in (3, 4, 3):  # the third takes the place of the first
        gauges.begin(row)
        meter = GaugedMeter()
        for name, n in (
            ("bytes.sent", 70),
            ("bytes.received", 30),
            ("bytes.reused", 9),
            ("requests.put", 2),
            ("retries", 1),
        ):
            meter.add(name, n)
        assert meter.take()["bytes.reused"] == 9
        gauges.answered(0.5)
    assert gauges.total().since(before) == Totals(300, 6, 3, 3, 1.5)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[Any]]:
    requests: set[Any] = {1, 2, 3, 4}
    monkeypatch.setattr(state, "reserved_requests", requests)
    yield requests


def test_the_scaler_asks_once_a_window_and_leaves_alone_what_a_person_said(
    at_work: set[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, slots, told = Clock(), Slots(2, scales=True), Totals()
    monkeypatch.setattr(gauges, "total", lambda: told)
    scaler = Scaler(slots, 1, 4, clock)

    def second(moved: float = 10 * MB) -> None:
        nonlocal told
        clock.now += 1.0
        told = Totals(told.moved + moved * slots.now, told.requests, 0, 0, 0)
        scaler.tick()

    caplog.set_level("INFO", "hugesync_tasks.slots")
    for _ in range(4):
        second()
    assert slots.now == 2
    second()
    assert slots.now == 3
    assert "children: 2 → 3 (autoscale: 2 had work all the time and moved 19.1 MiB/s)" in caplog.text
    slots.heed({"*": 2}, "h-1")
    for _ in range(40):
        second()
    assert slots.now == 2
    slots.heed({"*": -1}, "h-1")
    for _ in range(40):
        second()
    assert slots.now == 4
