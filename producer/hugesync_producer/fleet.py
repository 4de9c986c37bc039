"""The workers of a fleet as its register shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hugesync_tasks.state.base import Ledger

HEARD_MS = 5_000  # a worker beats every second; one silent for so long is dead or stopped, though its heartbeat stands for 20 s


def live(ledger: Ledger) -> dict[str, dict[str, Any]]:
    """Worker -> its row, of those that were heard from just now."""
    return {name: json.loads(row) for name, row in ledger.workers(HEARD_MS).items() if row}


def described(workers: Mapping[str, Mapping[str, Any]], queue: str = "") -> str:
    """Who is there, with their roots, and why each does not serve ``queue``, for a person."""
    return ", ".join(_one(name, row, queue) for name, row in sorted(workers.items())) or "none"


def refusal(row: Mapping[str, Any], queue: str) -> str:
    """Why this worker does not serve ``queue``, as it says itself; "" for one that does or that says nothing."""
    return str(row.get("refuses", {}).get(queue, ""))


def _one(name: str, row: Mapping[str, Any], queue: str) -> str:
    roots = ", ".join(f"{root}={path}" for root, path in row.get("roots", {}).items()) or "none"
    why = refusal(row, queue)
    return f"{name} (roots {roots}{f'; {why}' if why else ''})"
