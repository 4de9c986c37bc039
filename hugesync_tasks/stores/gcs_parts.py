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

from hugesync_tasks import logs
from hugesync_tasks.errors import NotFound, StoreError
from hugesync_tasks.model import RESERVED_SEGMENT, Part, Upload
from hugesync_tasks.stores.gcs_meta import CRC64, crc32c_of_base64, crc64_of, version_of

FOLDER = f"{RESERVED_SEGMENT}/parts/"
FIELDS = "name,size,timeCreated,updated,generation,metadata,crc32c,storageClass"
AT_ONCE = 8  # requests of one call at the same time, where there may be thousands
_ID = re.compile(r"((?:.*/)?)([0-9a-f]{32})(?::([^/]+))?", re.DOTALL)  # root below ours, folder, key of a key service
_TEMPORARY = re.compile(rf"((?:.*?/)?){re.escape(FOLDER)}([0-9a-f]{{32}})/", re.DOTALL)
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
    storage_class: str = ""  # "" = the store does not say

    def etag(self) -> str:
        """How a receipt names an object that is taken over as it is: nothing of it is beside the parts."""
        return f"whole:{self.version}:{self.size}:{self.crc32c:08x}:{quote(self.name)}"


def whole_of(etag: str) -> Piece | None:
    """The inverse of ``Piece.etag``; None of a part that was sent."""
    found = _WHOLE.fullmatch(etag)
    if found is None:
        return None
    return Piece(unquote(found[4]), found[1], int(found[2]), int(found[3], 16), None, ours=False)


def upload_id(key: str, generation: str, size: int, part_size: int, kms: str | None = None) -> str:
    """With ``kms``, the name of the key that every temporary is to be encrypted with: who sends a part knows the id alone."""
    text = f"{key}\0{generation}\0{size}\0{part_size}{f'{chr(0)}{kms}' if kms else ''}"
    folder = blake3.blake3(text.encode()).hexdigest(length=16)
    return f"{folder}:{quote(kms, safe='')}" if kms else folder


def folder_of(upload: Upload) -> str | None:
    """Where its temporaries lie, below the root; None of an id that cannot be ours: it may come from anywhere."""
    found = _ID.fullmatch(upload.id)
    return f"{found[1]}{FOLDER}{found[2]}/" if found else None


def kms_of(upload: Upload) -> str | None:
    """The key that its temporaries are encrypted with; None = the bucket's own."""
    found = _ID.fullmatch(upload.id)
    return unquote(found[3]) if found and found[3] else None


def name_of(number: int) -> str:
    return f"{number:05d}"


def mark_of(pieces: Iterable[Piece]) -> str:
    """Of what an intermediate is composed: another version of a part gives another name."""
    return blake3.blake3("\0".join(f"{p.name}\1{p.version}" for p in pieces).encode()).hexdigest(length=12)


def about(upload: Upload, note: str = "", storage_class: str = "") -> dict[str, Any]:
    """What a temporary is written with. ``storage_class`` "": the bucket's own, which nobody needs a right to ask for."""
    pairs = {_KEY: quote(upload.key), _OF: upload.generation, CRC64: note}
    said = {"contentType": "application/octet-stream", "storageClass": storage_class}
    return {
        "metadata": {name: value for name, value in pairs.items() if value},
        **{name: value for name, value in said.items() if value},
    }


def piece_of(one: dict[str, Any]) -> Piece:
    """Of an object's resource; a checksum that is missing is one that nothing has."""
    crc32c = crc32c_of_base64(one.get("crc32c"))
    return Piece(
        str(one["name"]),
        version_of(one),
        int(one["size"]),
        -1 if crc32c is None else crc32c,
        crc64_of(one),
        storage_class=str(one.get("storageClass") or ""),
    )


def part_of(one: dict[str, Any]) -> Part | None:
    """The part that a temporary is; None of an intermediate."""
    last = str(one["name"]).rpartition("/")[2]
    if not _NUMBER.fullmatch(last):
        return None
    return Part(int(last), int(one["size"]), version_of(one), crc64_of(one))


def uploads_of(items: Iterable[dict[str, Any]], below: int) -> Iterator[tuple[str, str, str]]:
    """(key, id, when the first was written) of the temporaries in a listing. ``below``: the length of our root's whole key. Those
    of a root that lies deeper are found too: what its own jobs call ``key`` has that root before it, and so has the id."""
    for place, group in groupby(items, lambda one: _place_of(str(one["name"])[below:])):
        if place is None:
            continue
        root, folder = place
        rows = list(group)
        keys = [unquote(str((one.get("metadata") or {}).get(_KEY, ""))) for one in rows]
        yield (
            root + next((k for k in keys if k), ""),
            root + folder,
            min(str(one.get("timeCreated") or one.get("updated")) for one in rows),
        )


def _place_of(name: str) -> tuple[str, str] | None:
    """The root, below ours, and the upload's folder of a temporary; None of anything else."""
    found = _TEMPORARY.match(name) if FOLDER in name else None
    return (found[1], found[2]) if found else None


def at_once(call: Callable[[T], R], over: list[T], alive: Callable[[], None]) -> list[R]:
    """``call`` of each, a few at the same time, in order. The first error is raised when those under way have ended."""
    if len(over) <= 1:
        return [call(one) for one in over]
    with ThreadPoolExecutor(min(AT_ONCE, len(over)), **logs.carry()) as pool:
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
