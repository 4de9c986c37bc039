"""What ``hugesync validate-endpoint`` found, kept for the jobs that come after: one small file for each bucket or filesystem.

``STATE_DIR/endpoints/<hash of its domain>.json``, 0600, replaced in one step. It decides how far a store is trusted, so one that
is damaged, of another format, of another place, or that somebody else could have written counts as none.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import blake3

from hugesync_tasks.errors import UsageError
from hugesync_tasks.stores.base import Limits
from hugesync_tasks.stores.findings import Fact, Findings, applied

FORMAT = 1
MOST = 64 << 10  # bytes
_LONGEST = 1000  # letters of a text


@dataclass(frozen=True, slots=True)
class Measured:
    """``domain``: ``Store.domain``; ``at``: seconds since 1970; ``location``: where it was asked, for people."""

    domain: str
    at: int
    findings: Findings
    location: str = ""

    @property
    def when(self) -> str:
        return datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def save(state_dir: Path, measured: Measured) -> None:
    """Keep it in place of what was kept of its domain. Raises UsageError where the state folder cannot be written."""
    found = measured.findings
    data = {
        "format": FORMAT,
        "domain": measured.domain,
        "location": measured.location,
        "at": measured.at,
        "server": found.server,
        "facts": {fact.name: [fact.answer, fact.note[:_LONGEST]] for fact in found.facts},
    }
    path = _path(state_dir, measured.domain)
    temporary = ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # 0600
        with open(fd, "w") as out:
            json.dump(data, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise UsageError(f"cannot write {path} (HUGESYNC_STATE_DIR): {error.strerror}") from error


def find(state_dir: Path, domain: str) -> Measured | None:
    """What is kept of ``domain``; None where nothing is that can be believed."""
    found = _read(_path(state_dir, domain))
    return found if found is not None and found.domain == domain else None


def every(state_dir: Path) -> list[Measured]:
    """All that is kept, newest first."""
    paths = (state_dir / "endpoints").glob("*.json")
    found = [m for path in paths if (m := _read(path)) is not None and _path(state_dir, m.domain) == path]
    return sorted(found, key=lambda m: (-m.at, m.domain))


def trusted(limits: Limits, measured: Measured | None) -> Limits:
    """``limits`` with what was measured, unless another server answers there now."""
    if measured is None or measured.findings.server != limits.name:
        return limits
    return applied(limits, measured.findings.answers())


def _path(state_dir: Path, domain: str) -> Path:
    return state_dir / "endpoints" / f"{blake3.blake3(os.fsencode(domain)).hexdigest(length=16)}.json"


def _read(path: Path) -> Measured | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, "rb") as file:
        about = os.fstat(fd)
        ours = about.st_uid == os.geteuid() and not about.st_mode & 0o022
        if not stat.S_ISREG(about.st_mode) or not ours or about.st_size > MOST:
            return None
        try:
            return _parsed(json.loads(file.read(MOST)))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None


def _parsed(data: Any) -> Measured | None:
    """Raises ValueError, TypeError or KeyError for what is none of ours."""
    if type(data["format"]) is not int or data["format"] != FORMAT or not isinstance(data["facts"], dict):
        return None
    texts = [data[name] for name in ("domain", "location", "server")]
    at, facts = data["at"], [Fact(name, *said) for name, said in data["facts"].items()]
    if not all(isinstance(t, str) for t in [*texts, *(f.answer for f in facts), *(f.note for f in facts)]):
        return None
    if type(at) is not int or not 0 <= at <= time.time() + 86400 or not all(fact.possible for fact in facts):
        return None
    return Measured(texts[0], at, Findings(texts[2], tuple(facts)), texts[1])
