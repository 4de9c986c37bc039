"""A source under the names that a map gives its entries: it lists logical keys in their order, each with the stored key that it is
read by. Every other call is made with stored keys and goes on as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

from hugesync_producer.mapping import Map, Row
from hugesync_producer.report import unnamed_words
from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind
from hugesync_tasks.stores.base import Store
from hugesync_tasks.stores.listing import Doorkeeper
from hugesync_tasks.stores.sorting import sorted_entries, sorted_records
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token

SAME_NAME = "the map: more than one stored entry is given this name"


class MappedStore(Wrapper):
    """``names``: asked for at each listing, for a job's map may come to lie elsewhere. ``unnamed``: how many entries of the source
    the map did not name; known when the first entry of a listing is given."""

    def __init__(self, inner: Store, names: Callable[[], Map]) -> None:
        super().__init__(inner)
        self._names = names
        self.unnamed: int | None = None

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        """What the map names and the source does not have is an entry of Kind.MISSING, what is wrong with the map of Kind.ERROR.
        The whole source is listed each time, also by a listing that starts later."""
        door = Doorkeeper(enter)
        for entry in _one_of_each(sorted_entries(self._found(token))):
            if entry.key > start_after and door.admits(entry.key):
                yield entry

    @property
    def notes(self) -> tuple[str, ...]:
        """What a summary says of it."""
        return tuple(unnamed_words(self.unnamed))

    def stored(self, keys: Collection[str]) -> dict[str, str]:
        """Of these logical keys of files and links, the stored ones; a look at the whole map."""
        plain = {key.removesuffix(LINK_SUFFIX): key for key in keys} | {key: key for key in keys}
        found = {}
        for row in self._names().read():
            if not row.why and (key := plain.get(row.logical)) is not None:
                link = LINK_SUFFIX if key != row.logical else ""
                found[key] = row.stored + link
        return found

    def _found(self, token: Token) -> Iterator[Entry]:
        """Every row once: map and listing joined by stored names. The listing is sorted for that by names without ``.rclonelink``,
        which a map does not know."""
        self.unnamed, dark = 0, None
        rows = self._names().read()
        row = next(rows, None)
        files = (entry for entry in self.inner.list(token) if entry.kind is not Kind.DIR)
        for entry in sorted_records(files, _plain, Entry.wire, Entry.unwire):
            name = _plain(entry)
            while row is not None and row.stored < name:
                yield _absent(row, dark)
                row = next(rows, None)
            if entry.kind is Kind.ERROR and name.endswith("/"):
                dark = entry
            elif row is None or row.stored != name:
                self.unnamed += 1
            while row is not None and row.stored == name:
                yield _named(row, entry)
                row = next(rows, None)
        while row is not None:
            yield _absent(row, dark)
            row = next(rows, None)


def _plain(entry: Entry) -> str:
    return entry.key.removesuffix(LINK_SUFFIX) if entry.kind is Kind.LINK else entry.key


def _named(row: Row, entry: Entry) -> Entry:
    if row.why:
        return Entry(row.logical, Kind.ERROR, note=row.why)
    key = row.logical + LINK_SUFFIX if entry.kind is Kind.LINK else row.logical
    return replace(entry, key=key, stored=entry.key)


def _absent(row: Row, dark: Entry | None) -> Entry:
    """``dark``: the last folder that could not be looked into."""
    if row.why:
        return Entry(row.logical, Kind.ERROR, note=row.why)
    if dark is not None and row.stored.startswith(dark.key):
        return Entry(row.logical, Kind.ERROR, note=f"{dark.key}: {dark.note}")
    return Entry(row.logical, Kind.MISSING, stored=row.stored)


def _one_of_each(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Of entries with one key none is copied: whichever was, the other would be lost."""
    held: Entry | None = None
    for entry in entries:
        if held is not None and entry.key == held.key:
            held = Entry(held.key, Kind.ERROR, note=SAME_NAME)
            continue
        if held is not None:
            yield held
        held = entry
    if held is not None:
        yield held
