"""A job's part in workers that several jobs use: it tells the ledger its stake, hears the others', and takes no more than its turn
(``hugesync_tasks.share`` decides, ``docs/sharing.md`` says why)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from hugesync_producer.dispatch import Dispatcher, cost
from hugesync_tasks import share
from hugesync_tasks.caps import Caps, endpoint_of
from hugesync_tasks.identity import place_id
from hugesync_tasks.share import HEARD, Room, Stake
from hugesync_tasks.state.base import Ledger

LOOK = 0.2  # seconds between two looks of a job that is alone
LOOK_BESIDE = 0.05  # and of one that is not
RESTED = 1.0  # seconds without anything to send, after which a job has no claim on what was given out meanwhile
ENDPOINTS_LOOK = 1.0  # seconds between two looks at what an operator allows at the endpoints
PACED = 1.0  # seconds over which the tasks settled are counted


class Endpoints:
    """The stores' endpoints that a job uses, and how many tasks of all jobs may be out there at once."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger, self._clock = ledger, clock
        self._said: dict[str, dict[str, str]] = {}
        self._looked = float("-inf")
        self.urls: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(place_id(url) for url in self.urls)

    def use(self, urls: Iterable[str]) -> None:
        """These are the stores of the job; a folder has none."""
        for url in urls:
            try:
                self.urls = tuple(dict.fromkeys((*self.urls, endpoint_of(url))))
            except ValueError:  # mounted
                continue

    def most(self) -> dict[str, int]:
        """Endpoint's id -> tasks that may be out there, of those that have such a limit. Raises Unreachable."""
        if self.urls and self._clock() - self._looked >= ENDPOINTS_LOOK:
            self._looked = self._clock()
            said = self._ledger.endpoints()
            self._said.update({url: said[url] for url in self.urls if url in said})
        caps = {url: Caps().told(said).jobs for url, said in self._said.items()}
        return {place_id(url): jobs for url, jobs in caps.items() if jobs}

    def restore(self) -> None:
        for url, said in self._said.items():
            self._ledger.limit_endpoint(url, said)


class Shares:
    """One job's. ``queues``: those that the workers of its queue serve."""

    def __init__(self, ledger: Ledger, job: str, queue: str, clock: Callable[[], float]) -> None:
        self._ledger, self._job, self._clock = ledger, job, clock
        self.queues = {queue}
        self.weight = 1
        self.limited = False  # by a limit of its own
        self.ends: tuple[str, ...] = ()  # ids of the endpoints it uses
        self.head = ""  # its oldest task that waits, where nothing of it runs
        self._mine = Stake(queue)
        self._heard: list[Stake] = []  # every other job that lives, on whatever workers
        self._others: list[Stake] = []
        self._looked = self._wanted = self._made_way = self._shown = float("-inf")
        self._alone = True  # nobody else had work when it was looked last
        self._rested = True  # since the last look that was answered
        self._charged, self._held = 0, 0.0  # bytes that were given out and seconds of slots, as told last
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
        held, self._held = dispatcher.held - self._held, dispatcher.held
        if wants:
            self._rested = self._rested or now - self._wanted > RESTED
            self._wanted = now
        wants = now - self._wanted < LOOK  # the next segment is being taken from the plan, perhaps
        step, turn = dispatcher.dearest / self.weight, mine.turn + given / self.weight
        left = sum(max(0, cost(out.task) - out.seen.moved) for out in dispatcher.out.values())
        done = turn - left / self.weight
        self._mine = replace(
            mine, wants=wants, turn=turn, done=done, held=mine.held + held / self.weight, step=step, pace=pace
        )

    def room(self, out: int, window: int, slots: int) -> Room:
        """What may be sent now. Raises Unreachable."""
        self._look()
        return share.room(self._as_of(out), self._others, slots, window)

    def surplus(self, out: int, window: int, slots: int) -> int:
        """How many tasks that nobody has begun are to be taken back; asked for at most every ``LOOK``, and at once when another job
        came."""
        alone, self._alone = self._alone, not self._others
        if not self._others or (self._clock() - self._made_way < LOOK and not alone):
            return 0
        self._made_way = self._clock()
        return share.surplus(self._as_of(out), self._others, slots, window, alone)

    def among(self, most: Mapping[str, int], out: int) -> int:
        """How many tasks may be sent where so many of all jobs may be out at each endpoint."""
        mine = self._as_of(out)
        return min(share.quota(mine, [o for o in self._heard if end in o.ends], n) for end, n in most.items())

    def show(self, dispatcher: Dispatcher) -> None:
        """Name the task that another job's process may do beside its own, where nothing of this job is at work."""
        if not self._others:
            self.head = ""
        elif self._clock() - self._shown >= LOOK:
            self._shown = self._clock()
            task = dispatcher.head() if share.entitled(self._mine, self._others) else None
            self.head = f"{task.queue} {task.id}" if task is not None else ""

    def leave(self) -> None:
        """The job has ended, or sends nothing for now. Raises Unreachable."""
        self._ledger.share(self._job, "")

    def _as_of(self, out: int) -> Stake:
        return replace(self._mine, weight=self.weight, out=out, limited=self.limited, ends=self.ends)

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < (LOOK_BESIDE if self._others else LOOK):
            return
        rows = self._ledger.share(self._job, self._mine.wire(), self.head)
        self._looked = now
        self._heard = [Stake.unwire(row) for job, (row, age) in rows.items() if job != self._job and age < HEARD]
        self._others = share.active(self._heard, self.queues)
        self._mine = share.joined(self._mine, self._others, self._rested)
        if self._mine.wants:
            self._rested = False
