"""The folders on the way to the names of a list: given when something in them was found, and not for what is missing in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hugesync_producer import filelog
from hugesync_producer.filters import Filter
from hugesync_producer.join import JoinItem, Lacking
from hugesync_tasks.summary import FAILURES_KEPT


@dataclass(slots=True)
class _Lack:
    """What is missing and was not given out: how much, the first names, and the last, which is its key."""

    count: int = 0
    names: list[str] = field(default_factory=list)
    last: str = ""

    def add(self, count: int, names: list[str], last: str) -> None:
        self.count, self.last = self.count + count, last or self.last
        self.names += names[: FAILURES_KEPT - len(self.names)]

    def out(self) -> Iterator[JoinItem]:
        if self.count:
            yield JoinItem(self.last, None, None, missing=Lacking(self.count, tuple(self.names)))
            self.count, self.names = 0, []


@dataclass(slots=True)
class _Way:
    """A folder; ``item`` until it is given, None where there is nothing to give. ``lack``: missing in it, and told after it."""

    key: str
    item: JoinItem | None
    lack: _Lack = field(default_factory=_Lack)


class Ways:
    """All methods give items in key order, those at or before ``after`` left out. Memory is the depth of the tree."""

    def __init__(self, select: Filter, after: str) -> None:
        self._select, self._after = select, after
        self._ways: list[_Way] = []
        self._told = 0

    def leave(self, name: str | None) -> Iterator[JoinItem]:
        """Of the folders that ``name`` does not lie in (None: all) nothing more will come."""
        while self._ways and (name is None or not name.startswith(self._ways[-1].key)):
            left = self._ways.pop()
            yield from self._lack(left.lack.count, left.lack.names, left.lack.last)

    def enter(self, key: str, item: JoinItem | None) -> None:
        """The folder ``key`` is on the way; ``item``: its entries, None where no entry of it is needed."""
        given = item is None or key <= self._after or not self._select.enter(key)
        self._ways.append(_Way(key, None if given else item))

    def open(self, key: str) -> Iterator[JoinItem]:
        """The folders on the way to ``key``, where something was found."""
        for way in self._ways:
            if way.item is not None and key.startswith(way.key):
                if key != way.key:
                    yield way.item
                way.item = None
                yield from way.lack.out()

    def give(self, item: JoinItem) -> Iterator[JoinItem]:
        """Something that was found."""
        yield from self.open(item.key)
        if item.key > self._after:
            yield item

    def lacks(self, name: str) -> Iterator[JoinItem]:
        """Something that the source does not have."""
        if name > self._after:
            self._told += 1
            if self._told <= FAILURES_KEPT:
                filelog.missing(name)
            yield from self._lack(1, [name], name)

    def _lack(self, count: int, names: list[str], last: str) -> Iterator[JoinItem]:
        waiting = next((way for way in reversed(self._ways) if way.item is not None), None)
        lack = _Lack() if waiting is None else waiting.lack
        lack.add(count, names, last)
        if waiting is None:
            yield from lack.out()
