"""Several jobs on the same workers, for real: processes, a broker, and a store behind a proxy that counts each job's bytes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from conftest import Bucket
from hugesync_tasks.config import Settings
from hugesync_tasks.process import open_ledger
from hugesync_tasks.state.redis import RedisLedger
from processes import Place, wait_until
from slowproxy import SlowProxy

MIB = 1 << 20


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy, broker: servers.ValkeyServer) -> Iterator[Place]:
    """Processes of one fleet that share ``tmp_path``; parts are small."""
    env = {
        "AWS_ENDPOINT_URL_S3": proxy.endpoint,
        "HUGESYNC_PART_SIZE": "5MiB",
        "HUGESYNC_BROKER_URL": broker.url,
        "HUGESYNC_WORKER_ROOTS": str(tmp_path),
    }
    place = Place(tmp_path / "place", {**s3_bucket.env, **env})
    yield place
    place.end()


@pytest.fixture
def ledger(broker: servers.ValkeyServer) -> Iterator[RedisLedger]:
    ledger = open_ledger(Settings(broker_url=broker.url))
    yield ledger
    ledger.close()


def sparse(folder: Path, files: int, size: int) -> Path:
    """Zeros: reading them costs nothing, and what is moved is what counts."""
    folder.mkdir()
    for n in range(files):
        with open(folder / f"{n:04}", "wb") as f:
            f.truncate(size)
    return folder


def job_of(ledger: RedisLedger, source: Path) -> str:
    """The job that syncs ``source``, as soon as it is there."""

    def found() -> str:
        for job, _ in ledger.jobs():
            spec = ledger.spec(job)
            if spec is not None and json.loads(spec)["source"]["local"] == str(source):
                return job
        return ""

    return str(wait_until(found, what=f"the job of {source.name}"))


def at_work(ledger: RedisLedger, job: str) -> int:
    names = ledger._server.call(lambda r: r.hkeys(ledger._key(job, "tasks")))
    return sum(status.state == "running" for status in ledger.statuses(job, list(names)))  # type: ignore[arg-type]


def out(ledger: RedisLedger, job: str) -> int:
    return int(ledger._server.call(lambda r: r.hlen(ledger._key(job, "tasks"))))  # type: ignore[arg-type]


def test_a_small_job_begins_within_two_seconds_while_every_process_is_in_the_middle_of_a_huge_one(
    tmp_path: Path, place: Place, s3_bucket: Bucket, ledger: RedisLedger
) -> None:
    """The huge one is limited to 128 KiB/s: each of its parts takes a minute and more."""
    huge, small = sparse(tmp_path / "huge", 6, 60 * MIB), sparse(tmp_path / "small", 30, 1000)
    worker = place.worker(place.env["HUGESYNC_BROKER_URL"], "--root", tmp_path, "--concurrency", 2)
    place.submit(huge, f"s3://{s3_bucket.bucket}/huge", "--bwlimit", "128K")
    first = job_of(ledger, huge)
    wait_until(lambda: ledger.traffic(first).get("requests.part") == 2, timeout=60, what="two parts at work")
    run = place.submit(small, f"s3://{s3_bucket.bucket}/small")
    second = job_of(ledger, small)
    wait_until(lambda: out(ledger, second), timeout=60, every=0.005, what="its first task")
    began = time.monotonic()
    wait_until(lambda: at_work(ledger, second) or not out(ledger, second), every=0.005, what="its begin")
    took = time.monotonic() - began
    ended = run.finish(60)
    assert (ended.code, ended.summary["files"]["done"]) == (0, 30), ended.err
    assert took < 2.0
    assert ledger.traffic(first)["requests.part"] == 2, "no part of the huge one had ended: its slots never came free"
    assert "a thread was lent" in worker.said()
    assert (
        place.command("limit", first).out
        == f"job {first}: bandwidth 128KiB/s, requests off, tasks at once off, weight 1\n"
    )


def moved(proxy: SlowProxy, prefix: str) -> int:
    return sum(exchange.sent for exchange in list(proxy.exchanges) if f"/{prefix}/" in exchange.path)


@pytest.mark.full
@pytest.mark.parametrize("shape", ["parts beside parts", "parts beside small files"])
@pytest.mark.timeout(400)
def test_of_two_jobs_each_moves_bytes_by_its_weight_over_a_minute(
    tmp_path: Path, place: Place, proxy: SlowProxy, s3_bucket: Bucket, ledger: RedisLedger, shape: str
) -> None:
    proxy.rate = 16.0 * MIB
    a = sparse(tmp_path / "a", 40, 80 * MIB)
    b = (
        sparse(tmp_path / "b", 40, 40 * MIB)
        if shape == "parts beside parts"
        else sparse(tmp_path / "b", 6000, MIB // 4)
    )
    for _ in range(3):
        place.worker(place.env["HUGESYNC_BROKER_URL"], "--root", tmp_path, "--concurrency", 1)
    place.submit(a, f"s3://{s3_bucket.bucket}/to-a", "--weight", 4)
    wait_until(lambda: moved(proxy, "to-a") > 16 * MIB, 90, "one at work")
    place.submit(b, f"s3://{s3_bucket.bucket}/to-b")
    wait_until(lambda: moved(proxy, "to-b") > 20 * MIB, 90, "both at work")
    one, other = moved(proxy, "to-a"), moved(proxy, "to-b")
    until = time.monotonic() + 60
    wait_until(lambda: time.monotonic() > until, 90, "a minute")
    ratio = (moved(proxy, "to-a") - one) / (moved(proxy, "to-b") - other)
    assert ratio == pytest.approx(4, rel=0.1)
    assert place.command("limit", job_of(ledger, b), "--weight", 16).code == 0
    after = time.monotonic() + 8  # and what is in the queue by then is done
    wait_until(lambda: time.monotonic() > after, what="a few seconds in which they hear of it")
    one, other = moved(proxy, "to-a"), moved(proxy, "to-b")
    until = time.monotonic() + 40
    wait_until(lambda: time.monotonic() > until, 60, "most of a minute")
    ratio = (moved(proxy, "to-b") - other) / (moved(proxy, "to-a") - one)
    assert ratio == pytest.approx(4, rel=0.15), "16:4"


@pytest.mark.full
def test_requests_and_bytes_of_an_endpoint_are_held_for_all_jobs_and_changed_live(
    tmp_path: Path, place: Place, proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    one, other = sparse(tmp_path / "one", 400, 10), sparse(tmp_path / "other", 400, 10)
    for _ in range(2):
        place.worker(place.env["HUGESYNC_BROKER_URL"], "--root", tmp_path, "--concurrency", 1)
    command = ("limit", "--endpoint", proxy.endpoint)
    assert place.command(*command, "--tpslimit", "20").code == 0
    runs = [place.submit(source, f"s3://{s3_bucket.bucket}/same/{source.name}") for source in (one, other)]

    def asked() -> int:
        return sum(e.method == "PUT" and "/same/" in e.path for e in list(proxy.exchanges))

    wait_until(lambda: asked() > 40, 60, "both at work")
    before, began = asked(), time.monotonic()
    wait_until(lambda: time.monotonic() > began + 10, what="ten seconds")
    rate = (asked() - before) / (time.monotonic() - began)
    assert rate == pytest.approx(20, rel=0.1)
    assert place.command(*command, "--tpslimit", "off").code == 0
    assert [run.finish(60).code for run in runs] == [0, 0]
    held = json.loads(place.command(*command, "--json").out)
    assert held == {"endpoint": proxy.endpoint, "bwlimit": 0, "tpslimit": 0.0, "jobs": 0}
