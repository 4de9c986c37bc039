"""The plan: one verdict per entry, batches within their limits, folders finished after all that lies in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_producer.filters import Filter
from hugesync_producer.folders import folders_of
from hugesync_producer.join import JoinItem
from hugesync_producer.judge import Cuts, Extra, Fail, Judge, Nothing, Send, Skip, Step, Terms, Verdict, Way
from hugesync_producer.plan import Batcher, Segment, Sizes, plan, planned
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.model import Entry, Kind, Transfer
from hugesync_tasks.spec import Rules
from hugesync_tasks.stores.base import MIB, TIB, Limits
from hugesync_tasks.tally import Tally

S3 = Limits("s3")
FOLDS = Limits("s3 that folds", folds=True)
LOCAL = Limits("local", folders=True, file_and_folder=False, max_key=4095, max_segment=255, posix_metadata=True)
T = 1_700_000_000_000_000_000


def file(key: str, size: int = 10, mtime: int = T, **more: object) -> Entry:
    return Entry(key, Kind.FILE, size, mtime_ns=mtime, version=f"{size}:{mtime}", **more)  # type: ignore[arg-type]


def folder(key: str, mode: int = 0o755, mtime: int = T, empty: bool = False) -> Entry:
    return Entry(key, Kind.DIR, mtime_ns=mtime, mode=mode, empty=empty)


def obj(key: str, size: int = 10) -> Entry:
    return Entry(key, Kind.FILE, size, modified_ns=T, version="etag")


def items(source: list[Entry], dest: list[Entry] = []) -> list[JoinItem]:  # noqa: B006
    ours, theirs = {e.key: e for e in source}, {e.key: e for e in dest}
    return [JoinItem(k, ours.get(k), theirs.get(k)) for k in sorted(ours.keys() | theirs.keys())]


def judged(source: list[Entry], dest: list[Entry] = [], limits: Limits = LOCAL, **terms: object) -> dict[str, Verdict]:  # noqa: B006
    judge = Judge(Terms(limits, **terms))  # type: ignore[arg-type]
    return {i.key: judge.judge(i).verdict for i in items(source, dest)}


def finished(source: list[Entry], dest: list[Entry] = [], **terms: object) -> list[str]:  # noqa: B006
    judge = Judge(Terms(LOCAL, **terms))  # type: ignore[arg-type]
    steps = [judge.judge(i) for i in items(source, dest)]
    return [f.key for s in steps for f in s.finishes] + [f.key for f in judge.close()]


def one(source: Entry, dest: Entry | None = None, limits: Limits = LOCAL, **terms: object) -> Verdict:
    return judged([source], [dest] if dest else [], limits, **terms)[source.key]


# verdicts


def test_a_new_file_is_sent_against_nothing_and_a_different_one_against_the_listed_version() -> None:
    source = file("a")
    assert one(source) == Send(Transfer(source), Way.SMALL)
    dest = file("a", 11)
    assert one(source, dest) == Send(Transfer(source, dest.version, dest), Way.SMALL)


def test_what_is_the_same_or_left_alone_is_skipped_by_that_reason() -> None:
    assert one(file("a"), file("a")) == Skip("same")
    assert one(file("a"), file("a", 11), rules=Rules(ignore_existing=True)) == Skip("existing")
    assert one(file("a"), rules=Rules(existing=True)) == Skip("existing")


def test_what_the_listing_cannot_decide_is_a_check_whatever_its_size() -> None:
    source, dest = file("a", TIB), obj("a", TIB)
    assert one(source, dest, S3) == Send(Transfer(source, "etag", dest, check=True), Way.CHECK)


@pytest.mark.parametrize(
    ("size", "way"),
    [(0, Way.SMALL), (8 * MIB - 1, Way.SMALL), (8 * MIB, Way.SOLO), (16 * MIB, Way.SOLO), (16 * MIB + 1, Way.LARGE)],
)
def test_the_size_decides_how_a_file_travels(size: int, way: Way) -> None:
    assert one(file("a", size)) == Send(Transfer(file("a", size)), way)


def test_a_server_side_copy_travels_small_up_to_the_callers_limit() -> None:
    cuts = Cuts(solo_from=5 << 30, large_from=(5 << 30) + 1)
    verdicts = judged([obj("a", 1 << 30), obj("b", 5 << 30), obj("c", (5 << 30) + 1)], limits=S3, cuts=cuts)
    assert [v.way for v in verdicts.values() if isinstance(v, Send)] == [Way.SMALL, Way.SOLO, Way.LARGE]


def test_a_link_is_small_and_a_special_file_is_skipped_with_what_it_is() -> None:
    link = Entry("l.rclonelink", Kind.LINK, 9 * MIB, mtime_ns=T)
    assert one(link) == Send(Transfer(link), Way.SMALL)
    assert one(Entry("p", Kind.SPECIAL, note="fifo")) == Skip("special", "fifo")


def test_a_filtered_entry_is_counted_whatever_else_is_wrong_with_it() -> None:
    rules = Filter([("-", "x*")])
    for entry in (file("x"), Entry("xs", Kind.SPECIAL), Entry("xe", Kind.ERROR), file("x.rclonelink")):
        assert one(entry, select=rules) == Skip("filtered")


def test_what_could_not_be_looked_at_fails_on_either_side() -> None:
    denied = Entry("a", Kind.ERROR, note="Permission denied")
    assert one(denied) == Fail(FailureClass.NEEDS_PERSON, "at the source: Permission denied")
    assert one(Entry("a", Kind.ERROR, note="gone")) == Fail(FailureClass.PERMANENT, "at the source: gone")
    theirs = one(file("a"), denied)
    assert isinstance(theirs, Fail)
    assert "at the destination" in theirs.message


def test_what_could_not_be_looked_at_counts_as_a_file_unless_it_is_a_folder() -> None:
    unread = [Entry("a", Kind.ERROR), Entry("d/", Kind.ERROR), Entry("o/", Kind.ERROR, 5, note="holds 5 bytes")]
    judge = Judge(Terms(LOCAL))
    assert [(i.key, judge.judge(i).counted) for i in items(unread)] == [("a", True), ("d/", False), ("o/", True)]


def test_only_at_the_destination_is_an_extra() -> None:
    assert judged([], [file("a")]) == {"a": Extra()}


@pytest.mark.parametrize(
    ("key", "limits", "says"),
    [
        ("../x", LOCAL, "bad name"),
        ("/abs", LOCAL, "bad name"),
        ("a//b", LOCAL, "bad name"),
        ("a\0b", LOCAL, "NUL"),
        ("\u201bC3\u201bA9", LOCAL, "same file"),
        ("a/.hugesync/x", S3, "reserved name"),
        ("a.rclonelink", S3, "reserved name"),
        ("k" * 256, LOCAL, "part of the name is too long"),
        ("\u00e9" * 128, LOCAL, "part of the name is too long"),
        ("k" * 1025, S3, "too long"),
        ("back\\slash", FOLDS, "backslash, and s3 that folds would"),
        ("a//b", FOLDS, "empty segment"),
        ("a/../b", FOLDS, "segment . or .."),
        ("a\0b", FOLDS, "NUL"),
    ],
)
def test_a_name_the_destination_cannot_hold_fails_with_a_sentence(key: str, limits: Limits, says: str) -> None:
    verdict = one(file(key), limits=limits)
    assert isinstance(verdict, Fail)
    assert verdict.failure is FailureClass.PERMANENT
    assert says in verdict.message


def test_a_name_that_only_some_stores_would_fold_goes_to_the_others() -> None:
    assert all(isinstance(one(file(key), limits=S3), Send) for key in ("back\\slash", "a//b", "a/../b"))
    assert isinstance(one(file("back\\slash")), Send)
    assert isinstance(one(file("plain"), limits=FOLDS, prefix="back\\slash/"), Fail)
    assert isinstance(one(folder("plain/", empty=True), limits=FOLDS), Send)


def test_a_link_without_a_name_of_its_own_cannot_stand_on_a_filesystem() -> None:
    for key in (".rclonelink", "a/.rclonelink", "a/..rclonelink"):
        assert isinstance(one(Entry(key, Kind.LINK)), Fail), key
        assert isinstance(one(Entry(key, Kind.LINK), limits=S3), Send), key


def test_a_name_is_measured_as_it_will_stand_at_the_destination() -> None:
    assert isinstance(one(file("\u201bFF" * 255)), Send)  # 255 bytes on disk
    assert isinstance(one(Entry("k" * 255 + ".rclonelink", Kind.LINK)), Send)
    assert isinstance(one(file("k" * 1020), limits=S3, prefix="pre/"), Send)
    assert isinstance(one(file("k" * 1021), limits=S3, prefix="pre/"), Fail)


def test_object_keys_that_only_a_filesystem_refuses_go_from_store_to_store() -> None:
    assert all(isinstance(v, Send) for v in judged([obj("a//b"), obj("../x"), obj("/y")], limits=S3).values())


def test_a_file_too_large_for_the_destination_fails() -> None:
    assert isinstance(one(file("a", 5 * TIB + 1), limits=S3), Fail)


def test_a_file_beside_a_folder_of_its_name_keeps_the_file_and_fails_what_lies_below() -> None:
    verdicts = judged([obj("a"), obj("a!"), obj("a/b"), obj("a/c/d"), obj("a0/x"), obj("b/a"), obj("b/a/x")])
    assert [k for k, v in verdicts.items() if isinstance(v, Fail)] == ["a/b", "a/c/d", "b/a/x"]
    assert all(isinstance(v, Send) for v in judged([obj("a"), obj("a/b")], limits=S3).values())


def test_a_file_that_does_not_take_part_is_no_obstacle() -> None:
    assert isinstance(judged([obj("a"), obj("a/b")], select=Filter([("-", "/a"), ("+", "a/b")]))["a/b"], Send)


def test_a_file_and_a_link_of_one_name_meet_only_where_links_are_real() -> None:
    both = [obj("a"), obj("a.r"), Entry("a.rclonelink", Kind.LINK, 3, modified_ns=T), obj("a.s"), obj("a/x")]
    local = judged(both)
    assert [k for k, v in local.items() if isinstance(v, Fail)] == ["a.rclonelink", "a/x"]
    assert [k for k, v in judged(both, limits=S3).items() if isinstance(v, Fail)] == []
    linked = judged([Entry("a.rclonelink", Kind.LINK, 3, modified_ns=T), obj("a.s"), obj("a/x")])
    assert [k for k, v in linked.items() if isinstance(v, Fail)] == ["a/x"]


def test_names_that_differ_by_case_only_never_both_arrive_where_case_does_not_count() -> None:
    source = [obj("A/x"), obj("B"), obj("a/y"), obj("b"), obj("b1"), obj("c/A"), obj("c/a"), obj("d/A"), obj("e/a")]
    blind = replace(LOCAL, case_sensitive=False)
    failed = [k for k, v in judged(source, limits=blind).items() if isinstance(v, Fail)]
    assert failed == ["a/y", "b", "c/a"]
    assert not any(isinstance(v, Fail) for v in judged(source).values())
    accents = [obj("e\u0301"), obj("\u00e9")]
    assert isinstance(judged(accents, limits=blind)["\u00e9"], Fail)


# folders


def test_a_missing_folder_is_created_and_finished_after_its_last_descendant() -> None:
    source = [folder("d/"), folder("d/e/"), file("d/e/x"), file("d/z"), file("e")]
    judge = Judge(Terms(LOCAL))
    steps = {i.key: judge.judge(i) for i in items(source)}
    assert steps["d/"].verdict == Send(Transfer(source[0]), Way.SMALL)
    assert [f.key for f in steps["d/z"].finishes] == ["d/e/"]
    assert [f.key for f in steps["e"].finishes] == ["d/"]
    assert judge.close() == ()


def test_nested_folders_that_end_together_are_finished_deepest_first() -> None:
    assert finished([folder("a/"), folder("a/b/"), folder("a/b/c/")]) == ["a/b/c/", "a/b/", "a/"]


def test_a_second_run_finishes_nothing() -> None:
    tree = [folder("a/"), file("a/f"), folder("a/b/"), file("a/b/f")]
    assert finished(tree, tree) == []
    assert all(isinstance(v, Skip | Nothing) for v in judged(tree, tree).values())


def test_an_existing_folder_is_finished_when_something_directly_in_it_is_written_or_it_differs() -> None:
    tree = [folder("a/"), folder("a/b/"), file("a/b/f"), folder("a/c/"), folder("d/")]
    changed = [folder("a/"), folder("a/b/"), file("a/b/f", 11), folder("a/c/"), folder("d/", mode=0o700)]
    assert finished(tree, changed) == ["a/b/", "d/"]
    assert finished(tree, [folder("a/", mtime=T + 1), *tree[1:]]) == ["a/"]
    assert finished(tree, [t for t in tree if t.key != "a/c/"]) == ["a/c/", "a/"]
    assert finished([*tree, folder("d/new/")], tree) == ["d/new/", "d/"]


def test_a_check_counts_as_a_write_for_its_folder() -> None:
    touched = [folder("a/"), file("a/f")]
    assert finished(touched, [folder("a/"), obj("a/f")]) == ["a/"]


def test_without_metadata_no_folder_is_finished() -> None:
    assert finished([folder("a/"), file("a/f")], metadata=False) == []


def test_a_source_without_folder_metadata_finishes_only_what_it_created() -> None:
    bare = Entry("a/", Kind.DIR, modified_ns=T, version="e")
    assert finished([bare, obj("a/f")], [folder("a/")]) == []
    assert finished([bare, obj("a/f")]) == ["a/"]
    assert finished([bare, obj("a/f")], [folder("a/"), file("a/f")]) == []
    assert finished([bare, obj("a/f")], [folder("a/"), file("a/f")], dir_metadata=True) == ["a/"]


def test_an_excluded_or_impossible_folder_is_neither_created_nor_finished() -> None:
    tree = [folder("cache/"), folder("../")]
    assert finished(tree, select=Filter([("-", "cache/")])) == []
    verdicts = judged(tree, select=Filter([("-", "cache/")]))
    assert verdicts["cache/"] == Skip("filtered")
    assert isinstance(verdicts["../"], Fail)


def test_existing_creates_no_folder() -> None:
    assert judged([folder("a/"), file("a/f")], rules=Rules(existing=True)) == {"a/": Nothing(), "a/f": Skip("existing")}
    assert finished([folder("a/")], rules=Rules(existing=True)) == []


def test_a_resumed_scan_finishes_the_folders_on_the_way_to_its_start() -> None:
    judge = Judge(Terms(LOCAL), [folder("a/"), folder("a/b/")])
    step = judge.judge(JoinItem("a/b/z", file("a/b/z"), file("a/b/z")))
    assert step.finishes == ()
    assert [f.key for f in judge.judge(JoinItem("a/c", file("a/c"), None)).finishes] == ["a/b/"]
    assert [f.key for f in judge.close()] == ["a/"]


@given(st.sampled_from(["", "a", "a/", "a/b", "a/b/", "a/b/c"]))
def test_the_folders_of_a_key_are_its_prefixes_that_end_in_a_slash(key: str) -> None:
    assert folders_of(key) == [key[: i + 1] for i, c in enumerate(key) if c == "/"]


def test_a_store_gets_an_object_for_empty_folders_only_unless_folder_metadata_is_asked() -> None:
    full, empty = folder("a/"), folder("b/", empty=True)
    assert judged([full, empty], limits=S3) == {"a/": Nothing(), "b/": Send(Transfer(empty), Way.SMALL)}
    assert judged([full], limits=S3, dir_metadata=True) == {"a/": Send(Transfer(full), Way.SMALL)}
    there = Entry("b/", Kind.DIR, modified_ns=T, version="e")
    assert judged([empty], [there], S3) == {"b/": Nothing()}
    check = Send(Transfer(empty, "e", there, check=True), Way.CHECK)
    assert judged([empty], [there], S3, dir_metadata=True) == {"b/": check}
    assert judged([empty], [there], S3, dir_metadata=True, rules=Rules(ignore_existing=True)) == {"b/": Nothing()}


# segments


def send(key: str, size: int, way: Way = Way.SMALL) -> Step:
    return Step(key, size, True, Send(Transfer(file(key, size)), way))


def test_a_segment_closes_when_its_batch_has_enough_files() -> None:
    batcher = Batcher(Sizes(batch_files=3), 0.0)
    closed = [batcher.add(send(f"{i}", 1), 0.0) for i in range(4)]
    assert [len(c) for c in closed] == [0, 0, 1, 0]
    assert closed[2][0].last_key == "2"
    (rest,) = batcher.close((), 0.0)
    assert [t.key for b in rest.batches for t in b] == ["3"]


def test_a_segment_closes_before_its_batch_has_too_many_bytes() -> None:
    batcher = Batcher(Sizes(batch_bytes=10), 0.0)
    assert batcher.add(send("a", 6), 0.0) == []
    (first,) = batcher.add(send("b", 6), 0.0)
    assert (first.last_key, first.tally.bytes["pending"]) == ("a", 6)
    (second,) = batcher.add(send("c", 4), 0.0)
    assert [t.key for t in second.batches[0]] == ["b", "c"]


def test_a_large_file_and_ten_thousand_decisions_close_a_segment() -> None:
    batcher = Batcher(Sizes(entries=4), 0.0)
    batcher.add(send("a", 1), 0.0)
    (large,) = batcher.add(send("b", 99 * MIB, Way.LARGE), 0.0)
    assert ([t.key for t in large.larges], len(large.batches)) == (["b"], 1)
    skipped = [batcher.add(Step(f"k{i}", 5, True, Skip("same")), 0.0) for i in range(8)]
    assert [len(s) for s in skipped] == [0, 0, 0, 1, 0, 0, 0, 1]
    assert skipped[3][0].tally.skipped_by["same"] == 4
    assert skipped[3][0].tally.bytes["skipped"] == 20


def test_time_closes_a_segment_that_has_something_and_never_an_empty_one() -> None:
    batcher = Batcher(Sizes(seconds=0.5), 0.0)
    assert batcher.tick(10.0) == []
    assert batcher.add(send("a", 1), 10.2) == []
    assert batcher.tick(10.4) == []
    (segment,) = batcher.tick(10.6)
    assert segment.last_key == "a"
    assert batcher.tick(20.0) == []
    assert batcher.close((), 20.0) == []


def test_checks_travel_in_batches_of_their_own_counted_by_number() -> None:
    batcher = Batcher(Sizes(batch_files=2, batch_bytes=10), 0.0)
    assert batcher.add(send("a", TIB, Way.CHECK), 0.0) == []
    assert batcher.add(send("b", 1), 0.0) == []
    (segment,) = batcher.add(send("c", TIB, Way.CHECK), 0.0)
    assert [[t.key for t in b] for b in segment.batches] == [["b"], ["a", "c"]]


def test_middle_sized_files_each_have_a_batch_of_their_own() -> None:
    batcher = Batcher(Sizes(), 0.0)
    for i in range(7):
        assert batcher.add(send(f"{i}", 9 * MIB, Way.SOLO), 0.0) == []
    (segment,) = batcher.add(send("7", 9 * MIB, Way.SOLO), 0.0)
    assert [len(b) for b in segment.batches] == [1] * 7


def test_failures_and_special_files_are_named_in_their_segment_and_folders_are_not_counted() -> None:
    source = [Entry("a", Kind.ERROR, 7, note="gone"), folder("b//"), Entry("c", Kind.SPECIAL, note="fifo")]
    (segment,) = (s for s in plan(items(source), Judge(Terms(LOCAL)), Sizes(), lambda: 0.0) if s)
    assert [(f.key, f.size) for f in segment.failures] == [("a", 7), ("b//", -1)]
    assert segment.specials == (("c", "fifo"),)
    assert (segment.tally.files["found"], segment.tally.files["failed"], segment.tally.files["skipped"]) == (2, 1, 1)


def test_a_quiet_join_is_passed_on_after_the_segment_that_grew_old() -> None:
    clock = iter([0.0, 0.1, 0.2, 0.7, 0.8, 0.9]).__next__
    stream = [*items([file("a")]), None, None, *items([file("b")])]
    got = list(plan(stream, Judge(Terms(LOCAL)), Sizes(), clock))
    assert [s.last_key if s else None for s in got] == [None, "a", None, "b"]


def test_a_resumed_plan_with_nothing_left_still_finishes_its_folders_at_its_start() -> None:
    judge = Judge(Terms(LOCAL), [folder("a/")])
    (segment,) = (s for s in plan([], judge, Sizes(), lambda: 0.0, start_after="a/z") if s)
    assert (segment.last_key, [f.key for f in segment.finishes]) == ("a/z", ["a/"])


# properties

names = st.sampled_from(["a", "b", "a.r", "b!", "c"])


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """A filesystem's listing: folders before what lies in them, no file where a folder is."""
    entries: dict[str, Entry] = {}
    for path in draw(st.lists(st.lists(names, min_size=1, max_size=4), max_size=25)):
        parents = ["/".join(path[: i + 1]) for i in range(len(path) - 1)]
        if any(p in entries for p in [*parents, "/".join(path)]) or "/".join(path) + "/" in entries:
            continue
        for p in parents:
            entries.setdefault(p + "/", folder(p + "/"))
        key, kind = "/".join(path), draw(st.sampled_from([Kind.FILE] * 4 + [Kind.DIR, Kind.SPECIAL, Kind.ERROR]))
        size = draw(st.sampled_from([0, 1, 5 * MIB, 8 * MIB, 16 * MIB + 1]))
        entry = folder(key + "/") if kind is Kind.DIR else Entry(key, kind, size, mtime_ns=T, version="v")
        entries.setdefault(entry.key, entry)
    return [entries[k] for k in sorted(entries)]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[JoinItem], bool]:
    """A source tree and a destination that has some of it, altered here and there, locally or on a store."""
    source, local = draw(trees()), draw(st.booleans())
    dest = []
    for entry in source:
        how = draw(st.sampled_from(["missing", "same", "size", "time"]))
        if how != "missing":
            changed = replace(
                entry,
                kind=Kind.DIR if entry.kind is Kind.DIR else Kind.FILE,
                size=entry.size + (how == "size" and entry.kind is not Kind.DIR),
                mtime_ns=None if not local else T + (how == "time"),
                modified_ns=None if local else T,
                mode=entry.mode if local else None,
            )
            dest.append(changed)
    return items(source, dest), local


SMALL_SIZES = Sizes(batch_files=3, batch_bytes=16 * MIB, entries=5)


def run(world: list[JoinItem], local: bool) -> list[Segment]:
    terms = Terms(LOCAL if local else S3, select=Filter([("-", "c")]))
    return [s for s in plan(world, Judge(terms), SMALL_SIZES, lambda: 0.0) if s is not None]


@given(worlds())
def test_every_entry_lands_exactly_once_and_the_law_holds_at_every_prefix(world: tuple[list[JoinItem], bool]) -> None:
    segments = run(*world)
    total = Tally()
    for segment in segments:
        total.add(segment.tally)
        total.assert_law()
        sent = [t for b in segment.batches for t in b] + list(segment.larges)
        counts = [planned(t) for t in sent]
        assert sum(c[0] for c in counts) == segment.tally.files["pending"]
        assert sum(c[1] for c in counts) == segment.tally.bytes["pending"]
    counted = [i.source for i in world[0] if i.source is not None and i.source.kind is not Kind.DIR]
    assert total.files["found"] == len(counted)
    assert total.bytes["found"] == sum(e.size for e in counted)
    everything = [t.key for s in segments for t in [x for b in s.batches for x in b] + list(s.larges)]
    assert len(everything) == len(set(everything))


@given(worlds())
def test_segments_are_in_key_order_and_hold_what_lies_between_their_ends(world: tuple[list[JoinItem], bool]) -> None:
    before = ""
    for segment in run(*world):
        keys = [t.key for b in segment.batches for t in b] + [t.key for t in segment.larges]
        keys += [f.key for f in segment.failures]
        assert all(before < k <= segment.last_key for k in keys)
        assert all(list(b) == sorted(b, key=lambda t: t.key) for b in segment.batches)
        assert segment.last_key >= before
        before = segment.last_key
    assert before == (world[0][-1].key if world[0] else "")


@given(worlds())
def test_batches_never_exceed_their_limits_and_larges_are_large(world: tuple[list[JoinItem], bool]) -> None:
    for segment in run(*world):
        assert len(segment.larges) <= 1
        moving = 0
        for batch in segment.batches:
            assert 1 <= len(batch) <= SMALL_SIZES.batch_files
            assert len({t.check for t in batch}) == 1
            if not batch[0].check:
                moving += sum(t.source.size for t in batch)
                assert len(batch) == 1 or all(t.source.size < 8 * MIB for t in batch)
        assert moving <= SMALL_SIZES.batch_bytes
        assert all(t.source.size > 16 * MIB for t in segment.larges)


@given(worlds())
def test_a_folder_is_finished_once_after_all_its_descendants_and_before_its_parent(
    world: tuple[list[JoinItem], bool],
) -> None:
    order: list[tuple[str, str]] = []
    for segment in run(*world):
        order += [("send", t.key) for b in segment.batches for t in b] + [("send", t.key) for t in segment.larges]
        order += [("finish", f.key) for f in segment.finishes]
    ends = [key for what, key in order if what == "finish"]
    assert len(ends) == len(set(ends))
    for at, (what, key) in enumerate(order):
        if what == "finish":
            assert not any(k.startswith(key) for w, k in order[at + 1 :] if w == "send" and k != key)
            assert not any(k.startswith(key) for k in ends[ends.index(key) + 1 :])


@given(worlds())
def test_every_folder_that_is_created_differs_or_is_written_in_is_finished(world: tuple[list[JoinItem], bool]) -> None:
    stream, local = world
    segments = run(stream, local)
    ends = {f.key for s in segments for f in s.finishes}
    if not local:
        assert not ends
        return
    written = {t.key for s in segments for t in [x for b in s.batches for x in b] + list(s.larges)}
    parents = {k[: k.rstrip("/").rfind("/") + 1] for k in written} - {""}
    differ = {i.key for i in stream if i.source and i.dest and i.source.kind is Kind.DIR and i.source != i.dest}
    created = {k for k in written if k.endswith("/")}
    taking_part = {
        i.key for i in stream if i.source and i.source.kind is Kind.DIR and Filter([("-", "c")]).selects(i.source)
    }
    assert ends == (parents | differ | created) & taking_part
