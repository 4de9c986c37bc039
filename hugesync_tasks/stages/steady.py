"""Read a small source whole, and of one version, though it may change meanwhile."""

from __future__ import annotations

from dataclasses import replace

from hugesync_tasks.errors import Corrupted, NotFound, SourceChanged, VersionMismatch
from hugesync_tasks.model import Entry, Head, Kind, Transfer
from hugesync_tasks.stages.context import JobContext, called
from hugesync_tasks.stages.reading import whole
from hugesync_tasks.stages.verify import check_read
from hugesync_tasks.token import Token

TRIES = 3  # a source that changes under each of so many readings is source_changed


def steady(job: JobContext, transfer: Transfer, token: Token) -> tuple[Transfer, Head, bytes, bool]:
    """The whole source, of one version, and whether its own digest proves the bytes. A source that changed is looked at again,
    a few times; the transfer is of what was read. Raises SourceChanged, Corrupted, and what the store raises."""
    key = job.source_key(transfer.source)
    for last in (False,) * (TRIES - 1) + (True,):
        try:
            size = transfer.source.size if transfer.source.kind is Kind.FILE else None
            with job.source.open(key, transfer.source.version, token, 0, size) as reader:
                body = whole(reader, token if job.between_folders else None)
                head = called(reader.head, transfer.source)
            return transfer, head, body, check_read(head, body)
        except Corrupted:  # by what lies between the source and here, perhaps: it is read once more
            if last:
                raise
            continue
        except NotFound as error:
            raise SourceChanged("the source vanished during the run", key) from error
        except (VersionMismatch, SourceChanged) as error:
            if last:
                raise SourceChanged(f"the source kept changing while it was read ({error.words})", key) from error
        transfer = replace(transfer, source=source_now(job, transfer, token))
    raise AssertionError("unreachable")


def source_now(job: JobContext, transfer: Transfer, token: Token) -> Entry:
    """What the source of a small file is by now. Raises SourceChanged where it is gone, another kind, or has become large."""
    key = job.source_key(transfer.source)
    head = job.source.head(key, token)
    if head is None:
        raise SourceChanged("the source vanished during the run", key)
    if head.entry.kind is not transfer.source.kind:
        raise SourceChanged("the source is no longer what it was when it was listed", key)
    if head.entry.size > job.options.part_size:
        raise SourceChanged("the source grew during the run", key)
    return called(head, transfer.source).entry
