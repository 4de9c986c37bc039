"""What Flower shows of a task: its words in place of its ids, in the event by which Celery tells of it.

A message carries (job, task id), and with events off nothing else is made of it. With events on (``--task-events``) the worker's
main process reads the task's record from the ledger, just before Celery sends ``task-received``, and puts the words where
Celery takes the arguments' repr from. So the queue never holds a name, and Flower's own filters work: ``kwargs:job=ID``.
"""

from __future__ import annotations

import logging
from typing import Any

from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.redact import plain
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.words import about

log = logging.getLogger(__name__)


def told(consumer: Any) -> bool:
    """Whether this worker tells of its tasks now: from its start, or since ``celery control enable_events``."""
    eventer = getattr(consumer, "event_dispatcher", None)
    return bool(eventer and eventer.enabled and (not eventer.groups or "task" in eventer.groups))


def put_words(request: Any, ledger: Ledger, names: bool) -> None:
    """Words for ``request`` (Celery's, not yet told of). Without ``names`` no file is named. A ledger that does not answer
    within a second leaves the ids: a task is never kept waiting for its words."""
    try:
        job, task = request.args
        record = ledger.task(job, task)
    except (HugeSyncError, ValueError, TypeError) as error:
        log.debug("no words for a task of Flower: %s", error)
        return
    words = about(*record).sentence(names) if record is not None else "over already"
    request._argsrepr = words
    request._kwargsrepr = repr({"job": plain(str(job)), "task": plain(str(task))})
