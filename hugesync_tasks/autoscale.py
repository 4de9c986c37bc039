"""How many children a worker should have: one more while that moves more, half as many when requests fail. Pure.

Additive increase, multiplicative decrease, as ``aimd`` has it for requests; here the question is asked once a window of some
seconds, about the windows before. What is measured is work: bytes, and for small files requests, each worth ``PER_REQUEST`` bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hugesync_tasks import amounts
from hugesync_tasks.gauges import Totals

EVERY = 5.0  # seconds: a window
PER_REQUEST = 64 << 10  # bytes
BUSY = 0.9  # share of the children's time with a task, from which there is work for one more
IDLE = 0.5  # and up to which there are too many
IDLE_FOR = 6  # windows
FAILING = 0.05  # share of requests that had to be made again
FAILURES = 3  # at least so many, or it may have been one connection
GAIN = 0.3  # of what one more child should bring if all did as much; with less it brings nothing
SLOWER = 2.0  # times the time of a call
CUT, EASE = 0.5, 0.75  # what is left of the children after failures; where calls only take longer
SETTLE, REST = 1, 12  # windows that are let pass after a step, and after one that brought nothing


@dataclass(frozen=True, slots=True)
class Scale:
    """What is remembered. ``rate`` (work per second) and ``latency`` (seconds per call) are those before the last step."""

    slots: int
    rate: float = 0.0
    latency: float = 0.0
    grew: bool = False
    rest: int = 0
    idle: int = 0  # windows in a row with too little to do


def decide(scale: Scale, seen: Totals, seconds: float, busy: float, low: int, high: int) -> tuple[Scale, str]:
    """The next state, and why it has another number of children than the one before; "" where it has not. ``busy``: share of
    the children that had a task, on average."""
    slots = scale.slots
    rate = (seen.moved + PER_REQUEST * seen.requests) / max(seconds, 1e-6)
    latency = seen.waited / seen.calls if seen.calls else 0.0
    if seen.failures >= FAILURES and seen.failures > FAILING * seen.requests:
        share = 100 * seen.failures / max(seen.requests, 1.0)
        return _step(scale, max(low, int(slots * CUT)), rate, latency, f"{share:.0f} % of the requests failed", REST)
    if busy < IDLE:
        idle = scale.idle + 1
        if idle >= IDLE_FOR and slots > low:
            return _step(scale, slots - 1, 0.0, 0.0, f"{100 * (1 - busy):.0f} % of the children had nothing to do")
        return replace(scale, idle=min(idle, IDLE_FOR), grew=False), ""
    scale = replace(scale, idle=0)
    if scale.rest:
        return replace(scale, rest=scale.rest - 1), ""
    if busy < BUSY:
        return scale, ""
    if scale.grew and slots > low and rate < scale.rate * (1 + GAIN / (slots - 1)):
        why = f"{slots} moved {amounts.rate(rate)}, {slots - 1} had moved {amounts.rate(scale.rate)}"
        return _step(scale, slots - 1, rate, latency, why, REST)
    if scale.latency and latency > SLOWER * scale.latency and rate <= scale.rate and slots > low:
        why = f"a request takes {1000 * latency:.0f} ms, it took {1000 * scale.latency:.0f}, and no more is moved"
        return _step(scale, max(low, int(slots * EASE)), rate, latency, why, REST)
    if slots >= high:
        return replace(scale, rate=rate, latency=latency, grew=False), ""
    grown, why = _step(scale, slots + 1, rate, latency, f"{slots} had work all the time and moved {amounts.rate(rate)}")
    return replace(grown, grew=True), why


def _step(scale: Scale, slots: int, rate: float, latency: float, why: str, rest: int = SETTLE) -> tuple[Scale, str]:
    return Scale(slots, rate, latency, rest=rest), why if slots != scale.slots else ""
