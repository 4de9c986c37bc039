"""A fleet whose queues and whose ledger lie on two servers: each holds what is its own, and the queues may be lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import servers
from compare import bucket as bucket_tree
from compare import differences, tree
from conftest import Bucket
from processes import Place, Running, wait_until
from slowproxy import SlowProxy

PART = 5 << 20


@pytest.fixture
def broker(server_dir: Path) -> Iterator[servers.ValkeyServer]:
    server = servers.start_valkey(server_dir / "queues")
    yield server
    server.stop()


@pytest.fixture
def state(server_dir: Path) -> Iterator[servers.ValkeyServer]:
    server = servers.start_valkey(server_dir / "ledger")
    yield server
    server.stop()


@pytest.fixture
def fleet(
    tmp_path: Path, s3_bucket: Bucket, broker: servers.ValkeyServer, state: servers.ValkeyServer
) -> Iterator[tuple[Place, SlowProxy]]:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for n in range(700):
        (tmp_path / "data" / "sub" / f"f{n:03}").write_bytes(os.urandom(100))
    (tmp_path / "data" / "large").write_bytes(os.urandom(12 * PART + 1))
    with SlowProxy(s3_bucket.endpoint) as proxy:
        env = {
            **s3_bucket.env,
            "AWS_ENDPOINT_URL_S3": proxy.endpoint,
            "HUGESYNC_PART_SIZE": str(PART),
            "HUGESYNC_WORKER_ROOTS": f"data={tmp_path / 'data'}",
        }
        place = Place(tmp_path / "place", env)
        yield place, proxy
        place.end()


def start_worker(place: Place, broker: servers.ValkeyServer, state: servers.ValkeyServer) -> Running:
    return place.worker(broker.url, "--state", state.url, "--concurrency", 1)


def keys(server: servers.ValkeyServer) -> set[str]:
    with redis.Redis.from_url(server.url) as r:
        return {key.decode() for key in r.keys("*")}


def queued(server: servers.ValkeyServer) -> int:
    with redis.Redis.from_url(server.url) as r:
        return int(r.llen("hs:q:hs.data"))


@pytest.mark.full
def test_queues_lost_and_the_worker_killed_in_the_middle_the_ledger_alone_brings_the_job_to_its_end(
    tmp_path: Path,
    fleet: tuple[Place, SlowProxy],
    broker: servers.ValkeyServer,
    state: servers.ValkeyServer,
    s3_bucket: Bucket,
) -> None:
    place, proxy = fleet
    both = ("--broker", broker.url, "--state", state.url)
    worker = start_worker(place, broker, state)
    proxy.hold_after(up=4 * PART)
    run = place.submit(*both, tmp_path / "data", f"s3://{s3_bucket.bucket}/up")
    proxy.held()
    wait_until(lambda: queued(broker) > 0, what="messages that wait")
    assert {key for key in keys(broker) if key.startswith("hs:") and not key.startswith("hs:q:")} == set()
    assert not any(key.startswith("hs:q:") for key in keys(state))
    assert any(key.startswith("hs:job:") for key in keys(state))
    assert any(key.startswith("hs:{workers}:") for key in keys(state))
    told = place.command("jobs", *both)
    assert f"s3://{s3_bucket.bucket}/up" in told.out, told
    assert f"s3://{s3_bucket.bucket}/up" not in place.command("jobs", "--broker", broker.url).out

    worker.kill()
    with redis.Redis.from_url(broker.url) as r:
        r.flushall()
    assert queued(broker) == 0
    proxy.release()
    start_worker(place, broker, state)
    ended = run.finish()

    assert ended.code == 0, ended.err
    assert ended.summary["files"] == {**ended.summary["files"], "found": 701, "done": 701, "failed": 0, "pending": 0}
    expected = tree(tmp_path / "data", folders="none")
    assert differences(expected, bucket_tree(s3_bucket.client, s3_bucket.bucket, "up/")) == []
    assert s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.bucket).get("Uploads", []) == []


def test_a_worker_that_looks_for_the_ledger_at_the_broker_serves_no_job_of_a_fleet_with_two_servers(
    tmp_path: Path,
    fleet: tuple[Place, SlowProxy],
    broker: servers.ValkeyServer,
    state: servers.ValkeyServer,
    s3_bucket: Bucket,
) -> None:
    place, _ = fleet
    place.worker(broker.url, "--concurrency", 1)
    wait_until(lambda: any(key.startswith("hs:{workers}:") for key in keys(broker)), what="the worker")
    both = ("--broker", broker.url, "--state", state.url)
    ended = place.submit(*both, "--stall-timeout", "3s", tmp_path / "data", f"s3://{s3_bucket.bucket}/up").finish()
    assert (ended.code, ended.summary["state"], ended.summary["files"]["done"]) == (5, "stalled", 0), ended.err
