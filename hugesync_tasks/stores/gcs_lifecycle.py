"""What a bucket's lifecycle rules will soon do to our uploads and objects. They delete in silence, so they are read in advance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hugesync_tasks.model import RESERVED_SEGMENT
from hugesync_tasks.stores.gcs import GcsStore
from hugesync_tasks.stores.gcs_client import segment
from hugesync_tasks.stores.s3_lifecycle import SHORT_LIFE, SHORT_UPLOAD
from hugesync_tasks.token import Token


def hazards(store: GcsStore, token: Token) -> tuple[str, ...]:
    """See ``Store.hazards``. A bucket without rules has none."""
    path = f"/storage/v1/b/{segment(store.bucket)}"
    about = store._ask("list", "GET", path, token, "read the lifecycle rules", "", query={"fields": "lifecycle"})
    return tuple(worded((about.get("lifecycle") or {}).get("rule") or (), store.prefix))


def worded(rules: Iterable[Mapping[str, Any]], prefix: str) -> list[str]:
    """The sentences for what is written below ``prefix``. Pure."""
    found: list[str] = []
    for number, rule in enumerate(rules, 1):
        condition = rule.get("condition") or {}
        age = condition.get("age")
        if (rule.get("action") or {}).get("type") != "Delete" or not isinstance(age, int):
            continue
        if condition.get("isLive") is False or condition.get("matchesSuffix"):
            continue
        if age <= SHORT_LIFE and _concerns(condition, prefix):
            found.append(
                f"the bucket's lifecycle rule {number} deletes objects {_days(age)} after they were written, also what this job writes"
            )
        elif age <= SHORT_UPLOAD and _concerns(condition, f"{prefix}{RESERVED_SEGMENT}/parts/"):
            found.append(
                f"the bucket's lifecycle rule {number} deletes objects {_days(age)} after they were written: the parts of a large file that "
                "is not complete by then, also of an interrupted job, are sent again"
            )
    return found


def _concerns(condition: Mapping[str, Any], prefix: str) -> bool:
    starts = condition.get("matchesPrefix") or [""]
    return any(prefix.startswith(start) or start.startswith(prefix) for start in map(str, starts))


def _days(n: int) -> str:
    return "1 day" if n == 1 else f"{n} days"
