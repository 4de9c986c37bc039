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


def slide(
    package: Path, home: str, what: str = _SLIDE, *, before: tuple[str, ...] = (), **more: str
) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package), "HOME": home, "PYTHONDONTWRITEBYTECODE": "1", **more}
    command = [*as_ordinary_user(), *before, sys.executable, "-c", what]
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


def test_what_the_image_has_compiled_serves_a_container_where_nothing_of_it_can_be_written(tmp_path: Path) -> None:
    """docker/entrypoint; what it calls is all of the code, and not written anew."""
    package, opt, tmp = copied(tmp_path), tmp_path / "opt", tmp_path / "tmp"
    for folder in (opt / "bin", opt / "numba", tmp):
        folder.mkdir(parents=True)
    (opt / "numba").chmod(0o777)
    tmp.chmod(0o1777)
    assert slide(package, "/nonexistent", _WARM, NUMBA_CACHE_DIR=str(opt / "numba")).returncode == 0
    (opt / "numba").chmod(0o555)
    shutil.copy(ROOT / "docker/entrypoint", opt / "bin")
    done = slide(package, "/nonexistent", before=(str(opt / "bin/entrypoint"),), TMPDIR=str(tmp))
    assert done.returncode == 0, done.stderr
    built = {path.relative_to(opt / "numba"): path.read_bytes() for path in (opt / "numba").rglob("*.nb*")}
    (copy,) = tmp.iterdir()
    assert built
    assert {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*.nb*")} == built


def test_what_an_image_compiles_as_it_is_built_is_all_that_sliding_needs(tmp_path: Path) -> None:
    package, home = copied(tmp_path), tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    assert slide(package, str(home), _WARM).returncode == 0
    written = {p: p.stat().st_mtime_ns for p in home.rglob("*.nb*")}
    assert written
    assert slide(package, str(home)).returncode == 0
    assert {p: p.stat().st_mtime_ns for p in home.rglob("*.nb*")} == written
