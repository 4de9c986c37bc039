"""What is known of services that speak S3, besides what an endpoint shows when it is asked: the rows of ``s3_providers.toml``.

A row that says ``measured`` holds the answers of ``hugesync validate-endpoint`` there; every other one repeats what a page says and
is no proof. So a row never raises trust: a job believes what its own probe saw, and takes from here only limits that are
tighter than S3's (``with_stated``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from re import sub

from hugesync_tasks.config_units import parse_size
from hugesync_tasks.errors import UsageError
from hugesync_tasks.stores.base import Limits
from hugesync_tasks.stores.findings import CHECKSUMS, COMMITS, YES

NOT_STATED = "not stated"
MEASURED, RCLONE, PAGE = "probed", "rclone's data", "vendor's page"
VIRTUAL = "virtual"
COUNTS = ("max_parts", "max_key", "max_segment")  # limits that are no sizes


@dataclass(frozen=True, slots=True)
class Provider:
    """One service. What no source states is "not stated".

    ``endpoints``: patterns, what differs between customers in <>. ``region``: where the name of the region, which signatures
    hold, comes from. ``addressing``: where requests may name the bucket: path, virtual (in the host's name) or both.
    ``checksum``: the strongest sum that the store compares at a write. ``conditional``: whether writes honour If-Match and
    If-None-Match. ``limits``: fields of ``Limits`` that differ from S3's; None where no limits are stated.
    ``measured``: what was asked, where and when, "" where nothing was; ``answers``: what it answered, by capability.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    region: str = NOT_STATED
    addressing: str = NOT_STATED
    checksum: str = NOT_STATED
    conditional: str = NOT_STATED
    limits: Mapping[str, int | str] | None = None
    notes: tuple[str, ...] = ()
    measured: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)

    @property
    def known_from(self) -> str:
        """What stands behind the row: a measurement, or the vendor's page and perhaps rclone's table."""
        if self.measured:
            return MEASURED
        return f"{PAGE}, {RCLONE}" if any(source.startswith("rclone") for source in self.sources) else PAGE

    @property
    def reachable(self) -> bool:
        """Whether HugeSync can use it: at all endpoints but Amazon's it puts the bucket into the path."""
        return self.addressing != VIRTUAL

    def serves(self, host: str) -> bool:
        """Whether ``host`` fits an endpoint's pattern; a service that anybody may run has none that tells."""
        globs = [sub("<[^>]+>", "*", e) for e in self.endpoints if "://" not in e]
        return any(fnmatchcase(host.lower(), glob) for glob in globs)


@cache
def providers() -> tuple[Provider, ...]:
    """All rows: those that were measured first, then by name."""
    text = files(__package__).joinpath("s3_providers.toml").read_text("utf-8")
    rows = [_provider(row) for row in tomllib.loads(text)["provider"]]
    return tuple(sorted(rows, key=lambda p: (not p.measured, p.name)))


def find(name: str) -> Provider:
    """The row of that name, in whatever case. Raises UsageError."""
    names = [p.name for p in providers()]
    wanted = name.lower()
    for provider in providers():
        if provider.name == wanted:
            return provider
    near = [n for n in names if len(wanted) > 1 and wanted in n] or get_close_matches(wanted, names, n=1)
    hint = f" (did you mean {' or '.join(near)}?)" if 0 < len(near) <= 3 else ""
    raise UsageError(f"there is no provider {name!r} in the table{hint}; without a name all are listed")


def with_stated(limits: Limits, endpoint: str) -> Limits:
    """``limits`` of ``endpoint`` (a URL) no looser than what the provider of that address states. Pure."""
    host = endpoint.partition("://")[2].partition("/")[0].partition(":")[0]
    for provider in providers():
        if provider.serves(host):
            tighter = {n: v for n, v in (provider.limits or {}).items() if _tightens(limits, n, v)}
            return replace(limits, **tighter)  # type: ignore[arg-type]
    return limits


def _tightens(limits: Limits, name: str, value: int | str) -> bool:
    if isinstance(value, str):
        return True  # part_copy: "none"
    now = getattr(limits, name)
    return value > now if name.startswith("min_") else now is None or value < now


def _provider(row: dict[str, object]) -> Provider:
    """Raises TypeError for a key that is none of ours."""
    found: dict[str, object] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    limits, answers = found.get("limits"), found.get("answers")
    if isinstance(limits, dict):
        found["limits"] = {n: v if n in COUNTS or n == "part_copy" else parse_size(v) for n, v in limits.items()}
    if isinstance(answers, dict):
        found["checksum"], found["conditional"] = _checksum(answers), _conditional(answers)
    return Provider(**found)  # type: ignore[arg-type]


def _checksum(answers: Mapping[str, str]) -> str:
    if all(answers[name] == YES for name in CHECKSUMS):
        return "CRC64NVME"
    return "Content-MD5" if answers["put_md5"] == YES else "none"


def _conditional(answers: Mapping[str, str]) -> str:
    honoured = [name for name in COMMITS if answers[name] == YES]
    return "yes" if len(honoured) == len(COMMITS) else "in part" if honoured else "no"
