"""``hugesync validate-endpoint``: ask a place what it honours, keep the answers, show them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

from hugesync_producer.aside import threads
from hugesync_producer.capability_words import effect, title
from hugesync_producer.endpoints import Measured, every, find, save
from hugesync_producer.ends import open_end
from hugesync_tasks.errors import Cancelled, HugeSyncError, StoreError, Transient, Unreachable, UsageError
from hugesync_tasks.spec import Location, Options
from hugesync_tasks.stores.base import Store
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.token import Token
from hugesync_tasks.uri import parse_location

CLEANING = 60.0  # seconds that an interrupted run waits for what it wrote to be removed


def validate(url: str, profile: str, state_dir: Path, say: Callable[[str], None]) -> Measured:
    """Ask, by writing, and keep what was found; ``say`` is told first that it writes. Raises UsageError (no such place, no right
    to write), Unreachable. Interrupted, it removes what it wrote before it ends."""
    location = parse_location(url, profile)
    store = _opened(location)
    try:
        domain = store.domain
        say(
            f"writing below {location.display().rstrip('/')}/.hugesync/, to see what is honoured; it is removed afterwards"
        )
        findings = _asked(store, location, say)
        measured = Measured(domain, int(time.time()), findings, location.display())
        save(state_dir, measured)
        return measured
    except StoreError as error:
        raise _for_person(error, location) from error
    finally:
        store.close()


def cached(url: str, profile: str, state_dir: Path) -> list[Measured]:
    """What is kept: of the place that ``url`` names, of all for "". Asks no store. Raises UsageError where nothing is."""
    if not url:
        return every(state_dir)
    location = parse_location(url, profile)
    store = _opened(location)
    try:
        found = find(state_dir, store.domain)
    except StoreError as error:
        raise _for_person(error, location) from error
    finally:
        store.close()
    if found is None:
        raise UsageError(f"{location.display()}: nothing is kept of it; without --cached it is asked")
    return [found]


def as_object(measured: Measured) -> dict[str, Any]:
    """The JSON form. An answer is true, false, null (unknown), or the name of an order."""
    found = measured.findings
    return {
        "location": measured.location,
        "domain": measured.domain,
        "server": found.server,
        "measured_at": measured.when,
        "capabilities": {
            fact.name: {
                "answer": {"yes": True, "no": False, "unknown": None}.get(fact.answer, fact.answer),
                "note": fact.note,
                "effect": effect(fact),
            }
            for fact in found.facts
        },
        "left": list(found.left),
    }


def rows(findings: Findings) -> list[tuple[str, str, str]]:
    """The table: capability, answer, what is done because of it (and what was seen)."""
    return [
        (title(fact.name), fact.answer, f"{effect(fact)} ({fact.note})" if fact.note else effect(fact))
        for fact in findings.facts
    ]


def _opened(location: Location) -> Store:
    return open_end(location, None, Options(retries=1), "place")


def _asked(store: Store, location: Location, say: Callable[[str], None]) -> Findings:
    token = Token()
    with threads(1, "validate") as pool:
        asking: Future[Findings] = pool.submit(lambda: store.validate(token))
        try:
            return asking.result()
        except KeyboardInterrupt:
            token.cancel(Cancelled("interrupted"))
            say("interrupted: removing what was written")
            wait([asking], CLEANING)
            if not asking.done():
                say(f"something may be left below {location.display().rstrip('/')}/.hugesync/validate-*")
            elif (error := asking.exception()) is not None and str(error) != "interrupted":
                say(str(error))
            raise


def _for_person(error: StoreError, location: Location) -> HugeSyncError:
    if isinstance(error, Transient):
        return Unreachable(f"{location.display()}: {error}")
    return UsageError(f"{location.display()}: {error}")
