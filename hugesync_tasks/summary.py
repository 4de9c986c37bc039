"""What a job tells: live as a ``Snapshot``, at the end as a ``Summary`` (design §6), in lists as a ``JobLine``.

Plain values: whoever counts fills them, whoever displays reads them, and neither knows the other. The words of the
counters are those of design §6 and are fixed here; a counter that was never touched reads 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from hugesync_tasks.errors import (
    ConflictStop,
    FailureClass,
    HugeSyncError,
    NeedsPerson,
    NotFound,
    Refused,
    Stopped,
    StoreError,
    Unreachable,
)

OUTCOMES = ("found", "done", "skipped", "failed", "pending")  # found = the sum of the others: the law
FILES = (*OUTCOMES, "deleted", "missing")
BYTES = (*OUTCOMES, "sent", "received", "copied_server_side", "reused", "overhead")
SKIPPED_BY = ("same", "filtered", "special", "existing")
REQUESTS = ("list", "head", "get", "put", "create", "part", "part_copy", "complete", "abort", "delete")
TRANSFERS = ("full", "delta", "server_copy")
MOVED = ("sent", "received", "copied_server_side", "reused")  # of the bytes, what a rate is of
FAILURES_KEPT = 1000
UNMATCHED = (
    "only at the destination"  # the message of what a comparison found there alone; no file of the source failed
)


class State(StrEnum):
    """How a job stands. Each state has one exit code."""

    DONE = "done"
    DONE_WITH_ERRORS = "done_with_errors"
    USAGE = "usage"
    CONFLICT = "conflict"
    REFUSED = "refused"
    STALLED = "stalled"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    RUNNING = "running"

    @property
    def exit_code(self) -> int:
        return _EXIT_CODES[self]


_EXIT_CODES = {
    State.DONE: 0,
    State.DONE_WITH_ERRORS: 1,
    State.USAGE: 2,
    State.CONFLICT: 3,
    State.REFUSED: 4,
    State.STALLED: 5,
    State.INTERRUPTED: 130,
    State.CANCELLED: 130,
    State.RUNNING: 0,
}


def state_of_error(error: BaseException) -> State:
    """The state of a job that ended with ``error`` before it could say more.

    ConflictStop → conflict · Refused → refused · Unreachable → stalled · Stopped → cancelled ·
    KeyboardInterrupt → interrupted · a StoreError that needs a person, or NotFound (missing source, bucket) → usage ·
    another StoreError (the endpoint fails) → stalled · any other HugeSyncError → usage · a defect → done_with_errors
    (exit 1; the counters then tell that nothing is claimed).
    """
    match error:
        case ConflictStop():
            return State.CONFLICT
        case Refused():
            return State.REFUSED
        case Unreachable():
            return State.STALLED
        case Stopped():
            return State.CANCELLED
        case KeyboardInterrupt():
            return State.INTERRUPTED
        case NeedsPerson() | NotFound():
            return State.USAGE
        case StoreError():
            return State.STALLED
        case HugeSyncError():
            return State.USAGE
    return State.DONE_WITH_ERRORS


@dataclass(frozen=True, slots=True)
class Failure:
    """One file that was not brought over, and why."""

    path: str  # the key form, relative to the destination's root
    failure_class: FailureClass
    message: str  # one sentence, no secret


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a job. Sizes in bytes, times in seconds.

    ``files``, ``bytes`` and the other maps may lack names (they read 0) and must have no names beyond those of this
    module. ``failures`` holds at most ``FAILURES_KEPT``; the rest is counted in ``failures_omitted``.
    """

    state: State
    job_id: str = ""
    dry_run: bool = False
    scan_complete: bool = False
    files: Mapping[str, int] = field(default_factory=dict)
    skipped_by: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    transfers: Mapping[str, int] = field(default_factory=dict)
    verified: int = 0
    retries: int = 0
    conflicts: int = 0
    failures: tuple[Failure, ...] = ()
    failures_omitted: int = 0
    elapsed_seconds: float = 0.0
    # for people only, not in the JSON
    missing: tuple[str, ...] = ()  # the first of what a list names and the source lacks; all are counted in ``files``
    reason: str = ""  # why the job did not run to its end: one sentence, no secret; shown on stderr
    notes: tuple[str, ...] = ()  # "conflict guard: best effort on /mnt/x"
    resumable: bool = False  # ``hugesync resume JOB`` would go on from here
    compares: bool = False  # the job only compared both ends; ``skipped_by.same`` are the equal files

    def falsehood(self) -> str:
        """Empty if the summary can be true, else the contradiction as a sentence. Checked before anything is shown."""
        for what, counters in (("files", self.files), ("bytes", self.bytes)):
            found, *parts = (counters.get(name, 0) for name in OUTCOMES)
            if found != sum(parts):
                named = " + ".join(f"{n} {counters.get(n, 0)}" for n in OUTCOMES[1:])
                return f"{what}: found {found} is not {named}"
            if below := [name for name, n in counters.items() if n < 0]:
                return f"{what}: {below[0]} is {counters[below[0]]}"
        ended_well = self.state in (State.DONE, State.DONE_WITH_ERRORS)
        if ended_well and sum(self.skipped_by.values()) != self.files.get("skipped", 0):
            return f"{self.files.get('skipped', 0)} files skipped, yet the reasons tell of {dict(self.skipped_by)}"
        if self.state is State.DONE and self.files.get("failed", 0):
            return f"the state is done, yet {self.files['failed']} files failed"
        if ended_well and not self.dry_run and self.files.get("pending", 0):
            return f"the state is {self.state}, yet {self.files['pending']} files are pending"
        return ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A running job at one instant. ``files`` and ``bytes`` have the names of ``OUTCOMES`` and obey the law, file by file also inside
    a batch; ``files`` may have ``deleted`` and ``missing`` beside them."""

    files: Mapping[str, int]
    bytes: Mapping[str, int]
    moved_bytes: int = 0  # live: sent + received + copied server-side + reused, parts in flight included
    scan_complete: bool = False  # until then ``found`` is a lower bound
    elapsed: float = 0.0  # seconds since this run began
    in_flight: tuple[tuple[str, int, int], ...] = ()  # (key, bytes moved, size), largest first
    throttled: bool = False  # a store asked us to slow down within the last seconds
    waiting_for: str = ""  # why nothing moves: "no worker sees root 'home'"
    skipped_by: Mapping[str, int] = field(default_factory=dict)  # adds up to the files skipped
    traffic: Mapping[str, int] = field(default_factory=dict)  # of this run, in bytes, by the names of ``MOVED``
    paused: bool = False  # nothing is sent until somebody resumes the job
    counted: Mapping[str, int] = field(default_factory=dict)  # all traffic counters of this run, and ``conflicts``


@dataclass(frozen=True, slots=True)
class JobLine:
    """One row of ``hugesync jobs``."""

    job_id: str
    state: State
    started: float  # seconds since the epoch
    source: str
    dest: str
    resumable: bool = False
    compares: bool = False  # it only compared both
    paused: bool = False  # it runs, and nothing is sent until somebody resumes it


class Observer(Protocol):
    """Who watches a job. Called from the coordinator's loop, at most five times a second; must return at once."""

    def on_start(self, job_id: str, resumed: bool) -> None: ...
    def on_progress(self, snapshot: Snapshot) -> None: ...
    def on_notice(self, message: str) -> None:
        """Something a person should know now: one sentence, no secret."""


class Unobserved:
    """An observer that looks away."""

    def on_start(self, job_id: str, resumed: bool) -> None:
        pass

    def on_progress(self, snapshot: Snapshot) -> None:
        pass

    def on_notice(self, message: str) -> None:
        pass
