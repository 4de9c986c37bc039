"""One run at a time: the lock on the destination and the job's lease, taken and kept in the ledger."""

from __future__ import annotations

import secrets
import time

from hugesync_producer.checkpoint import TakenOver
from hugesync_producer.coordinator import LEASE_EVERY, LEASE_MS
from hugesync_producer.pool import Stalled
from hugesync_producer.processes import is_dead, this_process
from hugesync_tasks.errors import Refused
from hugesync_tasks.spec import Spec
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.summary import Observer
from hugesync_tasks.uri import lock_name

LOCK_MS = 60_000


class WorkerGoesOn(Refused):
    """A worker goes on with this job, whose submitter is gone: whoever submits it again may follow it."""


def place_of(spec: Spec) -> str:
    """What a job's lock is taken by: the place it writes to. A comparison writes nowhere, keeps nobody away, and is kept away by
    itself alone."""
    return f"comparison {spec.job}" if spec.compares else lock_name(spec.dest)


def lock(ledger: Ledger, spec: Spec, place: str) -> None:
    """Take the destination's lock; ``place`` is ``place_of`` it. Raises Refused naming the job that holds it."""
    holder = ledger.lock(place, spec.job, LOCK_MS)
    if holder != spec.job:
        raise Refused(f"job {holder} is writing to {spec.dest.display()} now")


def lead(ledger: Ledger, spec: Spec, embedded: bool, observer: Observer, owner: str = "") -> str:
    """Take the job's lease before anything of the job is touched; returns the owner's token. A living coordinator is known by
    its beat; the lease of one killed on this host is taken, another host's is waited for. ``owner``: whose lease this process was started under. Raises Refused, TakenOver."""
    if owner:
        if not ledger.keep_lead(spec.job, owner, LEASE_MS):
            raise TakenOver(spec.job)
        ledger.set_meta(spec.job, coordinator=this_process(), by_worker="1")
        return owner
    if embedded:
        owner = "embedded"  # the folder's lock has refused a second run already; a killed one's lease is ours
    else:
        owner = secrets.token_hex(8)
    meta, began = ledger.meta(spec.job), time.monotonic()
    beat = meta.get("beat")
    if not embedded and is_dead(meta.get("coordinator", "")):
        ledger.step_down(spec.job, meta.get("owner", ""))
    told = False
    while not ledger.lead(spec.job, owner, LEASE_MS):
        if ledger.meta(spec.job).get("beat") != beat or time.monotonic() - began > 2 * LEASE_MS / 1000:
            doing = "comparing with" if spec.compares else "writing to"
            by = WorkerGoesOn if ledger.meta(spec.job).get("by_worker") == "1" else Refused
            raise by(
                f"job {spec.job} is being run by another process, and {doing} {spec.dest.display()}; to follow it: "
                f"hugesync watch {spec.job}"
            )
        if not told and time.monotonic() - began > LEASE_EVERY:
            told = True
            observer.on_notice("an earlier run ended without a word; waiting until its lease has run out")
        time.sleep(0.2)
    ledger.set_meta(spec.job, coordinator=this_process(), by_worker="")
    return owner


def keep_lock(ledger: Ledger, spec: Spec, place: str) -> None:
    """What a living coordinator renews beside its lease. Raises TakenOver."""
    holder = ledger.lock(place, spec.job, LOCK_MS)
    if holder != spec.job:
        raise Stalled(f"this job's lock lapsed, and job {holder} is writing to {spec.dest.display()} now")
    ledger.set_meta(spec.job, beat=repr(time.time()))
