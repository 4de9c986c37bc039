"""What a bucket's lifecycle rules will soon do to our uploads and objects. They delete in silence, so they are read in advance."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from hugesync_tasks.errors import NotFound
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.stores.s3_errors import translated
from hugesync_tasks.token import Token

SHORT_UPLOAD = 3  # days; a job that is interrupted on a Friday is resumed on a Monday
SHORT_LIFE = 1  # days
_DAY = 86400.0


def hazards(store: S3Store, token: Token) -> tuple[str, ...]:
    """See ``Store.hazards``. A bucket without rules has none."""
    token.requested("list")
    try:
        answer = store.clients.control.get_bucket_lifecycle_configuration(Bucket=store.bucket)
    except Exception as exc:
        error = translated(exc, "read the lifecycle rules", "")
        if isinstance(error, NotFound):
            return ()
        raise error from exc
    return tuple(worded(answer.get("Rules", []), store.prefix, time.time()))


def worded(rules: Iterable[Mapping[str, Any]], prefix: str, now: float) -> list[str]:
    """The sentences for what is written below ``prefix``. Pure; ``now`` in seconds since 1970."""
    found: list[str] = []
    for rule in rules:
        if rule.get("Status") != "Enabled" or not _concerns(rule, prefix):
            continue
        name = (
            f"the bucket's lifecycle rule {str(rule['ID'])[:100]!r}"
            if rule.get("ID")
            else "a lifecycle rule of the bucket"
        )
        days = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        if isinstance(days, int) and days <= SHORT_UPLOAD:
            found.append(
                f"{name} aborts uploads {_days(days)} after they began: a large file that is not complete by then, also of an "
                "interrupted job, begins again"
            )
        if (left := _life(rule.get("Expiration", {}), now)) is not None:
            found.append(f"{name} deletes objects {left}, also what this job writes")
    return found


def _concerns(rule: Mapping[str, Any], prefix: str) -> bool:
    """Whether some key below ``prefix`` falls under the rule. What asks for a tag is not for us: we set none."""
    condition = rule.get("Filter") or {}
    both = condition.get("And") or {}
    if "Tag" in condition or both.get("Tags"):
        return False
    start = str(rule.get("Prefix") or condition.get("Prefix") or both.get("Prefix") or "")
    return prefix.startswith(start) or start.startswith(prefix)


def _life(expiration: Mapping[str, Any], now: float) -> str | None:
    days, date = expiration.get("Days"), expiration.get("Date")
    if isinstance(days, int) and days <= SHORT_LIFE:
        return f"{_days(days)} after they were written"
    if isinstance(date, datetime) and date.timestamp() < now + SHORT_LIFE * _DAY:
        return f"from {date:%Y-%m-%d} on"
    return None


def _days(n: int) -> str:
    return "1 day" if n == 1 else f"{n} days"
