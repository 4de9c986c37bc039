"""What a job tells while it runs, as values: for whoever calls the library, and written as JSON Lines by ``--events``.

``docs/events.md`` is the page of the written form; ``wire`` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hugesync_tasks.redact import redact
from hugesync_tasks.summary import Observer, Snapshot, Summary

SCHEMA = 1  # of the written form; goes up when a record changes in a way that a careful reader would misread


@dataclass(frozen=True, slots=True)
class Started:
    """The job has its id; from here on it can be resumed."""

    job_id: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How it stands; several times a second at most, only the newest counts."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know now."""

    message: str


@dataclass(frozen=True, slots=True)
class FileEvent:
    """What became of one key. ``outcome``:

    done · skipped · failed · would_transfer (a dry run)               one for each file that the summary counts
    deleted · kept · not_deleted · would_delete                         of ``--delete``
    missing                                                             a list names it, and the source lacks it
    extra                                                               of a comparison: only the destination has it
    missing                                                             named (``--files-from``, ``--map``), and the source lacks it
    """

    path: str  # the key form, relative to the destination's root
    outcome: str
    size: int = 0  # bytes as planned
    kind: str = "file"  # file | link | folder; folders are no part of the counters
    reason: str = ""  # skipped: one of ``skipped_by``; kept, failed, not_deleted: why, in one word
    message: str = ""  # of what failed: one sentence, no secret
    how: str = ""  # done: full | delta | server_copy
    verified: bool = False  # done: its bytes were compared, by the store or by us
    notes: tuple[str, ...] = ()
    changes: str = ""  # done, would_transfer, deleted, would_delete: rsync's ``YXcstpoguax`` (``itemize``)


@dataclass(frozen=True, slots=True)
class Lost:
    """So many events were dropped, because nobody took them in time."""

    count: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The last one."""

    summary: Summary


Event = Started | Progress | Notice | FileEvent | Lost | Ended


class FileObserver(Observer, Protocol):
    """An observer that is told of each file as well, if it has this method. Called from more than one thread; must return at
    once."""

    def on_file(self, event: FileEvent) -> None: ...


def wire(event: Event) -> dict[str, Any]:
    """``event``'s record without what every record has; no secret in it."""
    match event:
        case Started(job_id, resumed):
            return {"event": "started", "job_id": job_id, "resumed": resumed}
        case Progress(snapshot):
            return {"event": "progress", **_standing(snapshot)}
        case Notice(message):
            return {"event": "notice", "message": redact(message)}
        case Lost(count):
            return {"event": "lost", "count": count}
        case Ended(summary):
            from hugesync_producer.report import to_json

            told = {"state": str(summary.state), "exit_code": summary.state.exit_code, "reason": redact(summary.reason)}
            notes = [redact(note) for note in summary.notes]
            more = {"resumable": summary.resumable, "notes": notes, "summary": to_json(summary)}
            return {"event": "ended", **told, **more}
        case FileEvent():
            return {"event": "file", **_file(event)}


def _file(event: FileEvent) -> dict[str, Any]:
    """Path, outcome, kind and size always, the others where they say something."""
    record: dict[str, Any] = {n: getattr(event, n) for n in ("path", "outcome", "kind", "size")}
    more = {"reason": event.reason, "message": redact(event.message), "how": event.how, "changes": event.changes}
    record |= {name: value for name, value in more.items() if value}
    if event.outcome == "done":
        record["verified"] = event.verified
    if event.notes:
        record["notes"] = [redact(note) for note in event.notes]
    return record


def _standing(s: Snapshot) -> Mapping[str, Any]:
    return {
        "files": dict(s.files),
        "bytes": dict(s.bytes),
        "skipped_by": dict(s.skipped_by),
        "moved_bytes": s.moved_bytes,
        "traffic": dict(s.traffic),
        "scan_complete": s.scan_complete,
        "elapsed_seconds": round(s.elapsed, 3),
        "in_flight": [{"path": key, "moved": moved, "size": size} for key, moved, size in s.in_flight],
        "throttled": s.throttled,
        "paused": s.paused,
        "waiting_for": redact(s.waiting_for),
    }
