"""Sign and match ranges of a huge file: the work that is spread over all workers."""

from __future__ import annotations

from collections.abc import Callable

from hugesync_tasks.delta.match import Matched, Matcher
from hugesync_tasks.delta.ops import turned
from hugesync_tasks.errors import NotFound, SourceChanged, VersionMismatch
from hugesync_tasks.model import Entry
from hugesync_tasks.signature.blocks import hash_blocks
from hugesync_tasks.signature.format import Signature
from hugesync_tasks.stages.basis import Delta
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.reading import into
from hugesync_tasks.stores.base import MIB, Store
from hugesync_tasks.token import Token


def sign_range(job: JobContext, key: str, delta: Delta, number: int, token: Token) -> Matched:
    """The block records of range ``number`` (from 0) of the basis."""
    start = number * delta.step
    end = min(delta.basis_size, start + delta.step)
    read = reading(job.dest, key, delta.basis_version, token)
    records = bytearray()
    step = max(delta.block, 8 * MIB // delta.block * delta.block)
    buffer = memoryview(bytearray(min(step, end - start)))
    for at in range(start, end, step):
        piece = buffer[: min(step, end - at)]
        read(at, piece)
        records += hash_blocks(piece, delta.block)
    return Matched(start, end, [], bytes(records))


def match_range(
    job: JobContext,
    source: Entry,
    delta: Delta,
    signature: Signature,
    number: int,
    token: Token,
) -> Matched:
    """The copies of range ``number``: of the source (upload) or, turned round, of the basis (download).

    Raises SourceChanged where the source moved, VersionMismatch where the basis did.
    """
    limits = job.dest.limits  # of less than a part a store copies nothing, and some copy nothing but the whole
    least = delta.basis_size if limits.part_copy == "whole" else limits.min_part
    matcher = Matcher(signature, least if delta.way == "upload" and limits.remote else 0)
    start, size, key = number * delta.step, source.size, source.key
    if delta.way == "upload":
        read = reading(job.source, job.source_key(source), source.version, token)
        try:
            return matcher.match(read, size, start, min(size, start + delta.step))
        except (VersionMismatch, NotFound) as error:
            raise SourceChanged(f"the source changed while it was read ({error})", key) from error
    read = reading(job.dest, key, delta.basis_version, token)
    found = matcher.match(read, delta.basis_size, start, min(delta.basis_size, start + delta.step), sign=False)
    found.copies = turned(found.copies)
    return found


def reading(store: Store, key: str, version: str, token: Token) -> Callable[[int, memoryview], None]:
    """Fill buffers from one pinned object."""

    def read(at: int, view: memoryview) -> None:
        with store.open(key, version, token, at, len(view)) as reader:
            done = len(into(view, reader))
        if done != len(view):
            raise SourceChanged(f"read {done} of {len(view)} bytes", key)

    return read
