"""Which operation a request is, whether it may be, and its doing under the fake's lock. Blob Batch, here only of deletes, is
a request made of requests, each with a signature of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from email import message_from_bytes
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from strict_azure_auth import parse_query
from strict_azure_checks import Refused
from strict_azure_operations import Operations
from strict_azure_wire import Answer, Asked, Call
from strict_azure_xml import error

if TYPE_CHECKING:
    from strict_azure import StrictAzure

_BATCH = 256

Operation = Callable[[Operations, Call], Answer]
Table = dict[
    tuple[str, str, str], tuple[str, Operation]
]  # (method, restype, comp) → permissions of a SAS, one is enough

_ACCOUNT: Table = {
    ("GET", "", "list"): ("l", Operations.list_containers),
    ("GET", "account", "properties"): ("r", Operations.account_information),
    ("HEAD", "account", "properties"): ("r", Operations.account_information),
}
_CONTAINER: Table = {
    ("PUT", "container", ""): ("cw", Operations.create_container),
    ("DELETE", "container", ""): ("d", Operations.delete_container),
    ("GET", "container", ""): ("r", Operations.get_container),
    ("HEAD", "container", ""): ("r", Operations.get_container),
    ("GET", "container", "list"): ("l", Operations.list_blobs),
}
_BLOB: Table = {
    ("PUT", "", ""): ("cw", Operations.put_blob),
    ("PUT", "", "block"): ("cw", Operations.put_block),
    ("PUT", "", "blocklist"): ("cw", Operations.put_block_list),
    ("PUT", "", "metadata"): ("w", Operations.set_metadata),
    ("GET", "", "blocklist"): ("r", Operations.get_block_list),
    ("GET", "", ""): ("r", Operations.get_blob),
    ("HEAD", "", ""): ("r", Operations.get_blob),
    ("GET", "", "metadata"): ("r", Operations.get_blob_metadata),
    ("HEAD", "", "metadata"): ("r", Operations.get_blob_metadata),
    ("DELETE", "", ""): ("d", Operations.delete_blob),
}


def perform(
    azure: StrictAzure,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    meta: list[tuple[str, str]],
    body: bytes,
) -> Answer:
    """Raises Refused."""
    query = parse_query(raw_query)
    kind = (method, query.get("restype", ""), query.get("comp", ""))
    container, blob = _names(raw_path, azure.account_name)
    call = Call(method, container, blob, query, headers, meta, body)
    if kind == ("POST", "container", "batch"):
        azure.authority.check_request(method, raw_path, raw_query, headers, "d")
        return _batch(azure, call)
    need, operation = _choose(kind, call)
    azure.authority.check_request(method, raw_path, raw_query, headers, need)
    with azure.lock:
        return operation(Operations(azure), call)


def _choose(kind: tuple[str, str, str], call: Call) -> tuple[str, Operation]:
    """Raises Refused (501) for what is not known here."""
    table = _BLOB if call.blob else _CONTAINER if call.container else _ACCOUNT
    unknown = {"snapshot", "versionid", "x-ms-lease-id", "x-ms-if-tags", "x-ms-tags", "x-ms-access-tier"}
    unknown |= {"x-ms-copy-source-authorization", "x-ms-encryption-key"}
    if kind not in table or unknown & {*call.query, *call.headers}:
        raise Refused(501, "NotImplemented", f"strict_azure does not know {kind} with these headers and parameters.")
    if "x-ms-copy-source" in call.headers:
        if kind == ("PUT", "", "block"):
            return "cw", Operations.put_block_from_url
        if kind == ("PUT", "", ""):
            return "cw", Operations.put_blob_from_url if "x-ms-blob-type" in call.headers else Operations.copy_blob
    return table[kind]


def _names(raw_path: str, account: str) -> tuple[str, str]:
    """(container, blob), each maybe empty. Raises Refused when the path is of another account or no UTF-8."""
    root, _, rest = raw_path.lstrip("/").partition("/")
    container, _, blob = rest.partition("/")
    if unquote(root) != account:
        raise Refused(404, "ResourceNotFound", "The specified resource does not exist.")
    try:
        return unquote_to_bytes(container).decode(), unquote_to_bytes(blob).decode()
    except UnicodeDecodeError:
        raise Refused(400, "InvalidUri", "The requested URI does not represent any resource on the server.") from None


def _batch(azure: StrictAzure, call: Call) -> Answer:
    """Raises Refused when the body is no batch; what its requests are refused for stands in their answers."""
    kind = call.headers.get("content-type", "")
    whole = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + call.body)
    parts = whole.get_payload() if whole.is_multipart() else []
    if not parts or len(parts) > _BATCH:
        raise Refused(400, "InvalidInput" if not parts else "ExceedsMaxBatchRequestCount")
    boundary = f"batchresponse_{uuid.uuid4()}"
    body = b""
    for part in parts:
        first, _, rest = part.get_payload().replace("\r\n", "\n").partition("\n")
        body += f"--{boundary}\r\nContent-Type: application/http\r\n".encode()
        body += f"Content-ID: {part['Content-ID']}\r\n\r\n".encode() if part["Content-ID"] else b"\r\n"
        body += _part(azure, call.container, first.split(" "), message_from_bytes(rest.encode()).items())
    return Answer(202, {"Content-Type": f"multipart/mixed; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode())


def _part(azure: StrictAzure, container: str, line: list[str], meta: list[tuple[str, str]]) -> bytes:
    try:
        if len(line) != 3 or line[0] != "DELETE":
            raise Refused(501, "NotImplemented", f"strict_azure knows only batches of deletes: {line}")
        split, headers = urlsplit(line[1]), {name.lower(): value for name, value in meta}
        azure.requests.append(Asked("DELETE", unquote(split.path), parse_query(split.query), headers))
        if _names(split.path, azure.account_name)[0] != container:
            raise Refused(400, "InvalidInput", "A batch on a container holds only requests for its blobs.")
        done = perform(azure, "DELETE", split.path, split.query, headers, meta, b"")
    except Refused as refused:
        shown = {"x-ms-error-code": refused.code, "Content-Type": "application/xml"}
        done = Answer(refused.status, shown, error(refused, str(uuid.uuid4())))
    headers = {"x-ms-request-id": str(uuid.uuid4()), **done.headers, "Content-Length": str(len(done.body))}
    head = f"HTTP/1.1 {done.status} {HTTPStatus(done.status).phrase}\r\n"
    return (head + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n").encode() + done.body + b"\r\n"
