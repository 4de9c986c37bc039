"""How many streams are worth having: pure, over a ladder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from hugesync_producer.preflight.values import Rung

WORTH = 1.15  # a doubling that gives less than this is not worth its streams
NEARLY = 0.9  # of the best rate is as good as the best


def climbs_on(rungs: Sequence[Rung], value: Callable[[Rung], float]) -> bool:
    """Whether the next rung is worth measuring: the last doubling still gave something, or there was none yet."""
    if len(rungs) < 2:
        return True
    return value(rungs[-1]) >= WORTH * max(map(value, rungs[:-1]))


def knee(rungs: Sequence[Rung], value: Callable[[Rung], float]) -> Rung | None:
    """The rung of the fewest streams that comes near the best; None of an empty ladder."""
    if not rungs:
        return None
    best = max(map(value, rungs))
    return next(r for r in rungs if value(r) >= NEARLY * best)


def open_ended(rungs: Sequence[Rung], value: Callable[[Rung], float]) -> bool:
    """Whether more streams than were tried might give more still."""
    found = knee(rungs, value)
    return found is not None and found is rungs[-1] and climbs_on(rungs, value)


def rate_at(rungs: Sequence[Rung], streams: float, value: Callable[[Rung], float]) -> float:
    """What ``streams`` streams give: between rungs in proportion; beyond the last what it gave, and, where that still
    climbed, half of what more streams would add were there no knee. 0 of an empty ladder."""
    if not rungs:
        return 0.0
    first, last = rungs[0], rungs[-1]
    if streams <= first.streams:
        return value(first) * streams / first.streams
    for low, high in pairwise(rungs):
        if streams <= high.streams:
            share = (streams - low.streams) / (high.streams - low.streams)
            return value(low) + share * (value(high) - value(low))
    top = max(map(value, rungs))
    if not open_ended(rungs, value):
        return top
    return top * (1 + (streams / last.streams - 1) / 2)
