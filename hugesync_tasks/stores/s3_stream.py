"""The body of an answer of boto3, in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hugesync_tasks.stores.object_reader import pieces
from hugesync_tasks.stores.s3_errors import translated
from hugesync_tasks.token import Token


def streamed(body: Any, key: str, token: Token) -> Iterator[bytes]:
    """The chunks of a botocore ``StreamingBody``; closed however iteration ends."""
    return pieces(body.read, body.close, lambda e: translated(e, "read", key), token)
