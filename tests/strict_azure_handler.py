"""HTTP in front of the strict fake's state: reads a request, checks who asks, does it under the lock, answers as Azure does."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from strict_azure_auth import check_version, parse_query
from strict_azure_checks import Refused
from strict_azure_dispatch import perform
from strict_azure_wire import Answer, Asked
from strict_azure_xml import date, error

if TYPE_CHECKING:
    from strict_azure import StrictAzure

_XML = 64 * 1024 * 1024  # bytes of a block list or a batch
_DRAINED = 256 * 1024 * 1024  # bytes of a refused body that are read and thrown away, so that the client hears


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Windows-Azure-Blob/1.0", "Microsoft-HTTPAPI/2.0"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    server_of: StrictAzure

    def _any(self) -> None:
        split = urlsplit(self.path)
        query = parse_query(split.query)
        headers = self._headers()
        path = unquote(split.path, errors="surrogateescape")
        fault = self.server_of.faults(self.command, path, query)
        try:
            body = self._body(headers, query)
        except Refused as refused:
            self._log(path, query, headers, int(headers.get("content-length", 0)), b"")
            self._refuse(refused)
            return
        self._log(path, query, headers, len(body), body)
        if fault is not None and fault[0] == "before":
            self.close_connection = self.close_connection or not fault[1]
            if fault[1]:
                self._refuse(Refused(fault[1], "ServerBusy" if fault[1] == 503 else "InternalError"))
            return
        try:
            check_version(headers, query)
            answer = perform(
                self.server_of, self.command, split.path, split.query, headers, list(self.headers.items()), body
            )
        except Refused as refused:
            if fault is None:
                self._refuse(refused)
        else:
            if fault is None:
                self._send(answer)
        if fault is not None:
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

    def _headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in self.headers.items():
            low = name.lower()
            found[low] = f"{found[low]},{value.strip()}" if low in found else value.strip()
        return found

    def _body(self, headers: Mapping[str, str], query: Mapping[str, str]) -> bytes:
        """Raises Refused (411, 413); of a body that is too large nothing is kept."""
        if "content-length" not in headers:
            if self.command in ("PUT", "POST"):
                self.close_connection = True
                raise Refused(411, "MissingContentLengthHeader")
            return b""
        length = int(headers["content-length"])
        limits = self.server_of.account.limits
        most = {"block": limits.block, "": limits.put_blob}.get(query.get("comp", ""), _XML)
        if length <= most:
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True
                raise Refused(400, "IncompleteBody")
            return body
        self.close_connection = True
        left = min(length, _DRAINED)
        while left > 0 and (read := self.rfile.read(min(left, 1 << 20))):
            left -= len(read)
        raise Refused(413, "RequestBodyTooLarge", MaxLimit=str(most))

    def _log(self, path: str, query: dict[str, str], headers: dict[str, str], length: int, body: bytes) -> None:
        xml = body if query.get("comp") == "blocklist" else b""
        self.server_of.requests.append(Asked(self.command, path, query, headers, length, xml))

    def _refuse(self, refused: Refused) -> None:
        request_id = str(uuid.uuid4())
        headers = {"x-ms-error-code": refused.code, "x-ms-request-id": request_id, "Content-Type": "application/xml"}
        if "CopySourceStatusCode" in refused.details:
            headers["x-ms-copy-source-status-code"] = refused.details["CopySourceStatusCode"]
            headers["x-ms-copy-source-error-code"] = refused.details["CopySourceErrorCode"]
        bodiless = self.command == "HEAD" or refused.status == 304
        self._send(Answer(refused.status, headers, b"" if bodiless else error(refused, request_id)))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {"x-ms-request-id": str(uuid.uuid4()), "x-ms-version": self.headers.get("x-ms-version", "2026-10-06")}
        if "x-ms-client-request-id" in self.headers:
            headers["x-ms-client-request-id"] = self.headers["x-ms-client-request-id"]
        headers |= answer.headers
        if answer.status != 304:
            headers.setdefault("Content-Length", str(len(answer.body)))
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return date(self.server_of.account.now() if timestamp is None else timestamp)

    def log_message(self, *_: object) -> None: ...
