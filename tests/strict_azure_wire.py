"""What passes between the strict fake's HTTP and its operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    """One request as it came: ``path`` decoded, ``query`` and ``headers`` by names in lower case, ``xml`` the body of
    a block list."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    length: int = 0
    xml: bytes = b""


@dataclass(frozen=True)
class Call:
    """A request on its way to an operation. ``meta``: the headers with their names' case kept."""

    method: str
    container: str
    blob: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    meta: list[tuple[str, str]]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
