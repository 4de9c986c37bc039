"""The three ways of the JSON API to upload an object: media, multipart and resumable."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from itertools import count
from typing import Any

from strict_gcs_rules import (
    UPLOAD_QUANTUM,
    Refused,
    check_digests,
    check_metadata,
    check_name,
    digests_of_headers,
    invalid,
    too_large,
)
from strict_gcs_state import Conditions, State, Version
from strict_gcs_wire import Reply, Request

SESSION_SECONDS = 7 * 24 * 3600
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass
class Session:
    """One resumable upload: what it will become, and the bytes that are safe so far."""

    bucket: str
    name: str
    resource: Mapping[str, Any]
    conditions: Conditions
    begun: float
    total: int | None
    data: bytearray = field(default_factory=bytearray, repr=False)
    done: Version | None = None


class Uploads:
    """``sessions`` are by upload id; a finished one stays to answer whoever lost the reply."""

    def __init__(self, state: State) -> None:
        self._state, self._ids = state, count(1)
        self.sessions: dict[str, Session] = {}

    def media(self, bucket: str, request: Request) -> Version:
        resource = {"contentType": request.headers.get("content-type")}
        name = request.query.get("name", "")
        return self._whole(bucket, name, resource, request.body, request)

    def multipart(self, bucket: str, request: Request) -> Version:
        resource, kind, data = _related(request)
        resource.setdefault("contentType", kind)
        return self._whole(bucket, _name(resource, request), resource, data, request)

    def _whole(self, bucket: str, name: str, resource: Mapping[str, Any], data: bytes, request: Request) -> Version:
        self._state.bucket(bucket)
        check_name(name)
        check_digests(data, resource)
        check_digests(data, digests_of_headers(request.headers))
        kms_key = request.query.get("kmsKeyName", "")
        conditions = Conditions.of(request.query, request.headers)
        return self._state.insert(bucket, name, data, resource, conditions, kms_key=kms_key)

    def begin(self, bucket: str, request: Request) -> str:
        """Opens a resumable upload and returns its id. The conditions must hold now, and again at the end."""
        resource = json_object(request.body) if request.body else {}
        name = _name(resource, request)
        check_name(name)
        check_metadata(resource.get("metadata") or {})
        if kind := request.headers.get("x-upload-content-type"):
            resource.setdefault("contentType", kind)
        conditions = Conditions.of(request.query, request.headers)
        conditions.check(self._state.live(bucket, name))
        length = request.headers.get("x-upload-content-length", "")
        total = int(length) if length.isdigit() else None
        self._fits(total)
        upload_id = f"ABg{next(self._ids):06d}"
        self.sessions[upload_id] = Session(bucket, name, resource, conditions, self._state.clock(), total)
        return upload_id

    def proceed(self, upload_id: str, request: Request) -> Version | Reply:
        """One PUT of a session: the object when it is finished, else a 308 that tells how much is safe."""
        session = self._session(upload_id)
        if session.done is not None:
            return session.done
        first, last, total = _content_range(request)
        if total is not None:
            if session.total not in (None, total):
                raise invalid(f"Invalid request. The total size was {session.total} bytes before, now it is {total}.")
            self._fits(total)
            session.total = total
        if first is None:
            if total is not None and total == len(session.data):
                return self._finish(upload_id, session, request)
            return _incomplete(session)
        if last - first + 1 != len(request.body):
            raise invalid(
                f"Invalid request. There were {len(request.body)} byte(s) in the request body, not as declared."
            )
        if first > len(session.data):
            raise Refused(
                503,
                "backendError",
                f"Invalid request. According to the Content-Range header, the upload offset is {first} byte(s), "
                f"which exceeds already uploaded size of {len(session.data)} byte(s).",
            )
        final = total is not None and last + 1 == total
        if total is not None and last + 1 > total:
            raise invalid("Invalid request. The Content-Range header ends past the total size.")
        if not final and len(request.body) < UPLOAD_QUANTUM:
            raise invalid(
                f"Invalid request. The number of bytes uploaded is required to be equal or greater than {UPLOAD_QUANTUM}, "
                f"except for the final request (it's recommended to be the exact multiple of {UPLOAD_QUANTUM}). The "
                f"received request contained {len(request.body)} bytes, which does not meet this requirement."
            )
        # What is safe already is skipped without a look at whether it is the same: the vendor says so.
        session.data += request.body[len(session.data) - first :]
        self._fits(len(session.data))
        if final:
            return self._finish(upload_id, session, request)
        del session.data[len(session.data) // UPLOAD_QUANTUM * UPLOAD_QUANTUM :]
        return _incomplete(session)

    def cancel(self, upload_id: str) -> Reply:
        self._session(upload_id)
        del self.sessions[upload_id]
        return Reply(499)

    def _session(self, upload_id: str) -> Session:
        session = self.sessions.get(upload_id)
        if session is None:
            raise Refused(404, "notFound", "Upload session not found.")
        if self._state.clock() - session.begun > SESSION_SECONDS:
            raise Refused(410, "gone", "The upload session is no longer available.")
        return session

    def _finish(self, upload_id: str, session: Session, request: Request) -> Version:
        data = bytes(session.data)
        try:
            check_digests(data, session.resource)
            check_digests(data, digests_of_headers(request.headers))
            version = self._state.insert(session.bucket, session.name, data, session.resource, session.conditions)
        except Refused as refusal:
            if refusal.status != 429:  # the one that may be sent again
                del self.sessions[upload_id]
            raise
        session.done = version
        session.data.clear()
        return version

    def _fits(self, size: int | None) -> None:
        if size is not None and size > self._state.max_object_bytes:
            raise too_large(f"An upload of {size} bytes")


def _incomplete(session: Session) -> Reply:
    return Reply(308, {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {})


def _content_range(request: Request) -> tuple[int | None, int, int | None]:
    """First and last byte and the total, each None where the header has a star; without a header the body is all."""
    text = request.headers.get("content-range")
    if text is None:
        size = len(request.body)
        return 0, size - 1, size
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None or (match[1] is not None and int(match[2]) < int(match[1])):
        raise invalid("Failed to parse Content-Range header.")
    if match[1] is None and request.body:
        raise invalid("Failed to parse Content-Range header.")
    total = None if match[3] == "*" else int(match[3])
    return (None, -1, total) if match[1] is None else (int(match[1]), int(match[2]), total)


def _name(resource: Mapping[str, Any], request: Request) -> str:
    """The object's name, from the parameter or the resource; both must agree."""
    given = [name for name in (request.query.get("name"), resource.get("name")) if name is not None]
    if len(set(given)) > 1:
        raise invalid(f"Value '{given[1]}' in content does not agree with value '{given[0]}'.", "name")
    return str(given[0]) if given else ""


def json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Refused(400, "parseError", "Parse Error")
    return document


def _related(request: Request) -> tuple[dict[str, Any], str, bytes]:
    """The two parts of a multipart/related body: the resource, and the media with its type."""
    kind = request.headers.get("content-type", "")
    header = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n")
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/related" or not boundary:
        raise invalid("Missing multipart/related boundary.")
    pieces = (b"\r\n" + request.body).split(b"\r\n--" + boundary.encode())
    if len(pieces) != 4 or pieces[0].strip() or pieces[3].strip() != b"--":
        raise invalid("Malformed multipart body.")
    parts = [piece.partition(b"\r\n\r\n") for piece in pieces[1:3]]
    if not all(sign for _, sign, _ in parts):
        raise invalid("Malformed multipart body.")
    media = BytesParser(policy=HTTP).parsebytes(parts[1][0].lstrip() + b"\r\n\r\n")
    return json_object(parts[0][2]), media.get_content_type() if media["Content-Type"] else "", parts[1][2]
