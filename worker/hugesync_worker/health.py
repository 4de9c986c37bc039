"""Whether a worker lives, is ready, and consumes: pure judgements on what was seen, each with its reason.

A Redis that is away is nobody's death: to start every worker of a fleet again would not bring it back. So ``live`` fails only where
ledger and broker (they may be two servers) have answered all the while.
"""

from __future__ import annotations

from dataclasses import dataclass

STUCK = 180.0  # seconds: the main process turns every second
DEAF = 900.0  # seconds without a canary or a lease, while the broker was there
BACK_WITHIN = 30.0  # seconds after which a canary should have come back


@dataclass(frozen=True, slots=True)
class Seen:
    """Of a worker, by its exporter. Times in seconds."""

    ledger_for: float  # the ledger has answered each time for so long; 0: it does not
    ledger_why: str  # why it does not
    broker_for: float  # the broker has taken each canary for so long; 0: it does not
    registered: bool  # its heartbeat stands
    ending: bool  # it was told to end
    since_turned: float  # since its main process last turned
    slots: int | None  # children that it should have; None = not known
    children: int
    busy: int  # children with a task under a lease that stands
    consumed: bool  # a canary has come back, or all children were seen busy
    since_consumed: float  # since that was so last; before the first time, since the start
    canary_waits: float  # since the oldest canary that did not come back was sent; 0: none is out
    canary_why: str = ""  # why none could be sent


Verdict = tuple[bool, str]


def live(seen: Seen) -> Verdict:
    """Fails where only a new start can help."""
    if seen.ending:
        return True, "ending"
    answered_for = min(seen.ledger_for, seen.broker_for)
    if min(answered_for, seen.since_turned) > STUCK:
        return False, f"the main process has stood still for {seen.since_turned:.0f} s"
    if seen.slots != 0 and min(answered_for, seen.since_consumed) > DEAF:
        return False, f"nothing was consumed for {seen.since_consumed:.0f} s, and the broker was there"
    return True, "live"


def ready(seen: Seen) -> Verdict:
    if seen.ending:
        return False, "ending"
    if not seen.ledger_for:
        return False, f"the ledger does not answer: {seen.ledger_why}"
    if not seen.registered:
        return False, "not registered in the ledger"
    return True, "ready"


def consuming(seen: Seen) -> Verdict:
    """Whether a message of this moment would come through the broker to a child."""
    if seen.ending:
        return False, "ending"
    if seen.canary_why:
        return False, f"no canary could be sent: {seen.canary_why}"
    if seen.slots == 0:
        return True, "scaled to 0: nothing is to be consumed"
    if seen.children and seen.busy >= seen.children:
        return True, f"all {seen.children} children are busy"
    if seen.consumed and seen.since_consumed <= BACK_WITHIN:
        return True, "consuming"
    if seen.canary_waits:
        return False, f"a canary has not come back for {seen.canary_waits:.0f} s"
    return False, "no canary has come back yet"
