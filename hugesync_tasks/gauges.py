"""What the children of a worker's pool did, in memory that they share with its main process.

Each child writes its own row, all the time and without waiting for anybody; the main process adds them up when it wants to know. A
child that replaces another goes on with its row. Nothing here is exact to the last byte: it is for decisions, not for summaries.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from threading import Lock

from hugesync_tasks.measuring import CountedMeter

ROWS = 1024  # as many children as a worker may have
CARRIED = ("bytes.sent", "bytes.received", "bytes.copied_server_side")
_ROW = struct.Struct("5d")

_page = mmap.mmap(-1, ROWS * _ROW.size)
_lock = Lock()
_mine: int | None = None
_counts = [0.0] * 5


@dataclass(frozen=True, slots=True)
class Totals:
    moved: float = 0.0  # bytes of payload
    requests: float = 0.0
    failures: float = 0.0  # requests that had to be made again
    calls: float = 0.0  # of a store, with their bodies
    waited: float = 0.0  # seconds that they took, added up

    def since(self, before: Totals) -> Totals:
        return Totals(*(now - then for now, then in zip(self._values(), before._values(), strict=True)))

    def _values(self) -> tuple[float, ...]:
        return self.moved, self.requests, self.failures, self.calls, self.waited


def begin(row: int) -> None:
    """This process is the child with that number from now on."""
    global _mine
    with _lock:
        if 0 <= row < ROWS:
            _mine = row
            _counts[:] = _ROW.unpack_from(_page, row * _ROW.size)


def answered(seconds: float) -> None:
    """A store answered a call."""
    _add(calls=1.0, waited=seconds)


def total() -> Totals:
    return Totals(*map(sum, zip(*_ROW.iter_unpack(_page), strict=True)))


class GaugedMeter(CountedMeter):
    """What is taken of it is told here, too."""

    def take(self) -> dict[str, int]:
        out = super().take()
        if _mine is not None and out:
            moved = sum(out.get(name, 0) for name in CARRIED)
            requests = sum(n for name, n in out.items() if name.startswith("requests."))
            _add(float(moved), float(requests), float(out.get("retries", 0)))
        return out


def _add(
    moved: float = 0.0, requests: float = 0.0, failures: float = 0.0, calls: float = 0.0, waited: float = 0.0
) -> None:
    if _mine is None:
        return
    with _lock:
        for at, n in enumerate((moved, requests, failures, calls, waited)):
            _counts[at] += n
        _ROW.pack_into(_page, _mine * _ROW.size, *_counts)
