"""Signing, comparing and patching plain local files: what ``hugesync sign``, ``delta`` and ``patch`` do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from hugesync_tasks.config_units import show_size
from hugesync_tasks.delta import container
from hugesync_tasks.delta.match import Matcher
from hugesync_tasks.delta.ops import Copy, merge
from hugesync_tasks.errors import SourceChanged
from hugesync_tasks.signature.blocks import (
    LEAF,
    MAX_BLOCKS,
    MIB,
    BlockHasher,
    auto_block,
    file_digest,
    least_block,
)
from hugesync_tasks.signature.format import Binding, Header, Signature

_READ = MIB
_RANGE = 256 * MIB  # bytes matched at a time; a worker's task has as many


@dataclass(frozen=True, slots=True)
class Open:
    """A regular file that is read; what was read counts only while ``unchanged`` holds."""

    fd: int
    path: Path
    size: int
    mtime_ns: int
    _stamp: tuple[int, int, int, int]

    def read(self, at: int, view: memoryview) -> None:
        """Fill ``view`` from offset ``at``. Raises SourceChanged where the file is shorter now."""
        done = 0
        while done < len(view):
            n = os.preadv(self.fd, [view[done:]], at + done)
            if not n:
                raise SourceChanged(f"{self.path} became shorter while it was read")
            done += n

    def unchanged(self) -> None:
        """Raise SourceChanged where the file is not what was opened any more."""
        if _stamp(os.fstat(self.fd)) != self._stamp:
            raise SourceChanged(f"{self.path} changed while it was read")


@contextmanager
def opened(path: Path) -> Iterator[Open]:
    """``path`` for reading; raises OSError, and IsADirectoryError for what is no regular file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not be waited for
    try:
        stat = os.fstat(fd)
        if not S_ISREG(stat.st_mode):
            raise IsADirectoryError(f"{path} is no regular file")
        yield Open(fd, path, stat.st_size, stat.st_mtime_ns, _stamp(stat))
    finally:
        os.close(fd)


def _stamp(stat: os.stat_result) -> tuple[int, int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def sign(file: Open, block: int | None, creator: str) -> Signature:
    """The signature of a file; ``block`` bytes per block, by default ``auto_block``. Raises SourceChanged, and
    ValueError where that would be too many blocks."""
    if block and block < least_block(file.size):
        least = show_size(least_block(file.size))
        raise ValueError(
            f"{file.path} has {file.size:,} bytes: its blocks need at least {least}, for there may be {MAX_BLOCKS:,}"
        )
    hasher = BlockHasher(block or auto_block(file.size))
    step = max(_READ, hasher.block)  # whole blocks are hashed where they lie
    buffer = memoryview(bytearray(min(step, max(1, file.size))))
    for at in range(0, file.size, step):
        view = buffer[: min(step, file.size - at)]
        file.read(at, view)
        hasher.feed(view)
    digest = hasher.finish()
    file.unchanged()
    bound = Binding(file.size, mtime_ns=file.mtime_ns)
    header = Header(bound, hasher.block, digest, creator, int(time.time()))
    return Signature(header, bytes(hasher.records))


@dataclass(frozen=True, slots=True)
class Difference:
    """What leads from the signed file to another: its ``ends``, and ``copies`` in order."""

    ends: container.Ends
    copies: list[Copy]

    @property
    def reused(self) -> int:
        """Bytes of the new file that the basis has."""
        return sum(c.length for c in self.copies)


def compare(signature: Signature, file: Open) -> Difference:
    """How ``file`` is made of what ``signature`` is of. Raises SourceChanged."""
    matcher = Matcher(signature)
    step = _RANGE // max(matcher.block, LEAF) * max(matcher.block, LEAF)
    copies: list[Copy] = []
    leaves = bytearray()
    for start in range(0, file.size, step):
        found = matcher.match(file.read, file.size, start, min(file.size, start + step))
        copies = merge([*copies, *found.copies])
        leaves += found.leaves
    file.unchanged()
    header = signature.header
    ends = container.Ends(header.binding.size, header.digest, file.size, file_digest([leaves]))
    return Difference(ends, copies)


def patch(basis: Open, take: Callable[[int], bytes], out: Path) -> container.Ends:
    """Write what a delta makes of ``basis`` to ``out``, in one step and only if its digest is what the delta says.

    Raises BadDelta, SourceChanged, OSError; ``out`` is then as it was, and nothing is left beside it.
    """
    delta = container.DeltaReader(take)
    if basis.size != delta.ends.basis_size:
        raise container.BadDelta(
            f"the delta is for a basis of {delta.ends.basis_size} bytes, {basis.path} has {basis.size}"
        )
    temporary = out.parent / f".hugesync-{os.urandom(8).hex()}.part"
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        hasher = BlockHasher(MIB)
        with os.fdopen(fd, "wb", buffering=0) as target:
            for piece in _pieces(delta, basis):
                hasher.feed(piece)
                _write(target.fileno(), piece)
            if hasher.finish() != delta.ends.digest:
                raise container.BadDelta(
                    f"the result is not what the delta was made for: {basis.path} is another basis"
                )
            basis.unchanged()
            os.fsync(target.fileno())
        os.replace(temporary, out)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(out.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return delta.ends


def _pieces(delta: container.DeltaReader, basis: Open) -> Iterator[bytes | memoryview]:
    buffer = memoryview(bytearray(MIB))
    for step in delta:
        if isinstance(step, bytes):
            yield step
            continue
        for at in range(step.source, step.source + step.length, MIB):
            view = buffer[: min(MIB, step.source + step.length - at)]
            basis.read(at, view)
            yield view


def _write(fd: int, piece: bytes | memoryview) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]
