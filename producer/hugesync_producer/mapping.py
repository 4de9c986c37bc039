"""A map of names made ready: rows sorted by stored name, each with what is wrong with it, in a file of our own.

Nothing of it is in memory but one run of a sort. What it is called by (``digest``) follows from the rows alone, in whatever order and form they came.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import blake3

from hugesync_producer.ends import Ends
from hugesync_producer.maprows import Names, rows_of
from hugesync_tasks import names
from hugesync_tasks.errors import NoSpace, UsageError
from hugesync_tasks.model import Kind
from hugesync_tasks.stores.sorting import sorted_records

NAME = "map"  # of the file in the job's folder


class Row(NamedTuple):
    """``stored``, ``logical``: keys at the source and at the destination. ``why``: what is wrong with it; "" = nothing."""

    stored: str
    logical: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Map:
    """One that was made ready. ``path`` None: it lies in ``file`` alone, and goes with the process."""

    digest: str
    rows: int
    file: BinaryIO | None = None
    path: Path | None = None

    def read(self) -> Iterator[Row]:
        """By stored name. One reader at a time."""
        if self.path is not None:
            with open(self.path, "rb") as file:
                yield from _read(file)
        elif self.file is not None:
            self.file.seek(0)
            yield from _read(self.file)

    def keep(self, folder: Path) -> Map:
        """The same in the job's folder, where a resumed job finds it. Raises OSError."""
        assert self.file is not None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = folder / NAME
        self.file.seek(0)
        with open(target.with_suffix(".new"), "wb") as out:
            while chunk := self.file.read(1 << 20):
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        os.replace(target.with_suffix(".new"), target)
        return replace(self, file=None, path=target)


def prepare(path: str, query: str, ends: Ends) -> Map:
    """Read a map as a person has it, for the source of ``ends``. Raises UsageError where there is none, or no row in it, or
    where the source is a single file; NoSpace."""
    if ends.single_source:
        raise UsageError("--map is of a folder or prefix, and SOURCE is a single file")
    return ready(rows_of(path, query), path, remote=ends.source.scheme != "file")


def ready(rows: Iterable[Names], path: str, remote: bool) -> Map:
    """``remote``: the source is a store, whose keys are taken as they are written. Raises UsageError, NoSpace."""
    file = tempfile.TemporaryFile()
    hashed, count = blake3.blake3(), 0
    for row in _checked(_sorted(rows, remote)):
        line = json.dumps(row).encode() + b"\n"
        hashed.update(line)
        _write(file, line)
        count += 1
    if not count:
        raise UsageError(f"the map {path} has no rows: nothing would be copied")
    _write(file, b"")
    return Map(hashed.hexdigest(length=16), count, file)


def _write(file: BinaryIO, line: bytes) -> None:
    """``line``; nothing = all that was written is to be there."""
    try:
        file.write(line)
        if not line:
            file.flush()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoSpace(f"no space for the map in {tempfile.gettempdir()} (TMPDIR)") from error
        raise


def kept(folder: Path, digest: str) -> Map | None:
    """What ``Map.keep`` left in a job's folder; None where it is not there, or another."""
    hashed, count = blake3.blake3(), 0
    try:
        with open(folder / NAME, "rb") as file:
            for line in file:
                hashed.update(line)
                count += 1
    except FileNotFoundError:
        return None
    return Map(digest, count, path=folder / NAME) if hashed.hexdigest(length=16) == digest else None


def _read(file: BinaryIO) -> Iterator[Row]:
    for line in file:
        yield Row(*json.loads(line))


def _sorted(rows: Iterable[Names], remote: bool) -> Iterator[Row]:
    keys = (Row(_stored(stored, remote), names.encode_name(logical)) for stored, logical in rows)
    return sorted_records(keys, lambda row: row[:2], tuple, lambda w: Row(*w))


def _stored(raw: bytes, remote: bool) -> str:
    """A key as the store has it; a file's name in key form."""
    if remote:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    return names.encode_name(raw)


def _checked(rows: Iterable[Row]) -> Iterator[Row]:
    """With what is wrong with each; the same row twice is one row."""
    last: Row | None = None
    twice = False  # whether the row before ``last`` has its stored name
    for row in rows:
        if row == last:
            continue
        same = last is not None and row.stored == last.stored
        if last is not None:
            yield _judged(last, twice or same)
        last, twice = row, same
    if last is not None:
        yield _judged(last, twice)


def _judged(row: Row, twice: bool) -> Row:
    why = names.not_on_filesystem(row.logical) or names.reserved(row.logical, Kind.FILE) or ""
    if not why and row.logical.endswith("/"):
        why = "bad name: it ends in a slash"
    if not why and twice:
        why = f"more than one name is given to {row.stored}"
    return row._replace(why=f"the map: {why}" if why else "")
