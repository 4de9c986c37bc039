"""Tables on stdout."""

from __future__ import annotations

from collections.abc import Iterable

from hugesync_producer import human
from hugesync_producer.streams import show


def print_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Columns as wide as they must be, so that a script can cut them; the last one ends where it ends."""
    table = [head, *(tuple(human.name(cell) for cell in row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for row in table:
        show("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
