"""Hosts with addresses of their own: a link is cut, a worker is lost for good, another one joins late (``make test-system``)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import servers
from compare import bucket as bucket_tree
from compare import differences, tree
from hosts import Network
from processes import _SUBMIT, Place, Running, wait_until
from scale import scaled
from slowproxy import SlowProxy

pytestmark = pytest.mark.system

PART = 5 << 20
LARGE = scaled(2 << 30) // PART * PART + 12_345  # bytes of the one large file
SMALL = scaled(20_000, 1_000)  # files of 2,000 bytes each
CUT = 60  # seconds, at any scale; longer than a lease, so that others take what the lost host has
LASTS = 3 * CUT  # seconds that the store takes for all of it
IN_HAND = 4  # parts that one worker of two processes may have begun: two, and two that follow before it sees that it is cut off


@dataclass
class Scene:
    network: Network
    broker: servers.ValkeyServer
    store: servers.S3Server
    proxy: SlowProxy
    place: Place
    data: Path

    def worker(self, host: str) -> Running:
        command = (sys.executable, "-m", "hugesync_worker", "--broker", self.broker.url, "-v", "-c", "2")
        return self.place.start([*self.network.inside(host), *command, "--root", f"data={self.data}"])

    def submit(self, *arguments: object) -> Running:
        command = [sys.executable, "-c", _SUBMIT, "--json", "--broker", self.broker.url, *map(str, arguments)]
        return self.place.start([*self.network.inside("producer"), *command])


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        network = Network()
        stack.callback(network.close)
        address = {name: network.host(name) for name in ("redis", "store", "producer", "w1", "w2", "w3")}
        short = tempfile.mkdtemp(prefix="hsn")
        stack.callback(shutil.rmtree, short, ignore_errors=True)
        redis = ("--protected-mode", "no")
        broker = servers.start_valkey(f"{short}/v", *redis, host=address["redis"], inside=network.inside("redis"))
        stack.callback(broker.stop)
        store = servers.start_seaweedfs(f"{short}/s", address["store"], network.inside("store"))
        stack.callback(store.stop)
        proxy = stack.enter_context(SlowProxy(store.endpoint, host=network.address))
        data = tmp_path / "data"
        data.mkdir()
        env = {
            **store.env,
            "AWS_ENDPOINT_URL_S3": proxy.endpoint,
            "HUGESYNC_PART_SIZE": str(PART),
            "HUGESYNC_WORKER_ROOTS": f"data={data}",
        }
        place = Place(tmp_path / "place", env)
        stack.callback(place.end)
        yield Scene(network, broker, store, proxy, place, data)


def parts(worker: Running) -> list[int]:
    return [int(n) for n in re.findall(r"part (\d+): (?:more|all)", worker.said())]


def test_a_link_is_cut_a_worker_is_lost_for_good_and_another_joins_late(scene: Scene) -> None:
    source = scene.data / "src"
    source.mkdir()
    with open(source / "large", "wb") as out:
        for _ in range(LARGE // PART):
            out.write(os.urandom(PART))
        out.write(os.urandom(LARGE % PART))
    for i in range(SMALL):
        path = source / f"d{i % 20:02}" / f"f{i:05}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(2_000))
    client = servers.s3_client(scene.store)
    client.create_bucket(Bucket="bucket")
    scene.proxy.rate = (LARGE + SMALL * 2_000) / LASTS
    first, second = scene.worker("w1"), scene.worker("w2")
    run = scene.submit(source, "s3://bucket/up")
    wait_until(lambda: parts(first) and parts(second), 120, "both workers at work")

    scene.network.cut("w1")
    back = time.monotonic() + CUT
    before = len(parts(first))
    third = scene.worker("w3")
    wait_until(lambda: parts(third), 120, "the worker that joins late at work")
    lost = [psutil.Process(second.pid), *second.children()]
    for process in lost:
        process.send_signal(signal.SIGKILL)
    done = len(parts(third))
    wait_until(
        lambda: time.monotonic() > back and len(parts(third)) > done,
        10 * CUT,
        "a minute's work without the one cut off",
    )
    assert run.process.poll() is None, "there is work left for it"
    assert len(parts(first)) <= before + IN_HAND, "nothing came through the cut link"
    scene.network.mend("w1")
    wait_until(lambda: len(parts(first)) > before or run.process.poll() is not None, 120, "the worker that came back")
    scene.proxy.rate = None
    ended = run.finish(300)

    assert ended.code == 0, ended.err
    assert ended.summary["files"]["done"] == SMALL + 1
    assert ended.summary["files"]["failed"] == 0
    assert len(parts(first)) > before, "the worker whose link was mended works again"
    assert differences(tree(source, folders="none"), bucket_tree(client, "bucket", "up/")) == []
    assert client.list_multipart_uploads(Bucket="bucket").get("Uploads", []) == []
    sent = sum(e.sent for e in scene.proxy.exchanges if e.method == "PUT")
    batches = 4 * 512 * 2_000 + (1 << 20)  # a batch of each process that was lost or cut off; sidecar and intent
    assert sent <= LARGE + SMALL * 2_000 + 2 * IN_HAND * PART + batches, "what two hosts had in hand, and no more"
