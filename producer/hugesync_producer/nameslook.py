"""One name of a list, looked at: what a listing of each end would show of it."""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace

from hugesync_tasks import names
from hugesync_tasks.errors import BadName, NotFound, StoreError, Transient
from hugesync_tasks.model import LINK_SUFFIX, Entry, Head, Kind
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import Store
from hugesync_tasks.token import Token


@dataclass(frozen=True, slots=True)
class Look:
    """``passed``: a folder on the way to what was named. What was found: the source's entry under the key that a listing would
    give it, or None; and the destination's of that key."""

    name: str
    passed: bool = False
    source: Entry | None = None
    dest: Entry | None = None


class Looker:
    """Thread-safe. What a store cannot say of one name becomes an entry of Kind.ERROR; a store that does not answer raises."""

    def __init__(self, job: JobContext, token: Token) -> None:
        self._job, self._token = job, token
        keeps = job.dest.limits.folders and job.source.limits.folders
        self._passes = keeps or job.options.dir_metadata  # else a folder with something in it is nothing to do

    def look(self, look: Look) -> Look:
        if look.passed and not self._passes:
            return look
        source = self._source(look.name)
        if source is None or source.kind is Kind.ERROR:
            return replace(look, source=source)
        return replace(look, source=source, dest=self._asked(self._job.dest, source.key, reads=False))

    def _source(self, name: str) -> Entry | None:
        if names.is_ours(name):
            return Entry(name, Kind.ERROR, note=str(names.reserved(name, Kind.FILE)))
        if name == "/":
            return None
        store = self._job.source
        found = self._asked(store, name, reads=True)
        if found is None and not store.limits.folders and not name.endswith("/") and not name.endswith(LINK_SUFFIX):
            found = self._asked(store, name + LINK_SUFFIX, reads=True) or self._asked(store, name + "/", reads=True)
            found = found or self._prefix(name + "/")
        return found

    def _asked(self, store: Store, key: str, reads: bool) -> Entry | None:
        """What ``key`` names there, as a listing would show it. ``reads``: where the key is a name, a link or folder of that
        name has its own key."""
        try:
            head = store.head(key, self._token)
        except (Transient, NotFound) as error:
            if isinstance(error, NotFound):
                return None
            raise
        except BadName as error:  # no such thing can be there
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.ELOOP:
                return None
            return Entry(key, Kind.ERROR, note=error.message)
        except StoreError as error:
            return Entry(key, Kind.ERROR, note=error.message)
        if head is None or head.meta.sidecar:
            return self._signature(key) if head is not None and reads else None
        found = _known(head)
        if reads and not key.endswith(("/", LINK_SUFFIX)) and found.kind in (Kind.LINK, Kind.DIR):
            return replace(found, key=key + (LINK_SUFFIX if found.kind is Kind.LINK else "/"))
        return found if _listed_so(found, key, store.limits.folders) else None

    def _signature(self, key: str) -> Entry:
        return Entry(key, Kind.ERROR, note="reserved name: it is a signature of HugeSync, which goes with its file")

    def _prefix(self, folder: str) -> Entry | None:
        """A folder of a store that is nothing but the beginning of other keys."""
        below = self._job.source.within(folder)
        try:
            first = next(iter(below.list(self._token)), None)
        finally:
            below.close()
        return Entry(folder, Kind.DIR) if first is not None else None


def _known(head: Head) -> Entry:
    """A HEAD of a store knows the stored mtime, which no listing of it shows."""
    return head.entry if head.entry.mtime_ns is not None else replace(head.entry, mtime_ns=head.meta.mtime_ns)


def _listed_so(entry: Entry, key: str, folders: bool) -> bool:
    """Whether a listing would show what is there under ``key``. ``folders``: they are real, and no object has such a key."""
    if key.endswith("/"):
        return entry.kind is Kind.DIR or (not folders and entry.size > 0)
    return entry.kind is not Kind.DIR and (entry.kind is Kind.LINK) == key.endswith(LINK_SUFFIX)
