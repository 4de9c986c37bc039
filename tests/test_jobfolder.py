"""The folder of an embedded job: always one whole state, private, and one run at a time per destination."""

from __future__ import annotations

import builtins
import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hugesync_producer import jobfolder
from hugesync_producer.checkpoint import Checkpoint, TakenOver
from hugesync_producer.jobfolder import CannotSave, DestinationLock, JobFolder, history, read_json
from hugesync_producer.window import Counters, Window
from hugesync_tasks.errors import Refused
from hugesync_tasks.model import Outcome
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.summary import state_of_error
from hugesync_tasks.uri import lock_name, parse_location


def opened(path: Path, job: str = "j1") -> JobFolder:
    folder = JobFolder(path, job)
    folder.open()
    return folder


def test_what_is_saved_is_read_by_the_next_run_and_nobody_else(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    folder.save(job="j1", state="running")
    folder.save(checkpoint={"key": "k"})
    assert JobFolder(tmp_path, "j1").open() == {"job": "j1", "state": "running", "checkpoint": {"key": "k"}}
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700


@pytest.mark.parametrize("dies_at", ["write", "fsync", "replace"])
def test_a_run_killed_while_it_saves_leaves_the_former_state_whole(
    tmp_path: Path, dies_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opened(tmp_path)
    folder.save(job="j1", state="running")

    class Killed(BaseException):
        pass

    def die(*args: object, **_: object) -> None:
        if dies_at == "write":
            args[1].write('{"job": ')  # type: ignore[attr-defined]
        raise Killed

    at = {"write": (jobfolder.json, "dump"), "fsync": (os, "fsync"), "replace": (os, "replace")}[dies_at]
    monkeypatch.setattr(*at, die)
    with pytest.raises(Killed):
        folder.save(state="done")
    monkeypatch.undo()
    again = opened(tmp_path)
    assert again.data == {"job": "j1", "state": "running"}
    again.save(state="done")
    assert opened(tmp_path).data["state"] == "done"


@pytest.mark.parametrize("fails_at", ["open", "write", "fsync", "replace"])
def test_a_state_that_cannot_be_saved_says_where_and_why_and_leaves_the_former_one(
    tmp_path: Path, fails_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opened(tmp_path)
    folder.save(job="j1", state="running")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    at = {
        "open": (builtins, "open"), "write": (jobfolder.json, "dump"), "fsync": (os, "fsync"), "replace": (os, "replace"),
    }[fails_at]  # fmt: skip
    monkeypatch.setattr(*at, full)
    with pytest.raises(CannotSave) as raised:
        folder.save(state="done")
    monkeypatch.undo()
    assert str(raised.value) == f"cannot write {folder.path}/job.json: No space left on device"
    assert state_of_error(raised.value).exit_code == 5
    assert os.listdir(folder.path) == ["job.json"]
    assert opened(tmp_path).data == {"job": "j1", "state": "running"}


def test_the_state_is_synced_before_it_takes_its_name_and_the_name_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, calls = opened(tmp_path), []
    fsync, replace = os.fsync, os.replace
    is_folder = lambda fd: stat.S_ISDIR(os.fstat(fd).st_mode)  # noqa: E731
    monkeypatch.setattr(
        os, "fsync", lambda fd: (calls.append("fsync of the folder" if is_folder(fd) else "fsync"), fsync(fd))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    folder.save(state="running")
    assert calls == ["fsync", "replace", "fsync of the folder"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', '{"job": "j1"'])
def test_a_damaged_state_is_as_none_and_the_job_starts_at_the_beginning(tmp_path: Path, text: str) -> None:
    folder = opened(tmp_path)
    (folder.path / "job.json").write_text(text)
    assert folder.read() == {}
    assert history(tmp_path) == []


def test_a_finished_job_keeps_its_history_only(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    folder.save(job="j1", state="done", started=5)
    (folder.path / "appendonlydir").mkdir()
    (folder.path / "appendonlydir" / "base.rdb").write_bytes(b"x")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (folder.path / "link").symlink_to(outside)
    folder.forget_work()
    assert os.listdir(folder.path) == ["job.json"]
    assert (outside / "kept").exists()
    opened(tmp_path, "j2").save(job="j2", started=9)
    assert [job["job"] for job in history(tmp_path)] == ["j2", "j1"]


def test_a_destination_has_one_run_and_the_second_learns_whose(tmp_path: Path) -> None:
    first, second, other = (DestinationLock(tmp_path, d) for d in ("/a", "/a", "/b"))
    first.take("job-one")
    other.take("job-three")
    with pytest.raises(Refused, match="job-one"):
        second.take("job-two")
    assert [lock.holder() for lock in (first, second, other)] == ["job-one", "job-one", "job-three"]
    first.release()
    assert first.holder() == ""
    second.take("job-two")
    assert first.holder() == "job-two"
    with pytest.raises(Refused, match="job-two"):
        first.take("job-one")
    for lock in (second, other):
        lock.release()


def test_who_only_looks_keeps_no_run_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``holder`` must lock to know that nobody does; a run that starts at that instant waits for it."""
    lock, run = (DestinationLock(tmp_path, "/a") for _ in range(2))
    lock.take("former")
    lock.release()
    looker = os.open(next((tmp_path / "locks").iterdir()), os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_EX)
    monkeypatch.setattr(jobfolder.time, "sleep", lambda _: fcntl.flock(looker, fcntl.LOCK_UN))
    run.take("next")
    assert lock.holder() == "next"
    run.release()
    os.close(looker)


def test_a_symlink_to_a_folder_is_no_second_destination(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    names = [lock_name(parse_location(str(p))) for p in (real, link, link / "new", real / "new", tmp_path / "other")]
    assert names[0] == names[1] != names[2] == names[3]
    assert names[4] == str(tmp_path / "other")
    one, two = parse_location("s3://bucket/x"), replace(parse_location("s3://bucket/x"), endpoint="http://other")
    assert lock_name(one) == lock_name(two) == "s3://bucket/x/"


def test_a_name_that_is_no_unicode_can_be_locked(tmp_path: Path) -> None:
    lock = DestinationLock(tmp_path, lock_name(parse_location(os.fsdecode(b"/a/\xff"))))
    lock.take("j")
    assert lock.holder() == "j"
    lock.release()


def test_a_killed_runs_lock_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from hugesync_producer.jobfolder import CannotSave, DestinationLock\n"
        "DestinationLock(pathlib.Path(sys.argv[1]), '/a').take('dead'); print('held', flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        lock = DestinationLock(tmp_path, "/a")
        with pytest.raises(Refused, match="dead"):
            lock.take("next")
        holder.kill()
        holder.wait()
        lock.take("next")
        lock.release()


# the checkpoint


def window() -> Window:
    counters = Counters()
    counters.found("pending", 5)
    counters.settle("a", 5, Outcome("done", verified=True))
    counters.found("pending", 6)
    counters.settle("b", 6, Outcome("failed", "transient", "no answer"))
    return Window("m", counters)


def test_a_checkpoint_lies_in_ledger_and_folder_and_either_is_enough(tmp_path: Path) -> None:
    folder, ledger = opened(tmp_path), MemoryLedger()
    assert ledger.lead("j1", "me", 1000)
    Checkpoint(ledger, "j1", folder).write("me", window())
    for where in ((ledger, None), (MemoryLedger(), opened(tmp_path)), (ledger, folder)):
        found = Checkpoint(where[0], "j1", where[1]).read()
        assert found is not None
        assert found == ("m", window().base)
    assert Checkpoint(MemoryLedger(), "j1", None).read() is None
    assert Checkpoint(MemoryLedger(), "j1", opened(tmp_path, "other")).read() is None


def test_who_lost_the_lease_writes_no_checkpoint_anywhere(tmp_path: Path) -> None:
    folder, ledger = opened(tmp_path), MemoryLedger()
    assert ledger.lead("j1", "another", 1000)
    with pytest.raises(TakenOver):
        Checkpoint(ledger, "j1", folder).write("me", window())
    assert ledger.read_checkpoint("j1") is None
    assert not read_json(folder.path / "job.json")


def test_a_checkpoint_is_plain_json(tmp_path: Path) -> None:
    folder, ledger = opened(tmp_path), MemoryLedger()
    ledger.lead("j1", "me", 1000)
    Checkpoint(ledger, "j1", folder).write("me", window())
    saved = json.loads((folder.path / "job.json").read_text())["checkpoint"]
    assert saved["key"] == "m"
    assert saved["counters"]["tally"]["files"]["done"] == 1
