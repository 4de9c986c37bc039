"""The token every store call carries."""

from __future__ import annotations

import pytest

from hugesync_tasks.errors import Cancelled, DeadlineExceeded, LeaseLost
from hugesync_tasks.token import Meter, Token


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_call_ends_when_its_deadline_has_passed() -> None:
    clock = Clock()
    token = Token(deadline=105.0, clock=clock)
    token.check()
    clock.now = 105.1
    with pytest.raises(DeadlineExceeded):
        token.check()


def test_patience_moves_the_deadline_with_each_byte_and_ends_what_stands_still() -> None:
    clock = Clock()
    token = Token(patience=10.0, clock=clock)
    for _ in range(5):
        clock.now += 9.0
        token.moved(1)
    clock.now += 10.1
    with pytest.raises(DeadlineExceeded):
        token.moved(1)


def test_a_cancelled_token_raises_its_reason_at_every_later_check_and_request() -> None:
    token = Token()
    token.cancel(LeaseLost("taken"))
    for use in (token.check, lambda: token.moved(1), lambda: token.requested("put")):
        with pytest.raises(LeaseLost):
            use()
    plain = Token()
    plain.cancel()
    with pytest.raises(Cancelled):
        plain.check()


def test_the_remaining_time_is_never_more_than_asked_and_never_nothing() -> None:
    clock = Clock()
    token = Token(deadline=103.0, clock=clock)
    assert token.remaining(60.0) == 3.0
    assert token.remaining(2.0) == 2.0
    clock.now = 200.0
    assert token.remaining(60.0) == 0.001
    assert Token().remaining(7.0) == 7.0


def test_every_movement_is_pulsed_and_the_meter_gives_each_count_once() -> None:
    pulses: list[int] = []
    token = Token(Meter(), pulse=pulses.append)
    token.moved(5)
    token.requested("put")
    token.sent(3)
    token.sent(2, overhead=True)
    token.received(4)
    assert pulses == [5]
    assert token.meter.take() == {"requests.put": 1, "bytes.sent": 3, "bytes.overhead": 2, "bytes.received": 4}
    assert token.meter.take() == {}
