"""The bound on the bytes in hand."""

from __future__ import annotations

import threading

import pytest

from hugesync_tasks.budget import HEADROOM, LEAST, TOGETHER, Budget, in_hand, memory_for
from hugesync_tasks.errors import TooLarge

MIB = 1 << 20


def test_what_does_not_fit_waits_until_something_is_given_back() -> None:
    budget = Budget(10)
    held, may_go, entered = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with budget.hold(8):
            held.set()
            may_go.wait(10)

    def second() -> None:
        held.wait(10)
        with budget.hold(3):
            entered.set()

    threads = [threading.Thread(target=t) for t in (first, second)]
    for t in threads:
        t.start()
    held.wait(10)
    assert not entered.wait(0.05)
    may_go.set()
    for t in threads:
        t.join(10)
    assert entered.is_set()


def test_more_than_the_whole_is_an_error_and_nobody_waits_for_ever() -> None:
    budget = Budget(10)
    with pytest.raises(TooLarge, match="--memory"), budget.hold(11):
        pass
    with budget.hold(10):
        pass


def test_one_part_goes_alone_where_memory_leaves_less_than_it_has() -> None:
    budget, entered = Budget(10, whole=30), threading.Event()
    with pytest.raises(TooLarge), budget.hold(31):
        pass

    def beside() -> None:
        with budget.hold(1):
            entered.set()

    waits = threading.Thread(target=beside)
    with budget.hold(budget.total):
        waits.start()
        assert not entered.wait(0.05)
    waits.join(10)
    assert (budget.total, entered.is_set()) == (30, True)


def test_a_process_holds_less_than_what_memory_leaves_after_start_up_and_is_told_how_much_it_wants() -> None:
    resident = 84 * MIB
    assert in_hand(512 * MIB, resident) == int((512 - 84 - 20) * MIB * HEADROOM)
    assert in_hand(100 * MIB, resident) == TOGETHER, "where it leaves nothing, small ones still go side by side"
    for wanted in (20 * MIB, 64 * MIB, 1024 * MIB):
        assert wanted - 2 <= in_hand(memory_for(wanted, resident), resident) <= wanted


def test_what_is_reserved_later_never_leaves_anybody_waiting_for_ever() -> None:
    budget = Budget(3 * LEAST)
    waits = threading.Thread(target=lambda: budget.hold(3 * LEAST).__enter__(), daemon=True)
    with budget.hold(LEAST):
        waits.start()
        budget.reserve(LEAST)
    waits.join(10)
    assert not waits.is_alive(), "it waited for more than there is now"
    assert budget.total == 2 * LEAST
    budget.reserve(5 * LEAST)
    assert budget.total == LEAST, "one part must fit"


def test_what_is_held_is_given_back_when_the_work_fails() -> None:
    budget = Budget(10)
    for _ in range(3):
        try:
            with budget.hold(10):
                raise ValueError("the work failed")
        except ValueError:
            pass
    with budget.hold(10):
        pass


def test_many_threads_never_hold_more_than_the_whole() -> None:
    budget = Budget(100)
    lock, now, most = threading.Lock(), [0], [0]

    def work(n: int) -> None:
        for _ in range(50):
            with budget.hold(n):
                with lock:
                    now[0] += n
                    most[0] = max(most[0], now[0])
                with lock:
                    now[0] -= n

    threads = [threading.Thread(target=work, args=(n,)) for n in (10, 30, 60, 90)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert now[0] == 0
    assert most[0] <= 100
