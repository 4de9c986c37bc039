"""Multi-part uploads of the Google Cloud Storage adapter. An upload is a value: any process may continue or end it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from secrets import token_hex
from typing import Any

from hugesync_tasks.errors import (
    Corrupted,
    NoSuchUpload,
    NotFound,
    StoreError,
    TooLarge,
    Unsupported,
    VersionMismatch,
)
from hugesync_tasks.model import Commit, Meta, Part, Upload
from hugesync_tasks.stores.base import ABSENT, NoBlocks, NotInPlace, Parts, Store
from hugesync_tasks.stores.covering import check_cover
from hugesync_tasks.stores.gcs_client import segment
from hugesync_tasks.stores.gcs_compose import GcsCompose, checked, combined
from hugesync_tasks.stores.gcs_listing import GcsListing
from hugesync_tasks.stores.gcs_meta import crc32c_of, resource, version_of
from hugesync_tasks.stores.gcs_parts import (
    FIELDS,
    FOLDER,
    STANDARD,
    Piece,
    about,
    at_once,
    folder_of,
    ignoring_gone,
    name_of,
    part_of,
    piece_of,
    upload_id,
    uploads_of,
    whole_of,
)
from hugesync_tasks.stores.gcs_root import GcsRoot, condition
from hugesync_tasks.stores.rfc3339 import instant_ns
from hugesync_tasks.stores.s3_checksum import crc64_of
from hugesync_tasks.stores.wrapper import innermost
from hugesync_tasks.token import Token


class GcsUploads(GcsCompose, NotInPlace, NoBlocks):
    """The multi-part half of ``GcsStore``."""

    page_size: int

    def create_upload(self, key: str, size: int, part_size: int, meta: Meta, token: Token) -> Upload:
        if size > self.limits.max_size:
            raise TooLarge(f"{size} bytes are more than an object may have ({self.limits.max_size})", key)
        self._whole(key)
        token.check()
        made_for = meta.generation or token_hex(16)
        return Upload(key, upload_id(key, made_for, size, part_size), meta.generation, size, part_size)

    def put_part(self, upload: Upload, number: int, body: bytes, token: Token) -> Part:
        crc64, whole = crc64_of(body), self._temporary(upload, name_of(number))
        doing = f"send part {number}"
        try:
            made = self._write("part", whole, body, about(upload, crc64), ABSENT, token, doing, upload.key)
        except VersionMismatch:  # it is there: sent before, by us or by another
            made = self._resource(whole, token, doing, upload.key, "part")
            found = piece_of(made)
            if (found.size, found.crc32c, found.crc64) != (len(body), crc32c_of(body), crc64):
                made = self._write("part", whole, body, about(upload, crc64), found.version, token, doing, upload.key)
        return Part(number, len(body), version_of(made), crc64)

    def copy_part(
        self, upload: Upload, number: int, source: Store, source_key: str, source_version: str, start: int, length: int,
        token: Token, source_id: str = "", checksum: int | None = None,
    ) -> Part:  # fmt: skip
        other = innermost(source)
        if not isinstance(other, GcsRoot) or other.bucket != self.bucket:
            raise Unsupported("cannot copy a part: the source lies in another bucket", upload.key)
        doing = f"copy part {number}"
        about_it = self._resource(other._whole(source_key), token, doing, source_key, "part_copy")
        found = replace(piece_of(about_it), ours=False)
        if found.version != source_version:
            raise VersionMismatch(f"cannot {doing}: the source is another version now", source_key)
        if (number, start, length) != (1, 0, found.size):
            raise Unsupported(
                f"cannot {doing}: the store takes over only a whole object, as the first part", upload.key
            )
        if about_it.get("storageClass", STANDARD) != STANDARD:  # one compose takes sources of one class
            raise Unsupported(f"cannot {doing}: the source is of another storage class than parts", upload.key)
        if checksum is not None and checksum != found.crc32c:
            raise Corrupted(f"cannot {doing}: the source holds other bytes", upload.key)
        token.copied_server_side(length)
        token.moved(length)
        return Part(number, length, found.etag())

    def list_parts(self, upload: Upload, token: Token) -> Parts:
        found = (part_of(one) for one in self._temporaries(upload, token, "list"))
        return [part for part in found if part is not None]

    def complete(
        self, upload: Upload, parts: Parts, meta: Meta, expected: str | None, crc64: int | None, token: Token
    ) -> Commit:
        check_cover(upload, parts)
        whole, doing = self._whole(upload.key), "complete the upload"
        pieces = self._pieces(upload, parts, token)
        checked(pieces, crc64, upload.key)
        pieces = self._narrowed(upload, pieces, token)
        self._guard(upload.key, expected, token, doing)
        ours = all(p.ours for p in pieces)
        try:
            if meta.storage_class in (None, STANDARD):
                made = self._compose(
                    whole,
                    pieces,
                    resource(meta, crc64),
                    expected,
                    token,
                    upload.key,
                    delete_sources=ours,
                    kms=meta.sse_kms_key,
                )
            else:  # a compose does not change the class
                made = self._moved(upload, self._joined(upload, 0, token, pieces), whole, meta, expected, token, crc64)
        except NoSuchUpload:
            for piece in pieces:
                self._still(piece, token, upload.key)
            raise
        self._check_made(made, whole, upload.size, combined(pieces), token, doing, upload.key)
        return Commit(upload.key, version_of(made), upload.size, "crc32c", self._tidied(upload, token))

    def abort(self, upload: Upload, token: Token) -> None:
        if folder_of(upload) is not None:
            for error in self._removed(upload, token):
                raise error

    def held(self, upload: Upload, token: Token) -> int | None:
        found = [int(one["size"]) for one in self._temporaries(upload, token, "list")]
        if not found:
            raise NoSuchUpload("there is no such upload", upload.key)
        return sum(found)

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        folder = self.prefix + FOLDER
        listing = GcsListing(self.clients, self.bucket, folder, self.page_size)
        for key, id, begun in uploads_of(listing.items(token, fields=FIELDS), len(folder)):
            yield key, id, instant_ns(begun) or 0

    def _pieces(self, upload: Upload, parts: Parts, token: Token) -> list[Piece]:
        """The objects that ``parts`` are receipts of, each as the store has it now."""
        there = {}
        for one in self._temporaries(upload, token, "list"):
            if (part := part_of(one)) is not None:
                there[part.number] = piece_of(one)
        pieces: list[Piece] = []
        for part in parts:
            piece = whole_of(part.etag) or there.get(part.number)
            if piece is None:
                raise NoSuchUpload(f"cannot complete the upload: part {part.number} is not there", upload.key)
            same = piece.version == part.etag or not piece.ours or part.crc64 == piece.crc64 is not None
            if (
                not same
                or piece.size != part.size
                or (None not in (part.crc64, piece.crc64) and part.crc64 != piece.crc64)
            ):
                raise Corrupted(
                    f"cannot complete the upload: part {part.number} is not the one that was sent", upload.key
                )
            if not self.limits.part_conditional:
                self._still(piece, token, upload.key)
            pieces.append(piece)
        return pieces

    def _moved(
        self, upload: Upload, piece: Piece, whole: str, meta: Meta, expected: str | None, token: Token,
        crc64: int | None,
    ) -> dict[str, Any]:  # fmt: skip
        query = condition(expected) | {"ifSourceGenerationMatch": piece.version}
        query |= {"destinationKmsKeyName": meta.sse_kms_key} if meta.sse_kms_key else {}
        path = f"{self._path(piece.name)}/rewriteTo/b/{segment(self.bucket)}/o/{segment(whole)}"
        doing = "complete the upload"
        try:
            return self._rewrite("complete", path, query, resource(meta, crc64), token, doing, upload.key)
        except NotFound as gone:
            raise NoSuchUpload("cannot complete the upload: a part is gone", upload.key) from gone

    def _still(self, piece: Piece, token: Token, key: str) -> None:
        """Raises VersionMismatch where an object that is taken over is another version now."""
        if piece.ours:
            return
        try:
            now = version_of(self._resource(piece.name, token, "complete the upload", key, "complete"))
        except NotFound:
            now = ""
        if now != piece.version:
            raise VersionMismatch("cannot complete the upload: what it goes on from is another version now", key)

    def _tidied(self, upload: Upload, token: Token) -> tuple[str, ...]:
        """Nothing of the upload stays; what does, says so, and is swept by whoever looks for abandoned uploads."""
        try:
            errors = self._removed(upload, token)
        except StoreError as error:
            errors = [error]
        return tuple(f"temporary parts were not removed: {error.message}" for error in errors[:1])

    def _removed(self, upload: Upload, token: Token) -> list[StoreError]:
        def remove(one: dict[str, Any]) -> None:
            path = self._path(str(one["name"]))
            self._ask("delete", "DELETE", path, token, "remove a part", upload.key, query=condition(version_of(one)))

        found = list(self._temporaries(upload, token, "abort"))
        return [e for e in at_once(ignoring_gone(remove), found, token.alive) if e is not None]

    def _temporaries(self, upload: Upload, token: Token, counted: str) -> Iterator[dict[str, Any]]:
        folder = folder_of(upload)
        if folder is None:
            raise NoSuchUpload("there is no such upload", upload.key)
        listing = GcsListing(self.clients, self.bucket, self.prefix + folder, self.page_size)
        return listing.items(token, fields=FIELDS, counted=counted)

    def _temporary(self, upload: Upload, name: str) -> str:
        folder = folder_of(upload)
        if folder is None:
            raise NoSuchUpload("there is no such upload", upload.key)
        return self.prefix + folder + name
