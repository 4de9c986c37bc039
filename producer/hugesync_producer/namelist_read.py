"""What ``--files-from`` reads: lines, names that end in NUL, or a manifest (JSON Lines or CSV), as names in key form.

Of a manifest everything is taken that is not done: what is missing, differs, was only listed, or could not be looked at. Raises
UsageError that says which line cannot be meant; nothing has begun then.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from hugesync_producer.namelist import BLOCK, NameList, made
from hugesync_tasks.errors import UsageError
from hugesync_tasks.names import encode_name

LONGEST = 64 << 10  # bytes of a line; no path is as long
_LONGEST_OBJECT = 4 << 20
_COLUMNS = ["path", "type", "size", "mtime", "digest", "state"]
_TYPES = ("file", "link", "dir", "special", "unknown")
_STATES = {
    "done": False,
    "extra": False,
    "missing": True,
    "differs": True,
    "listed": True,
    "unknown": True,
    "gone": False,
}


@contextmanager
def read_list(path: str, nul: bool = False, stdin: Callable[[], IO[bytes]] | None = None) -> Iterator[NameList]:
    """The list in ``path`` (``-``: standard input), until the block ends. ``nul``: each name ends in NUL."""
    where = f"{'--files-from0' if nul else '--files-from'} {path}"
    with TemporaryDirectory(prefix="hugesync-names-") as folder:
        try:
            with (stdin or _stdin)() if path == "-" else open(path, "rb") as source:
                found = made(_told(names_in(source, nul), where), Path(folder))
        except OSError as error:
            raise UsageError(f"{where}: {error.strerror}") from error
        yield found


def names_in(source: IO[bytes], nul: bool) -> Iterator[str]:
    """The names of a list or manifest. UsageErrors begin with the number of the line, or name."""
    buffered = io.BufferedReader(source, BLOCK) if isinstance(source, io.RawIOBase) else source
    head = buffered.read(LONGEST)
    if nul:
        if _is_manifest(head):
            raise UsageError("this is a manifest: give it with --files-from")
        yield from _keys(_parted(head, buffered, rb"\0"), comments=False)
    elif _is_manifest(head):
        yield from _of_json(_parted(head, buffered, rb"\n", _LONGEST_OBJECT))
    elif head.split(b"\n", 1)[0].rstrip(b"\r") == ",".join(_COLUMNS).encode():
        yield from _of_csv(_parted(head, buffered, rb"\n", _LONGEST_OBJECT))
    else:
        yield from _keys(_parted(head, buffered, rb"\r\n?|\n"), comments=True)


def key_of(raw: bytes) -> str:
    """One name as it stands in a list; "" for one that asks for nothing (``.``). Raises UsageError."""
    segments = raw.split(b"/")
    shown = raw.decode(errors="backslashreplace")
    if b".." in segments:
        raise UsageError(f"{shown!r} has a part .., and names are those below SOURCE")
    if b"\0" in raw:
        raise UsageError("there is a NUL in it: names that end in NUL are given with --files-from0")
    named = [n for n, segment in enumerate(segments) if segment not in (b"", b".")]
    if named and b"." in segments[named[0] : named[-1]]:
        raise UsageError(
            f"{shown!r} has a part . in the middle, which makes rsync leave out what is before it; write it without"
        )
    key = encode_name(b"/".join(segments[n] for n in named))
    everything = segments[-1] in (b"", b".") if named else raw != b"."
    return key + "/" if everything else key


def _keys(parts: Iterator[tuple[int, bytes]], comments: bool) -> Iterator[str]:
    for number, raw in parts:
        if raw and not (comments and raw[:1] in (b"#", b";")):
            with _at(number):
                key = key_of(raw)
            if key:
                yield key


def _of_json(lines: Iterator[tuple[int, bytes]]) -> Iterator[str]:
    entries, end = 0, None
    for number, raw in lines:
        if not raw.strip():
            continue
        with _at(number):
            found = _object(raw)
            if end is not None:
                raise UsageError("there is more behind the manifest's last line")
            if "hugesync_manifest" in found and number == 1:
                if found["hugesync_manifest"] != 1:
                    raise UsageError(f"a manifest of format {found['hugesync_manifest']!r}; this release reads 1")
                if found.get("map"):
                    raise UsageError(
                        "this manifest was made with --map: its names are not those of SOURCE. The job with that map sends "
                        "what is not done"
                    )
                continue
            if "hugesync_manifest_end" in found:
                end = found.get("entries")
                continue
            entries += 1
            name = _entry(found.get("path"), found.get("type"), found.get("state"))
        if name:
            yield name
    if end is None or end != entries:
        raise UsageError(
            f"the manifest is not whole: it has {entries} entries and "
            + ("no last line" if end is None else f"its last line tells of {end}")
        )


def _of_csv(lines: Iterator[tuple[int, bytes]]) -> Iterator[str]:
    reader = csv.reader((raw.decode(errors="surrogateescape") + "\n" for _, raw in lines), strict=True)
    next(reader, None)
    while True:
        with _at(reader.line_num + 1):
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise UsageError(f"no line of a CSV manifest ({error})") from error
            if row is None:
                return
            if not row:
                continue
            if len(row) != len(_COLUMNS):
                raise UsageError(f"{len(row)} columns, and a manifest has {len(_COLUMNS)}")
            name = _entry(row[0], row[1], row[5])
        if name:
            yield name


def _entry(path: object, kind: object, state: object) -> str:
    """What a line of a manifest asks for; "" for nothing. A folder stands for itself, as its files have lines of their own, but
    one that could not be looked into has none."""
    if not isinstance(path, str) or not path or kind not in _TYPES or state not in _STATES:
        raise UsageError(f"no line of a manifest: path {path!r}, type {kind!r}, state {state!r}")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"path {path!r} is no UTF-8") from error
    if "\0" in path:
        raise UsageError(f"path {path!r} has a NUL")
    if not _STATES[str(state)]:
        return ""
    if kind == "unknown":
        return path
    return path.removesuffix("/") if kind == "dir" else path


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"no JSON ({error})") from error
    if not isinstance(found, dict):
        raise UsageError("no JSON object")
    return found


def _is_manifest(head: bytes) -> bool:
    try:
        return head[:1] == b"{" and "hugesync_manifest" in _object(head.split(b"\n", 1)[0])
    except UsageError:
        return False


def _parted(head: bytes, source: IO[bytes], by: bytes, longest: int = LONGEST) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of each part, the last one too where nothing ends it."""
    cut, rest, number = re.compile(by), head, 0
    while True:
        block = source.read(BLOCK)
        parts = cut.split(rest + block)
        rest = parts.pop() if block else b""
        for part in parts:
            number += 1
            if len(part) > longest:
                raise UsageError(f"line {number} is longer than any name ({longest} bytes)")
            yield number, part
        if not block:
            return
        if len(rest) > longest:
            raise UsageError(f"line {number + 1} is longer than any name ({longest} bytes)")


@contextmanager
def _at(number: int) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise UsageError(f"line {number}: {error}") from error


def _told(names: Iterator[str], where: str) -> Iterator[str]:
    try:
        yield from names
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _stdin() -> IO[bytes]:
    return sys.stdin.buffer
