"""The compiled loop of the delta engine where its cache can be written, and where nothing can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from submit import ROOT, as_ordinary_user

_SLIDE = """
import os
from hugesync_tasks.delta.slide import Slider
window = 65536
slider = Slider(bytes(36), 1, window)
slider.room(5)[:] = bytes(5 + window)
print(list(slider.look(5)[0]))
"""


_WARM = "from hugesync_tasks.delta.slide import warm; warm()"


def slide(package: Path, home: str, what: str = _SLIDE, **more: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package), "HOME": home, "PYTHONDONTWRITEBYTECODE": "1", **more}
    command = [*as_ordinary_user(), sys.executable, "-c", what]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, cwd=package)


def copied(folder: Path) -> Path:
    """A copy of the package without any cache, which its owner alone may write."""
    package = folder / "package"
    if os.geteuid() == 0:  # the ordinary user must get there
        for parent in folder.parents[:2]:
            parent.chmod(parent.stat().st_mode | 0o055)
    shutil.copytree(ROOT / "hugesync_tasks", package / "hugesync_tasks", ignore=shutil.ignore_patterns("__pycache__"))
    folder.chmod(0o755)
    for path in (package, *package.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return package


def test_where_no_cache_can_be_written_each_process_compiles_for_itself(tmp_path: Path) -> None:
    package = copied(tmp_path)
    done = slide(package, "/nonexistent")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith("[")
    assert not list(package.rglob("*.nbi"))


def test_a_process_finds_what_another_has_compiled(tmp_path: Path) -> None:
    package, home = copied(tmp_path), tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    assert slide(package, str(home)).returncode == 0
    written = {p: p.stat().st_mtime_ns for p in home.rglob("*.nb*")}
    assert written
    assert slide(package, str(home)).returncode == 0
    assert {p: p.stat().st_mtime_ns for p in home.rglob("*.nb*")} == written


def test_where_nothing_else_can_be_written_a_named_folder_serves_all_processes(tmp_path: Path) -> None:
    package, named = copied(tmp_path), tmp_path / "named"
    named.mkdir()
    named.chmod(0o777)
    assert slide(package, "/nonexistent", NUMBA_CACHE_DIR=str(named / "numba")).returncode == 0
    written = {p: p.stat().st_mtime_ns for p in named.rglob("*.nb*")}
    assert written
    assert slide(package, "/nonexistent", NUMBA_CACHE_DIR=str(named / "numba")).returncode == 0
    assert {p: p.stat().st_mtime_ns for p in named.rglob("*.nb*")} == written
    worker = (ROOT / "docker/compose.yaml").read_text().partition("  worker:")[2].partition("  flower:")[0]
    assert "read_only: true" in worker
    assert "NUMBA_CACHE_DIR: /tmp/" in worker
    assert "tmpfs: [/tmp]" in worker


def test_what_an_image_compiles_as_it_is_built_is_all_that_sliding_needs(tmp_path: Path) -> None:
    package, home = copied(tmp_path), tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    assert slide(package, str(home), _WARM).returncode == 0
    written = {p: p.stat().st_mtime_ns for p in home.rglob("*.nb*")}
    assert written
    assert slide(package, str(home)).returncode == 0
    assert {p: p.stat().st_mtime_ns for p in home.rglob("*.nb*")} == written
