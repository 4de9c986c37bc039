"""Bring a pinned range into memory once: a join of its chunks would hold it twice."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from hugesync_tasks.errors import SourceChanged
from hugesync_tasks.stores.base import Body, Reader, filling
from hugesync_tasks.token import Token


def into(room: memoryview | None, reader: Reader, paid_by: Token | None = None) -> Body:
    """All bytes of ``reader``, in ``room`` where there is one. Raises SourceChanged where they are more than that holds, and as
    ``whole``, which it is without."""
    if room is None:
        return whole(reader, paid_by)
    done, pieces = 0, filling(reader, room)
    if pieces is not None:
        for n in pieces:
            if paid_by is not None:
                paid_by.pay(n)
            done += n
        # itself: a part of it would be one more view, that must be gone before it is lent again
        return room if done == len(room) else room[:done]
    for chunk in reader if paid_by is None else _paid(reader, paid_by):
        if done + len(chunk) > len(room):
            raise SourceChanged(f"read more than {len(room)} bytes", reader.head.entry.key)
        room[done : done + len(chunk)] = chunk
        done += len(chunk)
    return room if done == len(room) else room[:done]


def whole(reader: Reader, paid_by: Token | None = None) -> bytes:
    """All bytes of ``reader``. Raises what its iteration raises. ``paid_by``: they count towards its job's bandwidth here, for
    neither end is a store that pays for them."""
    chunks = iter(reader) if paid_by is None else _paid(reader, paid_by)
    first = next(chunks, b"")
    second = next(chunks, None)
    if second is None:
        return first
    body = BytesIO()
    body.write(first)
    body.write(second)
    del first, second
    for chunk in chunks:
        body.write(chunk)
    return body.getvalue()  # shares the buffer: no copy


def _paid(reader: Reader, token: Token) -> Iterator[bytes]:
    for chunk in reader:
        token.pay(len(chunk))
        yield chunk
