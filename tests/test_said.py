"""What a command says, and where: on a terminal and in a pipe, with --json, --quiet and -i; and every refusal by its name."""

from __future__ import annotations

import ast
import json
import os
import re
import select
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import click
import pytest

from hugesync_producer import cli_request
from hugesync_producer.cli import submit_command
from hugesync_producer.cli_jobs import hugesync_commands
from test_cli import FakeLibrary, hugesync, library, only_object, submit
from test_readme import flat

__all__ = ["library"]  # the fixture

# A job that tells of everything that there is to be told, and takes its time.
JOB = """
import sys, types
from hugesync_producer.events import FileEvent
from hugesync_tasks.summary import Snapshot, State, Summary

def job(*a, observer, **k):
    observer.on_start("job1", True)
    for n in range(1, 4):
        counts = {"found": 3, "done": n, "pending": 3 - n}
        observer.on_progress(Snapshot(counts, counts, elapsed=20.0 * n))
        if hasattr(observer, "on_file"):
            observer.on_file(FileEvent(f"f{n}", "done", 1, changes=">f+++++++++"))
    observer.on_notice("mind the gap")
    return Summary(State.DONE, "job1", scan_complete=True, files={"found": 3, "done": 3}, bytes={"found": 3, "done": 3})

fake = types.ModuleType("hugesync_producer.sync")
fake.sync = job
sys.modules[fake.__name__] = fake
from hugesync_producer.cli import submit
sys.argv = ["hugesync-submit", *sys.argv[1:], "/src", "/dst"]
sys.exit(submit())
"""
ITEMS = [f">f+++++++++ f{n}" for n in (1, 2, 3)]


def environment(home: Path, term: str = "xterm") -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), "TERM": term}


def on_terminals(home: Path, *args: str, term: str = "xterm") -> tuple[str, str]:
    """stdout and stderr, each a terminal of its own."""
    out, theirs_out = os.openpty()
    err, theirs_err = os.openpty()
    command = [sys.executable, "-c", JOB, *args]
    process = subprocess.Popen(command, env=environment(home, term), stdout=theirs_out, stderr=theirs_err)
    os.close(theirs_out)
    os.close(theirs_err)
    said = {out: b"", err: b""}
    open_ones, end = {out, err}, time.monotonic() + 60
    while open_ones and time.monotonic() < end:
        for fd in select.select(list(open_ones), [], [], 1)[0]:
            data = b""
            with suppress(OSError):  # how Linux says that nobody has the other end open any more
                data = os.read(fd, 65536)
            said[fd] += data
            if not data:
                open_ones.discard(fd)
                os.close(fd)
    assert process.wait(30) == 0
    return said[out].decode(), said[err].decode()


def in_pipes(home: Path, *args: str) -> tuple[str, str]:
    command = [sys.executable, "-c", JOB, *args]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    return done.stdout, done.stderr


def test_a_terminal_shows_progress_that_redraws_itself_and_the_summary_stays(tmp_path: Path) -> None:
    out, err = on_terminals(tmp_path, "-P")
    assert "\x1b[" in err
    assert "2 of 3" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", err).replace("≥ ", "")
    assert "mind the gap" in err
    assert "\x1b" not in out
    assert out.startswith("done: 3 files done")


def test_a_dumb_terminal_and_a_pipe_get_plain_lines(tmp_path: Path) -> None:
    for out, err in (on_terminals(tmp_path, term="dumb"), in_pipes(tmp_path)):
        assert "\x1b" not in out + err
        assert sum("files" in line for line in err.splitlines()) == 3
        assert all(line.startswith("hugesync-submit: ") for line in err.splitlines())
        assert out.startswith("done: 3 files done")


def test_quiet_is_silent_on_a_terminal_too(tmp_path: Path) -> None:
    assert on_terminals(tmp_path, "-q") == ("", "")


def test_json_is_one_object_on_stdout_whatever_stderr_shows(tmp_path: Path) -> None:
    out, err = on_terminals(tmp_path, "--json")
    assert json.loads(out)["state"] == "done"
    assert out.count("\n") == 1
    assert "\x1b[" in err
    out, err = in_pipes(tmp_path, "--json", "--no-progress", "--log-format", "json")
    assert json.loads(out)["files"]["done"] == 3
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["job started", "notice", "ended"]


def test_itemized_lines_and_a_live_display_do_not_tear_each_other(tmp_path: Path) -> None:
    out, err = on_terminals(tmp_path, "-i")
    assert out.splitlines()[:3] == ITEMS
    assert "\x1b" not in out + err
    piped, err = in_pipes(tmp_path, "-i", "--no-progress")
    assert piped.splitlines()[:4] == [*ITEMS, "done: 3 files done, 0 B moved in 0 seconds (job job1)"]
    assert err.splitlines()[-1] == "hugesync-submit: mind the gap"


def test_itemized_lines_in_a_file_stay_there_while_the_terminal_is_redrawn(tmp_path: Path) -> None:
    err, theirs = os.openpty()
    with open(tmp_path / "out", "wb") as file:
        command = [sys.executable, "-c", JOB, "-i"]
        process = subprocess.Popen(command, env=environment(tmp_path), stdout=file, stderr=theirs)
        os.close(theirs)
        shown = b""
        with suppress(OSError):
            while data := os.read(err, 65536):
                shown += data
        os.close(err)
        assert process.wait(60) == 0
    assert (tmp_path / "out").read_text().splitlines()[:3] == ITEMS
    assert b"\x1b[" in shown
    assert b">f+++" not in shown


@pytest.mark.parametrize("command", ["resume", "watch", "verify"])
def test_the_commands_that_follow_a_job_say_what_submit_says(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str], command: str, tmp_path: Path
) -> None:
    args = [command, *(["/a", "/b"] if command == "verify" else ["job1"])]
    events = tmp_path / "events"
    assert hugesync(*args) == 0
    out, err = capsys.readouterr()
    assert (len(out.splitlines()) > 1, err) == (True, "")
    assert hugesync(*args, "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert hugesync(*args, "--json", "--events", str(events)) == 0
    out, err = capsys.readouterr()
    assert (only_object(out)["job_id"], err) == ("job1", "")
    assert [json.loads(line)["event"] for line in events.read_text().splitlines()] == ["begin", "ended"]
    assert hugesync(*args, "--json", "--log-format", "json") == 0
    out, err = capsys.readouterr()
    assert json.loads(err.splitlines()[-1])["event"] == "ended"


@pytest.mark.parametrize("args", [["jobs"], ["status", "job1"], ["cancel", "job1"], ["config"], ["providers"]])
def test_what_only_asks_prints_text_or_one_object_and_nothing_on_stderr(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    assert hugesync(*args) == 0
    out, err = capsys.readouterr()
    assert out
    assert not out.startswith("{")
    assert err == ""
    assert hugesync(*args, "--json") == 0
    out, err = capsys.readouterr()
    assert only_object(out)
    assert err == ""


# --- refusals ---------------------------------------------------------------------------------------------------------

VALUES = {
    "events": "e",
    "log_file": "l",
    "backup_dir": "old",
    "on_conflict": "skip",
    "files_from": "names",
    "files_from0": "names",
    "exposed": "9464",
}


def typed(name: str) -> list[str]:
    """The option of submit's parameter ``name``, given."""
    (param,) = (p for p in submit_command.params if p.name == name)
    assert isinstance(param, click.Option)
    return [max(param.opts, key=len), *([] if param.is_flag else [VALUES[name]])]


@pytest.mark.parametrize(("one", "other"), cli_request._CONTRADICTIONS)
def test_each_two_that_contradict_each_other_are_refused_by_both_names(
    library: FakeLibrary,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    one: str,
    other: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # --events and --log-file are written even so
    fleet = ["--broker", "redis://h"] if "detach" in (one, other) else []
    assert submit(*typed(one), *typed(other), *fleet, "/a", "/b") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{typed(one)[0]} and {typed(other)[0]} contradict each other" in err
    assert err.count("\n") == 1
    assert library.calls == []


REFUSED: list[tuple[list[str], str]] = [
    (
        ["--conflict-retries", "2", "--on-conflict", "skip"],
        "--conflict-retries is of --on-conflict retry and keep-both",
    ),
    (["--conflict-retries", "2", "--fail-on-conflict"], "--conflict-retries is of --on-conflict retry and keep-both"),
    (["-W", "--signature-missing", "full"], "--signature-missing is of sending what changed"),
    (["--estimate"], "--estimate is of a dry run: give -n too"),
    (["--preflight", "-n"], "--preflight writes at DEST to measure it, and a dry run does not"),
    (["--delete-excluded"], "--delete-excluded is of --delete: give that too"),
    (["--verify", "transferred", "-n"], "--verify transferred reads back what was sent, and a dry run sends nothing"),
    (["--on-conflict", "keep-both", "--unsafe-no-conflict-check"], "no conflict is seen"),
    (["-g"], "-o and -g go together"),
    (["-i", "--json"], "-i prints lines on stdout"),
    (["--detach"], "--detach needs a fleet that goes on with the job: give --broker URL"),
    (["--min-size", "2K", "--max-size", "1K"], "--min-size 2K is more than --max-size 1K"),
    (["--backup-dir", "../old"], "--backup-dir ../old: give a folder by its path below DEST"),
    (["--backup-dir", ".hugesync-x"], "--backup-dir .hugesync-x: reserved name"),
    (["--memory", "1GiB", "--broker", "redis://h"], "with a broker --memory is each worker's own"),
    (["--sidecar-prefix", "sig"], "--sidecar-prefix sig: write a prefix below DEST that ends in /"),
    (["--sidecar-prefix", "/sig/"], "--sidecar-prefix /sig/: write a prefix below DEST that ends in /"),
    (["--exclude-from", "-", "--include-from", "-"], "two options read standard input (-), and there is only one"),
    (["--exclude-from", "/none"], "cannot read the patterns in /none: No such file or directory"),
    (["--delta-threshold", "some"], "--delta-threshold: "),
    (["--max-duration", "soon"], "--max-duration: 'soon' is not a duration"),
]


@pytest.mark.parametrize(("args", "said"), REFUSED, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_each_refusal_is_one_sentence_that_says_what_to_do(
    library: FakeLibrary,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    said: str,
) -> None:
    monkeypatch.setattr("sys.stdin", open(os.devnull))
    assert submit(*args, "/a", "/b") == 2
    out, err = capsys.readouterr()
    assert (only_object(out)["state"] == "usage") if "--json" in args else out == ""
    assert said in err
    assert err.count("\n") == 1
    assert library.calls == []


def test_no_refusal_of_the_request_is_forgotten_here() -> None:
    """Each ``raise UsageError`` of cli_request has a part of its text in a test of this file or of test_cli."""
    here = Path(__file__).read_text() + (Path(__file__).parent / "test_cli.py").read_text()
    tree = ast.parse(Path(cli_request.__file__).read_text())
    raised = [n.exc for n in ast.walk(tree) if isinstance(n, ast.Raise) and isinstance(n.exc, ast.Call)]
    texts = [[c.value for a in call.args for c in ast.walk(a) if isinstance(c, ast.Constant) and isinstance(c.value, str)]
             for call in raised]  # fmt: skip
    of_values = [{": "}, {""}]  # what parse_size and its like say stands behind the option
    told_elsewhere = ("write a percentage", "is less than nothing")  # test_cli: sample, modes of sizes
    for text in texts:
        joined = "".join(text)
        if any(set(text) == plain for plain in of_values) or any(t in joined for t in told_elsewhere):
            continue
        words = [w for part in text for w in re.split(r"[:;,]", part) if len(w.strip()) > 8]
        assert any(w.strip() in here for w in words), joined


# --- all commands -----------------------------------------------------------------------------------------------------


def test_every_option_of_every_command_is_used_by_a_test_somewhere() -> None:
    """Not that it is shown well: only that none can be added and forgotten here."""
    said = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    forgotten: dict[str, Any] = {}
    for command in [submit_command, *flat(hugesync_commands)]:
        for param in command.params:
            if isinstance(param, click.Option) and not any(
                f'"{o}' in said for o in (*param.opts, *param.secondary_opts)
            ):
                forgotten.setdefault(str(command.name), []).append(param.opts)
    assert forgotten == {}


def test_sizes_and_durations_are_worded_in_one_place() -> None:
    """``human`` words them, by humanize; config_units writes what is read back."""
    numbers = count()
    for path in (Path(cli_request.__file__).parent).rglob("*.py"):
        if path.name == "human.py":
            continue
        next(numbers)
        text = path.read_text()
        assert not re.search(r"\} ?[KMGT]i?B\b|import humanize|naturalsize|precisedelta", text), path
        assert not re.search(r":\.\df\} ?%", text), path
    assert next(numbers) > 50
