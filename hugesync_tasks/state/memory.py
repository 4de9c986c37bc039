"""The ledger in one process's memory, for simulations and tests: the same promises, a clock that is an argument.

Everything passes through JSON as on the wire, so that what Redis would change (a tuple, an integer key) changes here too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hugesync_tasks.model import Part
from hugesync_tasks.state.base import CARRIED, Claim, Claimed, Event, PartAnswer, Renewed, Task, TaskStatus, Traffic
from hugesync_tasks.state.memory_jobs import JobRecord, TaskRecord, UploadRecord
from hugesync_tasks.state.memory_load import MemoryLoad


class MemoryLedger(MemoryLoad):
    """``Ledger``; ``clock`` is in seconds. ``queues`` is what ``queue_length`` answers. Thread-safe.

    Only ``events`` with a time-out waits in real time; a simulation asks with 0.
    """

    # tasks
    def put_tasks(self, job: str, tasks: Iterable[Task]) -> None:
        with self._changed:
            records = self._job(job).tasks
            for task in tasks:
                record = records.setdefault(task.id, TaskRecord(task))
                if not record.running or record.until <= self.clock():
                    record.task, record.running, record.until, record.recalled = task, False, 0.0, False

    def recall(self, job: str, tasks: list[str]) -> list[str]:
        with self._changed:
            records = self._job(job).tasks
            taken = [task for task in tasks if task in records and not records[task].running]
            for task in taken:
                records[task].recalled = True
            return taken

    def task(self, job: str, task: str) -> tuple[Task, Mapping[str, str]] | None:
        with self._changed:
            j = self._job(job)
            if (record := j.tasks.get(task)) is None:
                return None
            upload = j.files.get(record.task.file)
            return record.task, dict(upload.fields) if upload else {}

    def claim(self, job: str, task: str, owner: str, lease_ms: int, max_attempts: int) -> Claim:
        with self._changed:
            j, now = self._job(job), self.clock()
            record = j.tasks.get(task)
            if record is None or record.recalled:
                return Claim(Claimed.GONE)
            if record.running and record.until > now:
                return Claim(Claimed.BUSY)
            if j.meta.get("cancel") == "1":
                return Claim(Claimed.CANCELLED)
            answer = Claimed.POISON if record.attempts - record.given >= max_attempts else Claimed.OK
            record.attempts += 1
            record.running, record.until, record.since = True, now + lease_ms / 1000, now
            record.moved = 0
            upload = j.files.get(record.task.file)
            file = dict(upload.fields) if upload else {}
            return Claim(answer, record.task, record.attempts, dict(record.receipts), file, record.given)

    def renew(self, job: str, task: str, fence: int, lease_ms: int, traffic: Traffic) -> Renewed:
        return self.receipts(job, task, fence, {}, lease_ms, traffic)

    def receipts(
        self, job: str, task: str, fence: int, items: Mapping[int, Any], lease_ms: int, traffic: Traffic
    ) -> Renewed:
        with self._changed:
            j, now = self._job(job), self.clock()
            record = j.tasks.get(task)
            if record is None or fence < record.attempts or fence == record.gave:
                return Renewed.LOST
            record.attempts, record.running, record.until = fence, True, now + lease_ms / 1000
            record.recalled = False
            record.since = now if record.since is None else record.since
            record.receipts.update({index: _wired(outcome) for index, outcome in items.items()})
            record.moved += sum(traffic.get(name, 0) for name in CARRIED)
            j.traffic.update(traffic)
            return Renewed.CANCELLED if j.meta.get("cancel") == "1" else Renewed.OK

    def give_back(self, job: str, task: str, fence: int, traffic: Traffic) -> bool:
        with self._changed:
            j = self._job(job)
            record = j.tasks.get(task)
            if record is None or fence < record.attempts:
                return False
            if record.gave != fence:
                record.attempts = record.gave = fence
                record.given += 1
                record.running, record.recalled, record.until = True, False, self.clock() - 0.001
                j.traffic.update(traffic)
            return True

    def settle(
        self,
        job: str,
        task: str,
        outcome: Mapping[str, Any],
        traffic: Traffic,
        close_file: str = "",
        fence: int | None = None,
    ) -> bool:
        with self._changed:
            j = self._job(job)
            record = j.tasks.get(task)
            if record is None or (fence is not None and fence < record.attempts):
                return False
            del j.tasks[task]
            if close_file:
                j.files.pop(close_file, None)
            self._tell(j, task, outcome, traffic)
            return True

    def _tell(self, j: JobRecord, task: str, outcome: Mapping[str, Any], traffic: Traffic) -> None:
        j.events.append(json.dumps([task, outcome]))
        j.traffic.update(traffic)
        self._changed.notify_all()

    def statuses(self, job: str, tasks: list[str]) -> list[TaskStatus]:
        with self._changed:
            records, now = self._job(job).tasks, self.clock()
            return [_status(records[task], now) if task in records else TaskStatus("") for task in tasks]

    def finished(self, job: str, known: Mapping[str, int]) -> dict[str, dict[int, Any]]:
        with self._changed:
            records = self._job(job).tasks
            have = {task: dict(records[task].receipts) for task in known if task in records}
            return {task: receipts for task, receipts in have.items() if len(receipts) > known[task]}

    def events(self, job: str, timeout: float, most: int = 1000) -> list[Event]:
        with self._changed:
            waiting = self._job(job).events
            if not waiting and timeout > 0:
                self._changed.wait_for(lambda: len(waiting) > 0, timeout)
            return [Event(*json.loads(waiting.popleft())) for _ in range(min(most, len(waiting)))]

    # large files
    def set_upload(self, job: str, file: str, fields: Mapping[str, str], of_task: bool = False) -> dict[str, str]:
        with self._changed:
            files = self._job(job).files
            had = files.get(file)
            if of_task and not self._job(job).tasks:
                return dict(had.fields) if had is not None else {}
            if had is None or had.fields["gen"] != fields["gen"] or not had.fields.get("upload"):
                notes = had.notes if had is not None and had.fields["gen"] == fields["gen"] else {}
                files[file] = UploadRecord(dict(fields), notes=notes)
            return dict(files[file].fields)

    def file(self, job: str, file: str) -> dict[str, str]:
        with self._changed:
            upload = self._job(job).files.get(file)
            return dict(upload.fields) if upload else {}

    def parts(self, job: str, file: str) -> dict[int, Part]:
        with self._changed:
            upload = self._job(job).files.get(file)
            return dict(upload.parts) if upload else {}

    def put_parts(self, job: str, file: str, gen: str, parts: Iterable[Part], upload: str = "") -> bool:
        with self._changed:
            record = self._job(job).files.get(file)
            if record is None or not record.takes(gen, upload):
                return False
            record.parts.update({part.number: part for part in parts})
            return True

    def part_done(
        self, job: str, task: str, file: str, gen: str, part: Part, traffic: Traffic, upload: str = ""
    ) -> PartAnswer:
        with self._changed:
            j = self._job(job)
            record = j.files.get(file)
            if record is None or not record.takes(gen, upload):
                return PartAnswer.FENCED
            old = record.parts.get(part.number)
            if old is not None and not same_bytes(old, part):
                return PartAnswer.MISMATCH
            record.parts[part.number] = part
            answer = PartAnswer.ALL if len(record.parts) >= int(record.fields["total"]) else PartAnswer.MORE
            if j.tasks.pop(task, None) is not None or old != part:
                self._tell(j, task, {"part": part.wire(), "answer": str(answer)}, traffic)
            return answer

    def put_notes(self, job: str, file: str, gen: str, notes: Mapping[str, bytes]) -> bool:
        with self._changed:
            record = self._job(job).files.get(file)
            if record is None or record.fields["gen"] != gen:
                return False
            record.notes.update(notes)
            return True

    def notes(self, job: str, file: str, names: Sequence[str]) -> list[bytes | None]:
        with self._changed:
            record = self._job(job).files.get(file)
            return [record.notes.get(name) if record else None for name in names]

    def close_file(self, job: str, file: str, unbegun: str = "") -> None:
        with self._changed:
            had = self._job(job).files.get(file)
            if had is None or (unbegun and (had.fields["gen"] != unbegun or had.fields.get("upload"))):
                return
            del self._job(job).files[file]

    def open_files(self, job: str) -> list[str]:
        with self._changed:
            return list(self._job(job).files)

    # traffic
    def traffic(self, job: str) -> dict[str, int]:
        with self._changed:
            return dict(self._job(job).traffic)

    def add_traffic(self, job: str, traffic: Traffic) -> None:
        with self._changed:
            self._job(job).traffic.update(traffic)


def same_bytes(a: Part, b: Part) -> bool:
    """Whether two receipts of one part tell of the same bytes. An ETag may differ for equal bytes (encrypted stores), so
    where both checksums are known they decide."""
    if a.crc64 is not None and b.crc64 is not None:
        return a.size == b.size and a.crc64 == b.crc64
    return a.size == b.size and a.etag == b.etag


def _status(record: TaskRecord, now: float) -> TaskStatus:
    if not record.running:
        state = "recalled" if record.recalled else "queued"
        return TaskStatus(state, record.task.seq, attempts=record.attempts)
    since = now if record.since is None else record.since
    left, ran = round(1000 * (record.until - now)), round(1000 * (now - since))
    return TaskStatus("running", record.task.seq, left, ran, record.attempts, record.moved)


def _wired(value: Any) -> Any:
    return json.loads(json.dumps(value))
