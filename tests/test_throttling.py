"""A store that asks us to slow down is said to a person while it does, and what it refused is sent in the end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from busyproxy import BusyProxy, parts_for
from conftest import Bucket
from hugesync_producer.progress import PLAIN_INTERVAL
from hugesync_tasks.aimd import CUT, FLOOR, Limit, Report
from hugesync_tasks.state.redis import RedisLedger
from processes import Place, wait_until
from submit import Submit

MIB = 1 << 20


@pytest.fixture
def busy(s3_bucket: Bucket) -> Iterator[BusyProxy]:
    proxy = BusyProxy(s3_bucket.endpoint, parts_for(PLAIN_INTERVAL + 2), retry_after=3)
    yield proxy
    proxy.close()


def test_a_store_that_says_slow_down_is_shown_as_throttling(tmp_path: Path, s3_bucket: Bucket, busy: BusyProxy) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    body = os.urandom(20 * MIB)
    (tree / "file").write_bytes(body)
    hs = Submit(tmp_path / "us", {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": busy.endpoint})

    ran = hs(tree, f"s3://{s3_bucket.bucket}/tree", "--retries", "9")

    assert ran.code == 0, (ran.err, ran.json)
    assert busy.refused >= 4
    (line, *_) = [line for line in ran.err.splitlines() if " of 1 files" in line]
    assert "throttled: the store asks us to slow down" in line
    assert ran.json["retries"] == busy.refused
    assert s3_bucket.client.get_object(Bucket=s3_bucket.bucket, Key="tree/file")["Body"].read() == body


FIRST, SECOND = "testaccess", "secondaccess"  # what the two workers sign with, so that the store can tell them apart


@pytest.fixture
def shared(s3_bucket: Bucket) -> Iterator[BusyProxy]:
    proxy = BusyProxy(s3_bucket.endpoint, delay=0.2)  # 80 requests/s from each worker's sixteen threads
    yield proxy
    proxy.close()


@pytest.fixture
def fleet(tmp_path: Path, s3_bucket: Bucket, shared: BusyProxy) -> Iterator[Place]:
    it = Place(tmp_path / "place", {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": shared.endpoint})
    yield it
    it.end()


def per_second(proxy: BusyProxy, by: str, since: float, until: float) -> float:
    return sum(put.by == by and since <= put.at < until for put in proxy.puts) / (until - since)


@pytest.mark.full
def test_a_slowdown_that_one_worker_meets_slows_the_other_and_the_rate_recovers(
    tmp_path: Path, fleet: Place, broker: servers.ValkeyServer, s3_bucket: Bucket, shared: BusyProxy
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for i in range(1500):  # batches for both workers
        (data / f"{i:04}").write_bytes(b"x")
    seconds = {"AWS_ACCESS_KEY_ID": SECOND, "AWS_SECRET_ACCESS_KEY": "secondsecret0123456789"}
    workers = [fleet.worker(broker.url, "--root", f"data={data}", "-c", "1", **env) for env in ({}, seconds)]
    observer = RedisLedger.from_url(broker.url)
    wait_until(lambda: len(observer.workers()) == 2, timeout=60, what="both workers to be there")
    run = fleet.submit("-v", "--broker", broker.url, "--retries", "20", data, f"s3://{s3_bucket.bucket}/tree/deep")

    def limit() -> Limit | None:
        return observer.share_rate(f"{shared.endpoint}/{s3_bucket.bucket}/tree", "the test", Report()).limit

    def puts(by: str) -> int:
        return sum(put.by == by for put in shared.puts)

    wait_until(lambda: min(puts(FIRST), puts(SECOND)) > 80, what="both workers")
    assert limit() is None
    free = per_second(shared, SECOND, time.monotonic() - 0.8, time.monotonic())

    shared.refuses = lambda put: put.by == FIRST
    known = wait_until(limit, what="a limit")
    lowest = wait_until(
        lambda: (now := limit()) and now.rate <= max(FLOOR, known.rate * CUT**2) and now, what="two cuts more"
    )
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + 1.5, what="the time to measure")
    limited = per_second(shared, SECOND, began, time.monotonic())
    assert not any(put.refused for put in shared.puts if put.by == SECOND)
    assert limited < 0.5 * free
    (job, *_) = [line.split()[0] for line in fleet.command("jobs", "--broker", broker.url).out.splitlines()[1:]]
    status = json.loads(fleet.command("status", job, "--json", "--broker", broker.url).out)
    assert status["as_of"]["throttled"], status

    shared.refuses = lambda put: False
    lowest = limit() or lowest
    wait_until(lambda: (now := limit()) and now.rate > 1.15 * lowest.rate, what="the rate to recover")
    assert run.process.poll() is None, "there was work all the time"
    for process in (*workers, run):
        assert f"throttled by {shared.endpoint}/{s3_bucket.bucket}/tree: at most" in process.said(), process.said()
    observer.close()
