"""What tests of the delta need: a large file, ways to change it, and what of it passed a proxy, the signatures apart."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import numpy

from compare import bucket as bucket_tree
from compare import differences, tree
from hugesync_tasks.signature.format import Signature, read
from scale import scaled
from slowproxy import Exchange, SlowProxy
from submit import Ran, Submit

if TYPE_CHECKING:
    from conftest import Bucket

KIB, MIB = 1 << 10, 1 << 20
SIZE = max(80 * MIB, scaled(1 << 30)) + 12_345
STEP = 16 * MIB


def noise(size: int, seed: int) -> Iterator[bytes]:
    """``size`` random bytes, the same for the same seed."""
    rng = numpy.random.default_rng(seed)
    for at in range(0, size, STEP):
        yield rng.bytes(min(STEP, size - at))


def write(path: Path, size: int, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        out.writelines(noise(size, seed))
    return path


@dataclass
class Edit:
    """How a file changes. ``change`` does it and returns the ranges of the new file that the old one lacks; ``cost`` (bytes): the
    most that may be sent to a store."""

    name: str
    change: Callable[[Path], list[tuple[int, int]]]
    cost: int
    fill: Callable[[Path], object] = field(default=lambda path: write(path, SIZE))

    def __str__(self) -> str:
        return self.name


def overwritten(path: Path, places: int, seed: int = 5) -> list[tuple[int, int]]:
    """So many random places get 4 KiB of other bytes."""
    rng, size = random.Random(seed), path.stat().st_size
    starts = [rng.randrange(size - 4 * KIB) for _ in range(places)]
    with open(path, "r+b") as file:
        for start in starts:
            file.seek(start)
            file.write(rng.randbytes(4 * KIB))
    return [(start, start + 4 * KIB) for start in starts]


def inserted(path: Path, at: int, more: int, less: int = 0) -> list[tuple[int, int]]:
    """``more`` new bytes stand at ``at``, and ``less`` of those that stood there are gone."""
    with open(path, "rb") as old, open(path.with_name("edited"), "wb") as new:
        for start in range(0, at, STEP):
            new.write(old.read(min(STEP, at - start)))
        new.writelines(noise(more, 9))
        old.seek(at + less)
        shutil.copyfileobj(old, new, STEP)
    path.with_name("edited").replace(path)
    return [(at, at + more)] if more else []


def touched(path: Path) -> list[tuple[int, int]]:
    st = path.stat()
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns + 10**9))
    return []


def rounded(ranges: list[tuple[int, int]], block: int, size: int) -> int:
    """Bytes of the whole blocks that the ranges touch; a removal touches the block that it is in."""
    blocks = {k for start, end in ranges for k in range(start // block, -(-end // block))}
    return sum(min(block, size - k * block) for k in blocks)


# what passed


@dataclass(frozen=True)
class Passed:
    """Bytes of objects and parts, without signatures and intents."""

    sent: int
    received: int
    copies: int  # requests

    @classmethod
    def of(cls, exchanges: list[Exchange]) -> Passed:
        ours = [e for e in exchanges if _of_user(e)]
        return cls(
            sum(e.sent for e in ours if e.method == "PUT"),
            sum(e.received for e in ours if e.method == "GET" and e.status in (200, 206)),
            sum(e.method == "PUT" and "partNumber" in e.path and not e.sent for e in ours),
        )


def _of_user(exchange: Exchange) -> bool:
    url = urlsplit(exchange.path)
    of_bucket = url.path.strip("/").count("/") == 0
    listed = "uploadId" in parse_qs(url.query) and exchange.method == "GET"
    return not (of_bucket or listed or url.path.endswith(".hssig") or ".hugesync" in url.path)


@contextmanager
def passing(*proxies: SlowProxy) -> Iterator[Callable[[], Passed]]:
    """The function gives what passed since the block began."""
    before = [len(p.exchanges) for p in proxies]
    yield lambda: Passed.of([e for p, n in zip(proxies, before) for e in p.exchanges[n:]])


# what is there


def signature(s3: Bucket, key: str) -> Signature:
    """The sidecar of ``key``, read as the product reads it."""
    body = s3.client.get_object(Bucket=s3.bucket, Key=f"{key}.hssig")["Body"]
    return read(body.read)


def etag(s3: Bucket, key: str) -> str:
    found: str = s3.client.head_object(Bucket=s3.bucket, Key=key)["ETag"]
    return found.strip('"')


def keys(s3: Bucket) -> list[str]:
    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket)
    return [o["Key"] for page in pages for o in page.get("Contents", [])]


def assert_same(folder: Path, s3: Bucket, prefix: str) -> None:
    assert differences(tree(folder, folders="none"), bucket_tree(s3.client, s3.bucket, prefix)) == []


def assert_delta(ran: Ran, passed: Passed) -> None:
    """It went as a delta, proven, and ``--json`` says what the proxy counted."""
    assert ran.code == 0, (ran.json, ran.err)
    assert ran.json["transfers"] == {"full": 0, "delta": 1, "server_copy": 0}, (ran.json, ran.err)
    assert ran.json["verified"] == 1
    assert ran.moved == (passed.sent, passed.received), (ran.json, passed)


def submitting(folder: Path, s3: Bucket, proxy: SlowProxy | None = None) -> Submit:
    return Submit(folder, {**s3.env, "AWS_ENDPOINT_URL_S3": (proxy or s3).endpoint})
