"""What a delta would save: computed from signatures for a dry run, or guessed from a sample of blocks. Nothing is written."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hugesync_tasks.budget import in_hand
from hugesync_tasks.errors import StoreError
from hugesync_tasks.model import Entry, Transfer
from hugesync_tasks.parts import part_size
from hugesync_tasks.signature.blocks import RECORD, hash_blocks
from hugesync_tasks.signature.format import Signature, Unusable
from hugesync_tasks.stages.basis import Delta, consider, signed, stored
from hugesync_tasks.stages.context import JobContext, called
from hugesync_tasks.stages.laying import blocks_of, lay, saves_nothing
from hugesync_tasks.stages.match import match_range, reading, sign_range
from hugesync_tasks.stores.base import MIB
from hugesync_tasks.token import Token

RESIDENT = 90 * MIB  # of a worker's child before it has anything in hand, about; the run looks at each
SAMPLE = 64  # blocks that an estimate compares


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One file, of which ``reused`` bytes would not be sent, in blocks of ``block`` bytes; 0 where it would go whole, and
    ``whole`` is why, where somebody might expect a delta. ``guessed``: from a sample."""

    reused: int = 0
    block: int = 0
    whole: str = ""
    guessed: bool = False


def foresee(job: JobContext, transfer: Transfer, token: Token, estimate: bool = False) -> Foreseen:
    """The true delta, by reading what a run would read locally; with ``estimate`` a guess from ``SAMPLE`` blocks."""
    try:
        head = job.source.head(job.source_key(transfer.source), token)
        delta, why = consider(job, transfer, head, token) if head is not None else (None, "")
        if head is None or delta is None:
            return Foreseen(whole=why)
        if delta.in_hand(head.entry.size, job.options.part_size) > in_hand(job.options.memory, RESIDENT):
            return Foreseen(whole="--memory leaves no room to look for what changed")
        guesses = estimate and not delta.signs and delta.way != "between"  # else there is no less to read
        found = _guess if guesses else _measured
        reused = found(job, called(head, transfer.source).entry, transfer.key, delta, token)
    except (StoreError, Unusable):
        return Foreseen()  # the run itself will say what is wrong
    if not reused:
        return Foreseen(whole=saves_nothing(job.dest.limits), guessed=guesses)
    return Foreseen(reused, delta.block, guessed=guesses)


def _measured(job: JobContext, source: Entry, key: str, delta: Delta, token: Token) -> int:
    signatures = _signatures(job, source, key, delta, token)
    size = source.size
    ranges = [match_range(job, source, delta, signatures[0], number, token) for number in range(delta.matching(size))]
    step = part_size(size, job.dest.limits, job.options.part_size)
    blocks = blocks_of(job, key, delta, token)
    laid = lay(delta, size, ranges, signatures, job.dest.limits, step, max(step, job.options.memory // 2), blocks)
    return laid.delta.lent if laid is not None else 0


def _guess(job: JobContext, source: Entry, key: str, delta: Delta, token: Token) -> int:
    """Of the places where both files have a block, some are compared. One that is to be sent differs somewhere, seen or not."""
    signature = stored(job, key, source, delta, token)[0]
    store, at = (job.source, job.source_key(source)) if delta.way == "upload" else (job.dest, key)
    version = source.version if delta.way == "upload" else delta.basis_version
    both = min(source.size, delta.basis_size) // delta.block
    chosen = random.Random(0).sample(range(both), min(SAMPLE, both))  # the same guess twice for the same file
    read, block = reading(store, at, version, token), memoryview(bytearray(delta.block))
    equal = 0
    for number in chosen:
        read(number * delta.block, block)
        equal += hash_blocks(block, delta.block) == signature.records[number * RECORD : (number + 1) * RECORD]
    if job.dest.limits.part_copy == "whole":  # all of it or nothing
        return delta.basis_size if chosen and equal == len(chosen) else 0
    least = job.dest.limits.min_part if job.dest.limits.remote else delta.block
    return max(0, min(both * delta.block * equal // len(chosen), source.size - least)) if chosen else 0


def _signatures(job: JobContext, source: Entry, key: str, delta: Delta, token: Token) -> list[Signature]:
    if not delta.signs:
        return stored(job, key, source, delta, token)
    return [signed(delta, [sign_range(job, key, delta, number, token) for number in range(delta.signing)])]
