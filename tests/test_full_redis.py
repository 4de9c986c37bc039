"""Experiment 8: Redis takes no writes for a while, as when its memory is full under ``noeviction``: the job waits, and goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import redis

import servers
from conftest import Bucket
from processes import Place, wait_until
from slowproxy import SlowProxy


@pytest.mark.full
def test_a_redis_that_is_full_for_a_while_delays_the_job_and_nothing_more(
    tmp_path: Path, place: Place, proxy: SlowProxy, broker: servers.ValkeyServer, s3_bucket: Bucket
) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    bodies = {f"f{n:03}": os.urandom(1000 + n) for n in range(300)}
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    root = f"data={folder}"
    worker = place.worker(broker.url, "--root", root, "--concurrency", 2)
    proxy.hold_at("PUT", "f100")
    submit = place.submit(folder, f"s3://{s3_bucket.bucket}/x", "--broker", broker.url, HUGESYNC_WORKER_ROOTS=root)
    proxy.held()
    with redis.Redis.from_url(broker.url) as r:
        r.config_set("maxmemory", 1)
        proxy.release()
        wait_until(lambda: "waiting for the ledger" in submit.said(), what="the producer to see that Redis is full")
        assert submit.process.poll() is None
        r.config_set("maxmemory", 0)
    ended = submit.finish()
    assert ended.code == 0, ended.err + worker.said()
    assert ended.summary["files"]["done"] + ended.summary["files"]["skipped"] == len(bodies)
    assert ended.summary["files"]["failed"] == 0
    listed = s3_bucket.client.list_objects_v2(Bucket=s3_bucket.bucket, Prefix="x/")["Contents"]
    assert {o["Key"].removeprefix("x/"): o["Size"] for o in listed} == {
        name: len(body) for name, body in bodies.items()
    }
