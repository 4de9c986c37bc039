"""The loop of the delta engine is machine code in every process that slides, and no process has to keep it anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from submit import ROOT, as_ordinary_user

_SLIDE = """
import os, sys
from hugesync_tasks.delta.slide import Slider
window = 65536
slider = Slider(bytes(36), 1, window)
slider.room(5)[:] = bytes(5 + window)
print(list(slider.look(5)[0]))
"""


def test_a_process_that_may_write_nowhere_slides(tmp_path: Path) -> None:
    """As in a container whose file system cannot be written: no cache, no home, no folder for temporary files."""
    package = tmp_path / "package"
    if os.geteuid() == 0:  # the ordinary user must get there
        for parent in tmp_path.parents[:2]:
            parent.chmod(parent.stat().st_mode | 0o055)
    shutil.copytree(ROOT / "hugesync_tasks", package / "hugesync_tasks", ignore=shutil.ignore_patterns("__pycache__"))
    tmp_path.chmod(0o755)
    for path in (package, *package.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = set(package.rglob("*"))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package), "HOME": "/nonexistent", "TMPDIR": "/nonexistent"}
    command = [*as_ordinary_user(), sys.executable, "-c", _SLIDE]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, cwd=package)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith("[")
    assert set(package.rglob("*")) == before


def test_what_does_not_slide_loads_no_compiler() -> None:
    what = (
        "import sys, hugesync_tasks.tasks, hugesync_tasks.stages.match; print([m for m in sys.modules if 'llvm' in m])"
    )
    done = subprocess.run([sys.executable, "-c", what], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr
