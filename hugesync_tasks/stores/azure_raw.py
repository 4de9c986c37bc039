"""``AzureStore.validate``: the questions of ``questions`` over bare requests to one container.

An upload is a generation that its block ids carry; the checksum of a whole is put together from those of the blocks, each of
which the service was asked to check, as ``AzureStore.complete`` does.
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import replace

from hugesync_tasks.errors import Corrupted, NoSuchUpload, NotFound
from hugesync_tasks.model import Part, Upload
from hugesync_tasks.stores.azure import AzureStore
from hugesync_tasks.stores.azure_blocks import Block, block_of, list_xml
from hugesync_tasks.stores.azure_listing import AzureListing
from hugesync_tasks.stores.azure_root import base64_of, condition, crc64_of_base64
from hugesync_tasks.stores.azure_uploads import combined
from hugesync_tasks.stores.base import ABSENT, ANY
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.stores.raw import Version
from hugesync_tasks.stores.s3_checksum import crc64_of
from hugesync_tasks.stores.s3_meta import quoted, unquoted
from hugesync_tasks.stores.scratch import validate as ask_all
from hugesync_tasks.token import Token


def validate(store: AzureStore, token: Token) -> Findings:
    """See ``Store.validate``."""
    AzureListing(store.clients, store.container, store.prefix, 1).page(token, "")
    return ask_all(AzureRaw(store, token), AzureCleaner(store, Token(token.meter)), store.limits.name)


class AzureRaw:
    """Keys below ``store.prefix``. Requests are counted on the token, which also ends it."""

    def __init__(self, store: AzureStore, token: Token) -> None:
        self._store = store
        self._token = token
        self.keeps_versions = False
        self._copied: dict[str, int | None] = {}  # what the service said of the blocks that it copied

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
        headers = {"x-ms-blob-type": "BlockBlob"} | _condition(if_match, absent)
        if crc64 is not None:
            headers["x-ms-content-crc64"] = base64_of(crc64)
        if md5:
            headers["Content-MD5"] = base64.b64encode(bytes.fromhex(md5)).decode()
        return self._ask("put", "write", key, headers=headers, body=body)

    def copy(self, source: str, key: str, *, source_match: str = "", if_match: str = "", absent: bool = False) -> None:
        headers = {"x-ms-requires-sync": "true"} | self._from(source, source_match) | _condition(if_match, absent)
        self._ask("put", "copy", key, headers=headers)

    def delete(self, key: str, *, if_match: str = "") -> None:
        self._token.requested("delete")
        self._store._ask("DELETE", "delete", key, headers=_condition(if_match, False))

    def read(self, key: str) -> bytes | None:
        try:
            with self._store.open(key, "", self._token, overhead=True) as reader:
                return b"".join(reader)
        except NotFound:
            return None

    def create(self, key: str, *, crc64: bool = False) -> str:
        return uuid.uuid4().hex

    def part(self, key: str, upload: str, number: int, body: bytes, *, crc64: int | None = None) -> str:
        id = Block(upload, number, len(body), crc64_of(body)).id()
        headers = {} if crc64 is None else {"x-ms-content-crc64": base64_of(crc64)}
        self._ask("part", "send a part", key, query={"comp": "block", "blockid": id}, headers=headers, body=body)
        return id

    def copy_part(
        self, key: str, upload: str, number: int, source: str, start: int, length: int, *, source_match: str = ""
    ) -> tuple[str, int | None]:
        id = Block(upload, number, length, None).id()
        headers = self._from(source, source_match) | {"x-ms-source-range": f"bytes={start}-{start + length - 1}"}
        self._token.requested("part_copy")
        query = {"comp": "block", "blockid": id}
        answer = self._store._ask("PUT", "copy a part", key, query=query, headers=headers, slow=True)
        crc64 = crc64_of_base64(answer.headers.get("x-ms-content-crc64"))
        self._copied[id] = crc64
        return id, crc64

    def complete(
        self, key: str, upload: str, etags: list[str], *, if_match: str = "", absent: bool = False,
        crc64: int | None = None,
    ) -> None:  # fmt: skip
        if crc64 is not None:
            whole = combined([self._part(n, id) for n, id in enumerate(etags, 1)])
            if whole != crc64:
                raise Corrupted("cannot complete the upload: the parts are not the whole", key)
        headers = _condition(if_match, absent)
        self._ask(
            "complete", "complete the upload", key, query={"comp": "blocklist"}, headers=headers, body=list_xml(etags)
        )

    def _part(self, number: int, id: str) -> Part:
        block = block_of(id)
        if block is None:
            raise NoSuchUpload("no block of ours")
        part = block.part(id, number)
        return part if part.crc64 is not None else replace(part, crc64=self._copied.get(id))

    def abort(self, key: str, upload: str) -> None:
        self._store.abort(Upload(key, upload, upload, 0, 0), self._token)

    def parts(self, key: str, upload: str) -> list[int]:
        found = [part.number for part in self._store.list_parts(Upload(key, upload, upload, 0, 0), self._token)]
        if not found:
            raise NoSuchUpload("the upload holds nothing", key)
        return found

    def page(self, prefix: str, size: int, *, after: str = "", next: str = "") -> tuple[list[str], str]:
        # ``after`` is not Azure's: everything comes from the beginning, and that is the answer
        whole = self._store.prefix
        page = AzureListing(self._store.clients, self._store.container, whole + prefix, size).page(self._token, next)
        return [row.whole[len(whole) :] for row in page.rows], page.next

    def uploads(self, prefix: str) -> list[tuple[str, str]]:
        return [(key, id) for key, id, _ in self._store.list_uploads(self._token) if key.startswith(prefix)]

    def versions(self, prefix: str) -> list[Version]:
        return []

    def delete_version(self, version: Version) -> None:
        raise NotImplementedError("nothing here keeps versions")

    def _from(self, source: str, match: str) -> dict[str, str]:
        headers = self._store.clients.source(self._store.container, self._store._whole(source))
        return headers | ({"x-ms-source-if-match": quoted(match)} if match else {})

    def _ask(
        self, name: str, doing: str, key: str, *, query: dict[str, str] | None = None, headers: dict[str, str],
        body: bytes | None = None,
    ) -> str:  # fmt: skip
        """The ETag of what a PUT made."""
        self._token.requested(name)
        self._token.sent(len(body or b""), overhead=True)
        answer = self._store._ask("PUT", doing, key, query=query, headers=headers, body=body, slow=True)
        return unquoted(answer.headers.get("ETag"))


class AzureCleaner(AzureRaw):
    """Azure has no request that ends an upload, so a job's stays until it is collected. Below the scratch folder nobody else
    writes: there whatever is put discards the blocks, and is deleted."""

    def abort(self, key: str, upload: str) -> None:
        self.put(key, b"")
        self.delete(key)


def _condition(if_match: str, absent: bool) -> dict[str, str]:
    return condition(ABSENT if absent else if_match or ANY)
