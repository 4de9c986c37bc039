"""What a delta would save: computed from signatures for a dry run, or guessed from a sample of blocks. Nothing is written."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hugesync_tasks.errors import StoreError
from hugesync_tasks.model import Entry, Transfer
from hugesync_tasks.parts import part_size
from hugesync_tasks.signature.blocks import RECORD, hash_blocks
from hugesync_tasks.signature.format import Signature, Unusable
from hugesync_tasks.stages.basis import Delta, consider, signed, stored
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.laying import lay
from hugesync_tasks.stages.match import match_range, reading, sign_range
from hugesync_tasks.token import Token

SAMPLE = 64  # blocks that an estimate compares


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One file of ``size`` bytes, of which ``reused`` would not be sent."""

    size: int
    reused: int = 0
    delta: bool = False


def foresee(job: JobContext, transfer: Transfer, token: Token, estimate: bool = False) -> Foreseen:
    """The true delta, by reading what a run would read locally; with ``estimate`` a guess from ``SAMPLE`` blocks."""
    size = transfer.source.size
    try:
        head = job.source.head(job.source_key(transfer.key), token)
        delta = consider(job, transfer, head, token)[0] if head is not None else None
        if head is None or delta is None:
            return Foreseen(size)
        reused = (
            _guess(job, head.entry, transfer.key, delta, token)
            if estimate
            else _measured(job, head.entry, transfer.key, delta, token)
        )
    except (StoreError, Unusable):
        return Foreseen(size)  # the run itself will say what is wrong
    return Foreseen(size, reused, delta=reused > 0)


def _measured(job: JobContext, source: Entry, key: str, delta: Delta, token: Token) -> int:
    signatures = _signatures(job, source, key, delta, token)
    size = source.size
    ranges = [
        match_range(job, key, delta, size, source.version, signatures[0], number, token)
        for number in range(delta.matching(size))
    ]
    step = part_size(size, job.dest.limits, job.options.part_size)
    laid = lay(delta, size, ranges, signatures, job.dest.limits, step, max(step, job.options.memory // 2))
    return laid.delta.lent if laid is not None else 0


def _guess(job: JobContext, source: Entry, key: str, delta: Delta, token: Token) -> int:
    """Of the places where both files have a block, some are compared; what that costs to send is left out."""
    if delta.signs or delta.way == "between":
        return _measured(job, source, key, delta, token)
    signature = stored(job, key, source, delta, token)[0]
    store, at = (job.source, job.source_key(key)) if delta.way == "upload" else (job.dest, key)
    version = source.version if delta.way == "upload" else delta.basis_version
    both = min(source.size, delta.basis_size) // delta.block
    chosen = random.Random(0).sample(range(both), min(SAMPLE, both))  # the same guess twice for the same file
    read, block = reading(store, at, version, token), memoryview(bytearray(delta.block))
    equal = 0
    for number in chosen:
        read(number * delta.block, block)
        equal += hash_blocks(block, delta.block) == signature.records[number * RECORD : (number + 1) * RECORD]
    return both * delta.block * equal // len(chosen) if chosen else 0


def _signatures(job: JobContext, source: Entry, key: str, delta: Delta, token: Token) -> list[Signature]:
    if not delta.signs:
        return stored(job, key, source, delta, token)
    return [signed(delta, [sign_range(job, key, delta, number, token) for number in range(delta.signing)])]
