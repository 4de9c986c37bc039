"""A fleet whose Redis is full, comes back without its last second, or is connected to nobody: the job waits and ends right."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

import servers
from processes import Place, Running, wait_until

FILES = 120
SIZE = (8 << 20) + 1  # a task each; sparse, so that it costs nothing


@pytest.fixture
def server() -> Iterator[servers.ValkeyServer]:
    folder = tempfile.mkdtemp(prefix="hsf")
    it = servers.start_valkey(folder)
    yield it
    it.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "data").mkdir()
    it = Place(tmp_path / "place", {"HUGESYNC_WORKER_ROOTS": f"data={tmp_path / 'data'}"})
    yield it
    it.end()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "src"
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(FILES):
        with open(folder / f"f{i:03}", "wb") as out:
            out.write(b"%d" % i)
            out.truncate(SIZE)
    return folder


def client(server: servers.ValkeyServer) -> Any:
    return redis.Redis.from_url(server.url, decode_responses=True)


def begun(place: Place, url: str, source: Path, arrived: int) -> tuple[Running, Running]:
    """A worker and a producer, when so many files are there."""
    worker = place.worker(url, "--concurrency", "1")
    run = place.submit("--broker", url, source, source.parent / "dst")
    wait_until(lambda: there(source) >= arrived, 60, f"{arrived} files")
    assert run.process.poll() is None, run.said()
    return worker, run


def there(source: Path) -> int:
    dest = source.parent / "dst"
    return sum(1 for p in dest.iterdir() if not p.name.startswith(".hugesync")) if dest.is_dir() else 0


def ended_well(run: Running, source: Path) -> None:
    ended = run.finish(120)
    assert (ended.code, ended.summary["state"]) == (0, "done"), ended.err
    files = ended.summary["files"]
    assert (files["found"], files["done"] + files["skipped"], files["failed"]) == (FILES, FILES, 0)
    for i in range(FILES):
        path = source.parent / "dst" / f"f{i:03}"
        assert path.stat().st_size == SIZE
        with open(path, "rb") as f:
            assert f.read(4).rstrip(b"\0") == b"%d" % i


@pytest.mark.full
def test_a_full_server_stops_the_job_until_there_is_room(
    place: Place, server: servers.ValkeyServer, source: Path
) -> None:
    worker, run = begun(place, server.url, source, 10)
    with client(server) as r:
        r.config_set("maxmemory", 1)
        wait_until(lambda: "waiting for the ledger" in run.said(), 30, "the producer's notice")
        assert "takes no writes now" in run.said()
        time.sleep(3)  # long enough for everybody to have met it
        assert worker.process.poll() is None, worker.said()[-3000:]
        r.config_set("maxmemory", 0)
    ended_well(run, source)
    assert worker.stop() == 0


@pytest.mark.full
def test_a_server_that_comes_back_without_its_last_second_delays_the_job_and_nothing_more(
    place: Place, server: servers.ValkeyServer, source: Path
) -> None:
    worker, run = begun(place, server.url, source, 5)
    with client(server) as r:
        r.save()
    known = there(source)
    wait_until(lambda: there(source) >= known + 10, what="files that the copy knows nothing of")
    assert run.process.poll() is None
    server.process.kill()
    server.process.wait()
    server.process, server.log = servers._spawn(list(server.process.args), server.dir)
    ended_well(run, source)
    assert worker.stop() == 0


class DeadEnd:
    """A relay before the server. While ``dead`` it takes everything and passes nothing on, and no connection ends: what a
    firewall that forgot its connections looks like from both sides."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.dead = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._to))
                for a, b in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._pass, args=(a, b), daemon=True).start()

    def _pass(self, a: socket.socket, b: socket.socket) -> None:
        lost = False  # a connection that lost bytes never comes back to life
        with suppress(OSError):
            while data := a.recv(65536):
                lost = lost or self.dead.is_set()
                if not lost:
                    b.sendall(data)
        with suppress(OSError):
            b.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


@pytest.mark.full
def test_connections_that_lead_nowhere_are_given_up_and_made_anew(
    place: Place, server: servers.ValkeyServer, source: Path
) -> None:
    relay = DeadEnd(server.port)
    worker, run = begun(place, f"redis://127.0.0.1:{relay.port}/0", source, 10)
    relay.dead.set()
    wait_until(lambda: "waiting for the ledger" in run.said(), 90, "the producer's notice")
    relay.dead.clear()
    ended_well(run, source)
    assert worker.stop() == 0
    relay.close()
