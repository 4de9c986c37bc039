"""How each entry of two trees stands, in key order: the walk of ``hugesync manifest``.

The listings, the join and the judge are those of ``hugesync verify``; whether a file is done is the sync's own decision, with
a HEAD where the listings cannot tell, and with ``--checksum`` by contents. Nothing is written, and what is held in memory does not grow with the trees.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import replace

from hugesync_producer.aside import threads
from hugesync_producer.comparing import ComparingJudge, Comparison
from hugesync_producer.filters import Filter
from hugesync_producer.join import JoinItem
from hugesync_producer.judge import Extra, Fail, Judge, Missing, Nothing, Send, Skip, Terms, Verdict, Way
from hugesync_producer.manifest_digest import compare, digest_of
from hugesync_producer.manifest_format import Line, Standing, crc64nvme
from hugesync_producer.mapped import MappedStore
from hugesync_tasks.decide import Decision
from hugesync_tasks.errors import StoreError
from hugesync_tasks.model import Entry, Kind, Transfer, failed
from hugesync_tasks.stages.compare import look_closer, with_time
from hugesync_tasks.stages.contents import End, Moved, What, ends
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.token import Token

THREADS = 16  # entries looked at at once
AHEAD = 512  # entries held back while one before them is looked at
PATIENCE = 0.1  # seconds between two chances to show progress
_MOVED = {What.SOURCE_MOVED: "the source", What.DEST_MOVED: "the destination"}

Pending = Line | Future[Line]


class StandingJudge(ComparingJudge):
    """The sync's decision about files. Of a folder that it is there, as ``verify`` asks: its time changes with what lies in it."""

    def __init__(self, job: JobContext, one_way: bool) -> None:
        spec = job.spec
        terms = Terms(job.dest.limits, spec.rules, Filter.of_job(spec), prefix=spec.dest.prefix)
        self._names_folders = not isinstance(
            job.source, MappedStore
        )  # a map names files; the folders they lie in are nobody's extras
        super().__init__(terms, Comparison(job.source.limits, one_way=one_way))

    def standing(self, item: JoinItem) -> Line | Transfer | None:
        """A transfer: only a look at both tells. None: it takes no part."""
        source, dest = item.source, item.dest
        entry, verdict = source or dest, self.look(item).verdict
        if entry is None or (isinstance(verdict, Skip) and verdict.reason == "filtered"):
            return None
        match verdict:
            case Skip(reason="special"):
                return Line(entry, Standing.LISTED)
            case Skip():
                return Line(entry, Standing.DONE)
            case Nothing():
                wanted = source is not None and source.kind is not Kind.MISSING
                return Line(entry, Standing.DONE) if wanted else None
            case Missing():
                return Line(entry, Standing.GONE)
            case Extra():
                told = verdict.listed and (self._names_folders or entry.kind is not Kind.DIR)
                return Line(entry, Standing.EXTRA) if told else None
            case Fail():
                return Line(entry, self._refused(item), error=verdict.message)
            case Send() if verdict.transfer.check:
                return verdict.transfer
        return Line(entry, Standing.MISSING if dest is None else Standing.DIFFERS)

    def _refused(self, item: JoinItem) -> Standing:
        """Of what no sync could bring over: nobody may know whether it is there."""
        dark = any(e is not None and e.kind is Kind.ERROR for e in (item.source, item.dest))
        if dark or (item.source is not None and item.dest is None and self._hidden(item.source)):
            return Standing.UNKNOWN
        return Standing.MISSING if item.dest is None else Standing.DIFFERS

    def _file(self, source: Entry, dest: Entry | None) -> Verdict:
        hidden = self._hidden(source) if dest is None else None
        return hidden or Judge._file(self, source, dest)

    def _missing(self, source: Entry) -> Verdict:
        return self._hidden(source) or Send(Transfer(source), Way.SMALL)


class Looks:
    """What takes requests: decisions that the listings leave open, and digests. ``job`` None: there is no destination."""

    def __init__(
        self, source_end: Callable[[Entry], End], job: JobContext | None, checksum: bool, token: Token
    ) -> None:
        self._source_end, self._job, self._checksum = source_end, job, checksum
        self.token = token

    def needed(self, found: Line | Transfer) -> bool:
        if isinstance(found, Transfer):
            return True
        return self._checksum and not found.error and found.entry.kind in (Kind.FILE, Kind.LINK)

    def take(self, found: Line | Transfer) -> Line:
        """Raises Stopped, and what is no fault of a store's."""
        entry = found.source if isinstance(found, Transfer) else found.entry
        try:
            if isinstance(found, Line):
                end = self._source_end(entry) if found.state is not Standing.EXTRA else self._there(entry)
                return replace(found, digest=crc64nvme(digest_of(end, self.token) if entry.size else 0))
            return self._by_contents(found) if self._checksum else self._by_a_head(found)
        except Moved as moved:
            return Line(entry, Standing.UNKNOWN, error=f"{_MOVED[moved.what]} changed while it was read")
        except StoreError as error:
            return Line(entry, Standing.UNKNOWN, error=failed(error).message)

    def _there(self, entry: Entry) -> End:
        assert self._job is not None
        return End(self._job.dest, entry.key, entry.version, What.DEST_MOVED)

    def _by_a_head(self, found: Transfer) -> Line:
        job = self._job
        assert job is not None
        source = with_time(job, found.source, self.token)
        head = job.dest.head(found.key, self.token)
        same = look_closer(job, source, head, self.token) is Decision.SAME
        return Line(source, Standing.DONE if same else Standing.MISSING if head is None else Standing.DIFFERS)

    def _by_contents(self, found: Transfer) -> Line:
        assert self._job is not None
        assert found.dest is not None
        seen = compare(*ends(self._job, found.source, found.dest), self.token)
        return Line(found.source, Standing.DONE if seen.equal else Standing.DIFFERS, crc64nvme(seen.crc64))


def looked_at(found: Iterator[Line | Transfer | None], looks: Looks) -> Generator[Line | None]:
    """Each as a line, in the same order; None where there is nothing to tell yet."""
    with threads(THREADS, "look") as pool:
        held: deque[Pending] = deque()
        for one in found:
            if one is not None:
                held.append(_begun(one, looks, pool))
            yield from _ready(held, wait=len(held) > AHEAD)
            if one is None:
                yield None
        while held:
            yield from _ready(held, wait=True)


def _begun(one: Line | Transfer, looks: Looks, pool: ThreadPoolExecutor) -> Pending:
    if looks.needed(one):
        return pool.submit(looks.take, one)
    assert isinstance(one, Line)
    return one


def _ready(held: deque[Pending], wait: bool) -> Iterator[Line | None]:
    while held:
        first = held[0]
        if isinstance(first, Line):
            yield first
        elif first.done() or wait:
            while True:
                try:
                    yield first.result(PATIENCE)
                    break
                except NotYet:
                    yield None
            wait = False
        else:
            return
        held.popleft()
