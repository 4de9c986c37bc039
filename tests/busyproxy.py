"""An HTTP store that is too busy for a while: it answers 503 SlowDown to what is put, and hands on everything else."""

from __future__ import annotations

import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_HOP = ("connection", "transfer-encoding", "keep-alive")


class BusyProxy:
    """Listens on ``endpoint`` until ``close``. For ``seconds`` from the first part on, every part is refused."""

    def __init__(self, target: str, seconds: float, retry_after: int) -> None:
        self.refused = 0
        self._until: float | None = None
        split = urlsplit(target)
        address = (split.hostname or "127.0.0.1", split.port or 80)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                is_part = "partNumber=" in self.path and "/.hugesync/" not in self.path  # nor the probe of the endpoint
                if self.command == "PUT" and is_part and proxy._is_busy(seconds):
                    proxy.refused += 1
                    self.send_response(503)
                    self.send_header("Retry-After", str(retry_after))
                    self.send_header("Content-Length", str(len(_SLOW_DOWN)))
                    self.end_headers()
                    self.wfile.write(_SLOW_DOWN)
                    return
                onwards = HTTPConnection(*address, timeout=60)
                onwards.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() != "expect":
                        onwards.putheader(name, value)
                onwards.endheaders(body)
                answer = onwards.getresponse()
                found = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in (*_HOP, "content-length"):
                        self.send_header(name, value)
                self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(found)))
                self.end_headers()
                self.wfile.write(found)
                onwards.close()

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _is_busy(self, seconds: float) -> bool:
        if self._until is None:
            self._until = time.monotonic() + seconds
        return time.monotonic() < self._until
