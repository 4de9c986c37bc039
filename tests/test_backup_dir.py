"""``--backup-dir``: what is overwritten or deleted is kept first, whatever the way, whoever writes in between."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaos import KINDS
from hugesync_tasks.errors import BadName, NeedsPerson
from hugesync_tasks.model import Meta
from hugesync_tasks.spec import Selection
from hugesync_tasks.stores import local_keep
from hugesync_tasks.stores.backup import BackingUp
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.token import Token
from mirror import Mirror
from scale import scaled
from world import PART

LARGE = bytes(range(256)) * (3 * PART // 256) + b"tail"
OLD_LARGE = LARGE[::-1] + b"longer"
SOURCE = {"a/small": b"new", "large": LARGE, "same": b"same", "l.rclonelink": b"new target"}
DEST = {"a/small": b"older", "large": OLD_LARGE, "same": b"same", "l.rclonelink": b"old", "x/y": b"extra", "z/": b""}
BACKUP = {"a/small": b"older", "large": OLD_LARGE, "l.rclonelink": b"old", "x/y": b"extra"}


@pytest.fixture(params=["a store", "a folder"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "dest" if request.param == "a folder" else None


def holds(sim: Mirror, below: str = "") -> dict[str, bytes]:
    """Files and links at the destination, by key below ``below``."""
    found = {}
    for e in sim.dest.list(Token()):
        if e.key.startswith(below) and not e.key.endswith("/"):
            with sim.dest.open(e.key, "", Token()) as reader:
                found[e.key.removeprefix(below)] = b"".join(reader)
    return found


def test_what_is_overwritten_and_deleted_lies_below_the_folder_afterwards(at: Path | None) -> None:
    sim = Mirror(SOURCE, DEST, at=at, backup_dir="old/")
    summary = sim.go()
    assert str(summary.state) == "done", summary
    assert holds(sim, "old/") == BACKUP
    assert {k: v for k, v in holds(sim).items() if not k.startswith("old/")} == SOURCE
    assert (summary.files["deleted"], summary.conflicts) == (1, 0)


def test_without_delete_it_keeps_what_is_overwritten(at: Path | None) -> None:
    sim = Mirror(SOURCE, DEST, at=at, backup_dir="old/", delete=False)
    assert str(sim.go().state) == "done"
    assert holds(sim, "old/") == {k: v for k, v in BACKUP.items() if k != "x/y"}
    assert holds(sim)["x/y"] == b"extra"


def test_the_folder_is_neither_compared_nor_an_extra_nor_counted(at: Path | None) -> None:
    sim = Mirror(SOURCE, {**SOURCE, "deep/old/of": b"before"}, at=at, backup_dir="deep/old/", max_delete="0")
    sim.between = lambda: pytest.fail("there are extras")
    assert str(sim.go().state) == "done"
    assert holds(sim)["deep/old/of"] == b"before"


def test_nothing_of_the_source_is_written_below_the_folder(at: Path | None) -> None:
    sim = Mirror({**SOURCE, "old/x": b"the source's"}, DEST, at=at, backup_dir="old/")
    summary = sim.go()
    assert str(summary.state) == "done_with_errors"
    assert [f.path for f in summary.failures] == ["old/x"]
    assert "--backup-dir old/" in summary.failures[0].message
    assert holds(sim)["x/y"] == b"extra", "a failed file keeps every extra"
    assert "x" not in holds(sim, "old/")


def test_a_second_run_keeps_beside_what_an_earlier_one_kept(at: Path | None) -> None:
    Mirror({"k": b"22"}, {"k": b"1"}, at=at, backup_dir="old/").go()
    second = Mirror({"k": b"three"}, {} if at else {"k": b"22", "old/k": b"1"}, at=at, backup_dir="old/")
    second.go()
    kept = holds(second, "old/")
    assert kept["k"] == b"1"
    assert sorted(kept.values()) == [b"1", b"22"]


def test_a_signature_of_ours_is_not_kept() -> None:
    sim = Mirror(SOURCE, {**SOURCE, "x": b"extra"}, backup_dir="old/")
    sim.dest.put("x.hssig", b"sig", Meta(sidecar=True), None, Token())
    sim.go()
    assert set(holds(sim)) == {*SOURCE, "old/x"}


def test_what_a_rival_wrote_after_it_was_kept_is_never_overwritten_unseen(at: Path | None) -> None:
    sim = Mirror({"k": b"ours"}, {"k": b"old"}, at=at, backup_dir="old/", on_conflict="skip")
    keep: Callable[..., str] = type(sim.dest).keep

    class Meddled(type(sim.dest)):  # type: ignore[misc]
        def keep(self, *args: Any) -> str:
            answer = keep(self, *args)
            sim.write(sim.dest, "k", b"a rival's")
            return answer

    sim.dest.__class__ = Meddled
    summary = sim.go()
    assert (holds(sim)["k"], summary.conflicts) == (b"a rival's", 1)
    assert holds(sim, "old/") == {"k": b"old"}


@pytest.mark.parametrize("kind", ["deadly", "flaky", "crashing", "contested"])
def test_no_version_that_ever_was_there_is_lost_in_any_schedule(kind: str) -> None:
    for seed in range(scaled(200, 10)):
        sim = Mirror(SOURCE, DEST, KINDS[kind], 3 * seed, backup_dir="old/")  # of these seeds none skips conflicts
        sim.go()
        sim.settle_down()
        there = set(holds(sim).values())
        ever = {*DEST.values(), *(body for bodies in sim.rivals_bytes.values() for body in bodies)}
        assert ever - sim.lost_to_rivals - {b""} <= there, (kind, seed)


@pytest.mark.parametrize("kind", ["deadly", "flaky", "crashing"])
def test_the_same_between_folders_where_a_link_changes_the_version(kind: str, tmp_path: Path) -> None:
    for seed in range(scaled(200, 10)):
        sim = Mirror(SOURCE, DEST, KINDS[kind], seed, at=tmp_path / f"{seed}", backup_dir="old/")
        summary = sim.go()
        assert (str(summary.state), summary.conflicts) == ("done", 0), (kind, seed, summary)
        assert holds(sim, "old/") == BACKUP, (kind, seed)


def backing(root: Path) -> BackingUp:
    root.mkdir()
    return BackingUp(LocalStore(str(root)), "old/")


def test_a_symlink_in_the_folders_place_is_not_passed_through(tmp_path: Path) -> None:
    store = backing(tmp_path / "dest")
    version = store.put("f", b"1", Meta(), None, Token()).version
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "dest" / "old").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadName, match="symlink"):
        store.put("f", b"2", Meta(), version, Token())
    with pytest.raises(BadName, match="symlink"):
        store.delete("f", version, Token())
    assert (tmp_path / "dest" / "f").read_bytes() == b"1"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_where_nothing_can_be_kept_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = backing(tmp_path / "dest")
    version = store.put("f", b"1", Meta(), None, Token()).version

    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(local_keep.os, "link", no_links)
    with pytest.raises(NeedsPerson):
        store.put("f", b"2", Meta(), version, Token())
    assert (tmp_path / "dest" / "f").read_bytes() == b"1"


def test_a_rival_that_replaces_the_file_just_before_the_link_is_not_taken_for_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(str(tmp_path / "dest"))
    version = store.put("f", b"1", Meta(), None, Token()).version
    link = os.link

    def late(*args: Any, **kwargs: Any) -> None:
        (tmp_path / "rival").write_bytes(b"a rival's")
        os.rename(tmp_path / "rival", tmp_path / "dest" / "f")
        link(*args, **kwargs)

    monkeypatch.setattr(local_keep.os, "link", late)
    with pytest.raises(Exception, match="changed while it was being kept"):
        store.keep("f", version, "old/f", Token())
    assert (tmp_path / "dest" / "f").read_bytes() == b"a rival's"
    assert not (tmp_path / "dest" / "old" / "f").exists()


def test_a_filter_cannot_bring_the_folder_back() -> None:
    sim = Mirror(
        SOURCE, {**SOURCE, "old/x": b"kept"}, backup_dir="old/", delete_excluded=True,
        select=Selection(filters=(("-", "*.o"),)),
    )  # fmt: skip
    assert str(sim.go().state) == "done"
    assert holds(sim, "old/") == {"x": b"kept"}
