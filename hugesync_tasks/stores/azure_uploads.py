"""Uploads of the Azure adapter: blocks staged on the blob itself, made visible by one Put Block List.

An upload's id is its generation, which every block id carries: nothing is created, and any process finds what is there. Of a
rival's blocks on the same blob nothing is touched; a commit, his or ours, makes Azure collect the other's, and who then
comes with his list is refused.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator

from awscrt.checksums import combine_crc64nvme
from blake3 import blake3

from hugesync_tasks.errors import (
    Corrupted,
    NoSuchUpload,
    NotFound,
    Permanent,
    StoreError,
    TooLarge,
    VersionMismatch,
)
from hugesync_tasks.model import Commit, Meta, Part, Upload
from hugesync_tasks.stores.azure_blocks import Block, block_of, list_xml, ours
from hugesync_tasks.stores.azure_errors import BlocksGone
from hugesync_tasks.stores.azure_listing import AzureListing
from hugesync_tasks.stores.azure_recovery import with_room
from hugesync_tasks.stores.azure_root import AzureRoot, base64_of, condition
from hugesync_tasks.stores.base import ANY, Body, NotInPlace, Parts
from hugesync_tasks.stores.covering import check_cover
from hugesync_tasks.stores.paced_body import PacedBody
from hugesync_tasks.stores.s3_checksum import crc64_of
from hugesync_tasks.stores.s3_meta import unquoted
from hugesync_tasks.token import Token

_GENERATION = re.compile(r"[0-9a-f]{32}")
UNCOMMITTED = "uncommittedblobs"


class AzureUploads(AzureRoot, NotInPlace):
    """The multi-part half of ``AzureStore``."""

    def create_upload(self, key: str, size: int, part_size: int, meta: Meta, token: Token) -> Upload:
        if size > self.limits.max_size:
            raise TooLarge(f"{size} bytes are more than a blob may have ({self.limits.max_size})", key)
        self._whole(key)
        token.check()
        return Upload(key, _upload_id(meta.generation), meta.generation, size, part_size)

    def put_part(self, upload: Upload, number: int, body: Body, token: Token) -> Part:
        block = Block(upload.id, number, len(body), crc64_of(body))
        with_room(self, upload.key, upload.id, token, lambda: self._put_block(upload, block, body, token))
        return block.part(block.id())

    def _put_block(self, upload: Upload, block: Block, body: Body, token: Token) -> None:
        assert block.crc64 is not None
        token.requested("part")
        answer = self._ask(
            "PUT",
            f"send part {block.number}",
            upload.key,
            query={"comp": "block", "blockid": block.id()},
            headers={"x-ms-content-crc64": base64_of(block.crc64)},
            body=PacedBody(body, token),
        )
        said = answer.headers.get("x-ms-content-crc64")
        if said and said != base64_of(block.crc64):
            raise Corrupted(
                f"cannot send part {block.number}: the service holds other bytes than were sent", upload.key
            )

    def list_parts(self, upload: Upload, token: Token) -> Parts:
        return [block.part(id) for id, block in self._staged(upload, token)]

    def held(self, upload: Upload, token: Token) -> int | None:
        found = self._staged(upload, token)
        if not found:
            raise NoSuchUpload("the upload holds nothing", upload.key)
        return sum(block.size for _, block in found)

    def _staged(self, upload: Upload, token: Token) -> list[tuple[str, Block]]:
        """Uncommitted blocks of this upload; the last of each number, for a source may have been read twice."""
        try:
            listed = self._block_list(upload.key, "uncommitted", token)
        except NotFound:
            return []
        last = {block.number: (id, block) for id, block in ours(listed.uncommitted, upload.id)}
        return [last[number] for number in sorted(last)]

    def complete(
        self, upload: Upload, parts: Parts, meta: Meta, expected: str | None, crc64: int | None, token: Token
    ) -> Commit:
        check_cover(upload, parts)
        ids = [_checked_id(upload, part) for part in parts]
        whole = combined(parts)
        if crc64 is not None and whole is None and self.limits.full_crc64:
            raise Permanent("cannot complete the upload: the service did not say what it copied", upload.key)
        if crc64 is not None and whole is not None and whole != crc64:
            raise Corrupted("cannot complete the upload: the parts are not the whole that was read", upload.key)
        token.requested("complete")
        headers = self._attributes(meta) | condition(expected)
        try:
            answer = self._ask(
                "PUT", "complete the upload", upload.key,
                query={"comp": "blocklist"}, headers=headers, body=list_xml(ids), slow=True,
            )  # fmt: skip
        except BlocksGone as exc:
            raise self._why_gone(exc, upload, expected, token) from exc
        except NotFound as exc:
            if expected in (None, ANY):
                raise
            raise VersionMismatch("cannot complete the upload: the blob is gone", upload.key) from exc
        proven = self.limits.full_crc64 and crc64 is not None and whole == crc64
        return Commit(upload.key, unquoted(answer.headers.get("ETag")), upload.size, "crc64nvme" if proven else "")

    def _why_gone(self, error: StoreError, upload: Upload, expected: str | None, token: Token) -> StoreError:
        """Blocks of ours are gone: a commit took them (a rival's, or our own whose reply was lost), or their week is over."""
        token.requested("head")
        try:
            there = unquoted(self._ask("HEAD", "look at it", upload.key).headers.get("ETag"))
        except NotFound:
            there = ""
        if there and there != expected:
            return VersionMismatch(
                "cannot complete the upload: somebody else wrote the blob, and our blocks are gone", upload.key
            )
        if not there and expected not in (None, ANY):
            return VersionMismatch("cannot complete the upload: the blob is gone", upload.key)
        return error

    def abort(self, upload: Upload, token: Token) -> None:
        """Azure has no request for it: blocks that nobody commits go after a week, or with the next commit to the blob. What
        would drop them now, a commit, would make the blob another version and drop a rival's as well."""
        token.check()

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        """Of blobs that exist not even empty yet: a listing does not tell which of the others hold uncommitted blocks."""
        listing = AzureListing(self.clients, self.container, self.prefix)
        for row in listing.rows(token, UNCOMMITTED):
            key = row.whole[len(self.prefix) :]
            if not key or row.size:  # what has bytes has been committed
                continue
            try:
                listed = self._block_list(key, "all", token)
            except NotFound:
                continue
            if listed.committed:
                continue
            for generation in sorted({block.generation for _, block in ours(listed.uncommitted)}):
                yield key, generation, row.modified_ns or time.time_ns()


def _upload_id(generation: str) -> str:
    """32 hex digits. A generation of another form is only ever a test's or a stranger's."""
    if _GENERATION.fullmatch(generation):
        return generation
    return blake3(generation.encode()).hexdigest(16) if generation else uuid.uuid4().hex


def _checked_id(upload: Upload, part: Part) -> str:
    """The block id that a receipt names. Raises Permanent where the two contradict each other."""
    block = block_of(part.etag)
    if block is None or block.size != part.size or (block.crc64 is not None and block.crc64 != part.crc64):
        raise Permanent(f"cannot complete the upload: the receipt of part {part.number} is of other bytes", upload.key)
    return part.etag


def combined(parts: Parts) -> int | None:
    """The CRC64NVME of the whole from those of the parts, None where one is not known."""
    total = 0
    for part in parts:
        if part.crc64 is None:
            return None
        total = combine_crc64nvme(total, part.crc64, part.size)
    return total
