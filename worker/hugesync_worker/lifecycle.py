"""Run one Celery worker with HugeSync's settings."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import replace
from typing import Any

from celery import signals
from celery.exceptions import SecurityWarning

from hugesync_tasks import logs
from hugesync_tasks.buffers import sharing
from hugesync_tasks.celery import app, configure
from hugesync_tasks.config import Settings
from hugesync_tasks.config_model import ENV_PREFIX
from hugesync_tasks.consumer import RegisterStep, die_with_parent
from hugesync_tasks.introducing import introduce
from hugesync_tasks.process import open_ledger
from hugesync_tasks.register import own_name
from hugesync_tasks.stores.opening import preload
from hugesync_worker.resources import Machine, Plan, plan, raise_open_files

# Who it is, what it serves, how many children it has, and that it ends.
SAID = ("hugesync_tasks.consumer", "hugesync_tasks.slots", "hugesync_tasks.leaving")

log = logging.getLogger(__name__)


def _start_logging(level: int, log_format: str) -> None:
    """Ours and Celery's lines through one handler, so that none passes by the redaction."""
    logs.configure(logging.getLevelName(level), log_format, with_process=True)
    logging.getLogger("celery").setLevel(level)
    if level > logging.DEBUG:  # "received": of a task that is only a pair of ids yet
        logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    for ours in (*SAID, "hugesync_tasks.buffers", __name__):
        logging.getLogger(ours).setLevel(min(level, logging.INFO))


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _logging_is_set_up(**_: object) -> None:
    """With a receiver here Celery adds no handlers of its own."""


def run(
    settings: Settings,
    life_fd: int | None,
    task_events: bool,
    max_tasks: int | None,
    verbose: bool,
    schemes: tuple[str, ...],
) -> int:
    """Serve until told to stop; returns the exit code. The stores of ``schemes`` are loaded once, before the children are
    forked. Raises Unreachable or Refused before anything starts."""
    level = logging.INFO if verbose else logging.WARNING
    _start_logging(level, settings.log_format)
    if life_fd is not None:
        die_with_parent()
        os.set_blocking(life_fd, False)
    with_ledger = open_ledger(settings)
    with_ledger.check_server()
    with_ledger.close()
    configure(app, settings)
    for scheme in schemes:
        preload(scheme)
    size = _sized(settings, embedded=life_fd is not None)
    # Celery warns root of pickled messages, of which there are none; and only root can keep a file's owner.
    warnings.simplefilter("ignore", SecurityWarning)
    RegisterStep.life_fd = life_fd
    RegisterStep.planned, RegisterStep.most = size.slots, size.most
    sharing.share(
        settings.model_copy(update={"memory": size.memory}), size.most, size.buffers
    )  # before any child is forked
    introduce(settings, size.slots, size.memory)
    RegisterStep.introduced = True
    for line in size.lines:
        log.info("%s", line)
    for warning in size.warnings:
        log.warning("%s", warning)
    worker: Any = app.Worker(
        hostname=f"hs@{own_name()}",
        pool="prefork",
        concurrency=size.slots,
        queues=["hs.any", "hs.any.commit"],
        loglevel=level,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=not task_events,
        task_events=task_events,
        max_tasks_per_child=max_tasks,
        optimization="fair",
        quiet=True,  # Celery's banner says nothing of what this worker serves
    )
    worker.start()
    return int(worker.exitcode or 0)


def _sized(settings: Settings, embedded: bool) -> Plan:
    """Make this process, and with it the children that it will fork, as large as planned. Of one job alone the ends are known: it may
    hash and copy between folders, which no link bounds."""
    machine = Machine.read(settings)
    size = plan(settings, replace(machine, link=0, spindles=0) if embedded else machine)
    os.environ[f"{ENV_PREFIX}MEMORY"] = str(size.memory)
    raise_open_files(size)
    return size
