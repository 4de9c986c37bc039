"""The Celery tasks, one for each kind of work. A message is (job, task id): everything else is in the ledger.

Names are written out (``hugesync.KIND``): Celery would derive them from the module's path, and a rename would orphan queued
work. They differ only for the people who read them in logs and in Flower.
"""

from __future__ import annotations

from celery import current_task, signals

from hugesync_tasks import logs, tracing
from hugesync_tasks.celery import app
from hugesync_tasks.perform import KINDS, perform


def _run(job: str, task: str) -> str:
    if tracing.wanted():
        tracing.came_with(current_task.request.get("traceparent"))
    return perform(job, task)


@signals.task_postrun.connect  # type: ignore[untyped-decorator]
def _over(**_: object) -> None:
    """After Celery's own line about the task, which so says what it was about."""
    logs.of_task()


for _kind in KINDS:
    app.task(name=f"hugesync.{_kind}", ignore_result=True)(_run)
