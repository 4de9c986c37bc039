"""Log lines about a task say which: job, task, path and part; in text and in JSON, from whatever thread, without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.exceptions import WorkerLostError

from hugesync_tasks import consumer, logs
from hugesync_tasks.model import Entry, Kind, Transfer
from hugesync_tasks.state.base import Task
from hugesync_tasks.state.memory import MemoryLedger


@pytest.fixture(params=["text", "json"])
def said(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """The lines of the test, as text or JSON gives them."""
    root = logging.getLogger()
    before = root.handlers[:]
    logs.configure("INFO", request.param)
    yield lambda: [_read(line) for line in capsys.readouterr().err.splitlines()]
    logs.of_task()
    root.handlers[:] = before


def _read(line: str) -> dict[str, str]:
    if line.startswith("{"):
        return {k: str(v) for k, v in json.loads(line).items()}
    return dict(word.split("=", 1) for word in line.split(" ") if "=" in word)


def names(line: dict[str, str]) -> dict[str, str]:
    return {k: line[k] for k in ("job", "task", "path", "part") if k in line}


log = logging.getLogger("hugesync_tasks.somewhere")


def test_a_line_about_a_task_names_it_and_one_after_it_does_not(said: Any) -> None:
    logs.of_task("j1", "f:17", lambda: {"path": "big/movie.mkv", "part": "17/640"})
    log.info("the store asked to slow down")
    logs.get_logger("hugesync_tasks.other").info("ours, too", part_size=5)
    logging.getLogger("botocore.something").warning("a library's line")
    logs.of_task()
    log.info("idle")
    all_of_it = {"job": "j1", "task": "f:17", "path": "big/movie.mkv", "part": "17/640"}
    assert [names(line) for line in said()] == [all_of_it, all_of_it, all_of_it, {}]


def test_threads_that_work_on_the_task_say_so_each_with_its_own_file(said: Any) -> None:
    logs.of_task("j1", "b1.1", lambda: {"files": 2})

    def one(key: str) -> None:
        logs.of_file(key)
        log.info("a file failed")

    with ThreadPoolExecutor(2, **logs.carry()) as pool:
        assert len([*pool.map(one, ["a/x", "a/y"])]) == 2
    log.info("of none of them")
    assert sorted(str(names(line)) for line in said()) == [
        "{'job': 'j1', 'task': 'b1.1', 'path': 'a/x'}",
        "{'job': 'j1', 'task': 'b1.1', 'path': 'a/y'}",
        "{'job': 'j1', 'task': 'b1.1'}",
    ]


def test_what_a_task_is_about_is_asked_only_for_a_line_and_stays_without_secrets(said: Any) -> None:
    asked = []
    logs.of_task("j1", "f:1", lambda: asked.append(1) or {"path": "x?password=hunter22", "note": "a\nb"})  # type: ignore[func-returns-value]
    log.debug("not shown")
    assert asked == []
    log.info("shown")
    (line,) = said()
    assert line["path"] == "x?password=***"
    assert len(asked) == 1


def test_of_a_child_that_died_one_line_says_what_it_had_in_hand(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the main process, which knows only ids: the rest is read from the ledger."""
    ledger = MemoryLedger()
    ledger.put_tasks("j1", [Task("b1.1", "batch", "q", 1, json.dumps([Transfer(Entry("a/x", Kind.FILE, 7)).wire()]))])
    ledger.claim("j1", "b1.1", "w", 3_600_000, 5)
    monkeypatch.setattr(consumer.RegisterStep, "register", SimpleNamespace(ledger=ledger))
    lost = WorkerLostError("signal 9 (SIGKILL)")
    consumer._child_lost(exception=lost, args=("j1", "b1.1"))
    logging.getLogger("celery.worker.request").error("Task handler raised error: %r", lost)  # Celery's own, without ids
    log.info("later")
    assert [names(line) for line in said()] == [{"job": "j1", "task": "b1.1", "path": "a/x"}, {}]
    (status,) = ledger.statuses("j1", ["b1.1"])
    assert status.lease_left_ms <= 1
