"""Compare: settle what a listing could not decide, by looking at both objects."""

from __future__ import annotations

from dataclasses import replace

from hugesync_tasks.decide import Decision, decide
from hugesync_tasks.model import Entry, Head, Kind, Outcome, Transfer
from hugesync_tasks.stages.contents import What, compare_contents
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.token import Token


def known(head: Head) -> Entry:
    """The entry with the mtime its metadata store, so that the decision sees the same value on every store."""
    if head.entry.mtime_ns is None and head.meta.mtime_ns is not None:
        return replace(head.entry, mtime_ns=head.meta.mtime_ns)
    return head.entry


def look_again(job: JobContext, source: Entry, dest: Head | None, token: Token) -> Decision:
    """The pure decision over what is there now; reads bytes only under ``--checksum`` and ``--verify all``
    (of links, their targets)."""
    return look_closer(job, source if dest is None else with_time(job, source, token), dest, token)


def with_time(job: JobContext, source: Entry, token: Token) -> Entry:
    """``source`` with the mtime that its store keeps with it; a HEAD where the listing has none."""
    if not job.source.limits.listing_has_mtime and source.mtime_ns is None:
        head = job.source.head(job.source_key(source), token)
        if head is not None and head.entry.version == source.version:
            return replace(source, mtime_ns=head.meta.mtime_ns)
    return source


def look_closer(job: JobContext, source: Entry, dest: Head | None, token: Token) -> Decision:
    """As ``look_again``, of a source ``with_time``."""
    rules = job.spec.rules
    decision = decide(source, known(dest) if dest else None, rules, headed=True)
    if dest is None or not (decision is Decision.UNKNOWN or (decision is Decision.SAME and compares_same(job, source))):
        return decision
    if source.size != dest.entry.size or source.kind is not dest.entry.kind:
        return Decision.DIFFERENT
    # what moved meanwhile is different: transferring finds out what became of it
    return Decision.SAME if compare_contents(job, source, dest.entry, token).what is What.EQUAL else Decision.DIFFERENT


def compares_same(job: JobContext, source: Entry) -> bool:
    """Whether what looks the same is believed only after its contents were compared (``--verify all``)."""
    return job.options.verify == "all" and source.kind is not Kind.DIR and source.size > 0


def as_outcome(decision: Decision, transfer: Transfer, found: Head | None, job: JobContext) -> Outcome | None:
    """The outcome where nothing is to be sent in one piece; None = send it now."""
    if decision is Decision.SAME:
        return Outcome("skipped", "same", verified=compares_same(job, transfer.source))
    if decision is Decision.EXISTING:
        return Outcome("skipped", "existing")
    if transfer.source.kind is Kind.FILE and transfer.source.size > job.whole_up_to:
        return Outcome("large", found=found.entry.version if found else None)
    return None
