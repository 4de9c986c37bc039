"""The files at work that travel by themselves, and how far each is."""

from __future__ import annotations

from hugesync_producer.unitkinds import Batch, Large
from hugesync_producer.units import Units
from hugesync_tasks.state.base import TaskStatus


def in_flight(units: Units) -> tuple[tuple[str, int, int], ...]:
    """(key, bytes moved, size) of the files at work that travel by themselves, largest first. What is inside a running
    task is as of the dispatcher's last look."""
    rows = [_row(units, large) for large in units.larges.values() if large.file.state != "begin"]
    for out in units.dispatcher.out.values():
        if isinstance(out.unit, Batch) and out.seen.state == "running" and len(out.unit.items) == 1:
            source = out.unit.items[0].source
            if source.size >= units.job.options.small_file:
                rows.append((source.key, _inside(units, out.seen, source.size), source.size))
    return tuple(sorted(rows, key=lambda row: (-row[2], row[0])))


def _row(units: Units, large: Large) -> tuple[str, int, int]:
    part_size = int(large.file.fields.get("part_size", 0))
    outs = [units.dispatcher.out.get(task) for task in large.file.out]
    inside = sum(_inside(units, out.seen, part_size) for out in outs if out is not None)
    return large.file.transfer.key, min(large.file.moved + inside, large.size), large.size


def _inside(units: Units, seen: TaskStatus, size: int) -> int:
    """How much of ``size`` bytes a task has brought over: what passes through a worker between two stores counts twice."""
    both = units.job.source.limits.remote and units.job.dest.limits.remote and not units.job.copies_parts
    return min(size, seen.moved // (2 if both else 1))
