"""``Raw`` on a bucket of an S3 endpoint, through boto3 alone."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from hugesync_tasks.errors import NotFound
from hugesync_tasks.stores.raw import Version
from hugesync_tasks.stores.s3_checksum import base64_of, crc64_of_base64
from hugesync_tasks.stores.s3_errors import translated
from hugesync_tasks.stores.s3_listing import S3Listing
from hugesync_tasks.stores.s3_meta import quoted, unquoted
from hugesync_tasks.token import Token

if TYPE_CHECKING:
    from hugesync_tasks.stores.s3 import S3Store


class S3Raw:
    """Keys below ``store.prefix``. Requests and bodies are counted on the token, which also ends it."""

    def __init__(self, store: S3Store, token: Token) -> None:
        self._store = store
        self._token = token
        self.keeps_versions = False

    def put(
        self,
        key: str,
        body: bytes,
        *,
        if_match: str = "",
        absent: bool = False,
        crc64: int | None = None,
        md5: str = "",
    ) -> str:
        more = _condition(if_match, absent) | _checksum(crc64)
        if md5:
            more["ContentMD5"] = base64.b64encode(bytes.fromhex(md5)).decode()
        return unquoted(self._ask("put", "put_object", "write", key, Body=body, **more)["ETag"])

    def copy(self, source: str, key: str, *, source_match: str = "", if_match: str = "", absent: bool = False) -> None:
        self._ask("put", "copy_object", "copy", key, **self._from(source, source_match), **_condition(if_match, absent))

    def delete(self, key: str, *, if_match: str = "") -> None:
        self._ask("delete", "delete_object", "delete", key, **_condition(if_match, False))

    def read(self, key: str) -> bytes | None:
        try:
            body: bytes = self._ask("get", "get_object", "read", key)["Body"].read()
        except NotFound:
            return None
        except Exception as exc:
            raise translated(exc, "read", key) from exc
        self._token.received(len(body), overhead=True)
        return body

    def create(self, key: str, *, crc64: bool = False) -> str:
        more = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"} if crc64 else {}
        return str(self._ask("create", "create_multipart_upload", "begin an upload", key, **more)["UploadId"])

    def part(self, key: str, upload: str, number: int, body: bytes, *, crc64: int | None = None) -> str:
        more = {"UploadId": upload, "PartNumber": number, "Body": body} | _checksum(crc64)
        return unquoted(self._ask("part", "upload_part", "send a part", key, **more)["ETag"])

    def copy_part(
        self, key: str, upload: str, number: int, source: str, start: int, length: int, *, source_match: str = ""
    ) -> tuple[str, int | None]:
        stretch = {"CopySourceRange": f"bytes={start}-{start + length - 1}"}
        more = {"UploadId": upload, "PartNumber": number} | stretch | self._from(source, source_match)
        result = self._ask("part_copy", "upload_part_copy", "copy a part", key, **more)["CopyPartResult"]
        return unquoted(result.get("ETag")), crc64_of_base64(result.get("ChecksumCRC64NVME"))

    def complete(
        self, key: str, upload: str, etags: list[str], *, if_match: str = "", absent: bool = False,
        crc64: int | None = None,
    ) -> None:  # fmt: skip
        listed = [{"PartNumber": n, "ETag": quoted(etag)} for n, etag in enumerate(etags, 1)]
        more = (
            _condition(if_match, absent) | _checksum(crc64) | ({} if crc64 is None else {"ChecksumType": "FULL_OBJECT"})
        )
        what = {"UploadId": upload, "MultipartUpload": {"Parts": listed}}
        self._ask("complete", "complete_multipart_upload", "complete the upload", key, **what, **more)

    def abort(self, key: str, upload: str) -> None:
        self._ask("abort", "abort_multipart_upload", "abort the upload", key, UploadId=upload)

    def parts(self, key: str, upload: str) -> list[int]:
        answer = self._ask("list", "list_parts", "list the parts", key, UploadId=upload)
        return [int(part["PartNumber"]) for part in answer.get("Parts", [])]

    def page(self, prefix: str, size: int, *, after: str = "", next: str = "") -> tuple[list[str], str]:
        store = self._store
        listing = S3Listing(store.clients, store.bucket, store.prefix + prefix, store.limits, size)
        page = listing.page(self._token, store.prefix + after if after else "", next or None)
        return [row[0][len(store.prefix) :] for row in page.rows], page.next or ""

    def uploads(self, prefix: str) -> list[tuple[str, str]]:
        found = self._store.uploads_below(prefix, self._token)
        return [(key, id) for key, id, _ in found]

    def versions(self, prefix: str) -> list[Version]:
        found: list[Version] = []
        markers: dict[str, str] = {}
        while True:
            whole = {"Prefix": self._store.prefix + prefix, **markers}
            answer = self._ask("list", "list_object_versions", "list the versions", "", **whole)
            for kind in ("Versions", "DeleteMarkers"):
                for one in answer.get(kind, []):
                    found.append(Version(str(one["Key"])[len(self._store.prefix) :], str(one["VersionId"])))
            following = {"KeyMarker": answer.get("NextKeyMarker"), "VersionIdMarker": answer.get("NextVersionIdMarker")}
            fresh = {name: str(value) for name, value in following.items() if value}
            if not answer.get("IsTruncated") or not fresh or fresh == markers:
                return found
            markers = fresh

    def delete_version(self, version: Version) -> None:
        self._ask("delete", "delete_object", "delete a version", version.key, VersionId=version.id)

    def _from(self, source: str, match: str) -> dict[str, Any]:
        where: dict[str, Any] = {"CopySource": {"Bucket": self._store.bucket, "Key": self._store.prefix + source}}
        return where | ({"CopySourceIfMatch": quoted(match)} if match else {})

    def _ask(self, name: str, operation: str, doing: str, key: str, **arguments: Any) -> dict[str, Any]:
        self._token.requested(name)
        self._token.sent(len(arguments.get("Body", b"")), overhead=True)
        if key:
            arguments["Key"] = self._store.prefix + key
        try:
            call = getattr(self._store.clients.control, operation)
            answer: dict[str, Any] = call(Bucket=self._store.bucket, **arguments)
        except Exception as exc:
            raise translated(exc, doing, key) from exc
        if answer.get("VersionId") not in (None, "null"):
            self.keeps_versions = True
        return answer


def _condition(if_match: str, absent: bool) -> dict[str, Any]:
    return {"IfNoneMatch": "*"} if absent else {"IfMatch": quoted(if_match)} if if_match else {}


def _checksum(crc64: int | None) -> dict[str, Any]:
    return {} if crc64 is None else {"ChecksumCRC64NVME": base64_of(crc64)}
