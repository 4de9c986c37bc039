"""From many parts to one object: a tree of composes, at most 32 sources each, every one by its generation.

Whatever is composed has the CRC32C that its parts' together must give, or it is not used: what becomes visible under the
final key is checked before. An intermediate's name follows from the generations of what it is made of, so a repeat after a
kill or a lost reply finds it and goes on.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

from hugesync_tasks.errors import AccessDenied, Corrupted, NoSuchUpload, NotFound, VersionMismatch
from hugesync_tasks.model import Meta, Upload
from hugesync_tasks.stores.gcs_client import segment
from hugesync_tasks.stores.gcs_meta import resource
from hugesync_tasks.stores.gcs_parts import Piece, about, at_once, folder_of, kms_of, mark_of, piece_of
from hugesync_tasks.stores.gcs_root import GcsRoot, condition, generation, kms_key
from hugesync_tasks.token import Token

WIDTH = 32  # sources of one compose
_DOING = "complete the upload"


class GcsCompose(GcsRoot):
    """The composing half of an upload."""

    def _narrowed(self, upload: Upload, pieces: list[Piece], token: Token, width: int = WIDTH) -> list[Piece]:
        """Few enough pieces for one compose, the same bytes. A whole object that is taken over is never composed twice."""
        whole, rest = [p for p in pieces if not p.ours], [p for p in pieces if p.ours]
        level = 0
        while len(whole) + len(rest) > width:
            level += 1
            groups = [rest[at : at + width] for at in range(0, len(rest), width)]
            rest = at_once(partial(self._joined, upload, level, token), groups, token.alive)
        return whole + rest

    def _joined(self, upload: Upload, level: int, token: Token, pieces: list[Piece]) -> Piece:
        """One intermediate, which may be there already."""
        if len(pieces) == 1:
            return pieces[0]
        name = f"{self.prefix}{folder_of(upload)}{level}-{mark_of(pieces)}"
        said = about(upload, storage_class=pieces[0].storage_class)
        try:
            made = self._compose(name, pieces, said, None, token, upload.key, kms=kms_of(upload))
        except VersionMismatch:  # it is there, or a part is not what it was
            made = self._there(name, token, upload.key)
        self._check_made(made, name, sum(p.size for p in pieces), combined(pieces), token, _DOING, upload.key)
        return piece_of(made)

    def _of_one_class(self, upload: Upload, pieces: list[Piece], token: Token) -> list[Piece]:
        """The same bytes in pieces of the first one's storage class, for one compose takes no others: parts have the bucket's,
        an old object that is appended to may have any, and rules of the bucket may have changed some meanwhile."""
        if not all(p.storage_class for p in pieces) or len({p.storage_class for p in pieces}) == 1:
            return pieces
        alike: list[Piece] = []
        for kind, group in groupby(pieces, lambda p: p.storage_class):
            run = list(group)
            if kind != pieces[0].storage_class:
                one = self._joined(upload, 0, token, self._narrowed(upload, run, token))
                run = [self._changed(upload, one, pieces[0].storage_class, token)]
            alike += run
        return alike

    def _changed(self, upload: Upload, piece: Piece, kind: str, token: Token) -> Piece:
        """A temporary of the same bytes and another storage class, which may be there already."""
        name = f"{self.prefix}{folder_of(upload)}{kind}-{mark_of([piece])}"
        said = about(upload, storage_class=kind)
        try:
            made = self._moved(piece, name, said, None, token, upload.key, kms_of(upload))
        except VersionMismatch:
            made = self._there(name, token, upload.key)
        self._check_made(made, name, piece.size, combined([piece]), token, _DOING, upload.key)
        return piece_of(made)

    def _visible(
        self, upload: Upload, pieces: list[Piece], meta: Meta, note: str, expected: str | None, token: Token
    ) -> dict[str, Any]:
        """The object under its final key, of few enough pieces of one storage class. Raises as ``_compose`` does."""
        whole, kind = self._whole(upload.key), pieces[0].storage_class
        if meta.storage_class and meta.storage_class != kind:  # a compose does not change the class
            one = self._joined(upload, 0, token, pieces)
            return self._moved(one, whole, resource(meta, note), expected, token, upload.key, meta.sse_kms_key)
        described = resource(replace(meta, storage_class=kind or None), note)
        ours = all(p.ours for p in pieces)
        for delete in (True, False) if ours else (False,):
            try:
                return self._compose(
                    whole, pieces, described, expected, token, upload.key, delete_sources=delete, kms=meta.sse_kms_key
                )
            except AccessDenied:  # perhaps only to delete, which making the object does not need
                if not delete:
                    raise
        raise AssertionError("unreachable")

    def _moved(
        self, piece: Piece, name: str, described: dict[str, Any], expected: str | None, token: Token, key: str,
        kms: str | None,
    ) -> dict[str, Any]:  # fmt: skip
        """One piece under another name, which may change its class. Raises VersionMismatch, NoSuchUpload."""
        query = condition(expected) | {"ifSourceGenerationMatch": generation(piece.version)}
        query |= {"destinationKmsKeyName": kms} if kms else {}
        path = f"{self._path(piece.name)}/rewriteTo/b/{segment(self.bucket)}/o/{segment(name)}"
        try:
            return self._rewrite("complete", path, query, described, token, _DOING, key)
        except NotFound as gone:
            raise NoSuchUpload("cannot complete the upload: a part is gone", key) from gone

    def _there(self, name: str, token: Token, key: str) -> dict[str, Any]:
        """The intermediate that stood in the way of ours."""
        try:
            return self._resource(name, token, _DOING, key, "complete")
        except NotFound as gone:
            raise NoSuchUpload("cannot complete the upload: a part was replaced", key) from gone

    def _compose(
        self, name: str, pieces: list[Piece], described: dict[str, Any], expected: str | None, token: Token, key: str, *,
        delete_sources: bool = False, kms: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Raises VersionMismatch where ``name`` or a source is another version, NoSuchUpload where a source is gone."""
        sources = [
            {
                "name": p.name,
                "generation": generation(p.version),
                "objectPreconditions": {"ifGenerationMatch": generation(p.version)},
            }
            for p in pieces
        ]
        wanted: dict[str, Any] = {"sourceObjects": sources, "destination": described}
        if delete_sources:
            wanted["deleteSourceObjects"] = True
        query = condition(expected) | kms_key(kms)
        path = f"{self._path(name)}/compose"
        try:
            return self._ask("complete", "POST", path, token, _DOING, key, query=query, json=wanted, slow=True)
        except NotFound as gone:
            raise NoSuchUpload("cannot complete the upload: a part is gone", key) from gone


def combined(pieces: list[Piece]) -> int:
    """The CRC32C of all bytes in order."""
    from awscrt.checksums import combine_crc32c

    whole = 0
    for piece in pieces:
        whole = combine_crc32c(whole, piece.crc32c & 0xFFFFFFFF, piece.size)
    return int(whole)


def combined_crc64(pieces: list[Piece]) -> int | None:
    """The CRC64NVME of all bytes in order; None where that of one is not known."""
    from awscrt.checksums import combine_crc64nvme

    whole = 0
    for piece in pieces:
        if piece.crc64 is None:
            return None
        whole = combine_crc64nvme(whole, piece.crc64, piece.size)
    return int(whole)


def checked(pieces: list[Piece], crc64: int | None, key: str) -> None:
    """Raises Corrupted where the parts together are not what was sent."""
    found = combined_crc64(pieces)
    if crc64 is not None and found is not None and found != crc64:
        raise Corrupted("cannot complete the upload: the parts together are not the file that was sent", key)
    if any(p.crc32c < 0 for p in pieces):
        raise Corrupted("cannot complete the upload: the store gives no CRC32C of a part", key)
