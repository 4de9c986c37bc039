"""Decide whether a large file goes as a delta, and against what. What is said here is shown to the user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hugesync_tasks.budget import HEADROOM
from hugesync_tasks.delta.match import Matched
from hugesync_tasks.errors import StoreError
from hugesync_tasks.model import Entry, Head, Kind, Transfer
from hugesync_tasks.signature.blocks import LEAF, RECORD
from hugesync_tasks.signature.format import Binding, Header, Signature, Unusable
from hugesync_tasks.stages.appended import NO_RANGES, appended
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.sidecar import binding_of, load, of_source, signed_block
from hugesync_tasks.stores.base import MIB
from hugesync_tasks.token import Token

RANGE = 64 * MIB  # bytes matched or signed by one task, at the least
BUFFERS = 3  # of a range: what is read at a time, and the window with the positions that are looked at
SLIDING = (
    90 * MIB
)  # that numpy, LLVM and the loop take of a process [measured: 79, and 19 once ``give_back`` was called]
MANY = 4096  # ranges of one file; above it they grow


@dataclass(frozen=True, slots=True)
class Delta:
    """How one file's delta is found; a part of its record in the ledger.

    ``way``: upload (the source's bytes against the basis' signature), download (the basis' bytes against the source's
    signature), between (both signatures). ``step``: bytes of one range. ``crc64``: of the whole new file, once known.
    """

    way: str
    basis_version: str
    basis_size: int
    block: int
    step: int
    signs: bool  # the basis has no signature yet: the workers make it
    crc64: int | None = None
    basis_id: str = ""  # of its version, in a bucket that keeps versions
    lent: int = 0  # bytes of the new file that the basis has

    def wire(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def binding(self) -> Binding:
        """What a signature of the basis must be of."""
        return Binding(self.basis_size, self.basis_version, self.basis_id)

    def in_hand(self, size: int, part: int) -> int:
        """The bytes that a worker must be able to hold (``Budget``) to match a new file of ``size`` bytes and to go on with parts
        of ``part`` bytes: what sliding loads stays."""
        if self.way == "between":
            return part  # nothing is slid over
        # The records are there as LLVM is loaded. Their index comes after it was given back, and takes less than that
        # [measured: 47 MiB while that of 36 MiB is made, the most there are, and 60 given back].
        records = RECORD * (max(size, self.basis_size) // self.block + 1)
        return int((SLIDING + records) * HEADROOM) + max(part, BUFFERS * max(self.block, 8 * MIB))

    @property
    def signing(self) -> int:
        """How many tasks sign the basis."""
        return -(-self.basis_size // self.step) if self.signs else 0

    def matching(self, size: int) -> int:
        """How many tasks match, for a new file of ``size`` bytes."""
        return {"upload": -(-size // self.step), "download": -(-self.basis_size // self.step)}.get(self.way, 0)


def consider(job: JobContext, transfer: Transfer, source: Head, token: Token) -> tuple[Delta | None, str]:
    """The delta to make, or None and why the file goes whole ("" where nobody would have expected a delta)."""
    options, size = job.options, source.entry.size
    remote = job.source.limits.remote, job.dest.limits.remote
    if transfer.expected is None or size <= options.delta_threshold or (job.server_copy and job.copies_parts):
        return None, ""
    if options.whole_file or (options.whole_file is None and not any(remote)):
        return None, ""
    if job.dest.limits.part_copy == "none":
        return None, "the store does not copy the ranges that it is told"
    if options.unsafe_no_conflict_check:
        return None, "parts of the old object could be copied from another version, with --unsafe-no-conflict-check"
    basis = job.dest.head(transfer.key, token)
    if basis is None or basis.entry.version != transfer.expected or basis.entry.kind is not Kind.FILE:
        return None, ""  # the commit will find the conflict
    least = max(job.dest.limits.min_part, MIB)
    if basis.entry.size <= least:  # S3 copies ranges only of objects above 5 MiB
        return None, "what is at the destination is too small to copy from"
    if job.dest.limits.part_copy == "whole" and not appended(job, transfer, basis, token):
        return None, NO_RANGES
    match remote:
        case False, True:
            return _against_basis(job, transfer, basis, token)
        case True, False:
            return _against_source(job, transfer, source, basis, token)
        case True, True:
            return _between(job, transfer, source, basis, token)
    return _delta("upload", basis, signed_block(job, basis.entry.size), size, signs=True), ""


def _against_basis(job: JobContext, transfer: Transfer, basis: Head, token: Token) -> tuple[Delta | None, str]:
    try:
        found = load(job.dest, transfer.key, binding_of(basis), job.options, token)
    except Unusable as error:
        if job.options.signature_missing == "generate":
            return _delta("upload", basis, signed_block(job, basis.entry.size), transfer.source.size, signs=True), ""
        return None, f"no usable signature at the destination: {error}"
    return _delta("upload", basis, found.header.block, transfer.source.size), ""


def _against_source(
    job: JobContext, transfer: Transfer, source: Head, basis: Head, token: Token
) -> tuple[Delta | None, str]:
    key = job.source_key(transfer.source)
    try:
        found = load(job.source, key, binding_of(source), job.options, token)
    except Unusable as error:
        return None, f"no usable signature at the source: {error}"
    if proof(job, key, token) is None:
        return None, "the source holds no CRC64NVME of the whole object, so the result could not be proven"
    return _delta("download", basis, found.header.block, source.entry.size), ""


def _between(job: JobContext, transfer: Transfer, source: Head, basis: Head, token: Token) -> tuple[Delta | None, str]:
    key = job.source_key(transfer.source)
    try:
        mine = load(job.source, key, binding_of(source), job.options, token)
        theirs = load(job.dest, transfer.key, binding_of(basis), job.options, token)
    except Unusable as error:
        return None, f"no usable signatures at both ends: {error}"
    if mine.header.block != theirs.header.block:
        return None, "the signatures of both ends have blocks of different sizes"
    crc64 = proof(job, key, token)
    proves = job.dest.limits.full_crc64 or job.spec.dry_run  # a dry run cannot know: only a write would show it
    if crc64 is None or not proves:
        return None, "the stores hold no CRC64NVME of whole objects, so the result could not be proven"
    return _delta("between", basis, mine.header.block, source.entry.size, crc64=crc64), ""


def proof(job: JobContext, key: str, token: Token) -> int | None:
    """The source store's own CRC64NVME of the whole object, where it holds one."""
    try:
        head = job.source.head(key, token, digest=True)
    except StoreError:
        return None
    return head.crc64 if head is not None else None


def _delta(way: str, basis: Head, block: int, size: int, signs: bool = False, crc64: int | None = None) -> Delta:
    unit = max(block, LEAF)
    most = max(size, basis.entry.size)
    step = -(-max(RANGE, -(-most // MANY)) // unit) * unit
    return Delta(way, basis.entry.version, basis.entry.size, block, step, signs, crc64, basis.version_id)


def stored(job: JobContext, key: str, source: Entry, delta: Delta, token: Token) -> list[Signature]:
    """The signatures that lie at the stores: the basis' (upload), the source's (download), the source's and the basis'
    (between). Raises Unusable."""
    found = []
    if delta.way != "upload":
        found.append(of_source(job, source, token))
    if delta.way != "download":
        found.append(load(job.dest, key, delta.binding, job.options, token))
    if any(one.header.block != delta.block for one in found):
        raise Unusable("it was replaced by one with other blocks")
    return found


def signed(delta: Delta, ranges: Iterable[Matched]) -> Signature:
    """The signature that the workers made of the basis, from its ranges in order."""
    records = b"".join(found.records for found in ranges)
    return Signature(Header(delta.binding, delta.block, bytes(32)), records)
