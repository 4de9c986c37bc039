"""Workers that are told to end while they work: within their time, with exit code 0, and nothing is begun anew."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import servers
from conftest import Bucket
from processes import Place, Running, wait_until
from resident import Watch
from scale import scaled
from servers import ValkeyServer
from slowproxy import SlowProxy

PART = 5 << 20
LARGE = scaled(200, 12) * PART + 12_345
SMALL, BODY = scaled(6_000, 600), 20_000
SLOW = 0.05  # seconds before each 64 KiB: a part takes four, longer than a worker may drain


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "src"
    folder.mkdir(parents=True)
    with open(folder / "large", "wb") as out:
        for _ in range(LARGE // PART):
            out.write(os.urandom(PART))
        out.write(os.urandom(LARGE % PART))
    return folder.parent


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy, data: Path) -> Iterator[Place]:
    env = {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": proxy.endpoint, "HUGESYNC_PART_SIZE": str(PART)}
    it = Place(tmp_path / "place", {**env, "HUGESYNC_WORKER_ROOTS": f"data={data}"})
    yield it
    it.end()


def tasks(broker: ValkeyServer) -> list[dict[str, str]]:
    with redis.Redis.from_url(broker.url, decode_responses=True) as r:
        return [dict(r.hgetall(key)) for key in r.keys("hs:job:*:t:*")]


def at_work(broker: ValkeyServer, kind: str = "part") -> int:
    """Tasks under a lease that runs."""
    return sum(
        t.get("kind") == kind and t["state"] == "running" and int(t["until"]) > 1000 * time.time()
        for t in tasks(broker)
    )


def limit(broker: ValkeyServer, rate: int) -> None:
    """As ``hugesync limit`` does."""
    with redis.Redis.from_url(broker.url, decode_responses=True) as r:
        (job,) = r.zrange("hs:jobs", 0, -1)
        r.hset(f"hs:job:{{{job}}}:meta", "bwlimit", rate)


def parts_done(*workers: Running) -> Counter[int]:
    return Counter(int(n) for w in workers for n in re.findall(r"part (\d+): (?:more|all)", w.said()))


def same(bucket: Bucket, prefix: str, folder: Path) -> None:
    client = bucket.client  # one: it takes as long to make as twenty objects to read
    for path in folder.iterdir():
        body = client.get_object(Bucket=bucket.bucket, Key=f"{prefix}/{path.name}")["Body"].read()
        assert body == path.read_bytes(), path.name
    assert client.list_multipart_uploads(Bucket=bucket.bucket).get("Uploads", []) == []


def test_what_does_not_finish_in_time_goes_back_and_a_second_signal_ends_at_once(
    place: Place, broker: ValkeyServer, s3_bucket: Bucket, data: Path
) -> None:
    first = place.worker(broker.url, "-c", 2, "--drain-timeout", "1s")
    slowly = ("--bwlimit", "4M")  # or it may be over before the other limit is known
    run = place.submit("--broker", broker.url, *slowly, data / "src", f"s3://{s3_bucket.bucket}/up")
    wait_until(lambda: parts_done(first), what="the first part")
    limit(broker, 256 << 10)  # a second: of two parts each takes forty, and can be left between any two slices
    limited = time.monotonic()  # and known everywhere after a second
    wait_until(
        lambda: time.monotonic() > limited + 2 and at_work(broker) == 2 and len(tasks(broker)) > 4,
        what="two parts in hand",
    )

    began = time.monotonic()
    os.killpg(first.pid, signal.SIGTERM)  # to its children, too, as service managers do: they leave it to their parent
    assert first.process.wait(30) == 0
    assert time.monotonic() - began > 1, "what is in hand may finish for so long"
    assert first.said().count("goes back to the queue: this worker ends") in (1, 2), "one may have just ended"
    assert "did not end in time" not in first.said()
    assert at_work(broker) == 0, "what went back is free"

    second = place.worker(broker.url, "-c", 2)
    wait_until(lambda: at_work(broker) == 2, what="the parts to be taken up")
    second.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "told to end by SIGTERM" in second.said(), what="an answer to the signal")
    assert second.process.poll() is None, "it may go on for fifty seconds"
    began = time.monotonic()
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(30) == 128 + signal.SIGTERM
    assert at_work(broker) == 0, "its leases were given up"
    limit(broker, 0)
    third = place.worker(broker.url, "-c", 2)
    ended = run.finish()

    assert ended.code == 0, ended.err
    same(s3_bucket, "up", data / "src")
    done = parts_done(first, second, third)
    assert set(done.values()) == {1}
    assert not re.search(r"Traceback|WorkerLost", first.said() + third.said())


@pytest.mark.full
def test_all_workers_are_restarted_in_turn_under_load_and_nothing_fails(
    place: Place, broker: ValkeyServer, proxy: SlowProxy, s3_bucket: Bucket, data: Path
) -> None:
    """Each is told as a service manager tells it: the signal goes to all of its processes, and children see their work to the end."""
    for n in range(SMALL):
        (data / "src" / f"s{n:05}").write_bytes(os.urandom(BODY))
    with open(data / "src" / "large", "ab") as out:
        for _ in range(60):
            out.write(os.urandom(PART))
    total, budget = LARGE + 60 * PART + SMALL * BODY, 64 << 20
    how = ("-c", 1, "--drain-timeout", "1.5s", "--memory", "256MiB", "--buffer-budget", budget)

    def start() -> Running:
        worker = place.worker(broker.url, *how)
        memory.also(worker.pid)
        wait_until(lambda: "serves queue hs.data" in worker.said() or parts_done(worker), 60, "a worker that serves")
        return worker

    fleet, gone = [place.worker(broker.url, *how) for _ in range(3)], list[Running]()
    with Watch(*(worker.pid for worker in fleet)) as memory:
        proxy.latency = SLOW / 5
        run = place.submit("--broker", broker.url, data / "src", f"s3://{s3_bucket.bucket}/up")
        wait_until(
            lambda: any("kind=begin path=large" in worker.said() for worker in fleet),
            60,
            what="the large file to be begun",
        )
        proxy.latency = SLOW
        wait_until(lambda: at_work(broker) + at_work(broker, "batch") == 3, 60, what="all at work")
        for _ in range(6):
            worker = fleet.pop(0)
            began = time.monotonic()
            os.killpg(worker.pid, signal.SIGTERM)
            assert worker.process.wait(60) == 0
            assert time.monotonic() - began < 1.5 + 8 + 5, "and Celery's own way out"
            gone.append(worker)
            fleet.append(start())
        assert run.process.poll() is None, "it ended before all were restarted twice"
        proxy.latency = 0
        ended = run.finish(scaled(1200, 240))

    assert ended.code == 0, ended.err
    summary = ended.summary
    assert (summary["files"]["done"], summary["files"]["failed"], summary["conflicts"]) == (SMALL + 1, 0, 0)
    assert set(parts_done(*gone, *fleet).values()) == {1}, "no part that had arrived was sent again"
    assert total <= summary["bytes"]["sent"] <= total + 6 * PART, "at most what each had in hand"
    assert memory.largest <= 256 << 20, "each process under its --memory"
    assert memory.beside <= budget, "and a worker under its buffer budget and what its processes are by themselves"
    same(s3_bucket, "up", data / "src")
    for worker in (*gone, *fleet):
        assert not re.search(r"Traceback|WorkerLost|exited with|killed", worker.said())


@pytest.mark.full
def test_a_worker_whose_broker_is_gone_ends_when_it_is_told_to(place: Place) -> None:
    folder = tempfile.mkdtemp(prefix="hsf")
    server = servers.start_valkey(folder)
    try:
        worker = place.worker(server.url, "-c", 1)
        wait_until(lambda: "ready" in worker.said() and worker.children(), what="the worker")
        with redis.Redis.from_url(server.url) as r:
            wait_until(lambda: r.keys("hs:{workers}:*"), what="its entry in the register")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    wait_until(lambda: "Trying again" in worker.said(), what="it to miss its broker")
    began = time.monotonic()
    assert worker.stop(60) == 0
    assert time.monotonic() - began < 50, "well before the time in which what is in hand may finish"
