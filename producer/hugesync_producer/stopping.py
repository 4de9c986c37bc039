"""A run that was told to stop before its job has ended: what is in hand may finish, nothing new begins."""

from __future__ import annotations

from dataclasses import dataclass

from hugesync_tasks.summary import State

DRAIN = 10.0  # seconds that what is in hand may take


@dataclass(frozen=True, slots=True)
class Stop:
    """Why, and what the run ends as: a state that can be resumed. ``patience``: seconds for what workers have in hand."""

    state: State
    reason: str  # one sentence, no secret
    patience: float = DRAIN


INTERRUPTED = Stop(State.INTERRUPTED, "interrupted")


def stopping(stop: Stop, in_hand: bool) -> str:
    """What a person is told at once. ``in_hand``: whether workers may have something in hand."""
    if not in_hand:
        return f"stopping: {stop.reason}"
    again = "; once more (Ctrl-C) stops at once" if stop.state is State.INTERRUPTED else ""
    return f"stopping: what is in hand may finish, for {stop.patience:g} s at most{again}"


def pause_notice(job: str, paused: bool) -> str:
    """What is said when a job was paused, or is so no longer."""
    if not paused:
        return "going on: the job is paused no longer"
    return f"paused: what is in hand finishes, nothing more is sent; to go on: hugesync resume {job}"
