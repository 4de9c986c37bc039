"""What a store can and cannot do, as data."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store can and cannot do: the only thing callers may ask about the kind of store they hold."""

    name: str  # for people: "s3", "local", "memory"
    min_part: int = 5 * MIB  # every part but the last
    max_part: int = 5 * GIB
    max_parts: int = 10_000
    max_size: int = 5 * TIB
    max_put: int = 5 * GIB  # in one put
    max_copy: int = 5 * GIB  # in one server-side copy
    max_key: int = 1024  # bytes of the whole key, prefix included
    max_segment: int | None = None  # bytes between two slashes
    list_order: str = "utf8"  # how the *server* lists: utf8 | segments | utf16 | none; ``list`` always yields utf8
    conditional_commit: str = "enforced"  # "enforced" | "best effort" | "none"
    part_conditional: bool = False  # copy_part and copy are pinned to the source version by the store
    copy_conditional: bool = True  # ``copy`` keeps to the version expected at the destination, and to the source's
    part_copy: str = (
        "ranges"  # what ``copy_part`` copies: "ranges" | "blocks" (only ``Store.blocks``) | "whole" | "none"
    )
    copy_proof: str = ""  # the checksum that ``copy_part`` holds what it copies to: "crc64nvme" | "crc32c" | ""
    listing_has_mtime: bool = False  # else unknown entries of equal size need a HEAD
    full_crc64: bool = False  # ``complete`` and ``put`` send a CRC64NVME that the store checks
    etag_is_md5: bool = False  # of single puts and parts
    intents: bool = False  # uploads cannot carry our generation visibly: an intent object must be put beside
    folders: bool = False  # folders are real: have mode, owner, mtime, and need finishing
    file_and_folder: bool = True  # ``a`` may stand beside ``a/b``
    posix_metadata: bool = False  # mode, owner are applied, not only stored
    case_sensitive: bool = True
    folds: bool = False  # would keep `a//b` or `a\b` under another key, so such keys are refused
    delete_conditional: bool = False
    abort_frees: bool = True  # False: what an aborted upload holds stays until the store itself collects it
    finish_every: int = 64  # puts of one PutBatch before its ``finish`` is worth its cost (locally: a syncfs)
    kms_keys: bool = True  # a write can name a key of a key service (``--sse-kms-key``)
    remote: bool = True  # bytes in and out are traffic (counted by the adapter); False: a mounted filesystem
    in_place: bool = False  # a file's ranges can be written where they stand (``put_pieces``, ``overwrite``)
    probed: bool = False  # measured on this endpoint, not taken from a table

    def wire(self) -> dict[str, object]:
        return {f: getattr(self, f) for f in self.__slots__}
