"""Jobs of a fleet whose coordinator ends without a word, or that never had one: a worker starts another, one at a time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

import servers
from compare import differences, tree
from processes import Place, Running, wait_until

FILES = 300
MIB = 1 << 20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The root as the producer sees it; ``mounts/data`` is where the workers have it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "mounts").mkdir()
    (tmp_path / "mounts" / "data").symlink_to(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, data: Path) -> Iterator[Place]:
    it = Place(tmp_path / "place", {"HUGESYNC_WORKER_ROOTS": f"data={data}", "HUGESYNC_PART_SIZE": str(5 * MIB)})
    yield it
    it.end()


def tree_of(folder: Path) -> Path:
    for i in range(FILES):
        path = folder / f"d{i % 10}" / f"f{i:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(500))
    with open(folder / "large", "wb") as out:
        out.write(os.urandom(12 * MIB))
    return folder


class Fleet:
    """A broker, and what a test does to it and sees of it."""

    def __init__(self, place: Place, broker: servers.ValkeyServer, mount: Path) -> None:
        self.place, self.broker, self.mount = place, broker, mount
        self.redis: Any = redis.Redis.from_url(broker.url, decode_responses=True)

    def worker(self, root: Path | None = None, **env: str) -> Running:
        at = self.mount if root is None else root
        args = ("--root", f"data={at}", "--concurrency", "1")
        return self.place.worker(self.broker.url, *args, HUGESYNC_WORKER_ROOTS="", **env)

    def submit(self, *args: object, **env: str) -> Running:
        return self.place.submit("--broker", self.broker.url, *args, **env)

    def status(self, job: str) -> dict[str, Any]:
        return self.place.command("status", job, "--json", "--broker", self.broker.url).summary

    @property
    def job(self) -> str:
        return str(wait_until(lambda: self.redis.zrange("hs:jobs", 0, -1), what="a job")[0])

    def meta(self, name: str) -> str:
        return str(self.redis.hget(f"hs:job:{{{self.job}}}:meta", name) or "")

    def lapse(self) -> None:
        """The lease of a coordinator that is gone or stands still runs out now instead of within 30 s."""
        self.redis.delete(f"hs:job:{{{self.job}}}:lease")

    def until(self, state: str, timeout: float = 60) -> None:
        wait_until(lambda: self.meta("state") == state, timeout, f"the state {state}, it is {self.meta('state')}")

    def standins(self) -> list[psutil.Process]:
        return [p for p in self.place.living() if "hugesync_producer.standin" in _line(p)]


def _line(p: psutil.Process) -> list[str]:
    try:
        return p.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def fleet(place: Place, broker: servers.ValkeyServer, tmp_path: Path) -> Fleet:
    return Fleet(place, broker, tmp_path / "mounts" / "data")


def stopped_midway(fleet: Fleet, source: Path, dest: Path) -> Running:
    """A producer that has sent work which no worker has taken yet."""
    run = fleet.submit(source, dest)
    wait_until(lambda: fleet.redis.hlen("hs:announce"), what="the announcement")
    return run


def test_a_producer_killed_is_followed_by_a_worker_that_ends_the_job(fleet: Fleet, data: Path) -> None:
    source, dest = tree_of(data / "src"), data / "dst"
    worker = fleet.worker()
    wait_until(lambda: fleet.redis.keys("hs:{workers}:*"), what="the worker")
    worker.process.send_signal(signal.SIGSTOP)
    run = stopped_midway(fleet, source, dest)
    run.kill()
    fleet.lapse()
    worker.process.send_signal(signal.SIGCONT)
    fleet.until("done")

    ended = fleet.status(fleet.job)
    assert (ended["state"], ended["files"]["done"], ended["files"]["pending"]) == ("done", FILES + 1, 0)
    assert ended["dest"] == str(dest), "as it was submitted, wherever the worker has it"
    assert differences(tree(source), tree(dest)) == []
    assert fleet.redis.hgetall("hs:offers") == fleet.redis.hgetall("hs:announce") == {}
    assert [p.name for p in data.rglob(".hugesync-job*")] == []
    wait_until(lambda: not fleet.standins(), what="the coordinator's end")
    assert worker.stop() == 0
