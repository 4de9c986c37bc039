"""The bytes of an answer as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hugesync_tasks.stores.gcs_errors import translated
from hugesync_tasks.stores.object_reader import CHUNK
from hugesync_tasks.token import Token


def streamed(answer: Any, key: str, token: Token) -> Iterator[bytes]:
    """The chunks of a ``requests.Response`` as they were stored, nothing unpacked; closed however iteration ends."""
    try:
        while True:
            try:
                chunk = answer.raw.read(token.slice(CHUNK), decode_content=False)
            except Exception as exc:
                raise translated(exc, "read", key) from exc
            if not chunk:
                return
            yield chunk
    finally:
        answer.close()
