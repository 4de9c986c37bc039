"""The external sort: order, stability, bounded memory, no files left behind."""

from __future__ import annotations

import errno
import os
import random
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugesync_tasks.errors import NoSpace
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.stores import sorting
from hugesync_tasks.stores.sorting import sorted_entries

KEYS = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(KEYS, max_size=200), st.integers(1, 40))
def test_order_is_the_byte_order_of_utf8_whatever_the_run_size(keys: list[str], run_size: int) -> None:
    out = [e.key for e in sorted_entries((Entry(k, Kind.FILE) for k in keys), run_size)]
    assert out == sorted(keys, key=lambda k: k.encode())


def test_equal_keys_keep_their_order_through_runs_and_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "FAN_IN", 3)
    entries = [Entry(str(i % 5), Kind.FILE, size=i) for i in range(500)]
    assert list(sorted_entries(entries, 7)) == sorted(entries, key=lambda e: e.key)


def test_every_field_survives_the_disk() -> None:
    entries = [
        Entry("b\n\u201bFF", Kind.LINK, 3, 1 << 62, None, '"v"', 0o7777, 2**32 - 2, 0, False, "n"),
        Entry("a/", Kind.DIR, empty=True, mtime_ns=-5),
        Entry("\U0001f600", Kind.SPECIAL, note="fifo"),
    ]
    out = list(sorted_entries(entries, 1))
    assert out == sorted(entries, key=lambda e: e.key)
    assert all(type(e.kind) is Kind for e in out)


def test_a_small_input_never_touches_the_disk() -> None:
    assert [e.key for e in sorted_entries([Entry("b", Kind.FILE), Entry("a", Kind.FILE)], 3, "/nonexistent")] == [
        "a",
        "b",
    ]


def test_runs_are_unlinked_and_closed_even_when_the_reader_stops_early(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    it = sorted_entries((Entry(str(i), Kind.FILE) for i in range(1000)), 10, tmp_path)
    next(it)
    assert os.listdir(tmp_path) == []
    it.close()  # type: ignore[attr-defined]
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_open_files_grow_with_the_levels_and_not_with_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_now, peak = 0, 0
    real = tempfile.TemporaryFile

    class Counted:
        def __init__(self, **kw: object) -> None:
            nonlocal open_now, peak
            self._f = real(**kw)  # type: ignore[call-overload]
            open_now += 1
            peak = max(peak, open_now)

        def __getattr__(self, name: str) -> object:
            return getattr(self._f, name)

        def close(self) -> None:
            nonlocal open_now
            open_now -= 0 if self._f.closed else 1
            self._f.close()

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *exc: object) -> None:
            self.close()

    monkeypatch.setattr(sorting, "FAN_IN", 4)
    monkeypatch.setattr(tempfile, "TemporaryFile", Counted)
    keys = [f"{i:05}" for i in range(2000)]
    random.Random(1).shuffle(keys)
    out = [e.key for e in sorted_entries((Entry(k, Kind.FILE) for k in keys), 10, tmp_path)]
    assert out == sorted(keys)
    assert peak <= 4 * 5 + 1  # 200 runs, four levels of at most FAN_IN
    assert open_now == 0


@pytest.mark.full
def test_memory_stays_flat_above_one_run() -> None:
    def entries(n: int) -> Iterator[Entry]:
        order = random.Random(2)
        return (Entry(f"{order.getrandbits(64):x}", Kind.FILE, i) for i in range(n))

    def peak(n: int) -> int:
        tracemalloc.start()
        try:
            assert sum(1 for _ in sorted_entries(entries(n), 500)) == n
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(60_000) < 1.3 * peak(16_000)


def test_a_full_disk_says_where_it_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sorting.marshal, "dump", full)
    with pytest.raises(NoSpace, match=str(tmp_path)):
        list(sorted_entries([Entry("a", Kind.FILE), Entry("b", Kind.FILE)], 1, tmp_path))
