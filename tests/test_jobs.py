"""Jobs that exist, as ``hugesync jobs`` and ``status`` tell of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import servers
from hugesync_producer.jobfolder import DestinationLock, JobFolder
from hugesync_producer.jobs import cancel, list_jobs, resume, status
from hugesync_tasks.config import Settings, load
from hugesync_tasks.errors import UsageError
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.summary import State, Unobserved
from hugesync_tasks.uri import lock_name
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
    lock = DestinationLock(settings.state_dir, lock_name(spec.dest))
    lock.take(spec.job)
    try:
        (line,) = list_jobs(settings)
        assert (line.state, line.resumable) == (State.RUNNING, False)
        assert status("job1", settings)["resumable"] is False
    finally:
        lock.release()


def test_a_killed_job_whose_destination_another_job_writes_to_is_interrupted(settings: Settings) -> None:
    lock = DestinationLock(settings.state_dir, lock_name(left_running(settings).dest))
    lock.take("another")
    (line,) = list_jobs(settings)
    assert (line.state, line.resumable) == (State.INTERRUPTED, True)
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


def test_what_has_ended_or_never_began_is_told_in_words_and_the_latter_is_no_history(settings: Settings) -> None:
    left_running(settings)
    folder = JobFolder(settings.state_dir, "job1")
    folder.open()
    folder.save(state="done_with_errors")
    for command in (lambda: resume("job1", settings, Unobserved()), lambda: cancel("job1", settings)):
        with pytest.raises(UsageError, match="job job1 is done, with errors: there is nothing to"):
            command()
    assert [line.job_id for line in list_jobs(settings)] == ["job1"]
    folder.save(state="usage")
    assert list_jobs(settings) == []


def test_a_job_of_a_fleet_that_has_ended_cannot_be_cancelled(settings: Settings, valkey: servers.ValkeyServer) -> None:
    settings = settings.model_copy(update={"broker_url": valkey.url})
    ledger = open_ledger(settings)
    spec = Spec("ended1", Location("file", local="/a"), Location("file", local="/b"))
    ledger.open_job(spec.job, json.dumps(spec.wire()))
    try:
        ledger.set_meta(spec.job, state="running")
        cancel(spec.job, settings)
        assert ledger.meta(spec.job)["cancel"] == "1"
        ledger.set_meta(spec.job, state="done", cancel="0")
        with pytest.raises(UsageError, match="job ended1 is done: there is nothing to cancel"):
            cancel(spec.job, settings)
        assert ledger.meta(spec.job)["cancel"] == "0"
    finally:
        ledger.forget_job(spec.job, history=False)
        ledger.close()


def test_a_state_folder_that_cannot_be_written_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "file").write_bytes(b"")
    hs = Submit(tmp_path / "home", {"HUGESYNC_STATE_DIR": os.fspath(tmp_path / "file" / "below")})
    ran = hs(tmp_path / "source", tmp_path / "dest")
    assert ran.code == 2
    assert "HUGESYNC_STATE_DIR" in ran.err
