"""The temporary objects of an upload: ``.hugesync/parts/<upload id>/<number>`` and, composed of them, ``<level>-<mark>``.

An upload is nothing but these. Its id follows from key, generation and sizes, so whoever begins the same again finds them,
also after every receipt is lost; and every one of them says whose it is, so that whoever sweeps knows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import blake3

from hugesync_tasks.errors import NotFound, StoreError
from hugesync_tasks.model import RESERVED_SEGMENT, Part, Upload
from hugesync_tasks.stores.gcs_meta import CRC64, crc32c_of_base64, noted_crc64, version_of

FOLDER = f"{RESERVED_SEGMENT}/parts/"
FIELDS = "name,size,timeCreated,updated,generation,metadata,crc32c"
STANDARD = "STANDARD"  # of temporaries, whatever the bucket's: others cost a fee when they are deleted early
AT_ONCE = 8  # requests of one call at the same time, where there may be thousands
_ID = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"\d{5}")
_KEY, _OF = "hugesync-key", "hugesync-generation"
_WHOLE = re.compile(r"whole:(\d+):(\d+):([0-9a-f]{8}):(.+)", re.DOTALL)
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Piece:
    """One object that is composed of, by its whole key."""

    name: str
    version: str
    size: int
    crc32c: int
    crc64: int | None = None
    ours: bool = True  # a temporary of this upload

    def etag(self) -> str:
        """How a receipt names an object that is taken over as it is: nothing of it is beside the parts."""
        return f"whole:{self.version}:{self.size}:{self.crc32c:08x}:{quote(self.name)}"


def whole_of(etag: str) -> Piece | None:
    """The inverse of ``Piece.etag``; None of a part that was sent."""
    found = _WHOLE.fullmatch(etag)
    if found is None:
        return None
    return Piece(unquote(found[4]), found[1], int(found[2]), int(found[3], 16), None, ours=False)


def upload_id(key: str, generation: str, size: int, part_size: int) -> str:
    return blake3.blake3(f"{key}\0{generation}\0{size}\0{part_size}".encode()).hexdigest(length=16)


def folder_of(upload: Upload) -> str | None:
    """Where its temporaries lie, below the root; None of an id that cannot be ours: it may come from anywhere."""
    return f"{FOLDER}{upload.id}/" if _ID.fullmatch(upload.id) else None


def name_of(number: int) -> str:
    return f"{number:05d}"


def mark_of(pieces: Iterable[Piece]) -> str:
    """Of what an intermediate is composed: another version of a part gives another name."""
    return blake3.blake3("\0".join(f"{p.name}\1{p.version}" for p in pieces).encode()).hexdigest(length=12)


def about(upload: Upload, crc64: int | None = None) -> dict[str, Any]:
    """The metadata of a temporary."""
    pairs = {_KEY: quote(upload.key), _OF: upload.generation}
    if crc64 is not None:
        pairs[CRC64] = f"{crc64:016x}"
    return {
        "metadata": {name: value for name, value in pairs.items() if value},
        "contentType": "application/octet-stream",
        "storageClass": STANDARD,
    }


def piece_of(one: dict[str, Any]) -> Piece:
    """Of an object's resource; a checksum that is missing is one that nothing has."""
    crc32c = crc32c_of_base64(one.get("crc32c"))
    return Piece(
        str(one["name"]),
        version_of(one),
        int(one["size"]),
        -1 if crc32c is None else crc32c,
        noted_crc64(one.get("metadata") or {}),
    )


def part_of(one: dict[str, Any]) -> Part | None:
    """The part that a temporary is; None of an intermediate."""
    last = str(one["name"]).rpartition("/")[2]
    if not _NUMBER.fullmatch(last):
        return None
    return Part(int(last), int(one["size"]), version_of(one), noted_crc64(one.get("metadata") or {}))


def uploads_of(items: Iterable[dict[str, Any]], below: int) -> Iterator[tuple[str, str, str]]:
    """(key, id, when the first was written) of a listing of all temporaries; ``below``: the length of ``FOLDER``'s whole key."""
    for id, group in groupby(items, lambda one: str(one["name"])[below:].partition("/")[0]):
        if not _ID.fullmatch(id):
            continue
        rows = list(group)
        keys = [unquote(str((one.get("metadata") or {}).get(_KEY, ""))) for one in rows]
        yield (
            next((k for k in keys if k), ""),
            id,
            min(str(one.get("timeCreated") or one.get("updated")) for one in rows),
        )


def at_once(call: Callable[[T], R], over: list[T], alive: Callable[[], None]) -> list[R]:
    """``call`` of each, a few at the same time, in order. The first error is raised when those under way have ended."""
    if len(over) <= 1:
        return [call(one) for one in over]
    with ThreadPoolExecutor(min(AT_ONCE, len(over))) as pool:
        futures = [pool.submit(call, one) for one in over]
        try:
            done = []
            for future in futures:
                done.append(future.result())
                alive()
            return done
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def ignoring_gone(call: Callable[[T], object]) -> Callable[[T], StoreError | None]:
    """``call``, whose error is its answer; what is gone already is no error."""

    def quiet(one: T) -> StoreError | None:
        try:
            call(one)
        except NotFound:
            return None
        except StoreError as error:
            return error
        return None

    return quiet
