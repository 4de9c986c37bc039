"""What one operation costs at a store, by the same calls that jobs make.

Written are parts of uploads that are never completed and then aborted: no object of them is ever seen, and no right to
delete is needed. Where an aborted upload does not free its room (``limits.abort_frees``) small objects are written below our
own prefix and deleted.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from threading import Lock

from hugesync_producer.preflight.samples import SMALL, Read
from hugesync_producer.preflight.values import MIB
from hugesync_tasks.model import Entry, Meta, Upload
from hugesync_tasks.stores.base import ABSENT, Store
from hugesync_tasks.token import Token

PARTS = 1000  # of one upload, before numbers come again


def reader_of(store: Store, token: Callable[[], Token]) -> Read:
    """Reads objects, each pinned to the version that was listed."""

    def read(entry: Entry, start: int, length: int) -> int:
        with store.open(entry.key, entry.version, token(), start, length) as reader:
            return sum(len(chunk) for chunk in reader)

    return read


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

    def copier(self, source: Store, size: int) -> Read:
        """Not a read: has the store copy a stretch of an object of ``source`` by itself, into an upload as all others."""

        def copy(entry: Entry, start: int, length: int) -> int:
            upload, numbers = self._upload(size)
            number = next(numbers) % min(PARTS, self._store.limits.max_parts) + 1
            self._store.copy_part(upload, number, source, entry.key, entry.version, start, length, self._token())
            return length

        return copy

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
