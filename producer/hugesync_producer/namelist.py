"""A list of names (``--files-from``) as a job keeps it: sorted, each once, compressed, on disk; and its digest.

Names are in key form, relative to the source. One that ends in ``/`` stands for a folder with everything in it, ``/`` alone for the
whole source; any other for a file, a link, or a folder without what is in it. What lies below a folder that is listed with
all of it is left out. However long a list is, a bounded number of its names is in memory.
"""

from __future__ import annotations

import errno
import gzip
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import blake3

from hugesync_tasks.errors import NoSpace, UsageError
from hugesync_tasks.stores.sorting import sorted_records

ALL = "/"
BLOCK = 1 << 20  # bytes read at a time
_LEVEL = 6  # of compression: sorted names shrink to a tenth


@dataclass(frozen=True, slots=True)
class NameList:
    """``path``: the file, gzip of names that each end in NUL. ``digest`` is of what is in it, so of the names alone."""

    path: Path
    digest: str

    def __iter__(self) -> Iterator[str]:
        """The names, in byte order. Raises UsageError where the file is not what it was."""
        rest = b""
        for block in self._blocks():
            names = (rest + block).split(b"\0")
            rest = names.pop()
            for name in names:
                yield name.decode()

    def whole(self) -> bool:
        """Whether it still is the list of its digest; reads all of it."""
        found = blake3.blake3()
        try:
            for block in self._blocks():
                found.update(block)
        except UsageError:
            return False
        return found.hexdigest(length=16) == self.digest

    def copy_to(self, path: Path) -> NameList:
        """The same list at ``path``, written beside it first. Raises OSError."""
        beside = path.with_suffix(".new")
        with open(self.path, "rb") as source, open(beside, "wb") as out:
            while block := source.read(BLOCK):
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, path)
        return NameList(path, self.digest)

    def _blocks(self) -> Iterator[bytes]:
        try:
            with gzip.open(self.path, "rb") as file:
                while block := file.read(BLOCK):
                    yield block
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"the list of names in {self.path} cannot be read: {error}") from error


def made(names: Iterable[str], folder: Path) -> NameList:
    """Sort ``names``, write them to a new file in ``folder``. Raises NoSpace, and what ``names`` raises."""
    digest, path = blake3.blake3(), folder / "names.gz"
    try:
        with gzip.open(path, "wb", _LEVEL) as out:
            for block in _blocks(_each_once(names, folder)):
                digest.update(block)
                out.write(block)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoSpace(f"cannot keep the list of names in {tempfile.gettempdir()} (TMPDIR): {error.strerror}") from error
    return NameList(path, digest.hexdigest(length=16))


def _each_once(names: Iterable[str], folder: Path) -> Iterator[str]:
    everything, last, around = False, "", ""

    def noted() -> Iterator[str]:
        nonlocal everything
        for name in names:
            everything |= name == ALL
            yield name

    for name in sorted_records(noted(), str, str, str, tmp=folder):
        if everything:  # known here: the first comes out when all were read
            yield ALL
            return
        if name == last or (around and name.startswith(around)):
            continue
        last, around = name, name if name.endswith("/") else around
        yield name


def _blocks(names: Iterator[str]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for name in names:
        held.append(name.encode() + b"\0")
        size += len(held[-1])
        if size >= BLOCK:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
