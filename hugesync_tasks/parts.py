"""How a large file is cut into parts: pure, and part of a generation (``spec.RULES_VERSION`` names these rules)."""

from __future__ import annotations

from hugesync_tasks.errors import TooLarge
from hugesync_tasks.stores.base import MIB, Limits

WANTED = 16 * MIB
MANY = 1_000  # parts; up to here they stay as small as wanted
COMFORTABLE = 64 * MIB  # parts grow to this to stay below MANY, and beyond only when the store's number would not do


def part_size(size: int, limits: Limits, wanted: int = WANTED) -> int:
    """Bytes per part for a file of ``size`` bytes: a multiple of 1 MiB, because parts on a shared mount must not meet
    within a page, and within the store's limits. Raises TooLarge where the store cannot hold the file."""
    if size > limits.max_size:
        raise TooLarge(f"a file of {size} bytes is larger than {limits.name} holds ({limits.max_size} bytes)")
    unit = min(MIB, limits.max_part)
    most = limits.max_part // unit * unit
    chosen = max(_up(wanted, unit), _up(limits.min_part, unit), unit)
    if chosen < COMFORTABLE:
        chosen = max(chosen, min(COMFORTABLE, _up(-(-size // MANY), unit)))
    chosen = max(min(chosen, most), _up(-(-size // limits.max_parts), unit))
    if chosen > most:
        raise TooLarge(
            f"a file of {size} bytes needs parts of {chosen} bytes; "
            f"{limits.name} takes {limits.max_parts} parts of at most {limits.max_part} bytes"
        )
    return chosen


def part_count(size: int, part: int) -> int:
    """How many parts; an empty file has one, which is empty."""
    return max(1, -(-size // part))


def part_range(number: int, size: int, part: int) -> tuple[int, int]:
    """(start, length) in bytes of part ``number`` (from 1)."""
    if not 1 <= number <= part_count(size, part):
        raise ValueError(f"part {number} of {part_count(size, part)}")
    start = (number - 1) * part
    return start, min(part, size - start)


def _up(n: int, unit: int) -> int:
    return -(-n // unit) * unit
