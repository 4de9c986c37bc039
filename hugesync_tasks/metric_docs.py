"""Writes the table in ``docs/metrics.md`` from the code: ``python -m hugesync_tasks.metric_docs docs/metrics.md``. A test fails when
they differ."""

from __future__ import annotations

import sys
from pathlib import Path

from hugesync_tasks.metric_names import METRICS, WHERE, Metric

BEGIN, END = "<!-- table: made by `make docs` -->\n", "<!-- end of table -->\n"


def table() -> str:
    """By where they are served."""
    parts = []
    for where, words in WHERE.items():
        parts.append(f"\n### {where}: {words}\n\n| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n")
        parts += [_row(metric) for metric in METRICS.values() if metric.where == where]
    return "".join(parts)


def page(text: str) -> str:
    """The page with its table made anew. Raises ValueError where it has no place for one."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError("the page has no place for the table")
    return f"{before}{BEGIN}{table()}\n{END}{after}"


def _row(metric: Metric) -> str:
    labels = "; ".join(
        f"`{name}`" + (f" = {', '.join(values)}" if values else "") for name, values in metric.labels.items()
    )
    return f"| `{metric.name}` | {metric.kind} | {labels or '–'} | {metric.meaning} |\n"


def main(path: str) -> None:
    Path(path).write_text(page(Path(path).read_text()))


if __name__ == "__main__":
    main(*sys.argv[1:])
