"""Execute: bring small files, links and folders to the destination, many at a time, each with its own outcome.

A batch is a list of independent files: each has its own condition, outcome and receipt; one failure fails one file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from awscrt.checksums import crc64nvme

from hugesync_tasks.budget import Budget
from hugesync_tasks.errors import NotFound, SourceChanged, Stopped, StoreError, VersionMismatch
from hugesync_tasks.model import Commit, Entry, Head, Kind, Meta, Outcome, Transfer, failed
from hugesync_tasks.stages.beside import note_of, place_beside
from hugesync_tasks.stages.compare import as_outcome, look_again
from hugesync_tasks.stages.context import JobContext, called, describe, folder_head
from hugesync_tasks.stages.readback import confirmed
from hugesync_tasks.stages.sidecar import carry, over_signature
from hugesync_tasks.stages.steady import source_now, steady
from hugesync_tasks.stages.verify import check_commit
from hugesync_tasks.stores.base import PutBatch
from hugesync_tasks.token import Token

THREADS = 16  # I/O in flight inside one task; the GIL is released in sockets, hashing and file calls
SLOW = 0.005  # seconds, plus 2 ns a byte, for one file from folder to folder: above it threads are worth their cost

REPORT_EVERY = 1.0  # seconds; what is finished is told so often where a put is durable at once, else when its group is

log = logging.getLogger(__name__)

Report = Callable[[Mapping[int, Outcome]], None]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A put that awaits its batch's ``finish``."""

    index: int
    transfer: Transfer
    meta: Meta
    proven: bool  # on reading, by the source's own digest
    sent: int | None = None  # CRC64NVME of the bytes, where they are to be read back


class BatchRun:
    """One batch task: run it with the items that have no receipt yet; ``report`` is called with finished items."""

    def __init__(self, job: JobContext, token: Token, report: Report, budget: Budget) -> None:
        self._job = job
        self._token = token
        self._report = report
        self._budget = budget

    def run(self, items: Mapping[int, Transfer]) -> None:
        """Raises only ``Stopped``: everything else is some file's outcome."""
        step = self._job.dest.limits.finish_every
        numbered = list(items.items())
        with ThreadPoolExecutor(THREADS, thread_name_prefix="file") as pool:
            for at in range(0, len(numbered), step):
                self._run_group(numbered[at : at + step], pool)

    def _begin_all(
        self, group: list[tuple[int, Transfer]], puts: PutBatch, pool: ThreadPoolExecutor
    ) -> Iterator[Outcome | _Pending]:
        """The group's answers in its order. From folder to folder one after another, as long as nothing waits: 11,000
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
        waiting: dict[str, _Pending] = {}
        answers: dict[str, Commit | Exception] = {}
        told = time.monotonic() if self._prompt else float("inf")
        try:
            for (index, _), result in zip(group, self._begin_all(group, puts, pool), strict=True):
                if isinstance(result, _Pending):
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
        conflicts: list[_Pending] = []
        landed: list[tuple[_Pending, Commit]] = []
        for key, pending in waiting.items():
            answer = answers.get(key, StoreError("the store gave no answer for this key", key))
            if isinstance(answer, VersionMismatch):
                conflicts.append(pending)
            elif isinstance(answer, Exception):
                done[pending.index] = failed(answer)
            else:
                landed.append((pending, answer))
                self._count(answer.size)
        done.update(zip((p.index for p, _ in landed), pool.map(self._landed, landed), strict=True))
        done.update(zip((p.index for p in conflicts), pool.map(self._resolve, conflicts), strict=True))
        self._report(done)

    @property
    def _prompt(self) -> bool:
        """Whether a put is durable when it returns, and nothing is to be read back."""
        return not self._job.dest.limits.folders and self._job.options.verify == "none"

    def _tell(
        self, waiting: dict[str, _Pending], answers: dict[str, Commit | Exception], done: dict[int, Outcome]
    ) -> None:
        """Report what the store has taken, in the middle of a group: it leaves all three. What it refused waits for the end."""
        for key in [key for key in waiting if isinstance(answers.get(key), Commit)]:
            pending, answer = waiting.pop(key), answers.pop(key)
            assert isinstance(answer, Commit)
            self._count(answer.size)
            done[pending.index] = self._landed((pending, answer))
        if done:
            self._report(dict(done))
            done.clear()

    def _finish(self, puts: PutBatch, waiting: Mapping[str, _Pending]) -> Mapping[str, Commit | Exception]:
        try:
            return puts.finish(self._token)
        except Stopped:
            raise
        except Exception as error:  # none of them is known to be durable; files that ended before are
            puts.discard()
            return dict.fromkeys(waiting, _known(error))

    def _landed(self, landed: tuple[_Pending, Commit]) -> Outcome:
        """What becomes of a put that the store took."""
        pending, commit = landed
        try:
            size = 0 if pending.transfer.source.kind is Kind.DIR else pending.transfer.source.size
            done = Outcome("done", verified=check_commit(commit, size, pending.proven), notes=commit.notes)
            return confirmed(self._job, done, commit, pending.transfer.source, pending.sent, self._token)
        except Stopped:
            raise
        except Exception as error:  # whatever it is, it fails one file
            return failed(_known(error))

    def _begin(self, item: tuple[int, Transfer], puts: PutBatch) -> Outcome | _Pending:
        index, transfer = item
        with self._budget.hold(self._in_hand(transfer.source)):
            try:
                return self._start(index, transfer, puts)
            except Stopped:
                raise
            except Exception as error:  # whatever it is, it fails one file
                return failed(_known(error))
            finally:
                self._token.moved(0)

    def _in_hand(self, source: Entry) -> int:
        return 0 if self._job.server_copy else min(source.size, self._job.options.part_size)

    def _copies(self, transfer: Transfer) -> bool:
        return self._job.server_copy and transfer.source.kind is Kind.FILE

    def _start(self, index: int, transfer: Transfer, puts: PutBatch) -> Outcome | _Pending:
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
            return _Pending(index, transfer, meta, False)
        if self._copies(transfer):
            transfer, head, meta = self._describe_copy(transfer)
            try:
                return self._server_copy(transfer, head, meta)
            except VersionMismatch:
                return self._resolve(_Pending(index, transfer, meta, False))
        transfer, head, body, proven = steady(self._job, transfer, self._token)
        meta = describe(head, transfer.expected, self._job.options)
        puts.put(transfer.key, body, meta, self._job.expect(transfer.expected), self._token)
        return _Pending(index, transfer, meta, proven, self._to_read_back(body))

    def _to_read_back(self, body: bytes) -> int | None:
        return None if self._job.options.verify == "none" else crc64nvme(body)

    def _describe_copy(self, transfer: Transfer) -> tuple[Transfer, Head, Meta]:
        """The source as it is now, and what its copy will carry."""
        key = self._job.source_key(transfer.source)
        head = self._job.source.head(key, self._token)
        if head is None or head.entry.version != transfer.source.version:
            transfer = replace(transfer, source=source_now(self._job, transfer, self._token))
            head = self._job.source.head(key, self._token)
        if head is None:
            raise SourceChanged("the source vanished during the run", key)
        head = called(head, transfer.source)
        return transfer, head, describe(head, transfer.expected, self._job.options)

    def _server_copy(self, transfer: Transfer, head: Head, meta: Meta) -> Outcome:
        key = self._job.source_key(transfer.source)
        try:
            commit = self._job.dest.copy(
                self._job.source,
                transfer.target,
                key,
                head.entry.version,
                meta,
                self._job.expect(transfer.expected),
                self._token,
            )
        except NotFound as error:
            raise SourceChanged("the source vanished during the run", key) from error
        unsigned = carry(self._job, head.entry, commit, meta.mtime_ns, self._token)
        notes = (*commit.notes, f"no signature was written: {unsigned}") if unsigned else commit.notes
        done = Outcome("done", how="server_copy", verified=check_commit(commit, head.entry.size, False), notes=notes)
        return confirmed(self._job, done, commit, head.entry, None, self._token)

    def _count(self, n: int) -> None:
        """Adapters count what goes over a network; from folder to folder nothing does, so it is counted here as sent."""
        if self._job.between_folders:
            self._token.sent(n)

    def _resolve(self, pending: _Pending) -> Outcome:
        """Another version is there than was planned against (design §2, Conflict). Ours, from an attempt whose reply was lost:
        done. Else compare afresh, and plan against it at most ``conflict_retries`` times."""
        transfer, options, conflicts = pending.transfer, self._job.options, 0
        against, keep_both = transfer.expected, options.on_conflict == "keep-both"
        try:
            for tries in range(1 + (most := max(options.conflict_retries, int(keep_both)))):
                found = self._job.dest.head(transfer.key, self._token)
                if found is not None and found.meta.generation and found.meta.generation == pending.meta.generation:
                    how = "server_copy" if self._copies(transfer) else "full"
                    done = Outcome("done", how=how, verified=pending.proven, conflicts=conflicts)
                    ours = Commit(transfer.key, found.entry.version, found.entry.size)
                    return confirmed(self._job, done, ours, transfer.source, pending.sent, self._token)
                version = found.entry.version if found else None
                # Else a copy's source is what changed. A folder holds nobody's data; some stores make it with its files.
                if version != against and transfer.source.kind is not Kind.DIR:
                    against, conflicts = version, conflicts + 1
                    if options.on_conflict in ("skip", "fail"):
                        return Outcome(
                            "failed", "conflict", "the destination changed since it was listed", conflicts=conflicts
                        )
                if tries == most:
                    break
                decision = look_again(self._job, transfer.source, found, self._token)
                verdict = as_outcome(decision, transfer, found, self._job)
                if verdict is not None:
                    return replace(verdict, conflicts=conflicts)
                try:
                    if found is not None and conflicts and keep_both:
                        return replace(self._put_beside(transfer, found.entry), conflicts=conflicts)
                    transfer = replace(transfer, expected=version, check=False)
                    return replace(self._put_alone(transfer), conflicts=conflicts)
                except VersionMismatch:
                    continue
        except Stopped:
            raise
        except Exception as error:  # whatever it is, it fails one file
            return failed(_known(error), conflicts=conflicts)
        return Outcome("failed", "conflict", "the destination kept changing", conflicts=conflicts)

    def _put_beside(self, transfer: Transfer, rival: Entry) -> Outcome:
        """Ours, under a name of its own; raises VersionMismatch where somebody took that name just now."""
        source = self._job.source.head(self._job.source_key(transfer.source), self._token)
        if source is None:
            raise SourceChanged("the source vanished during the run", transfer.key)
        beside, there = place_beside(self._job, transfer, source, rival, self._token)
        if there is not None:
            outcome = confirmed(self._job, Outcome("done"), there, beside.source, None, self._token)
        else:
            outcome = self._put_alone(beside)
        return replace(outcome, notes=(*outcome.notes, note_of(beside)))

    def _put_alone(self, transfer: Transfer) -> Outcome:
        if self._copies(transfer):
            return self._server_copy(*self._describe_copy(transfer))
        if transfer.source.kind is Kind.DIR:
            head, body, proven = folder_head(self._job, transfer.source, self._token), b"", False
        else:
            transfer, head, body, proven = steady(self._job, transfer, self._token)
        meta = describe(head, transfer.expected, self._job.options)
        commit = self._job.dest.put(transfer.target, body, meta, self._job.expect(transfer.expected), self._token)
        self._count(commit.size)
        done = Outcome("done", verified=check_commit(commit, len(body), proven), notes=commit.notes)
        return confirmed(self._job, done, commit, transfer.source, self._to_read_back(body), self._token)


def _known(error: Exception) -> Exception:
    if not isinstance(error, StoreError):
        log.exception("a file failed in an unexpected way", exc_info=error)
    return error
