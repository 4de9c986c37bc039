"""The judge of a job that only compares: what should be equal, and is not, fails with a sentence; nothing is ever sent.

What the listings show decides where it can: a missing file, a kind or a size that differs. Contents are compared by workers, of
the files that the sample chooses. Folders are not counted; one that is missing is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import blake3

from hugesync_producer import filelog
from hugesync_producer.join import JoinItem
from hugesync_producer.judge import Extra, Fail, Judge, Nothing, Send, Skip, Step, Terms, Verdict, Way, class_of
from hugesync_producer.window import Counters
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.model import Entry, Kind, Transfer
from hugesync_tasks.stages.equality import MISSING, kinds_differ, sizes_differ
from hugesync_tasks.stores.base import Limits


@dataclass(frozen=True, slots=True)
class Comparison:
    """``sample``: percent of the files whose contents are compared. ``one_way``: what only the destination has is no matter."""

    source_limits: Limits
    sample: float = 100.0
    one_way: bool = False


def sampled(key: str, percent: float) -> bool:
    """Whether the contents of ``key`` are compared: chosen by its hash, so that every run and host choose alike, and a larger
    sample holds every smaller one."""
    chosen = int.from_bytes(blake3.blake3(key.encode()).digest(length=8), "big")
    return chosen < percent / 100 * 2**64


def looked_at(total: Counters, sample: float) -> list[str]:
    """What a comparison is worth, for people."""
    by_size = total.tally.skipped_by["same"] - total.verified
    if sample < 100:
        notes = [
            f"--sample {sample:g}%: contents are equal of {total.verified}, of {by_size} the size is, and no more is known"
        ]
    else:
        notes = [f"{by_size} × empty at both ends"] if by_size else []
    if total.unmatched:
        notes.append(f"{total.unmatched} × only at the destination")
    return notes


class ComparingJudge(Judge):
    """Answers as ``Judge`` does, with Skip (equal), Fail, Send (to be compared by a worker), or a listed Extra."""

    def __init__(self, terms: Terms, comparison: Comparison, open_folders: Iterable[Entry] = ()) -> None:
        super().__init__(replace(terms, metadata=False), open_folders)  # no folder is finished
        self._comparison = comparison
        self._dark_here = ""  # the last folder of the source that could not be looked into
        self._dark_there: Entry | None = None  # and of the destination

    def judge(self, item: JoinItem) -> Step:
        step = self.look(item)
        filelog.judged(step)
        return step

    def look(self, item: JoinItem) -> Step:
        """The answer to the next key, told to nobody."""
        for entry in (item.source, item.dest):
            if entry is not None and entry.kind is Kind.ERROR and entry.key.endswith("/"):
                if entry is item.source:
                    self._dark_here = entry.key
                else:
                    self._dark_there = entry
        if item.source is None and item.dest is not None:
            return Step(item.key, 0, False, self._only_there(item.dest))
        return super().judge(item)

    def _only_there(self, dest: Entry) -> Verdict:
        if not self._terms.select.selects(dest):
            return Nothing()
        if dest.kind is Kind.ERROR:
            return Fail(class_of(dest.note), f"at the destination: {dest.note or 'could not be looked at'}")
        if self._comparison.one_way or (self._dark_here and dest.key.startswith(self._dark_here)):
            return Nothing()
        if dest.kind is Kind.DIR and not (
            self._comparison.source_limits.folders or dest.empty or dest.modified_ns is not None
        ):
            return Nothing()  # a source without folders would not show one that its files lie in
        return Extra(listed=True)

    def _folder(self, source: Entry, dest: Entry | None) -> Verdict:
        if dest is not None:
            return (
                Nothing()
                if dest.kind is Kind.DIR
                else Fail(FailureClass.PERMANENT, kinds_differ(source.kind, dest.kind))
            )
        needed = self._terms.dest_limits.folders or source.empty or source.modified_ns is not None
        return self._missing(source) if needed else Nothing()

    def _file(self, source: Entry, dest: Entry | None) -> Verdict:
        if dest is None:
            return self._missing(source)
        if source.kind is not dest.kind:
            return Fail(FailureClass.PERMANENT, kinds_differ(source.kind, dest.kind))
        if source.size != dest.size:
            return Fail(FailureClass.PERMANENT, sizes_differ(source.size, dest.size))
        if not source.size or not sampled(source.key, self._comparison.sample):
            return Skip("same")
        return Send(Transfer(source, dest.version, dest, check=True), self._way(source))

    def _hidden(self, source: Entry) -> Fail | None:
        """Why nobody knows whether the destination has it: it lies in a folder that could not be looked into."""
        dark = self._dark_there
        if dark is None or not source.key.startswith(dark.key):
            return None
        return Fail(class_of(dark.note), f"at the destination: {dark.key}: {dark.note or 'could not be looked at'}")

    def _missing(self, source: Entry) -> Verdict:
        if hidden := self._hidden(source):
            return hidden
        if self._terms.dest_limits.folders and source.kind is not Kind.DIR:
            return Send(Transfer(source, check=True), Way.CHECK)  # a look at its place says what else is there
        return Fail(FailureClass.PERMANENT, MISSING)
