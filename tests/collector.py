"""A little OTLP/HTTP collector: what a process sent, decoded."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from processes import wait_until


@dataclass(frozen=True)
class Span:
    """``attributes`` without our prefix. ``pid``: of the process that made it."""

    name: str
    trace: str
    id: str
    parent: str
    error: str
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def pid(self) -> int:
        return int(self.resource["process.pid"])


@dataclass
class Collector:
    port: int
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}"}

    def named(self, name: str) -> list[Span]:
        return [s for s in self.spans if s.name == name]

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        return wait_until(condition, 20, f"{what}; there were {sorted({s.name for s in self.spans})}")

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            made_by = _values(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_span(s, made_by) for s in scope.spans]


def _span(s: Any, resource: dict[str, Any]) -> Span:
    said = {k.removeprefix("hugesync."): v for k, v in _values(s.attributes).items()}
    error = s.status.message if s.status.code == 2 else ""
    return Span(s.name, s.trace_id.hex(), s.span_id.hex(), s.parent_span_id.hex(), error, said, resource)


def _values(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collector.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield collector
    server.shutdown()
    server.server_close()
