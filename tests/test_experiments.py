"""``docs/reliability.md`` names the test of each of the 34 experiments: they are there, and so are all the experiments."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text()
DEFINED = {n for p in (ROOT / "tests").glob("test_*.py") for n in re.findall(r"def (test_\w+)", p.read_text())}


def test_each_experiment_has_a_test_or_a_reason_and_a_result() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row[0]) for row in rows] == list(range(1, 35))
    for number, what, tests, result in rows:
        assert "test_" in tests or "simulator" in tests, f"experiment {number}: {what}"
        assert result, number


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 60
    assert named <= DEFINED, sorted(named - DEFINED)
