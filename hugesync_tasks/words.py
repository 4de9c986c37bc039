"""What one task is about, in words: for whoever looks at tasks in Flower, in logs and in traces.

Made from what the ledger holds of it, never from the message, which carries ids. Every text that leaves this module is bounded,
printable and without secrets: names of files are anybody's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hugesync_tasks import amounts
from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.model import Kind, Removal, Transfer
from hugesync_tasks.parts import part_count, part_range
from hugesync_tasks.redact import plain
from hugesync_tasks.stages.begin import LargeFile
from hugesync_tasks.state.base import Ledger, Task

_STRANGE = (ValueError, KeyError, TypeError, IndexError, AttributeError)  # what another release may have put there


@dataclass(frozen=True, slots=True)
class About:
    """``path``: the file's key, of several the first one's. ``part``: ``17/640``, of a file's parts or, in kinds that look for
    what changed or compare, of its ranges. ``size``: bytes that the task is to move or to look at, None where only the task
    itself will know."""

    kind: str
    path: str = ""
    count: int = 1
    part: str = ""
    size: int | None = None
    thing: str = "file"

    def fields(self) -> dict[str, Any]:
        """What a log line about the task says beside its ids. Of several files none is named: a line names the one at hand."""
        said: dict[str, Any] = {"kind": self.kind}
        if self.count > 1:
            said[f"{self.thing}s"] = self.count
        elif self.path:
            said["path"] = self.path
        return said | ({"part": self.part} if self.part else {})

    def sentence(self, names: bool = True) -> str:
        """``big/movie.mkv, part 17/640, 8.0 MiB``; ``photos/a.jpg and 511 more files, 14.2 MiB``. Without ``names`` no file is
        named."""
        thing, others = self.thing, self.count - 1
        if not names or not self.path:
            what = f"{self.count:,} {thing}{'s' if others else ''}"
        else:
            what = plain(self.path) + (f" and {others:,} more {thing}{'s' if others > 1 else ''}" if others else "")
        words = [what]
        if self.part:
            words.append(f"{'part' if self.kind == 'part' else 'range'} {self.part}")
        if self.size is not None:
            words.append(amounts.size(self.size))
        return ", ".join(words)


def about(task: Task, file: Mapping[str, str]) -> About:
    """``file``: the ``f:`` record of the task's large file, {} where there is none. What a task of another release is about
    may be unknown; never raises."""
    said = About(task.kind)
    try:
        payload = json.loads(task.payload)
        if isinstance(payload, list) or "items" in payload:
            return _several(said, payload)
        if "transfer" in payload:
            transfer = Transfer.unwire(payload["transfer"])
            return replace(said, path=transfer.key, size=transfer.source.size)
        if not (fields := dict(file) or (payload if task.kind == "abandon" else {})):
            return said
        return _of_file(said, LargeFile.of(fields), payload)
    except _STRANGE:
        return said


def fields_of(ledger: Ledger, job: str, task: str) -> dict[str, Any]:
    """``About.fields`` of a task that somebody else has in hand; {} where the ledger does not tell."""
    try:
        record = ledger.task(job, task)
    except HugeSyncError:
        return {}
    return about(*record).fields() if record is not None else {}


def _several(said: About, payload: Any) -> About:
    if said.kind == "folders":
        return replace(said, path=payload[0][0], count=len(payload), thing="folder")
    if said.kind == "delete":
        removals = [Removal.unwire(w) for w in payload["items"]]
        size = sum(removal.size for removal in removals)
        return replace(said, path=removals[0].key, count=len(removals), size=size, thing="key")
    # of up to 512 transfers only what is needed is taken out of their wire form
    files = [w[0] for w in payload if w[0][1] != Kind.DIR]
    first, thing = (files or [payload[0][0]])[0], "file" if files else "folder"
    return replace(said, path=first[0], count=len(files or payload), size=sum(w[2] for w in files), thing=thing)


def _of_file(said: About, large: LargeFile, payload: Mapping[str, Any]) -> About:
    size, step, delta = large.upload.size, large.upload.part_size, large.delta
    said = replace(said, path=large.upload.key)
    if said.kind == "part":
        number = int(payload["number"])
        total = large.total or part_count(size, step)
        length = part_range(number, size, step)[1] if delta is None else None  # of a delta's parts each has its own
        return replace(said, part=f"{number}/{total}", size=length)
    ranges = 0
    if said.kind == "compare":
        ranges = part_count(size, step)
    elif delta is not None:
        ranges = {"sign": delta.signing, "match": delta.matching(size)}.get(said.kind, 0)
    if ranges:
        return replace(said, part=f"{int(payload['range']) + 1}/{ranges}")
    return replace(said, size=size)
