"""A worker's part in its exporter: the process of its own (``hugesync_worker.exporter``) that answers over HTTP for it, the folder
the two share with the children, and the queue on which canaries come.

The main process serves nothing itself: it forks, and a thread in it could hang every child. What fails here is said, and the worker
goes on without metrics.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hugesync_tasks import measuring
from hugesync_tasks.celery import queue_alone
from hugesync_tasks.config import Settings
from hugesync_tasks.register import own_name
from hugesync_tasks.vitals import Vitals

PREFIX = "hugesync-metrics-"
LOCK = "lock"
AGAIN_AFTER = 10.0  # seconds between two starts of an exporter that ends
CANARY = "hugesync.canary"  # the task's name
CANARIES = "hs.canary."  # and the worker's name: a queue of its own

log = logging.getLogger(__name__)


class _WithoutCanaries(logging.Filter):
    """For Celery's lines on each task: canaries are nobody's work."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (isinstance(record.args, dict) and record.args.get("name") == CANARY)


class Exporting:
    """Made in the main process before it forks. Raises OSError where there is no place for its folder."""

    def __init__(self, settings: Settings) -> None:
        base = str(settings.runtime_dir) if settings.runtime_dir else tempfile.gettempdir()
        _sweep(Path(base))
        self.folder = tempfile.mkdtemp(prefix=PREFIX, dir=base)
        self._lock = _locked(Path(self.folder))
        self.vitals = Vitals(self.folder)
        self.vitals.make()
        self._life: tuple[int, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        measuring.folder = self.folder
        for name in ("celery.app.trace", "celery.worker.strategy"):
            logging.getLogger(name).addFilter(_WithoutCanaries())
        import prometheus_client  # noqa: F401  # once, for all children

    def start(self) -> None:
        """Start the exporter; it ends with this process, however that ends, and takes the folder with it."""
        if not self._life:
            self._life = os.pipe()  # nobody writes to it: it closes with us
        level = "INFO" if logging.getLogger("hugesync_tasks").isEnabledFor(logging.INFO) else "WARNING"
        command = [
            sys.executable, "-P", "-m", "hugesync_worker.exporter", "--worker", own_name(), "--parent", str(os.getpid()),
            "--life-fd", str(self._life[0]), "--folder", self.folder, "--log-level", level,
        ]  # fmt: skip
        self._started = time.monotonic()
        try:
            # no ``preexec_fn``: no fork of this process runs any of our code
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(self._life[0],), start_new_session=True
            )  # fmt: skip
        except OSError as error:
            log.warning("metrics and health are not served: the exporter cannot be started: %s", error)

    def tick(self) -> None:
        """About once a second."""
        self.vitals.turned()
        if stats := _buffers():
            self.vitals.tell_buffers(stats)
        ended = self._process is None or self._process.poll() is not None
        if ended and time.monotonic() - self._started >= AGAIN_AFTER:
            if self._process is not None:
                log.warning("the exporter ended with exit code %s and is started again", self._process.returncode)
            self.start()

    def consume(self, consumer: Any) -> None:
        """Take canaries. The queue has no exchange, so nothing of it stays at the broker."""
        queue = queue_alone(CANARIES + own_name())
        consumer.task_consumer.add_queue(queue)
        consumer.task_consumer.consume()

    def ending(self) -> None:
        """The worker was told to end; what it has in hand may still take a while."""
        self.vitals.ending()

    def stop(self) -> None:
        """End the exporter."""
        for fd in self._life:
            os.close(fd)
        self._life = ()
        if self._process is not None:
            self._process.terminate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def leave_to_parent(self) -> None:
        """In a child: what would keep the exporter alive is the parent's."""
        for fd in self._life:
            os.close(fd)
        self._life = ()


def _buffers() -> dict[str, float]:
    """Of this worker, where it has any."""
    module: Any = sys.modules.get("hugesync_tasks.buffers.sharing")
    return module.stats() if module is not None else {}


def _locked(folder: Path) -> int:
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def _sweep(base: Path) -> None:
    """Remove the folders of workers that were killed together with their exporter: nobody holds their lock. One without a lock is
    just being made."""
    for folder in base.glob(f"{PREFIX}*"):
        try:
            fd = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass
        finally:
            os.close(fd)
