"""The bytes of an answer as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hugesync_tasks.stores.gcs_errors import translated
from hugesync_tasks.stores.object_reader import pieces
from hugesync_tasks.token import Token


def streamed(answer: Any, key: str, token: Token) -> Iterator[bytes]:
    """The chunks of a ``requests.Response`` as they were stored, nothing unpacked; closed however iteration ends."""
    return pieces(
        lambda most: answer.raw.read(most, decode_content=False),
        answer.close,
        lambda e: translated(e, "read", key),
        token,
    )
