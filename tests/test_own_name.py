"""The name of a worker: one for each of a fleet, also where containers have the host's name and each its own pid 1."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys

import pytest

from hugesync_tasks import register
from hugesync_tasks.register import own_name
from submit import ROOT

_NAME = "import os; from hugesync_tasks.register import own_name; print(os.getpid(), own_name())"


@pytest.mark.parametrize(
    ("link", "name"),
    [("pid:[4026531836]", "{host}-{pid}"), ("pid:[4026532511]", "{host}.4026532511-{pid}"), (None, "{host}-{pid}")],
)
def test_a_container_s_own_count_of_pids_is_in_the_name(
    link: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def readlink(path: str) -> str:
        assert path == "/proc/self/ns/pid"
        if link is None:
            raise FileNotFoundError
        return link

    monkeypatch.setattr(register.os, "readlink", readlink)
    assert own_name() == name.format(host=socket.gethostname(), pid=os.getpid())


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="a namespace of pids needs root")
def test_two_workers_that_are_both_pid_1_of_one_host_have_different_names() -> None:
    commands = [["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", f"{_NAME}; input()"] for _ in "ab"]
    both = [subprocess.Popen(c, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for c in commands]
    said = [one.stdout.readline().split() for one in both if one.stdout]
    for one in both:
        one.communicate("\n", timeout=60)
    assert [pid for pid, _ in said] == ["1", "1"]
    assert said[0][1] != said[1][1]


def test_nobody_makes_a_worker_s_name_by_himself() -> None:
    mine = re.compile(r"gethostname\(\)\}?-")
    made = [
        p
        for d in ("hugesync_tasks", "producer", "worker")
        for p in (ROOT / d).rglob("*.py")
        if mine.search(p.read_text())
    ]
    assert made == []
