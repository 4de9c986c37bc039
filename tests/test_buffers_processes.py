"""The byte budget of a worker under many processes: never exceeded, fair, and nothing of a killed process stays taken."""

from __future__ import annotations

import fcntl
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from forks import Child, forked
from hugesync_tasks.buffers import row, share, statistics, table
from hugesync_tasks.buffers.classes import MIB, Sizes
from hugesync_tasks.buffers.pool import Pool
from hugesync_tasks.buffers.table import Table
from hugesync_tasks.errors import TooLarge, Transient
from processes import wait_until
from scale import scaled

TOTAL = 64 * MIB
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def shared() -> Iterator[Table]:
    made = Table(TOTAL)
    yield made
    made.close()


def pool_of(shared: Table, bound: int = 1 << 40) -> Pool:
    return Pool(bound, shared, Sizes(), watch=True)


def figure(shared: Table, name: str) -> float:
    return statistics.of(shared)[name]


def waiting(shared: Table, n: int) -> Callable[[], bool]:
    return lambda: figure(shared, "waiting") == n


class Witness:
    """Counts beside the budget, by means of its own, what is held at each instant by processes that live."""

    def __init__(self, places: int) -> None:
        self._file = tempfile.TemporaryFile()
        self._words = memoryview(mmap.mmap(-1, 16 * places)).cast("Q")
        self._places = places
        self._mutex = threading.Lock()

    def holds(self, place: int, n: int) -> int:
        """From now on ``n`` bytes are held at ``place``, by this process; how many all hold together."""
        with self._mutex:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                self._words[2 * place], self._words[2 * place + 1] = os.getpid(), n
                found = self._sum()
                if found > TOTAL:  # one of them may be dying: its bytes come back before it is a zombie
                    time.sleep(0.05)
                    found = self._sum()
                return found
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _sum(self) -> int:
        return sum(self._words[2 * p + 1] for p in range(self._places) if _lives(self._words[2 * p]))


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def borrow(shared: Table, witness: Witness, place: int, seed: int, rounds: int) -> str:
    """Leases of all sizes, by two threads of one process; the most that was ever held by all."""
    pool, most = pool_of(shared), [0, 0]

    def thread(k: int) -> None:
        rng = random.Random(seed * 2 + k)
        for _ in range(rounds):
            n = rng.choice([0, 1, 4096, 100_000, MIB, 5 * MIB, 8 * MIB, 30 * MIB, TOTAL, rng.randrange(TOTAL)])
            with pool.lease(n, memory=rng.random() < 0.5, timeout=120) as lease:
                most[k] = max(most[k], witness.holds(2 * place + k, lease.charged))
                if rng.random() < 0.3:
                    time.sleep(rng.random() * 0.002)
                witness.holds(2 * place + k, 0)

    threads = [threading.Thread(target=thread, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    pool.close()
    return str(max(most))


@pytest.mark.parametrize("seed", [1, 2])
def test_many_processes_never_hold_more_than_the_budget_together(shared: Table, seed: int) -> None:
    witness, rounds = Witness(16), scaled(1000, 60)
    with forked(*(partial(borrow, shared, witness, n, seed * 100 + n, rounds) for n in range(8))) as children:
        most = [int(child.said()) for child in children]
    assert TOTAL >= max(most) > TOTAL // 2, "it was put to the test, and held"
    found = statistics.of(shared)
    assert found["held"] == found["idle"] == found["waiting"] == 0
    assert found["gets"] == found["puts"] == 8 * 2 * rounds
    assert found["waits"] > 0 < found["wait_p50_seconds"] <= found["wait_p99_seconds"]
    assert TOTAL // 2 < found["high_water"] <= TOTAL


def test_what_killed_processes_held_comes_back_whenever_they_are_killed(shared: Table) -> None:
    witness, rng = Witness(16), random.Random(3)

    def forever(place: int) -> str:
        return borrow(shared, witness, place, rng.randrange(1 << 30), 1_000_000)

    children = [Child(partial(forever, n)) for n in range(4)]
    try:
        for n in range(scaled(400, 20)):
            wait_until(lambda before=figure(shared, "gets"): figure(shared, "gets") > before + 20, timeout=60)
            children[n % 4].kill()
            children[n % 4] = Child(partial(forever, n % 4))
    finally:
        for child in children:
            child.kill()
    pool = pool_of(shared)
    with pool.lease(TOTAL, timeout=30):
        pass  # all of it, at once: nothing is left with the dead
    pool.close()
    assert figure(shared, "high_water") <= TOTAL
    assert figure(shared, "reclaimed") > 0
    assert figure(shared, "processes") == 0


@pytest.mark.parametrize("where", ["held", "reap", "ring"])
def test_a_process_that_is_killed_in_the_middle_of_a_change_leaves_nothing_half_done(
    shared: Table, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``held`` is called twice under the lock, before and after the bytes were taken; ``ring`` behind it."""
    calls = [0]

    def killed() -> str:
        real = getattr(Table, where)

        def strike(*args: object, **kwargs: object) -> object:
            calls[0] += 1
            if calls[0] == (2 if where == "held" else 1):
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(Table, where, strike)
        pool = pool_of(shared)
        with pool.lease(TOTAL if where == "held" else TOTAL // 2, memory=False):
            pool.lease(TOTAL, memory=False, timeout=5)
        return ""

    with forked(killed) as (child,):
        assert child.ended() == -signal.SIGKILL
    pool = pool_of(shared)
    with pool.lease(TOTAL, timeout=10):
        assert figure(shared, "held") == TOTAL
    pool.close()


def test_who_comes_first_is_served_first_over_all_processes(shared: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "LOOK", 0.001)  # all look all the time: the order must not come from who is woken
    turn = memoryview(mmap.mmap(-1, 4096)).cast("Q")

    def waits(_: int) -> str:
        pool = pool_of(shared)
        with pool.lease(TOTAL // 2 + MIB, memory=False, timeout=60):  # one at a time
            turn[0] += 1
            mine = turn[0]
            time.sleep(0.02)
        pool.close()
        return str(mine)

    pool = pool_of(shared)
    lease = pool.lease(TOTAL, memory=False)
    with forked() as children:
        for n in range(5):
            children.append(Child(partial(waits, n)))
            wait_until(waiting(shared, n + 1))
        assert turn[0] == 0
        lease.close()
        assert [int(child.said()) for child in children] == [1, 2, 3, 4, 5]
    pool.close()


def test_one_that_got_its_bytes_from_its_own_process_waits_no_longer(shared: Table) -> None:
    pool, other, got = pool_of(shared), pool_of(shared), threading.Event()
    small, held = other.lease(4 * MIB, memory=False), pool.lease(60 * MIB, memory=False)
    thread = threading.Thread(target=lambda: (pool.lease(30 * MIB, memory=False), got.set()))
    thread.start()
    wait_until(waiting(shared, 1))
    held.close()
    assert got.wait(10)
    thread.join()
    assert figure(shared, "waiting") == 0
    small.close()
    pool.close()
    other.close()


def test_a_large_request_is_not_starved_by_many_small_ones(shared: Table) -> None:
    def small() -> str:
        pool = pool_of(shared)
        while True:
            with pool.lease(3 * MIB, memory=False, timeout=60):
                time.sleep(0.001)

    with forked(small, small, small):
        wait_until(lambda: figure(shared, "gets") > 100)
        pool, before = pool_of(shared), figure(shared, "gets")
        with pool.lease(TOTAL, timeout=30):
            assert figure(shared, "held") == TOTAL
            behind = figure(shared, "gets") - before
        pool.close()
        assert behind < 1000


def test_one_that_waits_in_front_and_is_killed_keeps_nobody_waiting(shared: Table) -> None:
    pool = pool_of(shared)
    held = pool.lease(TOTAL - MIB, memory=False)
    with forked(lambda: str(pool_of(shared).lease(TOTAL, timeout=60))) as (front,):
        wait_until(waiting(shared, 1))
        front.kill()
        with pool_of(shared).lease(MIB, memory=False, timeout=10):
            pass
    held.close()
    pool.close()


def test_one_that_waits_in_front_and_was_stopped_does_not_keep_others_waiting_for_ever(
    shared: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row, "GRACE", 0.2)
    pool = pool_of(shared)
    held = pool.lease(TOTAL - MIB, memory=False)
    with forked(lambda: str(pool_of(shared).lease(2 * MIB, timeout=60))) as (front,):
        wait_until(waiting(shared, 1))
        front.signal(signal.SIGSTOP)
        held.close()
        with pool.lease(TOTAL, memory=False, timeout=10):
            pass
        front.signal(signal.SIGCONT)
        assert front.said()
    pool.close()


def test_a_process_that_was_stopped_inside_the_lock_is_answered_for_by_a_time_out(
    shared: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "LOCK_WAIT", 0.3)

    def stops() -> str:
        pool = pool_of(shared)
        with shared.locked():
            os.kill(os.getpid(), signal.SIGSTOP)
        pool.close()
        return "on"

    pool = pool_of(shared)
    with forked(stops) as (child,):
        os.waitpid(child.pid, os.WUNTRACED)
        with pytest.raises(Transient, match="does not go on"):
            pool.lease(8 * MIB)
        child.signal(signal.SIGCONT)
        assert child.said() == "on"
    with pool.lease(TOTAL, timeout=10):
        pass
    pool.close()


def test_memory_that_another_process_keeps_for_later_is_given_up_when_it_is_needed(shared: Table) -> None:
    go, went = os.pipe()

    def keeps() -> str:
        pool = pool_of(shared)
        with pool.lease(40 * MIB):
            pass
        os.write(went, b"x")
        wait_until(lambda: figure(shared, "processes") == 1, timeout=60)  # it does nothing of its own any more
        return ""

    pool = pool_of(shared)
    with forked(keeps) as (child,):
        assert os.read(go, 1) == b"x"
        assert figure(shared, "idle") >= 40 * MIB
        with pool.lease(TOTAL, timeout=5):  # before the other one finds by itself that it was idle
            assert figure(shared, "idle") == 0
        pool.close()
        child.said()


def test_a_process_gets_no_more_than_its_own_bound_whatever_the_worker_has(shared: Table) -> None:
    pool = pool_of(shared, bound=40 * MIB)
    assert pool.total == 40 * MIB
    with pytest.raises(TooLarge, match="--memory"):
        pool.lease(41 * MIB)
    with pool.lease(30 * MIB, memory=False), pytest.raises(Transient):
        pool.lease(11 * MIB, memory=False, timeout=0.05)
    other = pool_of(shared)
    with pytest.raises(TooLarge, match="--buffer-budget"):
        other.lease(TOTAL + 1)
    assert figure(shared, "refused") == 2
    pool.close()
    other.close()


def test_what_is_reserved_for_good_leaves_a_part_and_nobody_waits_for_what_cannot_come(shared: Table) -> None:
    pool, other = pool_of(shared), pool_of(shared)
    pool.reserve(1 << 30)
    assert other.total == 32 * MIB, "one part must fit"
    for n in (32 * MIB, 48 * MIB, TOTAL):  # what was planned before goes on, alone
        with other.lease(n, timeout=5) as lease:
            assert figure(shared, "held") == TOTAL
            assert len(lease.view) == n
            with pytest.raises(Transient):
                other.lease(MIB, timeout=0.05)
    with pytest.raises(TooLarge):
        other.lease(TOTAL + 1)
    pool.close()
    assert other.total == TOTAL
    other.close()


def test_a_budget_that_is_changed_live_holds_from_then_on(shared: Table) -> None:
    pool = pool_of(shared)
    lease = pool.lease(48 * MIB, memory=False)
    shared.resize(32 * MIB)
    with pytest.raises(TooLarge):
        pool.lease(33 * MIB)
    with pytest.raises(Transient):
        pool.lease(8 * MIB, timeout=0.05)
    lease.close()
    with pool.lease(32 * MIB, timeout=5):
        pass
    shared.resize(TOTAL)
    with pool.lease(TOTAL, timeout=5):
        pass
    pool.close()


def test_who_waits_behind_a_request_that_the_budget_became_too_small_for_goes_on(shared: Table) -> None:
    pool = pool_of(shared)
    lease = pool.lease(TOTAL, memory=False)

    def waits() -> str:
        with suppress(TooLarge):
            pool_of(shared).lease(60 * MIB, timeout=60)
            return "lent"
        return "refused"

    with forked(waits) as (child,):
        wait_until(waiting(shared, 1))
        shared.resize(32 * MIB)
        assert child.said() == "refused"
    lease.close()
    pool.close()


def test_another_program_reads_the_figures_through_the_descriptor(shared: Table) -> None:
    code = (
        "import sys; from hugesync_tasks.buffers import statistics; from hugesync_tasks.buffers.table import Table; "
        "print(statistics.of(Table.of(int(sys.argv[1])))['held'])"
    )
    pool = pool_of(shared)
    with pool.lease(8 * MIB):
        command = [sys.executable, "-c", code, str(shared.fd)]
        ran = subprocess.run(command, pass_fds=[shared.fd], capture_output=True, text=True, check=True, cwd=ROOT)
        assert int(ran.stdout) == 8 * MIB
    with pool.lease(TOTAL, timeout=5):
        pass
    pool.close()


def test_rows_of_dead_processes_are_used_again() -> None:
    small = Table(TOTAL, rows=2)
    for _ in range(5):
        with forked(lambda: str(Pool(TOTAL, small, Sizes()).lease(MIB, memory=False))) as (child,):
            child.ended()
    first, second = Pool(TOTAL, small, Sizes()), Pool(TOTAL, small, Sizes())
    with pytest.raises(OSError, match="rows"):
        Pool(TOTAL, small, Sizes())
    first.close()
    second.close()
    assert figure(small, "held") == 0
    small.close()


def test_without_a_futex_the_bell_is_looked_at(monkeypatch: pytest.MonkeyPatch, shared: Table) -> None:
    monkeypatch.setattr("hugesync_tasks.buffers.bell._FUTEX", None)
    monkeypatch.setattr(share, "LOOK", 30.0)  # so that only a ring wakes
    pool, other = pool_of(shared), pool_of(shared)
    lease = pool.lease(TOTAL, memory=False)
    got = threading.Event()
    thread = threading.Thread(target=lambda: (other.lease(MIB, memory=False, timeout=60).close(), got.set()))
    thread.start()
    wait_until(waiting(shared, 1))
    lease.close()
    assert got.wait(5)
    thread.join()
    pool.close()
    other.close()
