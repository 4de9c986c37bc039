"""Copies within one storage account: a whole blob, a range as a new block, a block that is there already by its id.

The service reads the source itself and is given the right to (``AzureClients.source``). The SDK drops the source's
conditions, so they are said as raw headers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

from hugesync_tasks.errors import Corrupted, NotFound, Permanent, Unsupported, VersionMismatch
from hugesync_tasks.model import Commit, Head, Meta, Part, Upload
from hugesync_tasks.stores.azure_blocks import Block, BlockList, block_of
from hugesync_tasks.stores.azure_recovery import with_room
from hugesync_tasks.stores.azure_root import base64_of, condition, crc64_of_base64
from hugesync_tasks.stores.azure_uploads import AzureUploads
from hugesync_tasks.stores.base import ANY, Store, Stretch
from hugesync_tasks.stores.s3_meta import quoted, unquoted
from hugesync_tasks.stores.wrapper import innermost
from hugesync_tasks.token import Token

T = TypeVar("T")


class Remembered(Generic[T]):
    """What is known of the last ``most`` pinned versions that were asked about, of which nothing ever changes. Whoever wants
    another waits for the one who asks, so that threads do not each hold the same list of 50,000 ids."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._kept: dict[tuple[str, str], T] = {}

    def get(self, key: str, version: str, ask: Callable[[], T]) -> T:
        """``version`` "" = not pinned: it may change, and is asked again each time."""
        if not version:
            return ask()
        with self._lock:
            if (key, version) not in self._kept:
                while len(self._kept) >= self._most:
                    del self._kept[next(iter(self._kept))]
                self._kept[key, version] = ask()
            return self._kept[key, version]

    def known(self, key: str, version: str) -> T | None:
        with self._lock:
            return self._kept.get((key, version))


class AzureCopies(AzureUploads):
    """The copying half of ``AzureStore``."""

    _lists: Remembered[BlockList]
    _sizes: Remembered[int]

    def head(self, key: str, token: Token, digest: bool = False) -> Head | None:
        raise NotImplementedError  # the store's

    def copy(
        self,
        source: Store,
        key: str,
        source_key: str,
        source_version: str,
        meta: Meta,
        expected: str | None,
        token: Token,
    ) -> Commit:
        other = self._other(source, source_key)
        headers = other.clients.source(other.container, other._whole(source_key))
        headers |= {"x-ms-requires-sync": "true"} | self._attributes(meta) | condition(expected)
        headers.pop("x-ms-blob-content-type", None)  # this request takes the source's, whatever it is told
        if source_version:
            headers["x-ms-source-if-match"] = quoted(source_version)
        if expected != ANY and not self.limits.copy_conditional:
            found = self.head(key, token)
            if (found.entry.version if found else None) != expected:
                raise VersionMismatch("cannot copy: the blob is another version now", key)
        token.requested("put")
        try:
            answer = self._ask("PUT", "copy", key, headers=headers, slow=True)
        except NotFound as exc:
            if expected in (None, ANY) or other.head(source_key, token) is None:
                raise
            raise VersionMismatch("cannot copy: the blob is gone", key) from exc
        version = unquoted(answer.headers.get("ETag"))
        head = self.head(key, token)  # the answer does not say how much was copied
        if head is None or head.entry.version != version:
            raise VersionMismatch("copied, but the blob is another version already", key)
        token.copied_server_side(head.entry.size)
        return Commit(key, version, head.entry.size)

    def copy_part(
        self, upload: Upload, number: int, source: Store, source_key: str, source_version: str, start: int, length: int,
        token: Token, source_id: str = "", checksum: int | None = None,
    ) -> Part:  # fmt: skip
        other = self._other(source, source_key)
        if other.container == self.container and other._whole(source_key) == self._whole(upload.key):
            there = self._block_at(source_key, other, source_version, start, length, token)
            if there is not None and not (checksum is not None and there[1].crc64 is None):
                return self._reused(number, *there, checksum, upload.key, token)
        if self.limits.part_copy != "ranges":
            raise Unsupported("this service copies no range of a blob, only whole blocks of ours", upload.key)
        size = self._size(source_key, other, source_version, token)
        if start + length > size:  # the service would copy less, in silence
            raise Permanent(
                f"cannot copy bytes {start} to {start + length} of {source_key!r}, which has {size}", upload.key
            )
        block = Block(upload.id, number, length, checksum)

        def send() -> int | None:
            return self._block_from_url(upload, block, other, source_key, source_version, start, token)

        crc64 = with_room(self, upload.key, upload.id, token, send)
        token.copied_server_side(length)
        token.moved(length)
        return Part(number, length, block.id(), checksum if checksum is not None else crc64)

    def blocks(self, key: str, version: str, token: Token) -> Sequence[Stretch]:
        """See ``Store.blocks``: those whose CRC is known, so that a reused one is proven as well."""
        try:
            listed = self._pinned_list(key, self, version, token)
        except (NotFound, VersionMismatch):
            return []
        found: list[Stretch] = []
        at = 0
        for id, size in listed.committed:
            block = block_of(id)
            if block is not None and block.size == size and block.crc64 is not None:
                found.append((at, size))
            at += size
        return found if at == listed.size else []

    def _block_at(
        self, key: str, other: AzureCopies, version: str, start: int, length: int, token: Token
    ) -> tuple[str, Block] | None:
        """The committed block of ours that is exactly this range, if there is one. Raises NotFound, VersionMismatch."""
        listed = self._pinned_list(key, other, version, token)
        at = 0
        for id, size in listed.committed:
            if at == start and size == length:
                block = block_of(id)
                return (id, block) if block is not None and block.size == size else None
            at += size
            if at > start:
                break
        return None

    @staticmethod
    def _size(key: str, other: AzureCopies, version: str, token: Token) -> int:
        """Bytes of ``version``; asked once for all the parts that a process copies from it."""

        def ask() -> int:
            head = other.head(key, token)
            if head is None:
                raise NotFound("cannot copy a part: the source is gone", key)
            if version and head.entry.version != version:
                raise VersionMismatch("cannot copy a part: the source is another version now", key)
            return head.entry.size

        known = other._lists.known(key, version)
        return known.size if known is not None else other._sizes.get(key, version, ask)

    @staticmethod
    def _pinned_list(key: str, other: AzureCopies, version: str, token: Token) -> BlockList:
        """The committed list of ``version``; asked once for all the parts that a process takes over from it."""

        def ask() -> BlockList:
            listed = other._block_list(key, "committed", token)
            if version and listed.version != version:
                raise VersionMismatch("cannot copy a part: the source is another version now", key)
            return listed

        return other._lists.get(key, version, ask)

    @staticmethod
    def _reused(number: int, id: str, block: Block, checksum: int | None, key: str, token: Token) -> Part:
        if checksum is not None and checksum != block.crc64:
            raise Corrupted(f"cannot take over part {number}: the block holds other bytes than were expected", key)
        token.copied_server_side(block.size)
        token.moved(block.size)
        return block.part(id, number)

    def _block_from_url(
        self, upload: Upload, block: Block, other: AzureCopies, source_key: str, version: str, start: int, token: Token
    ) -> int | None:
        """Put Block From URL; the CRC64NVME that the service tells of what it copied."""
        headers = other.clients.source(other.container, other._whole(source_key))
        headers["x-ms-source-range"] = f"bytes={start}-{start + block.size - 1}"
        if version:
            headers["x-ms-source-if-match"] = quoted(version)
        if block.crc64 is not None:
            headers["x-ms-source-content-crc64"] = base64_of(block.crc64)
        query = {"comp": "block", "blockid": block.id()}
        token.requested("part_copy")
        try:
            answer = self._ask("PUT", f"copy part {block.number}", upload.key, query=query, headers=headers, slow=True)
        except VersionMismatch as exc:  # Azurite says so of a source that is gone, too
            if other.head(source_key, token) is None:
                raise NotFound(f"cannot copy part {block.number}: the source is gone", source_key) from exc
            raise
        said = crc64_of_base64(answer.headers.get("x-ms-content-crc64"))
        if said is not None and block.crc64 not in (None, said):
            raise Corrupted(f"cannot copy part {block.number}: the service copied other bytes", upload.key)
        return said

    def _other(self, source: Store, source_key: str) -> AzureCopies:
        other = innermost(source)
        if not isinstance(other, AzureCopies):
            raise Unsupported("cannot copy within the service: the source is another kind of store", source_key)
        return other
