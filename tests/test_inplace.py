"""``--inplace``: what changed is written into the file that is there; nothing of it changes before the whole is proven."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from conftest import Bucket
from deltas import KIB, MIB, inserted, overwritten, submitting, write
from hugesync_tasks.errors import Cancelled, Corrupted, Permanent, Unsupported, VersionMismatch
from hugesync_tasks.model import Meta, Upload
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.token import Token
from midway import temporaries
from processes import Place, Running, wait_until
from scale import scaled
from submit import Submit, assert_moved_nothing

LOW = ("--delta-threshold", "6MiB")
SIZE = 40 * MIB + 777
STEP = 64 * KIB


class Change:
    """A file of ten steps, and an upload that has what changes: the third step, and a new end."""

    def __init__(self, folder: Path, end: int = 3 * STEP // 2) -> None:
        self.path = folder / "file"
        self.old = os.urandom(10 * STEP)
        self.path.write_bytes(self.old)
        new = bytearray(self.old[: 9 * STEP] + os.urandom(max(end, 0)))[: 9 * STEP + end]
        new[2 * STEP : 3 * STEP] = bytes(STEP)  # zeros, which the temporary has as a hole
        self.new = bytes(new)
        self.store = LocalStore(folder)
        head = self.store.head("file", Token())
        assert head is not None
        self.version = head.entry.version
        self.kept = [(0, 2 * STEP), (3 * STEP, min(9 * STEP, len(self.new)) - 3 * STEP)]
        self.upload = self.store.create_upload("file", len(self.new), 16 * STEP, Meta(generation="a" * 32), Token())
        changed = [(2 * STEP, 3 * STEP), (9 * STEP, len(self.new))]
        pieces = [(start, self.new[start:end]) for start, end in changed if end > start]
        self.store.put_pieces(self.upload, 1, pieces, Token())

    def apply(self, token: Token | None = None, meta: Meta | None = None) -> str:
        crc64 = crc64nvme(self.new)
        return self.store.overwrite(
            self.upload, self.kept, meta or Meta(), self.version, crc64, token or Token()
        ).version

    def temporary(self) -> Path:
        return self.path.with_name(self.upload.id)


@pytest.mark.parametrize("end", [3 * STEP // 2, STEP, 0, -STEP // 2])
def test_a_file_keeps_its_inode_and_gets_its_bytes_whether_it_grows_or_shrinks(tmp_path: Path, end: int) -> None:
    change = Change(tmp_path, end)
    inode = change.path.stat().st_ino
    version = change.apply(meta=Meta(mtime_ns=5 * 10**9, mode=0o640))
    assert change.path.read_bytes() == change.new
    st = change.path.stat()
    assert (st.st_ino, st.st_mtime_ns, st.st_mode & 0o777) == (inode, 5 * 10**9, 0o640)
    found = change.store.head("file", Token())
    assert found is not None
    assert found.entry.version == version
    assert temporaries(tmp_path) == []


def test_the_temporary_takes_no_more_room_than_what_changes(tmp_path: Path) -> None:
    change = Change(tmp_path)
    assert change.temporary().stat().st_size == len(change.new)
    assert change.temporary().stat().st_blocks * 512 <= 2 * STEP


def test_nothing_is_touched_where_file_and_upload_are_not_the_whole(tmp_path: Path) -> None:
    change = Change(tmp_path)
    change.store.put_pieces(change.upload, 1, [(9 * STEP, b"x")], Token())
    with pytest.raises(Corrupted):
        change.apply()
    assert change.path.read_bytes() == change.old


def test_a_rivals_version_stays_as_it_is(tmp_path: Path) -> None:
    change = Change(tmp_path)
    change.path.write_bytes(b"the rival's")
    with pytest.raises(VersionMismatch):
        change.apply()
    assert change.path.read_bytes() == b"the rival's"
    change.path.unlink()
    with pytest.raises(VersionMismatch):
        change.apply()
    change.path.symlink_to("/etc/passwd")
    with pytest.raises((VersionMismatch, Permanent)):
        change.apply()


class Rival(Token):
    """Writes into the file while its bytes are being proven."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def moved(self, n: int) -> None:
        if n:
            self._act()


def test_a_rival_who_writes_while_the_bytes_are_proven_is_seen(tmp_path: Path) -> None:
    change = Change(tmp_path)
    with pytest.raises(VersionMismatch):
        change.apply(Rival(lambda: os.truncate(change.path, 10 * STEP)))
    assert change.path.read_bytes() == change.old


class Killed(Token):
    """Ends the call at its ``n``-th sign of life, as a SIGKILL would: what was written before stays."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.left = n

    def moved(self, n: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cancelled("killed")


def test_after_a_kill_at_any_instant_a_repeat_makes_the_whole(tmp_path: Path) -> None:
    halves = 0
    for n in range(100):
        (tmp_path / str(n)).mkdir()
        change = Change(tmp_path / str(n))
        try:
            change.apply(Killed(n))
        except Cancelled:
            halves += change.path.read_bytes() not in (change.old, change.new)
            change.apply()
            assert change.path.read_bytes() == change.new
            continue
        break
    else:
        raise AssertionError("it never came through")
    assert halves >= 1, "no kill fell between two writes"


def test_a_mark_is_of_one_file_and_one_upload(tmp_path: Path) -> None:
    """Ours was begun, then somebody put another file in its place: that one is a rival's again."""
    change = Change(tmp_path)
    for n in range(100):  # into the middle of the writing
        with pytest.raises(Cancelled):
            change.apply(Killed(n))
        if change.path.read_bytes() != change.old:
            break
    (tmp_path / "other").write_bytes(change.old)
    (tmp_path / "other").replace(change.path)
    with pytest.raises(VersionMismatch):
        change.apply()
    assert change.path.read_bytes() == change.old


def test_only_stretches_that_are_there_can_be_kept_and_only_pieces_of_the_part_be_put(tmp_path: Path) -> None:
    change = Change(tmp_path)
    for kept in ([(0, 11 * STEP)], [(5, 10), (0, 3)], [(0, -1)]):
        change.kept = kept
        with pytest.raises(Permanent):
            change.apply()
    two = replace(change.upload, part_size=8 * STEP)
    for at, body in ((0, b"x"), (8 * STEP - 1, b"xx")):
        with pytest.raises(Permanent):
            change.store.put_pieces(two, 2, [(at, body)], Token())


def test_a_store_of_objects_says_that_it_cannot() -> None:
    store, upload = MemoryStore(), Upload("k", "u", "g", 1, 1)
    assert not store.limits.in_place
    with pytest.raises(Unsupported):
        store.put_pieces(upload, 1, [], Token())
    with pytest.raises(Unsupported):
        store.overwrite(upload, [], Meta(), "v", 0, Token())


# the command


@pytest.mark.full
def test_a_download_changes_the_file_where_it_stands(tmp_path: Path, s3_bucket: Bucket) -> None:
    submit, there = submitting(tmp_path / "us", s3_bucket), f"s3://{s3_bucket.bucket}/t"
    here, back = tmp_path / "here", tmp_path / "back"
    write(here / "large", SIZE)
    assert submit(here, there, *LOW).code == 0
    assert submit(there, back).code == 0
    os.link(back / "large", tmp_path / "second name")
    edits: list[Callable[[], object]] = [
        lambda: inserted(here / "large", 20 * MIB, 1000, 777),
        lambda: os.truncate(here / "large", 30 * MIB),
        lambda: overwritten(here / "large", 3),
        lambda: inserted(here / "large", 0, 100, 0),
    ]
    for edit in edits[: scaled(len(edits), 2)]:
        edit()
        assert submit(here, there, *LOW).json["transfers"]["delta"] == 1
        ran = submit(there, back, *LOW, "--inplace", "-v")
        assert (ran.code, ran.json["transfers"]["delta"], ran.json["verified"]) == (0, 1, 1), (ran.json, ran.err)
        assert ran.bytes["received"] <= 5 * STEP
        assert "written in place" in ran.err
        assert (tmp_path / "second name").read_bytes() == (here / "large").read_bytes()
        assert (back / "large").stat().st_nlink == 2
        assert temporaries(back) == []
        assert_moved_nothing(submit(there, back, *LOW, "--inplace"))
    overwritten(here / "large", 1, seed=9)
    assert submit(here, there, *LOW).code == submit(there, back, *LOW).code == 0
    assert (back / "large").stat().st_nlink == 1, "without the option a new file takes its place"


def test_between_folders_it_needs_the_delta_and_changes_the_file_where_it_stands(tmp_path: Path) -> None:
    submit, here, there = Submit(tmp_path / "us"), tmp_path / "here", tmp_path / "there"
    write(here / "large", SIZE)
    assert submit(here, there).code == 0
    inode = (there / "large").stat().st_ino
    inserted(here / "large", 10 * MIB, 5)
    ran = submit(here, there, *LOW, "--inplace")
    assert ran.code == 2
    assert "--no-whole-file" in ran.err
    ran = submit(here, there, *LOW, "--inplace", "--no-whole-file")
    assert (ran.code, ran.json["transfers"]["delta"]) == (0, 1), (ran.json, ran.err)
    assert (there / "large").stat().st_ino == inode
    assert (there / "large").read_bytes() == (here / "large").read_bytes()


def test_where_it_could_have_no_effect_it_is_refused_by_name(tmp_path: Path, s3_bucket: Bucket) -> None:
    submit, here = submitting(tmp_path / "us", s3_bucket), tmp_path / "here"
    write(here / "small", 5)
    for args in ((f"s3://{s3_bucket.bucket}/t",), (f"{tmp_path}/there", "-W")):
        ran = submit(here, *args, "--inplace")
        assert ran.code == 2
        assert "--inplace" in ran.err


@pytest.mark.full
def test_killed_anywhere_the_same_command_makes_the_whole(place: Place, s3_bucket: Bucket, tmp_path: Path) -> None:
    """The whole group is killed as soon as the file itself begins to change, or where it was too quick, when it ends."""
    here, back, there = tmp_path / "here", tmp_path / "back", f"s3://{s3_bucket.bucket}/t"
    write(here / "large", SIZE)
    assert place.submit(here, there, *LOW).finish().code == 0
    assert place.submit(there, back).finish().code == 0
    for seed in range(scaled(5)):
        overwritten(here / "large", 200, seed=seed)
        assert place.submit(here, there, *LOW).finish().code == 0
        before = (back / "large").stat().st_mtime_ns
        run = place.submit(there, back, *LOW, "--inplace")

        def begun(run: Running = run, before: int = before) -> bool:
            return run.process.poll() is not None or (back / "large").stat().st_mtime_ns != before

        wait_until(begun, 60, "the file to change", every=0.0005)
        place.kill_all()
        ran = place.submit(there, back, *LOW, "--inplace").finish()
        assert ran.code == 0, ran
        assert (back / "large").read_bytes() == (here / "large").read_bytes()
        assert temporaries(back) == []
