"""What an endpoint honours, measured without leaving anything and without the right to delete; at most 8 requests,
and where the connection breaks one to list and one to abort, for five seconds.

1. list: one key. Who serves (``Server`` header), and is the bucket there?
2. put: an If-Match that cannot hold, on a key that is not there, with a wrong Content-MD5. Refused for the condition?
3. create: a multipart upload with a full-object CRC64NVME.
4. part: with a wrong checksum. Refused? 5. part: a right one. Is its ETag its MD5?
6. complete: an If-Match that cannot hold, with a part that does not exist. Refused for the condition?
7. complete: a wrong CRC64NVME of the whole. Refused? 8. abort.

The wrong digest of 2 and the missing part of 6 keep most servers that ignore conditions from leaving an object. Where a
server takes 2, 6 or 7 all the same, the object is deleted again, the only case which needs the right to; without it some
bytes stay under ``.hugesync/``, which no listing of ours shows. What this cannot show (copy-source-if-match, conditional
delete, the order of listings) comes from the table of known servers, else is absent.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential

from hugesync_tasks.errors import (
    Corrupted,
    NeedsPerson,
    NotFound,
    Permanent,
    StoreError,
    Transient,
    Unsupported,
    VersionMismatch,
)
from hugesync_tasks.model import RESERVED_SEGMENT
from hugesync_tasks.stores.base import Limits
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.stores.s3_checksum import base64_of, crc64_of, md5_of
from hugesync_tasks.stores.s3_dialects import AWS_LIMITS, Dialect, by_server, with_dialect
from hugesync_tasks.stores.s3_errors import translated
from hugesync_tasks.stores.s3_meta import quoted, unquoted
from hugesync_tasks.stores.s3_providers import with_stated
from hugesync_tasks.token import Token

_BODY = b"hugesync asks what this endpoint honours"
_WRONG_CRC = base64_of(crc64_of(_BODY) ^ 1)
_WRONG_MD5 = base64.b64encode(hashlib.md5(b"not this", usedforsecurity=False).digest()).decode()
_NO_VERSION = quoted("0123456789abcdef0123456789abcdef")


def probe(store: S3Store, token: Token, writes: bool = True) -> Limits:
    """The limits of ``store``'s endpoint; the caller sets them on the store and sends them to the workers.

    Amazon's own endpoints are taken from the table with one request (is the bucket there?). ``writes`` false, for a
    source, asks for nothing that needs the right to write, and believes nothing of what it would have shown.
    Raises what a person must mend (NoSuchBucket, BadCredentials, AccessDenied) and Transient.
    """
    dialect = serving(store, token)
    if store.clients.is_aws:
        return AWS_LIMITS
    limits = with_dialect(Limits("s3", conditional_commit="none", intents=True, probed=True), dialect)
    limits = with_stated(limits, store.clients.endpoint)
    return _Probe(store, token).run(limits) if writes else limits


def serving(store: S3Store, token: Token) -> Dialect:
    """Who serves the bucket, by one listing of one key. Raises NoSuchBucket, NeedsPerson, Transient."""
    token.requested("list")
    try:
        answer = store.clients.control.list_objects_v2(Bucket=store.bucket, Prefix=store.prefix, MaxKeys=1)
    except Exception as exc:
        raise translated(exc, "list", "") from exc
    return by_server(str(answer["ResponseMetadata"].get("HTTPHeaders", {}).get("server", "")))


class _Probe:
    """The requests that write, on one key of our own that nobody else has."""

    def __init__(self, store: S3Store, token: Token) -> None:
        self._store = store
        self._token = token
        self._key = f"{store.prefix}{RESERVED_SEGMENT}/probe-{uuid.uuid4().hex}"
        self._upload: dict[str, Any] = {}
        self._asked = False  # for an upload
        self._taken = False  # the server made an object that it should have refused

    def run(self, limits: Limits) -> Limits:
        try:
            return self._tried(limits)
        except Transient:
            if self._asked:
                with suppress(StoreError):
                    self._leave_nothing()
            raise

    @retry(
        retry=retry_if_exception_type(Transient), stop=stop_after_delay(5), wait=wait_exponential(0.25), reraise=True
    )
    def _leave_nothing(self) -> None:
        """The connection broke: an upload may be there whose id, or whose abort, was lost. Found by its key, which nobody else has."""
        for _, upload, _ in self._store.uploads_below(self._key.removeprefix(self._store.prefix), self._token):
            self._ask("abort", "abort_multipart_upload", UploadId=upload)

    def _tried(self, limits: Limits) -> Limits:
        answer = self._ask("put", "put_object", Body=_BODY, ContentMD5=_WRONG_MD5, IfMatch=_NO_VERSION)
        put = _about_condition(answer)
        self._taken = not isinstance(answer, StoreError)
        whole, self._asked = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}, True
        typed = self._ask("create", "create_multipart_upload", **whole)
        if isinstance(typed, StoreError):
            typed = self._must(self._ask("create", "create_multipart_upload"))
            whole = {}
        self._upload = {"UploadId": typed["UploadId"]}
        try:
            part = {"PartNumber": 1, "Body": _BODY, **self._upload}
            checks = bool(whole) and _refused(self._ask("part", "upload_part", ChecksumCRC64NVME=_WRONG_CRC, **part))
            etag = unquoted(self._must(self._ask("part", "upload_part", **self._checksum(checks), **part))["ETag"])
            complete = _about_condition(
                self._complete(hashlib.sha1(etag.encode()).hexdigest()[:32], IfMatch=_NO_VERSION)
            )
            if checks and self._upload:
                wrong = self._complete(etag, ChecksumCRC64NVME=_WRONG_CRC, ChecksumType="FULL_OBJECT")
                checks = _refused(wrong)
        finally:
            if self._upload:
                self._ask("abort", "abort_multipart_upload", **self._upload)
            if self._taken:
                with suppress(StoreError):
                    self._ask("delete", "delete_object")
        md5 = hashlib.md5(_BODY, usedforsecurity=False).hexdigest()
        return replace(
            limits,
            conditional_commit="enforced" if put and complete else "none",
            full_crc64=checks and not self._taken,
            etag_is_md5=md5_of(etag) == md5,
        )

    def _checksum(self, checks: bool) -> dict[str, str]:
        return {"ChecksumCRC64NVME": base64_of(crc64_of(_BODY))} if checks else {}

    def _complete(self, etag: str, **more: Any) -> dict[str, Any] | StoreError:
        listed = {"Parts": [{"PartNumber": 1, "ETag": quoted(etag)}]}
        answer = self._ask("complete", "complete_multipart_upload", MultipartUpload=listed, **self._upload, **more)
        if not isinstance(answer, StoreError):
            self._upload, self._taken = {}, True
        return answer

    def _ask(self, name: str, operation: str, **arguments: Any) -> dict[str, Any] | StoreError:
        """The answer, or what the store refused it with; what is no answer to the question is raised."""
        self._token.requested(name)
        self._token.sent(len(arguments.get("Body", b"")), overhead=True)
        call = getattr(self._store.clients.control, operation)
        try:
            answer: dict[str, Any] = call(Bucket=self._store.bucket, Key=self._key, **arguments)
        except Exception as exc:
            error = translated(exc, f"try out writing below {RESERVED_SEGMENT}/", "")
            answered = isinstance(error, (Permanent, Corrupted))
            if isinstance(error, NeedsPerson) or (isinstance(error, Transient) and not answered):
                raise error from exc
            return error
        return answer

    @staticmethod
    def _must(answer: dict[str, Any] | StoreError) -> dict[str, Any]:
        if isinstance(answer, StoreError):
            raise Unsupported(f"the endpoint does not do multipart uploads: {answer}") from answer
        return answer


def _refused(answer: dict[str, Any] | StoreError) -> bool:
    """Whether the store saw that a checksum was wrong. Not knowing the header's name is no refusal of its value."""
    return isinstance(answer, Corrupted)


def _about_condition(answer: dict[str, Any] | StoreError) -> bool:
    return isinstance(answer, (VersionMismatch, NotFound))
