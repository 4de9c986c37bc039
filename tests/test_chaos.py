"""``make chaos`` as a part of ``make test-full``: ten minutes of it. ``tests/mayhem.py`` says what a round is and how it is judged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scale import scaled

MAYHEM = Path(__file__).parent / "mayhem.py"
FIRST = os.environ.get("SEED", "1")


@pytest.mark.full
def test_real_jobs_that_are_struck_at_random_end_well() -> None:
    command = [sys.executable, MAYHEM, "--seconds", str(scaled(600, 30)), "--first", FIRST]
    paths = [str(MAYHEM.parents[1] / part) for part in ("", "producer", "worker", "tests")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-4000:]
    assert '"strikes"' in ran.stdout, "no round was played"
