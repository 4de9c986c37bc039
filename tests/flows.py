"""The jobs of the crash matrix: where from, where to, what lies there. A new kind of work is one line in ``FLOWS``."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awscrt.checksums import crc64nvme

from hugesync_tasks.model import Commit, Meta
from hugesync_tasks.signature.blocks import MIN_BLOCK, hash_blocks
from hugesync_tasks.signature.format import Binding, Header, write
from hugesync_tasks.spec import Location
from hugesync_tasks.stages.sidecar import CONTENT_TYPE
from hugesync_tasks.token import Token

if TYPE_CHECKING:
    from matrix import Matrix

PART = 4 * MIN_BLOCK
BIG = (1 << 20) + 5 * MIN_BLOCK + 77  # a basis has more than a MiB
MTIME = 1_600_000_000 * 10**9
CLOUDS = ("gs", "az")
DELTA = {"delta_threshold": 2 * PART, "block_size": MIN_BLOCK}
DELETE = {"delete": True, "max_delete": "100%"}


@dataclass
class Flow:
    """``wanted`` is what the destination must have in the end; ``extras`` files that only it has are deleted."""

    source: str
    dest: str
    make: Callable[[Matrix], dict[str, bytes]]
    how: str  # what of ``transfers`` a run without faults shows
    options: dict[str, Any] = field(default_factory=dict)
    copies: bool = False
    extras: int = 0
    wanted: dict[str, bytes] = field(default_factory=dict)

    def location(self, kind: str, root: Path, name: str) -> Location:
        if kind == "file":
            return Location("file", root=name, path="", local=str(root / name))
        buckets = ("one", "two") if kind in CLOUDS else ("a", "b")
        return Location(kind, bucket=buckets[not (self.copies or name == "source")], prefix=f"{name}/")

    def fill(self, sim: Matrix) -> None:
        self.wanted = self.make(sim)
        sim.now += 5


@cache
def noise(n: int, size: int) -> bytes:
    return random.Random(n).randbytes(size)


def put(store: Any, key: str, body: bytes, mtime_ns: int = MTIME) -> Commit:
    return store.put(key, body, Meta(mtime_ns=mtime_ns), None, Token())  # type: ignore[no-any-return]


def put_in_parts(store: Any, key: str, body: bytes, mtime_ns: int = MTIME) -> Commit:
    """As a job puts it: its pieces are ours, and the store knows the CRC64NVME of the whole."""
    meta = Meta(mtime_ns=mtime_ns, generation="0123456789abcdef" * 2)
    upload = store.create_upload(key, len(body), PART, meta, Token())
    pieces = [body[at : at + PART] for at in range(0, len(body), PART)]
    made = [store.put_part(upload, n, piece, Token()) for n, piece in enumerate(pieces, 1)]
    return store.complete(upload, made, meta, None, crc64nvme(body), Token())  # type: ignore[no-any-return]


def sign(store: Any, key: str, body: bytes, done: Commit) -> None:
    header = Header(Binding(len(body), done.version, mtime_ns=MTIME), MIN_BLOCK, bytes(32))
    records = hash_blocks(memoryview(body), MIN_BLOCK)
    meta = Meta(content_type=CONTENT_TYPE, sidecar=True)
    store.put(f"{key}.hssig", b"".join(write(header, [records])), meta, None, Token())


# what lies there
def small(sim: Matrix) -> dict[str, bytes]:
    """Small files, two of them there already, one of them changed."""
    wanted = {f"d/f{n}": noise(n, 100 * n) for n in range(7)}
    for key, body in wanted.items():
        put(sim.source, key, body)
    put(sim.dest, "d/f1", wanted["d/f1"])
    put(sim.dest, "d/f2", b"old", MTIME - 10**9)
    return wanted


def parts(sim: Matrix) -> dict[str, bytes]:
    """One file in parts, new; and one over an old version."""
    wanted = {"a": noise(1, 3 * PART + 17), "b": noise(2, 2 * PART + 1)}
    for key, body in wanted.items():
        put(sim.source, key, body)
    put(sim.dest, "b", b"old", MTIME - 10**9)
    return wanted


def changed(body: bytes) -> bytes:
    """A block overwritten, one more at the end."""
    at = 7 * MIN_BLOCK + 5
    return body[:at] + noise(9, 1000) + body[at + 1000 :] + noise(8, 500)


def delta(sim: Matrix) -> dict[str, bytes]:
    """The old version at the destination, with a signature beside what is an object."""
    old = noise(3, BIG)
    new = changed(old)
    there = put(sim.dest, "big", old, MTIME - 10**9)
    if sim.flow.dest != "file":
        sign(sim.dest, "big", old, there)
    made = put(sim.source, "big", new)
    if sim.flow.source != "file":
        sign(sim.source, "big", new, made)
    return {"big": new}


def delta_of_ours(sim: Matrix) -> dict[str, bytes]:
    """As ``delta``, of objects that a job put together: their pieces can be taken over, and they are proven."""
    old = noise(3, BIG)
    new = changed(old)
    for store, kind, body, at in (
        (sim.dest, sim.flow.dest, old, MTIME - 10**9),
        (sim.source, sim.flow.source, new, MTIME),
    ):
        done = (put if kind == "file" else put_in_parts)(store, "big", body, at)
        if kind != "file":
            sign(store, "big", body, done)
    return {"big": new}


def grown(sim: Matrix) -> dict[str, bytes]:
    """A file that only grew, the old version signed."""
    old = noise(3, BIG)
    sign(sim.dest, "big", old, put(sim.dest, "big", old, MTIME - 10**9))
    put(sim.source, "big", old + noise(8, PART + 500))
    return {"big": old + noise(8, PART + 500)}


def copied(sim: Matrix) -> dict[str, bytes]:
    """Small ones, and one that is too large for a single copy."""
    wanted = {"a": noise(1, 100), "b": noise(2, 1000), "huge": noise(4, 5 * PART + 5)}
    for key, body in wanted.items():
        put(sim.source, key, body)
    put(sim.dest, "b", b"old", MTIME - 10**9)
    return wanted


def mirrored(sim: Matrix) -> dict[str, bytes]:
    """One small file to bring over, one that is there; and two that only the destination has, the one in a folder of its own."""
    wanted = {"d/f0": noise(5, 300), "kept": noise(6, 200)}
    for key, body in wanted.items():
        put(sim.source, key, body)
    put(sim.dest, "kept", wanted["kept"])
    for n, key in enumerate(("d/extra", "gone/extra")):
        put(sim.dest, key, noise(20 + n, 100))
    return wanted


FLOWS: dict[str, Flow] = {
    "upload": Flow("file", "s3", small, "full"),
    "upload in parts": Flow("file", "s3", parts, "full"),
    "delta upload": Flow("file", "s3", delta, "delta", DELTA),
    "download": Flow("s3", "file", small, "full"),
    "download in parts": Flow("s3", "file", parts, "full"),
    "delta download": Flow("s3", "file", delta, "delta", DELTA),
    "delta download in place": Flow("s3", "file", delta, "delta", {**DELTA, "inplace": True}),
    "server copy": Flow("s3", "s3", copied, "server_copy", copies=True),
    "delta between stores": Flow("s3", "s3", delta, "delta", DELTA),
    "local copy": Flow("file", "file", parts, "full"),
    "delete": Flow("file", "s3", mirrored, "full", DELETE, extras=2),
    "delete in a folder": Flow("s3", "file", mirrored, "full", DELETE, extras=2),
}

# over the adapters of Google Cloud Storage and Azure Blob
CLOUD_FLOWS: dict[str, Flow] = {
    "upload to gs": Flow("file", "gs", small, "full"),
    "upload in parts to gs": Flow("file", "gs", parts, "full"),
    "append to gs": Flow("file", "gs", grown, "delta", DELTA),
    "download in parts from gs": Flow("gs", "file", parts, "full"),
    "copy within gs": Flow("gs", "gs", copied, "server_copy", copies=True),
    "upload to az": Flow("file", "az", small, "full"),
    "upload in parts to az": Flow("file", "az", parts, "full"),
    "delta upload to az": Flow("file", "az", delta, "delta", DELTA),
    "delta upload to az over blocks of ours": Flow("file", "az", delta_of_ours, "delta", DELTA),
    "delta download from az": Flow("az", "file", delta_of_ours, "delta", DELTA),
    "delta download from gs": Flow("gs", "file", delta_of_ours, "delta", DELTA),
    "copy within az": Flow("az", "az", copied, "server_copy", copies=True),
    "from gs to az in parts": Flow("gs", "az", parts, "full"),
    "delete at gs": Flow("file", "gs", mirrored, "full", DELETE, extras=2),
    "delete at az": Flow("file", "az", mirrored, "full", DELETE, extras=2),
}
