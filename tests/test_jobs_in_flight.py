"""``-j N``: never more than N tasks of a job are out, however many slots the fleet has."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import servers
from processes import Place, Running

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
