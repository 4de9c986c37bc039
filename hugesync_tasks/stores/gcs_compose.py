"""From many parts to one object: a tree of composes, at most 32 sources each, every one by its generation.

Whatever is composed has the CRC32C that its parts' together must give, or it is not used: what becomes visible under the
final key is checked before. An intermediate's name follows from the generations of what it is made of, so a repeat after a
kill or a lost reply finds it and goes on.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from hugesync_tasks.errors import Corrupted, NoSuchUpload, NotFound, VersionMismatch
from hugesync_tasks.model import Upload
from hugesync_tasks.stores.gcs_parts import Piece, about, at_once, folder_of, mark_of, piece_of
from hugesync_tasks.stores.gcs_root import GcsRoot, condition, generation, kms_key
from hugesync_tasks.token import Token

WIDTH = 32  # sources of one compose


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
        try:
            made = self._compose(name, pieces, about(upload), None, token, upload.key)
        except VersionMismatch:  # it is there, or a part is not what it was
            try:
                made = self._resource(name, token, "complete the upload", upload.key, "complete")
            except NotFound as gone:
                raise NoSuchUpload("cannot complete the upload: a part was replaced", upload.key) from gone
        found = piece_of(made)
        self._check_made(
            made, name, sum(p.size for p in pieces), combined(pieces), token, "complete the upload", upload.key
        )
        return found

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
            return self._ask(
                "complete", "POST", path, token, "complete the upload", key, query=query, json=wanted, slow=True
            )
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
