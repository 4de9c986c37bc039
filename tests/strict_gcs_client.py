"""Plain HTTP for the tests of the strict fake of Google Cloud Storage."""

from __future__ import annotations

import json
from base64 import b64encode
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import google_crc32c

from strict_gcs import StrictGcs

O = "/storage/v1/b/bucket/o"  # noqa: E741 - as the API calls it
UP = f"/upload{O}"


class Client:
    """Plain HTTP over one kept connection: (status, headers in lower case, body; JSON where it is JSON)."""

    def __init__(self, gcs: StrictGcs) -> None:
        self.gcs = gcs
        self.connection = HTTPConnection(gcs.endpoint.removeprefix("http://"), timeout=10)

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] = b"",
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> tuple[int, dict[str, str], Any]:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self.connection.request(method, path + (f"?{urlencode(query)}" if query else ""), data, headers or {})
        reply = self.connection.getresponse()
        found = reply.read()
        head = {name.lower(): value for name, value in reply.getheaders()}
        return (
            reply.status,
            head,
            json.loads(found) if head.get("content-type", "").startswith("application/json") else found,
        )

    def insert(self, name: str, data: bytes = b"data", **query: Any) -> tuple[int, Any]:
        status, _, body = self("POST", UP, data, uploadType="media", name=name, **query)
        return status, body

    def begin(self, name: str, resource: dict[str, Any] | None = None, **query: Any) -> str:
        status, head, _ = self("POST", UP, {"name": name, **(resource or {})}, uploadType="resumable", **query)
        assert status == 200
        return head["location"].removeprefix(self.gcs.endpoint)

    def status(self, method: str, path: str, **query: Any) -> int:
        return self(method, path, **query)[0]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def crc(data: bytes) -> str:
    return b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def reason(body: Any) -> str:
    return body["error"]["errors"][0]["reason"]


def compose(
    ask: Client, name: str, *sources: str | dict[str, Any], body: dict[str, Any] | None = None, **query: Any
) -> Any:
    listed = [{"name": source} if isinstance(source, str) else source for source in sources]
    return ask("POST", f"{O}/{name}/compose", {"sourceObjects": listed, **(body or {})}, **query)
