"""The tables: each cell the median of the rounds, wall seconds / CPU seconds."""

from __future__ import annotations

import statistics
from pathlib import Path

Cells = dict[str, dict[str, list[tuple[float, float]]]]  # row → program → (wall, CPU) of each round


def medians(row: dict[str, list[tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """Program → (wall, CPU), each the median of its rounds by itself."""
    return {
        p: (statistics.median(w for w, _ in runs), statistics.median(c for _, c in runs)) for p, runs in row.items()
    }


def write_between(path: Path, marks: tuple[str, str], text: str) -> None:
    """Put ``text`` in the place between two marks of a page."""
    page = path.read_text()
    before, after = page.partition(marks[0])[0], page.partition(marks[1])[2]
    path.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after}")


def table(cells: Cells, columns: list[str]) -> str:
    """Markdown: a row per measurement, and ours relative to the best other program of that row."""
    columns = [c for c in columns if any(c in row for row in cells.values())]
    lines = [f"| wall s / CPU-s | {' | '.join(columns)} | wall, × best peer | CPU, × best peer |"]
    lines.append("| --- |" + " ---: |" * (len(columns) + 2))
    for label, row in cells.items():
        median = medians(row)
        shown = [f"{median[c][0]:.2f} / {median[c][1]:.2f}" if c in median else "–" for c in columns]
        peers = [median[c] for c in columns[1:] if c in median]
        ours = median.get(columns[0])
        ratios = [f"{ours[i] / min(p[i] for p in peers):.1f}" if ours and peers else "–" for i in (0, 1)]
        lines.append(f"| {label} | {' | '.join(shown)} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def sides_table(cells: Cells, base: str, this: str) -> str:
    """Two revisions side by side; the ratios are of the medians, below 1 is better than the base."""
    lines = [
        f"| wall s / CPU-s | {base} | {this} | wall, × base | CPU, × base |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for label, row in cells.items():
        median = medians(row)
        (wall, cpu), (wall_now, cpu_now) = median[base], median[this]
        lines.append(
            f"| {label} | {wall:.2f} / {cpu:.2f} | {wall_now:.2f} / {cpu_now:.2f} | {_ratio(wall_now, wall)} | {_ratio(cpu_now, cpu)} |"
        )
    return "\n".join(lines)


def _ratio(now: float, before: float) -> str:
    return f"{now / before:.2f}" if before else "–"


def jobs_table(cells: Cells, one: str, two: str) -> str:
    """One worker process beside two."""
    lines = [f"| wall s / CPU-s | {one} | {two} | two, × one |", "| --- | ---: | ---: | ---: |"]
    for label, row in cells.items():
        median = medians(row)
        a, b = median[one], median[two]
        lines.append(f"| {label} | {a[0]:.2f} / {a[1]:.2f} | {b[0]:.2f} / {b[1]:.2f} | {b[0] / a[0]:.2f} |")
    return "\n".join(lines)
