"""What Azure Blob Storage demands of names, metadata, block ids and checksums, as pure functions.

Where it is from: Microsoft's REST pages "Naming and referencing containers, blobs and metadata", "Put Block", "Blob service
error codes" and "Common REST API error codes". The CRC64 is CRC-64/NVME (Rocksoft; reflected polynomial 0x9A6C9329AC4BC9B5),
its base64 that of the eight bytes in LITTLE endian order, read in four places that agree: azure-storage-blob 12.31.1
``_shared/validation.py`` (``to_bytes(8, "little")``), azure-sdk-for-java ``StorageCrc64Checksum.getCrcBytes``, azure-storage-net
``Crc64.cs`` (the polynomial), and an answer of the live service in azure-sdk-for-js' recordings of 2019-09-11: for a body of
``Hello World!`` the server calculated ``peH8Xsgc5QI=``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping

from awscrt import checksums

METADATA_BYTES = 8 * 1024
NAME_CHARACTERS = 1024
BLOCK_ID_BYTES = 64

_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*\Z|\$root\Z")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MESSAGES = {
    "AuthenticationFailed": "Server failed to authenticate the request. Make sure the value of the Authorization header is "
    "formed correctly including the signature.",
    "BlobAlreadyExists": "The specified blob already exists.",
    "BlobNotFound": "The specified blob does not exist.",
    "BlockCountExceedsLimit": "The uncommitted block count cannot exceed the maximum limit of 100,000 blocks.",
    "BlockListTooLong": "The block list may not contain more than 50,000 blocks.",
    "ConditionHeadersNotSupported": "Condition headers are not supported.",
    "ConditionNotMet": "The condition specified using HTTP conditional header(s) is not met.",
    "ContainerAlreadyExists": "The specified container already exists.",
    "ContainerBeingDeleted": "The specified container is being deleted. Try operation later.",
    "ContainerNotFound": "The specified container does not exist.",
    "Crc64Mismatch": "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.",
    "InvalidBlobOrBlock": "The specified blob or block content is invalid.",
    "InvalidBlockList": "The specified block list is invalid.",
    "InvalidHeaderValue": "The value for one of the HTTP headers is not in the correct format.",
    "InvalidMetadata": "The metadata specified is invalid. It has characters that are not permitted.",
    "InvalidRange": "The range specified is invalid for the current size of the resource.",
    "Md5Mismatch": "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
    "RequestBodyTooLarge": "The request body is too large and exceeds the maximum permissible limit.",
    "ServerBusy": "The server is busy.",
    "SourceConditionNotMet": "The source condition specified using HTTP conditional header(s) is not met.",
    "TargetConditionNotMet": "The target condition specified using HTTP conditional header(s) is not met.",
}


class Refused(Exception):
    """The answer is an error: ``status``, Azure's ``code``, a message, and the further elements of its XML body."""

    def __init__(self, status: int, code: str, message: str = "", **details: str) -> None:
        super().__init__(f"{status} {code} {message}".strip())
        self.status, self.code, self.details = status, code, details
        self.message = message or _MESSAGES.get(code, code)


def crc64(data: bytes) -> str:
    """Azure's CRC64 of ``data`` as it stands in ``x-ms-content-crc64``."""
    return base64.b64encode(checksums.crc64nvme(data).to_bytes(8, "little")).decode()


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def check_checksums(data: bytes, md5_given: str | None, crc_given: str | None) -> None:
    """Raises Refused (400) when a checksum is malformed, does not fit ``data``, or both kinds are given."""
    if md5_given is not None and crc_given is not None:
        raise Refused(400, "InvalidHeaderValue", "Content-MD5 and x-ms-content-crc64 exclude each other.")
    if md5_given is not None:
        if _decoded_length(md5_given) != 16:
            raise Refused(400, "InvalidMd5")
        if md5(data) != md5_given:
            raise Refused(400, "Md5Mismatch", UserSpecifiedMd5=md5_given, ServerCalculatedMd5=md5(data))
    if crc_given is not None:
        if _decoded_length(crc_given) != 8:
            raise Refused(400, "InvalidHeaderValue", HeaderName="x-ms-content-crc64", HeaderValue=crc_given)
        if crc64(data) != crc_given:
            raise Refused(400, "Crc64Mismatch", UserSpecifiedCrc=crc_given, ServerCalculatedCrc=crc64(data))


def check_container(name: str) -> None:
    if not _CONTAINER.match(name):
        raise Refused(400, "InvalidResourceName", "The specified resource name contains invalid characters.")


def check_blob_name(name: str) -> None:
    """1 to 1,024 characters. What the documentation only says to avoid (a backslash, a segment that ends with a dot), and what
    a client's library rewrites on its way (``.`` and ``..``), is refused: here nothing may depend on it."""
    if not name or utf16_length(name) > NAME_CHARACTERS:
        raise Refused(
            400, "InvalidResourceName", "The specified resource name length is not within the permissible limits."
        )
    if name.count("/") >= 254 or "\\" in name or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name):
        raise Refused(400, "InvalidUri", "The requested URI does not represent any resource on the server.")
    if any(segment.endswith(".") for segment in name.split("/")):
        raise Refused(400, "InvalidUri", "The requested URI does not represent any resource on the server.")


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-be", "surrogatepass")) // 2


def utf16_order(name: str) -> bytes:
    """The key by which List Blobs orders names."""
    return name.encode("utf-16-be", "surrogatepass")


def check_block_id(block_id: str, others: Iterable[str] = ()) -> None:
    """``others``: any block ids the blob has already; one of them is enough, they are of one length."""
    decoded = _decoded_length(block_id)
    if decoded is None:
        raise Refused(
            400, "InvalidQueryParameterValue", QueryParameterName="blockid", QueryParameterValue=block_id,
            Reason="Not a valid base64 string.",
        )  # fmt: skip
    if not 1 <= decoded <= BLOCK_ID_BYTES:
        raise Refused(
            400, "OutOfRangeInput", QueryParameterName="blockid", QueryParameterValue=block_id,
            Reason="Block ID length cannot exceed 64.",
        )  # fmt: skip
    if any(len(other) != len(block_id) for other in others):
        raise Refused(400, "InvalidBlobOrBlock")


def metadata_of(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The ``x-ms-meta-`` headers, names without the prefix in the case they came in. Raises Refused (400)."""
    found: dict[str, str] = {}
    size = 0
    for header, value in headers:
        if not header.lower().startswith("x-ms-meta-"):
            continue
        name = header[len("x-ms-meta-") :]
        if not name:
            raise Refused(400, "EmptyMetadataKey", "The key for one of the metadata key-value pairs is empty.")
        if not _IDENTIFIER.match(name) or not value.isascii() or not value.isprintable():
            raise Refused(400, "InvalidMetadata")
        if name.lower() in {known.lower() for known in found}:
            raise Refused(400, "InvalidMetadata", "A metadata name is given twice.")
        found[name] = value
        size += len(name) + len(value)
    if size > METADATA_BYTES:
        raise Refused(400, "MetadataTooLarge", "The size of the specified metadata exceeds the maximum size permitted.")
    return found


def byte_range(header: str, size: int) -> tuple[int, int]:
    """(start, end), end exclusive, of ``bytes=a-b`` or ``bytes=a-``, the two forms Azure knows; cut at ``size``.
    Raises Refused: 400, or 416 when it starts at or past the end."""
    form = re.match(r"bytes=(\d+)-(\d*)\Z", header)
    if not form or (form[2] and int(form[2]) < int(form[1])):
        raise Refused(400, "InvalidHeaderValue", HeaderName="Range", HeaderValue=header)
    start = int(form[1])
    if start >= size:
        raise Refused(416, "InvalidRange")
    return start, min(size, int(form[2]) + 1 if form[2] else size)


def no_conditions(headers: Mapping[str, str]) -> None:
    """Put Block and Get Block List have no conditional headers: an adapter that counts on one is told so."""
    if {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"} & set(headers):
        raise Refused(400, "ConditionHeadersNotSupported")


def _decoded_length(value: str) -> int | None:
    """Bytes behind a canonical base64 string; None when it is none."""
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return len(raw) if base64.b64encode(raw).decode() == value else None
