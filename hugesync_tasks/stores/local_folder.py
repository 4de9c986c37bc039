"""One folder of a local listing: its children as sorted records, read at once or, if they are many, in runs."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter

from hugesync_tasks.model import LINK_SUFFIX, RESERVED_SEGMENT
from hugesync_tasks.names import encode_name
from hugesync_tasks.stores.beneath import FOLDER, Beneath
from hugesync_tasks.stores.local_names import is_ours
from hugesync_tasks.stores.sorting import sorted_records

AHEAD_NAMES = 1024  # names a folder holds in memory before its turn
RUN = 100_000  # names sorted in memory; above that in runs on disk

FILE, DIR = "f", "d"
RESERVED = "r"  # the name is ours to give: reported, never entered
BROKEN = "x"  # a link that leads nowhere, under --copy-links
LINK = "l"
Record = tuple[str, str, str]  # name as it sorts, name on disk (surrogateescape), one of the above


@dataclass(slots=True)
class Folder:
    """An opened folder. The descriptor is closed by ``close`` and opened again by ``descriptor`` when needed."""

    place: Beneath
    path: bytes
    fd: int
    st: os.stat_result
    records: Iterator[Record]
    names: int  # read so far
    _scan: Iterator[os.DirEntry[str]] | None = field(default=None, repr=False)

    def descriptor(self) -> int:
        if self.fd < 0:
            self.fd = self.place.open(self.path, FOLDER)
        return self.fd

    def rest(self) -> None:
        """Give the descriptor back while a deeper folder is listed."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def close(self) -> None:
        self.rest()
        if self._scan is not None:
            self._scan.close()  # type: ignore[attr-defined]
            self._scan = None


def read_folder(place: Beneath, path: bytes) -> Folder:
    """Open a folder and read its names, up to AHEAD_NAMES of them; the rest when ``records`` is consumed. OSError."""
    fd = place.open(path, FOLDER)
    scan = None
    try:
        scan = os.scandir(fd)
        names = _records(scan, fd, place.follow)
        first = list(islice(names, AHEAD_NAMES))
        if len(first) < AHEAD_NAMES:
            first.sort()
            return Folder(place, path, fd, os.fstat(fd), iter(first), len(first))
        records = sorted_records(chain(first, names), itemgetter(0), _same, tuple, RUN)
        return Folder(place, path, fd, os.fstat(fd), records, len(first), scan)
    except BaseException:
        os.close(fd)
        if scan is not None:
            scan.close()
        raise


def _same(record: Record) -> Record:
    return record


def _records(scan: Iterator[os.DirEntry[str]], fd: int, follow: bool) -> Iterator[Record]:
    for child in scan:
        name = child.name
        # ASCII is its own key form; this spares most names the encoder
        shown = name if name.isascii() else encode_name(os.fsencode(name))
        folder = child.is_dir(follow_symlinks=False)
        link = not folder and child.is_symlink()
        kind = DIR if folder else LINK if link else FILE
        if link and follow:
            kind = _followed(name, fd)
            folder, link = kind == DIR, False
        if name.startswith(RESERVED_SEGMENT):
            if is_ours(name, folder):
                continue
            kind = RESERVED
        elif kind == FILE and name.endswith(LINK_SUFFIX):
            kind = RESERVED
        yield (shown + "/" if folder else shown + LINK_SUFFIX if link else shown), name, kind


def _followed(name: str, fd: int) -> str:
    try:
        return DIR if stat.S_ISDIR(os.stat(name, dir_fd=fd).st_mode) else FILE
    except OSError:
        return BROKEN


def why_broken(name: str, fd: int) -> str:
    """The reason in words why a followed link cannot be looked at."""
    try:
        os.stat(name, dir_fd=fd)
    except OSError as e:
        if e.errno == errno.ELOOP:
            return "a loop of links"
        return "a link to nothing" if e.errno == errno.ENOENT else os.strerror(e.errno or errno.EIO)
    return "the link changed while it was listed"
