"""Begin a large file: fix its generation, find the upload an earlier run left, or open one and leave an intent.

An upload is adopted only through an intent of its own generation: ListMultipartUploads gives key, id and time only, and
writing into somebody else's upload would mix two files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from hugesync_tasks import amounts
from hugesync_tasks.budget import OF_PROCESS, OF_WORKER
from hugesync_tasks.config_units import show_size
from hugesync_tasks.errors import SourceChanged, StoreError, TooLarge
from hugesync_tasks.model import Entry, Meta, Part, Transfer, Upload
from hugesync_tasks.parts import part_count, part_size
from hugesync_tasks.stages.basis import Delta, consider
from hugesync_tasks.stages.context import JobContext, called, describe
from hugesync_tasks.stages.intents import abandon, adopt, named, put_intent
from hugesync_tasks.stages.sidecar import keeps_sidecar, over_signature, signed_block
from hugesync_tasks.stores.base import GIB, MIB
from hugesync_tasks.token import Token

COPY_PART = GIB  # one UploadPartCopy: large, because it costs a request and no traffic
SENT = ("full", "server_copy", "delta")  # of a file's ``how``: other words are a comparison's, which opens no upload


@dataclass(frozen=True, slots=True)
class LargeFile:
    """One large file in flight: the ``f:`` record of the ledger. Everything a part or the commit needs."""

    upload: Upload
    meta: Meta
    source: Entry
    expected: str | None
    how: str  # full | server_copy | delta
    delta: Delta | None = None
    total: int = 0  # parts; 0 = as many as the part size gives
    whole: str = ""  # why it is not sent as a delta, where somebody might expect one
    source_id: str = ""  # of the source's version, in a bucket that keeps versions

    def fields(self) -> dict[str, str]:
        return {
            "gen": self.upload.generation,
            "upload": self.upload.id,
            "total": str(self.total or part_count(self.upload.size, self.upload.part_size)),
            "size": str(self.upload.size),
            "part_size": str(self.upload.part_size),
            "rest": json.dumps(
                {
                    "key": self.upload.key,
                    "meta": asdict(self.meta),
                    "source": self.source.wire(),
                    "expected": self.expected,
                    "how": self.how,
                    "delta": self.delta.wire() if self.delta else None,
                    "whole": self.whole,
                    "source_id": self.source_id,
                }
            ),
        }

    @classmethod
    def of(cls, fields: dict[str, str]) -> LargeFile:
        rest = json.loads(fields["rest"])
        upload = Upload(rest["key"], fields["upload"], fields["gen"], int(fields["size"]), int(fields["part_size"]))
        delta = Delta(**rest["delta"]) if rest["delta"] else None
        source, total = Entry.unwire(rest["source"]), int(fields["total"])
        of = (rest["expected"], rest["how"], delta, total, rest["whole"], rest.get("source_id", ""))
        return cls(upload, Meta(**rest["meta"]), source, *of)


def begin(
    job: JobContext,
    transfer: Transfer,
    token: Token,
    in_hand: int | None = None,
    memory_for: Callable[[int], int] | None = None,
    whole: str = "",
    limit: str = OF_PROCESS,
    announce: Callable[[LargeFile], object] = lambda large: None,
) -> tuple[LargeFile, list[Part]]:
    """The large file to send and the parts a former upload of the same generation lists (each still to be compared).

    ``in_hand``: the bytes a worker may hold; a part must fit. ``memory_for``: the ``--memory`` that lets a worker hold so many
    bytes, for the sentence where it does not; ``limit``: the option that bounds ``in_hand``. ``whole``: why it must go whole, whatever could be saved. ``announce`` is
    told of the file before an upload is opened. An upload without an id is not begun yet: its delta is to be found first. Raises SourceChanged where the source is not what was planned,
    TooLarge where its parts would not fit, and what the store raises.
    """
    transfer = over_signature(job, transfer, token)
    key = job.source_key(transfer.source)
    head = job.source.head(key, token)
    if head is None:
        raise SourceChanged("the source vanished during the run", key)
    if head.entry.version != transfer.source.version:
        raise SourceChanged("the source changed since it was listed", key)
    head = called(head, transfer.source)
    meta = describe(head, transfer.expected, job.options)
    copy = job.server_copy and job.copies_parts
    size = head.entry.size
    step = part_size(size, job.dest.limits, max(job.options.part_size, COPY_PART if copy else 0))
    if keeps_sidecar(job, size):
        step = _whole_blocks(step, signed_block(job, size), job.dest.limits.max_part)
    if in_hand is not None and step > in_hand and not job.copies_parts:
        remedy = f"; with {_remedy(limit, step, memory_for)} they fit" if memory_for else ""
        raise TooLarge(
            f"a file of {size} bytes needs parts of {amounts.size(step)}, and {limit} leaves a worker only {amounts.size(in_hand)} "
            f"for them{remedy}",
            key,
        )
    how = "server_copy" if copy else "full"
    delta, why = (None, whole) if whole or transfer.beside else consider(job, transfer, head, token)
    if delta is not None and in_hand is not None:
        needed = delta.in_hand(size, max(step, job.options.part_size))
        if needed > in_hand:
            remedy = f", and {_remedy('', needed, memory_for)} would" if memory_for and limit == OF_PROCESS else ""
            delta, why = None, f"{limit} leaves no room to look for what changed{remedy}"
    if delta is not None:
        how, why = "delta", ""
    upload = Upload(transfer.target, "", meta.generation, size, step)
    large = LargeFile(upload, meta, head.entry, transfer.expected, how, delta, whole=why, source_id=head.version_id)
    announce(large)
    if delta is not None:
        return large, []
    upload, listed = open_upload(job, transfer.target, size, step, meta, token)
    return replace(large, upload=upload), listed


def _remedy(limit: str, needed: int, memory_for: Callable[[int], int]) -> str:
    if limit == OF_WORKER:
        return f"{limit} {show_size(-(-needed // MIB) * MIB)}"
    return f"{limit} {show_size(memory_for(needed))}".strip()


def open_upload(job: JobContext, key: str, size: int, step: int, meta: Meta, token: Token) -> tuple[Upload, list[Part]]:
    """The upload of this generation that an earlier run left, with its parts, or a new one."""
    found = adopt(job.dest, key, meta.generation, size, token)
    if found is not None:
        return found
    token.moved(0)  # a worker that stood still learns here that the task is another's, and leaves nothing behind
    upload = job.dest.create_upload(key, size, step, meta, token)
    if not job.dest.limits.intents:  # the upload itself shows its generation; parts an earlier run left are listed
        try:
            return upload, job.dest.list_parts(upload, token)
        except StoreError:
            job.dest.abort(upload, token)  # the file fails, and whoever gives it up knows of no upload
            raise
    try:
        token.moved(0)
        put_intent(job.dest, upload, token)
    except BaseException:
        job.dest.abort(upload, Token(token.meter))  # nobody could find it again
        raise
    return upload, []


def leave(job: JobContext, fields: dict[str, str], token: Token) -> None:
    """Abandon the upload that the record ``fields`` of a file is of, and the one that the intent of its generation names: whoever
    opened that may have been killed before the ledger heard of it, or the ledger may have lost what it heard."""
    large = LargeFile.of(fields)
    upload = large.upload
    found = named(job.dest, upload.key, upload.generation, upload.size, token) if large.how in SENT else None
    if found is not None and found.id != upload.id:
        if upload.id:
            job.dest.abort(upload, token)
        upload = found
    abandon(job.dest, upload, token)


def _whole_blocks(step: int, block: int, most: int) -> int:
    """``step`` made a multiple of the block, so that each part's blocks are hashed with it; as it is where that is too much."""
    unit = max(block, MIB)
    rounded = -(-step // unit) * unit
    return rounded if rounded <= most else step
