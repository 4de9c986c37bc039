"""Multipart uploads of the XML API, which obstore uses for large objects. They take no preconditions and copy no parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from strict_gcs_rules import (
    KIB,
    Refused,
    check_digests,
    check_name,
    digests_of_headers,
    invalid,
    md5_hex,
    too_large,
)
from strict_gcs_state import Conditions, State, Version, int64
from strict_gcs_wire import Request

MIN_PART_BYTES = 5 * KIB * KIB  # of all parts but the last
MAX_PART_BYTES = 5 * KIB**3
MAX_PARTS = 10_000
_PART = re.compile(r"<Part>(.*?)</Part>", re.DOTALL)


@dataclass
class _Upload:
    bucket: str
    name: str
    resource: Mapping[str, object]
    parts: dict[int, bytes] = field(default_factory=dict, repr=False)


class Multiparts:
    """``uploads`` are the unfinished ones by id."""

    def __init__(self, state: State) -> None:
        self._state, self._ids = state, count(1)
        self.uploads: dict[str, _Upload] = {}

    def begin(self, bucket: str, name: str, resource: Mapping[str, object], request: Request) -> str:
        check_name(name)
        _unconditional(request)
        upload_id = f"MPU{next(self._ids):06d}"
        self.uploads[upload_id] = _Upload(bucket, name, resource)
        return upload_id

    def part(self, bucket: str, name: str, request: Request) -> str:
        """Keeps one part, in place of an earlier one of its number, and returns its ETag."""
        upload, number = self._of(bucket, name, request), int64(request.query, "partNumber") or 0
        if not 1 <= number <= MAX_PARTS:
            raise invalid(f"Part number must be an integer between 1 and {MAX_PARTS}.")
        if len(request.body) > MAX_PART_BYTES:
            raise too_large(f"A part of {len(request.body)} bytes")
        check_digests(request.body, digests_of_headers(request.headers))
        upload.parts[number] = request.body
        return md5_hex(request.body)

    def complete(self, bucket: str, name: str, request: Request) -> Version:
        """Joins the parts that the body names, over whatever is there."""
        upload = self._of(bucket, name, request)
        _unconditional(request)
        named = [
            (int(_element(part, "PartNumber")), _element(part, "ETag")) for part in _PART.findall(request.body.decode())
        ]
        numbers = [number for number, _ in named]
        if not named or numbers != sorted(set(numbers)):
            raise Refused(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        for number, tag in named:
            if number not in upload.parts or tag.replace("&quot;", "").strip('"') != md5_hex(upload.parts[number]):
                raise Refused(400, "InvalidPart", "One or more of the specified parts could not be found.")
        chosen = [upload.parts[number] for number in numbers]
        if any(len(part) < MIN_PART_BYTES for part in chosen[:-1]):
            raise Refused(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum object size.")
        version = self._state.insert(bucket, name, b"".join(chosen), upload.resource, Conditions(), with_md5=False)
        del self.uploads[request.query["uploadId"]]
        return version

    def abort(self, bucket: str, name: str, request: Request) -> None:
        self._of(bucket, name, request)
        del self.uploads[request.query["uploadId"]]

    def _of(self, bucket: str, name: str, request: Request) -> _Upload:
        upload = self.uploads.get(request.query.get("uploadId", ""))
        if upload is None or (upload.bucket, upload.name) != (bucket, name):
            raise Refused(404, "NoSuchUpload", "The requested upload was not found.")
        return upload


def _unconditional(request: Request) -> None:
    if any(name.startswith("x-goog-if-") or name in ("if-match", "if-none-match") for name in request.headers):
        raise invalid("Preconditions are not supported in multipart uploads.")


def _element(text: str, name: str) -> str:
    found = re.search(f"<{name}>(.*?)</{name}>", text, re.DOTALL)
    if found is None:
        raise Refused(400, "MalformedCompleteMultipartUploadRequest", "The body could not be read.")
    return found[1].strip()
