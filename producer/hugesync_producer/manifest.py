"""``manifest(request, output, ...) -> Manifest``: what is there, missing or different, as a file; nothing is written at either
end."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from hugesync_producer.manifest_ends import Opened, Request, open_both, open_source
from hugesync_producer.manifest_format import FORMATS, Csv, JsonLines, Line, Standing
from hugesync_producer.manifest_walk import looked_at
from hugesync_producer.pace import SLOWED, Slowdown
from hugesync_producer.replacing import replacing
from hugesync_producer.sync import rates_of
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import Cancelled, FailureClass, Refused
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.names import encode_name
from hugesync_tasks.spec import Location
from hugesync_tasks.summary import (
    BYTES,
    FAILURES_KEPT,
    OUTCOMES,
    REQUESTS,
    Failure,
    Observer,
    Snapshot,
    State,
    Summary,
    Unobserved,
)
from hugesync_tasks.tally import Tally
from hugesync_tasks.token import Meter
from hugesync_tasks.uri import Overlap, overlap

SHOWN_EVERY = 0.2  # seconds between two snapshots
_FINE = (Standing.DONE, Standing.LISTED, Standing.GONE)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was told. ``summary`` counts files as a dry run would: what is missing or differs is pending; what is unknown
    failed. Extras and folders are no files of the source's."""

    states: dict[str, int]  # entries of each state, folders and extras too
    left_out: int  # entries of the source, by filters
    summary: Summary
    unnamed: int | None = None  # entries of the source that the map, where there is one, does not name


def manifest(
    request: Request, output: Path | BinaryIO, *, settings: Settings, observer: Observer | None = None
) -> Manifest:
    """Tell how each entry stands, in ``output``: a file that is replaced when all is told, or a stream.

    No job, no worker: the listings, and the HEADs or contents where they do not decide, are read by this process. Raises
    UsageError, Refused, Unreachable, and what a listing raises; a file is then as it was.
    """
    tally = Told(observer or Unobserved())
    with ExitStack() as stack:
        rates = stack.enter_context(rates_of(settings))
        if request.dest:
            opened = open_both(request, settings, tally.meter, rates, tally.observer, tally.left_out, stack)
        else:
            opened = open_source(request, settings, tally.meter, rates, tally.left_out, stack)
        if isinstance(output, Path):
            _refuse_inside(output, opened)
            with replacing(output) as out:
                write(opened, request.form, out, tally)
        else:
            write(opened, request.form, output, tally)
    return tally.manifest(opened.mapped.unnamed if opened.mapped is not None else None)


def _refuse_inside(output: Path, opened: Opened) -> None:
    """Raises Refused where the file would itself be an entry of what it tells about."""
    file = Location("file", local=os.path.realpath(output))
    for role, place in (("source", opened.source), ("destination", opened.dest)):
        if place is None or place.scheme != "file":
            continue
        if overlap(file, place) in (Overlap.INSIDE, Overlap.EQUAL):
            raise Refused(f"{output} lies inside the {role} {place.display()}, and a manifest writes nothing there")


def write(opened: Opened, form: str, out: BinaryIO, tally: Told) -> None:
    """All of it, from the header to the trailer. Raises what reading either end raises."""
    lines: JsonLines | Csv = FORMATS[form]()
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    dest = _shown(opened.ends.dest) if opened.dest else None
    out.write(lines.header(_shown(opened.ends.source), dest, created, opened.mapped is not None))
    try:
        with closing(opened.found), closing(looked_at(opened.found, opened.looks)) as found:
            for line in found:
                if line is not None:
                    tally.add(line)
                    out.write(lines.line(line))
                tally.show()
    except BaseException:
        opened.looks.token.cancel(Cancelled("the manifest was given up"))
        raise
    out.write(lines.trailer(tally.states))
    out.flush()


def _shown(location: Location) -> str:
    """A path that is no UTF-8 in key form."""
    return encode_name(os.fsencode(location.display()))


class Told:
    """Counts what was told, and shows it now and then."""

    def __init__(self, observer: Observer) -> None:
        self.observer, self.meter = observer, Meter()
        self.states: Counter[str] = Counter({str(state): 0 for state in Standing})
        self._tally, self._failures, self._omitted, self._left_out = Tally(), list[Failure](), 0, 0
        self._slowdown, self._began, self._shown = Slowdown(), time.monotonic(), 0.0

    def add(self, line: Line) -> None:
        entry = line.entry
        self.states[line.state] += 1
        if line.error:
            if len(self._failures) < FAILURES_KEPT:
                self._failures.append(Failure(entry.key, FailureClass.PERMANENT, line.error))
            else:
                self._omitted += 1
        if line.state is Standing.GONE:
            self._tally.files["missing"] += 1
            return
        if line.state is Standing.EXTRA or not _counts(entry):
            return
        if line.state in _FINE:
            self._tally.find("skipped", entry.size, "special" if entry.kind is Kind.SPECIAL else "same")
        else:
            self._tally.find("failed" if line.state is Standing.UNKNOWN else "pending", entry.size)

    def left_out(self, entry: Entry) -> None:
        self._left_out += 1
        if _counts(entry):
            self._tally.find("skipped", entry.size, "filtered")

    def show(self) -> None:
        elapsed = time.monotonic() - self._began
        if elapsed - self._shown < SHOWN_EVERY:
            return
        self._shown = elapsed
        slow = self._slowdown.saw(sum(self.meter.count(name) for name in SLOWED), elapsed)
        files, size = self._tally.files, self._tally.bytes
        self.observer.on_progress(Snapshot(dict(files), dict(size), elapsed=elapsed, throttled=slow))

    def manifest(self, unnamed: int | None = None) -> Manifest:
        self._tally.assert_law()
        traffic = self.meter.take()
        fine = all(state in _FINE or not n for state, n in self.states.items())
        summary = Summary(
            State.DONE if fine else State.DONE_WITH_ERRORS,
            dry_run=True,
            scan_complete=True,
            files=self._tally.files,
            skipped_by=self._tally.skipped_by,
            bytes={**self._tally.bytes, **{n: traffic.get(f"bytes.{n}", 0) for n in BYTES if n not in OUTCOMES}},
            requests={n: traffic.get(f"requests.{n}", 0) for n in REQUESTS},
            retries=traffic.get("retries", 0),
            failures=tuple(self._failures),
            failures_omitted=self._omitted,
            elapsed_seconds=time.monotonic() - self._began,
        )
        return Manifest(dict(self.states), self._left_out, summary, unnamed)


def _counts(entry: Entry) -> bool:
    """As a file."""
    return entry.kind is not Kind.DIR and (entry.size > 0 or not entry.key.endswith("/"))
