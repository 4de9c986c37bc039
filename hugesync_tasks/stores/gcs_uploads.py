"""Multi-part uploads of the Google Cloud Storage adapter. An upload is a value: any process may continue or end it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex
from typing import Any

from hugesync_tasks.errors import (
    AccessDenied,
    Corrupted,
    NoSuchUpload,
    NotFound,
    StoreError,
    TooLarge,
    Unsupported,
    VersionMismatch,
)
from hugesync_tasks.model import Commit, Meta, Part, Upload
from hugesync_tasks.stores.base import ABSENT, Body, NoBlocks, NotInPlace, Parts, Store
from hugesync_tasks.stores.covering import check_cover
from hugesync_tasks.stores.gcs_compose import GcsCompose, checked, combined
from hugesync_tasks.stores.gcs_listing import GcsListing
from hugesync_tasks.stores.gcs_meta import crc32c_of, note_of, version_of
from hugesync_tasks.stores.gcs_parts import (
    FIELDS,
    Piece,
    about,
    at_once,
    folder_of,
    ignoring_gone,
    kms_of,
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
        return Upload(
            key, upload_id(key, made_for, size, part_size, meta.sse_kms_key), meta.generation, size, part_size
        )

    def put_part(self, upload: Upload, number: int, body: Body, token: Token) -> Part:
        crc64, crc32c, whole = crc64_of(body), crc32c_of(body), self._temporary(upload, name_of(number))
        said, kms, doing = about(upload, note_of(crc64, crc32c, len(body))), kms_of(upload), f"send part {number}"
        try:
            made = self._write("part", whole, body, said, ABSENT, token, doing, upload.key, kms=kms)
        except VersionMismatch:  # it is there: sent before, by us or by another
            made = self._resource(whole, token, doing, upload.key, "part")
            found = piece_of(made)
            if (found.size, found.crc32c, found.crc64) != (len(body), crc32c, crc64):
                made = self._write("part", whole, body, said, found.version, token, doing, upload.key, kms=kms)
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
        crc32c = combined(pieces)
        pieces = self._narrowed(upload, self._of_one_class(upload, pieces, token), token)
        self._guard(upload.key, expected, token, doing)
        note = note_of(crc64, crc32c, upload.size)
        try:
            made = self._visible(upload, pieces, meta, note, expected, token)
        except NoSuchUpload:
            for piece in pieces:
                self._still(piece, token, upload.key)
            raise
        self._check_made(made, whole, upload.size, crc32c, token, doing, upload.key)
        return Commit(upload.key, version_of(made), upload.size, "crc32c", litter=not self._tidied(upload, token))

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
        return self.uploads_below("", token)

    def uploads_below(self, below: str, token: Token) -> Iterator[tuple[str, str, int]]:
        """``list_uploads`` of those whose temporaries' keys begin with ``below``."""
        listing = GcsListing(self.clients, self.bucket, self.prefix + below, self.page_size)
        for key, id, begun in uploads_of(listing.items(token, fields=FIELDS), len(self.prefix)):
            yield key, id, instant_ns(begun) or 0

    def _pieces(self, upload: Upload, parts: Parts, token: Token) -> list[Piece]:
        """The objects that ``parts`` are receipts of, each as the store has it now."""
        there = {}
        for one in self._temporaries(upload, token, "list"):
            if (part := part_of(one)) is not None:
                there[part.number] = piece_of(one)
        pieces: list[Piece] = []
        for part in parts:
            piece = whole_of(part.etag)
            piece = there.get(part.number) if piece is None else self._still(piece, token, upload.key)
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
            pieces.append(piece)
        return pieces

    def _still(self, piece: Piece, token: Token, key: str) -> Piece:
        """An object that is taken over, as it is now: rules of the bucket change the class of a version. Raises VersionMismatch
        where it is another version."""
        if piece.ours:
            return piece
        now = None
        with suppress(NotFound):
            now = piece_of(self._resource(piece.name, token, "complete the upload", key, "complete"))
        if now is None or now.version != piece.version:
            raise VersionMismatch("cannot complete the upload: what it goes on from is another version now", key)
        return replace(now, crc64=None, ours=False)

    def _tidied(self, upload: Upload, token: Token) -> bool:
        """Whether nothing of the upload stays: the file is there, and this does not fail it."""
        try:
            return not self._removed(upload, token)
        except StoreError:
            return False

    def _removed(self, upload: Upload, token: Token) -> list[StoreError]:
        def remove(one: dict[str, Any]) -> None:
            path = self._path(str(one["name"]))
            self._ask("delete", "DELETE", path, token, "remove a part", upload.key, query=condition(version_of(one)))

        found, quiet = list(self._temporaries(upload, token, "abort")), ignoring_gone(remove)
        if found and isinstance(first := quiet(found[0]), AccessDenied):
            return [first]  # who may not delete one may not delete ten thousand
        return [e for e in at_once(quiet, found, token.alive) if e is not None]

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
