"""A run that was told to stop before its job has ended: what is in hand may finish, nothing new begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from hugesync_tasks.config_units import show_duration
from hugesync_tasks.spec import Spec
from hugesync_tasks.summary import Observer, State

DRAIN = 10.0  # seconds that what is in hand may take


@dataclass(frozen=True, slots=True)
class Stop:
    """Why, and what the run ends as: a state that can be resumed. ``patience``: seconds for what workers have in hand."""

    state: State
    reason: str  # one sentence, no secret
    patience: float = DRAIN


INTERRUPTED = Stop(State.INTERRUPTED, "interrupted")


def until(spec: Spec, began: float) -> Spec:
    """``spec`` with the instant at which ``max_duration`` is over, of a run that began at ``began`` (monotonic)."""
    most = spec.options.max_duration
    return replace(spec, until=time.time() - (time.monotonic() - began) + most) if most else spec


def asked(spec: Spec, observer: Observer, clock: Callable[[], float] = time.time) -> Callable[[], Stop | None]:
    """What tells, at any time, whether the run is to stop: its time is over, or the observer wants it (``stop_wanted``, if it has
    that)."""
    wanted = getattr(observer, "stop_wanted", bool)
    over = f"its time is over (--max-duration {show_duration(spec.options.max_duration)})"
    late = Stop(State.INTERRUPTED, over)
    program = Stop(State.INTERRUPTED, "stopped by the program that began it")

    def ask() -> Stop | None:
        if spec.until and clock() >= spec.until:
            return late
        return program if wanted() else None

    return ask


def stopping(stop: Stop, in_hand: bool) -> str:
    """What a person is told at once. ``in_hand``: whether workers may have something in hand."""
    if not in_hand:
        return f"stopping: {stop.reason}"
    again = "; once more (Ctrl-C) stops at once" if stop is INTERRUPTED else ""
    why = "" if stop is INTERRUPTED else f"{stop.reason}; "
    return f"stopping: {why}what is in hand may finish, for {stop.patience:g} s at most{again}"


def pause_notice(job: str, paused: bool) -> str:
    """What is said when a job was paused, or is so no longer."""
    if not paused:
        return "going on: the job is paused no longer"
    return f"paused: what is in hand finishes, nothing more is sent; to go on: hugesync resume {job}"
