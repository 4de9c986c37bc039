"""Multipart uploads of the S3 adapter. An upload is a value: any process may continue or end it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from hugesync_tasks.errors import (
    AccessDenied,
    Corrupted,
    NoSuchUpload,
    NotFound,
    StoreError,
    TooLarge,
    VersionMismatch,
)
from hugesync_tasks.model import Commit, Meta, Part, Upload
from hugesync_tasks.stores.base import ANY, Body, NoBlocks, NotInPlace, Parts, Store
from hugesync_tasks.stores.covering import check_cover
from hugesync_tasks.stores.paced_body import PacedBody
from hugesync_tasks.stores.s3_checksum import base64_of, crc64_of, crc64_of_base64
from hugesync_tasks.stores.s3_dialects import by_name
from hugesync_tasks.stores.s3_errors import translated
from hugesync_tasks.stores.s3_listing import datetime_ns
from hugesync_tasks.stores.s3_meta import quoted, unquoted, version_id_of
from hugesync_tasks.stores.s3_root import S3Root, condition
from hugesync_tasks.token import Token


class S3Uploads(S3Root, NotInPlace, NoBlocks):
    """The multipart half of ``S3Store``."""

    def create_upload(self, key: str, size: int, part_size: int, meta: Meta, token: Token) -> Upload:
        if size > self.limits.max_size:
            raise TooLarge(f"{size} bytes are more than an object may have ({self.limits.max_size})", key)
        whole = self._whole(key)
        more = self._attributes(meta)
        if self.limits.full_crc64:
            more |= {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
        token.requested("create")
        try:
            answer = self.clients.control.create_multipart_upload(Bucket=self.bucket, Key=whole, **more)
        except Exception as exc:
            raise translated(exc, "begin an upload", key) from exc
        return Upload(key, str(answer["UploadId"]), meta.generation, size, part_size)

    def put_part(self, upload: Upload, number: int, body: Body, token: Token) -> Part:
        crc64 = crc64_of(body)
        checked = self.limits.full_crc64
        more = self._of(upload) | {"PartNumber": number}
        if checked:
            more["ChecksumCRC64NVME"] = base64_of(crc64)
        # without TLS and without a checksum the signed SHA-256 is all that guards the bytes on their way
        signed = not (checked or self.clients.is_tls)
        paced = PacedBody(body, token, signed=signed)
        client = self.clients.control if signed else self.clients.bulk
        token.requested("part")
        try:
            answer = client.upload_part(Body=paced, **more)
        except Exception as exc:
            if paced.stopped is not None:
                raise paced.stopped from None
            raise translated(exc, f"send part {number}", upload.key) from exc
        etag = unquoted(answer["ETag"])
        said = crc64_of_base64(answer.get("ChecksumCRC64NVME"))
        wrong = said is not None and said != crc64
        if not checked and self.limits.etag_is_md5:
            wrong = wrong or hashlib.md5(body, usedforsecurity=False).hexdigest() != etag
        if wrong:
            raise Corrupted(f"cannot send part {number}: the store holds other bytes than were sent", upload.key)
        return Part(number, len(body), etag, crc64)

    def copy_part(
        self, upload: Upload, number: int, source: Store, source_key: str, source_version: str, start: int, length: int,
        token: Token, source_id: str = "", checksum: int | None = None,
    ) -> Part:  # fmt: skip
        more = self._of(upload) | {"PartNumber": number, "CopySourceRange": f"bytes={start}-{start + length - 1}"}
        more |= self._copy_source(source, source_key, source_version, source_id)
        token.requested("part_copy")
        try:
            answer = self.clients.slow.upload_part_copy(**more)
        except Exception as exc:
            error = translated(exc, f"copy part {number}", upload.key)
            if isinstance(error, AccessDenied) and source_id and self.limits.part_conditional:
                # who may read objects need not have the right to read versions; then the condition alone pins it
                return self.copy_part(upload, number, source, source_key, source_version, start, length, token)
            raise error from exc
        token.copied_server_side(length)
        token.moved(length)
        result = answer["CopyPartResult"]
        return Part(number, length, unquoted(result.get("ETag")), crc64_of_base64(result.get("ChecksumCRC64NVME")))

    def list_parts(self, upload: Upload, token: Token) -> Parts:
        parts: Parts = []
        marker = 0
        while True:
            token.requested("list")
            try:
                answer = self.clients.control.list_parts(PartNumberMarker=marker, **self._of(upload))
            except Exception as exc:
                raise translated(exc, "list the parts", upload.key) from exc
            for part in answer.get("Parts", []):
                crc64 = crc64_of_base64(part.get("ChecksumCRC64NVME"))
                parts.append(Part(int(part["PartNumber"]), int(part["Size"]), unquoted(part["ETag"]), crc64))
            following = int(answer.get("NextPartNumberMarker") or 0)
            if not answer.get("IsTruncated") or following <= marker:
                return parts
            marker = following

    def complete(
        self, upload: Upload, parts: Parts, meta: Meta, expected: str | None, crc64: int | None, token: Token
    ) -> Commit:
        check_cover(upload, parts)
        proven = crc64 is not None and self.limits.full_crc64
        more: dict[str, Any] = self._of(upload) | condition(expected)
        if crc64 is not None and proven:
            more |= {"ChecksumCRC64NVME": base64_of(crc64), "ChecksumType": "FULL_OBJECT"}
        listed = [{"PartNumber": p.number, "ETag": quoted(p.etag)} for p in parts]
        token.requested("complete")
        try:
            answer = self.clients.slow.complete_multipart_upload(
                MultipartUpload={"Parts": listed}, MpuObjectSize=upload.size, **more
            )
        except Exception as exc:
            error: StoreError = translated(exc, "complete the upload", upload.key)
            if isinstance(error, NotFound) and expected not in (None, ANY):
                error = VersionMismatch("cannot complete the upload: the object is gone", upload.key)
            raise error from exc
        made = version_id_of(answer.get("VersionId"))
        return Commit(upload.key, unquoted(answer["ETag"]), upload.size, "crc64nvme" if proven else "", version_id=made)

    def abort(self, upload: Upload, token: Token) -> None:
        if not upload.id:
            return
        token.requested("abort")
        try:
            self.clients.control.abort_multipart_upload(**self._of(upload))
        except Exception as exc:
            error = translated(exc, "abort the upload", upload.key)
            if not isinstance(error, NoSuchUpload):
                raise error from exc

    def held(self, upload: Upload, token: Token) -> int | None:
        return sum(part.size for part in self.list_parts(upload, token))

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        return self.uploads_below("", token)

    def uploads_below(self, below: str, token: Token) -> Iterator[tuple[str, str, int]]:
        """``list_uploads`` of the keys that begin with ``below``."""
        markers: dict[str, str] = {}
        while True:
            token.requested("list")
            try:
                answer = self.clients.control.list_multipart_uploads(
                    Bucket=self.bucket, Prefix=self.prefix + below, EncodingType="url", **markers
                )
            except Exception as exc:
                raise translated(exc, "list the uploads", "") from exc
            encoded = answer.get("EncodingType") == "url" and not by_name(self.limits.name).raw_uploads
            decode = unquote_plus if encoded else str
            for one in answer.get("Uploads", []):
                key = decode(one["Key"])[len(self.prefix) :]
                yield key, str(one["UploadId"]), datetime_ns(one["Initiated"])
            following = {
                "KeyMarker": decode(answer.get("NextKeyMarker", "")),
                "UploadIdMarker": answer.get("NextUploadIdMarker", ""),
            }
            if not answer.get("IsTruncated") or following == markers or not following["KeyMarker"]:
                return
            markers = {name: value for name, value in following.items() if value}

    def _of(self, upload: Upload) -> dict[str, Any]:
        if not upload.id:  # Ceph takes a part without one for a whole object, and an abort for a delete
            raise NoSuchUpload("no upload is begun", upload.key)
        return {"Bucket": self.bucket, "Key": self._whole(upload.key), "UploadId": upload.id}
