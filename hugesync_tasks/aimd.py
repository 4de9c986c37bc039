"""How fast a store may be asked once it has asked to slow down: additive increase, multiplicative decrease. Pure.

There is no limit until a store complains. The first complaint halves the rate that was measured; each later one halves what
was allowed, but only if its request was sent after the last cut, and not within ``COOL``: what was under way at the old rate
says nothing about the new one. Each second of use without a complaint adds a twentieth of the rate that was too much.
``QUIET`` seconds after the last complaint the limit is lifted.

``state/rate.lua`` is the same arithmetic on the server, for a whole fleet; here it serves the ledger in memory and a process
whose Redis is away. Rates are requests per second; times are seconds on the clock of whoever keeps the state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

WINDOW = 1.0  # seconds: of the measurement, and of success before an increase
COOL = 2.0  # seconds between two cuts; longer than it takes until every process has heard of one
QUIET = 30.0  # seconds without a complaint until the limit is lifted
CUT = 0.5  # what a complaint leaves of the rate
GROWTH = 0.05  # of the rate at the last cut, added per window
LEAST_GROWTH = 0.25  # requests/s per window: from the floor, too, a rate comes back within QUIET
FLOOR = 1.0  # requests/s, of the whole fleet
LEASE = 0.2  # seconds of its share that a process takes at once
AHEAD = 1.0  # seconds; nothing is given away further in advance, so that a dead process holds nobody up
SILENT = 3.0  # seconds after which a process that was not heard has no share
CONSTANTS = (WINDOW, COOL, QUIET, CUT, GROWTH, LEAST_GROWTH, FLOOR, LEASE, AHEAD, SILENT)  # as the script takes them


@dataclass(frozen=True, slots=True)
class Report:
    """What a process tells. ``used``: requests since its last report, made within ``seconds``. ``need``: it wants to make
    more. ``age``: seconds since a request was sent that the store refused just now; None = no complaint. ``believed``: the
    fleet's limit as this process knows it, for a server that has lost it; None = none."""

    used: int = 0
    seconds: float = WINDOW
    need: bool = False
    age: float | None = None
    believed: Limit | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """``knee``: the rate at the last cut. ``left``: seconds until it is lifted."""

    rate: float
    knee: float
    left: float


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a report. ``limit`` None: ask as you like, and report again after ``WINDOW``. Else ``tokens`` requests may
    be sent, the first after ``wait`` seconds, each 1/rate after the one before; 0 = ask again after ``wait``."""

    limit: Limit | None = None
    sharers: int = 1  # processes that were heard lately, this one included
    tokens: int = 0
    wait: float = 0.0

    @property
    def share(self) -> Limit | None:
        """What of the limit is this process's own, should it be left alone."""
        if self.limit is None:
            return None
        rate, knee = self.limit.rate / self.sharers, self.limit.knee / self.sharers
        return replace(self.limit, rate=rate, knee=knee)


@dataclass(frozen=True, slots=True)
class Rate:
    """What is kept for one place. A new value is ``Rate(begun=now)``."""

    begun: float  # of the current window
    before: int = 0  # requests of the window before
    count: int = 0  # of the current one
    rate: float = 0.0  # 0 = no limit
    knee: float = 0.0
    cut: float = 0.0  # when
    calm: float = 0.0  # since when: the last complaint, or the last increase
    taken: float = 0.0  # up to when requests are given away
    until: float = 0.0  # when the limit is lifted


def limited(limit: Limit | None, now: float) -> Rate:
    """A state in which ``limit`` is in force."""
    return Rate(now) if limit is None else _adopted(Rate(now), limit, now)


def exchange(state: Rate, report: Report, sharers: int, now: float) -> tuple[Rate, Grant]:
    """Take a report into account; the new state, and what the process may do."""
    state = _counted(state, report.used, now)
    if state.rate and now >= state.until:
        state = replace(state, rate=0.0)
    if not state.rate and report.believed is not None and report.believed.left > 0:
        state = _adopted(state, report.believed, now)
    if report.age is not None:
        measured = max(state.before, state.count) / WINDOW  # each process tells of a window's worth, once a window
        own = report.used / max(report.seconds, WINDOW / 10)  # where the fleet has just begun
        state = _complained(state, now, report.age, max(measured, own))
    elif state.rate and (report.used or report.need) and now - state.calm >= WINDOW:
        state = replace(state, rate=state.rate + max(LEAST_GROWTH, GROWTH * state.knee), calm=now)
    if not state.rate:
        return state, Grant(sharers=sharers)
    tokens, wait = 0, 0.0
    if report.need:
        start = max(state.taken, now)
        wait = start - now
        if wait <= AHEAD:
            tokens = max(1, int(state.rate * LEASE / sharers))
            state = replace(state, taken=start + tokens / state.rate)
        else:
            wait = min(AHEAD, wait - AHEAD / 2)
    return state, Grant(Limit(state.rate, state.knee, state.until - now), sharers, tokens, wait)


def _counted(state: Rate, used: int, now: float) -> Rate:
    since = now - state.begun
    if since >= 2 * WINDOW or since < 0:
        return replace(state, begun=now, before=0, count=used)
    if since >= WINDOW:
        return replace(state, begun=state.begun + WINDOW, before=state.count, count=used)
    return replace(state, count=state.count + used)


def _adopted(state: Rate, limit: Limit, now: float) -> Rate:
    left = min(limit.left, QUIET)
    return replace(
        state, rate=max(FLOOR, limit.rate), knee=max(FLOOR, limit.knee), cut=now, calm=now, taken=now, until=now + left
    )


def _complained(state: Rate, now: float, age: float, measured: float) -> Rate:
    if not state.rate:
        knee = max(FLOOR, measured)
        rate = max(FLOOR, CUT * knee)
        return replace(state, rate=rate, knee=knee, cut=now, calm=now, taken=now, until=now + QUIET)
    if now - age > state.cut and now - state.cut >= COOL:
        state = replace(state, rate=max(FLOOR, CUT * state.rate), knee=state.rate, cut=now)
    return replace(state, calm=now, until=now + QUIET)
