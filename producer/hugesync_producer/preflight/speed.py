"""From ladders to the causes of time: latency per request, bytes per second of so many streams. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hugesync_producer.preflight.knee import rate_at
from hugesync_producer.preflight.values import End, Rung

LEAST_MOVING = 0.2  # of a chunk's time is movement at least, whatever its latency was
FOLDER_LATENCY = 0.0005  # seconds to open, read and close a file, where nothing was measured


def latency(end: End) -> float:
    """Seconds of one small operation by itself."""
    if end.small:
        return end.small[0].p50
    return end.request.p50 if end.request else FOLDER_LATENCY


def moving(rungs: Sequence[Rung], wait: float) -> tuple[Rung, ...]:
    """The ladder as if no operation waited ``wait`` seconds before its bytes moved: then it holds for chunks of any size."""
    return tuple(replace(r, busy=max(r.busy - r.operations * wait, LEAST_MOVING * r.busy)) for r in rungs)


def bytes_per_second(rungs: Sequence[Rung], wait: float, streams: float) -> float | None:
    """Of long transfers by so many streams; None where none was measured."""
    found = rate_at(moving(rungs, wait), streams, lambda r: r.rate)
    return found or None


def files_per_second(end: End, streams: float) -> float | None:
    """Of small files by so many streams, their bytes apart."""
    found = rate_at(end.small, streams, lambda r: r.per_second)
    return found or None


def unsteady(rungs: Sequence[Rung]) -> float:
    """How much longer the slow operations took than the usual one, of the worst rung; 1: none did."""
    return max((r.p99 / r.p50 for r in rungs if r.p50 > 0), default=1.0)
