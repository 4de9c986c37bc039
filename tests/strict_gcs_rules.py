"""What Google Cloud Storage refuses and in which words: limits, names, metadata and checksums. Pure.

Written from the vendor's documentation, never from our adapter: it is the judge, so it must not learn from the accused."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import google_crc32c

KIB = 1024
MAX_OBJECT_BYTES = 5 * KIB**4
MAX_NAME_BYTES = 1024
MAX_METADATA_BYTES = 8 * KIB  # keys and values of the custom metadata together
MAX_COMPOSE_SOURCES = 32
MAX_COMPONENTS = 2**31 - 1  # where componentCount stays
MAX_PAGE = 1000
UPLOAD_QUANTUM = 256 * KIB  # what a resumable upload keeps a multiple of
REWRITE_QUANTUM = KIB * KIB

_HELD = "At least one of the pre-conditions you specified did not hold."
_RATE = (
    "The object {} exceeded the rate limit for object mutation operations (create, update, and delete). "
    "Please reduce your request rate. See https://cloud.google.com/storage/docs/gcs429."
)


class Refused(Exception):
    """The answer to a request that fails: an HTTP status with Google's reason and message."""

    def __init__(self, status: int, reason: str, message: str, *, domain: str = "global", location: str = "") -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message, self.domain, self.location = status, reason, message, domain, location

    def body(self) -> bytes:
        """The JSON API's error document; a 304 has none."""
        if self.status == 304:
            return b""
        detail = {"message": self.message, "domain": self.domain, "reason": self.reason}
        if self.location:
            detail |= {"locationType": "header" if self.location == "If-Match" else "parameter"}
            detail |= {"location": self.location}
        return json.dumps({"error": {"code": self.status, "message": self.message, "errors": [detail]}}).encode()


def invalid(message: str, location: str = "") -> Refused:
    return Refused(400, "invalid", message, location=location)


def not_held() -> Refused:
    return Refused(412, "conditionNotMet", _HELD, location="If-Match")


def not_modified() -> Refused:
    return Refused(304, "notModified", "Not Modified")


def no_object(bucket: str, name: str) -> Refused:
    return Refused(404, "notFound", f"No such object: {bucket}/{name}")


def no_bucket() -> Refused:
    return Refused(404, "notFound", "The specified bucket does not exist.")


def too_fast(bucket: str, name: str) -> Refused:
    return Refused(429, "rateLimitExceeded", _RATE.format(f"{bucket}/{name}"), domain="usageLimits")


def too_large(what: str) -> Refused:
    return Refused(413, "uploadTooLarge", f"{what} exceeds the maximum object size.")


def check_name(name: str) -> None:
    """An object's name: 1 to 1024 bytes of UTF-8 without CR or LF, not a dot segment, not a reserved prefix."""
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise invalid("The object name is not valid UTF-8.", "name") from None
    if not raw:
        raise Refused(400, "required", "Required", location="name")
    if len(raw) > MAX_NAME_BYTES:
        raise invalid(f"The maximum object length is {MAX_NAME_BYTES} characters, but got a name with {len(raw)}.")
    if "\r" in name or "\n" in name:
        raise invalid(f"Disallowed unicode characters present in object name '{name!r}'.")
    if name in (".", "..") or name.startswith(".well-known/acme-challenge/"):
        raise invalid(f"Invalid object name '{name}'.")


def check_metadata(metadata: object) -> dict[str, str]:
    """Custom metadata: text to text, 8 KiB together. Returns it."""
    if not isinstance(metadata, Mapping) or not all(isinstance(value, str) for value in metadata.values()):
        raise invalid("Metadata must be a map of strings to strings.", "metadata")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise invalid(f"The combined size of the custom metadata is {size} bytes, more than {MAX_METADATA_BYTES}.")
    return dict(metadata)


def crc32c(data: bytes) -> str:
    """As the API shows it: base64 of the big-endian 32 bits."""
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def md5_hex(data: bytes) -> str:
    """As an ETag of the XML API shows it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def check_digests(data: bytes, claimed: Mapping[str, Any]) -> None:
    """Claims by field name (``crc32c``, ``md5Hash``, base64) against the bytes that came."""
    if (claim := claimed.get("crc32c")) and claim != (found := crc32c(data)):
        raise invalid(f'Provided CRC32C "{claim}" doesn\'t match calculated CRC32C "{found}".')
    if (claim := claimed.get("md5Hash")) and claim != (found := md5(data)):
        raise invalid(f'Provided MD5 hash "{claim}" doesn\'t match calculated MD5 hash "{found}".')


def digests_of_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The claims of ``x-goog-hash`` and ``Content-MD5``, by the field names of the JSON API."""
    claims: dict[str, str] = {}
    for part in headers.get("x-goog-hash", "").split(","):
        kind, _, value = part.strip().partition("=")
        if kind in ("crc32c", "md5"):
            claims["crc32c" if kind == "crc32c" else "md5Hash"] = value
    if "content-md5" in headers:
        claims["md5Hash"] = headers["content-md5"]
    return claims
