"""The join of a job that was given a list of names: each is looked at, at both ends, many at once, and nothing else is read.

A name stands for what the source has there: a file, a link, a folder without what is in it; with ``/`` at its end for a folder
with everything in it, which is listed. The folders on the way to what was found are entries as in a listing, where a
listing would have them. Items come in strictly increasing key order, as from ``join``: the key of a link or folder lies behind
its name, so that it is held until its turn, which is at most once for each folder on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from heapq import heappop, heappush

from hugesync_producer.aside import threads
from hugesync_producer.filters import Filter
from hugesync_producer.folders import folders_of
from hugesync_producer.join import JoinItem, join
from hugesync_producer.namelist import ALL, NameList
from hugesync_producer.nameslook import Look, Looker
from hugesync_producer.nameways import Ways
from hugesync_producer.presence import MissingIsEmpty
from hugesync_producer.scan import END, Feed, Signal
from hugesync_producer.sidecars import WithoutSidecars
from hugesync_tasks.errors import Permanent
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import Store
from hugesync_tasks.token import Meter, Token

THREADS = 16  # names looked at at once
AHEAD = 256  # names held back while one before them is looked at
BARE = "a folder was named without / at its end: it was looked at alone, without what is in it"
PATIENCE = 0.1  # seconds between two chances to do other work


class Named:
    """``items`` may be iterated once. ``start_after``: what a resumed job has settled."""

    def __init__(self, job: JobContext, names: NameList, meter: Meter, select: Filter, start_after: str = "") -> None:
        self._job, self._names, self._meter, self._select, self._after = job, names, meter, select, start_after
        self._token = Token(meter)
        self._feeds: tuple[Feed, ...] = ()
        self._stopped = False
        self._looker = Looker(job, self._token)
        self._ways = Ways(select, start_after)
        self._held: list[tuple[str, Look]] = []  # a heap: links and folders whose turn comes behind their names
        self._alone = ""  # the last folder given that was looked at by itself
        self.bare = 0  # folders that were named without anything of what may be in them

    def cancel(self) -> None:
        self._stopped = True
        self._token.cancel()
        for feed in self._feeds:
            feed.cancel()

    def stop(self, timeout: float = 0.5) -> None:
        self.cancel()
        for feed in self._feeds:
            feed.stop(timeout)

    def items(self) -> Iterator[JoinItem | None]:
        """The items; None where nothing is known yet. Raises what a store raises that is not about one name."""
        last: JoinItem | None = None
        alone = False  # the last is a folder that was looked at by itself
        for item in self._in_order():
            if item is None:
                yield None
                continue
            if last is not None:
                if item.key <= last.key:
                    if item.key == last.key:  # two names of one thing
                        continue
                    raise Permanent(
                        f"the list of names is out of order: {item.key!r} came after {last.key!r}", item.key
                    )
                yield self._settled(last, item) if alone else last
            last, alone = item, item.key == self._alone
        if last is not None:
            yield self._settled(last, None) if alone else last

    def _in_order(self) -> Iterator[JoinItem | None]:
        ways = self._ways
        for look in self._looked():
            if look is None:
                yield None
                continue
            yield from self._due(look.name)
            yield from ways.leave(look.name)
            if look.passed:
                ways.enter(look.name, _item(look) if look.source is not None else None)
                yield from self._due(look.name + "\0")  # it was named by itself as well
            elif look.name.endswith("/"):
                yield from self._subtree(look)
            elif look.source is None:
                yield from ways.lacks(look.name)
            elif look.source.key == look.name:
                yield from ways.give(_item(look))
            else:
                yield from ways.open(look.source.key)
                heappush(self._held, (look.source.key, look))
        yield from self._due(None)
        yield from ways.leave(None)

    def _due(self, before: str | None) -> Iterator[JoinItem]:
        """What was held and comes before the key ``before``; None: all of it."""
        while self._held and (before is None or self._held[0][0] < before):
            key, look = heappop(self._held)
            if key.endswith("/"):
                self._alone = key
            yield from self._ways.leave(key)
            yield from self._ways.give(_item(look))

    def _settled(self, item: JoinItem, following: JoinItem | None) -> JoinItem:
        """``item``, of a folder that was looked at by itself: it is empty where what follows does not lie in it. At a store one
        that is no object is none of its own."""
        empty = following is None or not following.key.startswith(item.key)
        self.bare += empty and item.key > self._after  # a manifest names a folder, and what is in it as well
        source = item.source
        if source is None or source.kind is not Kind.DIR or not self._job.source.limits.folders:
            return item
        return replace(item, source=replace(source, empty=empty))

    # which names are looked at
    def _looks(self) -> Iterator[Look]:
        way: list[str] = []
        for name in self._names:
            if self._stopped:
                return
            behind = name if name.endswith("/") else name + "/"  # no key that the name can stand for is greater
            inside = name == behind and (name == ALL or self._after.startswith(name))
            if behind <= self._after and not inside:
                continue
            while way and not name.startswith(way[-1]):
                way.pop()
            for folder in folders_of(name) if name != ALL else ():
                if folder != name and len(folder) > len(way[-1] if way else ""):
                    way.append(folder)
                    yield Look(folder, passed=True)
            yield Look(name)

    def _looked(self) -> Iterator[Look | None]:
        """The looks with what they found, in their order."""
        with threads(THREADS, "named") as pool:
            waiting: deque[Future[Look]] = deque()
            looks, more = self._looks(), True
            while more or waiting:
                while more and len(waiting) < AHEAD:
                    look = next(looks, None)
                    if look is None:
                        more = False
                    else:
                        waiting.append(pool.submit(self._looker.look, look))
                if not waiting:
                    return
                try:
                    waiting[0].exception(PATIENCE)
                except TimeoutError:
                    yield None
                    continue
                yield waiting.popleft().result()

    # a folder with everything in it
    def _subtree(self, look: Look) -> Iterator[JoinItem | None]:
        folder = "" if look.name == ALL else look.name
        if self._held and self._held[0][0] == folder:
            heappop(self._held)  # it was named without the / too
        if look.source is not None and look.source.kind is Kind.ERROR:
            yield from self._ways.give(_item(look))
            return
        if not all(self._select.enter(above) for above in folders_of(folder)):
            return  # a filter leaves it out
        if look.source is None and folder and self._job.source.limits.folders:
            yield from self._ways.lacks(folder)
            return
        found = look.source is not None or not folder
        if look.source is not None:
            self._alone = folder
            yield from self._ways.give(_item(look))
        for item in self._listed(folder, look.dest is not None or not self._job.dest.limits.folders or not folder):
            if item is None:
                yield None
                continue
            found = True
            yield from self._ways.give(item)
        if not found and not self._after.startswith(folder):
            yield from self._ways.lacks(folder)

    def _listed(self, folder: str, there: bool) -> Iterator[JoinItem | None]:
        """``there``: the destination may have the folder."""
        after = self._after[len(folder) :] if self._after.startswith(folder) else ""
        ends = self._end(self._job.source, folder), self._end(self._job.dest, folder)

        def enter(below: str) -> bool:
            return folder + below != self._job.options.backup_dir and self._select.enter(folder + below)

        try:
            source = Feed(ends[0], Token(self._meter), name="source", start_after=after, enter=enter).start()
            dest = Feed(ends[1], Token(self._meter), name="destination", start_after=after, enter=enter)
            self._feeds = (source, dest.start()) if there else (source,)
            for item in join(source, dest if there else _Nothing()):
                yield item if item is None else _moved(item, folder)
        finally:
            for feed in self._feeds:
                feed.stop()
            self._feeds = ()
            if folder:
                for store in ends:
                    store.close()

    def _end(self, store: Store, folder: str) -> Store:
        return WithoutSidecars(MissingIsEmpty(store.within(folder) if folder else store))


def _item(look: Look) -> JoinItem:
    assert look.source is not None
    return JoinItem(look.source.key, look.source, look.dest)


def _moved(item: JoinItem, folder: str) -> JoinItem:
    def below(entry: Entry | None) -> Entry | None:
        return None if entry is None else replace(entry, key=folder + entry.key)

    return JoinItem(folder + item.key, below(item.source), below(item.dest)) if folder else item


class _Nothing:
    """The side of an end that has no such folder."""

    name, start_after = "destination", ""

    def poll(self, timeout: float) -> Entry | Signal | None:
        return END
