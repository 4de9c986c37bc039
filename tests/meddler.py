"""An HTTP proxy that asks a function about every request before it hands it on: to refuse it, or to do something first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import urlsplit

_HOP = ("connection", "transfer-encoding", "keep-alive", "content-length")


@dataclass(frozen=True)
class Asked:
    """One request as it came; ``path`` has the query, ``copies`` is what a server-side copy takes its bytes from."""

    method: str
    path: str
    copies: str = ""

    def writes(self, key: str) -> bool:
        """Whether this makes the object ``key`` visible: a whole Put, or the Complete of its upload."""
        of_key = self.path.partition("?")[0].endswith(f"/{key}")
        return of_key and ((self.method == "PUT" and "partNumber=" not in self.path) or self.completes)

    @property
    def completes(self) -> bool:
        return self.method == "POST" and "uploadId=" in self.path


class Meddler:
    """Listens on ``endpoint`` until ``close`` (context manager). ``meddle`` is asked one request at a time; an HTTP status
    that it returns is the answer, and the request never reaches the server ``target``."""

    def __init__(self, target: str, meddle: Callable[[Asked], int | None]) -> None:
        split = urlsplit(target)
        address, lock = (split.hostname or "127.0.0.1", split.port or 80), Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with lock:
                    refused = meddle(Asked(self.command, self.path, self.headers.get("x-amz-copy-source", "")))
                if refused is not None:
                    self._answer(refused, [], b"")
                    return
                onwards = HTTPConnection(*address, timeout=60)
                onwards.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() != "expect":
                        onwards.putheader(name, value)
                onwards.endheaders(body)
                answer = onwards.getresponse()
                self._answer(answer.status, answer.getheaders(), answer.read(), answer.getheader("Content-Length"))
                onwards.close()

            def _answer(
                self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None
            ) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Meddler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
