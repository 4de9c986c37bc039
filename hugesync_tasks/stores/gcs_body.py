"""The body of an upload that carries the object's description before its bytes (``multipart/related``)."""

from __future__ import annotations

import json
import uuid
from typing import Any

from hugesync_tasks.stores.base import Body
from hugesync_tasks.stores.paced_body import PacedBody
from hugesync_tasks.token import Token

_NO_LINES = {ord("\r"): None, ord("\n"): None}


class RelatedBody:
    """File-like over description and bytes; renews the lease as the bytes go out, never holds them twice."""

    def __init__(self, about: dict[str, Any], body: Body, token: Token, overhead: bool = False) -> None:
        edge = uuid.uuid4().hex
        kind = str(about.get("contentType", "")).encode("ascii", "ignore").decode().translate(_NO_LINES)
        described = json.dumps(about, separators=(",", ":"), ensure_ascii=True)
        self._before = (
            f"--{edge}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{described}\r\n"
            f"--{edge}\r\nContent-Type: {kind}\r\n\r\n"
        ).encode()
        self._after = f"\r\n--{edge}--\r\n".encode()
        self._paced = PacedBody(body, token, overhead)
        self._stage = 0
        self.headers = {"Content-Type": f"multipart/related; boundary={edge}"}

    def __len__(self) -> int:
        return len(self._before) + len(self._paced) + len(self._after)

    def read(self, size: int = -1) -> bytes | memoryview:
        """The next piece; ``size`` is the caller's block size and only a hint to us."""
        if self._stage == 0:
            self._stage = 1
            return self._before
        if self._stage == 1:
            if self._paced.tell() < len(self._paced):
                return self._paced.read(1)
            self._stage = 2
            return self._after
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Only to the beginning: a repeat sends everything."""
        self._paced.seek(0)
        self._stage = 0
        return 0
