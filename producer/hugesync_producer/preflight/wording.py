"""A report for a person: what is there, what was measured, what follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hugesync_producer import human
from hugesync_producer.preflight.estimate import Estimate
from hugesync_producer.preflight.knee import knee, open_ended
from hugesync_producer.preflight.recommend import Advice
from hugesync_producer.preflight.report import Report
from hugesync_producer.preflight.speed import latency, moving
from hugesync_producer.preflight.values import End, Histogram, Host, Rung

_OPTIONS = {
    "jobs": "-j",
    "part_size": "part_size",
    "batch_files": "files in a batch",
    "batch_bytes": "bytes in a batch",
    "memory": "--memory",
    "buffers_budget": "buffers of all processes",
}
_SIZES = ("part_size", "batch_bytes", "memory", "buffers_budget")


def lines(report: Report) -> Iterator[str]:
    m = report.measured
    yield "Machine"
    yield from _indented(_host(m.host))
    yield f"Source {human.name(m.source.place)} ({_kind(m.source)})"
    yield from _indented([*_sizes(m.sizes), *_end(m.source, "read")])
    yield f"Destination {human.name(m.dest.place)} ({_kind(m.dest)})"
    yield from _indented(_end(m.dest, "written"))
    yield "Recommended (--auto applies it)"
    yield from _indented(map(_advice, report.advice))
    yield "Estimate, were nothing at the destination yet"
    yield from _indented(_estimated(report))
    if m.server_copy:
        yield "The store copies by itself; no byte passes through here."
    for note in m.notes:
        yield f"Note: {human.plain(note)}"
    for why in report.blockers:
        yield f"BLOCKED: {human.plain(why)}"
    for place in report.left:
        yield f"could not be removed: {human.name(place)}"
    yield f"Measured in {human.duration(m.seconds)}, {human.size(m.moved)} moved."


def _indented(found: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in found)


def _host(host: Host) -> Iterator[str]:
    quota = f" (a cgroup allows {host.cpu_quota:g})" if host.cpu_quota else ""
    load = f", load {host.load:.1f}" if host.load is not None else ""
    yield f"{human.counted(host.cpus, 'CPU')}{quota}{load}; a worker's process starts in {_seconds(host.start_seconds)}"
    bound = " (a cgroup's limit)" if host.memory_limit is not None and host.memory_limit == host.memory_total else ""
    yield f"{human.size(host.memory_available)} of {human.size(host.memory_total)} memory available{bound}"
    yield f"{human.count(host.open_files)} open files per process"
    for interface in host.interfaces:
        yield f"network {human.name(interface.name)}: {human.bit_rate(interface.speed)}"


def _kind(end: End) -> str:
    if end.disk is None:
        return end.store
    return f"{human.name(end.disk.filesystem)} on {human.name(end.disk.device)}, {end.disk.kind}"


def _sizes(sizes: Histogram) -> Iterator[str]:
    sample = "" if sizes.complete else ", a SAMPLE: there are more"
    files, total = human.counted(sizes.files, "file"), human.size(sizes.bytes)
    yield f"{files}, {total}, the largest {human.size(sizes.largest)}{sample}"
    before = ""
    for bucket in sizes.buckets:
        edge = human.size(bucket.up_to) if bucket.up_to is not None else ""
        if bucket.files:
            named = f"up to {edge}" if edge else f"above {before}"
            yield f"  {named}: {human.counted(bucket.files, 'file')}, {human.size(bucket.bytes)}"
        before = edge or before


def _end(end: End, done: str) -> Iterator[str]:
    if end.listing is not None and not end.listing.entries and end.listing.complete:
        yield "nothing is there yet"
    elif end.listing is not None and end.listing.why:
        yield f"listing: {human.plain(end.listing.why)}"
    elif end.listing is not None:
        more = "" if end.listing.complete else ", not to its end"
        looked = human.counted(end.listing.errors, "entry").replace("entrys", "entries")
        bad = f"; {looked} could not be looked at" if end.listing.errors else ""
        rate = human.count(round(end.listing.per_second))
        yield f"listing: {rate} entries/s ({human.count(end.listing.entries)} in {_seconds(end.listing.seconds)}{more}){bad}"
    if end.request is not None:
        yield f"a question: {_latency(end.request)}"
    if end.small:
        yield f"4 KiB {done}: {_latency(end.small[0])}; " + _ladder(
            end.small, lambda r: f"{human.count(round(r.per_second))}/s"
        )
    for name, rungs in (("reading", end.read), ("writing", end.write), ("copying within the store", end.copy)):
        best = knee(moved := moving(rungs, latency(end)), lambda r: r.rate)
        if best is not None:
            more = ", and more might give more" if open_ended(moved, lambda r: r.rate) else ""
            enough = f"{human.counted(best.streams, 'stream')} {'is' if best.streams == 1 else 'are'} enough{more}"
            yield f"{name}: {_ladder(rungs, lambda r: human.rate(r.rate))}; for large files {enough}"
    if end.space is not None:
        inodes = f", {human.count(end.space.free_inodes)} inodes" if end.space.free_inodes is not None else ""
        yield f"{human.size(end.space.free_bytes)} of {human.size(end.space.total_bytes)} free{inodes}"
    yield from (human.plain(note) for note in end.notes)


def _ladder(rungs: Sequence[Rung], shown: object) -> str:
    assert callable(shown)
    return ", ".join(f"{human.counted(r.streams, 'stream')} {shown(r)}" for r in rungs)


def _latency(rung: Rung) -> str:
    return f"p50 {human.milliseconds(rung.p50)}, p99 {human.milliseconds(rung.p99)}"


def _advice(a: Advice) -> str:
    value = human.size(a.value) if a.key in _SIZES else human.count(a.value)
    return (
        f"{_OPTIONS[a.key]} {value}: limited by {human.plain(a.limited_by)}; {_figure(a)} ({human.plain(a.measured)})"
    )


def _figure(a: Advice) -> str:
    if a.unit == "bytes":
        return human.size(a.figure)
    if a.unit == "bytes/s":
        return human.rate(a.figure)
    return f"{human.figure(a.figure)} {a.unit}"


def _estimated(report: Report) -> Iterator[str]:
    for what, e in (("as it stands", report.estimated), ("with --auto", report.with_auto)):
        yield f"{what}: {_band(e)}; most of it: {human.plain(e.limited_by)}"
    if report.estimated.sample:
        yield "of the files that were seen; for all of them it is longer"
    if report.estimated.trimmed:
        yield "what was measured varied more than this says: expect it to be off"


def _band(e: Estimate) -> str:
    return f"likely {_seconds(e.likely)}, at best {_seconds(e.best)}, at worst {_seconds(e.worst)}"


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else human.duration(seconds)
