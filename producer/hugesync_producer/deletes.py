"""``--delete`` in the coordinator: after the first pass has fully succeeded, look again, judge again, and then delete.

Nothing of it is in a checkpoint but the number of files deleted: a resumed job looks anew.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from hugesync_producer import filelog, human
from hugesync_producer.deleterules import refuse, unfit
from hugesync_producer.dispatch import Dispatcher
from hugesync_producer.extras import Seen
from hugesync_producer.pool import Pool
from hugesync_producer.secondlook import SecondLook
from hugesync_producer.window import Counters, Window
from hugesync_tasks.errors import FailureClass, NotFound, Refused
from hugesync_tasks.model import Entry, Outcome, Removal
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Task
from hugesync_tasks.token import Meter

BATCH = 512
_KEPT = {
    "appeared": "kept at the destination: the source has it again",
    "not_empty": "a folder was kept at the destination: something is in it",
}


@dataclass(eq=False)
class DeleteBatch:
    """What one delete task is about."""

    owner: Deletes
    items: list[Removal]
    in_order: bool  # folders that are real: one after another


class Deletes:
    """``resumed``: what this run's first pass saw is not all there is. ``tidy``: called before the second look."""

    def __init__(
        self, job: JobContext, meter: Meter, window: Window, resumed: bool, device: str, tidy: Callable[[], object]
    ) -> None:
        self._job, self._meter, self._window = job, meter, window
        self._resumed, self._device, self._tidy = resumed, device, tidy
        self._look: SecondLook | None = None
        self._batches: Iterator[DeleteBatch] | None = None
        self._next: DeleteBatch | None = None
        self._again: deque[DeleteBatch] = deque()
        self._out = self._numbers = 0
        self._ended = not job.options.delete
        self.note = ""  # why nothing was deleted
        self.deleting = False  # whether the first delete may have been sent
        self.changed = False  # whether more was deleted since the last checkpoint
        self.conflict_stop = False

    @property
    def notes(self) -> list[str]:
        """For the summary."""
        notes = [self.note] if self.note else []
        if self.deleting and not self._job.dest.limits.delete_conditional:
            where = self._job.spec.dest.display()
            notes.append(
                f"deletes: best effort on {where}: it cannot make one conditional, so each was looked at just before"
            )
        return notes

    @property
    def first(self) -> Entry | None:
        """A regular file of the source, by which workers know its root."""
        return self._look.first if self._look is not None else None

    @property
    def looking(self) -> bool:
        return self._look is not None and not self.deleting and not self._ended

    def turn(self, dispatcher: Dispatcher, pool: Pool, epoch: int, notice: Callable[[str], object]) -> bool:
        """One step, when the first pass has ended; False when nothing is left to be done. Raises Refused, and what the
        listings raise: then nothing was deleted."""
        if self._ended:
            return False
        if self._look is None:
            return self._begins()
        if self._batches is None:
            if not self._look.ended:
                return True
            if not self._judged(self._look, notice):
                return False
        dispatcher.send(
            [(self._task(batch, pool, epoch), batch) for batch in self._sendable(pool.room(len(dispatcher.out)).tasks)]
        )
        self._ended = not self._out and self._next is None and not self._again
        return not self._ended

    def forgo(self, why: str) -> None:
        """Nothing is deleted in this run."""
        if not self._ended:
            self._ended, self.note = True, why

    def stop(self) -> None:
        if self._look is not None:
            self._look.stop()

    # before anything is deleted
    def _begins(self) -> bool:
        base = self._window.base
        if self._given_up(base.seen, base):
            return False
        if not self._resumed:  # else the run before may not have counted: the second look does
            refuse(base.seen, self._job.spec)
            if not base.seen.extras:
                self._ended = True
                return False
        self._look = SecondLook(self._job, self._meter, self._device, self._tidy).start()
        return True

    def _judged(self, look: SecondLook, notice: Callable[[str], object]) -> bool:
        if look.error is not None:
            self._ended, self.note = True, "nothing was deleted: the second look at both ends did not come to its end"
            if isinstance(look.error, NotFound):
                raise Refused(f"{look.error.told()}: the source is gone; nothing was deleted") from look.error
            raise look.error
        if self._given_up(look.seen, self._window.base):
            return False
        refuse(look.seen, self._job.spec)
        if not look.seen.extras:
            self._ended = True
            return False
        self.deleting = True
        notice(
            f"deleting {human.count(look.seen.extras)} of {human.count(look.seen.dest)} entries at "
            f"{self._job.spec.dest.display()} that the source lacks"
        )
        real = self._job.dest.limits.folders
        files = (DeleteBatch(self, items, False) for items in look.files.batches(BATCH))
        folders = (DeleteBatch(self, items, real) for items in look.folders.batches(BATCH))
        self._batches = chain(files, folders)
        self._next = next(self._batches, None)
        return True

    def _given_up(self, seen: Seen, counters: Counters) -> bool:
        self.note = unfit(seen, counters)
        if self.note:
            self._ended = True
            if seen.errors and not counters.failures:
                # no file of the plan failed by it, and yet the two ends may differ
                self._window.aside.failed(seen.error_key, FailureClass.PERMANENT, f"not deleted: {seen.error}")
        return bool(self.note)

    # deleting
    def _sendable(self, room: int) -> Iterator[DeleteBatch]:
        while room > 0:
            waiting = self._again[0] if self._again else self._next
            if waiting is None or (waiting.in_order and self._out):
                return  # a folder goes when everything that lay in it is gone
            if self._again:
                self._again.popleft()
            else:
                assert self._batches is not None
                self._next = next(self._batches, None)
            self._out, room = self._out + 1, room - 1
            yield waiting

    def _task(self, batch: DeleteBatch, pool: Pool, epoch: int) -> Task:
        self._numbers += 1
        sidecars = self._look is not None and self._look.sidecars
        payload = json.dumps({"items": [r.wire() for r in batch.items], "sidecars": sidecars})
        return Task(f"x{epoch}.{self._numbers}", "delete", pool.queue, 0, payload)

    def put_back(self, batch: DeleteBatch) -> None:
        """Its task was taken back before a worker began it."""
        self._out -= 1
        self._again.appendleft(batch)

    def on_event(self, batch: DeleteBatch, outcome: Mapping[str, Any]) -> None:
        self._out -= 1
        if "items" in outcome:
            for removal, wire in zip(batch.items, outcome["items"], strict=True):
                self._settle(removal, Outcome.unwire(wire))
            return
        receipts = {int(i): Outcome.unwire(w) for i, w in outcome.get("receipts", {}).items()}
        for i, removal in enumerate(batch.items):
            if i in receipts:
                self._settle(removal, receipts[i])
            elif len(batch.items) > 1 and "receipts" in outcome:  # one of them kills its worker: each alone shows which
                self._again.append(DeleteBatch(self, [removal], batch.in_order))
            else:
                self._settle(removal, Outcome.unwire(outcome["error"]))

    def _settle(self, removal: Removal, outcome: Outcome) -> None:
        aside = self._window.aside
        if outcome.state == "deleted":
            filelog.deleted(removal)
            self._window.base.tally.files["deleted"] += removal.counted
            self.changed = True
        elif outcome.state == "kept":
            filelog.not_deleted(removal, outcome.reason)
            aside.notes[_KEPT[outcome.reason]] += 1
        else:
            aside.extras(outcome)
            filelog.delete_failed(removal, outcome.reason, f"not deleted: {outcome.message}")
            aside.failed(removal.key, outcome.reason, f"not deleted: {outcome.message}")
            self.conflict_stop |= outcome.reason == FailureClass.CONFLICT and self._job.options.on_conflict == "fail"
