"""A single file as a listing of one entry, so that it takes the same way as a tree."""

from __future__ import annotations

from dataclasses import replace

from hugesync_producer.scan import END, Signal
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.stores.base import Store
from hugesync_tasks.token import Token


class SingleFeed:
    """Answers like ``scan.Feed``: the entry of ``key``, called ``as_key``, if it is there; then the end."""

    start_after = ""

    def __init__(self, store: Store, key: str, as_key: str, token: Token, name: str) -> None:
        self.name = name
        self._must = name == "source"  # what was there a moment ago and is gone is never passed over in silence
        self._store, self._key, self._as_key, self._token = store, key, as_key, token
        self._asked = False

    def poll(self, timeout: float) -> Entry | Signal | None:
        if self._asked:
            return END
        self._asked = True
        head = self._store.head(self._key, self._token)
        if head is None:
            return Entry(self._as_key, Kind.ERROR, note="it vanished during the run") if self._must else END
        # a HEAD of a store without mtime in listings knows the stored one; the planner must see what a listing shows
        known = head.entry if head.entry.mtime_ns is not None else replace(head.entry, mtime_ns=head.meta.mtime_ns)
        if known.kind is Kind.DIR:
            return END
        return replace(known, key=self._as_key)

    def cancel(self) -> None:
        self._token.cancel()

    def stop(self, timeout: float = 0.5) -> None:
        self.cancel()
