"""``hugesync pause``, ``resume``, ``watch`` and ``errors`` as commands: what they print, refuse and exit with."""

from __future__ import annotations

import io
import json
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import servers
from hugesync_producer import cli, cli_jobs, jobs, latest, watching
from hugesync_producer.jobfolder import DestinationLock, JobFolder
from hugesync_producer.jobs import list_jobs, resume, status
from hugesync_producer.pausing import goes_on, pause
from hugesync_producer.progress_many import Board, Row, observers_for
from hugesync_producer.report import to_json
from hugesync_producer.window import Counters
from hugesync_tasks.caps import Caps
from hugesync_tasks.config import Settings, load
from hugesync_tasks.errors import Refused, Unreachable, UsageError
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.summary import Failure, FailureClass, Snapshot, State, Summary, Unobserved
from hugesync_tasks.uri import lock_name
from test_jobs import left_running, settled


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"state_dir": str(tmp_path / "state")})


@pytest.fixture
def fleet(settings: Settings, valkey: servers.ValkeyServer) -> Iterator[tuple[Settings, Any]]:
    settings = settings.model_copy(update={"broker_url": valkey.url})
    ledger = open_ledger(settings)
    yield settings, ledger
    for job, _ in ledger.jobs():
        ledger.forget_job(job, history=False)
    ledger.close()


def running(ledger: Any, job: str) -> Spec:
    """A job of a fleet that somebody leads."""
    spec = Spec(job, Location("s3", bucket="a"), Location("s3", bucket="b"))
    ledger.open_job(job, json.dumps(spec.wire()))
    ledger.set_meta(job, state="running")
    ledger.lead(job, "me", 60_000)
    return spec


def ends(ledger: Any, job: str, state: State, **more: Any) -> None:
    told = to_json(Summary(state, job, files={"found": 1, "failed": 1}, **more))
    ledger.set_meta(job, state=str(state), summary=json.dumps(told))


def hugesync(*args: str) -> int:
    return cli.invoke(cli_jobs.hugesync_commands, "hugesync", list(args))


# pause and resume


def test_a_paused_job_says_so_wherever_it_is_shown(fleet: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings, ledger = fleet
    running(ledger, "p1")
    broker = ("--broker", settings.broker_url)
    assert hugesync("pause", "p1", *broker) == 0
    assert capsys.readouterr().out == "job p1 was told to pause\n"
    assert ledger.meta("p1")["pause"] == "1"
    assert hugesync("pause", "p1", "--json", *broker) == 0, "twice is no mistake"
    assert json.loads(capsys.readouterr().out) == {"job_id": "p1", "pause": True}
    (line,) = list_jobs(settings)
    assert (line.state, line.paused, line.resumable) == ("running", True, False)
    assert status("p1", settings)["paused"] is True
    assert latest.snapshot(status("p1", settings)).paused
    assert hugesync("jobs", *broker) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["p1", "paused"]
    assert hugesync("status", "p1", *broker) == 0
    assert "Paused: nothing is sent until hugesync resume p1" in capsys.readouterr().out


def test_resume_lets_a_paused_job_go_on_where_it_runs_and_follows_it(
    fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, ledger = fleet
    running(ledger, "p2")
    pause("p2", settings)
    monkeypatch.setattr(watching.time, "sleep", lambda s: ends(ledger, "p2", State.DONE_WITH_ERRORS))
    notices: list[str] = []

    class Watching(Unobserved):
        def on_notice(self, message: str) -> None:
            notices.append(message)

    summary = resume("p2", settings, Watching())
    assert (summary.state, ledger.meta("p2")["pause"]) == ("done_with_errors", "0")
    assert notices == ["job p2 goes on in the process that runs it, which is followed here"]


def test_only_a_running_job_can_be_paused(fleet: Any) -> None:
    settings, ledger = fleet
    running(ledger, "p3")
    ends(ledger, "p3", State.INTERRUPTED)
    with pytest.raises(UsageError, match="job p3 is interrupted: there is nothing to pause"):
        pause("p3", settings)
    running(ledger, "p4")
    ledger.cancel("p4")
    with pytest.raises(UsageError, match="job p4 was told to stop: there is nothing to pause"):
        pause("p4", settings)
    with pytest.raises(UsageError, match="no job p5 in this fleet"):
        pause("p5", settings)
    assert not goes_on("p4", settings)


def test_a_paused_job_that_nobody_coordinates_is_for_whoever_takes_it_up(fleet: Any) -> None:
    settings, ledger = fleet
    running(ledger, "p6")
    ledger.step_down("p6", "me")
    pause("p6", settings)
    assert ledger.meta("p6")["pause"] == "1"
    assert not goes_on("p6", settings), "a resume runs it here"


def test_a_job_of_this_machine_is_paused_by_its_own_server_and_only_while_it_lives(
    settings: Settings, valkey: servers.ValkeyServer
) -> None:
    spec = left_running(settings)
    with pytest.raises(UsageError, match="nothing to pause"):
        pause(spec.job, settings)
    folder = JobFolder(settings.state_dir, spec.job)
    folder.open()
    folder.save(broker=valkey.url)
    lock = DestinationLock(settings.state_dir, lock_name(spec.dest))
    lock.take(spec.job)
    pause(spec.job, settings)
    assert [line.paused for line in list_jobs(settings)] == [True]
    assert status(spec.job, settings)["paused"] is True
    assert goes_on(spec.job, settings)
    assert [line.paused for line in list_jobs(settings)] == [False]
    pause(spec.job, settings)
    lock.release()
    assert not goes_on(spec.job, settings), "its run was killed: a resume begins another"
    assert [line.paused for line in list_jobs(settings)] == [False]
    folder.save(broker="unix:///nowhere/at/all")
    with pytest.raises(Refused, match=r"job job1 is not running any more \(its server does not answer\)"):
        pause(spec.job, settings)
    ledger = open_ledger(settings.model_copy(update={"broker_url": valkey.url}))
    ledger.forget_job(spec.job, history=False)
    ledger.close()


# errors


def test_errors_are_of_the_checkpoint_while_a_job_runs_and_of_its_end_later(
    fleet: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, ledger = fleet
    running(ledger, "e1")
    broker = ("--broker", settings.broker_url)
    counters: Counters = settled(1, "closed")
    wire = counters.wire()
    ledger.checkpoint("e1", "me", "k", json.dumps({**wire, "failures": []}), json.dumps(wire["failures"]))
    assert hugesync("errors", "e1", *broker) == 0
    assert capsys.readouterr().out.splitlines() == [
        "needs action   closed: permission denied",
        "1 failure (needs_person 1)",
    ]
    failures = tuple(Failure(f"f{i}", FailureClass.TRANSIENT, "no") for i in range(3))
    ends(ledger, "e1", State.DONE_WITH_ERRORS, failures=failures, failures_omitted=7)
    assert hugesync("errors", "e1", "--class", "transient", "--class", "conflict", "--json", *broker) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["failures"]) == 3
    assert (found["state"], found["failures_omitted"]) == ("done_with_errors", 7)
    assert hugesync("errors", "e1", "--class", "nonsense", *broker) == 2
    assert "Did you mean" not in capsys.readouterr().err
    assert hugesync("errors", "e1", "--class", "transeint", *broker) == 2
    assert "Did you mean 'transient'?" in capsys.readouterr().err


# watch, several


def test_several_jobs_are_watched_at_once_and_the_highest_code_is_the_commands(
    fleet: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, ledger = fleet
    for job in ("w1", "w2"):
        running(ledger, job)
    total = settled(5, "closed")
    told = Snapshot(total.tally.files, total.tally.bytes, 57, True, 12.5, waiting_for="no worker is there")
    ledger.tell("w1", json.dumps(latest.wire(told, total, {}, Caps())))
    ends(ledger, "w2", State.STALLED)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            ends(ledger, "w1", State.DONE_WITH_ERRORS)

    monkeypatch.setattr(watching.time, "sleep", sleep)
    broker = ("--broker", settings.broker_url)
    assert hugesync("watch", "w1", "w2", "w1", "--json", *broker) == 5
    out, err = capsys.readouterr()
    found = json.loads(out)["jobs"]
    assert [(job["job_id"], job["state"]) for job in found] == [("w1", "done_with_errors"), ("w2", "stalled")]
    lines = err.splitlines()
    assert "waiting: no worker is there" in lines[0]
    assert lines[0].startswith("hugesync: w1: 6 of 6 files (100 %)")
    assert lines[1] == "hugesync: w2: the job has ended: stalled"
    assert lines[-1] == "hugesync: w1: the job has ended: done, with errors"
    assert len(slept) == 2

    assert hugesync("watch", "w1", "w2", "-q", *broker) == 5
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("job w") == 2


def test_a_job_that_nobody_knows_is_said_before_any_is_followed(fleet: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings, ledger = fleet
    running(ledger, "w3")
    assert hugesync("watch", "w3", "nobody", "--broker", settings.broker_url) == 2
    assert "no job nobody in this fleet" in capsys.readouterr().err
    assert hugesync("watch", "--broker", settings.broker_url) == 2
    assert hugesync("watch", "w3", "w3b", "--events", "/dev/null", "--broker", settings.broker_url) == 2
    assert "--events is of one job" in capsys.readouterr().err


def test_a_ledger_that_comes_back_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    answers: Iterator[Callable[[], dict[str, Any]]] = iter(
        [
            lambda: {
                **to_json(Summary(State.RUNNING, "j")),
                "resumable": False,
                "as_of": latest.AsOf(1.0, False).to_json(),
            },
            lambda: (_ for _ in ()).throw(Unreachable("away")),
            lambda: {**to_json(Summary(State.DONE, "j")), "resumable": False},
        ]
    )
    clock = types.SimpleNamespace(sleep=lambda s: None, monotonic=lambda: 0.0)
    monkeypatch.setattr(watching, "time", clock)
    monkeypatch.setattr(watching, "status", lambda *_: next(answers)())
    notices: list[str] = []

    class Watching(Unobserved):
        def on_notice(self, message: str) -> None:
            notices.append(message)

    assert jobs.watch("j", settings, Watching()).state == "done"
    assert notices == ["waiting for the ledger: away"]


def test_a_terminal_shows_a_block_for_each_job_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    stream = io.StringIO()
    board = Board(Console(file=stream, force_terminal=True, width=100, color_system=None), "hugesync")
    one, two = Row(board, "job1"), Row(board, "job2")
    one.on_progress(Snapshot({"found": 4, "done": 1, "pending": 3}, {}, scan_complete=True))
    two.on_progress(Snapshot({"found": 8, "done": 4, "pending": 4}, {}, scan_complete=True, paused=True))
    shown = stream.getvalue()
    assert "1 of 4 files (25 %)" in shown
    assert "4 of 8 files (50 %)" in shown
    assert "paused: nothing is sent" in shown
    one.ended()
    one.on_notice("it is over")
    at = len(stream.getvalue())
    two.on_progress(Snapshot({"found": 8, "done": 5, "pending": 3}, {}, scan_complete=True))
    board.close()
    assert "job1" not in stream.getvalue()[at:]
    assert "hugesync: job1: it is over" in stream.getvalue()
    monkeypatch.setenv("TERM", "dumb")
    rows, close = observers_for(io.StringIO(), True, False, "hugesync", ["a"])
    close()
    assert not isinstance(rows["a"], Row)
