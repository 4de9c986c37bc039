"""An HTTP store that is too busy for a while: it answers 503 SlowDown to what it refuses, and hands on everything else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_HOP = ("connection", "transfer-encoding", "keep-alive")


@dataclass(frozen=True)
class Put:
    """A PUT of a file or of a part, not of what we keep for ourselves. ``by``: the access key it is signed with."""

    at: float  # monotonic
    by: str
    is_part: bool
    refused: bool = False


class BusyProxy:
    """Listens on ``endpoint`` until ``close``. What ``refuses`` says of is refused; it may be changed at any time. Each PUT takes
    ``delay`` seconds more."""

    def __init__(
        self,
        target: str,
        refuses: Callable[[Put], bool] = lambda put: False,
        retry_after: int | None = None,
        delay: float = 0.0,
    ) -> None:
        self.puts: list[Put] = []
        self.refuses = refuses
        split = urlsplit(target)
        address = (split.hostname or "127.0.0.1", split.port or 80)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.command == "PUT" and "/.hugesync/" not in self.path and proxy._is_refused(self._put()):
                    self.send_response(503)
                    if retry_after is not None:
                        self.send_header("Retry-After", str(retry_after))
                    self.send_header("Content-Length", str(len(_SLOW_DOWN)))
                    self.end_headers()
                    self.wfile.write(_SLOW_DOWN)
                    return
                time.sleep(delay if self.command == "PUT" else 0.0)
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

            def _put(self) -> Put:
                signed = re.search(r"Credential=([^/]*)/", self.headers.get("Authorization", ""))
                return Put(time.monotonic(), signed[1] if signed else "", "partNumber=" in self.path)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def refused(self) -> int:
        return sum(put.refused for put in self.puts)

    def _is_refused(self, put: Put) -> bool:
        refused = self.refuses(put)
        self.puts.append(replace(put, refused=refused))
        return refused


def parts_for(seconds: float) -> Callable[[Put], bool]:
    """Refuses every part for so long, from the first one on."""
    until: list[float] = []

    def refuses(put: Put) -> bool:
        if put.is_part and not until:
            until.append(put.at + seconds)
        return put.is_part and put.at < until[0]

    return refuses
