"""The coordinator: plan, enqueue, re-dispatch and checkpoint as one loop, held by one process at a time under a lease.

It can stop at any instant and be started again from the checkpoint in any process that sees both ends.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable

from hugesync_producer.checkpoint import Checkpoint, TakenOver
from hugesync_producer.deletes import Deletes
from hugesync_producer.dispatch import CHECK_EVERY, Dispatcher, Publish
from hugesync_producer.due import Due
from hugesync_producer.interrupts import Interrupts
from hugesync_producer.observing import Observing
from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.pool import Pool, Stalled
from hugesync_producer.scan import Signal
from hugesync_producer.stopping import INTERRUPTED, Stop, pause_notice, stopping
from hugesync_producer.units import Units
from hugesync_producer.window import Window
from hugesync_tasks.errors import HugeSyncError, Unreachable
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Event, Ledger
from hugesync_tasks.summary import Observer, State

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
        asked: Callable[[], Stop | None] = lambda: None,
    ) -> None:
        self._asked = asked  # whether the run is to stop for another reason than a signal
        self._job, self._ledger, self.planner, self.window = job, ledger, planner, window
        self._id, self.deletes = job.spec.job, deletes
        self._pool, self._checkpoint, self._observer, self._tend, self._clock = pool, checkpoint, observer, tend, clock
        self._owner = owner  # of the job's lease, held already
        self._began = clock()
        self.dispatcher = Dispatcher(ledger, publish, self._id, clock)
        self.units = Units(job, ledger, self.dispatcher, window, pool)
        self._keep = keep_more
        self._is_due = Due(clock)
        self._events: deque[Event] = deque()
        self._workers_died = False  # and their leases are not ended yet
        self._unsaved = False  # whether K moved since the last checkpoint
        self.scan_complete = False
        self.observing = Observing(ledger, self.units, planner, look_at_rates)
        self.stop: Stop | None = None  # the run was told to stop
        self._until = 0.0  # when it stops, whatever is in hand then
        self._paused = False
        self.tries: Callable[[float], bool] = lambda now: False  # of what failed and may pass (``lasttries``)
        self.give_names: Callable[[], object] = lambda: None  # leaves the job's list in the ledger (``keptnames``)

    def run(self, drains: bool = True) -> State:
        """Until everything is settled, the job is cancelled or stopped by a conflict, or what was in hand when the run was told to
        stop (``drain``; the first signal) has finished. ``drains`` false: the first signal raises KeyboardInterrupt, as a second
        one always does. Raises Unreachable (stalled), TakenOver (another coordinator has the job), and what the listings raise."""
        self.keep_now()
        self.units.epoch = self._ledger.take_over(self._id, self._owner)
        self.observing.begin()
        self._paused = self._ledger.meta(self._id).get("pause") == "1"
        self.planner.start()
        try:
            with Interrupts() as interrupts:
                return self._loop(interrupts, drains)
        finally:
            self.units.replan.stop()
            self.planner.stop()
            self.deletes.stop()

    def keep(self) -> None:
        """Renew what this process holds, when it is time to. Raises TakenOver where another process has the job now."""
        if self._is_due("lease", LEASE_EVERY):
            if not self._ledger.keep_lead(self._id, self._owner, LEASE_MS):
                raise TakenOver(self._id)
            self._keep()

    def keep_now(self) -> None:
        """``keep`` before something is written that only the leader may write."""
        self._is_due.at_once("lease")
        self.keep()

    def save(self) -> None:
        """Write the checkpoint as it stands. Raises TakenOver, Unreachable."""
        self.window.advance()
        self._save()

    def step_down(self) -> None:
        """Give the lease back: another process may coordinate the job at once."""
        self._ledger.step_down(self._id, self._owner)

    def drain(self, stop: Stop) -> None:
        """Stop the run: nothing more is planned or sent, what workers have in hand may finish, then ``run`` returns the state of
        ``stop``. Said once; a later call changes nothing. To be called between two turns, or by the observer."""
        if self.stop is not None:
            return
        self.stop, self._until = stop, self._clock() + stop.patience
        self.planner.stop()
        self.deletes.stop()
        self._observer.on_notice(stopping(stop, bool(self.dispatcher.out)))

    @property
    def scanned_anything(self) -> bool:
        """Whether the job got as far as having something to sum up."""
        return self.planned_anything or bool(self.window.key)

    @property
    def planned_anything(self) -> bool:
        """Whether this run did: both ends answered."""
        return self.scan_complete or not self.window.empty

    def _loop(self, interrupts: Interrupts, drains: bool) -> State:
        away_since: float | None = None
        while True:
            if not drains:
                interrupts.check()
            elif interrupts.noted:
                self.drain(INTERRUPTED)
            if (stop := self._asked()) is not None:
                self.drain(stop)
            try:
                state = self._turn()
                away_since = None
            except (Stalled, TakenOver):
                raise
            except Unreachable as error:
                if self.stop is not None:  # what is in hand cannot be asked for
                    return self.stop.state
                away_since = away_since or self._clock()
                if not self._ledger_may_return(error, away_since):
                    raise
                continue
            if state is not None:
                return state

    def _turn(self) -> State | None:
        self.keep()
        if self._held:
            self.units.take_back()
        elif (state := self._send()) is not None:
            return state
        busy = not self._held and (self.deletes.looking or (not self.scan_complete and self.units.room().tasks > 0))
        wait = 0.02 if busy else 0.05 if self.units.contends else 0.25
        self._events.extend(self._ledger.events(self._id, wait))
        while self._events:  # one leaves when it has been taken into account: the ledger has forgotten it already
            self.units.on_event(self._events[0])
            self._events.popleft()
        self._unsaved = self.window.advance() or self.deletes.changed or self._unsaved
        if self._unsaved and self._is_due("checkpoint", CHECKPOINT_EVERY):
            self._save()
        self._look()
        if self._is_due("observe", OBSERVE_EVERY):
            self._observe()
        told = self._told_to_stop()
        if told is None and self.stop is not None and self._drained():
            self.save()
            return self.stop.state
        return told

    @property
    def _held(self) -> bool:
        """Whether nothing may be sent."""
        return self._paused or self.stop is not None

    def _send(self) -> State | None:
        """Plan, and send what there is room for; the state where nothing is left to be done."""
        self.units.collect()
        self._pull()
        if not self.window.empty or self.deletes.deleting:
            self._pool.probe(self.planner.first or self.deletes.first, self.planner.first_there)
        self.units.fill()
        if not self.scan_complete or not self.window.empty or self.tries(self._clock()) or self._deleting():
            return None
        self._save()
        total = self.window.total()
        differs = total.tally.files["failed"] or total.failures or total.unmatched
        return State.DONE_WITH_ERRORS if differs else State.DONE

    def _drained(self) -> bool:
        if not self.dispatcher.in_hand or self._clock() >= self._until:
            self.observing.inside.look()
            return True
        return False

    def _deleting(self) -> bool:
        return self.deletes.turn(self.dispatcher, self._pool, self.units.epoch, self._observer.on_notice)

    def _pull(self) -> None:
        """Take segments from the planner while the window has room for their work."""
        while not self.scan_complete and self.units.hungry():
            segment = self.planner.poll()
            if segment is None:
                return
            if isinstance(segment, Signal):
                self.scan_complete = True
                return
            self.units.add(segment)

    def _look(self) -> None:
        self.dispatcher.look(self._restore, resend=not self._held)
        if self._is_due("tend", 0.5):
            self._tend_workers()
            if self._workers_died:
                self.dispatcher.workers_died()
                self._workers_died = False
            out, running = (0, 0) if self._held else (len(self.dispatcher.out), self.dispatcher.running)
            self._pool.look(out, self.dispatcher.progress, running)

    def _tend_workers(self) -> None:
        """Raises Stalled where the embedded processes cannot go on."""
        if notice := self._tend():
            self._workers_died = True  # their leases are ended as soon as the ledger can be told
            self._observer.on_notice(notice)

    def _restore(self) -> None:
        """After a FLUSHALL: everything the ledger should hold is in this process's memory."""
        if self._ledger.spec(self._id) is not None:
            return
        self._observer.on_notice("the ledger lost its data; the work in flight is being dispatched again")
        self._ledger.open_job(self._id, json.dumps(self._job.spec.wire()))
        meta = {"state": "running", "epoch": str(self.units.epoch), "pause": str(int(self._paused))}
        self._ledger.set_meta(self._id, **meta, **self.observing.caps.wire())
        self.give_names()
        self._ledger.keep_lead(self._id, self._owner, LEASE_MS)
        self._pool.restore()
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
            if notice := self.observing.limited(meta, self._checkpoint):
                self._observer.on_notice(notice)
            if self._paused != (meta.get("pause") == "1"):
                self._paused = not self._paused
                self._observer.on_notice(pause_notice(self._id, self._paused))
        return None

    def _observe(self) -> None:
        now, rates_due = self._clock(), self._is_due("rates", RATES_EVERY)
        if self._is_due("inside", CHECK_EVERY):
            self.observing.inside.look()
        waits = stopping(self.stop, True) if self.stop is not None else self._pool.waiting_for
        shot = (now, now - self._began, self.scan_complete, waits, self._paused, rates_due)
        snapshot, total = self.observing.snapshot(*shot)
        self._observer.on_progress(snapshot)
        if self._is_due("tell", TELL_EVERY):
            self.observing.tell(snapshot, total)

    def _ledger_may_return(self, error: HugeSyncError, since: float) -> bool:
        self._tend_workers()  # embedded, the ledger is a child of ours, and whether it lives is known at once
        if self._clock() - since > LEDGER_PATIENCE:
            return False
        if self._is_due("away", 5.0):
            self._observer.on_notice(f"waiting for the ledger: {error}")
        time.sleep(0.5)
        return True
