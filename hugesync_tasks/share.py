"""Whose tasks are next, where several jobs have work for the same workers: by the bytes each has had, and its weight. Pure.

Start-time fair queueing without a judge: every job tells how much it was given (``turn``: bytes by weight), and of those that
want to send the one with the lowest turn may. ``docs/sharing.md`` has the reasons. Times are seconds, costs bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace

HEARD = 3.0  # seconds; who was not heard for so long does not count
LEAST_COST = 256 << 10  # bytes that a task counts for at least: one without any takes a slot's time, too
BEHIND = 16  # tasks
FAIR = 16  # nobody has less of the slots' time than so much less than its share, whatever the bytes say
AHEAD = 0.5  # seconds of work that lie in the queue beside a task per slot


@dataclass(frozen=True, slots=True)
class Stake:
    """What a job tells the others."""

    queue: str
    weight: int = 1
    out: int = 0  # tasks that are put and not settled
    wants: bool = False  # it has more to send than it may
    turn: float = 0.0  # bytes that were given out, divided by the weight
    done: float = 0.0  # the same without what is out and not moved yet
    held: float = 0.0  # seconds of slots that it had, divided by the weight
    step: float = 0.0  # how far its dearest task moves the turn
    pace: float = 0.0  # tasks settled per second
    limited: bool = False  # by a limit of its own: its tasks wait in the slots
    ends: tuple[str, ...] = ()  # the endpoints it touches

    @property
    def active(self) -> bool:
        return self.wants or self.out > 0

    def wire(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def unwire(cls, text: str) -> Stake:
        """Fields of another release are ignored."""
        known = {f.name for f in fields(cls)}
        row = {k: v for k, v in json.loads(text).items() if k in known}
        return cls(**row | {"ends": tuple(row.get("ends", ()))})


@dataclass(frozen=True, slots=True)
class Room:
    """What may be sent now: ``sure`` tasks whatever they cost, up to ``free`` while what they cost is within ``credit``."""

    sure: int
    free: int
    credit: float = math.inf

    def takes(self, sent: int, spent: float) -> bool:
        return sent < self.sure or (sent < self.free and spent <= self.credit)

    @property
    def tasks(self) -> int:
        """How many may be sent of those that cost nothing."""
        return max(self.sure, self.free if self.credit >= 0 else 0)

    def most(self, tasks: int) -> Room:
        """No more than ``tasks``."""
        return replace(self, sure=max(0, min(self.sure, tasks)), free=max(0, min(self.free, tasks)))


def active(others: Iterable[Stake], queues: set[str]) -> list[Stake]:
    """Those that have work for workers who serve ``queues``."""
    return [other for other in others if other.active and other.queue in queues]


def depth(stakes: Sequence[Stake], slots: int, window: int) -> int:
    """How many tasks are out together while several jobs have work: what keeps the slots busy, and no more."""
    ahead = math.ceil(AHEAD * sum(stake.pace for stake in stakes))
    return min(window, 2 * max(slots, len(stakes)) + ahead)


def room(mine: Stake, others: Sequence[Stake], slots: int, window: int) -> Room:
    """``others``: the active ones. ``slots``: processes that serve the queue, ``window``: most tasks out."""
    if not others:
        left = max(0, window - mine.out)
        return Room(left, left)
    stakes, slots = [mine, *others], max(1, slots)
    deep, total = depth(stakes, slots, window), sum(stake.out for stake in stakes)
    part = mine.weight / sum(stake.weight for stake in stakes)
    if mine.limited:
        left = max(0, min(window, max(1, int(slots * part))) - mine.out)
        return Room(left, left)
    rivals = [other.turn for other in others if other.wants and not other.limited]
    credit = (min(rivals) - mine.turn) * mine.weight if rivals else math.inf
    least = int(mine.out == 0 and (credit >= 0 or kept_out(mine, others)))  # the queue may be full of another's
    return Room(max(least, slots - total), max(0, deep - total), credit)


def kept_out(mine: Stake, others: Sequence[Stake]) -> bool:
    """Whether a job has next to nothing of the slots' time: by bytes it is another's turn, who cannot use it (a slow store)."""
    held = [other.held for other in others if other.wants and not other.limited]
    return bool(held) and FAIR * mine.held < min(held)


def surplus(mine: Stake, others: Sequence[Stake], slots: int, window: int, alone: bool) -> int:
    """How many of its tasks a job takes back, of those that nobody has begun: it sent them when it was ``alone`` until now, or its
    tasks were quicker; then a task more or less is no reason."""
    if not others:
        return 0
    stakes, slots = [mine, *others], max(1, slots)
    part = mine.weight / sum(stake.weight for stake in stakes)
    if mine.limited:
        return max(0, mine.out - max(1, int(slots * part)))
    deep = depth(stakes, slots, window)
    if not alone and sum(stake.out for stake in stakes) <= 2 * deep + len(stakes):
        return 0
    return max(0, mine.out - max(1, math.ceil(deep * part)))


def quota(mine: Stake, others: Iterable[Stake], most: int) -> int:
    """How many tasks a job may send where ``most`` of all may be out at an endpoint that ``others`` use, too: its share, or what
    nobody wants."""
    there = [other for other in others if other.active]
    free = most - mine.out - sum(other.out for other in there)
    wanting = [other.weight for other in there if other.wants]
    part = mine.weight / (mine.weight + sum(wanting))
    return max(0, min(free, max(1, math.ceil(most * part)) - mine.out))


def entitled(mine: Stake, others: Sequence[Stake]) -> bool:
    """Whether a job of which nothing runs may be helped: it has had no more than its share."""
    rivals = [other.turn for other in others if other.active]
    return not rivals or mine.done <= min(rivals) or kept_out(mine, others)


def joined(mine: Stake, others: Sequence[Stake], rested: bool) -> Stake:
    """At which turn a job goes on. Who ``rested`` (wanted nothing for a while) has no claim on what others were given
    meanwhile; and nobody is further behind than ``BEHIND`` of the dearest tasks, else a job that cannot use its turn would
    keep it for ever."""
    there = [other for other in others if other.wants] or others
    if not there:
        return mine
    done, most_behind = [other.done for other in there], BEHIND * max(stake.step for stake in (mine, *others))
    turn, held = max(mine.turn, max(done) - most_behind), mine.held
    if rested:
        turn, held = max(turn, min(done)), max(held, min(other.held for other in there))
    return replace(mine, turn=turn, done=mine.done + turn - mine.turn, held=held)
