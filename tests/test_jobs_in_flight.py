"""``-j N``: never more than N tasks of a job are out, however many slots the fleet has, and two are done sooner than one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import servers
from conftest import Bucket
from processes import Place, Running
from scale import scaled
from slowproxy import Exchange, SlowProxy

MIB = 1 << 20
SLOTS = 4


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "place", {"HUGESYNC_QUEUE_PREFIX": f"t{uuid.uuid4().hex[:8]}"})
    yield place
    place.end()


def most_out(place: Place, broker: str, job: Running) -> int:
    """The highest number of unsettled tasks the ledger showed until ``job`` ended."""
    ledger = redis.Redis.from_url(broker)
    prefix = place.env["HUGESYNC_QUEUE_PREFIX"]
    highest = 0
    while job.process.poll() is None:
        for key in ledger.keys(f"{prefix}:job:*:tasks"):
            highest = max(highest, int(ledger.hlen(key)))
    return highest


def test_no_more_than_n_tasks_are_ever_out(tmp_path: Path, place: Place, valkey: servers.ValkeyServer) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for i in range(3):
        (tree / f"large {i}").write_bytes(bytes(range(256)) * (80 * MIB // 256))  # five parts each
    for i in range(40):
        (tree / f"middle {i}").write_bytes(b"m" * (9 * MIB))  # a batch each
    place.worker(valkey.url, "--concurrency", SLOTS, "--root", tmp_path)
    seen = {}
    for jobs in (2, None):
        dest = tmp_path / f"out {jobs}"
        limit = ("-j", jobs) if jobs else ()
        running = place.submit(tree, dest, "--broker", valkey.url, *limit, HUGESYNC_WORKER_ROOTS=str(tmp_path))
        seen[jobs] = most_out(place, valkey.url, running)
        ended = running.finish()
        assert ended.code == 0, ended.err
        assert ended.summary["files"]["done"] == 43
        assert sorted(p.name for p in dest.iterdir() if not p.name.startswith(".")) == sorted(
            p.name for p in tree.iterdir()
        )
    assert seen[2] == 2
    assert seen[None] > SLOTS  # without -j the window keeps every slot busy


def at_once(parts: list[Exchange]) -> int:
    """How many of them were under way at the same time, at most."""
    turns = sorted([(p.began, 1) for p in parts] + [(p.ended, -1) for p in parts])
    most = now = 0
    for _, step in turns:
        now += step
        most = max(most, now)
    return most


def test_two_at_a_time_are_never_more_and_take_half_as_long_where_the_store_is_slow_to_answer(
    tmp_path: Path, place: Place, s3_bucket: Bucket
) -> None:
    """Each piece of 64 KiB takes 8 ms on its way: a connection gives 8 MB/s, however idle the machine is."""
    parts, part = scaled(40, least=6), 5 * MIB
    (tmp_path / "large").write_bytes(bytes(range(256)) * (parts * part // 256))
    spans = {}
    for n in (1, 2):
        with SlowProxy(s3_bucket.endpoint, latency=0.008) as proxy:
            env = {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": proxy.endpoint, "HUGESYNC_PART_SIZE": "5MiB"}
            ended = place.submit(tmp_path / "large", f"s3://{s3_bucket.bucket}/{n}", "-j", n, **env).finish()
            assert ended.code == 0, ended.err
            sent = [e for e in proxy.exchanges if e.method == "PUT" and e.sent == part]
        assert len(sent) == parts
        assert at_once(sent) == n
        spans[n] = max(e.ended for e in sent) - min(e.began for e in sent)
    assert spans[2] < 0.7 * spans[1]
