"""Execute: bring small files, links and folders to the destination, many at a time, each with its own outcome.

A batch is a list of independent files: each has its own condition, outcome and receipt; one failure fails one file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from hugesync_tasks import draining, logs
from hugesync_tasks.budget import Holds
from hugesync_tasks.errors import Returned, Stopped, StoreError, VersionMismatch
from hugesync_tasks.model import Commit, Entry, Kind, Outcome, Transfer, failed
from hugesync_tasks.stages.alone import Alone, Pending, known
from hugesync_tasks.stages.compare import as_outcome, look_again
from hugesync_tasks.stages.context import JobContext, describe, folder_head
from hugesync_tasks.stages.readback import confirmed
from hugesync_tasks.stages.sidecar import over_signature
from hugesync_tasks.stages.steady import steady
from hugesync_tasks.stages.verify import check_commit
from hugesync_tasks.stores.base import PutBatch
from hugesync_tasks.token import Token

THREADS = 16  # I/O in flight inside one task; the GIL is released in sockets, hashing and file calls
SLOW = 0.005  # seconds, plus 2 ns a byte, for one file from folder to folder: above it threads are worth their cost

REPORT_EVERY = 1.0  # seconds; what is finished is told so often where a put is durable at once, else when its group is

Report = Callable[[Mapping[int, Outcome]], None]


class BatchRun:
    """One batch task: run it with the items that have no receipt yet; ``report`` is called with finished items."""

    def __init__(self, job: JobContext, token: Token, report: Report, budget: Holds) -> None:
        self._job = job
        self._token = token
        self._report = report
        self._budget = budget
        self._alone = Alone(job, token)

    def run(self, items: Mapping[int, Transfer]) -> None:
        """Raises only ``Stopped``: everything else is some file's outcome."""
        step = self._job.dest.limits.finish_every
        numbered = list(items.items())
        with ThreadPoolExecutor(THREADS, thread_name_prefix="file", **logs.carry()) as pool:
            for at in range(0, len(numbered), step):
                self._run_group(numbered[at : at + step], pool)

    def _begin_all(
        self, group: list[tuple[int, Transfer]], puts: PutBatch, pool: ThreadPoolExecutor
    ) -> Iterator[Outcome | Pending | None]:
        """The group's answers in its order, None for what was left to another worker. From folder to folder one after another, as long as nothing waits: 11,000
        files/s (tmpfs) against 7,500 with two threads, which spend the rest on handing over; a slow one (a cold disk, a
        network) sends those after it to the threads."""
        waits = self._job.source.limits.remote or self._job.dest.limits.remote
        for at, item in enumerate(group):
            if waits:
                yield from pool.map(lambda it: self._begin(it, puts), group[at:])
                return
            began = time.perf_counter()
            yield self._begin(item, puts)
            waits = time.perf_counter() - began > SLOW + 2e-9 * item[1].source.size

    def _run_group(self, group: list[tuple[int, Transfer]], pool: ThreadPoolExecutor) -> None:
        puts = self._job.dest.batch()
        done: dict[int, Outcome] = {}
        waiting: dict[str, Pending] = {}
        answers: dict[str, Commit | Exception] = {}
        told, left = time.monotonic() if self._prompt else float("inf"), False
        try:
            for (index, _), result in zip(group, self._begin_all(group, puts, pool), strict=True):
                if result is None:
                    left = True
                elif isinstance(result, Pending):
                    waiting[result.transfer.key] = result
                else:
                    done[index] = result
                if time.monotonic() - told >= REPORT_EVERY:
                    told = time.monotonic()
                    answers.update(puts.finish(self._token))
                    self._tell(waiting, answers, done)
            answers = {**self._finish(puts, waiting), **answers}
        except BaseException:
            puts.discard()
            raise
        conflicts: list[Pending] = []
        landed: list[tuple[Pending, Commit]] = []
        for key, pending in waiting.items():
            answer = answers.get(key, StoreError("the store gave no answer for this key", key))
            if isinstance(answer, VersionMismatch):
                conflicts.append(pending)
            elif isinstance(answer, Exception):
                done[pending.index] = failed(answer)
            else:
                landed.append((pending, answer))
                self._alone.count(answer.size)
        done.update(zip((p.index for p, _ in landed), pool.map(self._landed, landed), strict=True))
        done.update(zip((p.index for p in conflicts), pool.map(self._alone.resolve, conflicts), strict=True))
        self._report(done)
        if left:
            raise Returned("this worker ends, another goes on with the rest of the batch")

    @property
    def _prompt(self) -> bool:
        """Whether a put is durable when it returns, and nothing is to be read back."""
        return not self._job.dest.limits.folders and self._job.options.verify == "none"

    def _tell(
        self, waiting: dict[str, Pending], answers: dict[str, Commit | Exception], done: dict[int, Outcome]
    ) -> None:
        """Report what the store has taken, in the middle of a group: it leaves all three. What it refused waits for the end."""
        for key in [key for key in waiting if isinstance(answers.get(key), Commit)]:
            pending, answer = waiting.pop(key), answers.pop(key)
            assert isinstance(answer, Commit)
            self._alone.count(answer.size)
            done[pending.index] = self._landed((pending, answer))
        if done:
            self._report(dict(done))
            done.clear()

    def _finish(self, puts: PutBatch, waiting: Mapping[str, Pending]) -> Mapping[str, Commit | Exception]:
        try:
            return puts.finish(self._token)
        except Stopped:
            raise
        except Exception as error:  # none of them is known to be durable; files that ended before are
            puts.discard()
            return dict.fromkeys(waiting, known(error))

    def _landed(self, landed: tuple[Pending, Commit]) -> Outcome:
        """What becomes of a put that the store took."""
        pending, commit = landed
        logs.of_file(pending.transfer.key)
        try:
            size = 0 if pending.transfer.source.kind is Kind.DIR else pending.transfer.source.size
            done = Outcome("done", verified=check_commit(commit, size, pending.proven), notes=commit.notes)
            return confirmed(self._job, done, commit, pending.transfer.source, pending.sent, self._token)
        except Stopped:
            raise
        except Exception as error:  # whatever it is, it fails one file
            return failed(known(error))
        finally:
            logs.of_file()

    def _begin(self, item: tuple[int, Transfer], puts: PutBatch) -> Outcome | Pending | None:
        """None: this worker ends, and the file was not begun, or had to be left."""
        index, transfer = item
        logs.of_file(transfer.key)
        try:
            with self._budget.hold(self._in_hand(transfer.source), self._token):
                if draining.leaving():
                    return None
                return self._start(index, transfer, puts)
        except Returned:
            return None
        except Stopped:
            raise
        except Exception as error:  # whatever it is, it fails one file
            return failed(known(error))
        finally:
            logs.of_file()
            with suppress(Returned):  # this one is brought; the next is not begun
                self._token.moved(0)

    def _in_hand(self, source: Entry) -> int:
        return 0 if self._job.server_copy else min(source.size, self._job.options.part_size)

    def _start(self, index: int, transfer: Transfer, puts: PutBatch) -> Outcome | Pending:
        if transfer.check:
            found = self._job.dest.head(transfer.key, self._token)
            decision = look_again(self._job, transfer.source, found, self._token)
            verdict = as_outcome(decision, transfer, found, self._job)
            if verdict is not None:
                return verdict
            transfer = replace(transfer, check=False, expected=found.entry.version if found else None)
        transfer = over_signature(self._job, transfer, self._token)
        if transfer.source.kind is Kind.DIR:
            head = folder_head(self._job, transfer.source, self._token)
            meta = describe(head, transfer.expected, self._job.options)
            puts.put(transfer.key, b"", meta, self._job.expect(transfer.expected), self._token)
            return Pending(index, transfer, meta, False)
        if self._alone.copies(transfer):
            transfer, head, meta = self._alone.describe_copy(transfer)
            try:
                return self._alone.server_copy(transfer, head, meta)
            except VersionMismatch:
                return self._alone.resolve(Pending(index, transfer, meta, False))
        transfer, head, body, proven = steady(self._job, transfer, self._token)
        meta = describe(head, transfer.expected, self._job.options)
        puts.put(transfer.key, body, meta, self._job.expect(transfer.expected), self._token)
        return Pending(index, transfer, meta, proven, self._alone.to_read_back(body))
