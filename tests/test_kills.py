"""Kill anything while the job runs: it goes on by itself, the result is identical, and nothing is left behind.

The proxy holds the transfer after so many bytes, so that the kill meets it in the middle.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from compare import bucket as bucket_tree
from compare import differences, tree
from conftest import Bucket
from midway import (
    LARGE,
    SMALL,
    SMALL_SIZE,
    STORE_TO_STORE,
    Way,
    assert_nothing_is_left,
    many_small_files,
    midway_between_folders,
    one_large_file,
    profiles,
    temporaries,
)
from processes import Ended, Place, pool_children, wait_until, worker_mains
from scale import mostly_full
from slowproxy import SlowProxy

TREES = {"large": (one_large_file, LARGE // 3), "small": (many_small_files, SMALL * SMALL_SIZE // 3)}


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


@pytest.mark.parametrize(
    ("what", "strike"), mostly_full([("large", kill_main), ("large", kill_children), ("small", kill_children)], 1)
)
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


@pytest.mark.parametrize(
    ("what", "strike"), mostly_full([("large", kill_children), ("small", kill_main), ("small", kill_children)], 1)
)
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


@pytest.mark.parametrize("way", mostly_full(STORE_TO_STORE, 1), ids=str)
@pytest.mark.parametrize("strike", mostly_full([kill_main, kill_children], 1))
def test_a_worker_killed_between_two_stores_costs_nothing_but_time(
    way: Way, strike: Callable[[Place], None], place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    one_large_file(tmp_path / "src")
    at, to = f"s3://{s3_bucket.bucket}/from", f"s3://{s3_bucket.bucket}/to"
    env = profiles(tmp_path, s3_bucket)
    assert place.submit(tmp_path / "src", at).finish().code == 0
    way.hold(proxy)
    run = way.submit(place, at, to, **env)
    proxy.held()
    strike(place)
    proxy.release()

    ended = run.finish()

    expected = tree(tmp_path / "src", folders="none")
    assert_whole(ended, len(expected))
    assert (ended.summary["bytes"]["copied_server_side"] > 0) == bool(way.entry)
    assert differences(expected, bucket_tree(s3_bucket.client, s3_bucket.bucket, "to/")) == []
    assert_nothing_is_left(s3_bucket)
    assert place.left() == []


@pytest.mark.parametrize("strike", mostly_full([kill_children, kill_main], 1))
def test_a_worker_killed_between_two_folders_costs_nothing_but_time(
    strike: Callable[[Place], None], place: Place, tmp_path: Path
) -> None:
    one_large_file(tmp_path / "src")
    run, out = midway_between_folders(place, tmp_path / "src", tmp_path)
    strike(place)
    run.process.send_signal(signal.SIGCONT)

    ended = run.finish()

    expected = tree(tmp_path / "src", folders="none")
    assert_whole(ended, len(expected))
    assert differences(expected, tree(out, folders="none")) == []
    assert temporaries(out) == []
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
