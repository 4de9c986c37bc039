"""What a manifest is made from: both ends, or the source alone, opened so that nothing can be written, and what is found there."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from hugesync_producer.endpoints import find, trusted
from hugesync_producer.ends import Ends, as_roots, measured, open_end, resolve, resolve_source
from hugesync_producer.filters import Filter
from hugesync_producer.join import join
from hugesync_producer.manifest_format import Line, Standing
from hugesync_producer.manifest_walk import Looks, StandingJudge
from hugesync_producer.mapped import MappedStore
from hugesync_producer.mapping import prepare
from hugesync_producer.planfeed import sides, source_listing
from hugesync_producer.presence import MustBeThere
from hugesync_producer.scan import Feed, Signal
from hugesync_producer.single import SingleFeed
from hugesync_producer.sync import probed
from hugesync_tasks.config import Settings
from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind, Transfer
from hugesync_tasks.names import decode_name
from hugesync_tasks.spec import Location, Options, Rules, Selection, Spec
from hugesync_tasks.stages.contents import End, What
from hugesync_tasks.stages.contents import ends as pinned
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import Store
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.summary import Observer
from hugesync_tasks.token import Meter, Token

Found = Generator[Line | Transfer | None]
LeftOut = Callable[[Entry], object]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be told. ``dest`` "": of SOURCE alone."""

    source: str
    dest: str = ""
    form: str = "jsonl"
    checksum: bool = False
    one_way: bool = False
    selection: Selection = field(default_factory=Selection)
    source_profile: str = ""
    dest_profile: str = ""
    names: tuple[str, str] | None = None  # a map and its query (``maprows``): SOURCE under other names


@dataclass(frozen=True, slots=True)
class Opened:
    """``found`` is read once."""

    ends: Ends
    looks: Looks
    found: Found
    mapped: MappedStore | None = None
    alone: bool = False  # there is no destination

    @property
    def source(self) -> Location:
        """What was given: of a single file that file, not the folder that its key is relative to."""
        return _whole(self.ends.source, self.ends.single_source)

    @property
    def dest(self) -> Location | None:
        return None if self.alone else _whole(self.ends.dest, self.ends.single_dest)


def open_both(
    request: Request,
    settings: Settings,
    meter: Meter,
    rates: SharedRates,
    observer: Observer,
    left_out: LeftOut,
    stack: ExitStack,
) -> Opened:
    """``left_out`` is called, as ``found`` is read, with the source's entries that filters left out. Raises as ``verify``, but
    a destination that is not there is an empty one, as for a sync."""
    options, links = Options(retries=settings.retries), request.selection.links
    profiles = request.source_profile, request.dest_profile
    ends = resolve(request.source, request.dest, *profiles, options, meter, links, rates)
    rules = Rules(modify_window_ns=round(settings.modify_window * 1_000_000_000), checksum=request.checksum)
    spec = probed(_spec(ends, request, rules, options), meter, rates, settings.state_dir, observer)
    source = open_end(spec.source, spec.source_limits, options, "source", links, rates, True)
    dest = open_end(spec.dest, spec.dest_limits, options, "destination", rates=rates, reads_only=True)
    mapped = _mapped(source, ends, request)
    job = JobContext(spec, mapped or source, dest)
    stack.callback(job.close)
    looks, found = joined(job, meter, request.checksum, request.one_way, left_out)
    return Opened(ends, looks, found, mapped)


def open_source(
    request: Request, settings: Settings, meter: Meter, rates: SharedRates, left_out: LeftOut, stack: ExitStack
) -> Opened:
    """Raises as ``open_both``."""
    options, links = Options(retries=settings.retries), request.selection.links
    location, name = resolve_source(request.source, request.source_profile, options, meter, links, rates)
    ends = Ends(location, location, name, name)
    spec = _spec(ends, request, Rules(), options)
    asked = open_end(spec.source, None, replace(options, retries=1), "source", links, rates, True)
    stack.callback(asked.close)
    limits = trusted(measured(asked, spec.source, False, meter), find(settings.state_dir, asked.domain))
    source = open_end(spec.source, limits.wire(), options, "source", links, rates, True)
    stack.callback(source.close)
    mapped = _mapped(source, ends, request)

    def pin(entry: Entry) -> End:
        return End(source, entry.stored or entry.key, entry.version, What.SOURCE_MOVED)

    looks = Looks(pin, None, request.checksum, Token(meter))
    return Opened(ends, looks, _listed(mapped or source, spec, meter, left_out), mapped, alone=True)


def _mapped(source: Store, ends: Ends, request: Request) -> MappedStore | None:
    if request.names is None:
        return None
    names = prepare(*request.names, ends)
    return MappedStore(MustBeThere(source, ends.source), lambda: names)


def joined(job: JobContext, meter: Meter, checksum: bool, one_way: bool, left_out: LeftOut) -> tuple[Looks, Found]:
    """What is found at both ends of ``job``, and what looks closer."""
    looks = Looks(lambda entry: pinned(job, entry, entry)[0], job, checksum, Token(meter))
    return looks, _joined(job, meter, one_way, left_out)


def _spec(ends: Ends, request: Request, rules: Rules, options: Options) -> Spec:
    """Of a job that nobody runs: no id, and nothing written."""
    here, there = as_roots(ends)
    return Spec(
        "", here, there, single_file=ends.single_dest, single_source=ends.single_source, rules=rules,
        selection=request.selection, options=options, dry_run=True,
    )  # fmt: skip


def _whole(folder: Location, name: str) -> Location:
    if not name or folder.scheme != "file":
        return folder
    return replace(folder, local=os.path.join(folder.local, os.fsdecode(decode_name(name.removesuffix(LINK_SUFFIX)))))


def _joined(job: JobContext, meter: Meter, one_way: bool, left_out: LeftOut) -> Found:
    judge, feeds = StandingJudge(job, one_way), sides(job, meter)
    try:
        for item in join(feeds[0], feeds[1]):
            one = judge.standing(item) if item is not None else None
            if one is None and item is not None and item.source is not None:
                left_out(item.source)
            yield one
    finally:
        _end(feeds)


def _listed(source: Store, spec: Spec, meter: Meter, left_out: LeftOut) -> Found:
    select, feed = Filter.of_job(spec), _only_side(source, spec, meter)
    try:
        while not isinstance(entry := feed.poll(0.1), Signal):
            if entry is not None and not select.selects(entry):
                left_out(entry)
                entry = None
            yield _alone(entry) if entry is not None else None
    finally:
        _end([feed])


def _only_side(source: Store, spec: Spec, meter: Meter) -> Feed | SingleFeed:
    if spec.single_file:
        return SingleFeed(source, spec.single_source, spec.single_file, Token(meter), "source")
    return source_listing(source, spec, meter)


def _alone(entry: Entry) -> Line:
    if entry.kind is Kind.ERROR:
        if entry.note.startswith("the map"):
            return Line(entry, Standing.UNKNOWN, error=entry.note)
        return Line(entry, Standing.UNKNOWN, error=f"at the source: {entry.note or 'could not be looked at'}")
    return Line(entry, Standing.GONE if entry.kind is Kind.MISSING else Standing.LISTED)


def _end(feeds: list[Feed | SingleFeed]) -> None:
    """A thread that a silent store holds is left behind."""
    for feed in feeds:
        feed.cancel()
    for feed in feeds:
        feed.stop(0.5)
