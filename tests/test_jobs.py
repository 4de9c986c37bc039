"""Jobs that exist, as ``hugesync jobs`` and ``status`` tell of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hugesync_producer.jobfolder import DestinationLock, JobFolder
from hugesync_producer.jobs import list_jobs, resume, status
from hugesync_tasks.config import Settings, load
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.summary import State, Unobserved
from submit import Submit


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"state_dir": str(tmp_path / "state")})


def left_running(settings: Settings) -> Spec:
    spec = Spec("job1", Location("file", local="/a"), Location("file", local="/b"))
    folder = JobFolder(settings.state_dir, spec.job)
    folder.open()
    folder.save(job=spec.job, spec=spec.wire(), state="running", started=1.0)
    return spec


def test_a_job_whose_run_was_killed_is_interrupted_and_can_be_resumed(settings: Settings) -> None:
    left_running(settings)
    (line,) = list_jobs(settings)
    assert (line.state, line.resumable) == (State.INTERRUPTED, True)
    assert status("job1", settings)["resumable"] is True


def test_a_job_that_is_being_run_is_running_and_needs_nobody_to_resume_it(settings: Settings) -> None:
    spec = left_running(settings)
    lock = DestinationLock(settings.state_dir, spec.dest.display())
    lock.take(spec.job)
    try:
        (line,) = list_jobs(settings)
        assert (line.state, line.resumable) == (State.RUNNING, False)
        assert status("job1", settings)["resumable"] is False
    finally:
        lock.release()


def test_a_job_nobody_knows_and_one_that_is_done_are_usage_errors(settings: Settings) -> None:
    with pytest.raises(UsageError, match="no job nobody"):
        status("nobody", settings)
    left_running(settings)
    folder = JobFolder(settings.state_dir, "job1")
    folder.open()
    folder.save(state="done")
    with pytest.raises(UsageError, match="nothing to resume"):
        resume("job1", settings, Unobserved())


def test_a_state_folder_that_cannot_be_written_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "file").write_bytes(b"")
    hs = Submit(tmp_path / "home", {"HUGESYNC_STATE_DIR": os.fspath(tmp_path / "file" / "below")})
    ran = hs(tmp_path / "source", tmp_path / "dest")
    assert ran.code == 2
    assert "HUGESYNC_STATE_DIR" in ran.err
