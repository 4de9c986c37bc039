"""Kill anything while the job runs: it goes on by itself, the result is identical, and nothing is left behind.

The proxy holds the transfer after so many bytes, so that the kill meets it in the middle.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from compare import bucket as bucket_tree
from compare import differences, tree
from conftest import Bucket
from processes import Ended, Place, pool_children, wait_until, worker_mains
from scale import scaled
from slowproxy import SlowProxy

PART = 5 << 20
LARGE = scaled(1 << 30, 30 << 20) // PART * PART + 12_345


@pytest.fixture
def proxy(s3_bucket: Bucket) -> Iterator[SlowProxy]:
    with SlowProxy(s3_bucket.endpoint) as it:
        yield it


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy) -> Iterator[Place]:
    env = {
        **s3_bucket.env,
        "AWS_ENDPOINT_URL_S3": proxy.endpoint,
        "HUGESYNC_PART_SIZE": str(PART),
        "HUGESYNC_WORKER_CONCURRENCY": "2",
    }
    it = Place(tmp_path / "place", env)
    yield it
    it.end()


def one_large_file(folder: Path) -> None:
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(LARGE))


def many_small_files(folder: Path) -> None:
    for i in range(scaled(20_000, 1_000)):
        path = folder / f"d{i % 20:02}" / f"f{i:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(2_000))


TREES = {"large": (one_large_file, LARGE // 3), "small": (many_small_files, scaled(20_000, 1_000) * 2_000 // 3)}


def assert_nothing_is_left(s3: Bucket) -> None:
    """No open upload, nothing of ours beside the objects."""
    assert s3.client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", []) == []
    keys = [o["Key"] for o in s3.client.list_objects_v2(Bucket=s3.bucket, Prefix="").get("Contents", [])]
    assert [k for k in keys if ".hugesync" in k] == []


def temporaries(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob(".hugesync*")]


def kill_children(place: Place) -> None:
    victims = pool_children(place)
    assert len(victims) == 2
    kill(victims)


def kill_main(place: Place) -> None:
    mains = worker_mains(place)
    assert len(mains) == 1
    kill(mains)


def kill(victims: list[psutil.Process]) -> None:
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, timeout=5)


def assert_whole(ended: Ended, found: int) -> None:
    assert ended.code == 0, ended.err
    files = ended.summary["files"]
    assert (files["found"], files["done"], files["failed"], files["pending"]) == (found, found, 0, 0)


@pytest.mark.parametrize(("what", "strike"), [("large", kill_children), ("small", kill_children), ("large", kill_main)])
def test_a_worker_killed_in_the_middle_of_an_upload_costs_nothing_but_time(
    what: str, strike: Callable[[Place], None], place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    make, middle = TREES[what]
    make(tmp_path / "src")
    proxy.hold_after(up=middle)
    run = place.submit(tmp_path / "src", f"s3://{s3_bucket.bucket}/to")
    proxy.held()
    strike(place)
    proxy.release()

    ended = run.finish()

    expected = tree(tmp_path / "src", folders="none")
    assert_whole(ended, len(expected))
    assert differences(expected, bucket_tree(s3_bucket.client, s3_bucket.bucket, "to/")) == []
    assert_nothing_is_left(s3_bucket)
    assert place.left() == []
    if strike is kill_main:
        assert "was started again" in ended.err


@pytest.mark.parametrize(("what", "strike"), [("large", kill_children), ("small", kill_children), ("small", kill_main)])
def test_a_worker_killed_in_the_middle_of_a_download_costs_nothing_but_time(
    what: str, strike: Callable[[Place], None], place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    make, middle = TREES[what]
    make(tmp_path / "src")
    assert place.submit(tmp_path / "src", f"s3://{s3_bucket.bucket}/from").finish().code == 0
    proxy.hold_after(down=middle)
    run = place.submit(f"s3://{s3_bucket.bucket}/from", tmp_path / "out")
    proxy.held()
    strike(place)
    proxy.release()

    ended = run.finish()

    expected = tree(tmp_path / "src", folders="none")
    assert_whole(ended, len(expected))
    assert differences(expected, tree(tmp_path / "out", folders="none")) == []
    assert temporaries(tmp_path / "out") == []
    assert place.left() == []


def test_nothing_survives_the_producers_kill(place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path) -> None:
    one_large_file(tmp_path / "src")
    proxy.hold_after(up=LARGE // 3)
    run = place.submit(tmp_path / "src", f"s3://{s3_bucket.bucket}/to")
    proxy.held()
    assert len(place.living()) >= 5  # producer, server, worker, two children

    run.kill()

    assert place.left(within=3.0) == []


def test_a_worker_that_is_killed_while_it_starts_is_started_again(place: Place, tmp_path: Path) -> None:
    many_small_files(tmp_path / "src")
    run = place.submit(tmp_path / "src", tmp_path / "out")
    kill(wait_until(lambda: worker_mains(place), what="the worker"))

    ended = run.finish()

    expected = tree(tmp_path / "src", folders="none")
    assert_whole(ended, len(expected))
    assert "was started again" in ended.err
    assert differences(expected, tree(tmp_path / "out", folders="none")) == []
