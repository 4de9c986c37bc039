"""The Celery tasks, one for each kind of work. A message is (job, task id): everything else is in the ledger.

Names are written out (``hugesync.KIND``): Celery would derive them from the module's path, and a rename would orphan queued
work. They differ only for the people who read them in logs and in Flower.
"""

from __future__ import annotations

from hugesync_tasks.celery import app
from hugesync_tasks.lending import Lender
from hugesync_tasks.perform import KINDS, perform
from hugesync_tasks.process import Process

_lender: Lender | None = None


def _run(job: str, task: str) -> str:
    global _lender
    process = Process.current()
    if _lender is None or not _lender.of(process):
        _lender = Lender(process, perform)
    with _lender.busy(job):
        return perform(job, task, process)


for _kind in KINDS:
    app.task(name=f"hugesync.{_kind}", ignore_result=True)(_run)
