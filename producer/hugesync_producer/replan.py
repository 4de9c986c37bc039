"""Look at both ends of large files again, because the world moved under them, without holding up the coordinator's loop.

A store may be slow, and under ``--checksum`` whole files are read; the job's lease must be renewed meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from hugesync_tasks.decide import Decision
from hugesync_tasks.errors import FailureClass, Stopped, StoreError
from hugesync_tasks.model import Commit, Kind, Outcome, Transfer, failed
from hugesync_tasks.spec import Options
from hugesync_tasks.stages.beside import note_of, place_beside
from hugesync_tasks.stages.compare import compares_same, look_again
from hugesync_tasks.stages.context import JobContext, called
from hugesync_tasks.stages.readback import confirmed
from hugesync_tasks.token import Token

THREADS = 4
MOST = 64  # files waiting for an answer

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass
class Replan(Generic[T]):
    """``ask`` for a file, and some time later ``answers`` has an Outcome, or a Transfer planned against what is there now.
    ``token``'s meter counts towards the job's traffic."""

    job: JobContext
    token: Token = field(default_factory=Token)
    _asked: dict[Future[Outcome | Transfer], T] = field(default_factory=dict)
    _pool: ThreadPoolExecutor | None = None

    @property
    def full(self) -> bool:
        return len(self._asked) >= MOST

    def ask(self, whose: T, transfer: Transfer, generation: str, conflict: bool = False) -> None:
        """``generation``: of the upload that ended, "" for none; what is found there may be its own success. ``conflict``:
        somebody else wrote there."""
        self._pool = self._pool or ThreadPoolExecutor(THREADS, thread_name_prefix="replan")
        self._asked[self._pool.submit(self._look, transfer, generation, conflict)] = whose

    def answers(self) -> Iterator[tuple[T, Outcome | Transfer]]:
        """Those that are there, each once."""
        for future in [f for f in self._asked if f.done()]:
            yield self._asked.pop(future), future.result()

    def stop(self) -> None:
        """End it; whoever has no answer stays as it is."""
        self.token.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, transfer: Transfer, generation: str, conflict: bool) -> Outcome | Transfer:
        key = transfer.key
        try:
            source = self.job.source.head(self.job.source_key(transfer.source), self.token)
            if source is None or source.entry.kind is not Kind.FILE:
                return Outcome("failed", FailureClass.SOURCE_CHANGED, "the source vanished during the run")
            entry = called(source, transfer.source).entry
            if self.job.spec.compares:  # begun anew: nothing is decided here
                dest = self.job.dest.head(key, self.token)
                if dest is None:
                    return Outcome("failed", FailureClass.CONFLICT, "the destination changed while it was compared")
                return Transfer(entry, dest.entry.version, dest.entry, check=True)
            if generation and (done := self._done_already(replace(transfer, source=entry), generation)) is not None:
                return done
            dest = self.job.dest.head(key, self.token)
            decision = look_again(self.job, entry, dest, self.token)
            found = Transfer(entry, dest.entry.version if dest else None)
            theirs_stays = transfer.beside or (conflict and self.job.options.on_conflict == "keep-both")
            if dest is not None and theirs_stays and decision is Decision.DIFFERENT:
                found, there = place_beside(self.job, found, source, dest.entry, self.token)
                if there is not None:
                    done = Outcome("done", notes=(note_of(found),))
                    return confirmed(self.job, done, there, entry, None, self.token)
        except Stopped:
            raise
        except Exception as error:  # whatever it is, it fails one file
            if not isinstance(error, StoreError):
                log.exception("%s could not be planned again", key)
            return failed(error)
        if decision is Decision.SAME:
            return Outcome("skipped", "same", verified=compares_same(self.job, entry))
        if decision is Decision.EXISTING:
            return Outcome("skipped", "existing")
        return found

    def _done_already(self, transfer: Transfer, generation: str) -> Outcome | None:
        """The success of the very upload that ended: word of it was lost."""
        there = self.job.dest.head(transfer.target, self.token)
        if there is None or there.meta.generation != generation:
            return None
        notes = (note_of(transfer),) if transfer.beside else ()
        done = Outcome("done", how="server_copy" if self.job.server_copy else "full", notes=notes)
        ours = Commit(transfer.target, there.entry.version, there.entry.size)
        return confirmed(self.job, done, ours, transfer.source, None, self.token)


def refusal(outcome: Outcome, tries: int, options: Options) -> Outcome | None:
    """Why a file whose try ended in ``outcome`` (a replan) is not planned once more, or None."""
    conflict = outcome.reason == "conflict"
    if conflict and options.on_conflict in ("skip", "fail"):
        return Outcome("failed", FailureClass.CONFLICT, "the destination changed since it was listed")
    most = max(options.conflict_retries, int(options.on_conflict == "keep-both")) if conflict else options.retries
    if tries >= most:
        reason = FailureClass.CONFLICT if conflict else FailureClass.SOURCE_CHANGED
        return Outcome("failed", reason, outcome.message)
    return None
