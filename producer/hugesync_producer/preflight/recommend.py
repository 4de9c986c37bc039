"""What a job should be told, each number with the measured one behind it and what keeps it from being more. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hugesync_producer.preflight.knee import knee, open_ended
from hugesync_producer.preflight.speed import bytes_per_second, files_per_second, latency, moving
from hugesync_producer.preflight.values import MIB, End, Measurements
from hugesync_tasks.budget import HEADROOM, LATER, LEAST, in_hand
from hugesync_tasks.config_units import show_size
from hugesync_tasks.spec import Options

THREADS = 16  # of one task with small files
OF_MEMORY = 0.8  # of what is available may go to workers
RESIDENT = 128 * MIB  # of a worker process before it holds anything
LEAST_EACH = 256 * MIB  # that a worker process should have
PER_CPU = 4  # worker processes that one CPU may carry: they wait most of the time
MOST_JOBS = 64
WAITING = 0.1  # of a part's time may go to its request
PART_SECONDS = 30.0  # what a killed part costs at most
LEAST_PART, MOST_PART = 8 * MIB, 64 * MIB
TASK_SECONDS = 5.0  # of work in one task: much beside its cost, little to do again
MOST_FILES, MOST_BYTES = Options().batch_files, Options().batch_bytes
PARTS_IN_MEMORY = 4


@dataclass(frozen=True, slots=True)
class Advice:
    """``key``: a field of ``Options`` or of ``Settings``. ``figure``: the measured number; ``measured`` says in words what it is."""

    key: str
    value: int
    figure: float
    unit: str
    measured: str
    limited_by: str


def recommend(m: Measurements, options: Options | None = None) -> tuple[Advice, ...]:
    """``options``: as given; what is decided there is the base of the rest. On a fleet nothing is said of what is each
    worker's own."""
    options = options or Options()
    jobs = advised_jobs(m)
    slots = jobs.value
    part = advised_part(m, slots, options)
    batches = (advised_files(m, slots), advised_bytes(m, slots))
    memory = advised_memory(m, slots, part.value, options.memory)
    if not m.single_host:
        return (part, *batches)
    return (jobs, part, *batches, memory, advised_buffers(m, slots, memory))


def advised_jobs(m: Measurements) -> Advice:
    small_seconds, large_seconds = _weights(m)
    cpus = m.host.usable_cpus
    if large_seconds >= small_seconds and (found := _streams_wanted(m)) is not None:
        wanted, figure, words, limit = found
        unit = "bytes/s"
    else:
        end = _slower_small(m)
        waits = open_ended(end.small, lambda r: r.per_second)
        wanted = math.ceil(cpus * (2 if waits else 1))
        best = knee(end.small, lambda r: r.per_second)
        figure, unit = (best.per_second, "files/s") if best else (cpus, "CPUs")
        words = f"small files at {end.place} by {best.streams} streams" if best else "CPUs of this machine"
        limit = f"latency of {end.place}" if waits else "CPUs"
    by_cpu = max(1, math.ceil(cpus * PER_CPU))
    by_memory = max(1, int(m.host.memory_available * OF_MEMORY // LEAST_EACH))
    value = max(1, min(wanted, by_cpu, by_memory, MOST_JOBS))
    if value < wanted:
        if by_memory <= by_cpu:
            return Advice("jobs", value, float(m.host.memory_available), "bytes", "memory that is available", "memory")
        return Advice("jobs", value, cpus, "CPUs", "CPUs that this process may use", "CPUs")
    return Advice("jobs", value, figure, unit, words, limit)


def advised_part(m: Measurements, slots: int, options: Options) -> Advice:
    wait = latency(m.dest)
    total = bytes_per_second(m.dest.write, wait, slots)
    least = max(LEAST_PART, _up(m.dest.min_part))
    if total is None:
        return Advice(
            "part_size", max(least, options.part_size), 0.0, "bytes/s", "nothing: no write was measured", "nothing"
        )
    stream = total / max(1, min(slots, m.dest.write[-1].streams))
    wanted = _up(wait * stream / WAITING)
    by_time = max(least, int(stream * PART_SECONDS) // MIB * MIB)
    by_memory = max(least, int((_memory_each(m, slots) - RESIDENT) * HEADROOM) // PARTS_IN_MEMORY // MIB * MIB)
    by_number = _up(m.sizes.largest / m.dest.max_parts)
    value = max(least, min(max(wanted, min(options.part_size, by_time)), MOST_PART, by_time, by_memory), by_number)
    limit = _named(
        value,
        (by_number, "the number of parts that the store takes"),
        (MOST_PART, "what is worth sending again"),
        (by_memory, "memory"),
        (by_time, f"what one part may take ({PART_SECONDS:.0f} s)"),
        (least, "the smallest part that is worth a request"),
        (wanted, "latency of a request"),
    ) or "nothing: the usual size does"  # fmt: skip
    return Advice("part_size", value, stream, "bytes/s", f"one of {slots} streams to {m.dest.place}", limit)


def advised_files(m: Measurements, slots: int) -> Advice:
    end = _slower_small(m)
    rate = files_per_second(end, THREADS)
    files, _ = m.sizes.between(-1, Options().small_file)
    if rate is None:
        return Advice("batch_files", MOST_FILES, 0.0, "files/s", "nothing: no small file was measured", "nothing")
    by_time = max(2 * THREADS, int(rate * TASK_SECONDS))
    shared = max(THREADS, math.ceil(files / (2 * slots))) if m.sizes.complete else MOST_FILES
    value = min(MOST_FILES, by_time, shared)
    limit = _named(
        value,
        (MOST_FILES, "what one message carries"),
        (by_time, f"{TASK_SECONDS:.0f} s of work in one task"),
        (shared, f"that {slots} workers share {files} files"),
    )
    return Advice("batch_files", value, rate, "files/s", f"small files at {end.place} by {THREADS} streams", limit)


def advised_bytes(m: Measurements, slots: int) -> Advice:
    wait = latency(m.dest)
    total = bytes_per_second(m.dest.write, wait, slots)
    if total is None:
        return Advice("batch_bytes", MOST_BYTES, 0.0, "bytes/s", "nothing: no write was measured", "nothing")
    by_time = max(8 * MIB, int(total / slots * TASK_SECONDS) // MIB * MIB)
    limit = f"{TASK_SECONDS:.0f} s of work in one task" if by_time < MOST_BYTES else "what one worker reads ahead"
    words = f"all of {slots} streams to {m.dest.place}"
    return Advice("batch_bytes", min(MOST_BYTES, by_time), total, "bytes/s", words, limit)


def advised_memory(m: Measurements, slots: int, part: int, usual: int) -> Advice:
    """What each worker process may be, so that its parts fit, and deltas have the ``usual`` room."""
    needed = RESIDENT + int(PARTS_IN_MEMORY * part / HEADROOM)
    wanted = max(usual, -(-needed // (64 * MIB)) * 64 * MIB)
    most = _memory_each(m, slots)
    value = max(128 * MIB, PARTS_IN_MEMORY * part, min(wanted, most // MIB * MIB))
    parts = f"{PARTS_IN_MEMORY} parts of {show_size(part)} in hand"
    limit = "memory" if value < wanted else parts if wanted > usual else f"nothing: {parts} fit, and a delta's tables"
    return Advice("memory", value, float(m.host.memory_available), "bytes", "memory that is available", limit)


def advised_buffers(m: Measurements, slots: int, memory: Advice) -> Advice:
    """What all worker processes may hold of files together: what ``memory`` leaves to each."""
    value = max(LEAST, slots * in_hand(memory.value, RESIDENT - LATER) // MIB * MIB)
    each = f"what --memory leaves to each of {slots} processes"
    limit = memory.limited_by if memory.limited_by == "memory" else each
    return Advice("buffers_budget", value, float(m.host.memory_available), "bytes", "memory that is available", limit)


def _streams_wanted(m: Measurements) -> tuple[int, float, str, str] | None:
    """(slots, measured rate, words, limit) so that the slower end is kept busy, though each slot reads, then writes."""
    found = []
    for end, rungs, doing in ((m.source, m.source.read, "reading"), (m.dest, m.dest.write, "writing")):
        ladder = moving(rungs, latency(end))
        best = knee(ladder, lambda r: r.rate)
        if best is not None and best.rate > 0:
            found.append((best.rate, best.streams, f"{doing} at {end.place} by {best.streams} streams", end.place))
    if not found:
        return None
    found.sort()
    rate, streams, words, place = found[0]
    other = found[1][0] / found[1][1] if len(found) > 1 else math.inf
    own = rate / streams
    return max(1, round(streams * (1 + own / other))), rate, words, f"bandwidth of {place}"


def _weights(m: Measurements) -> tuple[float, float]:
    """Seconds that small files, and large ones, would about take."""
    limit = Options().small_file
    few, size = m.sizes.between(-1, limit)
    _, large = m.sizes.between(limit, None)
    rates = [r for r in (files_per_second(e, THREADS) for e in (m.source, m.dest)) if r]
    speeds = [
        s for s in (bytes_per_second(m.source.read, latency(m.source), 8), bytes_per_second(m.dest.write, latency(m.dest), 8)) if s
    ]  # fmt: skip
    speed = min(speeds, default=float(100 * MIB))
    return few / min(rates, default=1000.0) + size / speed, large / speed


def _slower_small(m: Measurements) -> End:
    a, b = files_per_second(m.source, THREADS), files_per_second(m.dest, THREADS)
    return m.source if b is None or (a is not None and a < b) else m.dest


def _memory_each(m: Measurements, slots: int) -> int:
    return int(m.host.memory_available * OF_MEMORY / max(1, slots))


def _named(value: int, *limits: tuple[int, str]) -> str:
    return next((why for n, why in limits if n == value), "")


def _up(n: float) -> int:
    return max(1, math.ceil(n / MIB)) * MIB
