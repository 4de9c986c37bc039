"""A job's part in workers that several jobs use: it tells the ledger its stake, hears the others', and takes no more than its turn
(``hugesync_tasks.share`` decides, ``docs/sharing.md`` says why)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hugesync_producer.dispatch import Dispatcher, cost
from hugesync_tasks import share
from hugesync_tasks.share import HEARD, Room, Stake
from hugesync_tasks.state.base import Ledger

LOOK = 0.2  # seconds between two looks of a job that is alone
LOOK_BESIDE = 0.05  # and of one that is not
RESTED = 1.0  # seconds without anything to send, after which a job has no claim on what was given out meanwhile
PACED = 1.0  # seconds over which the tasks settled are counted


class Shares:
    """One job's. ``queues``: those that the workers of its queue serve."""

    def __init__(self, ledger: Ledger, job: str, queue: str, clock: Callable[[], float]) -> None:
        self._ledger, self._job, self._clock = ledger, job, clock
        self.queues = {queue}
        self.weight = 1
        self.limited = False  # by a limit of its own
        self.head = ""  # its oldest task that waits, where nothing of it runs
        self._mine = Stake(queue)
        self._others: list[Stake] = []
        self._sent = self._content = clock()  # when something was sent last, and when there was nothing to send
        self._looked = self._wanted = self._made_way = self._shown = float("-inf")
        self._rested = True  # since the last look that was answered
        self._charged = 0  # bytes that were given out, as told last
        self._ended, self._ended_at = 0, clock()

    @property
    def beside(self) -> bool:
        """Whether another job has work for the same workers."""
        return bool(self._others)

    def tell(self, dispatcher: Dispatcher, wants: bool) -> None:
        """How the job stands; ``wants``: it has more to send."""
        now, mine = self._clock(), self._as_of(len(dispatcher.out))
        given, self._charged = dispatcher.charged - self._charged, dispatcher.charged
        pace = mine.pace
        if now - self._ended_at >= PACED:
            pace = (pace + (dispatcher.ended - self._ended) / (now - self._ended_at)) / 2
            self._ended, self._ended_at = dispatcher.ended, now
        self._sent = now if given > 0 else self._sent
        self._content = self._content if wants else now
        step, turn = dispatcher.dearest / self.weight, mine.turn + given / self.weight
        self._mine = replace(mine, wants=wants, turn=turn, step=step, pace=pace)
        if wants:
            self._rested = self._rested or now - self._wanted > RESTED
            self._wanted = now

    def room(self, out: int, window: int, slots: int) -> Room:
        """What may be sent now. Raises Unreachable."""
        self._look()
        waited = self._clock() - max(self._sent, self._content)
        return share.room(self._as_of(out), self._others, slots, window, waited)

    def surplus(self, out: int, window: int, slots: int) -> int:
        """How many tasks that nobody has begun are to be taken back; asked for at most every ``LOOK``."""
        if not self._others or self._clock() - self._made_way < LOOK:
            return 0
        self._made_way = self._clock()
        return share.surplus(self._as_of(out), self._others, slots, window)

    def show(self, dispatcher: Dispatcher) -> None:
        """Name the task that another job's process may do beside its own, where nothing of this job is at work."""
        if not self._others:
            self.head = ""
        elif self._clock() - self._shown >= LOOK:
            self._shown = self._clock()
            waiting = sum(cost(out.task) for out in dispatcher.out.values())
            fair = share.entitled(self._mine, self._others, waiting)
            task = dispatcher.head() if fair else None
            self.head = f"{task.queue} {task.id}" if task is not None else ""

    def leave(self) -> None:
        """The job has ended, or sends nothing for now. Raises Unreachable."""
        self._ledger.share(self._job, "")

    def _as_of(self, out: int) -> Stake:
        return replace(self._mine, weight=self.weight, out=out, limited=self.limited)

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < (LOOK_BESIDE if self._others else LOOK):
            return
        rows = self._ledger.share(self._job, self._mine.wire(), self.head)
        self._looked = now
        heard = [Stake.unwire(row) for job, (row, age) in rows.items() if job != self._job and age < HEARD]
        self._others = share.active(heard, self.queues)
        self._mine = replace(self._mine, turn=share.joined(self._mine, self._others, self._rested))
        if self._mine.wants:
            self._rested = False
