"""Jobs that exist, as ``hugesync jobs`` and ``status`` tell of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import servers
from hugesync_producer import jobs, latest, limiting
from hugesync_producer.checkpoint import Checkpoint
from hugesync_producer.jobfolder import DestinationLock, JobFolder
from hugesync_producer.jobs import cancel, list_jobs, resume, status, watch
from hugesync_producer.report import to_json
from hugesync_producer.window import Counters, Window
from hugesync_tasks.caps import Caps
from hugesync_tasks.config import Settings, load
from hugesync_tasks.errors import UsageError
from hugesync_tasks.model import Outcome
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.summary import Snapshot, State, Summary, Unobserved
from hugesync_tasks.uri import lock_name
from submit import Submit

MIB = 1 << 20


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


def test_jobs_of_single_files_of_one_folder_can_be_told_apart(settings: Settings) -> None:
    """Or nobody would know which of two images, copied each night, was interrupted. A link is shown by its own name."""
    here, there = Location("file", local="/images"), Location("s3", "backup", "images/")
    for name in ("vm1.img", "vm2.img", "link.rclonelink"):
        spec = Spec(f"job-{name}", here, there, f"kept-{name}", name)
        folder = JobFolder(settings.state_dir, spec.job)
        folder.open()
        folder.save(job=spec.job, spec=spec.wire(), state="done", started=1.0)

    assert {(line.source, line.dest) for line in list_jobs(settings)} == {
        ("/images/vm1.img", "s3://backup/images/kept-vm1.img"),
        ("/images/vm2.img", "s3://backup/images/kept-vm2.img"),
        ("/images/link", "s3://backup/images/kept-link"),
    }
    told = status("job-vm1.img", settings)
    assert (told["source"], told["dest"]) == ("/images/vm1.img", "s3://backup/images/kept-vm1.img")


def settled(segment_files: int, failed: str) -> Counters:
    """Counters of so many files that are done and one that failed."""
    counters = Counters()
    for _ in range(segment_files):
        counters.found("pending", 10)
        counters.settle("k", 10, Outcome("done"))
    counters.found("pending", 7)
    counters.settle(failed, 7, Outcome("failed", "needs_person", "permission denied"))
    return counters


def test_a_killed_job_stands_as_of_its_last_checkpoint_and_says_how_old_that_is(settings: Settings) -> None:
    left_running(settings)
    folder = JobFolder(settings.state_dir, "job1")
    folder.open()
    assert status("job1", settings)["as_of"]["seconds_ago"] is None
    window = Window("k", settled(3, "closed"))
    ledger = MemoryLedger()
    ledger.lead("job1", "me", 1000)
    Checkpoint(ledger, "job1", folder).write("me", window)
    assert status("job1", settings)["as_of"]["seconds_ago"] < 60
    checkpoint = folder.data["checkpoint"]
    checkpoint["counters"]["at"] -= 7200
    folder.save(checkpoint=checkpoint)
    found = status("job1", settings)
    assert found["as_of"]["checkpoint"] is True
    assert found["as_of"]["seconds_ago"] == pytest.approx(7200, abs=60)
    assert (found["files"]["done"], found["files"]["failed"]) == (3, 1)
    assert [f["path"] for f in found["failures"]] == ["closed"]
    assert Checkpoint(MemoryLedger(), "job1", folder).read() == ("k", window.base)


def test_a_running_job_of_a_fleet_stands_as_its_run_told(settings: Settings, valkey: servers.ValkeyServer) -> None:
    settings = settings.model_copy(update={"broker_url": valkey.url})
    ledger = open_ledger(settings)
    spec = Spec("told1", Location("file", local="/a"), Location("file", local="/b"))
    ledger.open_job(spec.job, json.dumps(spec.wire()))
    try:
        ledger.set_meta(spec.job, state="running")
        ledger.lead(spec.job, "me", 60_000)
        Checkpoint(ledger, spec.job, None).write("me", Window("k", settled(1, "closed")))
        assert status(spec.job, settings)["as_of"]["checkpoint"] is True
        total = settled(5, "closed")
        rows = (("large", 3 << 20, 40 << 20),)
        shot = Snapshot(total.tally.files, total.tally.bytes, 50, True, 12.5, rows, True, "no worker sees root 'a'")
        traffic = {"bytes.sent": 57, "requests.put": 6, "retries": 2, "throttled": 1}
        ledger.tell(spec.job, json.dumps(latest.wire(shot, total, traffic, Caps(5 * MIB, 7.0, 3, 2))))
        found = status(spec.job, settings)
        assert found["as_of"].pop("seconds_ago") < 10
        assert found["as_of"] == {
            "checkpoint": False,
            "in_flight": [{"path": "large", "moved": 3 << 20, "size": 40 << 20}],
            "waiting_for": "no worker sees root 'a'",
            "throttled": True,
            "bwlimit": 5 * MIB,
            "tpslimit": 7.0,
            "jobs": 3,
            "weight": 2,
        }
        assert (found["files"]["done"], found["bytes"]["sent"], found["requests"]["put"]) == (5, 57, 6)
        assert (found["retries"], found["elapsed_seconds"], found["transfers"]["full"]) == (2, 12.5, 5)
        assert len(found["failures"]) == 1
    finally:
        ledger.forget_job(spec.job, history=False)
        ledger.close()


def test_a_status_says_as_of_when_it_is_and_what_is_in_flight() -> None:
    shown = latest.AsOf(
        200.0, False, (("d/a\n", MIB, 2 * MIB),), "a worker", True, Caps(3 * MIB // 2, 2.5, 1, 4)
    ).to_json()
    assert list(latest.lines(shown)) == [
        "As of 3 minutes and 20 seconds ago",
        "Waiting: a worker",
        "Throttled: the store asks us to slow down",
        "Limited to 1.5 MiB/s (--bwlimit)",
        "Limited to 2.5/s (--tpslimit)",
        "At most 1 task in flight (--jobs)",
        "Weight 4 among jobs on the same workers (--weight)",
        "In flight:",
        r"  $'d/a\n': 1.0 MiB of 2.0 MiB",
    ]
    assert list(latest.lines(latest.AsOf(None, True).to_json())) == [
        "As of the last checkpoint, at an unknown time; traffic is not in it"
    ]


def test_a_limit_that_was_changed_while_a_job_ran_holds_when_it_is_resumed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed = []
    monkeypatch.setattr(jobs, "run_job", lambda spec, *_, **__: resumed.append(spec))
    left_running(settings)
    for kept in ({}, {"bwlimit": 7 * MIB, "weight": 3}, {"bwlimit": 0, "tpslimit": 2.5}):
        folder = JobFolder(settings.state_dir, "job1")
        folder.open()
        folder.save(**kept)
        resume("job1", settings, Unobserved())
    assert [Caps.of(spec.options) for spec in resumed] == [
        Caps(),
        Caps(7 * MIB, weight=3),
        Caps(tpslimit=2.5, weight=3),
    ]


def test_a_fleets_job_is_limited_in_the_ledger_while_it_runs(
    settings: Settings, valkey: servers.ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.model_copy(update={"broker_url": valkey.url})
    ledger = open_ledger(settings)
    spec = Spec("limited1", Location("file", local="/a"), Location("file", local="/b"))
    ledger.open_job(spec.job, json.dumps(spec.wire()))
    try:
        ledger.set_meta(spec.job, state="running", bwlimit="0")
        assert limiting.limit(spec.job, settings, {"bwlimit": str(3 * MIB)}) == Caps(3 * MIB)
        assert ledger.draw(spec.job, "a worker", MIB, False).rate == 3 * MIB
        ledger.set_meta(spec.job, state="interrupted")
        with pytest.raises(UsageError, match="nothing to limit"):
            limiting.limit(spec.job, settings, {})
        resumed = []
        monkeypatch.setattr(jobs, "placed", lambda spec, *_: spec)
        monkeypatch.setattr(jobs, "seen_here", lambda spec, _: spec)
        monkeypatch.setattr(jobs, "run_job", lambda spec, *_, **__: resumed.append(spec))
        resume(spec.job, settings, Unobserved())
        assert [spec.options.bwlimit for spec in resumed] == [3 * MIB]
        with pytest.raises(UsageError, match="no job nobody"):
            limiting.limit("nobody", settings, {})
    finally:
        ledger.forget_job(spec.job, history=False)
        ledger.close()


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


def test_a_running_job_that_nobody_coordinates_says_so_and_what_it_waits_for(
    settings: Settings, broker: servers.ValkeyServer
) -> None:
    settings = settings.model_copy(update={"broker_url": broker.url})
    ledger = open_ledger(settings)
    spec = Spec("alone1", Location("file", root="data", local="/srv/a"), Location("s3", bucket="b"))
    ledger.open_job(spec.job, json.dumps(spec.wire()))
    ledger.set_meta(spec.job, state="running", reason="the last one found no profile")
    found = status(spec.job, settings)
    assert (found["state"], found["resumable"]) == ("running", True)
    assert found["reason"] == "nobody coordinates it now; no worker has root data (/srv/a); workers: none; the last one found no profile"  # fmt: skip
    ledger.heartbeat("w", json.dumps({"roots": {"data": "/mnt/a"}, "queues": [], "slots": 1}), 20_000)
    assert "a worker is to take it up" in status(spec.job, settings)["reason"]
    ledger.lead(spec.job, "me", 60_000)
    found = status(spec.job, settings)
    assert (found["resumable"], "reason" in found) == (False, False)
    ledger.close()


def test_a_job_that_nobody_coordinates_is_cancelled_on_the_spot(
    settings: Settings, broker: servers.ValkeyServer
) -> None:
    settings = settings.model_copy(update={"broker_url": broker.url})
    ledger = open_ledger(settings)
    spec = Spec("alone2", Location("s3", bucket="a"), Location("s3", bucket="b"))
    ledger.open_job(spec.job, json.dumps(spec.wire()))
    ledger.set_meta(spec.job, state="running")
    ledger.offer(spec.job, "{}")
    ledger.announce(f"hs.any|{spec.job}", "{}")
    cancel(spec.job, settings)
    assert ledger.meta(spec.job)["state"] == "cancelled"
    assert ledger.leaderless() == ledger.announced() == {}
    summary = watch(spec.job, settings, Unobserved())
    assert (summary.state, summary.resumable) == (State.CANCELLED, True)
    assert summary.reason == "cancelled while nobody coordinated it"
    ledger.close()


def test_who_watches_sees_what_the_job_tells_and_then_how_it_ended(
    settings: Settings, broker: servers.ValkeyServer
) -> None:
    settings = settings.model_copy(update={"broker_url": broker.url})
    ledger = open_ledger(settings)
    spec = Spec("watched1", Location("s3", bucket="a"), Location("s3", bucket="b"))
    ledger.open_job(spec.job, json.dumps(spec.wire()))
    ledger.set_meta(spec.job, state="running")
    ledger.lead(spec.job, "me", 60_000)
    total = settled(5, "closed")
    rows = (("large", 3 << 20, 40 << 20),)
    told = Snapshot(total.tally.files, total.tally.bytes, 57, True, 12.5, rows, True, "no worker is there")
    ledger.tell(spec.job, json.dumps(latest.wire(told, total, {"bytes.sent": 57}, Caps())))
    seen: list[Snapshot] = []

    class Watching(Unobserved):
        def on_progress(self, snapshot: Snapshot) -> None:
            seen.append(snapshot)
            ended = to_json(Summary(State.DONE_WITH_ERRORS, spec.job, files={"found": 1, "failed": 1}))
            ledger.set_meta(spec.job, state="done_with_errors", summary=json.dumps(ended))

    summary = watch(spec.job, settings, Watching())

    (shot,) = seen
    assert (shot.files["done"], shot.moved_bytes, shot.in_flight) == (5, 57, rows)
    assert (shot.scan_complete, shot.elapsed, shot.throttled, shot.waiting_for) == (
        True,
        12.5,
        True,
        "no worker is there",
    )
    assert (summary.state, summary.files["failed"]) == (State.DONE_WITH_ERRORS, 1)
    ledger.close()
