"""One small file by itself: put, copied inside the store, or beside a rival's; and what becomes of it where another version is
there than was planned against."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from awscrt.checksums import crc64nvme

from hugesync_tasks import logs
from hugesync_tasks.decide import Decision
from hugesync_tasks.errors import NotFound, Permanent, SourceChanged, Stopped, StoreError, VersionMismatch
from hugesync_tasks.model import Commit, Entry, Head, Kind, Meta, Outcome, Transfer, failed
from hugesync_tasks.stages.beside import note_of, place_beside
from hugesync_tasks.stages.compare import as_outcome, look_again
from hugesync_tasks.stages.context import KINDS, JobContext, called, describe, folder_head
from hugesync_tasks.stages.readback import confirmed
from hugesync_tasks.stages.sidecar import carry
from hugesync_tasks.stages.steady import source_now, steady
from hugesync_tasks.stages.verify import check_commit
from hugesync_tasks.token import Token

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """A put that awaits its batch's ``finish``."""

    index: int
    transfer: Transfer
    meta: Meta
    proven: bool  # on reading, by the source's own digest
    sent: int | None = None  # CRC64NVME of the bytes, where they are to be read back


class Alone:
    """What a batch does with one of its files, under the batch's ``token``."""

    def __init__(self, job: JobContext, token: Token) -> None:
        self._job, self._token = job, token

    def copies(self, transfer: Transfer) -> bool:
        return self._job.server_copy and transfer.source.kind is Kind.FILE

    def to_read_back(self, body: bytes) -> int | None:
        return None if self._job.options.verify == "none" else crc64nvme(body)

    def describe_copy(self, transfer: Transfer) -> tuple[Transfer, Head, Meta]:
        """The source as it is now, and what its copy will carry."""
        key = self._job.source_key(transfer.source)
        head = self._job.source.head(key, self._token)
        if head is None or head.entry.version != transfer.source.version:
            transfer = replace(transfer, source=source_now(self._job, transfer, self._token))
            head = self._job.source.head(key, self._token)
        if head is None:
            raise SourceChanged("the source vanished during the run", key)
        head = called(head, transfer.source)
        return transfer, head, describe(head, transfer.expected, self._job.options)

    def server_copy(self, transfer: Transfer, head: Head, meta: Meta) -> Outcome:
        key = self._job.source_key(transfer.source)
        try:
            commit = self._job.dest.copy(
                self._job.source,
                transfer.target,
                key,
                head.entry.version,
                meta,
                self._job.expect(transfer.expected),
                self._token,
            )
        except NotFound as error:
            raise SourceChanged("the source vanished during the run", key) from error
        unsigned = carry(self._job, head.entry, commit, meta.mtime_ns, self._token)
        notes = (*commit.notes, f"no signature was written: {unsigned}") if unsigned else commit.notes
        done = Outcome("done", how="server_copy", verified=check_commit(commit, head.entry.size, False), notes=notes)
        return confirmed(self._job, done, commit, head.entry, None, self._token)

    def count(self, n: int) -> None:
        """Adapters count what goes over a network; from folder to folder nothing does, so it is counted here as sent."""
        if self._job.between_folders:
            self._token.sent(n)

    def resolve(self, pending: Pending) -> Outcome:
        """Another version is there than was planned against (design §2, Conflict). Ours, from an attempt whose reply was lost:
        done. Else compare afresh, and plan against it at most ``conflict_retries`` times."""
        transfer, options, conflicts = pending.transfer, self._job.options, 0
        logs.of_file(transfer.key)
        against, keep_both = transfer.expected, options.on_conflict == "keep-both"
        try:
            for tries in range(1 + (most := max(options.conflict_retries, int(keep_both)))):
                found = self._job.dest.head(transfer.key, self._token)
                if found is not None and found.meta.generation and found.meta.generation == pending.meta.generation:
                    how = "server_copy" if self.copies(transfer) else "full"
                    done = Outcome("done", how=how, verified=pending.proven, conflicts=conflicts)
                    ours = Commit(transfer.key, found.entry.version, found.entry.size)
                    return confirmed(self._job, done, ours, transfer.source, pending.sent, self._token)
                version = found.entry.version if found else None
                decision = look_again(self._job, transfer.source, found, self._token)
                verdict = as_outcome(decision, transfer, found, self._job)
                if (
                    verdict is not None and decision is Decision.SAME
                ):  # nobody's data is in question; or a killed attempt's
                    return replace(verdict, conflicts=conflicts)
                # Else a copy's source is what changed. A folder holds nobody's data; some stores make it with its files.
                if version != against and transfer.source.kind is not Kind.DIR:
                    against, conflicts = version, conflicts + 1
                    if options.on_conflict in ("skip", "fail"):
                        return Outcome(
                            "failed", "conflict", "the destination changed since it was listed", conflicts=conflicts
                        )
                if tries == most:
                    break
                if verdict is not None:
                    return replace(verdict, conflicts=conflicts)
                if found is not None and transfer.source.kind is Kind.DIR and found.entry.kind is not Kind.DIR:
                    # A store would put the folder in its place; but that is somebody's file, and deleting is --delete's.
                    raise Permanent(f"{KINDS[found.entry.kind]} is in the way of a folder", transfer.key)
                try:
                    if found is not None and conflicts and keep_both:
                        return replace(self._put_beside(transfer, found.entry), conflicts=conflicts)
                    transfer = replace(transfer, expected=version, check=False)
                    return replace(self._put_alone(transfer), conflicts=conflicts)
                except VersionMismatch:
                    continue
        except Stopped:
            raise
        except Exception as error:  # whatever it is, it fails one file
            return failed(known(error), conflicts=conflicts)
        finally:
            logs.of_file()
        return Outcome("failed", "conflict", "the destination kept changing", conflicts=conflicts)

    def _put_beside(self, transfer: Transfer, rival: Entry) -> Outcome:
        """Ours, under a name of its own; raises VersionMismatch where somebody took that name just now."""
        source = self._job.source.head(self._job.source_key(transfer.source), self._token)
        if source is None:
            raise SourceChanged("the source vanished during the run", transfer.key)
        beside, there = place_beside(self._job, transfer, source, rival, self._token)
        if there is not None:
            outcome = confirmed(self._job, Outcome("done"), there, beside.source, None, self._token)
        else:
            outcome = self._put_alone(beside)
        return replace(outcome, notes=(*outcome.notes, note_of(beside)))

    def _put_alone(self, transfer: Transfer) -> Outcome:
        if self.copies(transfer):
            return self.server_copy(*self.describe_copy(transfer))
        if transfer.source.kind is Kind.DIR:
            head, body, proven = folder_head(self._job, transfer.source, self._token), b"", False
        else:
            transfer, head, body, proven = steady(self._job, transfer, self._token)
        meta = describe(head, transfer.expected, self._job.options)
        commit = self._job.dest.put(transfer.target, body, meta, self._job.expect(transfer.expected), self._token)
        self.count(commit.size)
        done = Outcome("done", verified=check_commit(commit, len(body), proven), notes=commit.notes)
        return confirmed(self._job, done, commit, transfer.source, self.to_read_back(body), self._token)


def known(error: Exception) -> Exception:
    if not isinstance(error, StoreError):
        log.exception("a file failed in an unexpected way", exc_info=error)
    return error
