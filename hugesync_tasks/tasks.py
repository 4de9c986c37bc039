"""The Celery tasks, one for each kind of work. A message is (job, task id): everything else is in the ledger.

Names are written out (``hugesync.KIND``): Celery would derive them from the module's path, and a rename would orphan queued
work. They differ only for the people who read them in logs and in Flower.
"""

from __future__ import annotations

import hugesync_tasks.consumer  # noqa: F401  # a plain Celery worker loads this module before it forks: its signals are connected then
from hugesync_tasks import measuring
from hugesync_tasks.celery import app
from hugesync_tasks.exporting import CANARY
from hugesync_tasks.perform import KINDS, perform


def _run(job: str, task: str) -> str:
    return perform(job, task)


for _kind in KINDS:
    app.task(name=f"hugesync.{_kind}", ignore_result=True)(_run)


@app.task(name=CANARY, ignore_result=True, send_events=False)  # type: ignore[untyped-decorator]
def canary(sent: float) -> None:
    """A message of the exporter's, to see whether one comes through. It leaves nothing behind."""
    measuring.canary(sent)
