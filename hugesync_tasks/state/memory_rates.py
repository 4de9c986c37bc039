"""What processes share, of the ledger in memory: rates of stores, limits, and the workers among jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Condition

from hugesync_tasks import bucket
from hugesync_tasks.aimd import SILENT, Grant, Rate, Report, exchange
from hugesync_tasks.state.base import SHARES_MS


@dataclass(slots=True)
class Drawn:
    taken: bucket.Taken = field(default_factory=bucket.Taken)
    by: dict[str, float] = field(default_factory=dict)  # process -> when it drew


class MemoryRates:
    clock: Callable[[], float]
    _changed: Condition

    def _flush_rates(self) -> None:
        self._limits: dict[str, dict[str, str]] = {}  # endpoint -> its limits
        self._buckets: dict[tuple[str, str, str], Drawn] = {}  # (job or endpoint, of, place)
        self._rates: dict[str, Rate] = {}
        self._shares: dict[str, tuple[str, str, float]] = {}  # job -> its row, its head, when it told them
        self._sharers: dict[str, dict[str, float]] = {}  # place -> sharer -> when it was heard

    def _said(self, job: str, of: str) -> str | None:
        """What the job's ``meta`` has of a limit."""
        raise NotImplementedError

    # shares of the workers
    def share(self, job: str, row: str, head: str = "") -> dict[str, tuple[str, float]]:
        with self._changed:
            now = self.clock()
            told = {job: (row, head, now)} if row else {}
            mine = {j: r for j, r in self._shares.items() if j != job} | told
            self._shares = {j: r for j, r in mine.items() if now - r[2] < SHARES_MS / 1000}
            return {j: (r, now - at) for j, (r, _, at) in self._shares.items()}

    def heads(self) -> dict[str, str]:
        with self._changed:
            return {job: head for job, (_, head, _) in self._shares.items() if head}

    # rates
    def share_rate(self, place: str, sharer: str, report: Report) -> Grant:
        with self._changed:
            now = self.clock()
            heard = {**self._sharers.get(place, {}), sharer: now}
            self._sharers[place] = {who: when for who, when in heard.items() if when > now - SILENT}
            state = self._rates.get(place, Rate(now))
            self._rates[place], grant = exchange(state, report, len(self._sharers[place]), now)
            return grant

    def draw(self, job: str, sharer: str, need: int, busy: bool, of: str = "bwlimit") -> bucket.Grant:
        with self._changed:
            return self._drawn((job, of, ""), self._said(job, of), sharer, need, busy)

    def draw_at(self, endpoint: str, prefix: str, sharer: str, need: int, busy: bool, of: str) -> bucket.Grant:
        with self._changed:
            where = (endpoint, of, prefix if of == "tpslimit" else "")
            said = self._limits.get(endpoint, {}).get(of)
            return self._drawn(where, said, sharer, need, busy)

    def _drawn(self, where: tuple[str, str, str], said: str | None, sharer: str, need: int, busy: bool) -> bucket.Grant:
        if said is None or float(said) == 0:
            return bucket.Grant(None if said is None else 0.0)
        now, kept = self.clock(), self._buckets.setdefault(where, Drawn())
        kept.by = {w: at for w, at in {**kept.by, sharer: now}.items() if at > now - bucket.SILENT}
        kept.taken, grant = bucket.draw(kept.taken, float(said), need, busy, len(kept.by), now)
        return grant

    def limit_endpoint(self, endpoint: str, said: Mapping[str, str]) -> None:
        with self._changed:
            self._limits.setdefault(endpoint, {}).update(said)

    def endpoints(self) -> dict[str, dict[str, str]]:
        with self._changed:
            return {endpoint: dict(said) for endpoint, said in self._limits.items()}
