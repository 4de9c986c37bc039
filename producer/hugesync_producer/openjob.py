"""Open a job in the ledger: the lock on its destination, its lease, what an earlier run of it settled, and its specification."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass

from hugesync_producer.checkpoint import Checkpoint
from hugesync_producer.coordinator import LEASE_MS
from hugesync_producer.jobfolder import JobFolder
from hugesync_producer.keptnames import give
from hugesync_producer.leadership import lead, lock, place_of
from hugesync_producer.namelist import NameList
from hugesync_producer.offering import offer
from hugesync_producer.processes import this_process
from hugesync_producer.samedevice import Devices, refuse_another, remembered
from hugesync_producer.window import Counters
from hugesync_tasks.caps import Caps
from hugesync_tasks.errors import Refused
from hugesync_tasks.spec import Spec
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.summary import Observer

UNFINISHED = ("running", "stalled", "interrupted", "cancelled", "conflict")


@dataclass(frozen=True, slots=True)
class Opened:
    """A job that this process leads."""

    owner: str
    place: (
        str  # what its destination is locked by; looked up once: what is renewed and given back must be what was taken
    )
    checkpoint: Checkpoint
    resumed: tuple[str, Counters] | None  # K and the counters as of K; None = it begins
    at: float  # seconds since the epoch
    devices: Devices  # what a host's source lay on when the job last ended well


def open_job(
    ledger: Ledger,
    spec: Spec,
    folder: JobFolder | None,
    observer: Observer,
    fresh: bool,
    device: str,
    owner: str = "",
    left: tuple[str, Counters] | None = None,
    names: NameList | None = None,
) -> Opened:
    """``device``: what the source lies on. ``owner``: whose lease this process was started under, for a job that is open
    already; "" = a run of its own. ``left``: K and the counters of a job of which some files are tried again. ``names``: the list
    that the job was given, to be left in a fleet's ledger. Raises Refused (the destination's, or the job's, is another's; with ``--delete`` a source on
    another device), TakenOver."""
    place = place_of(spec)
    if owner or spec.dest.shown:  # a lock's name is the submitter's, wherever this host has the folder
        place = ledger.meta(spec.job).get("place") or place
    lock(ledger, spec, place)
    at = time.time()
    owner, given = lead(ledger, spec, folder is not None, observer, owner), bool(owner)
    devices = remembered(ledger, spec.job, folder)
    if spec.options.delete:
        try:
            refuse_another(spec, devices, device)
        except Refused:  # nothing of the job was touched
            if not given:  # else whoever started this process says why, and gives the lease back
                ledger.step_down(spec.job, owner)
                ledger.unlock(place, spec.job)
            raise
    checkpoint = Checkpoint(ledger, spec.job, folder)
    resumed = left
    if left is None and not fresh and _unfinished(ledger, spec.job, folder):
        resumed = checkpoint.read() or ("", Counters())
    if resumed is None:
        ledger.forget_job(spec.job, history=False)
        ledger.lead(spec.job, owner, LEASE_MS)
        ledger.set_meta(spec.job, coordinator=this_process(), devices=json.dumps(devices))
    observer.on_start(spec.job, resumed is not None and left is None)
    if folder is None and not given:
        give(ledger, spec.job, names)
    if given:  # as it was submitted; and whoever cancelled it meanwhile meant it
        ledger.set_meta(spec.job, state="running", host=socket.gethostname(), reason="")
    else:
        ledger.open_job(spec.job, json.dumps(spec.wire()))
        ledger.set_meta(
            spec.job, state="running", cancel="0", pause="0", host=socket.gethostname(), summary="", reason="", place=place, tries="0",
            **Caps.of(spec.options).wire(),
        )  # fmt: skip
    if folder is not None:
        folder.save(
            job=spec.job, spec=spec.wire(), state="running", started=time.time(), summary=None,
            **Caps.of(spec.options).plain(),
            **({} if resumed else {"checkpoint": None}),
        )  # fmt: skip
    else:
        offer(ledger, spec)
    return Opened(owner, place, checkpoint, resumed, at, devices)


def _unfinished(ledger: Ledger, job: str, folder: JobFolder | None) -> bool:
    state = folder.data.get("state") if folder is not None else ledger.meta(job).get("state")
    return state in UNFINISHED
