"""The embedded mode: a private Redis and one worker for one job, on this machine, ended with it.

Same code path as a fleet: the same ledger, the same queues, the same worker entry point.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hugesync_producer.embedded_server import EmbeddedServer
from hugesync_producer.pool import Stalled
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.tracing import wanted

LAST_SPANS, SPANS_MS = 0.5, 200  # seconds; ms between two deliveries of spans
RESTARTS = 20  # a worker that ends so often in one job has a cause that starting again does not mend


@dataclass
class Embedded:
    """Start with ``start``, look after with ``tend``, end with ``stop``. To be used from the main thread or a ``JobThread``: a
    child's parent-death signal is tied to the thread that started it."""

    folder: Path  # the job's, 0700
    settings: Settings
    roots: dict[str, str]
    schemes: tuple[str, ...] = ()  # of both ends

    def __post_init__(self) -> None:
        self.url = ""
        self._server = EmbeddedServer(self.folder, self.settings.runtime_dir)
        self._life: tuple[
            int, ...
        ] = ()  # the worker reads from the first, nobody writes to the second: it closes with us
        self._worker: subprocess.Popen[bytes] | None = None
        self._restarts = 0

    def start(self) -> str:
        """Start the server, then the worker (without waiting for it); returns the server's URL. Raises Unreachable.
        ``stop`` is to be called also when this failed or was interrupted."""
        try:
            self.url = self._server.start()
            self._life = os.pipe()
            self._worker = self._start_worker()
        except OSError as error:
            raise Unreachable(f"cannot start the job's private Redis in {self.folder}: {error.strerror}") from error
        return self.url

    def tend(self) -> str:
        """Start the worker again if it died; returns a sentence when it did. Raises Stalled when it keeps dying, and when the
        server ended or cannot write: then the ledger will not come back by waiting."""
        ended = self._server.ended()
        if ended is not None:
            raise Stalled(f"the job's private Redis ended ({_why(ended)}); the same command goes on with the job")
        if why := self._server.complaint():
            raise Stalled(
                f"the job's private Redis cannot write to {self.folder}: {why}; the same command goes on with the job"
            )
        code = self._worker.poll() if self._worker is not None else None
        if code is None:
            return ""
        self._restarts += 1
        if self._restarts > RESTARTS:
            raise Stalled(f"the worker process ended {RESTARTS} times; its log is {self.folder / 'worker.log'}")
        self._worker = self._start_worker()
        return f"the worker process ended ({_why(code)}) and was started again"

    def stop(self) -> None:
        """End everything at once: after the last verdict nothing is left to drain. May be called twice."""
        if self._worker is not None and wanted() and self._worker.poll() is None:
            time.sleep(LAST_SPANS)  # of its last tasks: they are sent while the verdicts come in
        if self._worker is not None:
            _kill_group(self._worker)
        self._server.stop()
        for fd in self._life:
            os.close(fd)
        self._life, self._worker = (), None

    def _start_worker(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "hugesync_worker",
            "--broker", self.url,
            "--memory", str(self.settings.memory),
            "--life-fd", str(self._life[0]),
        ]  # fmt: skip
        for scheme in self.schemes:
            command += ["--preload", scheme]
        for name, path in self.roots.items():
            command += ["--root", f"{name}={path}"]
        if self.settings.buffers_budget:
            command += ["--buffer-budget", str(self.settings.buffers_budget)]
        if self.settings.jobs or self.settings.worker_concurrency:
            command += ["--concurrency", str(self.settings.jobs or self.settings.worker_concurrency)]
        environment = {k: v for k, v in os.environ.items() if k not in ("HUGESYNC_BROKER_URL", "HUGESYNC_STATE_URL")}
        environment["TMPDIR"] = str(self._server.temporary)  # what Celery makes there does not go with its kill
        if wanted():
            environment.setdefault("OTEL_BSP_SCHEDULE_DELAY", str(SPANS_MS))
        paths = [
            str(Path(__file__).parents[1]),
            str(Path(__file__).parents[2]),
            str(Path(__file__).parents[2] / "worker"),
        ]
        if Path(paths[2]).is_dir():  # a checkout; an installed package needs no path
            environment["PYTHONPATH"] = os.pathsep.join([*paths, environment.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        with open(self.folder / "worker.log", "ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._life[0],),
                env=environment,
                start_new_session=True,  # Ctrl-C goes to the producer alone; and the group can be killed as one
                preexec_fn=_die_with_parent,
            )


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _why(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
