"""What the producer does when something of its private mode fails: it says what, at once, and the same command goes on."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from pathlib import Path

import psutil
import pytest

from compare import bucket as bucket_tree
from compare import differences, tree
from conftest import Bucket
from hugesync_producer import embedded_server
from hugesync_producer.embedded import Embedded
from hugesync_producer.pool import Stalled
from hugesync_tasks.config import load
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.state.redis import RedisLedger
from midway import LARGE, SMALL, many_small_files, one_large_file
from processes import Place, Running
from slowproxy import SlowProxy


def server_of(run: Running) -> psutil.Process:
    (server,) = [
        p for p in run.children() if any("valkey" in word or "redis-server" in word for word in p.cmdline()[:1])
    ]
    return server


@pytest.fixture
def run(place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path) -> Running:
    """A download, held in the middle."""
    at = f"s3://{s3_bucket.bucket}/from"
    assert place.submit(one_large_file(tmp_path / "src"), at).finish().code == 0
    proxy.hold_after(down=LARGE // 3)
    run = place.submit(at, tmp_path / "out")
    proxy.held()
    return run


def assert_the_same_command_completes(place: Place, s3: Bucket, folder: Path) -> None:
    ended = place.submit(f"s3://{s3.bucket}/from", folder / "out").finish()
    assert ended.code == 0, ended.err
    assert "going on with job" in ended.err
    assert differences(tree(folder / "src", folders="none"), tree(folder / "out", folders="none")) == []
    assert place.left() == []


def test_the_kill_of_the_private_redis_is_seen_at_once_and_the_job_can_be_resumed(
    run: Running, place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    server_of(run).kill()
    began = time.monotonic()

    ended = run.finish(20)

    assert time.monotonic() - began < 5.0
    assert (ended.code, ended.summary["state"]) == (5, "stalled")
    assert "private Redis ended (killed by signal 9); the same command goes on" in ended.err
    assert ended.summary["files"]["pending"] == 1
    assert place.left(within=1.0) == []
    proxy.release()
    assert_the_same_command_completes(place, s3_bucket, tmp_path)


def test_a_state_folder_that_takes_no_more_ends_the_job_with_its_name_and_it_can_be_resumed(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    """A limit on the size of the producer's files stands for a full disk."""
    source, to = many_small_files(tmp_path / "src"), f"s3://{s3_bucket.bucket}/to"
    proxy.hold_after(requests=SMALL // 2)
    run = place.submit(source, to)
    proxy.held()
    (saved,) = (place.folder / "state" / "hugesync" / "jobs").glob("*/job.json")
    most = saved.stat().st_size - 100  # enough for what it says on stdout and stderr, which are files here
    psutil.Process(run.pid).rlimit(psutil.RLIMIT_FSIZE, (most, most))
    proxy.release()

    ended = run.finish(60)

    assert (ended.code, ended.summary["state"]) == (5, "stalled"), ended.err
    assert f"cannot write {saved}: File too large" in ended.err
    assert "internal error" not in ended.err
    assert ended.summary["requests"]["put"] >= ended.summary["files"]["done"] > 0, (
        "the true end, though it is not recorded"
    )
    assert json.loads(saved.read_text())["state"] == "running", "what was saved before is whole"
    assert not saved.with_suffix(".new").exists()
    assert place.left(within=1.0) == []
    again = place.submit(source, to).finish()
    assert again.code == 0, again.err
    assert "going on with job" in again.err
    there = bucket_tree(s3_bucket.client, s3_bucket.bucket, "to/")
    assert differences(tree(source, folders="none"), there) == []


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedded:
    for name in [n for n in os.environ if n.startswith(("HUGESYNC_", "XDG_"))]:
        monkeypatch.delenv(name)
    return Embedded(tmp_path / "job", load({}), {})


def test_a_server_that_cannot_write_its_data_ends_the_job_and_names_the_folder(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_with = embedded_server._die_with

    def limited(parent: int) -> object:
        before = die_with(parent)

        def in_child() -> None:
            if before is not None:
                before()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, 16 << 10))

        return in_child

    monkeypatch.setattr(embedded_server, "_die_with", limited)
    try:
        ledger = RedisLedger.from_url(embedded.start())
        assert embedded.tend() == ""
        with pytest.raises(Unreachable):
            for i in range(100):
                ledger.open_job(f"j{i}", "x" * 1000)
        with pytest.raises(Stalled, match=f"cannot write to {embedded.folder}: .*; the same command goes on"):
            embedded.tend()
    finally:
        embedded.stop()


def test_a_start_that_failed_leaves_no_process_and_no_folder(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    before = psutil.Process().children()

    def no_worker() -> object:
        made.append(embedded._server.temporary.parent)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded, "_start_worker", no_worker)
    with pytest.raises(Unreachable, match=f"{embedded.folder}: No space left on device"):
        embedded.start()
    embedded.stop()
    embedded.stop()
    assert made
    assert not made[0].exists()
    assert psutil.Process().children() == before


def test_the_private_worker_has_the_buffers_that_a_preflight_recommended(tmp_path: Path) -> None:
    it = Embedded(tmp_path, load({"buffers_budget": "64MiB"}), {})
    try:
        it.start()
        assert it._worker is not None
        command = psutil.Process(it._worker.pid).cmdline()
        assert command[command.index("--buffer-budget") + 1] == str(64 << 20)
    finally:
        it.stop()
