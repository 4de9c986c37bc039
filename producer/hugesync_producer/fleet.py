"""The workers of a fleet as its register shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hugesync_tasks.spec import Spec
from hugesync_tasks.state.base import Ledger

HEARD_MS = 5_000  # a worker beats every second; one silent for so long is dead or stopped, though its heartbeat stands for 20 s


def live(ledger: Ledger) -> dict[str, dict[str, Any]]:
    """Worker -> its row, of those that were heard from just now."""
    return {name: json.loads(row) for name, row in ledger.workers(HEARD_MS).items() if row}


def described(workers: Mapping[str, Mapping[str, Any]], queue: str = "") -> str:
    """Who is there, with their roots, and why each does not serve ``queue``, for a person."""
    return ", ".join(_one(name, row, queue) for name, row in sorted(workers.items())) or "none"


def standing(workers: Mapping[str, Mapping[str, Any]], queue: str) -> list[dict[str, Any]]:
    """Each worker as ``hugesync status --json`` shows it: name, roots, whether it serves ``queue``, and if not, why; how many
    child processes it has for tasks, and whether a person paused it."""
    return [
        {
            "name": name,
            "roots": row.get("roots", {}),
            "serves": queue in row.get("queues", []),
            "why": _why(row, queue),
            "slots": row.get("slots", 0),
            "paused": bool(row.get("paused")),
        }
        for name, row in sorted(workers.items())
    ]


def standing_lines(workers: list[dict[str, Any]]) -> list[str]:
    """``standing``, for a person."""
    lines = [
        f"worker {w['name']} "
        + (f"does not work for it: {w['why']}" if not w["serves"] else "is paused" if w["paused"] else "works for it")
        for w in workers
    ]
    return lines or ["no worker is there"]


def leaderless(spec: Spec, workers: Mapping[str, Mapping[str, Any]]) -> str:
    """What a running job that nobody coordinates waits for."""
    ends = [end for end in (spec.source, spec.dest) if end.scheme == "file"]
    able = [row for row in workers.values() if all(end.root in row.get("roots", {}) for end in ends)]
    roots = " and ".join(f"{end.root} ({end.display()})" for end in ends)
    if able:
        waits = "a worker is to take it up"
    elif ends:
        waits = f"no worker has root {roots}; workers: {described(workers)}"
    else:
        waits = "no worker is there"
    return f"nobody coordinates it now; {waits}"


def _why(row: Mapping[str, Any], queue: str) -> str:
    if queue in row.get("queues", []):
        return ""
    return str(row.get("refuses", {}).get(queue, "")) or f"its roots are {_roots(row)}"


def _roots(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{root}={path}" for root, path in row.get("roots", {}).items()) or "none"


def _one(name: str, row: Mapping[str, Any], queue: str) -> str:
    why = row.get("refuses", {}).get(queue, "")
    return f"{name} (roots {_roots(row)}{f'; {why}' if why else ''})"
