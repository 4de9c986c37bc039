"""The coordinator: plan, enqueue, re-dispatch and checkpoint as one loop, held by one process at a time under a lease.

It can stop at any instant and be started again from the checkpoint in any process that sees both ends.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable

from hugesync_producer import latest
from hugesync_producer.checkpoint import Checkpoint, TakenOver
from hugesync_producer.deletes import Deletes
from hugesync_producer.dispatch import Dispatcher, Publish
from hugesync_producer.interrupts import Interrupts
from hugesync_producer.pace import SLOWED, Slowdown
from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.pool import Pool, Stalled
from hugesync_producer.scan import Signal
from hugesync_producer.units import Units
from hugesync_producer.window import Window
from hugesync_tasks.errors import HugeSyncError, Unreachable
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Event, Ledger
from hugesync_tasks.summary import Observer, Snapshot, State

LEASE_MS = 30_000
LEASE_EVERY = 5.0  # seconds between renewals
CHECKPOINT_EVERY = 1.0
OBSERVE_EVERY = 0.2
RATES_EVERY = 1.0  # while a store asks us to slow down
TELL_EVERY = 2.0  # for whoever asks in another process
LEDGER_PATIENCE = 60.0  # seconds a broker may be away (a restart, a failover) before the job is stalled


class Coordinator:
    """One run of one job. ``run`` returns the state it ended in; counters are in ``window``."""

    def __init__(
        self,
        job: JobContext,
        ledger: Ledger,
        publish: Publish,
        planner: PlanFeed,
        window: Window,
        deletes: Deletes,
        pool: Pool,
        checkpoint: Checkpoint,
        observer: Observer,
        tend: Callable[[], str],
        keep_more: Callable[[], object],
        owner: str,
        look_at_rates: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job, self._ledger, self._planner, self.window = job, ledger, planner, window
        self._id, self.deletes = job.spec.job, deletes
        self._pool, self._checkpoint, self._observer, self._tend, self._clock = pool, checkpoint, observer, tend, clock
        self._owner = owner  # of the job's lease, held already
        self._began = clock()
        self.dispatcher = Dispatcher(ledger, publish, self._id, clock)
        self.units = Units(job, ledger, self.dispatcher, window, pool)
        self._keep = keep_more
        self._due: dict[str, float] = {}
        self._events: deque[Event] = deque()
        self._workers_died = False  # and their leases are not ended yet
        self._unsaved = False  # whether K moved since the last checkpoint
        self.scan_complete = False
        self.traffic: dict[str, int] = {}
        self._slowdown = Slowdown()
        self._look_at_rates = look_at_rates  # of the stores; says with -v what changed, answers whether one is limited
        self._limited = False
        self._before: dict[str, int] = {}  # traffic of earlier runs of the job: a rate is of this run, and so is a sum

    def run(self) -> State:
        """Until everything is settled, or the job is cancelled or stopped by a conflict. Raises Unreachable (stalled),
        TakenOver (another coordinator has the job), and what the listings raise."""
        self.keep_now()
        self.units.epoch = self._ledger.take_over(self._id, self._owner)
        self._before = self._ledger.traffic(self._id)
        self._planner.start()
        try:
            with Interrupts() as interrupts:
                return self._loop(interrupts)
        finally:
            self.units.replan.stop()
            self._planner.stop()
            self.deletes.stop()

    def keep(self) -> None:
        """Renew what this process holds, when it is time to. Raises TakenOver where another process has the job now."""
        if self._is_due("lease", LEASE_EVERY):
            if not self._ledger.keep_lead(self._id, self._owner, LEASE_MS):
                raise TakenOver(self._id)
            self._keep()

    def keep_now(self) -> None:
        """``keep`` before something is written that only the leader may write."""
        self._due.pop("lease", None)
        self.keep()

    def save(self) -> None:
        """Write the checkpoint as it stands. Raises TakenOver, Unreachable."""
        self.window.advance()
        self._save()

    def step_down(self) -> None:
        """Give the lease back: another process may coordinate the job at once."""
        self._ledger.step_down(self._id, self._owner)

    def final_traffic(self) -> dict[str, int]:
        """The workers' traffic: the ledger's, or what was last seen of it where the ledger is gone."""
        try:
            self._count_traffic()
        except Unreachable:
            pass
        traffic = Counter(self.traffic)
        traffic.update(self.units.replan.token.meter.take())
        return dict(traffic)

    def _count_traffic(self) -> None:
        now = self._ledger.traffic(self._id)
        if any(now.get(name, 0) < n for name, n in self._before.items()):
            self._before = {}  # the ledger lost its data and counts from nothing
        self.traffic = {name: n - self._before.get(name, 0) for name, n in now.items()}

    @property
    def plan_notes(self) -> list[str]:
        """What the scan has to say to a person."""
        return self._planner.notes

    @property
    def scanned_anything(self) -> bool:
        """Whether the job got as far as having something to sum up."""
        return self.planned_anything or bool(self.window.key)

    @property
    def planned_anything(self) -> bool:
        """Whether this run did: both ends answered."""
        return self.scan_complete or not self.window.empty

    def _loop(self, interrupts: Interrupts) -> State:
        away_since: float | None = None
        while True:
            interrupts.check()
            try:
                state = self._turn()
                away_since = None
            except (Stalled, TakenOver):
                raise
            except Unreachable as error:
                away_since = away_since or self._clock()
                if not self._ledger_may_return(error, away_since):
                    raise
                continue
            if state is not None:
                return state

    def _turn(self) -> State | None:
        self.keep()
        self.units.collect()
        self._pull()
        if not self.window.empty or self.deletes.deleting:
            self._pool.probe(self._planner.first or self.deletes.first, self._planner.first_there)
        self.units.fill()
        if self.scan_complete and self.window.empty and not self._deleting():
            self._save()
            total = self.window.total()
            differs = total.tally.files["failed"] or total.failures or total.unmatched
            return State.DONE_WITH_ERRORS if differs else State.DONE
        busy = self.deletes.looking or (not self.scan_complete and self.units.room() > 0)
        self._events.extend(self._ledger.events(self._id, 0.02 if busy else 0.25))
        while self._events:  # one leaves when it has been taken into account: the ledger has forgotten it already
            self.units.on_event(self._events[0])
            self._events.popleft()
        self._unsaved = self.window.advance() or self.deletes.changed or self._unsaved
        if self._unsaved and self._is_due("checkpoint", CHECKPOINT_EVERY):
            self._save()
        self._look()
        if self._is_due("observe", OBSERVE_EVERY):
            self._observe()
        return self._told_to_stop()

    def _deleting(self) -> bool:
        return self.deletes.turn(self.dispatcher, self._pool, self.units.epoch, self._observer.on_notice)

    def _pull(self) -> None:
        """Take segments from the planner while the window has room for their work."""
        while not self.scan_complete and self.units.hungry():
            segment = self._planner.poll()
            if segment is None:
                return
            if isinstance(segment, Signal):
                self.scan_complete = True
                return
            self.units.add(segment)

    def _look(self) -> None:
        self.dispatcher.look(self._restore)
        if self._is_due("tend", 0.5):
            self._tend_workers()
            if self._workers_died:
                self.dispatcher.workers_died()
                self._workers_died = False
            self._pool.look(bool(self.dispatcher.out), self.dispatcher.progress)

    def _tend_workers(self) -> None:
        """Raises Stalled where the embedded processes cannot go on."""
        notice = self._tend()
        if notice:
            self._workers_died = True  # their leases are ended as soon as the ledger can be told
            self._observer.on_notice(notice)

    def _restore(self) -> None:
        """After a FLUSHALL: everything the ledger should hold is in this process's memory."""
        if self._ledger.spec(self._id) is not None:
            return
        self._observer.on_notice("the ledger lost its data; the work in flight is being dispatched again")
        self._ledger.open_job(self._id, json.dumps(self._job.spec.wire()))
        self._ledger.set_meta(self._id, state="running", epoch=str(self.units.epoch))
        self._ledger.keep_lead(self._id, self._owner, LEASE_MS)
        self._pool.offer()
        self._pool.announce()
        self.units.restore()
        self._save()

    def _save(self) -> None:
        try:
            self._checkpoint.write(self._owner, self.window)
        except TakenOver:  # or the lease is nobody's: flushed, or this process stood still
            self.keep_now()
            self._checkpoint.write(self._owner, self.window)
        self._unsaved = self.deletes.changed = False

    def _told_to_stop(self) -> State | None:
        if self.units.conflict_stop or self.deletes.conflict_stop:
            self._ledger.cancel(self._id)
            return State.CONFLICT
        if self._is_due("cancel", 1.0):
            meta = self._ledger.meta(self._id)
            if meta.get("cancel") == "1":
                return State.CANCELLED
            if "state" not in meta:  # flushed: new tasks must not meet a ledger that does not know their job
                self._restore()
        return None

    def _observe(self) -> None:
        total = self.window.total()
        self._count_traffic()
        moved = sum(self.traffic.get(f"bytes.{n}", 0) for n in ("sent", "received", "copied_server_side", "reused"))
        self.dispatcher.progress = (moved, self.window.key, len(self.dispatcher.out))
        slow = self._slowdown.saw(self._throttled(), self._clock())
        if (slow or self._limited) and self._is_due("rates", RATES_EVERY):
            self._limited = self._look_at_rates()
        snapshot = Snapshot(
            total.tally.files,
            total.tally.bytes,
            moved,
            self.scan_complete,
            self._clock() - self._began,
            self.units.in_flight(),
            slow,
            waiting_for=self._pool.waiting_for,
        )
        self._observer.on_progress(snapshot)
        if self._is_due("tell", TELL_EVERY):
            self._ledger.tell(self._id, json.dumps(latest.wire(snapshot, total, self.traffic)))

    def _throttled(self) -> int:
        """How often a store asked for less, or a call waited for that: the workers, the listings, and the second looks at
        large files."""
        again = self.units.replan.token.meter
        return self._planner.throttled + sum(self.traffic.get(name, 0) + again.count(name) for name in SLOWED)

    def _ledger_may_return(self, error: HugeSyncError, since: float) -> bool:
        self._tend_workers()  # embedded, the ledger is a child of ours, and whether it lives is known at once
        if self._clock() - since > LEDGER_PATIENCE:
            return False
        if self._is_due("away", 5.0):
            self._observer.on_notice(f"waiting for the ledger: {error}")
        time.sleep(0.5)
        return True

    def _is_due(self, what: str, every: float) -> bool:
        now = self._clock()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every
        return True
