"""How a job that has not ended stood a moment ago: told by its coordinator, read by ``hugesync status``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hugesync_producer import allowing, human
from hugesync_producer.window import Counters
from hugesync_tasks.caps import Caps
from hugesync_tasks.summary import BYTES, FILES, MOVED, OUTCOMES, REQUESTS, Snapshot, State, Summary

FILES_TOLD = 10


@dataclass(frozen=True, slots=True)
class AsOf:
    """When and of what a status tells."""

    seconds_ago: float | None  # None: not known
    checkpoint: bool  # as of the last checkpoint only: the run does not answer
    in_flight: tuple[tuple[str, int, int], ...] = ()  # (key, bytes moved, size), largest first
    waiting_for: str = ""
    throttled: bool = False
    caps: Caps = field(default_factory=Caps)  # what it may use

    def to_json(self) -> dict[str, Any]:
        return {
            "seconds_ago": None if self.seconds_ago is None else round(max(0.0, self.seconds_ago), 1),
            "checkpoint": self.checkpoint,
            "in_flight": [{"path": key, "moved": moved, "size": size} for key, moved, size in self.in_flight],
            "waiting_for": self.waiting_for,
            "throttled": self.throttled,
            **self.caps.plain(),
        }


def wire(snapshot: Snapshot, total: Counters, traffic: Mapping[str, int], caps: Caps) -> dict[str, Any]:
    """What a coordinator tells; small, whatever the job's size."""
    return {
        **total.tally.wire(),
        "transfers": dict(total.transfers),
        "verified": total.verified,
        "conflicts": total.conflicts,
        "traffic": dict(traffic),
        "scan_complete": snapshot.scan_complete,
        "elapsed": snapshot.elapsed,
        "in_flight": snapshot.in_flight[:FILES_TOLD],
        "waiting_for": snapshot.waiting_for,
        "throttled": snapshot.throttled,
        **caps.plain(),
    }


def of_run(job: str, state: State, told: Mapping[str, Any], seconds_ago: float) -> tuple[Summary, AsOf]:
    """The inverse of ``wire``."""
    traffic = told["traffic"]
    summary = Summary(
        state,
        job,
        scan_complete=told["scan_complete"],
        files=told["files"],
        skipped_by=told["skipped_by"],
        bytes={**told["bytes"], **{n: traffic.get(f"bytes.{n}", 0) for n in BYTES if n not in OUTCOMES}},
        requests={n: traffic.get(f"requests.{n}", 0) for n in REQUESTS},
        transfers=told["transfers"],
        verified=told["verified"],
        retries=traffic.get("retries", 0),
        conflicts=told["conflicts"],
        elapsed_seconds=told["elapsed"],
    )
    rows = tuple((key, moved, size) for key, moved, size in told["in_flight"])
    return summary, AsOf(seconds_ago, False, rows, told["waiting_for"], told["throttled"], Caps().told(told))


def of_checkpoint(job: str, state: State, saved: Counters, seconds_ago: float | None) -> tuple[Summary, AsOf]:
    """What is left of a run that does not answer: its counters as of K. Traffic is not in a checkpoint."""
    tally = saved.tally
    summary = Summary(
        state,
        job,
        files=tally.files,
        skipped_by=tally.skipped_by,
        bytes=tally.bytes,
        transfers=saved.transfers,
        verified=saved.verified,
        conflicts=saved.conflicts,
    )
    return summary, AsOf(seconds_ago, True)


def snapshot(status: Mapping[str, Any]) -> Snapshot:
    """A running job as its status shows it, for an observer."""
    as_of = status["as_of"]
    return Snapshot(
        {n: status["files"][n] for n in FILES},
        {n: status["bytes"][n] for n in OUTCOMES},
        sum(status["bytes"][n] for n in MOVED),
        status["scan_complete"],
        status["elapsed_seconds"],
        tuple((row["path"], row["moved"], row["size"]) for row in as_of["in_flight"]),
        as_of["throttled"],
        waiting_for=status.get("reason", "") or as_of["waiting_for"],
        skipped_by=status["skipped_by"],
        traffic={n: status["bytes"][n] for n in MOVED},
        paused=bool(status.get("paused")),
    )


def ended(status: Mapping[str, Any]) -> Summary:
    """The summary of a job that has ended, from its status."""
    from hugesync_producer.report import from_json

    summary = replace(from_json(status), reason=status.get("reason", ""))
    return replace(summary, resumable=bool(status["resumable"]), compares=bool(status.get("compares")))


def lines(as_of: Mapping[str, Any]) -> Iterator[str]:
    """``AsOf.to_json`` for people."""
    ago = as_of["seconds_ago"]
    when = "at an unknown time" if ago is None else f"{human.duration(ago)} ago"
    yield f"As of the last checkpoint, {when}; traffic is not in it" if as_of["checkpoint"] else f"As of {when}"
    if as_of["waiting_for"]:
        yield f"Waiting: {as_of['waiting_for']}"
    if as_of["throttled"]:
        yield "Throttled: the store asks us to slow down"
    yield from allowing.lines(Caps().told(as_of))
    if as_of["in_flight"]:
        yield "In flight:"
    for row in as_of["in_flight"]:
        yield f"  {human.name(row['path'])}: {human.size(row['moved'])} of {human.size(row['size'])}"
