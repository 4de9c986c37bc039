"""How often what goes wrong in a simulation, and the kinds of trouble that its seeds are played with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chaos:
    """Chances, each per event of its kind."""

    drop: float = 0.0  # a message
    duplicate: float = 0.0
    reorder: float = 0.0
    kill: float = 0.0  # a worker, per call
    stall: float = 0.0  # a worker stands still for up to a minute, per call
    store: float = 0.0  # a store's call fails, before or after its effect
    ledger: float = 0.0  # a ledger's call fails, before or after its effect
    outage: float = 0.0  # the ledger is away for up to 20 s, per turn
    flush: float = 0.0  # FLUSHALL, per turn
    crash: float = 0.0  # the coordinator, per ledger call
    rival: float = 0.0  # somebody else writes to the destination, per turn
    edit: float = 0.0  # somebody changes the source, per turn
    failover: float = 0.0  # the ledger, and the queues with it, are as they were up to a second ago, per turn
    drain: float = 0.0  # a worker's time to let go of what it has in hand comes, per call


CALM = Chaos()
LOSSY = Chaos(drop=0.1, duplicate=0.1, reorder=0.3)
DEADLY = Chaos(drop=0.03, duplicate=0.05, reorder=0.2, kill=0.01, stall=0.003)
FLAKY = Chaos(drop=0.03, duplicate=0.05, reorder=0.2, store=0.02, ledger=0.01, outage=0.003)
FLUSHED = Chaos(drop=0.02, duplicate=0.05, reorder=0.2, kill=0.003, flush=0.01)
CRASHING = Chaos(drop=0.03, duplicate=0.05, reorder=0.2, kill=0.003, crash=0.004)
FAILOVER = Chaos(drop=0.02, duplicate=0.05, reorder=0.2, kill=0.003, crash=0.002, failover=0.02)
CONTESTED = Chaos(duplicate=0.05, reorder=0.2, kill=0.002, rival=0.02, edit=0.01)
ALL = Chaos(0.03, 0.05, 0.2, 0.005, 0.001, 0.01, 0.005, 0.001, 0.002, 0.002, 0.005, 0.003)
DRAINED = Chaos(duplicate=0.05, reorder=0.2, drain=0.05)
KINDS = {
    "calm": CALM, "lossy": LOSSY, "deadly": DEADLY, "flaky": FLAKY, "flushed": FLUSHED, "crashing": CRASHING,
    "contested": CONTESTED, "failover": FAILOVER, "all": ALL, "drained": DRAINED,
}  # fmt: skip
