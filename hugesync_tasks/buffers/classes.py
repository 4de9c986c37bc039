"""The sizes in which memory is lent, pure: four in each doubling, so that at most a fifth of one is not used."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20
STEPS = 4  # classes in each doubling
PAGE = 4 * KIB


@dataclass(frozen=True, slots=True)
class Sizes:
    """``[buffers]`` of the configuration, in bytes: the least and the greatest class, what is lent when nobody says how much, and
    from where on memory is kept to be lent again."""

    least: int = 64 * KIB
    size: int = MIB
    most: int = 64 * MIB
    reuse_from: int = 4 * MIB

    def __post_init__(self) -> None:
        """Raises ValueError where they contradict each other."""
        if not PAGE <= self.least <= self.size <= self.most:
            raise ValueError(f"{PAGE} <= min <= size <= max does not hold: {self.least}, {self.size}, {self.most}")

    def classes(self) -> tuple[int, ...]:
        """In rising order, in whole pages, from ``least`` to ``most``."""
        found, base = {self.least, self.most}, self.least
        while base < self.most:
            found |= {base + base * step // STEPS for step in range(STEPS)}
            base *= 2
        return tuple(sorted({-(-one // PAGE) * PAGE for one in found if one <= self.most} | {self.most}))

    def class_of(self, n: int) -> int | None:
        """The least class that holds ``n`` bytes; None above the greatest."""
        classes = _CLASSES.get(self) or _CLASSES.setdefault(self, self.classes())
        at = bisect_left(classes, n)
        return classes[at] if at < len(classes) else None


_CLASSES: dict[Sizes, tuple[int, ...]] = {}
