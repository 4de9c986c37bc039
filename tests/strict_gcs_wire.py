"""Requests and replies of the strict fake of Google Cloud Storage, and what both of its APIs say about an object's bytes."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import unquote_to_bytes

from strict_gcs_rules import Refused, invalid
from strict_gcs_state import Version

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Request:
    """One request as it came: the path still percent-encoded, the query decoded, header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Reply:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


def as_json(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    head = {"Content-Type": "application/json; charset=UTF-8", **(headers or {})}
    return Reply(status, head, json.dumps(document, ensure_ascii=False).encode())


def decoded(segment: str) -> str:
    """A path segment's text; percent signs that do not spell UTF-8 are refused."""
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise invalid("The object name is not valid UTF-8.", "name") from None


def media(version: Version, headers: Mapping[str, str]) -> Reply:
    """The bytes of an object, or the one range asked for, with the headers that tell what they are.

    An object stored with Content-Encoding gzip is unpacked for whoever does not accept gzip, and then whole: the range
    is ignored (decompressive transcoding)."""
    head, data = object_headers(version), version.data
    asked = headers.get("range", "")
    packed = version.fields.get("contentEncoding") == "gzip"
    if packed and "gzip" not in headers.get("accept-encoding", "") and not _untouched(version):
        del head["Content-Encoding"], head["Content-Length"]
        return Reply(200, head | {"Warning": "214 UploadServer gunzipped"}, gzip.decompress(data))
    match = _RANGE.fullmatch(asked.replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return Reply(200, head, data)
    first, last, size = match[1], match[2], len(data)
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size or stop <= start:
        raise Refused(416, "requestedRangeNotSatisfiable", "Request range not satisfiable", location="Range")
    head |= {"Content-Range": f"bytes {start}-{stop - 1}/{size}", "Content-Length": str(stop - start)}
    return Reply(206, head, data[start:stop])


def _untouched(version: Version) -> bool:
    return "no-transform" in version.fields.get("cacheControl", "")


def object_headers(version: Version) -> dict[str, str]:
    """What comes with an object's bytes in both APIs. A composite has no MD5."""
    hashes = [f"crc32c={version.crc}", *([f"md5={version.md5}"] if version.md5 else [])]
    head = {
        "Content-Type": version.fields.get("contentType", "application/octet-stream"),
        "Content-Length": str(len(version.data)),
        "ETag": version.etag,
        "Last-Modified": formatdate(version.updated, usegmt=True),
        "x-goog-generation": str(version.generation),
        "x-goog-metageneration": str(version.metageneration),
        "x-goog-hash": ",".join(hashes),
        "x-goog-storage-class": version.storage_class,
        "x-goog-stored-content-encoding": version.fields.get("contentEncoding", "identity"),
        "x-goog-stored-content-length": str(len(version.data)),
        "Accept-Ranges": "bytes",
    }
    if version.components:
        head["x-goog-component-count"] = str(version.components)
    names = {"contentEncoding": "Content-Encoding", "cacheControl": "Cache-Control"}
    names |= {"contentDisposition": "Content-Disposition", "contentLanguage": "Content-Language"}
    return head | {header: version.fields[name] for name, header in names.items() if name in version.fields}
