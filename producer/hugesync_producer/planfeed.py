"""Scan, join, plan and cut in a thread of its own, so that a slow listing never delays dispatch and checkpoint."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from dataclasses import replace
from threading import Thread

from hugesync_producer import filelog
from hugesync_producer.comparing import ComparingJudge, Comparison
from hugesync_producer.extras import Extras
from hugesync_producer.filelog import ToldJudge
from hugesync_producer.filters import Filter
from hugesync_producer.folders import folders_of
from hugesync_producer.join import JoinItem, Side, join
from hugesync_producer.judge import Cuts, Judge, Terms
from hugesync_producer.named import BARE, Named
from hugesync_producer.namelist import NameList
from hugesync_producer.pace import SLOWED
from hugesync_producer.plan import Segment, Sizes, plan
from hugesync_producer.presence import MissingIsEmpty, MustBeThere
from hugesync_producer.scan import END, Feed, Signal
from hugesync_producer.sidecars import WithoutSidecars
from hugesync_producer.single import SingleFeed
from hugesync_tasks.errors import Cancelled
from hugesync_tasks.model import Entry, Kind, Removal
from hugesync_tasks.spec import Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.equality import range_size
from hugesync_tasks.stores.base import Store
from hugesync_tasks.tally import Tally
from hugesync_tasks.token import Meter, Token

AHEAD = 4  # segments planned beyond what was asked for
STOPPING = 0.5  # seconds for its threads to end, all together


class PlanFeed:
    """Segments of one job from ``start_after`` on. ``poll`` gives one, None where none is ready yet, or END."""

    def __init__(self, job: JobContext, meter: Meter, start_after: str = "", names: NameList | None = None) -> None:
        """``names``: the list of them that the job was given."""
        self._job, self._meter, self._start_after, self._names = job, meter, start_after, names
        self._named: Named | None = None
        self._out: queue.Queue[Segment | Signal | BaseException] = queue.Queue(AHEAD)
        self._stopped = False
        self._feeds: list[Feed | SingleFeed | Named] = []
        context = copy_context()  # so that what the thread judges is told to the same observer (``filelog``)
        self._thread = Thread(target=lambda: context.run(self._run), name="plan", daemon=True)
        self.met = 0  # entries of both ends that came so far, those at both once
        self.first: Entry | None = None  # the first regular file that was found: the probe of the source root
        self.first_there: Entry | None = None  # of a comparison, the same at the destination: the probe of its root

    def start(self) -> None:
        self._thread.start()

    def poll(self, timeout: float = 0.0) -> Segment | Signal | None:
        """Raises what the listings raised, after everything before it was taken."""
        try:
            item = self._out.get(timeout=timeout) if timeout else self._out.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, BaseException):
            raise item
        return item

    @property
    def throttled(self) -> int:
        """How often a store has asked this process to slow down while it listed, or its calls waited because of that."""
        return sum(self._meter.count(name) for name in SLOWED)

    def stop(self) -> None:
        """End the listings; what was planned and not taken is dropped. A thread that a silent store holds is left behind."""
        self._stopped = True
        for feed in self._feeds:
            feed.cancel()
        until = time.monotonic() + STOPPING
        while self._thread.is_alive() and time.monotonic() < until:
            try:
                self._out.get_nowait()
            except queue.Empty:
                self._thread.join(0.05)
        for feed in self._feeds:
            feed.stop(max(0.0, until - time.monotonic()))

    def segments(self, before_each: Callable[[], object] = lambda: None) -> Iterator[Segment]:
        """All of them, one after another (a dry run). ``before_each`` look, ten times a second at least, it may raise."""
        while True:
            before_each()
            item = self.poll(0.1)
            if isinstance(item, Signal):
                return
            if item is not None:
                yield item

    def _run(self) -> None:
        try:
            for segment in self._planned():
                if self._stopped:
                    return
                if segment is not None:
                    self._out.put(segment)
            self._out.put(END)
        except Cancelled:
            if not self._stopped:
                raise
        except BaseException as error:  # handed to the coordinator, which raises it
            self._out.put(error)
        finally:
            if self._stopped:  # before they were made, perhaps
                for feed in self._feeds:
                    feed.cancel()

    def _planned(self) -> Iterator[Segment | None]:
        job, spec = self._job, self._job.spec
        select, deletes = Filter.of_job(spec), spec.options.delete
        extras = extras_of(job, filelog.would_delete if spec.dry_run else _only_counted) if deletes else None
        if self._names is not None:
            self._named = Named(job, self._names, self._meter, select, self._start_after)
            self._feeds = [self._named]
        else:
            self._feeds = [*sides(job, self._meter, self._start_after, extras)]
        terms = Terms(
            job.dest.limits,
            spec.rules,
            select,
            self._cuts(),
            metadata=spec.options.metadata,
            dir_metadata=spec.options.dir_metadata,
            prefix=spec.dest.prefix,
            backup=spec.options.backup_dir,
            doubt_same=spec.options.verify == "all",
        )
        judge: Judge
        if spec.sample is not None:
            judge = ComparingJudge(terms, Comparison(job.source.limits, spec.sample, spec.one_way))
        else:
            judge = ToldJudge(terms, self._open_folders(), sends=spec.dry_run)
        # bytes that the store copies by itself are in nobody's hand: only their number fills a batch
        copies = job.server_copy and not spec.compares
        batch_bytes = job.dest.limits.max_copy if copies else spec.options.batch_bytes
        sizes = Sizes(spec.options.batch_files, batch_bytes)
        items = self._counted(self._named.items() if self._named is not None else join(*self._sides()))
        seen = _seen_by(extras, items) if extras is not None else items
        for segment in plan(seen, judge, sizes, time.monotonic, self._start_after):
            if segment is not None and self.first is None:
                self._first(segment)
            yield segment if segment is None or extras is None else replace(segment, seen=extras.taken())
        if extras is not None and (last := extras.taken()).extras:  # after the last segment was closed
            yield Segment(self._start_after, Tally(), seen=last)
        if self._named is not None and self._named.bare:
            yield Segment(self._start_after, Tally(), notes=((BARE, self._named.bare),))

    def _counted(self, items: Iterable[JoinItem | None]) -> Iterator[JoinItem | None]:
        for item in items:
            self.met += item is not None
            yield item

    def _sides(self) -> tuple[Side[Entry], Side[Entry]]:
        source, dest = (feed for feed in self._feeds if not isinstance(feed, Named))
        return source, dest

    def _first(self, segment: Segment) -> None:
        """Of a comparison, the first file that both ends have: each end's root is probed by it."""
        for transfer in (*segment.larges, *(t for batch in segment.batches for t in batch)):
            if transfer.source.kind is Kind.FILE and (transfer.dest is not None or not self._job.spec.compares):
                self.first = transfer.source
                self.first_there = transfer.dest if self._job.spec.compares else None
                return

    def _cuts(self) -> Cuts:
        job, small = self._job, self._job.spec.options.small_file
        if job.spec.compares:
            return Cuts(solo_from=small, large_from=range_size(0, job.options) + 1)
        return Cuts(solo_from=min(small, job.whole_up_to), large_from=job.whole_up_to + 1)

    def _open_folders(self) -> list[Entry]:
        """The folders on the way to the key a resumed scan starts after; they are finished again, whatever they hold."""
        mapped = bool(self._job.spec.map_digest)  # folders of the source are no folders of the destination
        if not self._start_after or not self._job.source.limits.folders or mapped:
            return []
        token = Token(self._meter)
        heads = [self._job.source.head(key, token) for key in folders_of(self._start_after)]
        return [head.entry for head in heads if head is not None and head.entry.kind is Kind.DIR]


def sides(
    job: JobContext, meter: Meter, start_after: str = "", extras: Extras | None = None
) -> list[Feed | SingleFeed]:
    """What is joined: the listings of both ends, or of a single file a look at either."""
    spec = job.spec
    if spec.single_file:
        return [
            SingleFeed(job.source, spec.single_source, spec.single_file, Token(meter), "source"),
            SingleFeed(job.dest, spec.single_file, spec.single_file, Token(meter), "destination"),
        ]
    return [*listings(job, meter, start_after, extras)[:2]]


def source_listing(source: Store, spec: Spec, meter: Meter, start_after: str = "") -> Feed:
    """The source's listing, begun: without what is ours."""
    there = WithoutSidecars(MustBeThere(source, spec.source))
    enter = Filter.of_job(spec).enter
    return Feed(there, Token(meter), name="source", start_after=start_after, enter=enter).start()


def listings(
    job: JobContext, meter: Meter, start_after: str = "", extras: Extras | None = None
) -> tuple[Feed, Feed, WithoutSidecars]:
    """Both ends' listings, begun: source and destination, without what is ours and without the folder of ``--backup-dir``; and
    what the latter reads, which knows what it left out. ``extras`` are told of folders of the destination that are not
    entered."""
    select, options = Filter.of_job(job.spec), job.spec.options
    entered = select.enter_to_delete if options.delete else select.enter

    def enter(folder: str) -> bool:
        enters = folder != options.backup_dir and entered(folder)
        if not enters and extras is not None and job.dest.limits.folders:  # elsewhere a folder needs nothing in it
            extras.passed_over(folder)
        return enters

    there = MustBeThere(job.dest, job.spec.dest) if job.spec.compares else MissingIsEmpty(job.dest)
    dest = WithoutSidecars(there)
    return (
        source_listing(job.source, job.spec, meter, start_after),
        Feed(dest, Token(meter), name="destination", start_after=start_after, enter=enter).start(),
        dest,
    )


def extras_of(job: JobContext, found: Callable[[Removal], object]) -> Extras:
    options = job.spec.options
    keep_both = options.on_conflict == "keep-both"
    return Extras(Filter.of_job(job.spec), options.backup_dir, found, keep_both, job.source.limits.folders)


def _only_counted(removal: Removal) -> None:
    """Nothing is deleted in the first pass."""


def _seen_by(extras: Extras, items: Iterable[JoinItem | None]) -> Iterator[JoinItem | None]:
    for item in items:
        if item is not None:
            extras.take(item)
        yield item
    extras.close()
