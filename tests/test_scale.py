"""``hugesync scale``: workers grow, shrink and pause while a job runs; nothing is begun anew, nothing is counted twice."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from conftest import Bucket
from hugesync_producer.pool import PAUSED, Pool
from hugesync_tasks.config import load
from hugesync_tasks.process import open_ledger
from hugesync_tasks.register import Register
from hugesync_tasks.slots import wanted
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.state.base import AS_PLANNED, EVERYONE
from hugesync_tasks.state.memory import MemoryLedger
from processes import Ended, Place, Running, wait_until
from scale import scaled
from servers import ValkeyServer
from slowproxy import SlowProxy
from test_cli import hugesync

PART = 5 << 20
LARGE = scaled(200, 25) * PART + 12_345
SMALL = scaled(4_000, 200)
SLOW = 0.04  # seconds before each 64 KiB of a connection: a part takes three, however many there are at once


def test_the_word_for_one_worker_stands_above_that_for_its_host_and_that_above_everyones() -> None:
    wishes = {EVERYONE: 1, "host": 2, "host-7": 3}
    assert [wanted(wishes, name) for name in ("host-7", "host-8", "other-host-7")] == [3, 2, 1]
    assert [wanted({"host": 2, "pod.5": 3}, name) for name in ("host.4026531-1", "pod.5-77", "pod.5.4026-1")] == [
        2,
        3,
        3,
    ]
    assert wanted({"host-7": 0}, "host-8") is None
    assert wanted({EVERYONE: AS_PLANNED}, "host-8") == AS_PLANNED


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_job_whose_workers_are_all_paused_waits_and_is_not_stalled(tmp_path: Path) -> None:
    clock, ledger = Clock(), MemoryLedger()
    source = Location("file", root="data", path="t", local=str(tmp_path / "t"))
    pool = Pool(
        ledger, Spec("job", source, Location("s3", bucket="b"), options=Options(stall_timeout=60)), False, clock
    )
    pool.probe(None)
    worker = Register(ledger, "h-1", 4, {"data": str(tmp_path)}, embedded=False)
    worker.tick()
    pool.look(1, "moved")
    assert pool.window == 64
    worker.slots, worker.paused = 0, True
    worker.tick()
    clock.now += 10_000
    pool.look(1, "moved")
    assert pool.waiting_for == PAUSED
    worker.slots, worker.paused = 40, False
    worker.tick()
    pool.look(1, "moved")
    assert (pool.waiting_for, pool.window) == ("", 160), "the window follows the children that are there"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "src"
    folder.mkdir(parents=True)
    with open(folder / "large", "wb") as out:
        for _ in range(LARGE // PART):
            out.write(os.urandom(PART))
        out.write(os.urandom(LARGE % PART))
    for n in range(SMALL):
        (folder / f"s{n:05}").write_bytes(os.urandom(1000))
    return folder.parent


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy, data: Path) -> Iterator[Place]:
    env = {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": proxy.endpoint, "HUGESYNC_PART_SIZE": str(PART)}
    it = Place(tmp_path / "place", {**env, "HUGESYNC_WORKER_ROOTS": f"data={data}"})
    yield it
    it.end()


def scale(place: Place, broker: ValkeyServer, *args: object) -> Ended:
    return place.command("scale", *args, "--broker", broker.url)


def row(broker: ValkeyServer) -> dict[str, object]:
    with redis.Redis.from_url(broker.url) as r:
        found = [json.loads(value) for key in r.keys("hs:{workers}:*") if (value := r.get(key))]
    return found[0] if found else {}


def settled(broker: ValkeyServer) -> int:
    """Tasks that are out: each is a field of the job's ``tasks``."""
    with redis.Redis.from_url(broker.url) as r:
        return sum(r.hlen(key) for key in r.keys("hs:job:*:tasks"))


def running(broker: ValkeyServer) -> int:
    with redis.Redis.from_url(broker.url) as r:
        return sum(r.hget(key, "state") == b"running" for key in r.keys("hs:job:*:t:*"))


def parts_done(*workers: Running) -> Counter[int]:
    return Counter(int(n) for w in workers for n in re.findall(r"part (\d+): (?:more|all)", w.said()))


def exact(ended: Ended, bucket: Bucket, data: Path) -> None:
    """Everything is there, and every byte went once."""
    assert ended.code == 0, ended.err
    assert ended.summary["bytes"]["sent"] == LARGE + 1000 * SMALL
    assert ended.summary["files"]["done"] == SMALL + 1
    for name in ("large", "s00000", f"s{SMALL - 1:05}"):
        body = bucket.client.get_object(Bucket=bucket.bucket, Key=f"up/{name}")["Body"].read()
        assert body == (data / "src" / name).read_bytes()


def test_a_worker_grows_shrinks_and_pauses_while_a_job_runs_and_every_byte_goes_once(
    place: Place, broker: ValkeyServer, proxy: SlowProxy, s3_bucket: Bucket, data: Path
) -> None:
    worker = place.worker(broker.url, "-c", 1)
    wait_until(lambda: row(broker), what="the worker")
    proxy.latency = SLOW
    run = place.submit("--broker", broker.url, data / "src", f"s3://{s3_bucket.bucket}/up")
    wait_until(lambda: parts_done(worker), what="the first part")

    told = scale(place, broker, 4)
    assert re.fullmatch(r"worker \S+ was told to have 4 child processes \(now 1\)\n", told.out), told.err
    wait_until(lambda: len(worker.children()) == 4 and row(broker)["slots"] == 4, what="four children")
    wait_until(lambda: running(broker) == 4, what="four tasks at once")

    first = {child.pid for child in worker.children()}
    assert "was told to pause" in scale(place, broker, 0).out
    wait_until(lambda: row(broker)["paused"], what="the pause")
    wait_until(lambda: not running(broker), what="what was in hand")
    wait_until(lambda: len(worker.children()) == 1, what="the others to have gone")
    still, out = parts_done(worker), settled(broker)
    assert out > 0, "it ended before it was paused"
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert (parts_done(worker), settled(broker), running(broker)) == (still, out, 0)
        time.sleep(0.2)
    assert "is paused" in place.command("status", job_of(broker), "--broker", broker.url).out

    scale(place, broker, 2)
    proxy.latency = 0
    wait_until(lambda: len(worker.children()) == 2, what="two children")
    assert len({child.pid for child in worker.children()} & first) == 1
    ended = run.finish()

    exact(ended, s3_bucket, data)
    assert parts_done(worker) == dict.fromkeys(range(1, LARGE // PART + 2), 1)
    assert "children: 1 → 4 (hugesync scale)" in worker.said()
    assert not re.search(r"exited|WorkerLost|Traceback", worker.said())
    later = place.worker(broker.url, "-c", 1)
    wait_until(lambda: len(later.children()) == 2, what="a worker that comes later to be told the same")
    assert scale(place, broker, "plan", "--json").summary["slots"] is None
    wait_until(lambda: len(later.children()) == 1, what="as many as it planned")


@pytest.mark.full
def test_a_worker_scales_itself_up_while_that_moves_more_and_down_when_there_is_nothing_to_do(
    place: Place, broker: ValkeyServer, proxy: SlowProxy, s3_bucket: Bucket, data: Path
) -> None:
    """Each connection is slow by itself, so that each child adds what it moves."""
    with open(data / "src" / "large", "ab") as out:
        for _ in range(40):
            out.write(os.urandom(PART))
    eager = [sys.executable, str(Path(__file__).parent / "eager_worker.py"), "--broker", broker.url, "-v"]
    worker = place.start([*eager, "-c", "1", "--autoscale-max", "3"])
    wait_until(lambda: row(broker), what="the worker")
    proxy.latency = 0.02  # seconds before each 64 KiB of a connection
    run = place.submit("--broker", broker.url, data / "src", f"s3://{s3_bucket.bucket}/up")
    wait_until(lambda: len(worker.children()) == 3, 120, "three children")
    wait_until(lambda: running(broker) == 3, what="three tasks at once")
    ended = run.finish(300)
    assert ended.code == 0, ended.err
    assert ended.summary["bytes"]["sent"] == LARGE + 40 * PART + 1000 * SMALL
    assert set(parts_done(worker).values()) == {1}
    assert re.search(r"children: 1 → 2 \(autoscale: 1 had work all the time and moved \d+\.\d MiB/s\)", worker.said())
    wait_until(lambda: len(worker.children()) == 1, 60, "the idle ones to go")
    assert "of the children had nothing to do" in worker.said()
    assert not re.search(r"exited|WorkerLost|Traceback", worker.said())


def job_of(broker: ValkeyServer) -> str:
    with redis.Redis.from_url(broker.url) as r:
        return str(r.zrange("hs:jobs", 0, 0)[0].decode())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["many", "--broker", "redis://127.0.0.1:1/0"], "'many' is no number of child processes: 0 to 1024, or plan"),
        (["1025", "--broker", "redis://127.0.0.1:1/0"], "0 to 1024"),
        (["2"], "scale is about the workers of a fleet"),
    ],
)
def test_what_cannot_be_scaled_is_bad_usage(
    args: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HUGESYNC_BROKER_URL", raising=False)
    assert hugesync("scale", *args) == 2
    assert says in capsys.readouterr().err


def test_a_worker_is_meant_by_its_name_or_its_hosts_and_one_that_is_not_there_is_refused(
    broker: ValkeyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = open_ledger(load({"broker_url": broker.url}))
    assert hugesync("scale", "3", "--broker", broker.url) == 0
    assert capsys.readouterr().out == "no worker is there now; those that come are told to have 3 child processes\n"
    for name in ("h-1", "h.4026-1", "other-1"):
        Register(ledger, name, 2, {}, embedded=False).tick()
    assert hugesync("scale", "0", "--worker", "nobody", "--broker", broker.url) == 2
    assert "no worker is called nobody; workers: h-1 (" in capsys.readouterr().err
    assert ledger.wished_slots() == {EVERYONE: 3}
    assert hugesync("scale", "0", "--worker", "h", "--broker", broker.url) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == ["worker h-1 was told to pause (now 2)", "worker h.4026-1 was told to pause (now 2)"]
    assert hugesync("scale", "5", "--worker", "h-1", "--broker", broker.url, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"slots": 5, "workers": ["h-1"]}
    assert ledger.wished_slots() == {EVERYONE: 3, "h": 0, "h-1": 5}
    assert hugesync("scale", "plan", "--broker", broker.url) == 0
    assert ledger.wished_slots() == {EVERYONE: AS_PLANNED}
    assert "worker other-1 was told to have as many child processes as planned (now 2)" in capsys.readouterr().out
    ledger.close()
