"""The lines of a manifest (``docs/manifests.md``): JSON Lines with a header and a trailer, or CSV. Values to bytes, no effects."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.names import decode_name
from hugesync_tasks.stores.s3_meta import seconds

VERSION = 1
COLUMNS = ("path", "type", "size", "mtime", "digest", "state")
_TYPES = {
    Kind.FILE: "file",
    Kind.LINK: "link",
    Kind.DIR: "dir",
    Kind.SPECIAL: "special",
    Kind.ERROR: "unknown",
    Kind.MISSING: "unknown",
}


class Standing(StrEnum):
    """How an entry stands at the destination."""

    DONE = "done"
    MISSING = "missing"
    DIFFERS = "differs"
    EXTRA = "extra"
    LISTED = "listed"  # nothing was compared
    GONE = "gone"  # the map names it, and the source does not have it
    UNKNOWN = "unknown"  # it could not be looked at


@dataclass(frozen=True, slots=True)
class Line:
    """One entry. Its size, time and digest are the source's; of an extra the destination's."""

    entry: Entry
    state: Standing
    digest: str = ""
    error: str = ""  # why it is unknown, or why a sync could not bring it over


def crc64nvme(value: int) -> str:
    """A digest as a manifest writes it."""
    return f"crc64nvme:{value:016x}"


class JsonLines:
    """One object per line: header, entries, trailer."""

    name = "jsonl"

    def header(self, source: str, dest: str | None, created: str, mapped: bool = False) -> bytes:
        """``mapped``: the paths are names that a map gives, and SOURCE has others."""
        told = {"hugesync_manifest": VERSION, "source": source, "dest": dest, "created": created}
        return _object(told | ({"map": True} if mapped else {}))

    def line(self, line: Line) -> bytes:
        entry = line.entry
        out: dict[str, Any] = {"path": entry.key}
        raw = decode_name(entry.key)
        if _no_utf8(raw):
            out["path_bytes"] = base64.b64encode(raw).decode()
        out["type"] = _TYPES[entry.kind]
        out["size"] = entry.size
        out["mtime"] = seconds(entry.mtime_ns) if entry.mtime_ns is not None else None
        if entry.stored:
            out["stored"] = entry.stored
        if line.digest:
            out["digest"] = line.digest
        out["state"] = str(line.state)
        if line.error:
            out["error"] = line.error
        return _object(out)

    def trailer(self, states: Mapping[str, int]) -> bytes:
        """``states``: entries by state. Without it a file is not whole."""
        return _object({"hugesync_manifest_end": VERSION, "entries": sum(states.values()), **states})


class Csv:
    """For spreadsheets: what JSON Lines say, without header object, trailer, ``path_bytes``, ``stored`` and ``error``."""

    name = "csv"

    def header(self, source: str, dest: str | None, created: str, mapped: bool = False) -> bytes:
        return _row(COLUMNS)

    def line(self, line: Line) -> bytes:
        entry = line.entry
        time = seconds(entry.mtime_ns) if entry.mtime_ns is not None else ""
        return _row((entry.key, _TYPES[entry.kind], entry.size, time, line.digest, line.state))

    def trailer(self, states: Mapping[str, int]) -> bytes:
        return b""


FORMATS: dict[str, type[JsonLines] | type[Csv]] = {form.name: form for form in (JsonLines, Csv)}


def _object(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _row(values: tuple[object, ...]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue().encode()


def _no_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False
