"""A small HTTP server for metrics and health, in threads of a process that never forks."""

from __future__ import annotations

import errno
import json
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Thread
from typing import Any

AT_ONCE = 16  # requests; more are refused, so that nobody fills this process with threads
SLOWEST = 10.0  # seconds that a client may take to ask or to read

log = logging.getLogger(__name__)


class CannotServe(Exception):
    """The sentence says which port, and what hinders."""


@dataclass(frozen=True, slots=True)
class Page:
    body: bytes
    status: int = 200
    kind: str = "text/plain; charset=utf-8"

    @classmethod
    def verdict(cls, passes: bool, sentence: str) -> Page:
        """200 or 503, with the reason as a line."""
        return cls(f"{sentence}\n".encode(), 200 if passes else 503)

    @classmethod
    def json(cls, value: Mapping[str, Any], status: int = 200) -> Page:
        return cls(json.dumps(value).encode() + b"\n", status, "application/json")


Pages = Mapping[str, Callable[[str], Page]]  # path -> what is answered to a request with this Accept header


def metrics(registry: Any, accept: str) -> Page:
    """All that a registry of prometheus-client holds, in the form that was asked for."""
    from prometheus_client.exposition import choose_encoder

    encode, kind = choose_encoder(accept)
    return Page(encode(registry), kind=kind)


class Endpoint:
    """Answers until ``close``. Raises CannotServe."""

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        try:
            self._server = _Server(host, port, pages)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "another process has it" if taken else error.strerror or str(error)
            raise CannotServe(f"metrics are not served: port {port} of {host} (metrics_port): {why}") from error
        Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.pages = pages
        self._free = BoundedSemaphore(AT_ONCE)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request for metrics ended early", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SLOWEST
    server_version, sys_version = "HugeSync", ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        make = self.server.pages.get(path)
        if make is None:
            page = Page(f"there is {', '.join(self.server.pages)}\n".encode(), 404)
        else:
            try:
                page = make(self.headers.get("Accept", ""))
            except Exception as error:
                log.warning("%s could not be answered: %s", path, error)
                page = Page(f"{type(error).__name__}\n".encode(), 500)
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)
