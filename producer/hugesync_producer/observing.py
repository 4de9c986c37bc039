"""What is told of a running job: to its observer five times a second, to the ledger for whoever asks in another process."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from hugesync_producer import human, latest
from hugesync_producer.checkpoint import Checkpoint
from hugesync_producer.inside import Inside
from hugesync_producer.pace import SLOWED, Slowdown
from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.pool import SAY_AFTER
from hugesync_producer.units import Units
from hugesync_producer.window import Counters
from hugesync_tasks.config_units import show_rate
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.summary import MOVED, Snapshot


class Observing:
    """The counters of one run as they stand. ``look_at_rates``: of the stores; says with -v what changed, answers whether one is
    limited."""

    def __init__(self, ledger: Ledger, units: Units, planner: PlanFeed, look_at_rates: Callable[[], bool]) -> None:
        self._ledger, self._units, self._planner, self._look_at_rates = ledger, units, planner, look_at_rates
        self._job = units.job.spec.job
        self.inside = Inside(ledger, self._job, units.dispatcher)
        self.traffic: dict[str, int] = {}
        self._before: dict[str, int] = {}  # traffic of earlier runs of the job: a rate is of this run, and so is a sum
        self._slowdown = Slowdown()
        self._met, self._met_at = -1, 0.0  # entries that the listings had brought, and since when they are so many
        self._limited = False
        self.bwlimit = units.job.spec.options.bwlimit  # as the ledger has it

    def begin(self) -> None:
        self._before = self._ledger.traffic(self._job)

    def total(self) -> Counters:
        """All counters as of now, with what is finished inside batches."""
        total = self._units.window.total()
        self.inside.count_in(total)
        total.tally.assert_law()
        return total

    def final_traffic(self) -> dict[str, int]:
        """The workers' traffic: the ledger's, or what was last seen of it where the ledger is gone."""
        try:
            self._count_traffic()
        except Unreachable:
            pass
        traffic = Counter(self.traffic)
        traffic.update(self._units.replan.token.meter.take())
        return dict(traffic)

    def _count_traffic(self) -> None:
        now = self._ledger.traffic(self._job)
        if any(now.get(name, 0) < n for name, n in self._before.items()):
            self._before = {}  # the ledger lost its data and counts from nothing
        self.traffic = {name: n - self._before.get(name, 0) for name, n in now.items()}

    def snapshot(
        self, now: float, elapsed: float, scan_complete: bool, waiting_for: str, paused: bool, rates_due: bool
    ) -> tuple[Snapshot, Counters]:
        """``now`` and ``elapsed`` in seconds, on any clock and since the run began. Raises Unreachable."""
        self._count_traffic()
        total, dispatcher = self.total(), self._units.dispatcher
        told = {name: self.traffic.get(f"bytes.{name}", 0) for name in MOVED}
        moved = sum(told.values())
        worked = self.traffic.get("worked", 0)  # also where nothing crosses a network: what is hashed, or compared
        dispatcher.progress = (moved, worked, self._units.window.key, len(dispatcher.out), dispatcher.ended)
        slow = self._slowdown.saw(self._throttled(), now)
        if (slow or self._limited) and rates_due:
            self._limited = self._look_at_rates()
        shot = Snapshot(
            total.tally.files,
            total.tally.bytes,
            moved,
            scan_complete,
            elapsed,
            self._units.in_flight(),
            slow,
            waiting_for or self._listings(now, scan_complete),
            skipped_by=total.tally.skipped_by,
            traffic=told,
            paused=paused,
            counted={**self.traffic, "conflicts": total.conflicts},
        )
        return shot, total

    def _listings(self, now: float, scan_complete: bool) -> str:
        """What is said of listings that bring nothing, while nothing else is left to be done. They end by their own time-outs, but
        for a filesystem that hangs: of that nothing is known but this."""
        if self._planner.met != self._met or self._units.dispatcher.out or scan_complete:
            self._met, self._met_at = self._planner.met, now
        if now - self._met_at < SAY_AFTER:
            return ""
        return f"the listings have brought nothing for {human.duration(now - self._met_at)}"

    def tell(self, snapshot: Snapshot, total: Counters) -> None:
        self._ledger.tell(self._job, json.dumps(latest.wire(snapshot, total, self.traffic, self.bwlimit)))

    def limited(self, told: str | None, checkpoint: Checkpoint) -> str:
        """Take the bandwidth limit that the ledger has by now into account; a notice where it is another."""
        rate = self.bwlimit if told is None else int(told)
        if rate == self.bwlimit:
            return ""
        self.bwlimit = rate
        checkpoint.keep(bwlimit=rate)
        return f"the bandwidth limit is {show_rate(rate)} now"

    def _throttled(self) -> int:
        """How often a store asked for less, or a call waited for that: the workers, the listings, and the second looks at
        large files."""
        again = self._units.replan.token.meter
        return self._planner.throttled + sum(self.traffic.get(name, 0) + again.count(name) for name in SLOWED)
