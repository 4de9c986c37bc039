"""The kinds of work that a run has in its window: what is settled as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from hugesync_producer.largefile import LargeFileUnit
from hugesync_producer.window import OpenSegment
from hugesync_tasks.model import Outcome, Transfer


@dataclass(eq=False)
class Batch:
    number: int
    segment: OpenSegment
    items: list[Transfer]
    begun: bool = False  # a worker may have left receipts, by the place of each file: it stays as it is
    finished: Mapping[int, Outcome] = field(default_factory=dict)  # while it is out: those that have a receipt

    def cut(self, most: int) -> list[Transfer]:
        """Keep the first files of at most ``most`` bytes together, one at least; the others."""
        if self.begun:
            return []
        sizes = accumulate(transfer.source.size for transfer in self.items)
        fit = max(1, sum(size <= most for size in sizes))
        rest = self.items[fit:]
        del self.items[fit:]
        return rest


@dataclass(eq=False)
class Large:
    number: int
    segment: OpenSegment
    file: LargeFileUnit
    size: int  # as planned; what the law counts


@dataclass(eq=False)
class Folders:
    segment: OpenSegment
    count: int
