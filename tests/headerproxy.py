"""An S3 server that forgets: a proxy in front of a real one that drops headers, or refuses requests, as a test says, and signs
anew what it hands on."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from servers import S3Server

_HOP = ("connection", "transfer-encoding", "keep-alive", "content-length")
_OURS = ("authorization", "x-amz-date", "x-amz-content-sha256", "expect", "host")

Drops = Callable[[str, str, str], bool]  # (method, path with query, header in lower case) → whether it is dropped
Refuses = Callable[[str, str], tuple[int, str] | None]  # (method, path with query) → status and code of an error


class HeaderProxy:
    """Listens on ``endpoint`` until ``close``. ``drops`` and ``refuses`` may be set at any time."""

    def __init__(self, target: S3Server) -> None:
        self.drops: Drops = lambda method, path, name: False
        self.refuses: Refuses = lambda method, path: None
        self.nameless = False  # answers without a Server header
        self.asked: list[tuple[str, str]] = []
        split = urlsplit(target.endpoint)
        address = (split.hostname or "127.0.0.1", split.port or 80)
        signer = S3SigV4Auth(Credentials(target.access_key, target.secret_key), "s3", target.region)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxy.asked.append((self.command, self.path))
                refused = proxy.refuses(self.command, self.path)
                if refused is not None:
                    self._answer(refused[0], [], f"<Error><Code>{refused[1]}</Code></Error>".encode())
                    return
                request = AWSRequest(self.command, f"http://{address[0]}:{address[1]}{self.path}", data=body)
                for name, value in self.headers.items():
                    low = name.lower()
                    if low not in (*_OURS, *_HOP) and not proxy.drops(self.command, self.path, low):
                        request.headers[name] = value
                signer.add_auth(request)
                onwards = HTTPConnection(*address, timeout=60)
                onwards.request(self.command, self.path, body, dict(request.headers.items()))
                answer = onwards.getresponse()
                found = answer.read()
                self._answer(answer.status, answer.getheaders(), found, answer.getheader("Content-Length"))
                onwards.close()

            def _answer(
                self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None
            ) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in _HOP and not (proxy.nameless and name.lower() == "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> HeaderProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
