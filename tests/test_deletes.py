"""Deletes cannot surprise: what is counted, judged, looked at anew and deleted, and every way in which nothing may be."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos import KINDS
from hugesync_producer import spool as spool_module
from hugesync_producer.deleterules import MaxDelete
from hugesync_producer.deletes import Deletes
from hugesync_producer.extras import Extras
from hugesync_producer.filters import Filter
from hugesync_producer.join import JoinItem
from hugesync_producer.spool import Spool
from hugesync_tasks.errors import AccessDenied, Transient, UsageError
from hugesync_tasks.model import Entry, Kind, Meta, Removal
from hugesync_tasks.spec import Selection
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.faults import Fault, FaultyStore
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token
from mirror import Mirror
from scale import scaled
from world import LIMITS

KEPT = {f"k{n}": b"kept" for n in range(9)}
SIGNATURE = Meta(sidecar=True)


# what is an extra


def entry(key: str, size: int = 1, kind: Kind | None = None) -> Entry:
    kind = kind or (Kind.DIR if key.endswith("/") else Kind.LINK if key.endswith(".rclonelink") else Kind.FILE)
    return Entry(key, kind, 0 if kind is Kind.DIR else size, version=f"v-{key}")


def extras_of(
    source: list[Entry], dest: list[Entry], select: Filter | None = None, backup: str = ""
) -> tuple[list[str], Extras]:
    found: list[Removal] = []
    extras = Extras(select or Filter(), backup, found.append)
    left, right = {e.key: e for e in source}, {e.key: e for e in dest}
    for key in sorted({*left, *right}):
        extras.take(JoinItem(key, left.get(key), right.get(key)))
    extras.close()
    assert extras.seen.extras == len(found)
    return [r.key for r in found], extras


def test_folders_come_out_deepest_first_after_everything_in_them() -> None:
    dest = [entry(k) for k in ("a/", "a/b/", "a/b/c", "a/d", "e")]
    assert extras_of([], dest)[0] == ["a/b/c", "a/b/", "a/d", "a/", "e"]


def test_a_folder_that_a_store_does_not_list_is_still_in_the_source() -> None:
    dest = [entry(k) for k in ("a/", "a/b/", "a/b/c", "a/z/", "a/z/y")]
    assert extras_of([entry("a/b/c")], dest)[0] == ["a/z/y", "a/z/"]


def test_what_a_filter_leaves_out_keeps_its_folder_too() -> None:
    select = Filter([("-", "*.log")])
    dest = [entry(k) for k in ("a/", "a/x", "a/x.log")]
    assert extras_of([], dest, select)[0] == ["a/x"]
    select = Filter([("-", "*.log")], delete_excluded=True)
    assert extras_of([], dest, select)[0] == ["a/x", "a/x.log", "a/"]


def test_sizes_and_skipped_links_are_a_selection_like_any_other() -> None:
    select = Filter(min_size=10, max_size=100, links=False)
    source = [entry("grown", 1000)]
    dest = [entry("grown", 50), entry("large", 1000), entry("l.rclonelink"), entry("mid", 50), entry("small", 1)]
    assert extras_of(source, dest, select)[0] == ["mid"]
    select = Filter(min_size=10, max_size=100, links=False, delete_excluded=True)
    assert extras_of(source, dest, select)[0] == ["grown", "l.rclonelink", "large", "mid", "small"]


def test_what_leads_to_the_backup_folder_stays() -> None:
    dest = [entry("old/"), entry("old"), entry("older/")]
    assert extras_of([], dest, backup="old/x/")[0] == ["old", "older/"]


_names = st.sampled_from(["a", "b", "a.x", "ab"])
_paths = st.lists(_names, min_size=1, max_size=4).map("/".join)


@given(st.sets(_paths, max_size=12), st.sets(_paths, max_size=12), st.booleans())
@settings(max_examples=scaled(1000, 150), deadline=None)
def test_extras_are_what_the_source_lacks_and_a_folder_nothing_stays_in(
    source: set[str], dest: set[str], listed: bool
) -> None:
    """``listed``: the source shows its folders, as a filesystem does; the destination does so always."""

    def tree(files: set[str], folders: bool) -> list[Entry]:
        files = {f for f in files if not any(g.startswith(f + "/") for g in files)}
        below = {f[:i] + "/" for f in files for i, c in enumerate(f) if c == "/"} if folders else set()
        return [entry(k) for k in sorted(files | below)]

    ours, theirs = tree(source, listed), tree(dest, True)
    keys = {e.key for e in ours}
    files = {e.key for e in theirs if e.kind is Kind.FILE} - keys
    stays = {e.key for e in theirs if e.kind is Kind.FILE} & keys
    folders = {e.key for e in theirs if e.kind is Kind.DIR and not any(k.startswith(e.key) for k in keys | stays)}
    found, extras = extras_of(ours, theirs)
    assert sorted(found) == sorted(files | folders)
    assert extras.seen.files == len(files)
    for at, key in enumerate(found):
        assert not any(later.startswith(key) for later in found[at + 1 :] if key.endswith("/"))


# what is noted until all of it is known


def test_the_spool_gives_back_what_it_was_given_in_order() -> None:
    given = [Removal(key, f"v{n}", n, bool(n % 2)) for n, key in enumerate(["a\nb", "caf\u00e9 \u201bFF", "z/", '"'])]
    spool = Spool()
    for removal in given:
        spool.add(removal)
    assert [len(batch) for batch in spool.batches(3)] == [3, 1]
    assert [r for batch in spool.batches(3) for r in batch] == given


def test_a_full_disk_is_told_before_anything_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Mirror(KEPT, {**KEPT, **{f"x{n:04}": b"" for n in range(2000)}})
    monkeypatch.setattr(spool_module.tempfile, "TemporaryFile", lambda *_, **__: open("/dev/full", "w+"))
    summary = sim.go()
    assert (str(summary.state), sim.deletes) == ("usage", [])
    assert "TMPDIR" in summary.reason


# --max-delete


@pytest.mark.parametrize(
    ("text", "extras", "of", "allowed"),
    [
        ("0", 0, 9, True), ("0", 1, 9, False), ("3", 3, 3, True), ("3", 4, 400, False),
        ("10%", 1, 10, True), ("10%", 2, 19, False), ("10%", 1, 9, False), ("0%", 0, 0, True), ("0%", 1, 10**9, False),
        ("100%", 7, 7, True), ("0.1%", 1, 1000, True), ("0.1%", 1, 999, False), ("33.3%", 333, 1000, True),
        ("33.3%", 334, 1000, False),
    ],
)  # fmt: skip
def test_max_delete_is_exact_at_its_boundary(text: str, extras: int, of: int, allowed: bool) -> None:
    assert MaxDelete.parse(text).allows(extras, of) is allowed


@pytest.mark.parametrize("text", ["", "x", "-1", "10 %", "101%", "1.5", "%", "1e3", "٣"])
def test_a_max_delete_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-delete"):
        MaxDelete.parse(text)


@pytest.mark.parametrize(
    ("limit", "extras", "refused"),
    [("10%", 1, False), ("10%", 2, True), ("1", 1, False), ("1", 2, True), ("0", 1, True)],
)
def test_one_more_than_max_delete_deletes_nothing_at_all(limit: str, extras: int, refused: bool) -> None:
    sim = Mirror(KEPT, {**KEPT, **{f"x{n}": b"" for n in range(extras)}}, max_delete=limit)
    summary = sim.go()
    assert (str(summary.state) == "refused") is refused
    assert len(sim.left()) == 9 + (extras if refused else 0)
    assert summary.files["deleted"] == (0 if refused else extras)
    if refused:
        assert f"{extras} of the {9 + extras} entries" in summary.reason
        assert f"--max-delete {limit}" in summary.reason
        assert not summary.resumable


def test_max_delete_is_judged_again_on_the_second_look() -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b""}, max_delete="1")
    sim.between = lambda: sim.write(sim.dest, "y", b"")
    summary = sim.go()
    assert (str(summary.state), sim.deletes) == ("refused", [])
    assert "2 of the 11 entries" in summary.reason
    assert sim.left() == [*KEPT, "x", "y"]


# when nothing is deleted


def test_without_the_option_nothing_is_deleted_or_listed_twice() -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b""}, delete=False)
    sim.between = lambda: pytest.fail("a second look")
    assert str(sim.go().state) == "done"
    assert sim.left() == [*KEPT, "x"]


def test_without_extras_there_is_no_second_look() -> None:
    sim = Mirror(KEPT, KEPT)
    sim.between = lambda: pytest.fail("a second look")
    assert str(sim.go().state) == "done"


def test_a_failed_file_keeps_everything_and_the_summary_says_so() -> None:
    sim = Mirror({**KEPT, "d/.hugesync-x": b"reserved", "new": b"n"}, {**KEPT, "x": b""})
    stack = sim.stack
    error = Fault(op="put", error=AccessDenied("no"), times=99)
    sim.stack = lambda store, faults: (  # type: ignore[method-assign]
        FaultyStore(stack(store, faults), [error]) if store is sim.dest and faults else stack(store, faults)
    )
    summary = sim.go()
    assert str(summary.state) == "done_with_errors"
    assert sim.left() == [*KEPT, "x"]
    assert summary.files["failed"] == 1
    assert summary.files["deleted"] == 0
    assert any("nothing was deleted" in note and "1 transfer failed" in note for note in summary.notes)


class Unreadable(Wrapper):
    """One entry of the listing could not be looked at."""

    def __init__(self, inner: Any, key: str) -> None:
        super().__init__(inner)
        self.key = key

    def list(self, *args: Any) -> Any:
        for e in self.inner.list(*args):
            yield Entry(e.key, Kind.ERROR, note="permission denied") if e.key == self.key else e


@pytest.mark.parametrize("which", ["first", "second"])
def test_an_entry_that_cannot_be_looked_at_keeps_everything(which: str) -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b"", "y": b""})
    stack = sim.stack
    if which == "second":
        sim.listed = lambda store: Unreadable(store, "y")
    else:
        sim.stack = lambda store, faults: (  # type: ignore[method-assign]
            Unreadable(stack(store, faults), "y") if store is sim.dest and not faults else stack(store, faults)
        )
    summary = sim.go()
    assert str(summary.state) == "done_with_errors"
    assert (sim.left(), sim.deletes) == ([*KEPT, "x", "y"], [])
    assert [(f.path, f.message) for f in summary.failures] == [
        ("y", "not deleted: at the destination: permission denied")
    ]
    assert any("nothing was deleted" in note for note in summary.notes)


def test_an_error_entry_of_the_source_that_no_filter_admits_keeps_everything_too() -> None:
    """What is a folder now and was listed as a file hides everything below it."""
    select = Selection(filters=(("+", "*/"), ("-", "bad")))
    sim = Mirror({**KEPT, "bad": b""}, {**KEPT, "x": b""}, select=select)
    stack = sim.stack
    sim.stack = lambda store, faults: (  # type: ignore[method-assign]
        Unreadable(stack(store, faults), "bad") if store is sim.source and not faults else stack(store, faults)
    )
    summary = sim.go()
    assert str(summary.state) == "done_with_errors"
    assert sim.left() == [*KEPT, "x"]


@pytest.mark.parametrize(("error", "state"), [(Transient("gone"), "stalled"), (AccessDenied("denied"), "usage")])
def test_a_second_look_that_breaks_midway_deletes_nothing(error: Exception, state: str) -> None:
    sim = Mirror(KEPT, {**{f"a{n}": b"" for n in range(20)}, **KEPT, **{f"x{n}": b"" for n in range(20)}})
    sim.listed = lambda store: FaultyStore(store, [Fault(op="list", mode="cut", at=35, error=error)])
    summary = sim.go()
    assert (str(summary.state), sim.deletes) == (state, [])
    assert len(sim.left()) == 49
    assert summary.scan_complete
    assert any("nothing was deleted" in note for note in summary.notes)


def empty(sim: Mirror) -> None:
    for key in KEPT:
        sim.source.delete(key, ANY, Token())


def test_an_empty_source_is_refused() -> None:
    sim = Mirror({}, KEPT)
    sim.spec = replace(sim.spec, source=replace(sim.spec.source, prefix=""))  # a bucket without objects
    summary = sim.go()
    assert str(summary.state) == "refused"
    assert "nothing was deleted" in summary.reason
    assert sim.left() == [*KEPT]


def test_a_selection_that_takes_nothing_is_refused() -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b""}, select=Selection(filters=(("-", "*"),)), delete_excluded=True)
    assert str(sim.go().state) == "refused"
    assert sim.left() == [*KEPT, "x"]


def test_a_source_that_was_emptied_between_the_passes_is_refused() -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b""})
    sim.between = lambda: empty(sim)
    summary = sim.go()
    assert (str(summary.state), sim.deletes) == ("refused", [])
    assert sim.left() == [*KEPT, "x"]


@pytest.mark.parametrize("later", ["fs-2 7", "fs-1 8", ""])
def test_a_source_that_is_another_folder_at_the_second_look_is_refused(
    later: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b""})
    device = ["fs-1 7"]
    monkeypatch.setattr(type(sim.source), "device", property(lambda self: device[0]))
    sim.between = lambda: device.__setitem__(0, later)
    summary = sim.go()
    assert (str(summary.state), sim.deletes) == ("refused", [])
    assert "another device" in summary.reason


@pytest.mark.parametrize(("now", "refused"), [("fs-1 7", False), ("fs-1 8", False), ("fs-2 7", True), ("", True)])
def test_last_times_device_is_remembered_and_a_folder_made_anew_on_it_is_accepted(
    now: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = Mirror(KEPT, KEPT)
    device = ["fs-1 7"]
    monkeypatch.setattr(type(sim.source), "device", property(lambda self: device[0]))
    assert str(sim.go().state) == "done"
    device[0] = now
    sim.write(sim.dest, "x", b"")
    if refused:
        with pytest.raises(AssertionError, match="no run came to an end"):
            sim.go()
        assert any("another device than last time" in line for line in sim.story)
    else:
        assert str(sim.go().state) == "done"
    assert ("x" in sim.left()) is refused


# what is deleted


def test_extras_go_with_the_version_that_was_seen_and_everything_else_stays() -> None:
    extras = {"a/x": b"1", "a/b/y": b"22", "l.rclonelink": b"to", "e/": b"", "z": b""}
    sim = Mirror(KEPT, {**KEPT, **extras})
    versions = {e.key: e.version for e in sim.dest.list(Token())}
    summary = sim.go()
    assert str(summary.state) == "done"
    assert sim.left() == [*KEPT]
    assert sorted(sim.deletes) == sorted((k, versions[k]) for k in extras)
    assert summary.files["deleted"] == 4, "a folder is no file"
    assert summary.requests["delete"] == 5


def test_nested_folders_go_deepest_first(tmp_path: Path) -> None:
    deep = {"a/b/c/d/1": b"", "a/b/2": b"", "a/k": b"kept", "e/": b"", "e/f/": b""}
    sim = Mirror({"a/k": b"kept"}, deep, at=tmp_path / "dest")
    summary = sim.go()
    assert str(summary.state) == "done"
    assert (sim.left(), sim.folders()) == (["a/k"], ["a/"])
    gone = [key for key, _ in sim.deletes if key.endswith("/")]
    assert gone == ["a/b/c/d/", "a/b/c/", "a/b/", "e/f/", "e/"]
    assert [k for k, _ in sim.deletes[:2]] == ["a/b/2", "a/b/c/d/1"], "files first"


def test_a_folder_that_holds_what_a_filter_leaves_out_is_no_extra(tmp_path: Path) -> None:
    select = Selection(filters=(("-", "cache/"),))
    sim = Mirror(KEPT, {**KEPT, "a/x": b"", "a/cache/y": b""}, at=tmp_path / "dest", select=select)
    summary = sim.go()
    assert str(summary.state) == "done"
    assert sim.left() == ["a/cache/y", *KEPT]
    assert [key for key, _ in sim.deletes] == ["a/x"]
    assert not summary.notes


def test_a_folder_in_which_something_appeared_stays_and_a_note_says_so(tmp_path: Path) -> None:
    sim = Mirror(KEPT, {**KEPT, "a/x": b""}, at=tmp_path / "dest")
    sim.before_deleting = lambda: (tmp_path / "dest" / "a" / "new").write_bytes(b"")
    summary = sim.go()
    assert str(summary.state) == "done"
    assert sim.left() == ["a/new", *KEPT]
    assert any("something is in it" in note for note in summary.notes)


def test_what_is_excluded_goes_only_with_delete_excluded() -> None:
    dest = {**KEPT, "c/y": b"", "x.log": b"", "x.txt": b""}
    select = Selection(filters=(("-", "*.log"), ("-", "c/")))
    kept, gone = Mirror(KEPT, dest, select=select), Mirror(KEPT, dest, select=select, delete_excluded=True)
    assert (kept.go().files["deleted"], kept.left()) == (1, ["c/y", *KEPT, "x.log"])
    assert (gone.go().files["deleted"], gone.left()) == (3, [*KEPT])


def test_a_source_entry_that_appeared_meanwhile_is_kept() -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b"", "y": b""})
    sim.before_deleting = lambda: sim.write(sim.source, "x", b"again")
    summary = sim.go()
    assert str(summary.state) == "done"
    assert sim.left() == [*KEPT, "x"]
    assert any("the source has it again" in note for note in summary.notes)


def test_a_version_that_changed_since_is_a_conflict_and_stays() -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b"", "y": b""})
    sim.before_deleting = lambda: sim.write(sim.dest, "x", b"a rival's")
    summary = sim.go()
    assert str(summary.state) == "done_with_errors"
    assert sim.left() == [*KEPT, "x"]
    assert sim.dest_bucket.get("dst/x").body == b"a rival's"
    assert (summary.conflicts, summary.files["deleted"]) == (1, 1)
    assert [(f.path, str(f.failure_class)) for f in summary.failures] == [("x", "conflict")]


def test_the_same_on_a_filesystem(tmp_path: Path) -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b"", "y": b""}, at=tmp_path / "dest")
    sim.before_deleting = lambda: (tmp_path / "dest" / "x").write_bytes(b"a rival's")
    summary = sim.go()
    assert (summary.conflicts, summary.files["deleted"]) == (1, 1)
    assert (tmp_path / "dest" / "x").read_bytes() == b"a rival's"


def test_a_folder_that_became_a_symlink_is_not_passed_through(tmp_path: Path) -> None:
    sim = Mirror(KEPT, {**KEPT, "a/x": b"extra"}, at=tmp_path / "dest")
    outside = tmp_path / "outside"

    def swap() -> None:
        if not outside.exists():
            os.rename(tmp_path / "dest" / "a", outside)
            (tmp_path / "dest" / "a").symlink_to(outside)

    sim.before_deleting = swap
    summary = sim.go()
    assert (outside / "x").read_bytes() == b"extra"
    assert str(summary.state) == "done_with_errors"
    assert "symlink" in summary.failures[0].message


def test_fail_on_conflict_stops_the_job_at_a_conflict_of_a_delete() -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b""}, on_conflict="fail")
    sim.before_deleting = lambda: sim.write(sim.dest, "x", b"a rival's")
    assert str(sim.go().state) == "conflict"


def test_where_a_store_cannot_make_a_delete_conditional_it_is_looked_at_first_and_the_summary_says_so() -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b"", "y": b""}, limits=replace(LIMITS, delete_conditional=False))
    sim.before_deleting = lambda: sim.write(sim.dest, "x", b"a rival's")
    summary = sim.go()
    assert sim.left() == [*KEPT, "x"]
    assert any(note.startswith("deletes: best effort") for note in summary.notes)


def test_a_signature_goes_with_its_file_and_is_never_an_extra_alone() -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b"", "user.hssig": b""}, max_delete="2")
    for key in ("x.hssig", "k1.hssig", "orphan.hssig"):
        sim.dest.put(key, b"sig", SIGNATURE, None, Token())
    summary = sim.go()
    assert str(summary.state) == "done"
    assert sim.left() == ["k0", "k1", "k1.hssig", *[f"k{n}" for n in range(2, 9)], "orphan.hssig"]
    assert summary.files["deleted"] == 2


def test_a_file_of_such_a_name_goes_though_a_signature_of_ours_is_called_so_at_the_source() -> None:
    sim = Mirror(KEPT, {**KEPT, "k1.hssig": b"the user's"})
    sim.source.put("k1.hssig", b"sig", SIGNATURE, None, Token())
    assert sim.go().files["deleted"] == 1
    assert sim.left() == [*KEPT]


def test_signatures_elsewhere_go_with_their_files_too() -> None:
    sim = Mirror(KEPT, {**KEPT, "x": b""}, sidecar_prefix="sig/")
    sim.dest.put("sig/x.hssig", b"sig", SIGNATURE, None, Token())
    sim.go()
    assert sim.left() == [*KEPT]


def test_what_is_ours_is_neither_counted_nor_deleted() -> None:
    sim = Mirror(KEPT, KEPT, max_delete="0")
    sim.dest_bucket.put("dst/.hugesync/f.0.upload", b"", Meta(), None)
    assert str(sim.go().state) == "done"
    assert "dst/.hugesync/f.0.upload" in sim.dest_bucket.dump()


# kills, lost messages, lost replies


@pytest.mark.parametrize("kind", ["lossy", "deadly", "flaky", "flushed", "crashing"])
def test_any_schedule_ends_with_the_same_mirror(kind: str) -> None:
    extras = {f"{'d/' * (n % 3)}x{n}": b"x" for n in range(40)}
    for seed in range(scaled(200, 12)):
        sim = Mirror(KEPT, {**extras, "k1": b"kept"}, KINDS[kind], seed, batch=3)
        summary = sim.go()
        assert str(summary.state) == "done", (kind, seed, summary)
        assert sim.left() == [*KEPT], (kind, seed)
        assert summary.files["deleted"] <= 40
        if not (sim.crashes or sim.restarts or sim.flushes):
            assert summary.files["deleted"] == 40, (kind, seed)


def test_a_job_that_died_in_the_middle_of_its_deletes_looks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Mirror(KEPT, {**KEPT, **{f"x{n:03}": b"x" for n in range(300)}}, batch=20, jobs=2)
    looks: list[int] = []
    sim.between = lambda: looks.append(len(sim.left()))
    on_event, events = Deletes.on_event, itertools.count()

    def die(*args: Any) -> None:
        if next(events) == 5:
            sim.crash()
        on_event(*args)

    monkeypatch.setattr(Deletes, "on_event", die)
    summary = sim.go()
    assert str(summary.state) == "done"
    assert sim.left() == [*KEPT]
    assert len(looks) == 2
    assert 9 < looks[1] < looks[0] == 309


@pytest.mark.parametrize("limit", ["1", "2"])
def test_a_resumed_job_is_judged_on_all_that_is_there(limit: str) -> None:
    """Its first pass begins at the checkpoint and sees next to nothing."""
    sim = Mirror(KEPT, {**KEPT, "x": b"", "y": b""}, max_delete=limit)
    first = [True]

    def die() -> None:
        if first and first.pop():
            raise _killed(sim)

    sim.between = die
    if limit == "1":
        assert str(sim.go().state) == "refused"
    else:
        assert str(sim.go().state) == "done"
        assert sim.left() == [*KEPT]


def _killed(sim: Mirror) -> BaseException:
    from simulated import Killed

    sim.crashes += 1
    return Killed()


def test_a_poisoned_task_is_cut_into_single_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    from hugesync_tasks.stages.remove import RemoveRun
    from simulated import Killed

    sim = Mirror(KEPT, {**KEPT, "x": b"", "y": b"", "z": b""}, KINDS["calm"], retries=2)
    remove: Callable[..., Any] = RemoveRun._remove

    def poisoned(self: Any, removal: Removal) -> Any:
        if removal.key == "y":
            raise Killed
        return remove(self, removal)

    monkeypatch.setattr(RemoveRun, "_remove", poisoned)
    summary = sim.go()
    assert sim.left() == [*KEPT, "y"]
    assert [f.path for f in summary.failures] == ["y"]
    assert summary.files["deleted"] == 2
