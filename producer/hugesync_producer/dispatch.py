"""Dispatch: put tasks into the ledger and the queue, and send again what the queue lost. The only redelivery engine.

Age alone never sends a task again: without workers, or paused, nothing is sent twice (``must_resend``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hugesync_tasks.share import LEAST_COST
from hugesync_tasks.state.base import Ledger, Task, TaskStatus, expire_leases

PATIENCE = 10.0  # seconds a younger task may run, or a queue be empty, before a queued one counts as lost
CHECK_EVERY = 2.0  # seconds between looks at what is out
HELD_UP = 0.3  # seconds that the oldest task waits before another job's process is asked to do it
ALONE = ("sign", "match", "lay")  # kinds that a process does not do beside another task
NEVER_SEEN = TaskStatus("")


class Publish(Protocol):
    """Send one message: (task name, queue, job, task id)."""

    def __call__(self, name: str, queue: str, job: str, task: str) -> None: ...


@dataclass(slots=True)
class Out:
    """One task that is out: put and sent, not settled."""

    task: Task
    unit: Any
    sent: float = 0.0  # when
    missing: int = 0  # looks in a row that found no record
    seen: TaskStatus = NEVER_SEEN  # at the last look
    before: bool = False  # it was begun before it was sent this time

    @property
    def begun(self) -> bool:
        """Whether a worker ever began it: what it did may have left receipts."""
        return self.before or self.seen.attempts > 0


@dataclass(slots=True)
class QueueView:
    """What is known of one queue: for how long it has been empty, and which seqs were seen at work since when.

    Two sightings are kept: the one that matures next, and the highest. With one alone a steady stream of new tasks would
    replace it for ever, and what was lost below it would never be missed.
    """

    empty_since: float | None = None
    passed_seq: int = 0  # was at work ``PATIENCE`` ago
    maturing: tuple[int, float] | None = None
    highest: tuple[int, float] | None = None

    def saw_at_work(self, seq: int, since: float) -> None:
        """Task ``seq`` has been running, or was settled, since ``since``."""
        if seq <= self.passed_seq:
            return
        if self.maturing is None:
            self.maturing = (seq, since)
        elif seq > self.maturing[0] and (self.highest is None or seq > self.highest[0]):
            self.highest = (seq, since)

    def settled_past(self, now: float) -> int:
        """A seq known to have been at work for ``PATIENCE``; lower ones that are queued were lost."""
        while self.maturing is not None and now - self.maturing[1] >= PATIENCE:
            self.passed_seq = max(self.passed_seq, self.maturing[0])
            self.maturing, self.highest = self.highest, None
        return self.passed_seq


def must_resend(status: TaskStatus, seq: int, missing: int, queue: QueueView, now: float) -> bool:
    """Whether a task that is out was lost.

    | record   | sent again when                                                             |
    | none     | two looks in a row found none and no event came (the ledger lost it)        |
    | running  | its lease has expired                                                       |
    | queued   | a higher seq of the same FIFO queue has been at work for 10 s, or the queue |
    |          | has been empty for 10 s                                                     |
    """
    if status.state == "":
        return missing >= 2
    if status.state == "running":
        return status.lease_left_ms < 0
    if queue.settled_past(now) > seq:
        return True
    return queue.empty_since is not None and now - queue.empty_since >= PATIENCE


def cost(task: Task) -> int:
    """Bytes that a task counts for among jobs that share workers."""
    return max(LEAST_COST, task.cost)


class Dispatcher:
    """What is out for one job, and the queues it is out on."""

    def __init__(self, ledger: Ledger, publish: Publish, job: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._publish, self._job, self._clock = ledger, publish, job, clock
        self._seq = 0
        self._queues: dict[str, QueueView] = {}
        self._checked = clock()
        self.out: dict[str, Out] = {}
        self._recalled: set[str] = set()  # their old messages may lie in a queue still
        self.charged = 0  # bytes that were given out: what is out, and what was settled
        self.dearest = LEAST_COST
        self.held = 0.0  # seconds of slots, as the looks found them
        self.resent = 0
        self.ended = 0  # tasks that were settled
        self.progress: object = None  # changes whenever something moves

    def send(self, tasks: Iterable[tuple[Task, Any]]) -> None:
        """Put the records, then send the messages: a message without a record does nothing, a record without a message
        is found by ``look``."""
        numbered = []
        for task, unit in tasks:
            self._seq += 1
            numbered.append(Out(replace(task, seq=self._seq), unit, self._clock()))
        if not numbered:
            return
        for out in numbered:  # first: what the ledger or the broker then fails to take is found missing and sent again
            if (known := self.out.get(out.task.id)) is not None:
                out.before = known.begun
            else:
                self.charged += cost(out.task)
                self.dearest = max(self.dearest, cost(out.task))
            self.out[out.task.id] = out
            self._queues.setdefault(out.task.queue, QueueView()).empty_since = None
        self._ledger.put_tasks(self._job, [o.task for o in numbered])
        for out in numbered:
            self._publish(f"hugesync.{out.task.kind}", out.task.queue, self._job, out.task.id)

    def settled(self, task_id: str) -> Out | None:
        """The task's event came; None for one that is not (or no longer) ours."""
        out = self.out.pop(task_id, None)
        if out is not None:
            self.ended += 1
            self._at_work(out, self._clock())
            self._recalled.discard(task_id)
        return out

    def _at_work(self, out: Out, since: float) -> None:
        """A task has been at work since then. One that was taken back and put again may have been begun by its old message, which
        lay far ahead of its seq: that says nothing of those between."""
        if out.task.id not in self._recalled:
            self._queues[out.task.queue].saw_at_work(out.task.seq, since)

    def recall(self, most: int | None = None) -> list[Out]:
        """Take back what no worker has begun, the newest ``most`` of it, in the order in which it was sent; it is out no more."""
        wanted = list(self.out)
        if most is not None:
            idle = [o.task for o in self.out.values() if o.seen.state != "running"]
            newest = {t.id for t in sorted(idle, key=lambda t: -t.seq)[:most]}
            wanted = [task for task in wanted if task in newest]
        taken = [self.out.pop(task) for task in (self._ledger.recall(self._job, wanted) if wanted else [])]
        self._recalled.update(o.task.id for o in taken)
        self.charged -= sum(cost(o.task) for o in taken)
        return taken

    def head(self) -> Task | None:
        """The oldest task, where it has been waiting for ``HELD_UP`` and no task of the job is at work. Raises Unreachable."""
        if not self.out or any(o.seen.state == "running" for o in self.out.values()):
            return None
        oldest = min(self.out.values(), key=lambda o: o.task.seq)
        if self._clock() - oldest.sent < HELD_UP:
            return None
        for out, status in self._statuses():
            out.seen = status
        waits = all(o.seen.state == "queued" for o in self.out.values())
        return oldest.task if waits and oldest.task.kind not in ALONE else None

    def _statuses(self) -> list[tuple[Out, TaskStatus]]:
        outs = list(self.out.values())
        return list(zip(outs, self._ledger.statuses(self._job, [o.task.id for o in outs]), strict=True))

    @property
    def running(self) -> int:
        """How many tasks workers had begun at the last look."""
        return sum(1 for o in self.out.values() if o.seen.state == "running")

    @property
    def in_hand(self) -> int:
        """How many tasks a worker had in hand at the last look. One that was not looked at since it was sent counts, too."""
        return sum(1 for o in self.out.values() if not (o.missing >= 2 or o.seen.lease_left_ms < 0))

    def look(self, restore: Callable[[], object], resend: bool = True) -> None:
        """Every ``CHECK_EVERY`` s: what was lost is sent again, with a new seq, unless ``resend`` is false. Where records had gone,
        ``restore`` is called first: the ledger may have lost everything, and a worker must never meet a task without its job."""
        now = self._clock()
        if now - self._checked < CHECK_EVERY or not self.out:
            return
        since, self._checked = now - self._checked, now
        for name, view in self._queues.items():
            if self._ledger.queue_length(name) == 0:
                view.empty_since = now if view.empty_since is None else view.empty_since
                self._recalled -= {o.task.id for o in self.out.values() if o.task.queue == name}
            else:
                view.empty_since = None
        looked = self._statuses()
        for out, status in looked:
            out.missing, out.seen = out.missing + 1 if status.state == "" else 0, status
            if status.state == "running":
                self.held += min(since, CHECK_EVERY)
                self._at_work(out, now - status.running_ms / 1000)
        if not resend:
            return
        lost = [(o, s) for o, s in looked if must_resend(s, o.task.seq, o.missing, self._queues[o.task.queue], now)]
        if any(s.state == "" for _, s in lost):
            restore()
        self.resent += len(lost)
        self.send((o.task, o.unit) for o, _ in lost)

    def workers_died(self) -> None:
        """Every process that could run a task of ours is gone (embedded: there is one worker): no lease need run out."""
        expire_leases(self._ledger, self._job, list(self.out))
        self._checked = float("-inf")
