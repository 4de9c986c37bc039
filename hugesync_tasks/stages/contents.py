"""Whether two objects of equal size hold the same bytes: by digests that both hold, else by reading what has to be read.

Never "assume equal", and nothing is believed of another version than was asked for: what moves meanwhile is told apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

from awscrt.checksums import crc64nvme

from hugesync_tasks.errors import NotFound, SourceChanged, VersionMismatch
from hugesync_tasks.model import Entry
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import Store
from hugesync_tasks.token import Token

# of Head's digests, the better first: what both hold is compared; of what one holds the other's bytes are digested
ALGORITHMS = {"crc64": "CRC64NVME", "md5": "MD5"}
Digests = dict[str, int | str]  # by their names


class What(StrEnum):
    EQUAL = "equal"
    DIFFERENT = "different"
    SOURCE_MOVED = "source moved"  # gone, or another version than the one to be compared
    DEST_MOVED = "destination moved"


@dataclass(frozen=True, slots=True)
class Found:
    """``how``: of what differs, by what that was seen; it goes on from "the contents differ"."""

    what: What
    how: str = ""


class Moved(Exception):
    """An end is not what is compared any more; the argument says which."""

    def __init__(self, what: What) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True, slots=True)
class End:
    """One of both objects, pinned."""

    store: Store
    key: str
    version: str
    moved: What

    def check(self, token: Token) -> None:
        """Raises Moved."""
        head = self.store.head(self.key, token)
        if head is None or head.entry.version != self.version:
            raise Moved(self.moved)

    def digests(self, token: Token) -> Digests:
        """By name (``ALGORITHMS``), those that the store holds. Raises Moved."""
        head = self.store.head(self.key, token, digest=True)
        if head is None or head.entry.version != self.version:
            raise Moved(self.moved)
        return {name: value for name in ALGORITHMS if (value := getattr(head, name)) is not None}

    def chunks(self, token: Token, start: int = 0, length: int | None = None) -> Generator[bytes]:
        """The bytes of a range, or all: those of the version that was opened, whatever is there by then. Raises Moved."""
        try:
            with self.store.open(self.key, self.version, token, start, length) as reader:
                yield from reader
        except (NotFound, VersionMismatch, SourceChanged) as error:
            raise Moved(self.moved) from error


def ends(job: JobContext, source: Entry, dest: Entry) -> tuple[End, End]:
    """Both, as listings or HEADs showed them; keys are the destination's."""
    return (
        End(job.source, job.source_key(source), source.version, What.SOURCE_MOVED),
        End(job.dest, dest.key, dest.version, What.DEST_MOVED),
    )


def compare_contents(job: JobContext, source: Entry, dest: Entry, token: Token) -> Found:
    """Compare the version of ``source`` with that of ``dest``; of links their targets. Raises what the stores raise."""
    ours, theirs = ends(job, source, dest)
    try:
        here, there = ours.digests(token), theirs.digests(token)
        found = held(here, there)
        if found is None:
            found = _read(ours, theirs, here, there, token)
            ours.check(token)  # both stood still while that was read, or it says nothing
            theirs.check(token)
        return found
    except Moved as moved:
        return Found(moved.what)


def _read(ours: End, theirs: End, here: Digests, there: Digests, token: Token) -> Found:
    for name in ALGORITHMS:
        if name in there:
            return by_digest(name, there[name] == digest(ours.chunks(token), name))
        if name in here:
            return by_digest(name, here[name] == digest(theirs.chunks(token), name))
    with closing(ours.chunks(token)) as mine, closing(theirs.chunks(token)) as other:
        at = first_difference(mine, other)
    return Found(What.EQUAL) if at is None else Found(What.DIFFERENT, f"first at byte {at}")


def held(here: Digests, there: Digests) -> Found | None:
    """By the digests that both stores hold; None where they have none in common."""
    for name in ALGORITHMS:
        if name in here and name in there:
            return by_digest(name, here[name] == there[name])
    return None


def by_digest(name: str, equal: bool) -> Found:
    return Found(What.EQUAL) if equal else Found(What.DIFFERENT, f"their {ALGORITHMS[name]} is not the same")


def digest(chunks: Iterator[bytes], name: str) -> int | str:
    """Of all that comes, by one of ``ALGORITHMS``."""
    if name == "md5":
        md5 = hashlib.md5(usedforsecurity=False)
        for chunk in chunks:
            md5.update(chunk)
        return md5.hexdigest()
    crc = 0
    for chunk in chunks:
        crc = crc64nvme(chunk, crc)
    return crc


def first_difference(mine: Iterator[bytes], other: Iterator[bytes]) -> int | None:
    """Where two streams first differ, counted from 0; None where both end without. Reads no further than that."""
    at, a, b = 0, b"", b""
    while True:
        a, b = a or _more(mine), b or _more(other)
        n = min(len(a), len(b))
        if a[:n] != b[:n]:
            return at + next(i for i in range(n) if a[i] != b[i])
        if not n:
            return None if not a and not b else at
        a, b, at = a[n:], b[n:], at + n


def _more(chunks: Iterator[bytes]) -> bytes:
    """The next that is not empty; nothing at the end."""
    return next((chunk for chunk in chunks if chunk), b"")
