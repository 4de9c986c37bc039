"""The destination's disk fails at any one write, close or fsync of a job: the file is listed as failed, what stood there stands
(or the whole new one), no temporary is left, and the same job run again makes everything."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows import FLOWS
from hugesync_tasks.summary import Summary
from matrix import Matrix, Strike, temporary_root
from scale import factor
from simulated import one_core

MOST = 10_000 if factor() >= 1 else 12  # faults of each kind and job at reduced scale
KINDS = ("download", "download in parts", "delta download", "delta download in place", "local copy")


class Disk:
    """Fails the ``n``-th call of ``name`` on a regular file, or on a folder, below ``root``."""

    def __init__(self, root: Path, name: str, code: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.name, self.code, self.left = str(root), name, code, n
        self.calls = 0
        real: Callable[..., Any] = getattr(os, name)

        def call(fd: int, *args: Any) -> Any:
            if not self.below(fd):
                return real(fd, *args)
            self.calls += 1
            if self.calls != n:
                return real(fd, *args)
            if name == "close":
                real(fd)  # as on Linux: it is closed, whatever it says
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, name, call)

    def below(self, fd: int) -> bool:
        try:
            path = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            return False
        written = self.name != "close" or ".hugesync-" in path  # who only reads hears nothing of a full disk
        return path.startswith(self.root) and written


@contextmanager
def job(kind: str) -> Iterator[tuple[Matrix, pytest.MonkeyPatch]]:
    with temporary_root() as folder, pytest.MonkeyPatch.context() as monkeypatch, one_core():
        sim = Matrix(flow=replace(FLOWS[kind]), root=Path(folder), strike=Strike(0, ""))
        try:
            yield sim, monkeypatch
        finally:
            sim.close()


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="which file a descriptor is of is read in /proc")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pwrite", errno.ENOSPC),
        ("fsync", errno.EIO),
        ("fsync", errno.ENOSPC),
        ("fdatasync", errno.EIO),
        ("close", errno.ENOSPC),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fails_once_fails_a_file_and_never_shows_half_of_it(kind: str, name: str, code: int) -> None:
    with job(kind) as (sim, monkeypatch):
        disk = Disk(sim.root / "dest", name, code, 0, monkeypatch)
        sim.play(monkeypatch)
        calls = disk.calls
    assert calls or name in ("close", "fdatasync"), "not every job of these does that"
    seen = 0
    for n in range(1, calls + 1, max(1, calls // MOST)):
        with job(kind) as (sim, monkeypatch):
            before = contents(sim.root / "dest")
            with monkeypatch.context() as patch:
                Disk(sim.root / "dest", name, code, n, patch)
                summary = sim.play(monkeypatch)
            seen += bool(summary.failures)
            judge(sim, summary, before, f"{kind}: {name} {n} of {calls}")
            if summary.failures:
                sim.settle_down()
                sim.check(sim.play(monkeypatch))
    assert seen or not calls, "no fault was ever felt"


def judge(sim: Matrix, summary: Summary, before: dict[str, bytes], what: str) -> None:
    assert summary.falsehood() == "", what
    failed = {failure.path for failure in summary.failures}
    there = contents(sim.root / "dest")
    assert [key for key in there if ".hugesync" in key] == [], f"{what}: a temporary was left"
    for key, wanted in sim.flow.wanted.items():
        whole = [wanted, *([before[key]] if key in before else [])]
        if key not in failed:
            assert there.get(key) == wanted, f"{what}: {key} is called done and is not"
        elif key in there and not sim.spec.options.inplace:  # in place a file is half new until it is made again
            assert there[key] in whole, f"{what}: {key} is half written"
