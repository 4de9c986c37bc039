"""Units of work in the window: batches, large files, folder finishes. What to send next, and what an event means."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hugesync_producer import filelog
from hugesync_producer.deletes import DeleteBatch
from hugesync_producer.dispatch import Dispatcher
from hugesync_producer.largefile import LargeFileUnit
from hugesync_producer.plan import Segment
from hugesync_producer.pool import Pool
from hugesync_producer.replan import Replan, refusal
from hugesync_producer.window import Counters, OpenSegment, Window
from hugesync_tasks import identity
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.model import Kind, Outcome, Part, Transfer
from hugesync_tasks.stages.commit import UNPROVEN
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Event, Ledger, Task, TaskStatus

FOLDERS_PER_TASK = 512


@dataclass(eq=False)
class Batch:
    number: int
    segment: OpenSegment
    items: list[Transfer]
    finished: Mapping[int, Outcome] = field(default_factory=dict)  # while it is out: those that have a receipt


@dataclass(eq=False)
class Large:
    number: int
    segment: OpenSegment
    file: LargeFileUnit
    size: int  # as planned; what the law counts


@dataclass(eq=False)
class Folders:
    segment: OpenSegment
    count: int


@dataclass
class Units:
    """All units of one run."""

    job: JobContext
    ledger: Ledger
    dispatcher: Dispatcher
    window: Window
    pool: Pool
    epoch: int = 0
    conflict_stop: bool = False
    _numbers: int = 0
    _ready: deque[Batch] = field(default_factory=deque)
    _larges: dict[str, Large] = field(default_factory=dict)  # by file id, in key order
    _finishing: Folders | None = None

    def __post_init__(self) -> None:
        self.replan: Replan[Large] = Replan(self.job)

    # taking segments from the plan
    def add(self, segment: Segment) -> OpenSegment:
        open_segment = OpenSegment(segment.last_key, Counters(tally=segment.tally), finishes=list(segment.finishes))
        if segment.seen is not None:
            open_segment.counters.seen = segment.seen
        for failure in segment.failures:
            open_segment.counters.failed(failure.key, failure.reason, failure.message, failure.size)
        open_segment.counters.only_there(segment.only_there)
        open_segment.counters.beside(segment.missing, segment.notes)
        for items in segment.batches:
            self._add_batch(open_segment, list(items))
        for transfer in segment.larges:
            self._add_large(open_segment, transfer)
        self.window.add(open_segment)
        return open_segment

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    def _add_batch(self, segment: OpenSegment, items: list[Transfer]) -> None:
        batch = Batch(self._next(), segment, items)
        segment.unsettled.add(batch.number)
        self._ready.append(batch)

    def _add_large(
        self, segment: OpenSegment, transfer: Transfer, planned: int | None = None, conflicts: int = 0
    ) -> None:
        file = identity.file_id(self.job.spec.dest.identity(), transfer.key)
        unit = LargeFileUnit(file, transfer, self.pool.queue, self.pool.commit_queue, conflicts)
        large = Large(self._next(), segment, unit, transfer.source.size if planned is None else planned)
        segment.unsettled.add(large.number)
        self._larges[file] = large

    # sending
    def hungry(self) -> bool:
        """Whether another segment is needed to keep the window full."""
        waiting = len(self._ready) + sum(1 for large in self._larges.values() if large.file.waiting)
        return waiting == 0 and not self.replan.full and self.room() > 0

    def room(self) -> int:
        return self.pool.room(len(self.dispatcher.out))

    def fill(self) -> None:
        """Send while there is room: commits first, then parts of files begun, then batches and new files in turn."""
        room = self.room()
        tasks: list[tuple[Task, Any]] = []
        for large in [u for u in self._larges.values() if u.file.first_wave]:
            if room > len(tasks):
                self._append(tasks, large)
        self._finish_folders(tasks)
        turns = deque(u for u in self._larges.values() if u.file.waiting)
        while len(tasks) < room and (turns or self._ready):
            if turns:
                large = turns[0]
                if not self._append(tasks, large):
                    turns.popleft()
            if self._ready and len(tasks) < room:
                batch = self._ready.popleft()
                tasks.append((self._batch_task(batch), batch))
        self.dispatcher.send(tasks)

    def _append(self, tasks: list[tuple[Task, Any]], large: Large) -> bool:
        task = large.file.next_task()
        if task is not None:
            tasks.append((task, large))
        return task is not None

    def _batch_task(self, batch: Batch) -> Task:
        payload = json.dumps([t.wire() for t in batch.items])
        kind = "compare_files" if self.job.spec.compares else "batch"
        return Task(f"b{self.epoch}.{batch.number}", kind, self.pool.queue, 0, payload)

    def _finish_folders(self, tasks: list[tuple[Task, Any]]) -> None:
        segment = self.window.finishable() if self._finishing is None else None
        if segment is not None:
            some = segment.finishes[:FOLDERS_PER_TASK]
            self._finishing = Folders(segment, len(some))
            payload = json.dumps([f.wire() for f in some])
            task = Task(f"d{self.epoch}.{self._next()}", "folders", self.pool.queue, 0, payload)
            tasks.append((task, self._finishing))

    def take_back(self) -> None:
        """What no worker has begun is taken back from the queue, and waits here again."""
        for out in reversed(self.dispatcher.recall()):
            if isinstance(out.unit, Batch):
                self._ready.appendleft(out.unit)
            elif isinstance(out.unit, Folders):
                self._finishing = None
            elif isinstance(out.unit, DeleteBatch):
                out.unit.owner.put_back(out.unit)
            else:
                out.unit.file.put_back(out.task)

    # events
    def on_event(self, event: Event) -> None:
        known = self.dispatcher.out.get(event.task)
        have: Mapping[int, Part] = {}
        if known is not None and isinstance(known.unit, Large) and "file" in event.outcome:
            have = self.ledger.parts(self.job.spec.job, known.unit.file.file)  # may raise: nothing has changed yet
        out = self.dispatcher.settled(event.task)
        if out is None:
            return  # of a unit given up, or a second event of a settled task: counts nothing
        unit = out.unit
        if isinstance(unit, Batch):
            self._on_batch(unit, event.outcome)
        elif isinstance(unit, Folders):
            self._on_folders(unit, event.outcome)
        elif isinstance(unit, DeleteBatch):
            unit.owner.on_event(unit, event.outcome)
        elif isinstance(unit, Large):
            self._on_large(unit, event, have)

    def _on_batch(self, batch: Batch, outcome: Mapping[str, Any]) -> None:
        batch.segment.unsettled.discard(batch.number)
        if "items" in outcome:
            for transfer, wire in zip(batch.items, outcome["items"], strict=True):
                self._settle(batch.segment, transfer, Outcome.unwire(wire))
            return
        error = Outcome.unwire(outcome["error"])
        receipts = {int(i): Outcome.unwire(w) for i, w in outcome.get("receipts", {}).items()}
        rest = []
        for i, transfer in enumerate(batch.items):
            if i in receipts:
                self._settle(batch.segment, transfer, receipts[i])
            elif len(batch.items) > 1 and "receipts" in outcome:
                rest.append(transfer)  # one of them kills its worker: each alone shows which
            else:
                self._settle(batch.segment, transfer, error)
        for transfer in rest:
            self._add_batch(batch.segment, [transfer])

    def _settle(self, segment: OpenSegment, transfer: Transfer, outcome: Outcome) -> None:
        if outcome.state == "large":
            expected = replace(transfer, check=False, expected=outcome.found)
            self._add_large(segment, expected, transfer.source.size, outcome.conflicts)
            return
        if transfer.source.kind is Kind.DIR:  # folders are not counted as files
            filelog.settled(transfer, outcome)
            segment.counters.extras(outcome)
            if outcome.state == "failed":
                segment.counters.failed(transfer.key, outcome.reason, outcome.message)
            return
        filelog.settled(transfer, outcome)
        segment.counters.settle(transfer.key, transfer.source.size, outcome)
        if outcome.reason == FailureClass.CONFLICT and self.job.options.on_conflict == "fail":
            self.conflict_stop = True

    def _on_folders(self, unit: Folders, outcome: Mapping[str, Any]) -> None:
        done = unit.segment.finishes[: unit.count]
        del unit.segment.finishes[: unit.count]
        self._finishing = None
        wires = outcome["items"] if "items" in outcome else [outcome["error"]] * len(done)
        for folder, wire in zip(done, wires, strict=True):
            result = Outcome.unwire(wire)
            unit.segment.counters.extras(result)
            if result.state == "failed":
                filelog.failed(folder.key, result.reason, result.message)
                unit.segment.counters.failed(folder.key, result.reason, result.message)

    def _on_large(self, large: Large, event: Event, have: Mapping[int, Part]) -> None:
        large.file.on_event(event.task, event.outcome, have)
        if "file" in event.outcome:
            filelog.began(large.file.transfer.key, event.outcome["file"])
        if large.file.state == "ended":
            self._ended(large)

    def _ended(self, large: Large) -> None:
        outcome = large.file.outcome or Outcome("failed", FailureClass.PERMANENT, "it ended without an outcome")
        large.file.conflicts += outcome.conflicts
        if outcome.state == "replan":
            if outcome.reason == UNPROVEN:
                large.file.whole = outcome.message
            if (refused := refusal(outcome, large.file.tries, self.job.options)) is None:
                known = large.file.fields.get("gen", "")
                self.replan.ask(large, large.file.transfer, known, outcome.reason == "conflict")
                return
            outcome = refused
        self._close(large, outcome)

    def _close(self, large: Large, outcome: Outcome) -> None:
        if large.file.give_up(outcome):
            return
        del self._larges[large.file.file]
        large.segment.unsettled.discard(large.number)
        outcome = replace(outcome, conflicts=large.file.conflicts)
        self._settle(large.segment, replace(large.file.transfer, source=_sized(large)), outcome)

    def collect(self) -> None:
        """Take up the large files that were looked at again."""
        for large, found in self.replan.answers():
            if isinstance(found, Transfer):
                large.file.again(found)
            else:
                self._close(large, found)

    # after the ledger lost its data
    def restore(self) -> None:
        """Write the records of files in flight anew; the dispatcher sends their tasks again by itself."""
        for large in self._larges.values():
            if large.file.fields:
                self.ledger.set_upload(self.job.spec.job, large.file.file, large.file.fields)
                self.ledger.put_parts(
                    self.job.spec.job, large.file.file, large.file.fields["gen"], large.file.receipts.values()
                )

    def in_flight(self) -> tuple[tuple[str, int, int], ...]:
        """(key, bytes moved, size) of the files at work that travel by themselves, largest first. What is inside a running
        task is as of the dispatcher's last look."""
        rows = [self._row(large) for large in self._larges.values() if large.file.state != "begin"]
        for out in self.dispatcher.out.values():
            if isinstance(out.unit, Batch) and out.seen.state == "running" and len(out.unit.items) == 1:
                if (source := out.unit.items[0].source).size >= self.job.options.small_file:
                    rows.append((source.key, self._inside(out.seen, source.size), source.size))
        return tuple(sorted(rows, key=lambda row: (-row[2], row[0])))

    def _row(self, large: Large) -> tuple[str, int, int]:
        part_size = int(large.file.fields.get("part_size", 0))
        outs = [self.dispatcher.out.get(task) for task in large.file.out]
        inside = sum(self._inside(out.seen, part_size) for out in outs if out is not None)
        return large.file.transfer.key, min(large.file.moved + inside, large.size), large.size

    def _inside(self, seen: TaskStatus, size: int) -> int:
        """How much of ``size`` bytes a task has brought over: what passes through a worker between two stores counts twice."""
        both = self.job.source.limits.remote and self.job.dest.limits.remote and not self.job.copies_parts
        return min(size, seen.moved // (2 if both else 1))


def _sized(large: Large) -> Any:
    """The entry with its planned size: a file that grew in between is still counted as what was found."""
    return replace(large.file.transfer.source, size=large.size)
