"""How much of a job's bandwidth a process may use, and when: one token bucket for a whole fleet. Pure.

The bucket is kept as a schedule (the field calls it GCRA): ``taken`` is the time up to which bytes are given away. Whoever
draws gets the next stretch of it, and may send so many bytes evenly over that stretch. What nobody drew is lost but for
``BURST``, so a pause never becomes a burst; a small job finds a full bucket and waits for nothing.

``state/draw.lua`` is the same arithmetic on the server. Rates are bytes per second; times are seconds on the clock of whoever
keeps the state.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST_RATE = 64 << 10  # bytes/s, of a whole job: the lowest that was tried. At less the waits near what servers bear
LEAST_REQUESTS = 0.5  # requests/s, the same of requests
BURST = 0.2  # seconds' worth that may go at once after a pause; with what the processes have in hand a quarter second
LEASE = 0.05  # seconds of its share that a busy process draws at once
SILENT = 10.0  # seconds after which a process that did not draw has no share
LONGEST = 600.0  # seconds; given away further in advance is only what a server's clock that jumped has left
CONSTANTS = (BURST, LEASE, SILENT, LONGEST)  # as the script takes them


@dataclass(frozen=True, slots=True)
class Taken:
    """What is kept for one bucket: up to when bytes are given away, at which rate."""

    until: float = 0.0
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a draw. ``rate``: of the whole job; 0 = no limit, None = nobody knows (a ledger that lost its data).
    Under a limit ``n`` bytes may go, the first after ``wait`` seconds (less than 0: it is late already), each 1/rate after the
    one before."""

    rate: float | None
    sharers: int = 1  # processes that drew lately, this one included
    n: int = 0
    wait: float = 0.0


def draw(taken: Taken, rate: float, need: int, busy: bool, sharers: int, now: float) -> tuple[Taken, Grant]:
    """Give ``need`` bytes away, to a process that is ``busy`` at least ``LEASE`` of its share."""
    until = taken.until
    if until > now and taken.rate and taken.rate != rate:
        until = now + (until - now) * taken.rate / rate  # what is given away is so many bytes
    if until > now + LONGEST:
        until = now
    start = max(until, now - BURST)
    n = max(need, int(rate * LEASE / sharers)) if busy else need
    return Taken(start + n / rate, rate), Grant(rate, sharers, n, start - now)
