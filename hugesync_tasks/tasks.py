"""The Celery tasks: decode, claim, call a stage, record. A message is (job, task id): everything else is in the ledger.

Task names are written out: Celery would derive them from the module's path, and a rename would orphan queued work.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeVar

from hugesync_tasks.celery import app
from hugesync_tasks.errors import (
    Cancelled,
    FailureClass,
    HugeSyncError,
    LeaseLost,
    NoSuchUpload,
    SourceChanged,
    Stopped,
    Unreachable,
)
from hugesync_tasks.model import Entry, Outcome, Part, Transfer, failed
from hugesync_tasks.process import Process
from hugesync_tasks.stages.begin import LargeFile, abandon, begin, put_intent
from hugesync_tasks.stages.commit import commit
from hugesync_tasks.stages.context import finishing
from hugesync_tasks.stages.execute import BatchRun
from hugesync_tasks.stages.parts import send_part
from hugesync_tasks.state.base import Claim, Claimed, Ledger, PartAnswer, Renewed
from hugesync_tasks.token import Token

LEASE_MS = 30_000  # renewed as bytes move
COMMIT_LEASE_MS = 930_000  # a Complete may take minutes and moves no bytes: its read time-out + 30 s
LEDGER_PATIENCE = 25.0  # seconds; shorter than a lease
RENEW_EVERY = 1.0  # seconds; also how soon a cancel is seen
PATIENCE = 930.0  # seconds without a byte moved: longer than the longest silent call, a Complete's 900

T = TypeVar("T")

log = logging.getLogger(__name__)


class Lease:
    """Keeps one claim alive while bytes move, and ends the task when the ledger says it is no longer ours."""

    def __init__(self, ledger: Ledger, job: str, claim: Claim, lease_ms: int) -> None:
        assert claim.task is not None
        self._ledger, self._job, self._task = ledger, job, claim.task.id
        self._fence, self._lease_ms = claim.attempt, lease_ms
        self._lock = Lock()
        self._renewed = time.monotonic()
        self.token = Token(pulse=self._pulse, patience=PATIENCE)

    def _pulse(self, _moved: int) -> None:
        if time.monotonic() - self._renewed < RENEW_EVERY or not self._lock.acquire(blocking=False):
            return
        try:
            if time.monotonic() - self._renewed < RENEW_EVERY:
                return
            self._heard(self._ledger.renew(self._job, self._task, self._fence, self._lease_ms, self.token.meter.take()))
        except Unreachable:
            log.warning("the ledger cannot be reached; going on with the task in hand")
        finally:
            self._renewed = time.monotonic()
            self._lock.release()

    def receipts(self, items: Mapping[int, Outcome]) -> None:
        """Record finished files of a batch; a crash after this repeats none of them."""
        self._heard(
            self._ledger.receipts(
                self._job,
                self._task,
                self._fence,
                {i: o.wire() for i, o in items.items()},
                self._lease_ms,
                self.token.meter.take(),
            )
        )

    def insist(self, record: Callable[[], T]) -> T:
        """Record work that is done. A ledger that restarts is waited for, or the work would be thrown away."""
        until = time.monotonic() + LEDGER_PATIENCE
        while True:
            try:
                return record()
            except Unreachable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def _heard(self, answer: Renewed) -> None:
        if answer is Renewed.LOST:
            self.token.cancel(LeaseLost("another worker has this task now"))
        elif answer is Renewed.CANCELLED:
            self.token.cancel(Cancelled("the job was cancelled"))
        self.token.check()


def perform(job_id: str, task_id: str, process: Process | None = None) -> str:
    """Run one task to its end: claim, work, settle. Returns what happened, for logs and Flower. ``process``: by default this
    worker child's."""
    process = process or Process.current()
    ledger = process.ledger
    lease_ms = COMMIT_LEASE_MS if task_id.endswith((":commit", ":abandon")) else LEASE_MS
    owner = f"{socket.gethostname()}:{os.getpid()}"
    claim = ledger.claim(job_id, task_id, owner, lease_ms, process.max_attempts(job_id))
    if claim.task is None or claim.answer not in (Claimed.OK, Claimed.POISON):
        return claim.answer.lower()
    if claim.answer is Claimed.POISON:
        why = Outcome(
            "failed", str(FailureClass.PERMANENT), f"its task was attempted {claim.attempt - 1} times and never ended"
        )
        ledger.settle(job_id, task_id, {"error": why.wire(), "receipts": dict(claim.receipts)}, {}, fence=claim.attempt)
        return "poison"
    lease = Lease(ledger, job_id, claim, lease_ms)
    try:
        return _HANDLERS[claim.task.kind](process, job_id, claim, lease)
    except Stopped as stop:
        log.info("task %s ended early: %s", task_id, stop)
        return type(stop).__name__
    except Unreachable:
        log.warning("task %s: the ledger cannot be reached; its lease will lapse", task_id)
        return "unreachable"
    except Exception as error:
        if not isinstance(error, HugeSyncError):
            log.exception("task %s failed in an unexpected way", task_id)
        _settle(ledger, job_id, claim, {"error": failed(error).wire()}, lease)
        return "failed"


def _settle(
    ledger: Ledger, job: str, claim: Claim, outcome: dict[str, Any], lease: Lease, close_file: str = ""
) -> None:
    assert claim.task is not None
    task, traffic = claim.task.id, lease.token.meter.take()
    lease.insist(lambda: ledger.settle(job, task, outcome, traffic, close_file=close_file, fence=claim.attempt))


def _batch(process: Process, job_id: str, claim: Claim, lease: Lease) -> str:
    assert claim.task is not None
    job = process.job(job_id)
    items = {i: Transfer.unwire(w) for i, w in enumerate(json.loads(claim.task.payload))}
    done = {i: Outcome.unwire(w) for i, w in claim.receipts.items()}

    def report(finished: Mapping[int, Outcome]) -> None:
        done.update(finished)
        if len(done) < len(items):
            lease.receipts(finished)

    BatchRun(job, lease.token, report, process.budget).run({i: t for i, t in items.items() if i not in done})
    _settle(process.ledger, job_id, claim, {"items": [done[i].wire() for i in range(len(items))]}, lease)
    return f"{len(items)} files"


def _begin(process: Process, job_id: str, claim: Claim, lease: Lease) -> str:
    assert claim.task is not None
    job = process.job(job_id)
    transfer = Transfer.unwire(json.loads(claim.task.payload))
    try:
        large, listed = begin(job, transfer, lease.token)
    except SourceChanged as error:
        _settle(process.ledger, job_id, claim, {"error": Outcome("replan", "source_changed", str(error)).wire()}, lease)
        return "source changed"
    mine, before = large.fields(), dict(claim.file)
    if before.get("upload") and before["gen"] != mine["gen"]:
        abandon(
            job.dest, LargeFile.of(before).upload, lease.token
        )  # source or destination changed: nobody goes on with it
    stands = process.ledger.set_upload(job_id, claim.task.file, mine)
    if stands["upload"] != mine["upload"]:
        # Somebody began the same generation first; two uploads of it would waste one, and only theirs has receipts.
        if job.dest.limits.intents:
            job.dest.abort(large.upload, lease.token)
            put_intent(job.dest, LargeFile.of(stands).upload, lease.token)
        large, listed = LargeFile.of(stands), []
    outcome = {"file": large.fields(), "listed": [p.wire() for p in listed]}
    _settle(process.ledger, job_id, claim, outcome, lease)
    return f"{large.upload.key} in {large.fields()['total']} parts"


def _part(process: Process, job_id: str, claim: Claim, lease: Lease) -> str:
    assert claim.task is not None
    if not claim.file:
        _settle(process.ledger, job_id, claim, {"error": Outcome("replan", "upload_lost", "no record").wire()}, lease)
        return "no record"
    job = process.job(job_id)
    large = LargeFile.of(dict(claim.file))
    todo = json.loads(claim.task.payload)
    listed = Part.unwire(todo["listed"]) if todo.get("listed") else None
    try:
        with process.budget.hold(0 if job.copies_parts else large.upload.part_size):
            part = send_part(job, large, todo["number"], listed, lease.token)
    except (SourceChanged, NoSuchUpload) as error:
        reason = "source_changed" if isinstance(error, SourceChanged) else "upload_lost"
        _settle(process.ledger, job_id, claim, {"error": Outcome("replan", reason, str(error)).wire()}, lease)
        return reason
    task, generation, traffic = claim.task, large.upload.generation, lease.token.meter.take()
    answer = lease.insist(
        lambda: process.ledger.part_done(job_id, task.id, task.file, generation, part, traffic, upload=large.upload.id)
    )
    if answer in (PartAnswer.MISMATCH, PartAnswer.FENCED):
        mixed = answer is PartAnswer.MISMATCH
        why = (
            Outcome("replan", "source_changed", "the same part was read twice with different bytes")
            if mixed
            else Outcome("replan", "upload_lost", "another upload of this file has begun")
        )
        _settle(process.ledger, job_id, claim, {"error": why.wire()}, lease)
    return f"{large.upload.key} part {part.number}: {answer.lower()}"


def _commit(process: Process, job_id: str, claim: Claim, lease: Lease) -> str:
    assert claim.task is not None
    if not claim.file:
        _settle(process.ledger, job_id, claim, {"error": Outcome("replan", "upload_lost", "no record").wire()}, lease)
        return "no record"
    job = process.job(job_id)
    large = LargeFile.of(dict(claim.file))
    parts = sorted(process.ledger.parts(job_id, claim.task.file).values(), key=lambda p: p.number)
    outcome = commit(job, large, parts, lease.token)
    _settle(process.ledger, job_id, claim, {"error": outcome.wire()}, lease, close_file=claim.task.file)
    return f"{large.upload.key}: {outcome.state}"


def _abandon(process: Process, job_id: str, claim: Claim, lease: Lease) -> str:
    assert claim.task is not None
    fields = dict(claim.file) or json.loads(claim.task.payload)  # the coordinator's, where the ledger lost its own
    if fields:
        abandon(process.job(job_id).dest, LargeFile.of(fields).upload, lease.token)
    _settle(process.ledger, job_id, claim, {"abandoned": True}, lease, close_file=claim.task.file)
    return "abandoned"


def _folders(process: Process, job_id: str, claim: Claim, lease: Lease) -> str:
    """Give finished folders their metadata, deepest first, one after another: a folder may lose its own w or x."""
    assert claim.task is not None
    job = process.job(job_id)
    results = []
    for wire in json.loads(claim.task.payload):
        folder = Entry.unwire(wire)
        try:
            meta = finishing(job, folder, lease.token)
            results.append(Outcome("done", notes=job.dest.finish_folder(folder.key, meta, lease.token)).wire())
        except HugeSyncError as error:
            if isinstance(error, Stopped):
                raise
            results.append(failed(error).wire())
        lease.token.moved(0)
    _settle(process.ledger, job_id, claim, {"items": results}, lease)
    return f"{len(results)} folders"


_HANDLERS: dict[str, Callable[[Process, str, Claim, Lease], str]] = {
    "batch": _batch,
    "begin": _begin,
    "part": _part,
    "commit": _commit,
    "abandon": _abandon,
    "folders": _folders,
}


@app.task(name="hugesync.batch", ignore_result=True)  # type: ignore[untyped-decorator]
def batch(job: str, task: str) -> str:
    return perform(job, task)


@app.task(name="hugesync.begin", ignore_result=True)  # type: ignore[untyped-decorator]
def begin_file(job: str, task: str) -> str:
    return perform(job, task)


@app.task(name="hugesync.part", ignore_result=True)  # type: ignore[untyped-decorator]
def part(job: str, task: str) -> str:
    return perform(job, task)


@app.task(name="hugesync.commit", ignore_result=True)  # type: ignore[untyped-decorator]
def commit_file(job: str, task: str) -> str:
    return perform(job, task)


@app.task(name="hugesync.abandon", ignore_result=True)  # type: ignore[untyped-decorator]
def abandon_file(job: str, task: str) -> str:
    return perform(job, task)


@app.task(name="hugesync.folders", ignore_result=True)  # type: ignore[untyped-decorator]
def folders(job: str, task: str) -> str:
    return perform(job, task)
