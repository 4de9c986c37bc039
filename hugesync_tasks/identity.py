"""Who is who: file, generation and job ids that every host computes from nothing (design §2, Identity).

All are BLAKE3 over canonical JSON (sorted keys, no spaces, ASCII). They name uploads and objects that outlive a release:
a change of what goes in makes every unfinished upload an orphan. Golden tests hold the values.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import blake3

from hugesync_tasks.model import Entry, Meta
from hugesync_tasks.spec import RULES_VERSION


def file_id(dest_root: str, key: str) -> str:
    """32 hex digits for ``key`` below the destination root (``Location.display()``)."""
    return _hash("file", dest_root, key)


def fingerprint(source: Entry) -> str:
    """The version of a source that a transfer was planned for, as text.

    Where the store gives a version only that and the size count: a listing and a HEAD must agree, and only the HEAD
    knows the stored mtime.
    """
    if source.version:
        return f"{source.kind}:{source.size}:{source.version}"
    return f"{source.kind}:{source.size}:{source.mtime_ns}:{source.modified_ns}"


def generation(source_fingerprint: str, expected: str | None, meta: Meta, rules_version: int = RULES_VERSION) -> str:
    """32 hex digits: the marker on what is written (blake3-128 of source, expected version, metadata, part rules).

    Fields of ``meta`` at their default are left out, so that a field added in a later release changes nothing.
    """
    written = {
        f.name: getattr(meta, f.name)
        for f in fields(meta)
        if f.name != "generation" and getattr(meta, f.name) != f.default
    }
    return _hash("generation", source_fingerprint, expected, written, rules_version)


def backup_mark(key: str, version: str) -> str:
    """32 hex digits for what is kept of ``key``: the marker by which a repeat knows its own copy."""
    return _hash("backup", key, version)


def job_id(source: str, dest: str, selection: dict[str, Any]) -> str:
    """20 hex digits: the same source, destination and selection are the same job (embedded: its folder's name)."""
    return _hash("job", source, dest, selection)[:20]


def place_id(place: str) -> str:
    """32 hex digits for an endpoint and what in it shares one rate."""
    return _hash("place", place)


def _hash(*what: object) -> str:
    text = json.dumps(what, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return blake3.blake3(text.encode()).hexdigest(length=16)
