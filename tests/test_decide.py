"""The decision: its table, case by case, and what holds for all entries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_tasks.decide import Decision, decide
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.spec import Rules

S = 1_000_000_000
NEW, SAME, DIFFERENT, UNKNOWN, EXISTING = Decision
T = 100 * S + 123_456_789


def local(mtime: int = T, size: int = 5, kind: Kind = Kind.FILE, **more: object) -> Entry:
    return Entry("k", kind, size, mtime_ns=mtime, version=f"1:{size}:{mtime}:{mtime}", **more)  # type: ignore[arg-type]


def store(written: int = T, stored: int | None = None, size: int = 5, etag: str = "e", kind: Kind = Kind.FILE) -> Entry:
    return Entry("k", kind, size, mtime_ns=stored, modified_ns=written, version=etag)


def folder(mode: int | None = 0o755, mtime: int | None = T) -> Entry:
    return Entry("k/", Kind.DIR, mtime_ns=mtime, mode=mode)


NONE = Rules()
# (case of the docstring's table, source, destination, rules, as listed, after a HEAD)
TABLE = [
    (1, local(), None, Rules(existing=True), EXISTING, EXISTING),
    (2, local(), None, NONE, NEW, NEW),
    (2, local(), None, Rules(ignore_existing=True, update=True, checksum=True), NEW, NEW),
    (3, folder(), folder(0o700), Rules(ignore_existing=True), SAME, SAME),
    (4, folder(), folder(), NONE, SAME, SAME),
    (4, folder(), folder(0o700), NONE, DIFFERENT, DIFFERENT),
    (4, folder(), folder(mtime=T + 1), NONE, DIFFERENT, DIFFERENT),
    (4, folder(), folder(mtime=T + 1), Rules(modify_window_ns=1), SAME, SAME),
    (4, folder(), folder(None, None), NONE, SAME, SAME),
    (4, folder(None, None), folder(), NONE, SAME, SAME),
    (5, local(), local(size=6), Rules(ignore_existing=True), EXISTING, EXISTING),
    (5, local(), store(), Rules(ignore_existing=True), EXISTING, EXISTING),
    (6, local(), local(kind=Kind.LINK), NONE, DIFFERENT, DIFFERENT),
    (6, local(), local(kind=Kind.LINK), Rules(size_only=True), DIFFERENT, DIFFERENT),
    (7, local(), store(size=6), Rules(update=True), UNKNOWN, DIFFERENT),
    (7, store(), local(T - 1, size=6), Rules(update=True), UNKNOWN, DIFFERENT),
    (8, local(), local(T + 1, size=6), Rules(update=True), EXISTING, EXISTING),
    (8, local(), local(T + 1, size=6), Rules(update=True, modify_window_ns=1), DIFFERENT, DIFFERENT),
    (8, local(), local(T, size=6), Rules(update=True), DIFFERENT, DIFFERENT),
    (8, local(), local(T - 1), Rules(update=True), DIFFERENT, DIFFERENT),
    (8, local(), store(T + 1, size=6), Rules(update=True), UNKNOWN, EXISTING),
    (8, local(), store(T + 1, stored=T - 1, size=6), Rules(update=True), DIFFERENT, DIFFERENT),
    (9, local(), local(size=6), NONE, DIFFERENT, DIFFERENT),
    (9, local(), store(size=6), Rules(size_only=True), DIFFERENT, DIFFERENT),
    (9, local(), store(size=6), Rules(checksum=True), DIFFERENT, DIFFERENT),
    (9, store(), store(size=6), NONE, DIFFERENT, DIFFERENT),
    (11, local(), local(), Rules(checksum=True), UNKNOWN, UNKNOWN),
    (11, local(size=0), local(T + 1, size=0), Rules(checksum=True), SAME, SAME),
    (11, local(), local(), Rules(checksum=True, size_only=True), UNKNOWN, UNKNOWN),
    (12, local(), local(T + 1), Rules(size_only=True), SAME, SAME),
    (12, local(), store(), Rules(size_only=True), SAME, SAME),
    (12, local(), local(T + 1), Rules(size_only=True, ignore_times=True), SAME, SAME),
    (13, local(), local(), Rules(ignore_times=True), DIFFERENT, DIFFERENT),
    (14, local(), local(), NONE, SAME, SAME),
    (14, local(), local(T + 1), NONE, DIFFERENT, DIFFERENT),
    (14, local(), local(T - 1), NONE, DIFFERENT, DIFFERENT),
    (14, local(), local(T - 2), Rules(modify_window_ns=2), SAME, SAME),
    (14, local(), local(T + 3), Rules(modify_window_ns=2), DIFFERENT, DIFFERENT),
    (14, local(), store(T + 9, stored=T), NONE, SAME, SAME),
    (14, local(), store(T + 9, stored=T - 1), NONE, DIFFERENT, DIFFERENT),
    (14, store(T + 9, stored=T), local(), NONE, SAME, SAME),
    (14, store(T, stored=T - 1), local(), NONE, DIFFERENT, DIFFERENT),
    (14, local(kind=Kind.LINK), local(kind=Kind.LINK), NONE, SAME, SAME),
    (15, store(etag="x"), store(T + 9, etag="x"), NONE, SAME, SAME),
    (15, store(stored=1, etag="x"), store(stored=2, etag="x"), NONE, SAME, SAME),
    (16, store(etag="x"), store(etag="y"), NONE, UNKNOWN, DIFFERENT),
    (16, store(etag=""), store(etag=""), NONE, UNKNOWN, DIFFERENT),
    (17, store(stored=T, etag="x"), store(T + 9, etag="y"), NONE, UNKNOWN, DIFFERENT),
    (18, store(stored=T, etag="x"), store(stored=T, etag="y"), NONE, SAME, SAME),
    (18, store(stored=T, etag="x"), store(stored=T + 1, etag="y"), NONE, DIFFERENT, DIFFERENT),
    (18, store(T, etag="x"), store(T + 9, stored=T, etag="y"), NONE, UNKNOWN, SAME),
    (18, store(T, etag="x"), store(T + 9, stored=T + S, etag="y"), NONE, UNKNOWN, DIFFERENT),
    (19, store(T), local(T), NONE, SAME, SAME),
    (19, store(T), local(100 * S), NONE, SAME, SAME),
    (19, store(T), local(T + 2), Rules(modify_window_ns=2), SAME, SAME),
    (20, store(T), local(T + 1), NONE, UNKNOWN, DIFFERENT),
    (20, store(T), local(99 * S), NONE, UNKNOWN, DIFFERENT),
    (20, store(T, kind=Kind.LINK), local(7, kind=Kind.LINK), NONE, UNKNOWN, DIFFERENT),
    (21, local(), store(T + 1), NONE, UNKNOWN, SAME),
    (22, local(), store(T), NONE, UNKNOWN, SAME),
    (22, local(), store(T - 1), NONE, UNKNOWN, DIFFERENT),
    (22, local(), store(100 * S), NONE, UNKNOWN, DIFFERENT),
    (22, local(), store(T - 1), Rules(modify_window_ns=1), UNKNOWN, SAME),
]


@pytest.mark.parametrize(("case", "source", "dest", "rules", "listed", "headed"), TABLE)
def test_a_case_of_the_table(
    case: int, source: Entry, dest: Entry | None, rules: Rules, listed: Decision, headed: Decision
) -> None:
    assert decide(source, dest, rules) is listed
    assert decide(source, dest, rules, headed=True) is headed


def test_case_10_compared_contents_decide_before_every_rule_about_times() -> None:
    for rules in (NONE, Rules(checksum=True), Rules(ignore_times=True)):
        assert decide(local(), store(T - 1), rules, headed=True, digests_equal=True) is SAME
        assert decide(local(), local(), rules, digests_equal=False) is DIFFERENT
    assert decide(local(), local(size=6), NONE, digests_equal=True) is DIFFERENT


def test_every_case_of_the_docstring_is_in_the_table() -> None:
    import hugesync_tasks.decide as module

    numbered = {int(line.split()[0]) for line in (module.__doc__ or "").splitlines() if line[:4].strip().isdigit()}
    assert numbered == {case for case, *_ in TABLE} | {10}


times = st.sampled_from([None, T - S, T - 1, T, T + 1, 100 * S])
entries = st.builds(
    Entry,
    st.just("k"),
    st.sampled_from([Kind.FILE, Kind.LINK]),
    st.integers(0, 2),
    mtime_ns=times,
    modified_ns=times,
    version=st.sampled_from(["", "x", "y"]),
)
flags = st.builds(
    Rules,
    st.sampled_from([0, 1, S]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(entries, entries, flags, st.booleans(), st.sampled_from([None, True, False]))
def test_files_of_different_size_or_kind_are_never_the_same(
    a: Entry, b: Entry, rules: Rules, headed: bool, digests: bool | None
) -> None:
    if decide(a, b, rules, headed=headed, digests_equal=digests) is SAME:
        assert (a.size, a.kind) == (b.size, b.kind)


@given(entries, entries, flags)
def test_after_a_head_only_checksum_leaves_a_question_and_digests_answer_it(a: Entry, b: Entry, rules: Rules) -> None:
    if decide(a, b, rules, headed=True) is UNKNOWN:
        assert rules.checksum
        assert decide(a, b, rules, headed=True, digests_equal=True) is SAME


@given(entries, entries, flags)
def test_an_answer_from_the_listing_is_not_changed_by_a_head_that_finds_nothing_new(
    a: Entry, b: Entry, rules: Rules
) -> None:
    listed = decide(a, b, rules)
    assert listed is UNKNOWN or decide(a, b, rules, headed=True) is listed


@given(entries, entries, st.booleans())
def test_two_local_files_or_two_objects_of_known_time_compare_the_same_both_ways(
    a: Entry, b: Entry, stores: bool
) -> None:
    a, b = (replace(e, modified_ns=T if stores else None, mtime_ns=e.mtime_ns or 1) for e in (a, b))
    assert decide(a, b, NONE) is decide(b, a, NONE)


@given(entries, flags)
def test_an_entry_is_never_different_from_itself_unless_times_are_ignored(a: Entry, rules: Rules) -> None:
    if not rules.ignore_times and a.mtime_ns is not None:
        assert decide(a, a, rules, headed=True) in (SAME, EXISTING, UNKNOWN)


@given(entries, flags)
def test_ignore_existing_never_writes_over_anything(a: Entry, rules: Rules) -> None:
    assert decide(a, replace(a, size=9), replace(rules, ignore_existing=True)) is EXISTING
