"""The table of S3 services as people and scripts read it."""

from __future__ import annotations

from typing import Any

from hugesync_producer import human
from hugesync_producer.capability_words import effect, title
from hugesync_tasks.stores.findings import Fact
from hugesync_tasks.stores.s3_providers import COUNTS, MEASURED, NOT_STATED, Provider

HEAD = ("PROVIDER", "KNOWN FROM", "ENDPOINT", "REGION", "BUCKET IN", "CHECKSUM", "CONDITIONS", "LIMITS")
CAPABILITIES = ("CAPABILITY", "ANSWER", "WHAT HUGESYNC DOES")
PROMISE = (
    "Only what is known from a probe was measured, there and then. Before each job HugeSync asks every endpoint but Amazon's own what it"
    " honours, and takes from this table only limits that are tighter than S3's. More is asked by hugesync validate-endpoint."
    " A service that wants the bucket in the host's name only cannot be used."
)
_WORDS = {
    "min_part": "parts from {}", "max_part": "parts to {}", "max_parts": "{} parts", "max_size": "objects to {}", "max_put": "puts to {}",
    "max_copy": "copies to {}", "max_key": "keys to {} bytes", "max_segment": "names to {} bytes", "part_copy": "no copies of ranges",
}  # fmt: skip
_ADDRESSING = {"both": "path or host", "virtual": "host only"}


def row(provider: Provider) -> tuple[str, ...]:
    return (
        provider.name,
        provider.known_from,
        " ".join(provider.endpoints) or NOT_STATED,
        provider.region,
        _addressing(provider),
        provider.checksum,
        provider.conditional,
        limits(provider),
    )


def about(provider: Provider) -> list[tuple[str, str]]:
    """Name and value of every line that is shown of one provider before its answers."""
    known = f"{provider.known_from}: {provider.measured}" if provider.measured else provider.known_from
    lines = [
        ("known from", known),
        *(("endpoint", endpoint) for endpoint in provider.endpoints or (NOT_STATED,)),
        ("region", provider.region),
        ("bucket in", _addressing(provider)),
        ("checksum", provider.checksum),
        ("conditional writes", provider.conditional),
        ("limits", limits(provider)),
    ]
    if not provider.reachable:
        lines.append(("note", "HugeSync cannot use it: at all endpoints but Amazon's it names the bucket in the path."))
    lines += [("note", note) for note in provider.notes]
    return lines + [("source", source) for source in provider.sources]


def capabilities(provider: Provider) -> list[tuple[str, str, str]]:
    return [(title(name), answer, effect(Fact(name, answer))) for name, answer in provider.answers.items()]


def limits(provider: Provider) -> str:
    if provider.limits is None:
        return "not measured" if provider.known_from == MEASURED else NOT_STATED
    return ", ".join(_WORDS[n].format(_value(n, v)) for n, v in provider.limits.items()) or "as S3's"


def as_object(provider: Provider) -> dict[str, Any]:
    """The JSON form; what is not stated is null, sizes are bytes."""
    return {
        "name": provider.name,
        "title": provider.title,
        "known_from": provider.known_from,
        "measured": provider.measured or None,
        "usable": provider.reachable,
        "endpoints": list(provider.endpoints),
        **{n: _stated(getattr(provider, n)) for n in ("region", "addressing", "checksum", "conditional")},
        "limits": None if provider.limits is None else dict(provider.limits),
        "capabilities": dict(provider.answers),
        "notes": list(provider.notes),
        "sources": list(provider.sources),
    }


def _addressing(provider: Provider) -> str:
    return _ADDRESSING.get(provider.addressing, provider.addressing)


def _stated(text: str) -> str | None:
    return None if text == NOT_STATED else text


def _value(name: str, value: int | str) -> str:
    if isinstance(value, str):
        return value
    return human.count(value) if name in COUNTS else human.stated_size(value)
