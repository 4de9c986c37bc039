"""``Raw`` on a bucket of Google Cloud Storage: one method, one request, nothing believed. A version stands for an ETag.

What the service does not have is Unsupported (a CRC64), which answers the question; what it has in another form (parts are
whole objects, never ranges) is Permanent, which leaves it open.
"""

from __future__ import annotations

import base64
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hugesync_tasks.errors import NoSuchUpload, NotFound, Permanent, StoreError, Unsupported
from hugesync_tasks.model import Meta, Upload
from hugesync_tasks.stores.base import ABSENT, ANY
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.stores.gcs_client import segment
from hugesync_tasks.stores.gcs_meta import version_of
from hugesync_tasks.stores.gcs_parts import FOLDER, Piece, about, name_of
from hugesync_tasks.stores.gcs_root import condition, generation
from hugesync_tasks.stores.raw import Version
from hugesync_tasks.stores.scratch import validate as ask_all
from hugesync_tasks.token import Token

if TYPE_CHECKING:
    from hugesync_tasks.stores.gcs import GcsStore

_PLAIN = {"contentType": "application/octet-stream"}


class GcsRaw:
    """Keys below ``store.prefix``. Requests and bodies are counted on the token, which also ends it."""

    def __init__(self, store: GcsStore, token: Token) -> None:
        self._store = store
        self._token = token
        self._at = f"/storage/v1/b/{segment(store.bucket)}/o"
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
        _no_crc64(crc64 is not None)
        said = _PLAIN | ({"md5Hash": base64.b64encode(bytes.fromhex(md5)).decode()} if md5 else {})
        whole, expected = self._store._whole(key), _expected(if_match, absent)
        made = self._store._write("put", whole, body, said, expected, self._token, "write", key, overhead=True)
        return version_of(made)

    def copy(self, source: str, key: str, *, source_match: str = "", if_match: str = "", absent: bool = False) -> None:
        store = self._store
        to = f"{segment(store.bucket)}/o/{segment(store._whole(key))}"
        query = condition(_expected(if_match, absent))
        query |= {"ifSourceGenerationMatch": generation(source_match)} if source_match else {}
        path = f"{store._path(store._whole(source))}/rewriteTo/b/{to}"
        store._ask("put", "POST", path, self._token, "copy", key, query=query, json=_PLAIN, slow=True)

    def delete(self, key: str, *, if_match: str = "") -> None:
        self._store._delete_whole(self._store._whole(key), if_match or ANY, self._token, key)

    def read(self, key: str) -> bytes | None:
        try:
            with self._store.open(key, "", self._token, overhead=True) as reader:
                return b"".join(reader)
        except NotFound:
            return None

    def create(self, key: str, *, crc64: bool = False) -> str:
        _no_crc64(crc64)
        return self._store.create_upload(key, 0, 1, Meta(generation=uuid.uuid4().hex), self._token).id

    def part(self, key: str, upload: str, number: int, body: bytes, *, crc64: int | None = None) -> str:
        _no_crc64(crc64 is not None)
        of = _upload(key, upload)
        whole = self._store._temporary(of, name_of(number))
        made = self._store._write(
            "part", whole, body, about(of), ANY, self._token, "send a part", key, overhead=True
        )  # fmt: skip
        return version_of(made)

    def copy_part(
        self, key: str, upload: str, number: int, source: str, start: int, length: int, *, source_match: str = ""
    ) -> tuple[str, int | None]:
        raise Permanent("the store takes over whole objects alone, never ranges", key)

    def complete(
        self, key: str, upload: str, etags: list[str], *, if_match: str = "", absent: bool = False,
        crc64: int | None = None,
    ) -> None:  # fmt: skip
        _no_crc64(crc64 is not None)
        store, of = self._store, _upload(key, upload)
        pieces = [Piece(store._temporary(of, name_of(n)), etag, 0, 0) for n, etag in enumerate(etags, 1)]
        store._compose(store._whole(key), pieces, _PLAIN, _expected(if_match, absent), self._token, key)

    def abort(self, key: str, upload: str) -> None:
        self._store.abort(_upload(key, upload), self._token)

    def parts(self, key: str, upload: str) -> list[int]:
        found = self._store.list_parts(_upload(key, upload), self._token)
        if not found:
            raise NoSuchUpload("an upload is nothing but its parts", key)
        return [part.number for part in found]

    def page(self, prefix: str, size: int, *, after: str = "", next: str = "") -> tuple[list[str], str]:
        whole = self._store.prefix
        query = {"prefix": whole + prefix, "maxResults": str(size), "fields": "items(name),nextPageToken"}
        query |= {"pageToken": next} if next else {"startOffset": f"{whole}{after}\0"} if after else {}
        answer = self._store._ask("list", "GET", self._at, self._token, "list", "", query=query)
        keys = [str(one["name"])[len(whole) :] for one in answer.get("items", [])]
        return keys, str(answer.get("nextPageToken") or "")

    def uploads(self, prefix: str) -> list[tuple[str, str]]:
        found = self._store.uploads_below(FOLDER, self._token)
        return [(key, id) for key, id, _ in found if key.startswith(prefix)]

    def versions(self, prefix: str) -> list[Version]:
        found: list[Version] = []
        query = {"prefix": self._store.prefix + prefix, "versions": "true"}
        query["fields"] = "items(name,generation),nextPageToken"
        while True:
            answer = self._store._ask("list", "GET", self._at, self._token, "list the versions", "", query=query)
            for one in answer.get("items", []):
                found.append(Version(str(one["name"])[len(self._store.prefix) :], version_of(one)))
            if not answer.get("nextPageToken") or answer["nextPageToken"] == query.get("pageToken"):
                return found
            query["pageToken"] = str(answer["nextPageToken"])

    def delete_version(self, version: Version) -> None:
        path, query = self._store._path(self._store._whole(version.key)), {"generation": version.id}
        self._store._ask("delete", "DELETE", path, self._token, "delete a version", version.key, query=query)


def validate(store: GcsStore, token: Token) -> Findings:
    """See ``Store.validate``."""
    raw, cleaner = GcsRaw(store, token), GcsRaw(store, Token(token.meter))
    path = f"/storage/v1/b/{segment(store.bucket)}"
    about_bucket: dict[str, Any] = {}
    with suppress(StoreError):  # who may write objects need not have the right to look at the bucket
        query = {"fields": "versioning"}
        about_bucket = store._ask("list", "GET", path, token, "look at the bucket", "", query=query)
    raw.keeps_versions = bool((about_bucket.get("versioning") or {}).get("enabled"))
    return ask_all(raw, cleaner, "gcs" if store.clients.is_google else "gcs (emulator)")


def _expected(if_match: str, absent: bool) -> str | None:
    return ABSENT if absent else if_match or ANY


def _upload(key: str, id: str) -> Upload:
    return Upload(key, id, "", 0, 1)


def _no_crc64(wanted: bool) -> None:
    if wanted:
        raise Unsupported("the store knows no CRC64NVME")
