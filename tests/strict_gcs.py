"""A strict fake of Google Cloud Storage over HTTP, in process: it enforces the conditions, checksums and limits that
other emulators ignore, remembers every request and fails on demand.

    with StrictGcs(buckets=("bucket",)) as gcs:
        os.environ.update(gcs.env)          # the vendor's SDK
        ...GCSStore("bucket", config={"service_account_key": gcs.service_account_key}, client_options={"allow_http": True})
        gcs.faults = lambda method, path, query: ("after", 0) if method == "POST" else None
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock, Thread
from typing import Any, Literal
from urllib.parse import parse_qsl

from strict_gcs_json import JsonApi
from strict_gcs_rules import KIB, MAX_OBJECT_BYTES, MAX_PAGE, Refused
from strict_gcs_state import Conditions, State, Version
from strict_gcs_wire import Reply, Request
from strict_gcs_xml import XmlApi, xml_error

Fault = tuple[Literal["before", "after"], int]  # when it strikes, and the status it answers; 0 cuts the connection
Faults = Callable[[str, str, Mapping[str, str]], Fault | None]  # of method, path as sent, query


@dataclass(frozen=True)
class Seen:
    """One request that came, for golden tests; header names are in lower case, the path is as it was sent."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    length: int


class StrictGcs:
    """Listens on ``endpoint`` until it is closed.

    ``clock`` gives seconds since the epoch. ``writes_per_second`` 1 is Google's limit for one object name, None is off.
    ``page_size`` caps a listing's page. ``rewrite_bytes_per_call`` is how much one call of a rewrite copies.
    ``faults`` and ``requests`` may be set and cleared at any time.
    """

    def __init__(
        self,
        buckets: Iterable[str] = ("bucket",),
        *,
        clock: Callable[[], float] = time.time,
        writes_per_second: float | None = None,
        page_size: int = MAX_PAGE,
        rewrite_bytes_per_call: int = KIB**3,
        max_object_bytes: int = MAX_OBJECT_BYTES,
        faults: Faults | None = None,
    ) -> None:
        self.state = State(buckets, clock, writes_per_second, max_object_bytes)
        self.faults: Faults = faults or (lambda method, path, query: None)
        self.requests: list[Seen] = []
        self._lock = RLock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.env = {"STORAGE_EMULATOR_HOST": self.endpoint}
        self.service_account_key = json.dumps(
            {
                "gcs_base_url": self.endpoint,
                "disable_oauth": True,
                "client_email": "",
                "private_key": "",
                "private_key_id": "",
            }
        )
        self._json = JsonApi(self.state, self.endpoint, page_size, rewrite_bytes_per_call)
        self._xml = XmlApi(self.state, page_size)
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> StrictGcs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, bucket: str, name: str, data: bytes, **resource: Any) -> Version:
        """Somebody else's write, past HTTP, faults and the log."""
        with self._lock:
            return self.state.insert(bucket, name, data, resource, Conditions())

    def objects(self, bucket: str) -> dict[str, Version]:
        """The live objects by name."""
        with self._lock:
            return dict(self.state.buckets[bucket])

    def serve(self, request: Request) -> Reply | None:
        """The answer to one request; None cuts the connection."""
        with self._lock:
            self.requests.append(Seen(request.method, request.path, request.query, request.headers, len(request.body)))
            fault = self.faults(request.method, request.path, request.query)
            if fault and fault[0] == "before":
                return _failure(fault[1])
            reply = self._answer(request)
            return _failure(fault[1]) if fault else reply

    def _answer(self, request: Request) -> Reply:
        of_json = request.path.startswith(("/storage/v1/", "/upload/storage/v1/", "/download/storage/v1/"))
        try:
            return self._json.answer(request) if of_json else self._xml.answer(request)
        except Refused as refusal:
            if not of_json:
                return xml_error(refusal)
            if request.query.get("alt") == "media" and refusal.status == 404:  # a download's is plain text
                return Reply(404, {"Content-Type": "text/html; charset=UTF-8"}, refusal.message.encode())
            if refusal.status == 304:
                return Reply(304)
            return Reply(refusal.status, {"Content-Type": "application/json; charset=UTF-8"}, refusal.body())


def _failure(status: int) -> Reply | None:
    if not status:
        return None
    reason = {429: "rateLimitExceeded", 503: "backendError", 500: "internalError"}.get(status, "injected")
    body = Refused(status, reason, "A fault of the test").body()
    return Reply(status, {"Content-Type": "application/json; charset=UTF-8"}, body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None: ...


def _handler(gcs: StrictGcs) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def _any(self) -> None:
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self._chunks() if headers.get("transfer-encoding") == "chunked" else self._whole(headers)
            pairs = dict(parse_qsl(query, keep_blank_values=True))
            reply = gcs.serve(Request(self.command, path, pairs, headers, body))
            if reply is None:
                self.close_connection = True
                return
            self.send_response_only(reply.status)
            head = {"Content-Length": str(len(reply.body))} if reply.status not in (204, 304) else {}
            for name, value in (head | dict(reply.headers)).items():
                self.send_header(name, value.encode().decode("latin-1"))  # UTF-8 on the wire
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        def _whole(self, headers: Mapping[str, str]) -> bytes:
            length = int(headers.get("content-length", 0))
            body = self.rfile.read(length)
            if len(body) < length:
                raise ConnectionResetError("the request ended early")
            return body

        def _chunks(self) -> bytes:
            out = bytearray()
            while size := int(self.rfile.readline().split(b";")[0], 16):
                out += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return bytes(out)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any

        def log_message(self, *_: object) -> None: ...

    return Handler
