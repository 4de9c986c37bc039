"""Bring a pinned range into memory once: a join of its chunks would hold it twice."""

from __future__ import annotations

from io import BytesIO

from hugesync_tasks.stores.base import Reader


def whole(reader: Reader) -> bytes:
    """All bytes of ``reader``. Raises what its iteration raises."""
    chunks = iter(reader)
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
