"""One end, measured: which operations, in which order, for how much of the allowance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from hugesync_producer import human
from hugesync_producer.preflight import localend, storeend
from hugesync_producer.preflight.allowance import Allowance
from hugesync_producer.preflight.disks import disk_of, nearest_folder, space_of
from hugesync_producer.preflight.ladder import Operation, climb, drive
from hugesync_producer.preflight.localend import LocalScratch, may_write
from hugesync_producer.preflight.samples import SMALL, Samples
from hugesync_producer.preflight.storeend import StoreScratch
from hugesync_producer.preflight.survey import Survey
from hugesync_producer.preflight.traces import Traces
from hugesync_producer.preflight.values import KIB, MIB, End, Rung
from hugesync_tasks.errors import HugeSyncError, NeedsPerson, StoreError
from hugesync_tasks.model import Entry
from hugesync_tasks.spec import Location
from hugesync_tasks.stores.base import Store
from hugesync_tasks.token import Token

FIRST = 256 * KIB  # the chunk that shows how large the others may be
LARGEST = 8 * MIB
LASTING = 0.4  # seconds that one chunk should take: long beside its latency, short beside a rung
CHUNKS = 48  # about as many as a ladder moves at least
COPIED = 6 * MIB  # S3 copies ranges only out of objects above 5 MB
MOST_COPIES = 60  # held by the store until the end
MANY = (1, 16)  # small files travel by sixteen threads in each task
_SHARES = {"request": 0.1, "small": 0.3, "chunks": 0.6}


@dataclass
class _Notes:
    blockers: list[str]
    notes: list[str]

    def attempt(self, what: str, call: Callable[[], None]) -> None:
        """What fails is told, not raised: the rest is worth measuring."""
        try:
            call()
        except NeedsPerson as error:
            self.blockers.append(f"{what}: {error.message}")
        except StoreError as error:
            self.notes.append(f"{what}: not measured: {error.message}")
        except PermissionError as error:
            self.blockers.append(f"{what}: {error.strerror}")
        except (HugeSyncError, OSError) as error:
            self.notes.append(f"{what}: not measured: {error}")


def plain_end(location: Location, store: Store) -> End:
    """What is known without measuring."""
    limits = store.limits
    end = End(location.display(), limits.name, limits.remote, limits.min_part, limits.max_parts)
    if limits.remote:
        return end
    folder = nearest_folder(location.local)
    return replace(end, disk=disk_of(folder), space=space_of(folder))


def measure_source(location: Location, store: Store, found: Survey, allowance: Allowance) -> End:
    """What reading costs there. Nothing is written."""
    end, told = plain_end(location, store), _Notes([], [])
    if found.denied:
        told.blockers.append(f"cannot list {location.display()}: {found.listing.why}")
    if not found.some:
        told.notes.append("reading: not measured: no file with bytes was seen")
        return replace(end, listing=found.listing, blockers=tuple(told.blockers), notes=tuple(told.notes))
    read = storeend.reader_of(store, _tokens(allowance)) if end.remote else localend.reader_of(location.local)
    reads = Samples(read, found.some, found.largest)
    if end.remote:
        end = replace(end, request=_request(told, allowance, lambda: _ask(store, allowance)))
    small: list[Rung] = []
    told.attempt("reading", lambda: small.extend(_small(reads.read_small, allowance)))
    chunks: list[Rung] = []
    if reads.has_chunks and not told.blockers:
        long = _Notes([], [])  # where small files can be read, a large one that cannot fails alone
        long.attempt("reading", lambda: chunks.extend(_chunks(reads.read_chunk, allowance)))
        told.notes.extend([*long.blockers, *long.notes])
    elif not told.blockers:
        told.notes.append("reading: no file of 1 MiB or more was seen, so nothing is known of long reads")
    if reads.passed_over and not told.blockers:
        key, why = next(iter(reads.passed_over.items()))
        tried = human.counted(len(reads.passed_over), "file")
        told.notes.append(f"reading: {tried} of those that were tried cannot be read: {key}: {why}")
    return replace(
        end, listing=found.listing, small=tuple(small), read=tuple(chunks), blockers=tuple(told.blockers),
        notes=tuple(told.notes),
    )  # fmt: skip


def measure_dest(
    location: Location,
    store: Store,
    found: Survey,
    allowance: Allowance,
    traces: Traces,
    copies: tuple[Store, Sequence[Entry]] | None = None,
) -> End:
    """What writing costs there, by what will not be there afterwards. ``store.limits`` are those that were probed.
    ``copies``: the source and its largest files, where the store can copy ranges of them by itself."""
    end, told = plain_end(location, store), _Notes([], [])
    if found.denied:
        told.blockers.append(f"cannot list {location.display()}: {found.listing.why}")
    end = replace(end, listing=found.listing)
    if end.remote:
        end = _measure_store(end, location, store, allowance, traces, told, copies)
    else:
        end = _measure_folder(end, location, allowance, traces, told)
    return replace(end, blockers=tuple(dict.fromkeys(told.blockers)), notes=tuple(told.notes))


def _measure_store(
    end: End,
    location: Location,
    store: Store,
    allowance: Allowance,
    traces: Traces,
    told: _Notes,
    copies: tuple[Store, Sequence[Entry]] | None,
) -> End:
    small: list[Rung] = []
    chunks: list[Rung] = []
    copied: list[Rung] = []
    large = [e for e in copies[1] if e.size >= COPIED] if copies is not None else []
    with traces.at(location) as tag:
        scratch = StoreScratch(store, _tokens(allowance), tag)
        request = _request(told, allowance, scratch.ask)

        def write_small() -> None:
            scratch.prepare(SMALL)
            small.extend(_small(scratch.write_small, allowance))

        def write_chunks() -> None:
            chunks.extend(_chunks(scratch.write_chunk, allowance, scratch.prepare))

        def copy_chunks() -> None:
            assert copies is not None
            scratch.prepare(COPIED)
            samples = Samples(scratch.copier(copies[0], COPIED), [], large)
            mine = Allowance(0.3 * allowance.left, MOST_COPIES * COPIED)  # nothing of it passes through here
            copied.extend(climb(lambda: samples.read_chunk(COPIED), mine.left / 4, mine, COPIED, lambda r: r.rate))

        told.attempt("writing", write_small)
        if large and not told.blockers:
            told.attempt("copying within the store", copy_chunks)
        if not told.blockers:
            told.attempt("writing", write_chunks)
    return replace(end, request=request, small=tuple(small), write=tuple(chunks), copy=tuple(copied))


def _measure_folder(end: End, location: Location, allowance: Allowance, traces: Traces, told: _Notes) -> End:
    folder = nearest_folder(location.local)
    if why := may_write(folder):
        told.blockers.append(f"writing: {why}")
        return end
    small: list[Rung] = []
    write: list[Rung] = []
    read: list[Rung] = []
    with traces.at(replace(location, local=folder)) as tag, closing(LocalScratch(folder, tag)) as scratch:
        told.attempt("writing", lambda: small.extend(_small(scratch.write_small, allowance)))
        told.attempt("writing", lambda: write.extend(_chunks(scratch.write_chunk, allowance)))
        told.attempt("reading", lambda: read.extend(_read_back(scratch, allowance)))
    return replace(end, small=tuple(small), write=tuple(write), read=tuple(read))


def _read_back(scratch: LocalScratch, allowance: Allowance) -> tuple[Rung, ...]:
    mine = allowance.portion(0.5, 0.5)
    size = max(MIB, min(16 * MIB, mine.bytes_left // 4))
    if not mine.take(size):
        return ()
    read, close = scratch.reader(size)
    try:
        rung = drive(read, 1, mine.left / 2, mine, MIB)
        return (rung,) if rung else ()
    finally:
        close()


def _request(told: _Notes, allowance: Allowance, ask: Operation) -> Rung | None:
    mine, found = allowance.portion(_SHARES["request"], 0.01), []

    def measured() -> None:
        found.append(drive(ask, 1, min(1.5, mine.left), mine, 0))

    told.attempt("asking", measured)
    return found[0] if found else None


def _small(operation: Operation, allowance: Allowance) -> tuple[Rung, ...]:
    mine = allowance.portion(_SHARES["small"], 0.1)
    return climb(operation, min(1.5, mine.left / 3), mine, SMALL, lambda r: r.per_second, MANY)


def _chunks(
    operation: Callable[[int], int], allowance: Allowance, prepare: Callable[[int], None] | None = None
) -> tuple[Rung, ...]:
    mine = allowance.portion(_SHARES["chunks"], 0.5)
    size = min(FIRST, max(64 * KIB, mine.bytes_left // CHUNKS))
    if prepare is not None:
        prepare(size)
    first = drive(lambda: operation(size), 1, 0.0, mine, size)
    if first is None:
        return ()
    size = _rounded(min(first.rate * LASTING, LARGEST, mine.bytes_left / CHUNKS), size)
    if prepare is not None:
        prepare(size)
    return climb(lambda: operation(size), mine.left / 6, mine, size, lambda r: r.rate)


def _rounded(size: float, least: int) -> int:
    return max(least, int(size) // (64 * KIB) * (64 * KIB))


def _ask(store: Store, allowance: Allowance) -> int:
    store.head("hugesync-preflight-asks-for-what-is-not-there", _tokens(allowance)())
    return 0


def _tokens(allowance: Allowance) -> Callable[[], Token]:
    """A token for each call: the allowance's end is its deadline, with time for what is in hand."""
    return lambda: Token(deadline=allowance.until + 10.0)
