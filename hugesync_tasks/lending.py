"""A worker child lends a thread to a job of which nothing runs, while it is busy with another's task itself.

Where every slot is in the middle of a part that takes minutes, no place in a queue lets a new job begin. Such a job's
coordinator names its oldest task (``Ledger.heads``), and a busy child claims it, as it claims what a message names. One at a
time; the slot stays taken until both tasks are over. Threads of ours exist in children only, never in the process that forks.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Thread

from hugesync_tasks import draining, logs
from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.process import Process
from hugesync_tasks.register import own_name

BUSY = 0.5  # seconds with one task in hand before a child looks; a quick one leaves its slot soon enough
LOOK = 0.5  # seconds between two looks

log = logging.getLogger(__name__)


class Lender:
    """One worker child's. ``perform`` does a task: (job, task id, process)."""

    def __init__(self, process: Process, perform: Callable[[str, str, Process], str]) -> None:
        self._process, self._perform = process, perform
        self._changed = Condition()
        self._job = ""  # of the task in hand
        self._since = 0.0
        self._lent = False
        self._tried: dict[str, str] = {}  # job -> the head that this child has claimed or tried to claim
        self._thread: Thread | None = None

    def of(self, process: Process) -> bool:
        return self._process is process

    @contextmanager
    def busy(self, job: str) -> Iterator[None]:
        """A task of ``job`` is in hand; what was lent meanwhile is waited for at the end."""
        with self._changed:
            self._job, self._since = job, time.monotonic()
            if self._thread is None:
                self._thread = Thread(target=self._run, name="lender", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._job = ""
                self._changed.wait_for(lambda: not self._lent)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._job)
                self._changed.wait_for(lambda: not self._job, max(LOOK, self._since + BUSY - time.monotonic()))
                if not self._job or time.monotonic() - self._since < BUSY:
                    continue
                mine, self._lent = self._job, True
            try:
                self._look(mine)
            except HugeSyncError as error:
                log.debug("nobody was lent a thread: %s", error)
            except Exception:
                log.exception("a lent thread failed in an unexpected way")
            finally:
                with self._changed:
                    self._lent = False
                    self._changed.notify_all()

    def _look(self, mine: str) -> None:
        if draining.told():  # nothing more is taken, from nobody
            return
        heads = self._process.ledger.heads()
        self._tried = {job: head for job, head in self._tried.items() if heads.get(job) == head}
        for job, head in heads.items():
            queue, _, task = head.partition(" ")
            if job == mine or self._tried.get(job) == head or queue not in self._queues():
                continue
            self._tried[job] = head
            self._process.job(mine)  # of the few jobs whose stores stay open it is the last to be closed
            try:
                answer = self._perform(job, task, self._process)
                log.info("a thread was lent to job %s, of which nothing ran: task %s: %s", job, task, answer)
            finally:
                logs.of_task()
            return

    def _queues(self) -> set[str]:
        """Those that this child's worker serves."""
        row = json.loads(self._process.ledger.workers().get(own_name(os.getppid())) or "{}")
        queues: list[str] = row.get("queues", []) if row.get("slots") else []  # a worker that is paused takes nothing
        return {name for queue in queues for name in (queue, f"{queue}.commit")}
