"""How long a job will take, from what causes time: starting, listing, requests, bytes, and tasks. Pure.

Each cause has a likely value, and a best and worst one where it is uncertain: whether work of two kinds overlaps, how
unsteady operations were. The band is what the causes give, no narrower than ``NARROWEST`` and no wider than ``WIDEST``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hugesync_producer.preflight.recommend import THREADS
from hugesync_producer.preflight.speed import bytes_per_second, files_per_second, latency, unsteady
from hugesync_producer.preflight.values import End, Measurements
from hugesync_tasks.spec import Options

WIDEST = 3.0  # worst over best
NARROWEST = 1.6
USUAL_START = 0.8  # seconds of ``Host.start_seconds`` on an idle machine: more tells how much slower everything is here
STARTS = 2.5  # interpreters that a job starts one after another, about
SERVER = 0.5  # seconds: the private Redis, the first looks of the coordinator, its last ones
CONTACT = {"source": 3, "dest": 12}  # requests before the first file
OF_LARGE = 7  # requests around the parts of one large file: begin, intent, complete
HOP = 0.15  # seconds from one task's end to the next one's start, where it waits for that
FILE_CPU = 0.0012  # seconds of one CPU per small file, beside its requests
FILE_CPU_LOCAL = 0.0003  # the same from folder to folder, where 3,168 files took 1.6 s from start to end (2 CPUs, idle)
TASK_CPU = 0.01  # per task
OVERLAP = 0.4  # of the lesser of two kinds of work is not hidden behind the greater


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds from the command to its end. ``causes``: the likely seconds of each; of some that overlap the greater counts
    in full. ``sample``: of the files that were seen, and there are more."""

    best: float
    likely: float
    worst: float
    limited_by: str
    causes: tuple[tuple[str, float], ...]
    sample: bool
    trimmed: bool  # what was measured varies more than the band is allowed to


@dataclass(frozen=True, slots=True)
class _Range:
    best: float
    likely: float
    worst: float

    def __add__(self, other: _Range) -> _Range:
        return _Range(self.best + other.best, self.likely + other.likely, self.worst + other.worst)


def estimate(m: Measurements, options: Options, slots: int | None = None) -> Estimate:
    """``slots``: worker processes, over all hosts; None: as a job on this host alone has them."""
    slots = max(1, slots or options.jobs or math.ceil(m.host.cpus))
    slow = max(1.0, (m.host.start_seconds or USUAL_START) / USUAL_START)
    causes: dict[str, float] = {}
    start = _start(m, slow, causes)
    listing = _listing(m, causes)
    if m.server_copy:
        work = _copied(m, options, slots, slow, causes)
    else:
        work = _small(m, options, slots, slow, causes) + _large(m, options, slots, slow, causes)
    total = start + _Range(
        max(listing.best, work.best),
        max(listing.likely, work.likely) + 0.1 * min(listing.likely, work.likely),
        max(listing.worst, work.worst) + 0.5 * min(listing.worst, work.worst),
    )
    best, likely, worst, trimmed = _band(total)
    ordered = sorted(causes.items(), key=lambda c: -c[1])
    return Estimate(best, likely, worst, ordered[0][0], tuple(ordered), not m.sizes.complete, trimmed)


def _start(m: Measurements, slow: float, causes: dict[str, float]) -> _Range:
    one = m.host.start_seconds or USUAL_START
    contact = sum(
        CONTACT[role] * end.request.p50 for role, end in (("source", m.source), ("dest", m.dest)) if end.request
    )
    likely = STARTS * one + SERVER * slow + contact
    causes["starting the job"] = likely
    return _Range(0.6 * likely, likely, 1.8 * likely)


def _listing(m: Measurements, causes: dict[str, float]) -> _Range:
    """Both at once, so the slower; it was measured on this very tree, and it runs beside the work."""
    longest, name = 0.0, ""
    for end in (m.source, m.dest):
        if end.listing and end.listing.seconds > longest:
            longest, name = end.listing.seconds, f"listing {end.place}"
    if name:
        causes[name] = longest
    return _Range(0.7 * longest, longest, 1.5 * longest)


def _small(m: Measurements, options: Options, slots: int, slow: float, causes: dict[str, float]) -> _Range:
    """Files that go whole: many at a time up to ``small_file``, above that one to a task."""
    whole = min(options.part_size, options.delta_threshold)
    files, size = m.sizes.between(-1, min(options.small_file, whole))
    solo, solo_bytes = m.sizes.between(min(options.small_file, whole), whole)
    nothing = _Range(0.0, 0.0, 0.0)
    many, one = nothing, nothing
    if files:
        tasks = max(math.ceil(files / options.batch_files), math.ceil(size / options.batch_bytes), 1)
        streams = THREADS * min(slots, tasks)
        asked = [(e, files / rate) for e in (m.source, m.dest) if (rate := files_per_second(e, streams))]
        each = FILE_CPU if m.source.remote or m.dest.remote else FILE_CPU_LOCAL
        cpu = (files * each + tasks * TASK_CPU) * slow / min(max(1.0, m.host.usable_cpus), min(slots, tasks))
        requests = _together([seconds for _, seconds in asked])
        for e, seconds in asked:
            _put(causes, f"requests at {e.place}" if e.remote else f"small files at {e.place}", seconds)
        _put(causes, "CPU of this machine", cpu)
        many = _both(_both(requests, _certain(cpu)), _moving(m, size, streams, causes))
    if solo:
        wait = (latency(m.source) + latency(m.dest)) * solo / min(slots, solo)
        one = _certain(wait + solo * TASK_CPU * slow / min(slots, solo)) + _moving(
            m, solo_bytes, min(slots, solo), causes
        )
    return many + one


def _large(m: Measurements, options: Options, slots: int, slow: float, causes: dict[str, float]) -> _Range:
    files, size = m.sizes.between(min(options.part_size, options.delta_threshold), None)
    if not files:
        return _Range(0.0, 0.0, 0.0)
    part = max(options.part_size, m.dest.min_part)
    parts = max(files, math.ceil(size / part))
    streams = min(slots, parts)
    wait = latency(m.dest)
    requests = (files * OF_LARGE * wait + parts * (wait + latency(m.source))) / streams
    hops = 3 * HOP * slow + (files * 2 + parts) * TASK_CPU * slow / streams
    _put(causes, f"requests at {m.dest.place}" if m.dest.remote else f"small files at {m.dest.place}", requests)
    _put(causes, "handing out tasks", hops)
    tail = _moving(m, min(part, size // files), 1, {})  # the last part goes alone
    last = _Range(0.0, tail.likely / 2, tail.worst)
    return _certain(requests + hops) + _moving(m, size, streams, causes) + last


def _copied(m: Measurements, options: Options, slots: int, slow: float, causes: dict[str, float]) -> _Range:
    """The store copies by itself: a question and a copy for each file. How fast it copies many at once is not measured, so
    that what a 4 KiB write cost stands for a copy's request, and the band is wide."""
    files, size = m.sizes.between(-1, None)
    if not files:
        return _Range(0.0, 0.0, 0.0)
    tasks = math.ceil(files / options.batch_files)
    streams = THREADS * min(slots, tasks)
    rate = files_per_second(m.dest, streams)
    one = files / rate if rate else files * latency(m.dest) / streams
    moving = bytes_per_second(m.dest.copy, latency(m.dest), streams)
    bytes_ = size / moving if moving else 0.0
    cpu = (files * FILE_CPU + tasks * TASK_CPU) * slow / min(max(1.0, m.host.usable_cpus), min(slots, tasks))
    _put(causes, f"requests at {m.dest.place}", 1.5 * one)
    _put(causes, f"copying within {m.dest.store}", bytes_)
    _put(causes, "CPU of this machine", cpu)
    return _both(_Range(one, 1.5 * one, 3 * one), _certain(cpu)) + _Range(0.5 * bytes_, bytes_, 2 * bytes_)


def _moving(m: Measurements, size: float, streams: int, causes: dict[str, float]) -> _Range:
    """``size`` bytes out of one end and into the other. Each task reads, then writes; others do the other meanwhile."""
    ways: list[tuple[End, float, float]] = []
    for end, rungs in ((m.source, m.source.read), (m.dest, m.dest.write)):
        if rate := bytes_per_second(rungs, latency(end), streams):
            ways.append((end, size / rate, unsteady(rungs)))
    for end, seconds, _ in ways:
        _put(causes, f"bandwidth of {end.place}" if end.remote else f"disk of {end.place}", seconds)
    found = _together([seconds for _, seconds, _ in ways])
    shaky = min(2.0, max((u for _, _, u in ways), default=1.0))
    return _Range(found.best / (1 + (shaky - 1) / 4), found.likely, found.worst * (1 + (shaky - 1) / 2))


def _together(seconds: list[float]) -> _Range:
    """Work at both ends: at best all of the lesser is hidden behind the greater, at worst none."""
    most, rest = max(seconds, default=0.0), sum(seconds) - max(seconds, default=0.0)
    return _Range(most, most + OVERLAP * rest, most + rest)


def _both(a: _Range, b: _Range) -> _Range:
    """Two kinds of work of the same files."""
    least = min(a.likely, b.likely)
    return _Range(max(a.best, b.best), max(a.likely, b.likely) + OVERLAP * least, a.worst + b.worst)


def _certain(seconds: float) -> _Range:
    return _Range(0.8 * seconds, seconds, 1.3 * seconds)


def _band(total: _Range) -> tuple[float, float, float, bool]:
    """Honest ends: around the likely one, never nearer to each other than ``NARROWEST`` nor further than ``WIDEST``."""
    likely = total.likely
    best, worst = min(total.best, likely / math.sqrt(NARROWEST)), max(total.worst, likely * math.sqrt(NARROWEST))
    if worst <= WIDEST * best:
        return best, likely, worst, False
    best = max(best, likely / math.sqrt(WIDEST))
    return best, likely, min(worst, WIDEST * best), True


def _put(causes: dict[str, float], name: str, seconds: float) -> None:
    causes[name] = causes.get(name, 0.0) + seconds
