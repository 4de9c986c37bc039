"""Hostile bytes for the readers of our formats, found by coverage: ``make fuzz`` for longer."""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from scale import scaled

FUZZER = Path(__file__).parent / "fuzz_formats.py"


@pytest.mark.full
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this machine")
@pytest.mark.parametrize("format", ["hssig", "hsdelta", "intent"])
def test_nothing_but_the_formats_own_error_comes_of_any_bytes(format: str, tmp_path: Path) -> None:
    own = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    )  # MiB; the greatest size outlives the exec, and counts as the fuzzer's
    limits = (f"-max_total_time={scaled(120, 10)}", f"-rss_limit_mb={2048 + own}")
    command = [sys.executable, FUZZER, format, *limits, "-print_final_stats=1"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    (executed,) = [int(line.split()[1]) for line in ran.stderr.splitlines() if "number_of_executed_units" in line]
    assert executed > 1000
