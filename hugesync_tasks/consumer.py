"""The part of every worker's main process that is ours: it keeps the register, and checks that children start clean.

It runs in ``hugesync-worker`` and in a plain ``celery -A hugesync_tasks worker`` alike. The process that forks never
touches a store or an SDK and starts no thread: one obstore request there makes every later child hang for ever.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from billiard.exceptions import WorkerLostError
from billiard.process import current_process
from celery import bootsteps, signals
from celery.worker.consumer import Consumer

from hugesync_tasks import gauges, logs, measuring, process, taskevents, tracing
from hugesync_tasks.buffers import sharing
from hugesync_tasks.config import load
from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.exporting import Exporting
from hugesync_tasks.introducing import default_slots, introduce
from hugesync_tasks.leading import Leading
from hugesync_tasks.leaving import Leaving
from hugesync_tasks.register import Register, own_name
from hugesync_tasks.scaler import Scaler
from hugesync_tasks.slots import Slots
from hugesync_tasks.state.base import Ledger, expire_leases
from hugesync_tasks.strange import decline
from hugesync_tasks.words import fields_of

PR_SET_PDEATHSIG = 1
REGISTER_EVERY = 1.0  # seconds; a heartbeat outlives many misses
LEAVE_EVERY = 0.1  # seconds between two looks whether a worker that was told to end can
UNCLEAN = 70  # EX_SOFTWARE: exit code of a child that must not start

MAIN = os.getpid()  # Celery loads this module in the process that forks, before it does

log = logging.getLogger(__name__)


def die_with_parent() -> None:
    """SIGKILL for this process when its parent is gone (Linux; elsewhere the life pipe alone does it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class RegisterStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Keeps this worker in the ledger's register, takes up queues it can serve, and watches the life pipe."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    _timers: Sequence[Any] = ()
    life_fd: int | None = None  # set by an embedded worker's entry point before the consumer starts
    introduced = False  # by ``hugesync-worker``, before it connects
    register: Register | None = None  # survives the consumer's restarts after a lost broker
    event_names = True  # events for Flower name files
    leading: Leading | None = None  # None in an embedded worker: its producer is there, or nothing is
    slots: Slots | None = None
    leaving: Leaving | None = None  # None in an embedded worker: it is killed
    scaler: Scaler | None = None  # where autoscaling is asked for
    most = 0  # children to which it may go, by ``hugesync-worker``; else as many as are set
    planned = 0  # children, by ``hugesync-worker``; else as many as Celery was told
    tell_every = 0.0  # seconds between two lines on the buffers; 0: none
    exporting: Exporting | None = None  # where ``metrics_port`` is set, and never in an embedded worker

    def __init__(self, consumer: Consumer, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        settings = load({})
        type(self).tell_every = settings.buffers_log_interval
        if not self.introduced:  # a plain Celery worker; its children are forked after this
            sharing.share(settings, getattr(consumer.controller, "concurrency", None) or default_slots(settings))

    def start(self, consumer: Consumer) -> None:
        cls = type(self)
        if cls.register is None:
            settings = load({})
            slots = cls.planned or getattr(consumer.controller, "concurrency", None) or default_slots(settings)
            if not cls.introduced:
                introduce(settings, slots, settings.memory)
            name = own_name()
            ledger = process.open_ledger(settings)
            cls.event_names = settings.task_event_names == "shown"
            cls.register = Register(ledger, name, slots, process.roots_of(settings), embedded=cls.life_fd is not None)
            cls.slots = Slots(slots, scales=settings.autoscale_max > 0)
            if cls.slots.scales and cls.life_fd is None:
                cls.scaler = Scaler(cls.slots, settings.autoscale_min, cls.most or settings.autoscale_max)
            if cls.life_fd is None:
                cls.leading = Leading(cls.register, start_coordinator)
                cls.leaving = Leaving(
                    name, settings.drain_timeout, cls.slots.close, lambda: _children(consumer), last_ledger
                )
                cls.leaving.listen()
        assert cls.slots is not None
        cls.slots.attach(consumer)
        cls.register.restarted()
        if cls.exporting is not None:
            cls.exporting.consume(consumer)
        self._timers = [consumer.timer.call_repeatedly(REGISTER_EVERY, self._tick, (consumer,))]
        self._tick(consumer)
        if cls.leaving is not None:
            cls.leaving.connected = True

    def stop(self, consumer: Consumer) -> None:
        for timer in self._timers:
            timer.cancel()
        if self.leaving is not None:
            self.leaving.lost()

    def _leave(self) -> None:
        assert self.slots is not None
        assert self.leaving is not None
        if not self.leaving.said:
            signals.worker_shutting_down.send(sender=self, sig=self.leaving.told, how="Warm", exitcode=0)
        self.leaving.step(self.slots.idle())

    def _tick(self, consumer: Consumer) -> None:
        if self.life_fd is not None and _closed(self.life_fd):
            os.killpg(os.getpgid(0), signal.SIGKILL)  # the producer is gone; nothing of it may go on
        if self.exporting is not None:
            self.exporting.tick()
        try:
            assert self.register is not None
            assert self.slots is not None
            leaves = self.leaving is not None and bool(self.leaving.told)
            if leaves and len(self._timers) == 1:
                self._timers = [*self._timers, consumer.timer.call_repeatedly(LEAVE_EVERY, self._leave)]
            if self.life_fd is None and not leaves:
                self.slots.heed(self.register.ledger.wished_slots(), self.register.name)
                if self.scaler is not None:
                    self.scaler.tick()
                self.slots.follow()
            self.register.slots, self.register.paused = self.slots.now, self.slots.wished and not self.slots.now
            fresh, left = self.register.tick()
            for queue in fresh:
                log.info("serves queue %s from now on", queue)
                consumer.add_task_queue(queue)
            for queue in left:
                log.info("serves queue %s no longer", queue)
                consumer.cancel_task_queue(queue)
            if self.leading is not None and not leaves:
                self.leading.tick()
            sharing.tell(self.tell_every)
        except HugeSyncError as error:
            log.warning("the register could not be written: %s", error)


def start_coordinator(job: str, owner: str) -> subprocess.Popen[bytes]:
    """A coordinator as a process of its own, with this worker's settings and credentials. No fork of this process runs any
    of our code: without a ``preexec_fn`` the new program is executed at once. Raises OSError."""
    level = "INFO" if logging.getLogger("hugesync_tasks").isEnabledFor(logging.INFO) else "WARNING"
    command = [sys.executable, "-P", "-m", "hugesync_producer.standin", job, owner, level]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)


def _children(consumer: Consumer) -> list[int]:
    return [child.pid for child in consumer.pool._pool._pool if child.pid]


def last_ledger() -> Ledger:
    return process.open_ledger(load({}))


def _closed(fd: int) -> bool:
    """Whether the other end of the pipe is closed; nothing is ever written to it."""
    try:
        return os.read(fd, 1) == b""
    except BlockingIOError:
        return False


_threads_at_fork = 0


def _count_threads() -> None:
    """Just before a fork, in the parent: a child sees nothing of its parent's threads but the locks they held."""
    global _threads_at_fork
    if os.getpid() == MAIN:
        tasks = Path("/proc/self/task")  # a library's own threads, too
        _threads_at_fork = len(list(tasks.iterdir())) if tasks.is_dir() else threading.active_count()


os.register_at_fork(before=_count_threads)


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _worker_begins(**_: object) -> None:
    """Before the first child is forked: where metrics are wanted, make what children and exporter share, and start that one."""
    settings = load({})
    if not settings.metrics_port or RegisterStep.life_fd is not None:
        return
    try:
        RegisterStep.exporting = Exporting(settings)
        RegisterStep.exporting.start()
    except Exception as error:  # no job may fail for want of metrics
        log.warning("metrics and health are not served: %s", error)


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _child_starts(**_: object) -> None:
    if process.Process._current is not None or "obstore" in sys.modules or _threads_at_fork > 1:
        log.critical("the main process used a store client or a thread before it forked; this child would hang")
        os._exit(UNCLEAN)
    if RegisterStep.life_fd is not None:
        os.close(RegisterStep.life_fd)
    gauges.begin(getattr(current_process(), "index", -1))
    die_with_parent()
    # A service manager sends it to all processes of a service: the main process sees to its children.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if os.getppid() != MAIN:
        os._exit(UNCLEAN)  # the parent died before the line above
    if RegisterStep.exporting is not None:
        RegisterStep.exporting.leave_to_parent()
        measuring.start(getattr(current_process(), "index", 0))


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _child_ends(**_: object) -> None:
    sharing.end()
    tracing.end_of_process()


@signals.task_received.connect  # type: ignore[untyped-decorator]
def _task_is_taken(sender: Any = None, request: Any = None, **_: object) -> None:
    """In the main process, before Celery tells of the task."""
    if taskevents.told(sender) and RegisterStep.register is not None:
        taskevents.put_words(request, RegisterStep.register.ledger, RegisterStep.event_names)


@signals.task_failure.connect  # type: ignore[untyped-decorator]
def _child_lost(exception: BaseException | None = None, args: Sequence[str] = (), **_: object) -> None:
    """In the main process: a child died with this task in hand. Its lease need not run out first."""
    if isinstance(exception, WorkerLostError) and RegisterStep.register is not None and len(args) == 2:
        ledger, (job, task) = RegisterStep.register.ledger, args
        logs.of_task(job, task, partial(fields_of, ledger, job, task))
        try:
            log.error("the process that had this task in hand died; the task is sent again: %s", exception)
            expire_leases(ledger, job, [task])
        except HugeSyncError as error:
            log.warning("the lease of the task could not be given up: %s", error)
        finally:
            logs.of_task()


@logging.getLogger("celery.worker.request").addFilter
def _said_already(record: logging.LogRecord) -> bool:
    """Celery's line about a dead child names neither job nor task, and comes after ours."""
    return not (isinstance(record.args, tuple) and any(isinstance(a, WorkerLostError) for a in record.args))


@signals.task_unknown.connect  # type: ignore[untyped-decorator]
def _task_is_unknown(message: Any = None, name: str = "", **_: object) -> None:
    """In the main process: Celery has dropped a message whose task it does not know. What it was about is in the ledger."""
    if not name.startswith("hugesync.") or RegisterStep.register is None:
        return
    try:
        job, task = message.payload[0][:2]
        logs.of_task(str(job), str(task))
        answer = decline(RegisterStep.register.ledger, job, task, RegisterStep.register.name)
        log.info("task %s of job %s under the unknown name %s: %s", task, job, name, answer)
    except (HugeSyncError, AttributeError, KeyError, TypeError, ValueError) as error:
        log.warning("a message of the unknown name %s was dropped: %s", name, error)
    finally:
        logs.of_task()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _worker_is_told_to_end(**_: object) -> None:
    if RegisterStep.exporting is not None:
        RegisterStep.exporting.ending()
    if RegisterStep.leading is not None:
        RegisterStep.leading.stop()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _worker_ends(**_: object) -> None:
    if RegisterStep.exporting is not None:
        RegisterStep.exporting.stop()
    if RegisterStep.register is not None:
        try:
            RegisterStep.register.leave()
        except HugeSyncError as error:
            log.warning("the register could not be left, the heartbeat expires by itself: %s", error)
