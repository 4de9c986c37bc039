"""A cancel reaches what a worker has in hand within two seconds, also at a store that is slow."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from conftest import Bucket
from hugesync_tasks import lease
from hugesync_tasks.errors import Cancelled
from hugesync_tasks.lease import LEASE_MS, Lease
from hugesync_tasks.state.base import Task
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.stores import paced_body
from hugesync_tasks.stores.paced_body import SLICE, PacedBody
from processes import Place, wait_until
from slowproxy import SlowProxy

SEEN = 2.0  # seconds
SLOW = 192 << 10  # bytes per second: a part takes 40 seconds and more
LOAD = 2.0  # what a machine that does other things too may add


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket) -> Iterator[Place]:
    it = Place(tmp_path / "place", {**s3_bucket.env, "HUGESYNC_PART_SIZE": "8MiB"})
    yield it
    it.end()


@pytest.mark.full
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_part_in_flight_at_a_slow_store_ends_within_two_seconds_of_the_cancel(
    way: str, place: Place, broker: servers.ValkeyServer, s3_bucket: Bucket, tmp_path: Path
) -> None:
    folder, there = tmp_path / "src", f"s3://{s3_bucket.bucket}/up"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(24 << 20))
    fleet = ("--broker", broker.url)
    if way == "down":
        assert place.submit(folder, there).finish().code == 0
    with SlowProxy(s3_bucket.endpoint) as proxy:
        through = {"AWS_ENDPOINT_URL_S3": proxy.endpoint}
        worker = place.worker(broker.url, "--root", f"data={tmp_path}", "-c", 1, **through)
        ends = (folder, there) if way == "up" else (there, tmp_path / "out")
        method, part = ("PUT", "uploadId") if way == "up" else ("GET", "/up/large")

        run = place.submit(*fleet, *ends, **through)
        wait_until(lambda: any(e.method == method and part in e.path for e in list(proxy.exchanges)), what="a part")
        proxy.rate = SLOW
        time.sleep(2)  # the part is under way, and slow
        (job,) = [line.split()[0] for line in place.command("jobs", *fleet).out.splitlines()[1:]]
        assert "ancelled" not in worker.said()
        assert place.command("cancel", job, *fleet).code == 0
        told = time.monotonic()
        wait_until(lambda: "ancelled" in worker.said(), what="the child's end of its task")
        assert time.monotonic() - told < SEEN + LOAD
        ended = run.finish()
        assert (ended.code, ended.summary["state"]) == (130, "cancelled"), ended.err


@pytest.mark.parametrize("rate", [32 << 10, 192 << 10, 1 << 20, 16 << 20])
def test_a_body_is_given_in_slices_that_leave_a_cancel_near_however_slow_the_socket(
    rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, now = MemoryLedger(), [1000.0]
    for module in (lease, paced_body):
        monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    ledger.put_tasks("j", [Task("t", "part", "q", 1, "{}")])
    held = Lease(ledger, "j", ledger.claim("j", "t", "w", LEASE_MS, 5), LEASE_MS, now[0])
    held.token.deadline = held.token._patience = None  # by another clock
    body, slices = PacedBody(bytes(64 << 20), held.token), []
    with pytest.raises(Cancelled):
        while chunk := body.read(16384):
            slices.append(len(chunk))
            if sum(slices) > 20 << 20 and ledger.meta("j").get("cancel") != "1":
                told = now[0]
                ledger.cancel("j")
            now[0] += len(chunk) / rate
    assert now[0] - told <= SEEN + 1.0
    assert isinstance(body.stopped, Cancelled)
    if rate == 16 << 20:
        assert max(slices) == SLICE, "where it is fast, few are given"
