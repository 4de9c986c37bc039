"""What a store said when it refused, before it is one of our errors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """HTTP status (0 = none came), the store's error code, its words, Retry-After in seconds."""

    status: int
    code: str = ""
    message: str = ""
    retry_after: float | None = None


def retry_after(text: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is used by no store we know."""
    return float(text) if text and text.isdigit() else None
