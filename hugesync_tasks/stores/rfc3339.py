"""Times as RFC 3339 has them, with nanoseconds: rclone's form on the stores that are not S3."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hugesync_tasks.stores import s3_meta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)  # decimals past nanoseconds are cut off


def rfc3339(ns: int) -> str:
    """Nanoseconds since 1970; where no such date can be written (years beyond 9999), decimal seconds."""
    whole, rest = divmod(ns, 10**9)
    try:
        at = _EPOCH + timedelta(seconds=whole)
    except OverflowError:
        return s3_meta.seconds(ns)
    return f"{at.year:04}-{at:%m-%dT%H:%M:%S}.{rest:09d}Z"


def instant_ns(text: str) -> int | None:
    """A date of RFC 3339 as nanoseconds since 1970, exactly; None where it is none."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    day, clock, decimals, zone = found.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        return None
    since = at - _EPOCH
    return (since.days * 86400 + since.seconds) * 10**9 + int((decimals or "0").ljust(9, "0"))
