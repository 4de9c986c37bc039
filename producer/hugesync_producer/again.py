"""A run of a job that has ended: only what of it failed is planned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hugesync_producer.openjob import UNFINISHED
from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.scan import END, Signal
from hugesync_producer.window import Counters, Failed, Window
from hugesync_tasks.summary import State


@dataclass(frozen=True, slots=True)
class Retry:
    """What is tried again, and what the job was before. ``counters``: as they ended, K being ``key``."""

    classes: frozenset[str]  # empty = every class
    state: State
    key: str
    counters: Counters

    def wants(self, failure: Failed) -> bool:
        return failure.again and (not self.classes or failure.reason in self.classes)

    @property
    def finished(self) -> bool:
        """Whether the job had come to its end; one that had not still has files that nobody looked at."""
        return str(self.state) not in UNFINISHED

    def state_after(self, state: State) -> State:
        """What the job is when this run ended in ``state``."""
        return state if self.finished or state not in (State.DONE, State.DONE_WITH_ERRORS) else self.state


class NothingToPlan(PlanFeed):
    """The plan of a run that looks at no other file."""

    def start(self) -> None:
        pass

    def poll(self, timeout: float = 0.0) -> Signal:
        return END

    def stop(self) -> None:
        pass


def left(window: Window) -> dict[str, Any]:
    """What a job that ended with failures leaves, so that they can be tried again."""
    return {"key": window.key, "counters": window.base.wire()}
