"""What a worker says when it starts, and which version it is."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import servers
from hugesync_tasks import __version__
from processes import Place, wait_until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    it = Place(tmp_path / "place")
    yield it
    it.end()


@pytest.fixture
def url() -> Iterator[str]:
    """A broker with a password."""
    folder = tempfile.mkdtemp(prefix="hsf")
    server = servers.start_valkey(folder)
    with redis.Redis.from_url(server.url) as r:
        r.config_set("requirepass", "s3cret")
    yield server.url.replace("://", "://:s3cret@")
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_worker_says_who_it_is_and_what_it_serves_and_nothing_else(place: Place, url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hugesync_worker", "--broker", url, "-c", "2", "--memory", "300MiB"]
    worker = place.start([*command, "--root", f"data={tmp_path}", "--root", "/nowhere/at/all"])
    wait_until(lambda: len(worker.children()) == 2, what="its children")
    with redis.Redis.from_url(url) as r:
        wait_until(lambda: r.keys("hs:{workers}:*"), what="its entry in the register")

    assert worker.stop() == 0

    first, second, *size, last = worker.said().splitlines()
    assert f"HugeSync {__version__}, broker redis://127.0.0.1:" in first
    assert "2 children of at most 300.0 MiB each" in first
    assert f"data={tmp_path}, /nowhere/at/all=/nowhere/at/all (no folder is there now)" in second
    assert "hs.any" in second
    for line, said in zip(
        size, ["children: 2 (as it is set)", "memory: 300MiB each (as it is set)", "buffers: ", "open files: "]
    ):
        assert said in line
    assert len(size) == 4
    assert "told to end by SIGTERM: takes nothing more; in hand: 0, may finish within 50 s" in last
    assert worker.out.read_text() == ""
    assert "s3cret" not in worker.said()


def test_under_json_each_line_of_a_starting_worker_is_an_object(place: Place, url: str) -> None:
    command = [sys.executable, "-m", "hugesync_worker", "--broker", url, "-c", "1", "--log-format", "json"]
    worker = place.start(command)
    wait_until(lambda: worker.children(), what="its child")
    assert worker.stop() == 0
    events = [json.loads(line)["event"] for line in worker.said().splitlines()]
    assert "roots, as soon as a job needs them: none" in events[1]


def test_a_plain_celery_worker_says_it_too(place: Place, url: str, tmp_path: Path) -> None:
    celery = [sys.executable, "-m", "celery", "-A", "hugesync_tasks", "worker", "--loglevel", "INFO", "-c", "1"]
    worker = place.start(celery, HUGESYNC_BROKER_URL=url, HUGESYNC_WORKER_ROOTS=f"data={tmp_path}")
    wait_until(lambda: f"roots, as soon as a job needs them: data={tmp_path}" in worker.said(), what="its roots")
    (child,) = worker.children()
    open_files = [os.readlink(fd) for fd in Path(f"/proc/{child.pid}/fd").iterdir()]
    assert [f for f in open_files if "hugesync-buffers" in f], "the budget of all children was made before this one"
    assert worker.stop() == 0
    assert "s3cret" not in worker.said() + worker.out.read_text()


@pytest.mark.parametrize("command", ["hugesync", "hugesync-submit", "hugesync-worker", "hugesync-exporter"])
def test_each_command_tells_its_version(place: Place, command: str) -> None:
    entry = {
        "hugesync": "from hugesync_producer.cli import hugesync as main",
        "hugesync-submit": "from hugesync_producer.cli import submit as main",
        "hugesync-worker": "from hugesync_worker.__main__ import main",
        "hugesync-exporter": "from hugesync_worker.exporter import main",
    }[command]
    ended = place.start([sys.executable, "-c", f"{entry}; import sys; sys.exit(main())", "--version"]).finish()
    assert (ended.code, ended.out) == (0, f"{command} {__version__}\n")
