"""Compare: settle what a listing could not decide, by looking at both objects."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from awscrt.checksums import crc64nvme

from hugesync_tasks.decide import Decision, decide
from hugesync_tasks.model import Entry, Head
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import Store
from hugesync_tasks.token import Token


def known(head: Head) -> Entry:
    """The entry with the mtime its metadata store, so that the decision sees the same value on every store."""
    if head.entry.mtime_ns is None and head.meta.mtime_ns is not None:
        return replace(head.entry, mtime_ns=head.meta.mtime_ns)
    return head.entry


def look_again(job: JobContext, source: Entry, dest: Head | None, token: Token) -> Decision:
    """The pure decision over what is there now; reads bytes only under ``--checksum`` (and for links, their targets)."""
    rules = job.spec.rules
    if dest is not None and not job.source.limits.listing_has_mtime and source.mtime_ns is None:
        head = job.source.head(job.source_key(source.key), token)
        if head is not None and head.entry.version == source.version:
            source = replace(source, mtime_ns=head.meta.mtime_ns)
    decision = decide(source, known(dest) if dest else None, rules, headed=True)
    if decision is not Decision.UNKNOWN or dest is None:
        return decision
    return Decision.SAME if _same_bytes(job, source, dest, token) else Decision.DIFFERENT


def _same_bytes(job: JobContext, source: Entry, dest: Head, token: Token) -> bool:
    """By a digest both ends hold, else by one end's digest and the other's bytes, else by reading both.

    Never "assume equal": a store's ETag is used only where it is known to be an MD5 of the whole.
    """
    if source.size != dest.entry.size or source.kind is not dest.entry.kind:
        return False
    source_key = job.source_key(source.key)
    dest = job.dest.head(dest.entry.key, token, digest=True) or dest
    ours = job.source.head(source_key, token, digest=True)
    if ours is None or ours.entry.version != source.version:
        return False  # it moved: transferring finds out what became of it
    for algorithm in ("crc64", "md5"):
        a, b = getattr(ours, algorithm), getattr(dest, algorithm)
        if a is not None and b is not None:
            return bool(a == b)
    for algorithm in ("crc64", "md5"):
        a, b = getattr(ours, algorithm), getattr(dest, algorithm)
        if b is not None:
            return bool(b == _digest(job.source, source_key, source.version, algorithm, token))
        if a is not None:
            return bool(a == _digest(job.dest, dest.entry.key, dest.entry.version, algorithm, token))
    here = _digest(job.source, source_key, source.version, "crc64", token)
    return here == _digest(job.dest, dest.entry.key, dest.entry.version, "crc64", token)


def _digest(store: Store, key: str, version: str, algorithm: str, token: Token) -> int | str:
    with store.open(key, version, token) as reader:
        if algorithm == "md5":
            md5 = hashlib.md5(usedforsecurity=False)
            for chunk in reader:
                md5.update(chunk)
            return md5.hexdigest()
        crc = 0
        for chunk in reader:
            crc = crc64nvme(chunk, crc)
        return crc
