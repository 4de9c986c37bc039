"""The workers a job can count on: which queue its tasks go to, how many may be out, and when nobody is there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from hugesync_producer import human
from hugesync_producer.fleet import described, live
from hugesync_producer.offering import leave_mark, offer, remove_marks
from hugesync_producer.shares import Endpoints, Shares
from hugesync_tasks.caps import Caps
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.logs import get_logger
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.names import decode_name
from hugesync_tasks.register import MARK
from hugesync_tasks.share import Room
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.stores.base import Store

log = get_logger(__name__)

LEAST_OUT = 64  # tasks out per queue, whatever the slots: keeps a lone worker busy between two looks
PER_SLOT = 4
SAY_AFTER = 30.0  # seconds in which nothing moved before a person is told so
PAUSED = "every worker that could go on is paused (hugesync scale N starts them again)"


class Stalled(Unreachable):
    """The ledger answers; it is the workers that are missing or at a standstill. Waiting for the ledger would not help."""


class Pool:
    """One job's queue and its consumers. ``progress`` passed to ``look`` is any value that changes when something moves."""

    def __init__(
        self,
        ledger: Ledger,
        spec: Spec,
        embedded: bool,
        clock: Callable[[], float] = time.monotonic,
        patience: float | None = None,
    ) -> None:
        """``patience``: seconds in which the first consumer must come; None = the job's ``start_timeout``."""
        self._ledger, self._spec, self._clock = ledger, spec, clock
        self._patience = spec.options.start_timeout if patience is None else patience
        self._embedded = embedded
        self._roots = [(end, dest) for end, dest in ((spec.source, False), (spec.dest, True)) if end.scheme == "file"]
        self.queue = queue_of(spec)
        self.commit_queue = f"{self.queue}.commit"
        self._field = f"{self.queue}|{spec.job}"
        self._probe: list[Any] | None = None
        self._probe_there: list[Any] | None = None
        self._probed = False
        self._mark = f"{MARK}{spec.job}"
        self._marked: list[str] = []
        self._slots = 0
        self._looked = self._length_at = 0.0
        self._length = 0
        self._began = clock()
        self._seen_at: float | None = None
        self._moved_at = clock()
        self._progress: object = None
        self._announced = False
        self.waiting_for = ""
        self.shares = Shares(ledger, spec.job, self.queue, clock)
        self.endpoints = Endpoints(ledger, clock)
        self.allow(Caps.of(spec.options))

    def allow(self, caps: Caps) -> None:
        """What the job may use from now on."""
        self.jobs = caps.jobs  # tasks that may be out; 0 = no limit
        self.shares.weight = max(1, caps.weight)
        self.shares.limited = caps.bwlimit > 0 or caps.tpslimit > 0

    def uses(self, *stores: Store) -> None:
        """The job's ends: what all jobs may do there binds this one."""
        self.endpoints.use(store.endpoint for store in stores)
        self.shares.ends = self.endpoints.ids

    def restore(self) -> None:
        """After the ledger lost its data: what it knew of job and endpoints is written anew."""
        self.offer()
        self.announce()
        self.endpoints.restore()

    def probe(self, entry: Entry | None, there: Entry | None = None) -> None:
        """Announce the job's needs with the first planned entry: a worker's root must hold the same to serve it. May be
        called often: it is announced once, and once more when there is an entry at last. ``there``: of a comparison, the
        same at the destination, whose root is proven by it as well: nothing may be left there."""
        # An embedded worker was started by us for this job alone: it has nothing to prove, and a file that changes just
        # now must not keep it away.
        probes = self._spec.compares or self._spec.source.scheme == "file"
        known = self._probed or entry is None or not probes or self._embedded
        if self._announced and known:
            return
        if not known and entry is not None and entry.kind is Kind.FILE:
            key = entry.stored or (self._spec.single_source if self._spec.single_file else entry.key)
            self._probe = _probe(self._spec.source, key, entry)
            self._probe_there = _probe(self._spec.dest, there.key, there) if there is not None else None
            self._probed = True
        if not self._announced and not self._embedded and not self._spec.compares:
            self._marked = [p for end, dest in self._roots if dest and (p := leave_mark(end, self._spec.job))]
        self.announce()
        self._announced = True

    def announce(self) -> None:
        mark = self._mark if self._marked else None
        needs: list[dict[str, Any]] = []
        for end, dest in self._roots:
            if dest and not self._spec.compares:
                needs.append({"name": end.root, "dest": True, "mark": mark})
            else:
                needs.append({"name": end.root, "probe": self._probe_there if dest else self._probe})
        self._ledger.announce(self._field, json.dumps({"roots": needs}))
        for field in self._ledger.announced():
            if (
                field.endswith(f"|{self._spec.job}") and field != self._field
            ):  # of a killed run, under another root's name
                self._ledger.retract(field)

    def offer(self) -> None:
        """Say that the job wants a coordinator, should this one end without a word."""
        if not self._embedded:
            offer(self._ledger, self._spec)

    def retract(self) -> None:
        if not self._embedded:
            remove_marks(self._spec)
            self._ledger.withdraw(self._spec.job)
        self._ledger.retract(self._field)
        self.shares.leave()

    @property
    def window(self) -> int:
        """How many tasks may be out in this job's queue, over all jobs."""
        return max(LEAST_OUT, PER_SLOT * self._slots)

    def room(self, out: int) -> Room:
        """How many more tasks may be sent: of one job at most ``-j``, per queue at most max(64, 4 × slots) over all jobs, and
        beside other jobs what is this one's share."""
        now = self._clock()
        if now - self._length_at > 0.2:
            self._length_at, self._length = now, self._ledger.queue_length(self.queue)
        room = self.shares.room(out, self.window, self._slots)
        if not self.shares.beside:
            room = room.most(self.window - max(out, self._length))
        if (most := self.endpoints.most()) and not self._embedded:
            room = room.most(self.shares.among(most, out))
        return room.most(self.jobs - out) if self.jobs else room

    def full(self, out: int) -> bool:
        """Whether so many are as many as ``-j`` allows."""
        return 0 < self.jobs <= out

    def surplus(self, out: int) -> int:
        """How many of its tasks the job takes back from the queue, for others have work for the same workers now."""
        return self.shares.surplus(out, self.window, self._slots)

    def look(self, out: int, progress: object, at_work: int = 0) -> None:
        """Count the consumers. ``out``: tasks that are out, ``at_work``: those of them that workers have begun. Raises Stalled
        when none came within the patience after the first task, or nothing moved for ``--stall-timeout``, whether workers are there or
        not; resumable both."""
        now = self._clock()
        workers = live(self._ledger)
        consumers = {n: w for n, w in workers.items() if self.queue in w.get("queues", [])}
        self.shares.queues = {self.queue}.union(*(w["queues"] for w in consumers.values()))
        slots, self._slots = self._slots, sum(int(w["slots"]) for w in consumers.values())
        if slots != self._slots:
            log.info("workers counted", queue=self.queue, workers=len(consumers), slots=self._slots, window=self.window)
        paused = bool(consumers) and all(w.get("paused") for w in consumers.values())
        if progress != self._progress or not out or paused:  # a person wants it so: that is no standstill
            self._progress, self._moved_at = progress, now
        if paused:
            self._seen_at, self.waiting_for = now, PAUSED
        elif consumers:
            self._seen_at, self.waiting_for = now, self._still(now - self._moved_at, out, at_work)
        elif out:
            ours = self._embedded and self._seen_at is None and now - self._began <= self._patience
            self.waiting_for = "its worker to start" if ours else self._missing(workers)
            self._renew_probe()
            if self._seen_at is None and not self._embedded and now - self._began > self._patience:
                raise Stalled(f"stalled: {self.waiting_for}")
        if out and now - self._moved_at > self._spec.options.stall_timeout:
            missing = f": {self.waiting_for}" if self.waiting_for and not consumers else self._where(out, at_work)
            raise Stalled(f"stalled: nothing moved for {self._spec.options.stall_timeout:.0f} s{missing}")

    def _still(self, seconds: float, out: int, at_work: int) -> str:
        """What is said of workers that are there and move nothing; "" while they may just be slow."""
        if seconds < min(SAY_AFTER, self._spec.options.stall_timeout / 2):
            return ""
        return f"nothing has moved for {human.duration(seconds)}{self._where(out, at_work)}"

    def _where(self, out: int, at_work: int) -> str:
        return f": {human.counted(at_work, 'task')} at work, {human.count(out - at_work)} in queue {self.queue}"

    def _renew_probe(self) -> None:
        """The file that workers look for may have changed since it was listed; then what it is now is announced."""
        if self._probe is None:
            return
        try:
            now = os.stat(os.path.join(os.fsencode(self._spec.source.local), decode_name(self._probe[0])))
        except OSError:
            return
        if (now.st_size, now.st_mtime_ns) != (self._probe[1], self._probe[2]):
            self._probe[1:3] = now.st_size, now.st_mtime_ns
            self.announce()

    def _missing(self, workers: dict[str, Any]) -> str:
        roots = " and ".join(f"{end.root} ({end.display()})" for end, _ in self._roots)
        need = f"serves root {roots}" if roots else "consumes hs.any"
        return f"no worker {need}; workers: {described(workers, self.queue)}"


def queue_of(spec: Spec) -> str:
    """The queue of a job's tasks: by the local roots that they touch."""
    names = sorted({end.root for end in (spec.source, spec.dest) if end.scheme == "file"})
    return f"hs.{'+'.join(names)}" if names else "hs.any"


def _probe(end: Location, key: str, entry: Entry) -> list[Any] | None:
    """What a worker's root must hold to be this end's; None of a store."""
    if end.scheme != "file":
        return None
    place = os.path.join(os.fsencode(end.path), decode_name(key))
    return [key, entry.size, entry.mtime_ns, place.hex()]


def as_root(location: Location, name: str) -> Location:
    """An embedded location: the folder itself is the root."""
    return Location("file", root=name, path="", local=location.local)
