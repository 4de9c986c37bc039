"""What we write with a blob besides its bytes, as Azure carries it: metadata headers to ``Meta`` and back.

A metadata name must be an identifier of C#, so it is ``hugesync_mode`` here where it is ``hugesync-mode`` elsewhere. ``mtime``
is rclone's key in the form that rclone uses on Azure (RFC 3339 with nanoseconds), so that rclone sees our times and we its.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hugesync_tasks.model import Meta
from hugesync_tasks.stores import s3_meta
from hugesync_tasks.stores.rfc3339 import instant_ns, rfc3339
from hugesync_tasks.stores.s3_meta import MTIME

PREFIX = "x-ms-meta-"


def metadata(meta: Meta) -> dict[str, str]:
    """The pairs of ``meta``; what is None or empty is left out."""
    pairs = {name.replace("-", "_"): value for name, value in s3_meta.user_metadata(meta).items()}
    if meta.mtime_ns is not None:
        pairs[MTIME] = rfc3339(meta.mtime_ns)
    return pairs


def meta_of(pairs: Mapping[str, str], content_type: str | None = None, tier: str | None = None) -> Meta:
    """The inverse. Metadata is written by anyone: what cannot be read counts as absent, never as an error."""
    low = {name.lower().replace("_", "-"): value for name, value in pairs.items()}
    meta = s3_meta.meta_of(low, content_type, tier)
    return meta if meta.mtime_ns is not None else replace(meta, mtime_ns=instant_ns(low.get(MTIME, "")))


def meta_of_headers(headers: Mapping[str, str]) -> Meta:
    """Of the answer to GET and HEAD."""
    pairs = {name[len(PREFIX) :]: value for name, value in headers.items() if name.lower().startswith(PREFIX)}
    inferred = (headers.get("x-ms-access-tier-inferred") or "").lower() == "true"
    return meta_of(pairs, headers.get("Content-Type"), None if inferred else headers.get("x-ms-access-tier"))
