"""What is known of S3 servers by name: the lines of a table, for what a probe cannot show."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hugesync_tasks.stores.base import Limits


@dataclass(frozen=True, slots=True)
class Dialect:
    """One server. ``server``: how its ``Server`` response header begins."""

    name: str
    server: str
    list_order: str = "none"
    part_conditional: bool = False  # copy-source-if-match is honoured
    delete_conditional: bool = False
    copy_conditional: bool = False  # If-Match and If-None-Match are honoured by CopyObject
    file_and_folder: bool = True
    max_segment: int | None = None
    folds: bool = False  # stores `a//b` and `a\b` under another key without a word
    raw_uploads: bool = False  # says that a listing of uploads is URL-encoded, and does not encode it


AWS = Dialect("s3", "AmazonS3", "utf8", part_conditional=True, delete_conditional=True, copy_conditional=True)
SEAWEEDFS = Dialect(
    "s3 (SeaweedFS)", "SeaweedFS", "segments", part_conditional=True, delete_conditional=True, copy_conditional=True,
    file_and_folder=False, max_segment=255, folds=True, raw_uploads=True,
)  # fmt: skip
MINIO = Dialect("s3 (MinIO)", "MinIO", "utf8")
MOTO = Dialect("s3 (moto)", "Werkzeug", "utf8")
UNKNOWN = Dialect("s3 (unknown server)", "")
_TABLE = (AWS, SEAWEEDFS, MINIO, MOTO)


def by_server(header: str) -> Dialect:
    """The dialect that a ``Server`` response header belongs to; UNKNOWN is believed to keep no promise."""
    return next((d for d in _TABLE if header.startswith(d.server)), UNKNOWN)


def by_name(name: str) -> Dialect:
    """The dialect of probed ``Limits.name``."""
    return next((d for d in _TABLE if d.name == name), UNKNOWN)


def with_dialect(limits: Limits, dialect: Dialect) -> Limits:
    """``limits`` with all that the table knows."""
    return replace(
        limits,
        name=dialect.name,
        list_order=dialect.list_order,
        part_conditional=dialect.part_conditional,
        delete_conditional=dialect.delete_conditional,
        copy_conditional=dialect.copy_conditional,
        file_and_folder=dialect.file_and_folder,
        max_segment=dialect.max_segment,
        folds=dialect.folds,
    )


# Amazon documents these; objects may reach 48.8 TiB, but tools that read them elsewhere hold to 5. The ETag is no MD5
# under SSE-KMS, which a bucket may impose, so it counts as none; the store's CRC64NVME proves more.
AWS_LIMITS = with_dialect(Limits("s3", full_crc64=True, intents=True), AWS)
# Before a probe nothing is believed of an unknown endpoint; conditions are sent all the same.
UNPROBED_LIMITS = with_dialect(Limits("s3", conditional_commit="none", intents=True), UNKNOWN)
