"""What tests need that strike in the middle of a transfer: sizes, trees to send, ways to send them, and what must not be left.

The fixtures ``proxy`` and ``place`` are in ``conftest``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from processes import Place, Running, pool_children, wait_until
from scale import scaled
from slowproxy import SlowProxy

if TYPE_CHECKING:
    from conftest import Bucket

PART = 5 << 20
LARGE = scaled(2 << 30, 30 << 20) // PART * PART + 12_345
SMALL = scaled(20_000, 1_600)
SMALL_SIZE = 2_000
RANGES_BEGIN = 512  # bytes of a ``.ranges`` file before its first slot


def one_large_file(folder: Path) -> Path:
    folder.mkdir()
    with open(folder / "large", "wb") as out:
        for _ in range(LARGE // PART):
            out.write(os.urandom(PART))
        out.write(os.urandom(LARGE % PART))
    return folder


def many_small_files(folder: Path) -> Path:
    for i in range(SMALL):
        path = folder / f"d{i % 20:02}" / f"f{i:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(SMALL_SIZE))
    return folder


@dataclass(frozen=True)
class Way:
    """One way from store to store. ``hold`` lets the proxy hold everything in the middle of the large file."""

    name: str
    hold: Callable[[SlowProxy], None]
    options: tuple[str, ...] = ()
    entry: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def submit(self, place: Place, source: str, dest: str, **env: str) -> Running:
        if not self.entry:
            return place.submit(*self.options, source, dest, **env)
        return place.start([sys.executable, *self.entry, "--json", *self.options, source, dest], **env)


STORE_TO_STORE = [
    Way("through the worker", lambda proxy: proxy.hold_after(up=LARGE // 2), ("--dest-profile", "there")),
    Way(
        "by part copies",
        lambda proxy: proxy.hold_at("PUT", "/large?", LARGE // PART // 2),
        entry=("-m", "small_copies"),
    ),
]


def profiles(folder: Path, s3: Bucket) -> dict[str, str]:
    """An AWS configuration with the profile ``there``: the same server, but nobody can know that without asking it."""
    path = folder / "aws"
    path.write_text(
        f"[profile there]\nregion = {s3.server.region}\n"
        f"aws_access_key_id = {s3.server.access_key}\naws_secret_access_key = {s3.server.secret_key}\n"
    )
    return {"AWS_CONFIG_FILE": str(path)}


def midway_between_folders(place: Place, source: Path, base: Path) -> tuple[Running, Path]:
    """A run that copies the large file to a new folder below ``base``, its producer and task processes stopped when a part is
    there and the file is not. Nothing holds a kernel's copy, so a run that was quicker than we looked is tried again."""
    for n in range(20):
        out = base / f"out{n}"
        run = place.submit(source, out)
        wait_until(lambda out=out: parts_on_disk(out) or (out / "large").exists(), what="a part on disk", every=0.001)
        stopped = [psutil.Process(run.pid), *pool_children(place)]
        for p in stopped:
            p.suspend()
        if parts_on_disk(out) and not (out / "large").exists():
            return run, out
        for p in stopped:
            p.resume()
        assert run.finish().code == 0
    raise AssertionError("every run was done before it could be stopped")


def parts_on_disk(folder: Path) -> bool:
    """Whether a temporary has a part that is told to be whole."""
    return any(p.stat().st_size > RANGES_BEGIN for p in folder.glob(".hugesync-*.ranges"))


def bytes_in_the_open_upload(s3: Bucket) -> int:
    """Bytes of the parts of the one open upload."""
    (upload,) = s3.client.list_multipart_uploads(Bucket=s3.bucket)["Uploads"]
    listed = s3.client.list_parts(Bucket=s3.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    return sum(p["Size"] for p in listed.get("Parts", []))


def assert_nothing_is_left(s3: Bucket) -> None:
    """No open upload, nothing of ours beside the objects."""
    assert s3.client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", []) == []
    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket)
    assert [o["Key"] for page in pages for o in page.get("Contents", []) if ".hugesync" in o["Key"]] == []


def temporaries(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob(".hugesync*")]
