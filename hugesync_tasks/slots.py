"""How many child processes of a worker take tasks, changed while it runs.

In the main process, between two of its event loop's rounds. A child that is to go is told so through the pipe its tasks come by:
it finishes what it has in hand, finds that word next, and ends. None is ever killed, and none is handed a task afterwards, so that
neither Celery's idea of who is busy nor the moment a task is under way to a child matters (billiard's own ``shrink`` sends
SIGTERM to whoever has not acknowledged a task yet).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from celery.worker import state

from hugesync_tasks.register import known_as
from hugesync_tasks.state.base import AS_PLANNED, EVERYONE

AT_ONCE = 16  # children started in one step; billiard takes a hundred in a second for a loop of crashes
LEAST = 1  # a paused worker keeps one child, for a message that was on its way to it

log = logging.getLogger(__name__)


def wanted(wishes: Mapping[str, int], name: str) -> int | None:
    """What a person wants of the worker ``name``: of itself, of its host, of everyone; None = nothing was said."""
    for whom in (*known_as(name), EVERYONE):
        if whom in wishes:
            return wishes[whom]
    return None


class Slots:
    """``now`` children take tasks; 0 = the worker takes nothing from its queues."""

    def __init__(self, planned: int, scales: bool) -> None:
        """``scales``: autoscaling finds the number where no person does."""
        self.planned, self.scales = planned, scales
        self.now = planned
        self.wished = False  # by a person: then nothing else changes it
        self._consumer: Any = None
        self._retiring: set[int] = set()  # pids that were told to go

    def attach(self, consumer: Any) -> None:
        """To a consumer that begins, or begins anew after its broker was away."""
        self._consumer = consumer
        channel = consumer.task_consumer.channel
        qos = channel.qos
        prefetch = type(qos).can_consume

        def can_consume() -> bool:
            """What was asked of Redis already may hold a message that is in no queue any more: its answer is always read."""
            return bool(channel._in_poll) or (self._room() and prefetch(qos))

        qos.can_consume = can_consume

    def close(self) -> None:
        """Take nothing more; the pool stays as it is."""
        self.now = 0

    def idle(self) -> bool:
        """Whether nothing is in hand, and nothing on its way."""
        return not self._in_hand() and not self._consumer.task_consumer.channel._in_poll

    def heed(self, wishes: Mapping[str, int], name: str) -> None:
        """Do what a person wants. What is no longer said stays as it is: a ledger may have lost it."""
        wish = wanted(wishes, name)
        if wish is None:
            return
        self.wished = wish != AS_PLANNED
        if self.wished:
            self.resize(wish, "hugesync scale")
        elif self.now == 0 or not self.scales:
            self.resize(self.planned, "hugesync scale plan")

    def resize(self, slots: int, why: str) -> None:
        """So many from now on; ``follow`` brings the pool there."""
        if slots != self.now:
            log.info("children: %d → %d (%s)", self.now, slots, why)
            self.now = slots

    def follow(self) -> None:
        """Bring the pool nearer to what it should be."""
        pool = self._consumer.pool._pool
        self._retiring &= {child.pid for child in pool._pool}
        missing = max(LEAST, self.now) - pool._processes
        if missing > 0:
            self._grow(min(missing, AT_ONCE))
        elif missing < 0:
            self._retire(pool, -missing)

    def _grow(self, n: int) -> None:
        self._consumer.pool.grow(n)
        self._consumer.pool.maintain_pool()
        self._consumer._update_prefetch_count(n)

    def _retire(self, pool: Any, n: int) -> None:
        able = [child for child in pool._pool if child.inqW_fd in pool._all_inqueues - pool._active_writes]
        for child in sorted(able, key=lambda child: child.inqW_fd in pool._busy_workers)[:n]:
            try:
                child.inq.put(None)
            except OSError:  # it has just died
                continue
            pool._all_inqueues.discard(child.inqW_fd)  # it is handed nothing more
            child._controlled_termination = True  # that it ends is no news
            pool._processes -= 1
            pool._putlock.shrink()
            self._retiring.add(child.pid)
            self._consumer._update_prefetch_count(-1)

    def _in_hand(self) -> int:
        """Tasks that were taken and have not ended. Celery forgets its own when its broker was away; the pool does not."""
        pool = self._consumer.pool._pool  # None when it has been stopped
        return max(len(state.reserved_requests), len(pool._busy_workers) if pool is not None else 0)

    def _room(self) -> bool:
        """Whether a child that stays would be free for one more task."""
        pool = self._consumer.pool._pool
        if pool is None:
            return False
        busy = sum(child.inqW_fd in pool._busy_workers for child in pool._pool if child.pid in self._retiring)
        staying = sum(child.pid not in self._retiring for child in pool._pool)
        return self._in_hand() - busy < min(self.now, staying)
