"""The operations of Blob Storage that the strict fake knows, from a request's headers to the state and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import strict_azure_xml as xml
from strict_azure_checks import Refused, byte_range, check_checksums, crc64, md5, metadata_of, no_conditions
from strict_azure_copy import copied
from strict_azure_state import Blob, Conditions
from strict_azure_wire import Answer, Call

if TYPE_CHECKING:
    from strict_azure import StrictAzure

_PROPERTIES = (
    "cache-control",
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "content-md5",
)
_HASHED_RANGE = 4 * 1024 * 1024


class Operations:
    """Each method is one operation; it raises Refused for what the service answers with an error."""

    def __init__(self, azure: StrictAzure) -> None:
        self.azure, self.account = azure, azure.account

    # ── containers ──

    def list_containers(self, call: Call) -> Answer:
        return answer(200, body=xml.containers(self.account, self.azure.endpoint))

    def account_information(self, call: Call) -> Answer:
        return answer(
            200, {"x-ms-sku-name": "Standard_LRS", "x-ms-account-kind": "StorageV2", "x-ms-is-hns-enabled": "false"}
        )

    def create_container(self, call: Call) -> Answer:
        found = self.account.create_container(call.container, metadata_of(call.meta))
        return answer(201, {"ETag": found.etag, "Last-Modified": xml.date(found.modified)})

    def delete_container(self, call: Call) -> Answer:
        self.account.delete_container(call.container)
        return answer(202)

    def get_container(self, call: Call) -> Answer:
        found = self.account.container(call.container)
        headers = {
            "ETag": found.etag,
            "Last-Modified": xml.date(found.modified),
            "x-ms-has-immutability-policy": "false",
        }
        headers |= {"x-ms-lease-status": "unlocked", "x-ms-lease-state": "available", "x-ms-has-legal-hold": "false"}
        return answer(200, headers | {f"x-ms-meta-{name}": value for name, value in found.metadata.items()})

    def list_blobs(self, call: Call) -> Answer:
        body = xml.listing(
            self.account, call.container, call.query, self.azure.endpoint, empty_page=self.azure.empty_pages
        )
        return answer(200, body=body)

    # ── writing ──

    def put_blob(self, call: Call) -> Answer:
        _block_blob(call.headers)
        blob = _new(call, call.body)
        self._to_write(call)
        check_checksums(call.body, call.headers.get("content-md5"), call.headers.get("x-ms-content-crc64"))
        check_checksums(call.body, call.headers.get("x-ms-blob-content-md5"), None)
        if len(call.body) > self.account.limits.put_blob:
            raise Refused(413, "RequestBodyTooLarge", MaxLimit=str(self.account.limits.put_blob))
        blob.headers["content-md5"] = md5(call.body)
        sums = {"Content-MD5": md5(call.body), "x-ms-content-crc64": crc64(call.body)}
        return _written(201, self.account.put(call.container, call.blob, blob), sums)

    def put_block(self, call: Call) -> Answer:
        no_conditions(call.headers)
        check_checksums(call.body, call.headers.get("content-md5"), call.headers.get("x-ms-content-crc64"))
        self.account.put_block(call.container, call.blob, call.query.get("blockid", ""), call.body)
        return answer(201, _sum(call.headers, "content-md5", call.body) | {"x-ms-request-server-encrypted": "true"})

    def put_block_from_url(self, call: Call) -> Answer:
        no_conditions(call.headers)
        _no_body(call)
        self.account.entry(call.container, call.blob)
        _, data = self.azure.sources.read(call.headers)
        self.account.put_block(call.container, call.blob, call.query.get("blockid", ""), data)
        sums = _sum(call.headers, "x-ms-source-content-md5", data)
        return answer(201, sums | {"x-ms-request-server-encrypted": "true"})

    def put_block_list(self, call: Call) -> Answer:
        check_checksums(call.body, call.headers.get("content-md5"), call.headers.get("x-ms-content-crc64"))
        wanted = xml.parse_block_list(call.body)
        blob = self.account.put_block_list(
            call.container, call.blob, wanted, _new(call, b""), Conditions.of(call.headers)
        )
        return _written(201, blob, _sum(call.headers, "content-md5", call.body))

    def put_blob_from_url(self, call: Call) -> Answer:
        _block_blob(call.headers)
        _no_body(call)
        if "x-ms-source-range" in call.headers:
            raise Refused(400, "UnsupportedHeader", HeaderName="x-ms-source-range")
        metadata = metadata_of(call.meta)
        source, data = self.azure.sources.read(call.headers)
        self._to_write(call, "TargetConditionNotMet")
        if len(data) > self.account.limits.put_blob:
            raise Refused(413, "RequestBodyTooLarge", MaxLimit=str(self.account.limits.put_blob))
        blob = copied(source, data, "", metadata, blocks=False, now=self.account.now())
        if call.headers.get("x-ms-copy-source-blob-properties", "true") == "false":
            blob.headers = {"content-type": "application/octet-stream"}
        blob.headers |= _properties(call.headers) | {"content-md5": md5(data)}
        sums = {"Content-MD5": md5(data), "x-ms-content-crc64": crc64(data)}
        return _written(201, self.account.put(call.container, call.blob, blob), sums)

    def copy_blob(self, call: Call) -> Answer:
        """Copy Blob From URL when ``x-ms-requires-sync`` is true, else Copy Blob, which here is done at once as well."""
        _no_body(call)
        sync = call.headers.get("x-ms-requires-sync", "").lower() == "true"
        only_sync = {"x-ms-source-range", "x-ms-source-content-md5", "x-ms-source-content-crc64"} & set(call.headers)
        if only_sync - ({"x-ms-source-content-md5"} if sync else set()):
            raise Refused(400, "UnsupportedHeader", HeaderName=min(only_sync))
        metadata = metadata_of(call.meta)
        source, data = self.azure.sources.read(call.headers, signed=not sync and "authorization" in call.headers)
        self._to_write(call, "TargetConditionNotMet")
        if sync and len(data) > self.account.limits.copy_from_url:
            raise Refused(409, "CannotVerifyCopySource", "The source is larger than Copy Blob From URL takes.")
        url = call.headers["x-ms-copy-source"]
        blob = copied(source, data, url, metadata, blocks=True, now=self.account.now())
        blob = self.account.put(call.container, call.blob, blob)
        result = {"x-ms-copy-id": blob.copy["x-ms-copy-id"], "x-ms-copy-status": "success"}
        return _written(202, blob, result | ({"x-ms-content-crc64": crc64(data)} if sync else {}))

    def set_metadata(self, call: Call) -> Answer:
        metadata = metadata_of(call.meta)
        blob = self.account.set_metadata(call.container, call.blob, metadata, Conditions.of(call.headers))
        return _written(200, blob, {})

    def delete_blob(self, call: Call) -> Answer:
        self.account.delete(call.container, call.blob, Conditions.of(call.headers))
        return answer(202, {"x-ms-delete-type-permanent": "true"})

    def _to_write(self, call: Call, code: str = "ConditionNotMet") -> None:
        blob = self.account.committed(call.container, call.blob)
        Conditions.of(call.headers).to_write(blob, creates=True, code=code)

    # ── reading ──

    def get_blob(self, call: Call) -> Answer:
        blob = self.account.existing(call.container, call.blob)
        Conditions.of(call.headers).to_read(blob)
        headers = _shown(blob)
        wanted = call.headers.get("x-ms-range") or call.headers.get("range")
        if not wanted and {"x-ms-range-get-content-md5", "x-ms-range-get-content-crc64"} & set(call.headers):
            raise Refused(400, "InvalidHeaderValue", "A hash of a range without a range.")
        if call.method == "HEAD" or not wanted:
            return answer(200, {**headers, "Content-Length": str(len(blob.data))}, blob.data)
        start, end = byte_range(wanted, len(blob.data))
        data = blob.data[start:end]
        if "content-md5" in blob.headers:
            headers["x-ms-blob-content-md5"] = headers.pop("Content-MD5")
        for name, of in (("md5", md5), ("crc64", crc64)):
            if call.headers.get(f"x-ms-range-get-content-{name}", "").lower() == "true":
                if len(data) > _HASHED_RANGE:
                    raise Refused(400, "OutOfRangeInput", HeaderName=f"x-ms-range-get-content-{name}")
                headers["Content-MD5" if name == "md5" else "x-ms-content-crc64"] = of(data)
        return answer(206, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{len(blob.data)}"}, data)

    def get_blob_metadata(self, call: Call) -> Answer:
        blob = self.account.existing(call.container, call.blob)
        Conditions.of(call.headers).to_read(blob)
        return _written(200, blob, {f"x-ms-meta-{name}": value for name, value in blob.metadata.items()})

    def get_block_list(self, call: Call) -> Answer:
        no_conditions(call.headers)
        blob = self.account.entry(call.container, call.blob)
        if blob is None:
            raise Refused(404, "BlobNotFound")
        headers = {"x-ms-blob-content-length": str(len(blob.content or b"")), "Content-Type": "application/xml"}
        if blob.content is not None:
            headers |= {"ETag": blob.etag, "Last-Modified": xml.date(blob.modified)}
        return answer(200, headers, xml.block_list(blob, call.query.get("blocklisttype", "committed").lower()))


def answer(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    return Answer(status, {**({"Content-Type": "application/xml"} if body else {}), **(headers or {})}, body)


def _written(status: int, blob: Blob, headers: Mapping[str, str]) -> Answer:
    shown = {"ETag": blob.etag, "Last-Modified": xml.date(blob.modified), "x-ms-request-server-encrypted": "true"}
    return answer(status, {**shown, **headers})


def _new(call: Call, data: bytes) -> Blob:
    headers = {"content-type": "application/octet-stream"}
    if call.query.get("comp") != "blocklist" and "content-type" in call.headers:
        headers["content-type"] = call.headers["content-type"]
    return Blob(data, headers=headers | _properties(call.headers), metadata=metadata_of(call.meta))


def _properties(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[f"x-ms-blob-{name}"] for name in _PROPERTIES if headers.get(f"x-ms-blob-{name}")}


def _shown(blob: Blob) -> dict[str, str]:
    shown = {
        "ETag": blob.etag, "Last-Modified": xml.date(blob.modified), "x-ms-creation-time": xml.date(blob.created),
        "x-ms-blob-type": "BlockBlob", "x-ms-lease-status": "unlocked", "x-ms-lease-state": "available",
        "x-ms-server-encrypted": "true", "Accept-Ranges": "bytes",
    }  # fmt: skip
    shown |= {"-".join(w.capitalize() for w in name.split("-")): value for name, value in blob.headers.items()}
    if "Content-Md5" in shown:
        shown["Content-MD5"] = shown.pop("Content-Md5")
    return shown | blob.copy | {f"x-ms-meta-{name}": value for name, value in blob.metadata.items()}


def _sum(headers: Mapping[str, str], asked_by: str, data: bytes) -> dict[str, str]:
    """The service answers with an MD5 when one was sent, else with a CRC64."""
    return {"Content-MD5": md5(data)} if asked_by in headers else {"x-ms-content-crc64": crc64(data)}


def _block_blob(headers: Mapping[str, str]) -> None:
    if headers.get("x-ms-blob-type") in ("PageBlob", "AppendBlob"):
        raise Refused(501, "NotImplemented", "strict_azure knows only block blobs.")
    if headers.get("x-ms-blob-type") != "BlockBlob":
        raise Refused(400, "MissingRequiredHeader", HeaderName="x-ms-blob-type")


def _no_body(call: Call) -> None:
    if call.body:
        raise Refused(400, "InvalidHeaderValue", HeaderName="Content-Length", HeaderValue=str(len(call.body)))
