"""docs/roadmap.md names only files and tests that exist, and nothing stands in it without a test or the word open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BASES = [ROOT, *(ROOT / p for p in ("hugesync_tasks", "producer/hugesync_producer", "worker/hugesync_worker"))]
TESTS = {
    name: path.name
    for path in (ROOT / "tests").glob("test_*.py")
    for name in re.findall(r"(?m)^(?:async )?def (test_\w+)", path.read_text())
}
SECTIONS = re.split(r"(?m)^## ", (ROOT / "docs/roadmap.md").read_text())[1:]
ROWS = [
    pytest.param(cells, id=cells[0][:60])
    for section in SECTIONS
    for line in re.findall(r"(?m)^\|(.*)\|$", section)[2:]
    if (cells := [cell.strip() for cell in line.split(" | ")])
]

DIFFERENCES = {param.id for param in ROWS if param.values[0][0][:60] in SECTIONS[-1]}


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@pytest.mark.parametrize("cells", ROWS)
def test_a_row_names_what_exists(cells: list[str]) -> None:
    assert len(cells) == 3
    tests = [word for word in code(cells[2]) if re.fullmatch(r"test_\w+", word)]
    files = [word for word in code(cells[1]) if re.fullmatch(r"[\w./-]+(/|\.(py|md|lua|yaml))|Makefile", word)]

    assert [name for name in tests if name not in TESTS] == []
    assert [name for name in files if not any((base / name).exists() for base in BASES)] == []
    is_open = re.search(r"\*\*open: (high|middle|low)\*\*", cells[2])
    assert tests or is_open or cells[2].startswith(("`make mutations`", "`make chaos`", "`make bench-"))


def test_what_is_there_says_where() -> None:
    for param in ROWS:
        cells = param.values[0]
        if "**open" not in cells[2] and param.id not in DIFFERENCES:
            assert code(cells[1]), cells[0]


def test_each_part_of_the_work_has_a_section() -> None:
    titles = [section.splitlines()[0] for section in SECTIONS]

    assert len(titles) == 7
    assert titles[-1].startswith("How HugeSync differs")
    assert len(ROWS) > 90
