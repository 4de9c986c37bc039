"""The end of a job as the JSON object of design §6 (and back), and as the lines a person reads in the morning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hugesync_producer import human
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.redact import redact
from hugesync_tasks.summary import (
    BYTES,
    FAILURES_KEPT,
    FILES,
    REQUESTS,
    SKIPPED_BY,
    TRANSFERS,
    UNMATCHED,
    Failure,
    State,
    Summary,
)

FAILURES_SHOWN = 10


def unnamed_words(count: int | None) -> list[str]:
    """What a summary says of entries that the map did not name."""
    if not count:
        return []
    return [
        f"{human.count(count)} {'entry' if count == 1 else 'entries'} of the source not named by the map, and not copied"
    ]


def to_json(summary: Summary) -> dict[str, Any]:
    """Exactly the object of design §6: every name is there, in its order, and no other."""
    kept = summary.failures[:FAILURES_KEPT]
    return {
        "job_id": summary.job_id,
        "dry_run": summary.dry_run,
        "scan_complete": summary.scan_complete,
        "state": str(summary.state),
        "files": _filled(summary.files, FILES),
        "skipped_by": _filled(summary.skipped_by, SKIPPED_BY),
        "bytes": _filled(summary.bytes, BYTES),
        "requests": _filled(summary.requests, REQUESTS),
        "transfers": _filled(summary.transfers, TRANSFERS),
        "verified": summary.verified,
        "retries": summary.retries,
        "conflicts": summary.conflicts,
        "failures": [{"path": f.path, "class": str(f.failure_class), "message": redact(f.message)} for f in kept],
        "failures_omitted": summary.failures_omitted + len(summary.failures) - len(kept),
        "elapsed_seconds": round(summary.elapsed_seconds, 3),
    }


def from_json(w: Mapping[str, Any]) -> Summary:
    """The inverse of ``to_json``; what is only for people (reason, notes) is empty."""
    plain = (
        *("job_id", "dry_run", "scan_complete", "files", "skipped_by", "bytes", "requests", "transfers"),
        *("verified", "retries", "conflicts", "failures_omitted", "elapsed_seconds"),
    )
    return Summary(
        state=State(w["state"]),
        failures=tuple(Failure(f["path"], FailureClass(f["class"]), f["message"]) for f in w.get("failures", ())),
        **{name: w[name] for name in plain if name in w},
    )


def honest(summary: Summary) -> tuple[Summary, str]:
    """The summary with a state it may claim, and what was wrong with it ("" as a rule).

    Counters that contradict themselves are a defect of ours; then no exit code may say that everything is done.
    """
    wrong = summary.falsehood()
    if wrong and summary.state in (State.DONE, State.DONE_WITH_ERRORS):
        summary = replace(summary, state=State.DONE_WITH_ERRORS)
    return summary, wrong


def to_text(summary: Summary, failures_shown: int = FAILURES_SHOWN) -> str:
    """The final summary for people. ``failures_shown``: at most so many are listed, the rest is counted."""
    lines = [_headline(summary), *_counters(summary)]
    notes = max(failures_shown, FAILURES_SHOWN)
    lines += [f"  note      {_sentence(note)}" for note in summary.notes[:notes]]
    if len(summary.notes) > notes:
        lines.append(f"  note      … and {human.count(len(summary.notes) - notes)} more; -v lists them")
    lines += _failures(summary, failures_shown)
    lines += _missing(summary, failures_shown)
    if summary.resumable and summary.job_id:
        lines.append(f"To go on:   hugesync resume {summary.job_id}   (or the same command again)")
    return "\n".join(lines)


def _headline(s: Summary) -> str:
    files = {n: s.files.get(n, 0) for n in FILES}
    took = human.duration(s.elapsed_seconds)
    if s.dry_run and s.state in (State.DONE, State.DONE_WITH_ERRORS):
        todo = f"{human.counted(files['pending'], 'file')}, {human.size(s.bytes.get('pending', 0))}"
        gone = f", {human.counted(files['deleted'], 'file')} would be deleted" if files["deleted"] else ""
        return f"dry run: {todo} would be transferred{gone} (looked for {took})"
    if s.compares and s.state in (State.DONE, State.DONE_WITH_ERRORS):
        return f"{_compared(s)}, compared in {took}" + (f" (job {s.job_id})" if s.job_id else "")
    moved = moved_bytes(s.bytes)
    speed = f", {human.rate(moved / s.elapsed_seconds)}" if s.elapsed_seconds > 0 and moved else ""
    job = f" (job {s.job_id})" if s.job_id else ""
    done = f"{human.counted(files['done'], 'file')} done, {human.size(moved)} moved in {took}{speed}"
    return f"{human.state(s.state)}: {done}{job}"


def _compared(s: Summary) -> str:
    found, failed = s.files.get("found", 0), s.files.get("failed", 0)
    if s.state is State.DONE:
        same, filtered = s.skipped_by.get("same", 0), found - s.skipped_by.get("same", 0)
        return f"equal: {human.counted(same, 'file')}" + (f" ({human.count(filtered)} left out)" if filtered else "")
    return f"not equal: {human.count(failed)} of {human.counted(found, 'file')}"


def _counters(s: Summary) -> Iterable[str]:
    why = ", ".join(f"{n} {human.count(s.skipped_by[n])}" for n in SKIPPED_BY if s.skipped_by.get(n))
    at_least = "" if s.scan_complete else "≥ "
    told = {"deleted": "would be deleted"} if s.dry_run else {}
    yield _row(
        "files",
        [_item(told.get(n, n), human.count(s.files.get(n, 0)), n, at_least, why) for n in _shown(s.files, FILES)],
    )
    planned = _shown(s.bytes, BYTES[:5])
    yield _row("planned", [_item(n, human.size(s.bytes.get(n, 0)), n, at_least, "") for n in planned])
    traffic = [
        f"{n.replace('_', ' ')} {human.size(s.bytes[n])}"
        for n in BYTES[5:]
        if s.bytes.get(n) and not (n == "reused" and s.dry_run)
    ]
    yield _row("traffic", traffic or ["none"])
    if s.transfers.get("delta"):
        yield _row("delta", [human.counted(s.transfers["delta"], "file"), _saved(s)])
    yield _row("checked", [f"{n} {human.count(getattr(s, n))}" for n in ("verified", "retries", "conflicts")])


def _saved(s: Summary) -> str:
    """What deltas were (or would be) worth in the whole job: of all that the destination gets, how much is not carried there.
    What was read only to compare (``received``, where the destination is a store) is in the row above."""
    reused = s.bytes.get("reused", 0)
    if s.dry_run:
        carried = s.bytes.get("pending", 0) - reused
    else:
        to_store = any(
            s.requests.get(n) for n in ("put", "part", "part_copy", "complete")
        )  # else what was fetched arrived
        carried = s.bytes.get("sent", 0) + (0 if to_store else s.bytes.get("received", 0))
    would = "would have sent" if s.dry_run else "sent"
    return (
        f"{would} {human.size(carried)}, reused {human.size(reused)}, saved {human.percent(reused, carried + reused)}"
    )


def _failures(s: Summary, shown: int) -> Iterable[str]:
    total = len(s.failures) + s.failures_omitted
    if not total:
        return
    apart = [f for f in s.failures if s.compares and f.message == UNMATCHED]
    failures = [f for f in s.failures if f not in apart] if apart else list(s.failures)
    if failures:
        yield f"{'Not equal' if s.compares else 'Failed'} ({_of_what(s, len(failures) if apart else total)}):"
    for f in failures[:shown]:
        differs = s.compares and f.failure_class is FailureClass.PERMANENT
        label = "not equal" if differs else human.failure(f.failure_class)
        yield f"  {label:<14} {human.name(f.path)}: {_sentence(f.message)}"
    if apart:
        yield "Only at the destination:"
    for f in apart[:shown]:
        yield f"  {human.name(f.path)}"
    rest = total - min(shown, len(failures)) - min(shown, len(apart))
    if rest:
        where = f"hugesync status {s.job_id} -v" if s.job_id else "-v, or --json"
        yield f"  … and {human.count(rest)} more; up to {human.count(FAILURES_KEPT)} are listed by: {where}"


def _missing(s: Summary, shown: int) -> Iterable[str]:
    """What a list names and the source lacks: no failure, and never left unsaid."""
    total = s.files.get("missing", 0)
    if not total:
        return
    yield f"Named by the list or map, not in the source ({human.count(total)}):"
    for key in s.missing[:shown]:
        yield f"  {human.name(key)}"
    if rest := total - min(shown, len(s.missing)):
        yield f"  … and {human.count(rest)} more; -v lists up to {human.count(FAILURES_KEPT)}"


def _of_what(s: Summary, named: int) -> str:
    """What the ``named`` failures are of; where some were omitted it may be told by their number alone."""
    files = s.files.get("failed", 0)
    kept = sum(f.message.startswith("not deleted: ") for f in s.failures)
    if named <= files or (kept and s.failures_omitted):
        return human.count(files if s.compares and files else named)
    parts = [(files, "file"), (named - files - kept, "folder"), (kept, "deletion")]
    return " and ".join(human.counted(n, what) for n, what in parts if n > 0 or what == "file")


def moved_bytes(counters: Mapping[str, int]) -> int:
    """Payload that crossed something: sent, received, or copied by the store within itself."""
    return sum(counters.get(n, 0) for n in ("sent", "received", "copied_server_side"))


def _row(label: str, items: list[str]) -> str:
    return f"  {label:<9} {' · '.join(items)}"


def _item(label: str, value: str, counter: str, at_least: str, why: str) -> str:
    return f"{label} {at_least if counter == 'found' else ''}{value}" + (
        f" ({why})" if why and counter == "skipped" else ""
    )


def _shown(counters: Mapping[str, int], names: Iterable[str]) -> list[str]:
    """The four that are always told, and the others where they are not 0."""
    return [n for n in names if n in ("found", "done", "skipped", "failed") or counters.get(n)]


def _sentence(text: str) -> str:
    return human.plain(redact(text)).replace("\n", " ")


def _filled(counters: Mapping[str, int], names: tuple[str, ...]) -> dict[str, int]:
    strange = set(counters) - set(names)
    if strange:
        raise ValueError(f"counters that design §6 does not know: {', '.join(sorted(strange))}")
    return {name: int(counters.get(name, 0)) for name in names}
