"""``--on-conflict keep-both``: the rival's bytes stay under the name, ours lie beside them under a dated one, and nothing that
was there is written over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hugesync_producer.replan import Replan, refusal
from hugesync_producer.window import MORE_NOTES, NOTES_KEPT, Counters
from hugesync_tasks.budget import Budget
from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind, Meta, Outcome, Transfer
from hugesync_tasks.names import conflict_key
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.stages.commit import commit
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.execute import BatchRun
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.faults import Fault
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.token import Token
from test_stages import BODY, PART, Bench, listed, on_call, planned, send

WHEN = 1_795_648_500 * 10**9  # 2026-11-25 23:15:00 UTC
DATED = "conflict-20261125T231500Z"


@pytest.mark.parametrize(
    ("key", "beside"),
    [
        ("name.ext", f"name.{DATED}.ext"),
        ("a/b.c/name", f"a/b.c/name.{DATED}"),
        ("archive.tar.gz", f"archive.tar.{DATED}.gz"),
        (".bashrc", f".bashrc.{DATED}"),
        ("name.", f"name.{DATED}."),
        ("link" + LINK_SUFFIX, f"link.{DATED}{LINK_SUFFIX}"),
        ("a.very-long-extension", f"a.very-long-extension.{DATED}"),
    ],
)
def test_the_date_stands_before_the_extension(key: str, beside: str) -> None:
    assert conflict_key(key, WHEN) == beside
    assert conflict_key(key, WHEN, 2) == beside.replace("Z", "Z-2")


@pytest.mark.parametrize("name", ["é" * 120 + ".txt", "x" * 255, "x" * 240 + LINK_SUFFIX])
def test_a_name_never_outgrows_what_a_folder_holds(name: str) -> None:
    beside = conflict_key(f"folder/{name}", WHEN, 99).removeprefix("folder/")
    assert len(beside.encode()) <= 255
    assert beside.endswith(LINK_SUFFIX) == name.endswith(LINK_SUFFIX)
    assert "Z-99" in beside


def everything(bench: Bench) -> dict[str, bytes]:
    return {key.removeprefix("d/"): bench.bucket.get(key).body for key in bench.bucket.dump() if key.startswith("d/")}


def contested(one_bucket: bool = False, **options: Any) -> tuple[Bench, Transfer, str]:
    """A file that a rival has written meanwhile, and the name that ours is to get."""
    bench = Bench(one_bucket, on_conflict="keep-both", **options)
    transfer = listed(bench.put("f.txt", b"ours"))
    rival = bench.put("f.txt", b"theirs", bench.dest, mtime=5)
    return bench, transfer, conflict_key("f.txt", rival.modified_ns or 0)


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("one_bucket", [False, True])
def test_both_versions_are_kept_and_the_summary_says_where(one_bucket: bool, retries: int) -> None:
    bench, transfer, beside = contested(one_bucket, conflict_retries=retries)
    outcome = bench.one(transfer)
    assert (outcome.state, outcome.conflicts) == ("done", 1)
    assert outcome.notes == (f"f.txt: somebody else's version stays, ours is {beside}",)
    assert everything(bench) == {"f.txt": b"theirs", beside: b"ours"}
    assert bench.bucket.get("d/" + beside).meta.mtime_ns == 10**18


@pytest.mark.parametrize("one_bucket", [False, True])
def test_another_attempt_at_the_same_conflict_writes_no_third_version(one_bucket: bool) -> None:
    bench, transfer, _ = contested(one_bucket)
    first = bench.one(transfer)
    before = bench.bucket.dump()
    again = bench.one(transfer)
    assert (again.state, again.conflicts, again.notes) == ("done", 1, first.notes)
    assert bench.bucket.dump() == before


@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_lost_reply_of_the_second_put_makes_no_third_version(mode: str) -> None:
    bench, transfer, beside = contested()
    on_call(bench.faulty, "head", lambda: bench.faulty.arm(Fault(op="put", mode=mode)))
    assert bench.one(transfer).state == "done"
    assert everything(bench) == {"f.txt": b"theirs", beside: b"ours"}


def test_a_name_that_is_taken_is_never_written_over_also_when_it_is_taken_at_the_last_moment() -> None:
    bench, transfer, beside = contested()
    bench.put(beside, b"a third's", bench.dest, mtime=7)
    second = beside.replace("Z.", "Z-2.")
    strike, struck = bench.faulty._strike, []

    def taken(name: str, key: str) -> Any:
        if (name, key) == ("put", second) and not struck:
            struck.append(key)
            bench.dest.put(second, b"a fourth's", Meta(mtime_ns=8), ANY, Token())
        return strike(name, key)

    bench.faulty._strike = taken  # type: ignore[method-assign]
    outcome = bench.one(transfer)
    third = beside.replace("Z.", "Z-3.")
    assert struck
    assert (outcome.state, outcome.conflicts) == ("done", 1), outcome
    assert everything(bench) == {"f.txt": b"theirs", beside: b"a third's", second: b"a fourth's", third: b"ours"}


def test_what_the_rival_wrote_is_no_second_version_where_it_is_the_same() -> None:
    bench = Bench(on_conflict="keep-both")
    entry = bench.put("f", b"same")
    bench.put("f", b"same", bench.dest)
    assert (outcome := bench.one(listed(entry))).state == "skipped"
    assert outcome.conflicts == 0
    assert everything(bench) == {"f": b"same"}


def test_a_rival_who_deleted_the_file_has_no_version_to_keep() -> None:
    bench = Bench(on_conflict="keep-both")
    old = bench.put("f", b"old", bench.dest, mtime=5)
    transfer = listed(bench.put("f", b"ours"), old)
    bench.dest.delete("f", ANY, Token())
    assert bench.one(transfer).conflicts == 1
    assert everything(bench) == {"f": b"ours"}


def test_in_a_batch_each_file_has_its_own_conflict() -> None:
    bench = Bench(on_conflict="keep-both")
    transfers = [listed(bench.put(f"f{n}", b"ours%d" % n)) for n in range(5)]
    for n in (1, 3):
        bench.put(f"f{n}", b"theirs", bench.dest, mtime=5)
    outcomes = bench.run(*transfers)
    assert [(o.state, o.conflicts) for o in outcomes] == [("done", n % 2) for n in range(5)]
    held = everything(bench)
    assert len(held) == 7
    assert {k: v for k, v in held.items() if "conflict" not in k} == {
        "f0": b"ours0", "f1": b"theirs", "f2": b"ours2", "f3": b"theirs", "f4": b"ours4"
    }  # fmt: skip


class Folders:
    """From folder to folder."""

    def __init__(self, tmp_path: Path) -> None:
        self.src, self.dst = tmp_path / "src", tmp_path / "dst"
        self.src.mkdir()
        self.dst.mkdir()
        spec = Spec("j", Location("file"), Location("file"), options=Options(on_conflict="keep-both", part_size=PART))
        self.job = JobContext(spec, LocalStore(self.src), LocalStore(self.dst))

    def entry(self, key: str) -> Entry:
        return next(e for e in self.job.source.list(Token()) if e.key == key)

    def one(self, transfer: Transfer) -> Outcome:
        reported: dict[int, Outcome] = {}
        BatchRun(self.job, Token(), reported.update, Budget(1 << 30)).run({0: transfer})
        return reported[0]

    def held(self) -> dict[str, str]:
        return {p.name: os.readlink(p) if p.is_symlink() else p.read_text() for p in self.dst.iterdir()}


def test_in_a_folder_the_rivals_file_keeps_its_name_and_inode(tmp_path: Path) -> None:
    there = Folders(tmp_path)
    (there.src / "f.txt").write_text("ours")
    transfer = listed(there.entry("f.txt"))
    (there.dst / "f.txt").write_text("theirs")
    os.utime(there.dst / "f.txt", ns=(WHEN, WHEN))
    inode = (there.dst / "f.txt").stat().st_ino

    outcomes = [there.one(transfer) for _ in range(2)]

    assert [(o.state, o.conflicts) for o in outcomes] == [("done", 1)] * 2
    assert there.held() == {"f.txt": "theirs", f"f.{DATED}.txt": "ours"}
    assert (there.dst / "f.txt").stat().st_ino == inode


def test_links_are_kept_both_too(tmp_path: Path) -> None:
    there = Folders(tmp_path)
    (there.src / "l").symlink_to("ours")
    transfer = listed(there.entry("l" + LINK_SUFFIX))
    (there.dst / "l").symlink_to("theirs")
    os.utime(there.dst / "l", ns=(WHEN, WHEN), follow_symlinks=False)
    assert there.one(transfer).state == "done"
    assert there.held() == {"l": "theirs", f"l.{DATED}": "ours"}


# large files: the commit meets the rival, the coordinator plans the file anew beside it


def replanned(bench: Bench, transfer: Transfer, generation: str, conflict: bool = True) -> Outcome | Transfer:
    replan: Replan[str] = Replan(bench.job())
    replan.ask("it", transfer, generation, conflict)
    while not (answers := list(replan.answers())):
        pass
    return answers[0][1]


def met_at_the_commit(one_bucket: bool) -> tuple[Bench, Transfer, Transfer]:
    """The file as it was planned, and as it is planned after its commit met a rival."""
    bench = Bench(one_bucket, on_conflict="keep-both", conflict_retries=0)
    transfer = planned(bench)
    large, parts = send(bench, transfer)
    bench.put("big", b"theirs", bench.dest, mtime=5)
    outcome = commit(bench.job(), large, parts, bench.token)
    assert (outcome.state, outcome.reason) == ("replan", "conflict")
    assert refusal(outcome, 0, bench.options) is None
    beside = replanned(bench, transfer, large.upload.generation)
    assert isinstance(beside, Transfer)
    return bench, transfer, beside


@pytest.mark.parametrize("mode", ["", "before", "after"])
@pytest.mark.parametrize("one_bucket", [False, True])
def test_a_large_file_goes_beside_in_parts(one_bucket: bool, mode: str) -> None:
    bench, transfer, beside = met_at_the_commit(one_bucket)
    assert Transfer.unwire(beside.wire()) == beside
    assert (beside.key, beside.expected) == ("big", None)
    large, parts = send(bench, beside)
    if mode:
        bench.faulty.arm(Fault(op="complete", mode=mode))
    outcome = commit(bench.job(), large, parts, bench.token)
    assert outcome.state == "done"
    assert outcome.notes[0] == f"big: somebody else's version stays, ours is {beside.target}"
    assert everything(bench) == {"big": b"theirs", beside.target: BODY}
    assert bench.left() == ([], 0)
    again = replanned(bench, transfer, "")
    assert isinstance(again, Outcome), "what an attempt that nobody heard of wrote is found"
    assert (again.state, again.notes) == ("done", outcome.notes[:1])


def test_a_large_file_whose_second_name_is_taken_gets_a_third() -> None:
    bench, _, beside = met_at_the_commit(False)
    large, parts = send(bench, beside)
    bench.put(beside.target, b"a third's", bench.dest, mtime=7)
    outcome = commit(bench.job(), large, parts, bench.token)
    assert (outcome.state, outcome.reason) == ("replan", "conflict")
    third = replanned(bench, beside, large.upload.generation)
    assert isinstance(third, Transfer)
    large, parts = send(bench, third)
    assert commit(bench.job(), large, parts, bench.token).state == "done"
    assert everything(bench) == {"big": b"theirs", beside.target: b"a third's", third.target: BODY}


def test_a_file_that_goes_beside_stays_beside_whatever_else_happens_to_it() -> None:
    bench, _, beside = met_at_the_commit(False)
    again = replanned(bench, beside, "", conflict=False)
    assert again == beside
    bench.dest.delete("big", ANY, Token())
    back = replanned(bench, beside, "", conflict=False)
    assert isinstance(back, Transfer)
    assert (back.target, back.expected) == ("big", None), "nothing is to be kept any more"


def test_notes_that_name_files_are_bounded() -> None:
    counters = Counters()
    for n in range(2 * NOTES_KEPT):
        counters.extras(Outcome("done", notes=(f"f{n}: kept",)))
    total = Counters()
    for _ in range(2):
        total.add(counters)
    assert len(total.notes) == NOTES_KEPT + 1
    assert total.notes[MORE_NOTES] == 2 * NOTES_KEPT
    assert sum(total.notes.values()) == 4 * NOTES_KEPT


def test_kinds_are_what_this_is_about() -> None:
    """A folder holds nobody's data: it is never kept twice."""
    bench = Bench(on_conflict="keep-both")
    bench.dest.put("d/", b"", Meta(), ANY, Token())
    outcome = bench.one(Transfer(Entry("d/", Kind.DIR)))
    assert outcome.state in ("done", "skipped")
    assert list(everything(bench)) == ["d/"]
