"""What one operation costs at a store, by the same calls that jobs make.

Written are parts of uploads that are never completed and then aborted: no object of them is ever seen, and no right to
delete is needed. Where an aborted upload does not free its room (``limits.abort_frees``) small objects are written below our
own prefix and deleted.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from threading import Lock

from hugesync_producer.preflight.values import KIB, MIB
from hugesync_tasks.model import Entry, Meta, Upload
from hugesync_tasks.stores.base import ABSENT, Store
from hugesync_tasks.token import Token

SMALL = 4 * KIB
PARTS = 1000  # of one upload, before numbers come again


class StoreObjects:
    """Reads objects of a source, each pinned to the version that was listed."""

    def __init__(
        self, store: Store, token: Callable[[], Token], some: Sequence[Entry], largest: Sequence[Entry]
    ) -> None:
        self._store, self._token = store, token
        self._some, self._largest = list(some), [e for e in largest if e.size >= MIB]
        self._turn = itertools.count()
        self._places: dict[int, int] = {}
        self._lock = Lock()

    @property
    def has_chunks(self) -> bool:
        return bool(self._largest)

    def read_small(self) -> int:
        entry = self._some[next(self._turn) % len(self._some)]
        return self._read(entry, 0, min(SMALL, entry.size))

    def read_chunk(self, size: int) -> int:
        with self._lock:
            at = next(self._turn) % len(self._largest)
            entry = self._largest[at]
            start = self._places.get(at, 0)
            length = min(size, entry.size - start)
            self._places[at] = start + length if start + length < entry.size else 0
        return self._read(entry, start, length)

    def _read(self, entry: Entry, start: int, length: int) -> int:
        with self._store.open(entry.key, entry.version, self._token(), start, length) as reader:
            return sum(len(chunk) for chunk in reader)


class StoreScratch:
    """Writes below ``tag``, which ends in ``/``, what nobody will see."""

    def __init__(self, store: Store, token: Callable[[], Token], tag: str) -> None:
        self._store, self._token, self._tag = store, token, tag
        self._objects = not store.limits.abort_frees
        self._numbers = itertools.count()
        self._body = os.urandom(MIB)
        self._uploads: dict[int, tuple[Upload, itertools.count[int]]] = {}
        self._lock = Lock()

    def write_small(self) -> int:
        return self._write(SMALL)

    def write_chunk(self, size: int) -> int:
        return self._write(size)

    def prepare(self, size: int) -> None:
        """Begin what parts of ``size`` bytes belong to, so that no measured operation pays for that."""
        if not self._objects:
            self._upload(size)

    def ask(self) -> int:
        """One question about a name where nothing is."""
        self._store.head(f"{self._tag}nothing-{next(self._numbers)}", self._token())
        return 0

    def _write(self, size: int) -> int:
        whole, rest = divmod(size, MIB)
        body = self._body * whole + self._body[:rest]
        if self._objects:
            self._store.put(f"{self._tag}{next(self._numbers)}", body, Meta(), ABSENT, self._token(), overhead=True)
        else:
            upload, numbers = self._upload(size)
            self._store.put_part(
                upload, next(numbers) % min(PARTS, self._store.limits.max_parts) + 1, body, self._token()
            )
        return size

    def _upload(self, size: int) -> tuple[Upload, itertools.count[int]]:
        with self._lock:
            if size not in self._uploads:
                key, most = f"{self._tag}{next(self._numbers)}", min(PARTS, self._store.limits.max_parts)
                meta = Meta(generation=os.urandom(16).hex())
                upload = self._store.create_upload(key, size * most, size, meta, self._token())
                self._uploads[size] = upload, itertools.count()
            return self._uploads[size]
