"""No job leaves anything in the folders for temporary and for runtime files: not ended, not interrupted, and not killed for
longer than until the next job."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import servers
from conftest import Bucket
from midway import LARGE, many_small_files, one_large_file
from processes import Place, Running, wait_until
from scale import mostly_full
from slowproxy import SlowProxy


@pytest.fixture(params=mostly_full(["XDG_RUNTIME_DIR", "TMPDIR"], 1))
def litter(request: pytest.FixtureRequest, place: Place, server_dir: Path) -> Iterator[Callable[[], list[str]]]:
    """What lies in the folder for temporary files, and in the session's runtime folder where there is one."""
    folders = []
    variables = {"TMPDIR", request.param}
    for variable in variables:
        folder = Path(tempfile.mkdtemp(prefix="l", dir=server_dir))  # short, for sockets
        place.env = {**place.env, variable: str(folder)}
        folders.append(folder)
    yield lambda: sorted(str(p.relative_to(f)) for f in folders for p in f.rglob("*"))


def held_upload(place: Place, proxy: SlowProxy, s3: Bucket, source: Path) -> Running:
    proxy.hold_after(up=LARGE // 3)
    run = place.submit(source, f"s3://{s3.bucket}/to")
    proxy.held()
    return run


def test_an_ended_job_leaves_nothing(place: Place, litter: Callable[[], list[str]], tmp_path: Path) -> None:
    many_small_files(tmp_path / "src")
    run = place.submit(tmp_path / "src", tmp_path / "out")
    seen = wait_until(litter, what="a socket while the job runs")
    assert seen[0].startswith("hugesync-")
    assert run.finish().code == 0
    assert litter() == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_job_leaves_nothing(
    how: signal.Signals,
    place: Place,
    proxy: SlowProxy,
    s3_bucket: Bucket,
    litter: Callable[[], list[str]],
    tmp_path: Path,
) -> None:
    run = held_upload(place, proxy, s3_bucket, one_large_file(tmp_path / "src"))
    assert any("pymp-" in name for name in litter()), "what Celery makes and its kill leaves"
    run.interrupt(how)
    assert run.finish(10).code == 130
    assert litter() == []


def test_what_a_killed_job_left_goes_with_the_next_one_and_a_living_jobs_stays(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, litter: Callable[[], list[str]], tmp_path: Path
) -> None:
    source = one_large_file(tmp_path / "src")
    killed = held_upload(place, proxy, s3_bucket, source)
    left = litter()
    killed.kill()
    assert place.left() == []
    assert litter() == left != [], "nobody was there to remove it"
    proxy.release()
    living = held_upload(place, proxy, s3_bucket, source)
    assert not set(litter()) & set(left)
    while_it_lives = litter()

    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "file").write_bytes(b"x")
    assert place.submit(tmp_path / "small", tmp_path / "out").finish().code == 0

    assert litter() == while_it_lives
    proxy.release()
    assert living.finish().code == 0
    assert litter() == []


@pytest.mark.parametrize("litter", ["TMPDIR"], indirect=True)
def test_a_fleets_worker_that_is_told_to_stop_leaves_nothing(
    place: Place, valkey: servers.ValkeyServer, litter: Callable[[], list[str]], tmp_path: Path
) -> None:
    many_small_files(tmp_path / "src")
    broker = {"HUGESYNC_BROKER_URL": valkey.url, "HUGESYNC_QUEUE_PREFIX": f"l{os.getpid()}"}
    worker = place.worker(valkey.url, "--root", tmp_path, HUGESYNC_QUEUE_PREFIX=broker["HUGESYNC_QUEUE_PREFIX"])
    assert place.submit(tmp_path / "src", tmp_path / "out", **broker).finish().code == 0
    assert any("pymp-" in name for name in litter())
    assert worker.stop() == 0
    assert litter() == []
