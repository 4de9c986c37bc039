"""The options that are numbers: each is given two values or more, and what happens in between them shows that it binds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from compare import bucket as bucket_tree
from compare import differences, tree
from conftest import Bucket
from meddler import Asked, Meddler
from processes import Place, wait_until
from scale import mostly_full
from slowproxy import SlowProxy
from submit import Ran, Submit
from test_memory_bounds import peak_of_children

MIB = 1 << 20
SMALL, LARGE = 100_000, 11 * MIB  # one put; three parts of 5 MiB


@pytest.fixture
def s3(tmp_path: Path, s3_bucket: Bucket) -> tuple[Submit, Bucket]:
    return Submit(tmp_path / "home", {**s3_bucket.env, "HUGESYNC_PART_SIZE": "5MiB"}), s3_bucket


def meddled(tmp_path: Path, s3: tuple[Submit, Bucket], size: int, meddle: object, *options: str) -> Ran:
    """One file ``f`` of ``size`` bytes sent through a proxy that meddles."""
    hs, bucket = s3
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "f").write_bytes(os.urandom(size))
    with Meddler(bucket.endpoint, meddle) as proxy:  # type: ignore[arg-type]
        hs.env["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
        return hs(str(tmp_path / "source"), f"s3://{bucket.bucket}/x", *options)


def held(bucket: Bucket) -> bytes:
    return bytes(bucket.client.get_object(Bucket=bucket.bucket, Key="x/f")["Body"].read())


# --- --retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["put", "part"])
@pytest.mark.parametrize(("retries", "failures"), mostly_full([(3, 3), (1, 1), (3, 2)], 2))
def test_a_request_that_fails_is_attempted_as_often_as_retries_says_and_then_once_more_at_the_end(
    tmp_path: Path, s3: tuple[Submit, Bucket], retries: int, failures: int, size: int
) -> None:
    attempts: list[str] = []

    def fail_first(asked: Asked) -> int | None:
        if not (asked.method == "PUT" and "/x/f" in asked.path and ("partNumber=2" in asked.path or size == SMALL)):
            return None
        attempts.append(asked.path)
        return 500 if len(attempts) <= failures else None

    ran = meddled(tmp_path, s3, size, fail_first, "--retries", str(retries))

    if failures < retries:
        assert (ran.code, ran.files["done"], len(attempts)) == (0, 1, failures + 1), (ran.json, ran.err)
        assert ran.json["retries"] == failures
        assert held(s3[1]) == (tmp_path / "source" / "f").read_bytes()
        assert "trying again" not in ran.err
    elif retries > 1:
        assert (ran.code, ran.files["done"], len(attempts)) == (0, 1, failures + 1), (ran.json, ran.err)
        assert "1 file failed for a reason that may pass; trying again in 2 s" in ran.err
        assert ran.json["retries"] == retries - 1
        assert held(s3[1]) == (tmp_path / "source" / "f").read_bytes()
    else:
        assert (ran.code, ran.classes, len(attempts)) == (1, {"f": "transient"}, retries), (ran.json, ran.err)
        assert ran.json["retries"] == 0


# --- --conflict-retries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["put", "complete"])
@pytest.mark.parametrize(("retries", "rivals"), mostly_full([(2, 3), (0, 1), (2, 2)], 1))
def test_a_destination_that_changes_is_compared_afresh_as_often_as_conflict_retries_says_and_no_more(
    tmp_path: Path, s3: tuple[Submit, Bucket], retries: int, rivals: int, size: int
) -> None:
    bucket, commits = s3[1], 0

    def rival_first(asked: Asked) -> int | None:
        nonlocal commits
        if asked.writes("x/f"):
            commits += 1
            if commits <= rivals:
                bucket.client.put_object(Bucket=bucket.bucket, Key="x/f", Body=b"rival %d" % commits)
        return None

    ran = meddled(tmp_path, s3, size, rival_first, "--conflict-retries", str(retries))

    assert ran.json["conflicts"] == rivals
    assert commits == min(retries, rivals) + 1
    if rivals <= retries:
        assert (ran.code, ran.files["done"]) == (0, 1), (ran.json, ran.err)
        assert held(bucket) == (tmp_path / "source" / "f").read_bytes()
    else:
        assert (ran.code, ran.classes) == (1, {"f": "conflict"}), (ran.json, ran.err)
        assert held(bucket) == b"rival %d" % rivals
    assert bucket.client.list_multipart_uploads(Bucket=bucket.bucket).get("Uploads", []) == []


# --- --memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.full
def test_memory_bounds_the_bytes_in_hand_and_what_each_worker_process_takes(
    tmp_path: Path, s3: tuple[Submit, Bucket]
) -> None:
    """One worker process with sixteen threads, and batches of 64 MiB: the store is slow, so it takes as many files as it may."""
    hs, bucket = s3
    source, size = tmp_path / "source", 7 * MIB
    source.mkdir()
    for n in range(32):
        (source / f"f{n:02}").write_bytes(os.urandom(size))
    at_once, highest = {}, {}
    for memory in (128, 512):
        with SlowProxy(bucket.endpoint, rate=60e6) as proxy:
            hs.env["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
            hs.env["HUGESYNC_PART_SIZE"] = "8MiB"
            sampled: list[int] = []

            def look(proxy: SlowProxy = proxy, sampled: list[int] = sampled) -> None:
                sampled.append(sum(x.status == 0 and x.method == "PUT" and x.sent > 0 for x in tuple(proxy.exchanges)))

            peaks = peak_of_children(
                hs, str(source), f"s3://{bucket.bucket}/m{memory}", "-j", "1", "--memory", f"{memory}MiB", look=look
            )
        at_once[memory], highest[memory] = max(sampled), max(peaks.values())
        assert highest[memory] <= memory * MIB, highest[memory] / MIB
    assert at_once[128] * size <= 48 * MIB < at_once[512] * size, at_once
    assert highest[512] > 128 * MIB, "both values would have been kept without looking at them"


def test_less_memory_than_a_part_needs_is_refused_before_anything_starts(
    tmp_path: Path, s3: tuple[Submit, Bucket]
) -> None:
    hs, _ = s3
    (tmp_path / "source").mkdir()
    ends = (str(tmp_path / "source"), str(tmp_path / "dest"))
    for options, says in ((["--memory", "1MiB"], "1MiB"), (["--memory", "1GiB", "--broker", "redis://h"], "own")):
        ran = hs(*ends, *options)
        assert (ran.code, "memory" in ran.err, says in ran.err) == (2, True, True), ran.err
    hs.env["HUGESYNC_PART_SIZE"] = "64MiB"
    assert hs(*ends, "--memory", "255MiB").code == 2
    assert hs(*ends, "--memory", "256MiB").code == 0


# --- --stall-timeout ----------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket) -> Iterator[Place]:
    (tmp_path / "data").mkdir()
    env = {**s3_bucket.env, "HUGESYNC_PART_SIZE": "5MiB", "HUGESYNC_WORKER_ROOTS": f"data={tmp_path / 'data'}"}
    it = Place(tmp_path / "place", env)
    yield it
    it.end()


@pytest.fixture
def broker(server_dir: Path) -> Iterator[servers.ValkeyServer]:
    server = servers.start_valkey(server_dir / "stall")
    yield server
    server.stop()


@pytest.mark.full
def test_a_job_without_workers_waits_as_long_as_stall_timeout_says_and_can_be_resumed(
    place: Place, broker: servers.ValkeyServer, s3_bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "data" / "f").write_bytes(os.urandom(SMALL))
    command = ("--broker", broker.url, tmp_path / "data", f"s3://{s3_bucket.bucket}/x")
    for timeout in (1.0, 5.0):  # both less than the 15 s in which a first worker must come
        began = time.monotonic()
        ended = place.submit("--stall-timeout", f"{timeout:.0f}s", *command).finish()
        took = time.monotonic() - began
        assert (ended.code, ended.summary["state"]) == (5, "stalled"), ended.err
        assert f"nothing moved for {timeout:.0f} s" in ended.err
        assert timeout <= took < timeout + 4.5, took
        assert ended.summary["files"]["pending"] == 1
    place.worker(broker.url)
    resumed = place.submit(*command).finish()
    assert (resumed.code, resumed.summary["files"]["done"]) == (0, 1), resumed.err
    assert "going on with job" in resumed.err


def test_workers_that_vanish_are_waited_for_as_long_as_stall_timeout_says_and_the_job_can_be_resumed(
    place: Place, broker: servers.ValkeyServer, s3_bucket: Bucket, tmp_path: Path
) -> None:
    with open(tmp_path / "data" / "large", "wb") as out:
        out.write(os.urandom(20 * MIB))
    with SlowProxy(s3_bucket.endpoint) as proxy:
        through = {"AWS_ENDPOINT_URL_S3": proxy.endpoint}
        worker = place.worker(broker.url, **through)
        proxy.hold_after(up=12 * MIB)
        command = ("--broker", broker.url, tmp_path / "data", f"s3://{s3_bucket.bucket}/x")
        run = place.submit("--stall-timeout", "5s", *command, **through)
        proxy.held()
        worker.kill()
        proxy.release()
        began = time.monotonic()
        ended = run.finish()
        assert (ended.code, ended.summary["state"]) == (5, "stalled"), ended.err
        assert 3 < time.monotonic() - began < 15
        place.worker(broker.url, **through)
        wait_until(lambda: place.living(), what="a worker")
        resumed = place.submit(*command, **through).finish()
    assert (resumed.code, resumed.summary["files"]["done"]) == (0, 1), resumed.err
    assert resumed.summary["bytes"]["sent"] < 20 * MIB, "the parts that had arrived were sent again"
    expected = tree(tmp_path / "data", folders="none")
    assert differences(expected, bucket_tree(s3_bucket.client, s3_bucket.bucket, "x/")) == []
