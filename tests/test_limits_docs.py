"""The table of stores in docs/stores.md is made from the limits that jobs plan with, and says all of them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from hugesync_tasks.stores import limits_docs
from hugesync_tasks.stores.base import Limits
from hugesync_tasks.stores.limits_docs import BEGIN, END, SEAWEEDFS_LIMITS, STORES, page, size, table

PAGE = Path(__file__).parent.parent / "docs/stores.md"
# Nothing a store can do: its name, where limits are from, what only steers us; and what depends on the mounted filesystem.
NOT_SHOWN = {"name", "probed", "remote", "finish_every", "case_sensitive"}


def test_the_page_says_what_the_limits_say() -> None:
    now = PAGE.read_text()
    assert page(now) == now, "run: make docs"


def test_a_store_is_one_line_and_a_changed_limit_another_table(monkeypatch: pytest.MonkeyPatch) -> None:
    before = table().splitlines()
    other = replace(SEAWEEDFS_LIMITS, part_copy="none", max_parts=77_000)
    monkeypatch.setattr(limits_docs, "STORES", (*STORES, ("other", other)))
    after = table().splitlines()
    assert [line.rpartition(" | ")[0] + " |" for line in after if "---" not in line] == [
        line for line in before if "---" not in line
    ]
    assert next(line for line in after if line.startswith("| most parts |")).endswith(" | 77,000 |")
    assert next(line for line in after if line.startswith("| delta")).endswith("| no |")
    assert page(PAGE.read_text()) != PAGE.read_text()


class Watched:
    """Limits that tell which of them were looked at."""

    def __init__(self, limits: Limits, seen: set[str]) -> None:
        self._limits, self._seen = limits, seen

    def __getattr__(self, name: str) -> Any:
        self._seen.add(name)
        return getattr(self._limits, name)


def test_no_limit_is_left_out() -> None:
    seen: set[str] = set()
    for _, word in limits_docs._ROWS:
        for _, limits in STORES:
            word(Watched(limits, seen))  # type: ignore[arg-type]
    assert {f.name for f in fields(Limits)} - NOT_SHOWN <= seen


@pytest.mark.parametrize(
    ("n", "text"),
    [(5 << 20, "5 MiB"), (4000 << 20, "4000 MiB"), (5 << 40, "5 TiB"), (2**63 - 1, "none"), (10**13, "9,313.2 GiB")],
)
def test_sizes_are_those_of_the_limits(n: int, text: str) -> None:
    assert size(n) == text


def test_a_page_without_a_place_for_the_table_is_not_written_over() -> None:
    for text in ("", BEGIN, END):
        with pytest.raises(ValueError, match="no place"):
            page(text)
