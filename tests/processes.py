"""The product's own processes as tests run them: submit, worker, the commands around jobs. Each is marked in its environment,
so that a test can find whatever of it is still running, however it was started."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before any fork
REPO = Path(__file__).parents[1]
MARK = "TEST_PROCESS_MARK"
_SUBMIT = "import sys; sys.argv[0] = 'hugesync-submit'; from hugesync_producer.cli import submit; sys.exit(submit())"
_COMMANDS = "import sys; sys.argv[0] = 'hugesync'; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"


def wait_until(
    condition: Callable[[], Any], timeout: float = 30.0, what: str = "the condition", every: float = 0.02
) -> Any:
    """The first true value of ``condition``. Raises AssertionError after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout:g} s for {what}"
        time.sleep(every)
    return value


@dataclass
class Ended:
    """How a process ended. ``summary`` is its one JSON object on stdout, {} where there is none."""

    code: int
    out: str
    err: str
    summary: dict[str, Any]


@dataclass
class Running:
    """A process in a session of its own, its output in files (a full pipe would stop it)."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self.err.read_text(errors="replace")

    def finish(self, timeout: float = 120.0) -> Ended:
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s; it said:\n{self.said()[-4000:]}") from None
        out = self.out.read_text(errors="replace")
        summary = {}
        with suppress(ValueError, IndexError):
            summary = json.loads(out.splitlines()[-1])
        return Ended(code, out, self.said(), summary if isinstance(summary, dict) else {})

    def kill(self) -> None:
        """SIGKILL, to this process alone."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM and wait: what an operator does."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def interrupt(self, how: signal.Signals = signal.SIGINT) -> None:
        """``how`` twice: what is in hand does not finish."""
        self.process.send_signal(how)
        wait_until(
            lambda: "stopping: " in self.said() or self.process.poll() is not None, what="an answer to the signal"
        )
        self.process.send_signal(how)

    def children(self) -> list[psutil.Process]:
        """The worker's pool processes, or whatever this process started; living ones."""
        try:
            return [p for p in psutil.Process(self.pid).children() if alive(p)]
        except psutil.NoSuchProcess:
            return []


@dataclass
class Place:
    """A folder with everything a set of processes shares: state, environment, logs. ``end`` kills what is left."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: int = 0

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HUGESYNC_", "XDG_", "AWS_"))}
        paths = [str(REPO), str(REPO / "producer"), str(REPO / "worker"), str(REPO / "tests")]
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(paths),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            MARK: self.mark,
            **self.env,
            **more,
        }

    def start(self, command: Sequence[str], *, bound_by_modes: bool = False, **env: str) -> Running:
        """``bound_by_modes``: also root may not read what nobody may."""
        self.started += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        out, err = (self.folder / f"{self.started}.{name}" for name in ("out", "err"))
        with open(out, "wb") as o, open(err, "wb") as e:
            process = subprocess.Popen(
                [*command],
                stdin=subprocess.DEVNULL,
                stdout=o,
                stderr=e,
                cwd=self.folder,
                env=self.environment(**env),
                start_new_session=True,
                preexec_fn=_obey_modes if bound_by_modes else None,
            )
        return Running(process, out, err)

    def submit(self, *args: object, bound_by_modes: bool = False, **env: str) -> Running:
        """hugesync-submit --json ARGS"""
        command = [sys.executable, "-c", _SUBMIT, "--json", *map(str, args)]
        return self.start(command, bound_by_modes=bound_by_modes, **env)

    def command(self, *args: object, **env: str) -> Ended:
        """One of the commands of ``hugesync``, to its end."""
        return self.start([sys.executable, "-c", _COMMANDS, *map(str, args)], **env).finish()

    def resume(self, *args: object, bound_by_modes: bool = False, **env: str) -> Running:
        """hugesync resume ARGS --json"""
        command = [sys.executable, "-c", _COMMANDS, "resume", *map(str, args), "--json"]
        return self.start(command, bound_by_modes=bound_by_modes, **env)

    def worker(self, broker: str, *args: object, **env: str) -> Running:
        command = [sys.executable, "-m", "hugesync_worker", "--broker", broker, "-v", *map(str, args)]
        return self.start(command, **env)

    def living(self) -> list[psutil.Process]:
        """Everything that carries the mark: what was started here and whatever that started."""
        return [p for p in psutil.process_iter() if alive(p) and (_marked(p, self.mark) or _below(p, self.folder))]

    def left(self, within: float = 5.0) -> list[str]:
        """The command lines of what is still running after at most ``within`` s; [] is what a test wants."""
        deadline = time.monotonic() + within
        while (living := self.living()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return [_line(p) for p in living]

    def kill_all(self) -> None:
        """SIGKILL to everything at once; new ones that were being forked included."""
        while living := self.living():
            for p in living:
                with suppress(psutil.NoSuchProcess):
                    p.kill()
            psutil.wait_procs(living, timeout=5)

    def end(self) -> None:
        self.kill_all()


def _obey_modes() -> None:
    """Take CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH from what is executed next; nobody but root has them or may do this."""
    if _LIBC is not None and os.geteuid() == 0:
        for capability in (1, 2):
            _LIBC.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def alive(p: psutil.Process) -> bool:
    try:
        return p.is_running() and p.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _marked(p: psutil.Process, mark: str) -> bool:
    try:
        return p.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def _below(p: psutil.Process, folder: Path) -> bool:
    """Valkey writes its title over its environment; but it works in its job's folder."""
    try:
        return Path(p.cwd()).is_relative_to(folder)
    except (psutil.Error, OSError):
        return False


def _line(p: psutil.Process) -> str:
    try:
        return f"{p.pid} {' '.join(p.cmdline())}"
    except psutil.Error:
        return str(p.pid)


def pool_children(place: Place) -> list[psutil.Process]:
    """The task processes of every worker of ``place``: the children of a ``hugesync_worker`` main process."""
    mains = [p for p in place.living() if _is_worker(p)]
    pids = {p.pid for p in mains}
    return [p for p in mains if p.ppid() in pids]


def worker_mains(place: Place) -> list[psutil.Process]:
    """The main process of every worker of ``place``."""
    mains = [p for p in place.living() if _is_worker(p)]
    pids = {p.pid for p in mains}
    return [p for p in mains if p.ppid() not in pids]


def _is_worker(p: psutil.Process) -> bool:
    try:
        return "hugesync_worker" in p.cmdline()
    except psutil.Error:
        return False
