"""Intents: how an upload is found again. ListMultipartUploads gives key, id and time only, so beside the file an object says
which upload is of which generation. It lies where others may write: nothing that it says is believed before it is checked.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import blake3

from hugesync_tasks.errors import NoSuchUpload, NotFound
from hugesync_tasks.model import RESERVED_SEGMENT, Meta, Part, Upload
from hugesync_tasks.parts import part_count
from hugesync_tasks.stores.base import ANY, Store
from hugesync_tasks.token import Token

MOST = 16 << 10  # bytes of an intent: its longest text is a key of at most 1,024 bytes


def intent_key(key: str, generation: str, store: Store) -> str:
    """``PARENT/.hugesync/NAME.<generation>.upload``; a name too long for that is replaced by its hash. Of a long key it is
    ``.hugesync/HASH.<generation>.upload`` at the top, or the store could hold the file and not its intent."""
    parent, _, name = key.rpartition("/")
    longest = store.limits.max_segment or 255
    if len(name.encode()) + len(generation) + 8 > longest:
        name = blake3.blake3(name.encode()).hexdigest(length=16)
    folder = f"{parent}/{RESERVED_SEGMENT}" if parent else RESERVED_SEGMENT
    beside = f"{folder}/{name}.{generation}.upload"
    if len(beside.encode()) <= store.limits.max_key // 2:  # the other half is left to the prefix, which no stage knows
        return beside
    return f"{RESERVED_SEGMENT}/{blake3.blake3(key.encode()).hexdigest(length=16)}.{generation}.upload"


def put_intent(dest: Store, upload: Upload, token: Token) -> None:
    """Say beside ``upload.key`` which upload of this generation goes on; an earlier one's word is replaced."""
    body = json.dumps(
        {
            "version": 1,
            "upload": upload.id,
            "generation": upload.generation,
            "key": upload.key,
            "size": upload.size,
            "part_size": upload.part_size,
            "host": socket.gethostname(),
            "start": int(time.time()),
        }
    ).encode()
    key = intent_key(upload.key, upload.generation, dest)
    dest.put(key, body, Meta(content_type="application/json"), ANY, token, overhead=True)


def read_intent(body: bytes) -> Upload | None:
    """The upload that an intent names; None where it is none of ours, or damaged."""
    try:
        intent: Any = json.loads(body) if len(body) <= MOST else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(intent, dict):
        return None
    texts: list[Any] = [intent.get(name) for name in ("key", "upload", "generation")]
    numbers: list[Any] = [intent.get(name) for name in ("size", "part_size")]
    if not all(isinstance(t, str) and t for t in texts) or not all(type(n) is int and n >= 0 for n in numbers):
        return None
    return Upload(*texts, *numbers)


def named(dest: Store, key: str, generation: str, size: int, token: Token) -> Upload | None:
    """The upload that the intent of this generation names; it may be gone."""
    if not dest.limits.intents:
        return None
    try:
        with dest.open(intent_key(key, generation, dest), "", token, overhead=True) as reader:
            if reader.head.entry.size > MOST:
                return None
            upload = read_intent(b"".join(reader))
        if upload is None or (upload.key, upload.generation, upload.size) != (key, generation, size):
            return None  # never trusted, overwritten by the next intent
        return upload
    except NotFound:
        return None


def adopt(dest: Store, key: str, generation: str, size: int, token: Token) -> tuple[Upload, list[Part]] | None:
    """The upload of this generation that an earlier run left, with the parts that the store lists of it."""
    upload = named(dest, key, generation, size, token)
    if upload is None:
        return None
    step = upload.part_size
    try:
        if not 0 < step <= dest.limits.max_part or part_count(size, step) > dest.limits.max_parts:
            return None
        return upload, dest.list_parts(upload, token)
    except (NotFound, NoSuchUpload):
        return None


def forget(dest: Store, upload: Upload, token: Token) -> None:
    """Delete the intent of an upload that ended. Gone already is success."""
    if dest.limits.intents:
        dest.delete(intent_key(upload.key, upload.generation, dest), ANY, token)


def abandon(dest: Store, upload: Upload, token: Token) -> None:
    """Abort an upload and forget its intent: nothing of it stays."""
    if upload.id:  # of a delta that was never laid out there is nothing
        dest.abort(upload, token)
        forget(dest, upload, token)


def take_back(dest: Store, upload: Upload, token: Token) -> None:
    """``abandon`` what was just begun, by a task that may be nobody's any more. Where an upload's id follows from its generation
    another may have begun the same since: it stays, and is swept when it is old."""
    if dest.limits.intents:
        abandon(dest, upload, Token(token.meter))
