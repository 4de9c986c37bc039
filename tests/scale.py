"""The one place where tests read the factor by which ``make test`` reduces the issues' numbers and sizes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest


def factor() -> float:
    """``HUGESYNC_TEST_SCALE``: 1 is the issues' full size, 0.05 the default of ``make test``."""
    return float(os.environ.get("HUGESYNC_TEST_SCALE") or "0.05")


def scaled(n: int, least: int = 1) -> int:
    """``n`` of the issue at today's factor, but never so little that the test would show nothing."""
    return max(least, round(n * factor()))


def mostly_full(cases: Iterable[Any], always: int) -> list[Any]:
    """Cases for ``parametrize``: the first ``always`` run each time, those behind them in ``make test-full``."""
    full = pytest.mark.full
    return [
        c if n < always else pytest.param(*c, marks=full) if isinstance(c, tuple) else pytest.param(c, marks=full)
        for n, c in enumerate(cases)
    ]
