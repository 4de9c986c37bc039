"""What a command does when its stdout or stderr is closed, full, or without a reader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FAKE = """
import os, sys, types
from hugesync_tasks.summary import State, Summary
state = State(sys.argv.pop(1))
fake = types.ModuleType("hugesync_producer.sync")
def sync(*a, **k):
    return Summary(state, "job1", files={"found": 2, "done": 2}, reason=f"fd {os.open(os.devnull, os.O_RDONLY)}")
fake.sync = sync
sys.modules[fake.__name__] = fake
from hugesync_producer import cli
sys.argv = ["hugesync-submit", *sys.argv[1:]]
sys.exit(cli.submit() if sys.argv[1] != "jobs" else cli.hugesync())
"""
REASON = "hugesync-submit: fd "


def ran(tmp_path: Path, redirect: str, *args: str) -> subprocess.CompletedProcess[str]:
    """The command under a shell's ``redirect``; ``args`` begin with the state that the job ends in."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-c", FAKE, *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What stderr says beside the reason of the end."""
    return [line for line in done.stderr.splitlines() if not line.startswith(REASON)]


@pytest.mark.parametrize("options", [["--json"], []])
@pytest.mark.parametrize(
    ("redirect", "why"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")]
)
def test_a_result_that_cannot_be_printed_is_said_and_is_no_success(
    tmp_path: Path, redirect: str, why: str, options: list[str]
) -> None:
    done = ran(tmp_path, redirect, "done", *options, "/src", "/dst")
    assert (done.returncode, said(done)) == (1, [f"hugesync-submit: cannot write to standard output: {why}"])
    stalled = ran(tmp_path, redirect, "stalled", *options, "/src", "/dst")
    assert (stalled.returncode, len(said(stalled))) == (5, 1)


@pytest.mark.parametrize(("options", "code"), [(["--json"], 1), ([], 0)])
def test_a_reader_that_left_is_told_nothing_and_only_a_lost_object_is_no_success(
    tmp_path: Path, options: list[str], code: int
) -> None:
    read, written = os.pipe()
    os.close(read)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FAKE, "done", *options, "/src", "/dst"]
    try:
        done = subprocess.run(command, env=env, stdout=written, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(written)
    assert (done.returncode, said(done)) == (code, [])


def test_a_quiet_success_needs_no_stdout(tmp_path: Path) -> None:
    done = ran(tmp_path, ">&-", "done", "-q", "/src", "/dst")
    assert (done.returncode, said(done)) == (0, [])


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["jobs", "--json"], ["jobs"]])
def test_an_answer_that_cannot_be_printed_is_said_without_a_traceback(tmp_path: Path, args: list[str]) -> None:
    done = ran(tmp_path, ">/dev/full", "done", *args)
    name = "hugesync" if args[0] == "jobs" else "hugesync-submit"
    full = f"{name}: cannot write to standard output: No space left on device"
    assert (done.returncode, done.stderr.splitlines()) == (1, [full])


def test_with_a_closed_stderr_stdout_still_holds_the_one_object(tmp_path: Path) -> None:
    done = ran(tmp_path, "2>&-", "done", "--json", "/src", "/dst")
    assert done.returncode == 0
    assert json.loads(done.stdout)["files"]["done"] == 2


@pytest.mark.parametrize("redirect", [">&-", "<&-", "<&- >&-"])
def test_no_file_of_ours_gets_the_number_of_a_closed_stream(tmp_path: Path, redirect: str) -> None:
    done = ran(tmp_path, redirect, "done", "-q", "/src", "/dst")
    assert int(done.stderr.removeprefix(REASON)) > 2
