"""Perform one task: claim it, call a stage, record what became of it. All that is known of it is in the ledger."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from hugesync_tasks import logs, measuring, perform_begin, perform_compare, perform_delete, perform_delta
from hugesync_tasks.errors import (
    Disturbed,
    FailureClass,
    HugeSyncError,
    NoSuchUpload,
    NotFound,
    Returned,
    SourceChanged,
    Stopped,
    Unreachable,
    VersionMismatch,
)
from hugesync_tasks.filenotes import FileNotes
from hugesync_tasks.lease import COMMIT_LEASE_MS, LEASE_MS, Lease
from hugesync_tasks.model import Entry, Kind, Outcome, Part, Transfer, failed
from hugesync_tasks.parts import part_range
from hugesync_tasks.process import Process
from hugesync_tasks.stages.begin import LargeFile, leave
from hugesync_tasks.stages.commit import UNPROVEN, commit
from hugesync_tasks.stages.context import finishing
from hugesync_tasks.stages.equality import compare_batch
from hugesync_tasks.stages.execute import BatchRun, Report
from hugesync_tasks.stages.parts import CopyRefused, make_part, send_part
from hugesync_tasks.state.base import Claim, Claimed, PartAnswer
from hugesync_tasks.strange import DECLINED_MS, unknown
from hugesync_tasks.tracing import task_span
from hugesync_tasks.words import about
from hugesync_tasks.work import UploadLost, Work

log = logging.getLogger(__name__)


def perform(job_id: str, task_id: str, process: Process | None = None) -> str:
    """Run one task to its end. Returns what happened, for logs and Flower: no file is named in it. ``process``: by default this
    worker child's."""
    logs.of_task(job_id, task_id)
    process = process or Process.current()
    ledger = process.ledger
    lease_ms = COMMIT_LEASE_MS if task_id.endswith((":commit", ":abandon")) else LEASE_MS
    owner = f"{socket.gethostname()}:{os.getpid()}"
    asked = time.monotonic()
    claim = ledger.claim(job_id, task_id, owner, lease_ms, process.max_attempts(job_id))
    if claim.task is None or claim.answer not in (Claimed.OK, Claimed.POISON):
        measuring.task("", "not_taken")
        return claim.answer.lower()
    logs.of_task(job_id, task_id, cache(lambda task=claim.task, file=claim.file: about(task, file).fields()))
    lease = Lease(ledger, job_id, claim, lease_ms, asked, process.pace(job_id))
    work = Work(process, job_id, claim.task, claim, lease)
    with measuring.performing(claim.task.kind, lease.token.meter, lease.worked) as performed:
        return _perform(work, performed)


def _perform(work: Work, performed: measuring.Performed) -> str:
    task, claim = work.task, work.claim
    if task.kind not in _HANDLERS:
        return _strange(work)
    if claim.answer is Claimed.POISON:
        performed.result = "failed"
        why = f"its task was attempted {claim.counted} times and never ended"
        work.settle(_failure(FailureClass.PERMANENT, why) | {"receipts": dict(claim.receipts)})
        return "poison"
    try:
        return task_span(work.job_id, lambda: _attributes(claim), lambda: _HANDLERS[task.kind](work))
    except Returned:
        performed.result = "stopped"
        log.info("task %s goes back to the queue: this worker ends", task.id)
        work.lease.give_back()
        return "given back"
    except Stopped as stop:
        performed.result = "stopped"
        log.info("task %s ended early: %s", task.id, stop)
        return type(stop).__name__
    except Unreachable:
        performed.result = "unreachable"
        log.warning("task %s: the ledger cannot be reached; its lease will lapse", task.id)
        return "unreachable"
    except UploadLost as error:
        return work.replan("upload_lost", str(error))
    except Exception as error:
        performed.result = "failed"
        if not isinstance(error, HugeSyncError):
            log.exception("task %s failed in an unexpected way", task.id)
        outcome = failed(error)
        work.settle({"error": outcome.wire()})
        measuring.finished(outcome, int(claim.file.get("size", "0")))
        return "failed"


def _attributes(claim: Claim) -> dict[str, Any]:
    assert claim.task is not None
    said = about(claim.task, claim.file)
    size = {} if said.size is None else {"bytes": said.size}
    return {"task": claim.task.id, "attempt": claim.attempt, **said.fields(), **size}


def _strange(work: Work) -> str:
    """A task of another release, under a name that this one knows."""
    kind = work.task.kind
    if work.claim.answer is Claimed.POISON:
        work.settle(unknown(kind, work.claim.counted))
        return "given up"
    log.warning("task %s is of the kind %s, which this release does not know; it is left to others", work.task.id, kind)
    work.process.ledger.renew(work.job_id, work.task.id, work.claim.attempt, DECLINED_MS, {})
    return "left to others"


def _failure(kind: FailureClass, message: str) -> dict[str, Any]:
    return {"error": Outcome("failed", str(kind), message).wire()}


def _files(work: Work, run: Callable[[Mapping[int, Transfer], Report], None]) -> str:
    """A batch: those of its files that have no receipt are given to ``run``."""
    items = {i: Transfer.unwire(w) for i, w in enumerate(json.loads(work.task.payload))}
    done = {i: Outcome.unwire(w) for i, w in work.claim.receipts.items()}

    def report(finished: Mapping[int, Outcome]) -> None:
        done.update(finished)
        if len(done) < len(items):
            work.lease.receipts(finished)
        for i, outcome in finished.items():
            if items[i].source.kind is not Kind.DIR:
                measuring.finished(outcome, items[i].source.size)

    run({i: t for i, t in items.items() if i not in done}, report)
    work.settle({"items": [done[i].wire() for i in range(len(items))]})
    return f"{len(items)} files"


def _batch(work: Work) -> str:
    return _files(work, lambda t, report: BatchRun(work.job, work.lease.token, report, work.process.budget).run(t))


def _compare_files(work: Work) -> str:
    return _files(work, lambda todo, report: compare_batch(work.job, todo, work.lease.token, report))


def _part(work: Work) -> str:
    large = work.begun
    todo = json.loads(work.task.payload)
    listed = Part.unwire(todo["listed"]) if todo.get("listed") else None
    try:
        part = _made(work, large, int(todo["number"]), listed)
    except SourceChanged as error:
        return work.replan("source_changed", error.of_file())
    except CopyRefused as error:
        return work.replan(UNPROVEN, error.of_file())
    except Disturbed as error:  # nobody's conflict: another program's litter was in the way, and is not any more
        return work.replan("upload_lost", error.of_file())
    except (VersionMismatch, NotFound) as error:
        if large.delta is None:
            raise
        return work.replan("conflict", error.of_file())  # what parts are copied from was replaced
    except NoSuchUpload as error:
        return work.replan("upload_lost", error.of_file())
    generation, traffic = large.upload.generation, work.lease.token.meter.take()
    answer = work.lease.insist(
        lambda: work.process.ledger.part_done(
            work.job_id, work.task.id, work.task.file, generation, part, traffic, upload=large.upload.id
        )
    )
    if answer is PartAnswer.MISMATCH:
        return work.replan("source_changed", "the same part was read twice with different bytes")
    if answer is PartAnswer.FENCED:
        return work.replan("upload_lost", "another upload of this file has begun")
    return f"part {part.number}: {answer.lower()}"


def _made(work: Work, large: LargeFile, number: int, listed: Part | None) -> Part:
    notes, job, hold, token = FileNotes(work, large), work.job, work.process.budget.hold, work.lease.token
    if large.delta is not None:
        row = notes.row(number)
        needed = row.length if job.in_place or len(row.pieces) > 1 or row.fetched else 0
        with hold(needed, token, memory=not job.in_place) as room:
            return make_part(job, large, number, row, listed, token, room)
    with hold(0 if job.copies_parts else _length(large, number), token, memory=True) as room:
        part, hashes = send_part(job, large, number, listed, token, notes.hashed(), room)
        if hashes:
            notes.keep({f"h{number}": hashes})
        return part


def _length(large: LargeFile, number: int) -> int:
    return part_range(number, large.upload.size, large.upload.part_size)[1]


def _commit(work: Work) -> str:
    large = work.begun
    parts = sorted(work.process.ledger.parts(work.job_id, work.task.file).values(), key=lambda p: p.number)
    notes = FileNotes(work, large)
    kept = notes.kept() if large.delta is not None and work.job.in_place else []
    outcome = commit(work.job, large, parts, work.lease.token, notes.sign, kept)
    work.settle({"error": outcome.wire()}, close_file=work.task.file)
    measuring.finished(outcome, large.upload.size)
    return outcome.state


def _abandon(work: Work) -> str:
    known, told = dict(work.claim.file), json.loads(work.task.payload)
    # What the coordinator heard, too: the ledger may have lost it, and know of a later begin.
    for fields in (known, told if any(told.get(name) != known.get(name) for name in ("gen", "upload")) else {}):
        if fields:
            leave(work.job, fields, work.lease.token)
    work.settle({"abandoned": True}, close_file=work.task.file)
    return "abandoned"


def _folders(work: Work) -> str:
    """Give finished folders their metadata, deepest first, one after another: a folder may lose its own w or x."""
    results = []
    for wire in json.loads(work.task.payload):
        folder = Entry.unwire(wire)
        try:
            meta = finishing(work.job, folder, work.lease.token)
            notes = work.job.dest.finish_folder(folder.key, meta, work.lease.token)
            results.append(Outcome("done", notes=notes).wire())
        except Stopped:
            raise
        except HugeSyncError as error:
            results.append(failed(error).wire())
        work.lease.token.moved(0)
    work.settle({"items": results})
    return f"{len(results)} folders"


_HANDLERS: dict[str, Callable[[Work], str]] = {
    "batch": _batch,
    "begin": perform_begin.begin,
    "sign": perform_delta.sign,
    "match": perform_delta.match,
    "lay": perform_delta.lay_out,
    # of their own names: a worker of an earlier release, which would sync, does not know them
    "compare_files": _compare_files,
    "compare_begin": perform_compare.begin,
    "compare": perform_compare.compare,
    "conclude": perform_compare.conclude,
    "part": _part,
    "commit": _commit,
    "abandon": _abandon,
    "folders": _folders,
    "delete": perform_delete.delete,
}
KINDS = tuple(_HANDLERS)
