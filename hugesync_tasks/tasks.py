"""The Celery tasks, one for each kind of work. A message is (job, task id): everything else is in the ledger.

Names are written out (``hugesync.KIND``): Celery would derive them from the module's path, and a rename would orphan queued
work. They differ only for the people who read them in logs and in Flower.
"""

from __future__ import annotations

import logging

from celery import current_task, signals

import hugesync_tasks.consumer  # noqa: F401  # a plain Celery worker loads this module before it forks: its signals are connected then
from hugesync_tasks import logs, measuring, tracing
from hugesync_tasks.celery import app
from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.exporting import CANARY
from hugesync_tasks.perform import KINDS, perform
from hugesync_tasks.redact import plain

log = logging.getLogger(__name__)


class TaskFailed(Exception):
    """What Celery, and so Flower, learns of an error that no stage took for its own: its kind and its sentence without secrets.
    The rest is in the log."""


def _run(job: str, task: str) -> str:
    if tracing.wanted():
        tracing.came_with(current_task.request.get("traceparent"))
    try:
        return perform(job, task)
    except Exception as error:
        if not isinstance(error, HugeSyncError):
            log.exception("the task ended in an unexpected way")
        raise TaskFailed(f"{type(error).__name__}: {plain(str(error))}") from None


@signals.task_postrun.connect  # type: ignore[untyped-decorator]
def _over(**_: object) -> None:
    """After Celery's own line about the task, which so says what it was about."""
    logs.of_task()


for _kind in KINDS:
    app.task(name=f"hugesync.{_kind}", ignore_result=True)(_run)


@app.task(name=CANARY, ignore_result=True, send_events=False)  # type: ignore[untyped-decorator]
def canary(sent: float) -> None:
    """A message of the exporter's, to see whether one comes through. It leaves nothing behind."""
    measuring.canary(sent)
