"""Lay out a delta: from what the ranges found to the rows that the part tasks make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from awscrt.checksums import combine_crc64nvme

from hugesync_tasks.delta.match import Matched
from hugesync_tasks.delta.ops import Copy, merge, same_blocks, with_repeats
from hugesync_tasks.delta.wire import Row, rows_of
from hugesync_tasks.layout import IllegalLayout, PlannedPart, lay_out
from hugesync_tasks.parts import part_count
from hugesync_tasks.pieces import lay_pieces
from hugesync_tasks.signature.format import Signature
from hugesync_tasks.stages.appended import NO_RANGES
from hugesync_tasks.stages.basis import Delta
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import Limits, Stretch
from hugesync_tasks.token import Token


@dataclass(frozen=True, slots=True)
class Laid:
    """The rows of all parts, in order and to be taken once, how many they are, and the delta with what is known of the whole now."""

    rows: Iterable[Row]
    total: int
    delta: Delta


def lay(
    delta: Delta, size: int, ranges: Iterable[Matched], signatures: list[Signature], limits: Limits, step: int, in_hand: int,
    blocks: Sequence[Stretch] = (),
) -> Laid | None:  # fmt: skip
    """The layout, or None where a delta would save nothing and the file is to be sent whole.

    ``ranges``: what the match tasks found, in order. ``signatures``: of the source (download), of source and basis
    (between). ``step``: bytes of a part by preference; ``in_hand``: the most that one may have. ``blocks``: ``Store.blocks`` of
    the basis.
    """
    crc64 = delta.crc64
    if delta.way == "upload":
        copies, crc64 = _joined(ranges)
    elif delta.way == "download":
        copies = merge(c for found in ranges for c in found.copies)
        copies = with_repeats(copies, signatures[0].records, size, delta.block)
    else:
        mine, theirs = signatures
        copies = same_blocks(theirs.records, mine.records, delta.basis_size, size, delta.block)
    whole = [(0, delta.basis_size)] if limits.part_copy == "whole" else blocks
    # of a range that a store copies it proves what the source's bytes are held against, and between stores nobody reads those
    ranges_too = limits.part_copy == "ranges" and (not limits.copy_proof or delta.way == "upload")
    if not limits.remote:
        kept = sum(copy.length for copy in copies)
        rows: Iterable[Row] = rows_of(
            copies, size, step
        )  # made one by one: of a huge file they are more than its copies
        total = part_count(size, step)
    else:
        parts = _parts(copies, size, limits, step, in_hand, whole, ranges_too)
        kept = sum(p.length for p in parts if p.source is not None)
        rows, total = (Row(p.start, ((p.length, p.source),)) for p in parts), len(parts)
    return Laid(rows, total, replace(delta, crc64=crc64, lent=kept)) if kept else None


def _joined(ranges: Iterable[Matched]) -> tuple[list[Copy], int]:
    """What all ranges know, and the CRC64NVME of the whole; none of them is kept."""
    copies: list[Copy] = []
    crc64 = 0
    for found in ranges:
        copies += merge(found.copies)
        crc64 = combine_crc64nvme(crc64, found.crc64, found.end - found.start)
    return merge(copies), crc64


def blocks_of(job: JobContext, key: str, delta: Delta, token: Token) -> Sequence[Stretch]:
    """The basis' pieces, where the store has a use for them."""
    limits = job.dest.limits
    mine = limits.part_copy == "blocks" or (limits.part_copy == "ranges" and limits.copy_proof)
    return job.dest.blocks(key, delta.basis_version, token) if mine else ()


def saves_nothing(limits: Limits) -> str:
    """Why a file goes whole although it was compared with its old version."""
    return NO_RANGES if limits.part_copy == "whole" else "a delta would save nothing"


def _parts(
    copies: list[Copy], size: int, limits: Limits, step: int, in_hand: int, pieces: Sequence[Stretch], ranges: bool
) -> list[PlannedPart]:
    """None at all where there is no legal layout."""
    if pieces or not ranges:
        with suppress(IllegalLayout):
            return lay_pieces(copies, pieces, size, limits, min(step, in_hand), ranges)
    if ranges:  # also where whole pieces and what lies between them would be too many parts
        with suppress(IllegalLayout):
            return lay_out(copies, size, limits, step, in_hand)
    return []
