"""The rows of a map as a person has it: CSV, JSON Lines, or what a query gives of an SQLite file. Reads, and changes nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO
from urllib.parse import quote

from hugesync_tasks.errors import UsageError

SQLITE = b"SQLite format 3\0"
COLUMNS = ("stored", "logical")
_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)

Names = tuple[bytes, bytes]  # stored, logical, as they are written there


def rows_of(path: str, query: str = "") -> Iterator[Names]:
    """Each row's names, in the order they come. ``path`` "-" is standard input. Raises UsageError for what is no map; the
    message names the row."""
    try:
        with closing(_opened(path)) as file:
            head = file.peek(len(SQLITE)) if isinstance(file, io.BufferedReader) else b""
            database = head.startswith(SQLITE)
            if database and not query:
                raise UsageError(f"--map {path} is an SQLite file: say what of it with --map-query")
            if query and not database:
                raise UsageError(f"--map-query is of an SQLite file, which {path} is not")
            if not database:
                lines = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
                yield from (_json_rows if lines else _csv_rows)(path, file)
                return
        yield from _queried(path, query)
    except OSError as error:
        raise UsageError(f"cannot read the map {path}: {error.strerror}") from error


def _opened(path: str) -> BinaryIO:
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb") if path == "-" else open(path, "rb")


def _csv_rows(path: str, file: BinaryIO) -> Iterator[Names]:
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if any(header.count(name) != 1 for name in COLUMNS):
            raise UsageError(f"the map {path} has no header line with the columns stored and logical")
        stored, logical = (header.index(name) for name in COLUMNS)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise _bad(path, f"line {reader.line_num}", f"{len(row)} columns, where the header has {len(header)}")
            yield _names(path, f"line {reader.line_num}", row[stored], row[logical])
    except csv.Error as error:
        raise _bad(path, f"line {reader.line_num}", str(error)) from error


def _json_rows(path: str, file: BinaryIO) -> Iterator[Names]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape"))
            stored, logical = (row[name] for name in COLUMNS)
        except (ValueError, KeyError, TypeError) as error:
            raise _bad(path, f"line {number}", 'it is no object like {"stored": "…", "logical": "…"}') from error
        yield _names(path, f"line {number}", stored, logical)


def _queried(path: str, query: str) -> Iterator[Names]:
    """The file is opened so that not even a journal can come of it. What a journal beside it holds would not be seen."""
    for suffix in ("-wal", "-journal"):
        if os.path.exists(path + suffix) and os.path.getsize(path + suffix):
            raise UsageError(
                f"{path}{suffix} lies beside {path}: changes in it are not seen by a look that writes nothing. Copy both "
                "elsewhere, open the copy with sqlite3 once, and give that"
            )
    try:
        where = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(where, uri=True, isolation_level=None)) as database:
            database.text_factory = bytes
            database.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY)
            cursor = database.execute(query)
            if cursor.description is None or len(cursor.description) != len(COLUMNS):
                raise UsageError("--map-query must be a SELECT of two columns: the stored and the logical name")
            for number, (stored, logical) in enumerate(cursor, 1):
                yield _names(path, f"row {number}", stored, logical)
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise UsageError(f"--map-query: {error}") from error


def _names(path: str, where: str, *values: Any) -> Names:
    names = []
    for column, value in zip(COLUMNS, values, strict=True):
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        try:
            name = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        except UnicodeEncodeError as error:
            raise _bad(path, where, f"its {column} name is not valid Unicode") from error
        if not isinstance(name, bytes):
            raise _bad(path, where, f"its {column} name is no text")
        if not name:
            raise _bad(path, where, f"it has no {column} name")
        names.append(name)
    return names[0], names[1]


def _bad(path: str, where: str, why: str) -> UsageError:
    return UsageError(f"the map {path}, {where}: {why}")
