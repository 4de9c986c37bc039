"""The buffers of one process: what is lent, kept, counted and refused; and each key of ``[buffers]`` by its effect."""

from __future__ import annotations

import gc
import logging
import mmap
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_tasks.budget import Budget
from hugesync_tasks.buffers import copying, share, sharing, sizing, statistics
from hugesync_tasks.buffers.classes import KIB, MIB, PAGE, Sizes
from hugesync_tasks.buffers.lease import Misused
from hugesync_tasks.buffers.pool import Pool
from hugesync_tasks.buffers.table import Table
from hugesync_tasks.config import load
from hugesync_tasks.errors import Cancelled, TooLarge, Transient
from hugesync_tasks.token import Token
from processes import wait_until

TOTAL = 128 * MIB


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table(TOTAL)
    yield made
    made.close()


@pytest.fixture
def pool(table: Table) -> Iterator[Pool]:
    made = Pool(TOTAL, table, Sizes())
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_table", None), ("_pool", None), ("_slots", 1), ("_told", 0.0), ("_said", "")):
        monkeypatch.setattr(sharing, name, value)
    monkeypatch.setattr(copying, "_holds", copying._holds)
    monkeypatch.setattr(copying, "_size", copying._size)


def figures(pool: Pool, *names: str) -> list[float]:
    found = pool.stats()
    return [found[name] for name in names]


# --- sizes ------------------------------------------------------------------------------------------


@given(n=st.integers(0, 70 * MIB), least=st.sampled_from([4 * KIB, 64 * KIB, 100_000]))
def test_a_class_holds_what_is_asked_for_and_wastes_at_most_a_fifth_of_it(n: int, least: int) -> None:
    sizes = Sizes(least=least)
    found = sizes.class_of(n)
    if n > sizes.most:
        assert found is None
    else:
        assert found is not None
        assert found >= n
        assert found % PAGE == 0
        assert found <= max(least + PAGE, n * 5 / 4 + PAGE)


def test_classes_go_from_the_least_to_the_greatest() -> None:
    classes = Sizes().classes()
    assert (classes[0], classes[-1], len(classes)) == (64 * KIB, 64 * MIB, 41)
    assert MIB in classes


@pytest.mark.parametrize("wrong", [{"least": 2 * MIB}, {"most": 512 * KIB}, {"size": 65 * MIB}, {"least": 0}])
def test_sizes_that_contradict_each_other_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="min <= size <= max"):
        Sizes(**wrong)


# --- leases -----------------------------------------------------------------------------------------


def test_a_lease_is_of_exactly_the_bytes_that_were_asked_for_and_counts_as_its_class(pool: Pool) -> None:
    with pool.lease(5 * MIB + 1) as lease:
        assert len(lease.view) == lease.n == 5 * MIB + 1
        assert lease.charged == 6 * MIB
        assert figures(pool, "held") == [6 * MIB]
        lease.view[:] = b"x" * lease.n


def test_without_a_number_a_lease_has_the_configured_size(table: Table) -> None:
    pool = Pool(TOTAL, table, Sizes(size=3 * MIB))
    with pool.lease() as lease:
        assert len(lease.view) == 3 * MIB
    pool.close()


def test_large_memory_is_lent_again_and_small_is_not(pool: Pool) -> None:
    for n, again in ((8 * MIB, True), (4 * MIB, True), (4 * MIB - 64 * KIB, True), (3 * MIB, False), (MIB, False)):
        for letter in (b"a", b"b"):
            with pool.lease(n) as lease:
                assert lease.memory is not None
                first = bytes(lease.memory[:1])
                lease.view[:1] = letter
        assert (first == b"a") is again, n


def test_above_the_greatest_class_memory_is_exactly_as_large_and_not_kept(pool: Pool) -> None:
    for _ in range(2):
        with pool.lease(65 * MIB + 1) as lease:
            assert lease.charged == lease.n == len(lease.view)
    assert figures(pool, "hits", "misses") == [0, 2]
    assert figures(pool, "held") <= [MIB]


def test_nothing_is_lent_at_once_whatever_is_held(pool: Pool) -> None:
    with pool.lease(TOTAL, memory=False), pool.lease(0) as nothing, pool.hold(0, memory=True) as view:
        assert nothing.n == 0
        assert view is None
    with pytest.raises(ValueError, match="-1 bytes"):
        pool.lease(-1)


def test_nothing_is_lent_at_once_though_others_wait(pool: Pool) -> None:
    held, got = pool.lease(TOTAL, memory=False), threading.Event()
    thread = threading.Thread(target=lambda: (pool.lease(MIB).close(), got.set()))
    thread.start()
    wait_until(lambda: len(pool._share._queue) == 1)
    pool.lease(0, timeout=0.0).close()
    held.close()
    assert got.wait(10)
    thread.join()


def test_more_than_the_budget_is_an_error_at_once_and_the_whole_of_it_is_lent(pool: Pool) -> None:
    with pytest.raises(TooLarge):
        pool.lease(TOTAL + 1)
    with pool.lease(100 * MIB, memory=False), pytest.raises(TooLarge):
        pool.lease(TOTAL + 1)
    with pool.lease(TOTAL) as lease:
        assert len(lease.view) == TOTAL
    assert figures(pool, "refused") == [2]


def test_who_waits_too_long_gets_an_answer_and_leaves_no_trace(pool: Pool) -> None:
    with pool.lease(TOTAL, memory=False):
        with pytest.raises(Transient, match="no 1048576 bytes"):
            pool.lease(MIB, timeout=0.02)
        assert figures(pool, "waiting", "timeouts") == [0, 1]
    with pool.lease(TOTAL, memory=False, timeout=1):
        pass


def test_the_token_of_a_task_is_kept_alive_while_it_waits_and_ends_the_wait(pool: Pool) -> None:
    beats = []

    def pulse(n: int) -> None:
        beats.append(n)
        if len(beats) == 3:
            token.cancel()

    token = Token(pulse=pulse)
    with pool.lease(TOTAL, memory=False), pytest.raises(Cancelled):
        pool.lease(MIB, token)
    assert beats == [0, 0, 0]
    with pool.lease(TOTAL, timeout=1):
        pass


def test_a_lease_that_is_returned_twice_is_caught_and_counted_once(pool: Pool) -> None:
    lease = pool.lease(8 * MIB)
    lease.close()
    with pytest.raises(Misused, match="returned twice"):
        lease.close()
    with pool.lease(TOTAL, memory=False, timeout=1):
        pass
    assert figures(pool, "held") <= [MIB]


def test_a_view_that_is_used_after_the_return_is_caught(pool: Pool) -> None:
    lease = pool.lease(8 * MIB)
    view = lease.view
    lease.close()
    with pytest.raises(Misused, match="after its return"):
        lease.view  # noqa: B018
    with pytest.raises(ValueError, match="released"):
        view[0]
    with pytest.raises(Misused, match="without memory"), pool.lease(MIB, memory=False) as counted:
        counted.view  # noqa: B018


def test_memory_of_which_somebody_kept_a_view_is_never_lent_to_another(pool: Pool) -> None:
    with pool.lease(8 * MIB) as lease:
        lease.view[:4] = b"mine"
        kept = lease.view[:4]
    with pool.lease(8 * MIB) as other:
        other.view[:4] = b"your"
        assert bytes(kept) == b"mine"
    kept.release()
    assert figures(pool, "hits") == [0]


def test_a_lease_that_is_dropped_without_a_word_comes_back(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    pool.lease(TOTAL, what="a forgotten one")
    gc.collect()
    with pool.lease(TOTAL, memory=False, timeout=1):
        pass
    assert "a forgotten one" in caplog.text


def test_leases_that_are_not_returned_are_listed_and_freed_at_the_end(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    pool, other = Pool(TOTAL, table, Sizes()), Pool(TOTAL, table, Sizes())
    leases = [pool.lease(8 * MIB, what="part 7"), pool.lease(100 * MIB, memory=False, what="a batch")]
    pool.close()
    assert [r.getMessage().split(" was")[0] for r in caplog.records] == [
        "buffers: part 7 of 8388608 bytes",
        "buffers: a batch of 104857600 bytes",
    ]
    with other.lease(TOTAL, timeout=1):
        pass
    for lease in leases:
        lease.close()  # late, and of no effect
    assert figures(other, "held") <= [MIB]
    assert figures(other, "unreturned") == [2]
    with pytest.raises(Misused, match="closed"):
        pool.lease(1)
    other.close()


def test_what_is_kept_for_later_is_given_up_for_what_is_needed_now(pool: Pool) -> None:
    with pool.lease(64 * MIB), pool.lease(32 * MIB):
        pass
    assert figures(pool, "idle") >= [96 * MIB]
    with pool.lease(TOTAL, memory=False, timeout=1):
        assert figures(pool, "idle") == [0]


def test_many_threads_are_served_in_the_order_in_which_they_came(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "LOOK", 0.001)  # all look all the time: the order must not come from who is woken
    monkeypatch.setattr(share, "BESIDE", 0.001)
    held, order, threads = pool.lease(TOTAL, memory=False), [], []

    def work(n: int) -> None:
        with pool.lease(TOTAL // 2 + MIB, memory=False):
            order.append(n)
            time.sleep(0.01)

    for n in range(6):
        threads.append(threading.Thread(target=work, args=(n,)))
        threads[-1].start()
        wait_until(lambda n=n: len(pool._share._queue) == n + 1)
    held.close()
    for thread in threads:
        thread.join(20)
    assert order == [0, 1, 2, 3, 4, 5]


def test_memory_that_cannot_be_mapped_costs_no_budget(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", fails)
    with pytest.raises(OSError, match="allocate"):
        pool.lease(100 * MIB)
    with pool.lease(TOTAL, memory=False, timeout=1):
        pass


# --- statistics --------------------------------------------------------------------------------------


def test_the_figures_count_what_happened(pool: Pool) -> None:
    for _ in range(3):
        with pool.lease(8 * MIB):
            pass
    with pool.hold(1000):
        pass
    found = pool.stats()
    assert [found[n] for n in ("gets", "puts", "hits", "misses", "waits")] == [4, 4, 2, 1, 0]
    assert 8 * MIB <= found["high_water"] <= 10 * MIB
    assert "4 gets, 4 puts, 2 hits, 1 misses, 0 waits" in statistics.sentence(found)


@given(st.lists(st.floats(1e-7, 1000), min_size=1))
def test_percentiles_are_at_most_half_as_much_again_as_the_waits(waits: list[float]) -> None:
    histogram = [0] * 64
    for seconds in waits:
        histogram[statistics.bucket_of(seconds)] += 1
    for part in (0.5, 0.99):
        exact = sorted(waits)[max(0, -(-int(part * 100) * len(waits) // 100) - 1)]
        assert exact <= statistics.percentile(histogram, part) * 1.0001
        assert statistics.percentile(histogram, part) <= max(1e-6, exact) * 1.42
    assert statistics.percentile([0] * 64, 0.5) == 0.0


# --- the keys ----------------------------------------------------------------------------------------


def settings_of(**keys: Any) -> Any:
    return load({f"buffers_{key}": value for key, value in keys.items()})


def test_enabled_false_is_a_budget_of_the_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sharing.share(settings_of(enabled=False, budget="64MiB"), 2)
    found = sharing.budget_for(settings_of(enabled=False, budget="64MiB"), TOTAL)
    assert type(found) is Budget
    assert found.total == 32 * MIB, "its part of the worker's"
    with found.hold(8 * MIB, memory=True) as view:
        assert view is None
    assert sharing.stats() == {}


def test_the_budget_is_as_configured_at_most_the_memory_of_all_children_else_half_of_what_there_is() -> None:
    assert sizing.budget_of(64 * MIB, 512 * MIB, 4, 1 << 40) == 64 * MIB
    assert sizing.budget_of(1 << 40, 512 * MIB, 4, 1 << 40) == 4 * 512 * MIB
    assert sizing.budget_of(0, 512 * MIB, 4, 2 << 30) == 1 << 30
    assert sizing.budget_of(0, 512 * MIB, 4, 1 << 40) == 4 * 512 * MIB
    assert sizing.budget_of(0, 512 * MIB, 1, 20 * MIB) == 32 * MIB, "one part must fit"
    assert sharing.share(settings_of(budget="64MiB"), 2) == 64 * MIB
    assert sharing.stats()["budget"] == 64 * MIB
    pool = sharing.budget_for(settings_of(budget="64MiB"), TOTAL)
    assert pool.total == 64 * MIB
    with pytest.raises(TooLarge, match="--buffer-budget"), pool.hold(65 * MIB):
        pass
    sharing.end()


@pytest.mark.parametrize(("limit", "found"), [("1073741824\n", 1 << 30), ("max\n", None)])
def test_the_limit_of_a_cgroup_is_found_also_above_the_own_one(
    limit: str, found: int | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, real = tmp_path / "sys/fs/cgroup/outer/inner", sizing.Path
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text(limit)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/outer/inner\n")
    monkeypatch.setattr(sizing, "Path", lambda first, *more: real(str(tmp_path) + first, *more))
    assert (sizing.memory_limit() == found) is (found is not None)


def test_size_is_what_a_file_is_read_in(tmp_path: Any) -> None:
    sharing.budget_for(settings_of(size="128KiB"), TOTAL)
    (tmp_path / "file").write_bytes(bytes(MIB))
    fd, pieces = os.open(tmp_path / "file", os.O_RDONLY), []
    copying.tee(fd, lambda chunk: pieces.append(len(chunk)))
    os.close(fd)
    assert pieces == [128 * KIB] * 8
    sharing.end()


def test_min_and_max_are_the_least_and_the_greatest_class() -> None:
    pool = sharing.budget_for(settings_of(min="256KiB", max="8MiB"), TOTAL)
    assert isinstance(pool, Pool)
    assert pool.lease(1).charged == 256 * KIB
    assert pool.lease(9 * MIB + 1).charged == 9 * MIB + 1
    with pool.hold(9 * MIB, memory=True) as view:
        assert view is None, "nothing of that size is kept"
    sharing.end()


def test_reuse_from_is_from_where_on_memory_is_kept() -> None:
    pool = sharing.budget_for(settings_of(reuse_from="16MiB"), TOTAL)
    assert isinstance(pool, Pool)
    for n in (8 * MIB, 16 * MIB):
        for _ in range(2):
            with pool.lease(n):
                pass
    assert figures(pool, "hits", "misses") == [1, 3]
    sharing.end()


def test_log_interval_is_how_often_the_figures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hugesync_tasks.buffers")
    sharing.share(settings_of(budget="64MiB"), 2)
    sharing.tell(0)
    assert not caplog.records
    for _ in range(3):
        sharing.tell(3600)
    sharing.tell(1e-9)  # due, but nothing has happened
    assert [r.getMessage()[:26] for r in caplog.records] == ["buffers: 0 in use and 0 kep"[:26]]


def test_a_table_that_cannot_be_made_is_a_warning_and_each_process_keeps_to_its_part(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", fails)
    settings = settings_of(budget="64MiB")
    sharing.share(settings, 2)
    found = sharing.budget_for(settings, TOTAL)
    assert type(found) is Budget
    assert found.total == 32 * MIB
    assert caplog.text.count("pool") == 2


def test_a_table_without_a_row_left_is_a_warning_as_well(caplog: pytest.LogCaptureFixture) -> None:
    sharing._table = Table(64 * MIB, rows=0)
    assert type(sharing.budget_for(settings_of(), TOTAL)) is Budget
    assert "goes on without a pool" in caplog.text
