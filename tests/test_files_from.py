"""Jobs that are given a list of names: whole runs, and what whoever goes on with them has of the list."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import simulation
from chaos import KINDS
from compare import bucket as bucket_tree
from conftest import Bucket
from hugesync_producer import keptnames, named
from hugesync_producer.jobfolder import JobFolder
from hugesync_producer.keptnames import give, kept_names, refuse_large
from hugesync_producer.namelist import NameList, made
from hugesync_producer.window import Counters
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Location, Selection, Spec
from hugesync_tasks.state.memory import MemoryLedger
from midway import LARGE, one_large_file
from processes import Place
from scale import mostly_full, scaled
from simulated import Inline, InlineFeed, InlinePlan, one_core
from slowproxy import SlowProxy
from submit import Submit


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for name in (b"a", b"b/c", b"b/not named", b"d/e/f", b"d/g", b"caf\xe9", b"not named", b"#h"):
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(name)
    (root / "link").symlink_to("a")
    return root


def test_only_what_is_named_travels_and_what_is_missing_is_counted_and_told(
    tmp_path: Path, source: Path, s3_bucket: Bucket
) -> None:
    hs = Submit(tmp_path / "home", dict(s3_bucket.env))
    names = b"# a comment\n/a\n./b/c\nd/\ncaf\xe9\nlink\ngone\nb/gone/too\n"
    to = f"s3://{s3_bucket.bucket}/to"
    dry = hs(source, to, "--files-from", "-", "-n", stdin=names)
    assert (dry.code, dry.files["pending"], dry.files["missing"]) == (0, 6, 2)

    ran = hs(source, to, "--files-from", "-", stdin=names)

    assert (ran.code, ran.json["state"]) == (0, "done")
    assert (ran.files["found"], ran.files["done"], ran.files["missing"]) == (6, 6, 2)
    assert sorted(bucket_tree(s3_bucket.client, s3_bucket.bucket, "to/")) == sorted(
        [b"a", b"b/c", b"caf\xe9", b"d/e/f", b"d/g", b"link"]
    )
    (tmp_path / "list").write_bytes(b"#h\0a\0d/\0gone\0")
    again = hs(source, to, "--files-from0", str(tmp_path / "list"), json=False)
    assert again.code == 0
    assert "missing 1" in again.out
    assert "Named by the list or map, not in the source (1):\n  gone" in again.out
    assert "done 1" in again.out


def test_from_a_manifest_exactly_what_is_not_done_is_sent(tmp_path: Path, source: Path) -> None:
    hs, dest = Submit(tmp_path / "home"), tmp_path / "dest"
    (tmp_path / "list.csv").write_bytes(
        b"path,type,size,mtime,digest,state\na,file,1,,,done\nb/,dir,0,,,missing\nb/c,file,3,,,missing\nx,file,1,,,extra\n"
        + "caf\u201bE9,file,4,,,differs\nlink.rclonelink,link,1,,,missing\ngone,file,1,,,missing\n".encode()
    )
    ran = hs(source, dest, "--files-from", str(tmp_path / "list.csv"))
    assert (ran.code, ran.files["done"], ran.files["missing"]) == (0, 3, 1)
    assert sorted(os.listdir(os.fsencode(dest))) == [b"b", b"caf\xe9", b"link"]
    assert os.listdir(dest / "b") == ["c"]
    assert (dest / "b").stat().st_mtime_ns == (source / "b").stat().st_mtime_ns
    compared = hs.verify(source, dest, "--files-from", str(tmp_path / "list.csv"))
    assert (compared.code, compared.json["skipped_by"]["same"], compared.files["missing"]) == (0, 3, 1)


def test_a_job_goes_on_with_its_own_copy_of_the_list(
    tmp_path: Path, place: Place, proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    large = one_large_file(tmp_path / "src")
    (large / "not named").write_bytes(b"x")
    (tmp_path / "list").write_text("gone\nlarge\n")
    proxy.hold_after(up=LARGE // 2)
    place.submit(large, f"s3://{s3_bucket.bucket}/to", "--files-from", tmp_path / "list")
    proxy.held()
    place.kill_all()
    (job,) = (path.parent.name for path in place.folder.rglob("job.json"))
    proxy.release()
    (tmp_path / "list").unlink()

    again = place.resume(job).finish()

    assert again.code == 0, again.err
    files = again.summary["files"]
    assert (files["found"], files["done"], files["missing"]) == (1, 1, 1)
    assert again.summary["bytes"]["sent"] < LARGE
    assert [*bucket_tree(s3_bucket.client, s3_bucket.bucket, "to/")] == [b"large"]


# where the list lies


def spec_of(names: NameList) -> Spec:
    return Spec("j", Location("s3", bucket="a"), Location("s3", bucket="b"), selection=Selection(listed=names.digest))


def test_a_fleets_ledger_has_the_list_for_whoever_goes_on(tmp_path: Path) -> None:
    names, ledger = made(iter(["b", "a/"]), tmp_path), MemoryLedger()
    give(ledger, "j", names)
    names.path.unlink()
    with kept_names(spec_of(names), None, ledger, None) as found:
        assert found is not None
        assert list(found) == ["a/", "b"]
    ledger.flush()
    with pytest.raises(UsageError, match="list of names is gone"), kept_names(spec_of(names), None, ledger, None):
        pass
    with kept_names(replace(spec_of(names), selection=Selection()), None, ledger, None) as none:
        assert none is None


def test_the_jobs_folder_has_the_list_of_an_embedded_one(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, "j")
    folder.open()
    (tmp_path / "temporary").mkdir()
    names = made(iter(["b", "a/"]), tmp_path / "temporary")
    with kept_names(spec_of(names), names, MemoryLedger(), folder) as found:
        assert found is not None
        assert found.path.parent == folder.path
    names.path.unlink()
    with kept_names(spec_of(names), None, MemoryLedger(), folder) as found:
        assert found is not None
        assert list(found) == ["a/", "b"]
    folder.forget_work()
    with pytest.raises(UsageError, match="list of names is gone"):
        kept_names(spec_of(names), None, MemoryLedger(), folder).__enter__()


def test_a_list_that_a_ledger_would_not_be_given_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = made((f"name {n}" for n in range(100)), tmp_path)
    refuse_large(names)
    monkeypatch.setattr(keptnames, "MOST", 100)
    with pytest.raises(UsageError, match="--files-from: compressed the list takes"):
        refuse_large(names)


# whatever happens meanwhile


@pytest.mark.parametrize("kind", mostly_full(["crashing", "deadly", "flushed", "flaky", "failover", "all"], 3))
def test_whatever_is_killed_each_name_is_counted_once_and_nothing_else_travels(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(scaled(100, 6)):
        (tmp_path / str(seed)).mkdir()
        listed_run(seed, kind, tmp_path / str(seed))


def listed_run(seed: int, kind: str, tmp_path: Path) -> None:
    chaos = replace(KINDS[kind], rival=0.0, edit=0.0)
    folder = JobFolder(tmp_path, "sim") if seed % 2 else None
    if folder is not None:
        folder.open()
    sim = simulation.Simulation(seed, chaos, folder)
    before = set(sim.keys(sim.dest_bucket, "dst/"))
    chosen = {k for k in sim.keys_found if sim.rng.random() < 0.5}
    gone = {f"{sim.rng.choice(['', 'a/', 'a/b/', 'x/'])}gone{n}" for n in range(sim.rng.randrange(6))}
    names = made(iter([*chosen, *gone, *(["a/b/"] if seed % 3 == 0 else [])]), tmp_path)
    if seed % 3 == 0:
        below = {k for k in sim.keys_found if k.startswith("a/b/")}
        gone = {k for k in gone if not k.startswith("a/b/")} | ({"a/b/"} if not below else set())
        chosen |= below
    sim.spec = replace(sim.spec, selection=Selection(listed=names.digest))
    with pytest.MonkeyPatch.context() as patch, one_core():
        patch.setattr(simulation, "InlinePlan", given(names))
        patch.setattr(named, "threads", Inline)
        patch.setattr(named, "Feed", InlineFeed)
        try:
            summary = sim.play(patch)
        except BaseException as error:
            raise AssertionError(f"{kind}, seed {seed}: {error}\n" + "\n".join(sim.story[-100:])) from error
        finally:
            sim.end()
    files = dict(summary.files)
    failed = {f.path for f in summary.failures}  # a ledger that forgot may fail a file, and says so
    assert (files["found"], files["missing"], files["pending"]) == (len(chosen), len(gone), 0), seed
    assert files["failed"] == len(failed) == len(failed & chosen)
    assert not failed or kind in ("failover", "all", "flaky")
    assert set(summary.missing) == gone
    for key in chosen - failed:
        assert sim.dest_bucket.get("dst/" + key).body == sim.source_bucket.get("src/" + key).body
    assert {k for k in sim.keys(sim.dest_bucket, "dst/") if ".hugesync" not in k} - failed == (before | chosen) - failed


def given(names: NameList) -> Callable[..., Any]:
    return lambda job, meter, key, _: InlinePlan(job, meter, key, names)


def test_what_is_missing_survives_a_checkpoint_and_its_names_are_capped() -> None:
    counters = Counters()
    counters.lacks([f"n{n}" for n in range(900)])
    other = Counters()
    other.lacks([f"m{n}" for n in range(900)])
    counters.add(other)
    assert len(counters.missing) == 1000
    assert Counters.unwire(counters.wire()).missing == counters.missing
    assert "missing" not in Counters().wire()
