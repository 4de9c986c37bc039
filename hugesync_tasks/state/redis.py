"""The ledger on Redis or Valkey (``docs/ledger.md``). Every change that touches two keys is one Lua script."""

from __future__ import annotations

import json
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

import redis

from hugesync_tasks.model import Part
from hugesync_tasks.state.base import Claim, Claimed, Event, PartAnswer, Renewed, Task, TaskStatus, Traffic
from hugesync_tasks.state.redis_connect import SOCKET_TIMEOUT
from hugesync_tasks.state.redis_jobs import listed
from hugesync_tasks.state.redis_load import RedisLoad

T = TypeVar("T")

_TASKS_PER_CALL = 200  # bounds how long one script holds the server: about a millisecond
_PARTS_PER_CALL = 1000
_BATCHES_PER_CALL = 8  # each has up to 512 receipts
_NOTES_PER_CALL = 64  # of up to 40 KB, and some of the large ones of 150 KB
_LONGEST_WAIT = SOCKET_TIMEOUT - 10  # s; a blocking call must end well before its socket gives up


class RedisLedger(RedisLoad):
    """``Ledger`` on one server, or two: the state's, and the broker's where the queues lie.

    ``queue_prefix`` equals Celery's ``global_keyprefix``; queue ``q`` is the list ``queue_prefix + q``.
    Safe between threads and after a fork.
    """

    # tasks
    def put_tasks(self, job: str, tasks: Iterable[Task]) -> None:
        for some in _chunks(tasks, _TASKS_PER_CALL):
            records = chain.from_iterable((t.id, t.kind, t.queue, str(t.seq), t.payload, t.file) for t in some)
            self._server.run("put_tasks", self._keys(job, "tasks"), [self._key(job), *records])

    def recall(self, job: str, tasks: list[str]) -> list[str]:
        taken: list[str] = []
        for some in _chunks(tasks, 5 * _TASKS_PER_CALL):
            taken += self._server.run("recall", [self._key(job, "t", "")], some)
        return taken

    def task(self, job: str, task: str) -> tuple[Task, Mapping[str, str]] | None:
        names = ["kind", "queue", "seq", "payload", "file"]
        found: Any = self._rates.call(partial(_some_of, self._key(job, "t", task), names))
        if found[0] is None:
            return None
        kind, queue, seq, payload, file = found
        record: Any = self._rates.call(lambda r: r.hgetall(self._key(job, "f", file))) if file else {}
        return Task(task, kind, queue, int(seq), payload, file), record

    def claim(self, job: str, task: str, owner: str, lease_ms: int, max_attempts: int) -> Claim:
        keys = [*self._task_keys(job, task), self._key(job, "meta")]
        call = f"{owner} {secrets.token_hex(4)}"  # the client may send it twice, the script takes it once
        answer = self._server.run("claim", keys, [call, lease_ms, max_attempts, self._key(job, "f", "")])
        if len(answer) == 1:
            return Claim(Claimed(answer[0]))
        _, attempt, (kind, queue, seq, payload, file), receipts, record, given = answer
        return Claim(
            Claimed(answer[0]),
            Task(task, kind, queue, int(seq), payload, file),
            int(attempt),
            {int(index): json.loads(outcome) for index, outcome in _pairs(receipts)},
            dict(_pairs(record)),
            int(given),
        )

    def renew(self, job: str, task: str, fence: int, lease_ms: int, traffic: Traffic) -> Renewed:
        return self.receipts(job, task, fence, {}, lease_ms, traffic)

    def receipts(
        self, job: str, task: str, fence: int, items: Mapping[int, Any], lease_ms: int, traffic: Traffic
    ) -> Renewed:
        finished = chain.from_iterable((str(index), _json(outcome)) for index, outcome in items.items())
        keys = [*self._task_keys(job, task), *self._keys(job, "meta", "traffic")]
        return Renewed(self._server.run("renew", keys, [fence, lease_ms, len(items), *finished, *_flat(traffic)]))

    def give_back(self, job: str, task: str, fence: int, traffic: Traffic) -> bool:
        keys = [self._key(job, "t", task), self._key(job, "traffic")]
        return bool(self._server.run("give_back", keys, [fence, *_flat(traffic)]))

    def settle(
        self,
        job: str,
        task: str,
        outcome: Mapping[str, Any],
        traffic: Traffic,
        close_file: str = "",
        fence: int | None = None,
    ) -> bool:
        keys = [*self._task_keys(job, task), *self._keys(job, "tasks", "events", "traffic")]
        if close_file:
            keys += [*self._file_keys(job, close_file), self._key(job, "files"), self._key(job, "n", close_file)]
        args = [task, "" if fence is None else fence, _json([task, outcome]), close_file, *_flat(traffic)]
        return bool(self._server.run("settle", keys, args))

    def statuses(self, job: str, tasks: list[str]) -> list[TaskStatus]:
        rows: list[Any] = []
        for some in _chunks(tasks, 5 * _TASKS_PER_CALL):
            rows += self._server.run("statuses", [self._key(job, "t", "")], some)
        return [TaskStatus(r[0], int(r[1]), int(r[2]), max(0, int(r[3])), int(r[4]), int(r[5])) for r in rows]

    def finished(self, job: str, known: Mapping[str, int]) -> dict[str, dict[int, Any]]:
        found: dict[str, dict[int, Any]] = {}
        for some in _chunks(known.items(), _BATCHES_PER_CALL):
            answers = self._server.run("finished", [self._key(job, "r", "")], [word for pair in some for word in pair])
            for (task, _), flat in zip(some, answers, strict=True):
                if flat:
                    found[task] = {int(index): json.loads(outcome) for index, outcome in _pairs(flat)}
        return found

    def events(self, job: str, timeout: float, most: int = 1000) -> list[Event]:
        key = self._key(job, "events")

        def take(r: redis.Redis) -> list[str]:
            some = r.lpop(key, most)
            if some or timeout <= 0:
                return listed(some)
            first = r.blpop([key], timeout=max(0.01, min(timeout, _LONGEST_WAIT)))
            if not first:
                return []
            return [listed(first)[1], *(listed(r.lpop(key, most - 1)) if most > 1 else [])]

        return [Event(*json.loads(event)) for event in self._server.call(take)]

    # large files
    def set_upload(self, job: str, file: str, fields: Mapping[str, str], of_task: bool = False) -> dict[str, str]:
        keys = [*self._file_keys(job, file), self._key(job, "files"), self._key(job, "n", file)]
        keys += [self._key(job, "tasks")] if of_task else []
        return dict(_pairs(self._server.run("set_upload", keys, [file, fields["gen"], *_flat(fields)])))

    def file(self, job: str, file: str) -> dict[str, str]:
        return self._hash(self._key(job, "f", file))

    def parts(self, job: str, file: str) -> dict[int, Part]:
        found = self._hash(self._key(job, "p", file))
        return {int(number): Part.unwire(json.loads(receipt)) for number, receipt in found.items()}

    def put_parts(self, job: str, file: str, gen: str, parts: Iterable[Part], upload: str = "") -> bool:
        for some in _chunks(parts, _PARTS_PER_CALL) or [[]]:
            pairs = chain.from_iterable((str(part.number), _json(part.wire())) for part in some)
            if not self._server.run("put_parts", self._file_keys(job, file), [gen, upload, *pairs]):
                return False
        return True

    def part_done(
        self, job: str, task: str, file: str, gen: str, part: Part, traffic: Traffic, upload: str = ""
    ) -> PartAnswer:
        keys = [
            *self._file_keys(job, file),
            *self._task_keys(job, task),
            *self._keys(job, "tasks", "events", "traffic"),
        ]
        args = [gen, upload, task, _json(task), part.number, _json(part.wire()), *_flat(traffic)]
        return PartAnswer(self._server.run("part_done", keys, args))

    def put_notes(self, job: str, file: str, gen: str, notes: Mapping[str, bytes]) -> bool:
        keys = self._keys(job, f"f:{file}", f"n:{file}")
        for some in _chunks(notes.items(), _NOTES_PER_CALL):
            pairs = chain.from_iterable((name, b64encode(note).decode()) for name, note in some)
            if not self._server.run("put_notes", keys, [gen, *pairs]):
                return False
        return True

    def notes(self, job: str, file: str, names: Sequence[str]) -> list[bytes | None]:
        found: list[str | None] = []
        for some in _chunks(names, _NOTES_PER_CALL):
            found += listed(self._server.call(partial(_some_of, self._key(job, "n", file), some)))
        return [None if note is None else b64decode(note) for note in found]

    def close_file(self, job: str, file: str, unbegun: str = "") -> None:
        keys = [*self._file_keys(job, file), self._key(job, "files"), self._key(job, "n", file)]
        self._server.run("close_file", keys, [file, unbegun])

    def open_files(self, job: str) -> list[str]:
        found: Any = self._server.call(lambda r: r.smembers(self._key(job, "files")))
        return sorted(found)

    # traffic
    def traffic(self, job: str) -> dict[str, int]:
        return {name: int(n) for name, n in self._hash(self._key(job, "traffic")).items()}

    def add_traffic(self, job: str, traffic: Traffic) -> None:
        def add(r: redis.Redis) -> None:
            p = r.pipeline(transaction=True)
            for name, n in traffic.items():
                p.hincrby(self._key(job, "traffic"), name, n)
            p.execute()

        if traffic:
            self._server.call(add)

    def _task_keys(self, job: str, task: str) -> list[str]:
        return [self._key(job, "t", task), self._key(job, "r", task)]

    def _file_keys(self, job: str, file: str) -> list[str]:
        return [self._key(job, "f", file), self._key(job, "p", file)]


def _some_of(key: str, names: list[str], r: redis.Redis) -> Any:
    return r.hmget(key, names)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))  # ASCII only, and the form that part_done.lua matches


def _flat(fields: Mapping[str, str] | Mapping[str, int]) -> Iterator[str | int]:
    for name, value in fields.items():
        yield name
        yield value


def _pairs(flat: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _chunks(items: Iterable[T], most: int) -> list[list[T]]:
    it = iter(items)
    return list(iter(lambda: list(islice(it, most)), []))
