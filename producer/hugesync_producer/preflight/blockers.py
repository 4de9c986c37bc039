"""What a job cannot succeed with. Pure."""

from __future__ import annotations

from hugesync_producer import human
from hugesync_producer.preflight.values import Measurements


def blockers(m: Measurements, already: int = 0, already_files: int = 0, there_complete: bool = True) -> tuple[str, ...]:
    """``already``: bytes, and files, that the destination's listing showed; what is there need not find room once more."""
    found = [*m.source.blockers, *m.dest.blockers]
    if not there_complete or m.dest.space is None:
        return tuple(dict.fromkeys(found))
    space, needed, files = m.dest.space, m.sizes.bytes - already, m.sizes.files - already_files
    more = "" if m.sizes.complete else " at least"
    if needed > space.free_bytes:
        found.append(
            f"no space: {m.dest.place} has {human.size(space.free_bytes)} free and the source needs{more} {human.size(needed)}"
        )
    if space.free_inodes is not None and files > space.free_inodes:
        found.append(
            f"no inodes: {m.dest.place} has {human.count(space.free_inodes)} free and the source needs{more} {human.count(files)}"
        )
    return tuple(dict.fromkeys(found))
