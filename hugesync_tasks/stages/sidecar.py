"""The signature beside an object: where it lies, reading it with care, writing it after a commit.

A sidecar is a hint that anybody who may write to the bucket may have written. Reading one never fails a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from hugesync_tasks import __version__
from hugesync_tasks.errors import NotFound, Stopped, StoreError
from hugesync_tasks.model import SIDECAR_SUFFIX, Commit, Entry, Head, Meta, Transfer
from hugesync_tasks.signature.blocks import auto_block, least_block
from hugesync_tasks.signature.format import Binding, Header, Signature, Unusable, read, write
from hugesync_tasks.spec import Options
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import ABSENT, Reader, Store
from hugesync_tasks.token import Token

CONTENT_TYPE = "application/vnd.hugesync.signature"


def sidecar_key(key: str, options: Options) -> str:
    """``KEY.hssig``, or below ``--sidecar-prefix``."""
    return f"{options.sidecar_prefix}{key}{SIDECAR_SUFFIX}"


def keeps_sidecar(job: JobContext, size: int) -> bool:
    """Whether a file of ``size`` bytes gets one: at a store, above the threshold, unless the user wants none."""
    options = job.options
    return job.dest.limits.remote and options.sidecars and size > options.delta_threshold


def signed_block(job: JobContext, size: int) -> int:
    """Bytes per block of the signature that a file of ``size`` bytes gets."""
    return max(job.options.block_size, least_block(size)) if job.options.block_size else auto_block(size)


def binding_of(head: Head) -> Binding:
    """What a signature of the object as it is now must be of."""
    return Binding(head.entry.size, head.entry.version, head.version_id)


def load(store: Store, key: str, expect: Binding, options: Options, token: Token) -> Signature:
    """The signature of ``key`` as ``expect`` binds it. Raises Unusable for every reason there is not to use it, but Stopped."""
    try:
        with store.open(sidecar_key(key, options), "", token, overhead=True) as reader:
            return read(_taking(reader), expect, reader.head.entry.size)
    except NotFound:
        raise Unusable("there is none") from None
    except Stopped:
        raise
    except StoreError as error:
        raise Unusable(f"it cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Hashes:
    """What a new signature is made of."""

    block: int
    records: bytes | bytearray
    digest: bytes


def save(job: JobContext, source: Entry, done: Commit, mtime_ns: int | None, hashes: Hashes, token: Token) -> str:
    """Write the signature of what was just committed; "" or why there is none. The file is done in any case."""
    bound = Binding(done.size, done.version, done.version_id, mtime_ns)
    header = Header(bound, hashes.block, hashes.digest, f"hugesync {__version__}", int(time.time()))
    key = sidecar_key(done.key, job.options)
    try:
        beside = not job.options.sidecar_prefix and not source.stored  # else it has another name there
        if beside and _is_users(job.source.head(f"{job.source_key(source)}{SIDECAR_SUFFIX}", token)):
            return "the source has a file of that name"
        there = job.dest.head(key, token)
        if _is_users(there):
            return "a file of that name is there"
        body = b"".join(write(header, [hashes.records]))
        expected = there.entry.version if there is not None else ABSENT
        job.dest.put(key, body, Meta(content_type=CONTENT_TYPE, sidecar=True), expected, token, overhead=True)
    except Stopped:
        raise
    except (StoreError, ValueError) as error:
        return str(error)
    return ""


def _is_users(head: Head | None) -> bool:
    """Whether what is there is no signature of ours: a user's file is never written over."""
    return head is not None and not head.meta.sidecar


def over_signature(job: JobContext, transfer: Transfer, token: Token) -> Transfer:
    """``transfer``, planned against the signature of ours that stands under a user's own name: plans do not show it, and it is
    no rival's data."""
    if transfer.expected is None and transfer.key.endswith(SIDECAR_SUFFIX) and job.dest.limits.remote:
        there = job.dest.head(transfer.key, token)
        if there is not None and there.meta.sidecar:
            return replace(transfer, expected=there.entry.version)
    return transfer


def of_source(job: JobContext, source: Entry, token: Token) -> Signature:
    """The signature beside the source object. Raises Unusable."""
    return load(job.source, job.source_key(source), Binding(source.size, source.version), job.options, token)


def carry(job: JobContext, source: Entry, done: Commit, mtime_ns: int | None, token: Token) -> str:
    """Of an object that the store copied whole: its source's signature, bound to the copy; "" or why there is none."""
    if not keeps_sidecar(job, done.size):
        return ""
    try:
        theirs = of_source(job, source, token)
    except Unusable:
        return ""  # nobody expects one of what had none
    return save(job, source, done, mtime_ns, Hashes(theirs.header.block, theirs.records, theirs.header.digest), token)


def _taking(reader: Reader) -> Callable[[int], bytes]:
    chunks = iter(reader)
    rest = bytearray()

    def take(n: int) -> bytes:
        while len(rest) < n:
            chunk = next(chunks, None)
            if chunk is None:
                break
            rest.extend(chunk)
        out = bytes(rest[:n])
        del rest[:n]
        return out

    return take
