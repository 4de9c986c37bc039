"""The runtime folder of an embedded job: private, short, locked while its maker lives, and swept when that was killed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hugesync_producer import runtimefolder
from hugesync_producer.runtimefolder import RuntimeFolder, sweep_runtime_folders
from hugesync_tasks.errors import Unreachable

MAKER = """
import sys
from pathlib import Path
from hugesync_producer.runtimefolder import RuntimeFolder
folder = RuntimeFolder(Path(sys.argv[1]))
(folder.temporary / "pymp-x").mkdir()
folder.socket.touch()
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def base(server_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private folder with a short name, also the one for temporary files."""
    made = Path(tempfile.mkdtemp(prefix="r", dir=server_dir))
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    yield made


def test_it_is_private_and_goes_with_everything_in_it(base: Path) -> None:
    folder = RuntimeFolder(base)
    assert folder.path.parent == base
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert len(os.fsencode(folder.socket)) <= 100
    (folder.temporary / "pymp-x").mkdir()
    folder.socket.touch()
    folder.close()
    folder.close()
    assert os.listdir(base) == []


def test_a_living_jobs_folder_is_never_swept(base: Path) -> None:
    folders = [RuntimeFolder(base), RuntimeFolder(base)]
    sweep_runtime_folders(base)
    assert all(f.temporary.is_dir() for f in folders)
    folders[0].close()
    sweep_runtime_folders(base)
    assert os.listdir(base) == [folders[1].path.name]
    folders[1].close()


def test_a_killed_jobs_folder_is_swept_by_the_next(base: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-c", MAKER, str(base)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as maker:
        assert maker.stdout is not None
        left = Path(maker.stdout.readline().strip())
        sweep_runtime_folders(base)
        assert sorted(os.listdir(left)) == ["redis.sock", "tmp"]
        maker.kill()
        maker.wait()
        sweep_runtime_folders(None)  # from a session without a runtime folder: it lies in the one for temporary files
    assert os.listdir(base) == []


def test_nothing_else_is_swept(base: Path) -> None:
    for name in ("hugesync-abcdefg1", "hugesync-mydata", "hugesync-shared12", "other", "hugesync-abcdefg3"):
        (base / name).mkdir(mode=0o700)
    (base / "hugesync-abcdefg1" / "users-own").touch()
    (base / "hugesync-shared12").chmod(0o755)
    (base / "hugesync-abcdefg2").symlink_to(base / "other")
    (base / "hugesync-abcdefg4").touch()
    sweep_runtime_folders(base)
    assert sorted(os.listdir(base)) == [
        "hugesync-abcdefg1", "hugesync-abcdefg2", "hugesync-abcdefg4", "hugesync-mydata", "hugesync-shared12", "other",
    ]  # fmt: skip


def test_a_sweep_between_making_and_locking_costs_only_another_try(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each step: before the folder is opened, before it is locked, and after that, when a sweep must not take it."""
    mkdtemp, flock = tempfile.mkdtemp, runtimefolder.fcntl.flock
    swept: list[str] = []

    def sweep_once(when: str) -> None:
        if when not in swept:
            swept.append(when)
            with monkeypatch.context() as plain:
                plain.setattr(runtimefolder.fcntl, "flock", flock)
                sweep_runtime_folders(base)

    def made(**how: str) -> str:
        folder = mkdtemp(**how)
        sweep_once("made")
        return folder

    def locked(fd: int, how: int) -> None:
        sweep_once("opened")
        flock(fd, how)
        sweep_once("locked")

    monkeypatch.setattr(runtimefolder.tempfile, "mkdtemp", made)
    monkeypatch.setattr(runtimefolder.fcntl, "flock", locked)
    folder = RuntimeFolder(base)
    assert swept == ["made", "opened", "locked"]
    assert folder.temporary.is_dir()
    assert os.listdir(base) == [folder.path.name]
    folder.close()


def test_it_lies_in_the_runtime_folder_if_that_is_ours_alone_else_among_the_temporary_files(
    base: Path, server_dir: Path
) -> None:
    runtime = base / "run"
    runtime.mkdir(mode=0o700)
    folder = RuntimeFolder(runtime)
    assert folder.path.parent == runtime
    folder.close()
    long = base / ("x" * 90)
    long.mkdir(mode=0o700)
    shared = base / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    linked = base / "linked"
    linked.symlink_to(runtime)
    for unfit in (long, shared, linked, base / "absent"):
        folder = RuntimeFolder(unfit)
        assert folder.path.parent == base
        folder.close()


def test_where_no_place_will_do_it_says_what_to_set(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: str) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runtimefolder.tempfile, "mkdtemp", full)
    with pytest.raises(Unreachable, match="XDG_RUNTIME_DIR or TMPDIR"):
        RuntimeFolder(base)
