"""What people read of a task: made of the ledger's record, whatever the names of files are."""

from __future__ import annotations

import json
import os
import traceback
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_tasks import names, taskevents, tasks
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.model import Entry, Kind, Meta, Removal, Transfer, Upload
from hugesync_tasks.redact import LONGEST, plain
from hugesync_tasks.stages.basis import Delta
from hugesync_tasks.stages.begin import LargeFile
from hugesync_tasks.state.base import Task
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.words import about

MIB = 1 << 20
SIZE = 640 * 8 * MIB - 5


def large(key: str, delta: Delta | None = None) -> dict[str, str]:
    upload = Upload(key, "u", "0" * 32, SIZE, 8 * MIB)
    how = "delta" if delta else "full"
    return LargeFile(upload, Meta(), Entry(key, Kind.FILE, SIZE), None, how, delta).fields()


def task(kind: str, payload: Any, file: str = "") -> Task:
    return Task("f:17", kind, "hs.any", 1, json.dumps(payload), file)


def files(*keys: str) -> list[object]:
    return [Transfer(Entry(key, Kind.FILE, 1000)).wire() for key in keys]


DELTA = Delta("upload", "v", SIZE, MIB, 512 * MIB, True)


@pytest.mark.parametrize(
    ("kind", "payload", "file", "said"),
    [
        ("part", {"number": 17, "listed": None}, large("big/movie.mkv"), "big/movie.mkv, part 17/640, 8.0 MiB"),
        ("part", {"number": 640, "listed": None}, large("b"), "b, part 640/640, 8.0 MiB"),
        ("part", {"number": 3}, large("b", DELTA), "b, part 3/640"),
        ("match", {"range": 9}, large("b", DELTA), "b, range 10/10"),
        ("compare", {"range": 0}, large("b"), "b, range 1/640"),
        ("commit", {}, large("b"), "b, 5.0 GiB"),
        ("abandon", large("b"), {}, "b, 5.0 GiB"),
        ("begin", {"transfer": files("b")[0], "whole": ""}, {}, "b, 1000 B"),
        ("batch", files("a/x"), {}, "a/x, 1000 B"),
        ("batch", files("a/x", "a/y", "a/z"), {}, "a/x and 2 more files, 2.9 KiB"),
        ("compare_files", files("a/x", "a/y"), {}, "a/x and 1 more file, 2.0 KiB"),
        ("batch", [Transfer(Entry("a/", Kind.DIR)).wire(), *files("a/x", "a/y")], {}, "a/x and 1 more file, 2.0 KiB"),
        ("batch", [Transfer(Entry(f"{n}/", Kind.DIR)).wire() for n in range(3)], {}, "0/ and 2 more folders, 0 B"),
        ("folders", [Entry("a/", Kind.DIR).wire()], {}, "a/"),
        (
            "delete",
            {"items": [Removal("k", "v", 5).wire(), Removal("l", "v", 6).wire()], "sidecars": False},
            {},
            "k and 1 more key, 11 B",
        ),
    ],
)
def test_a_task_is_told_as_people_read_it(kind: str, payload: Any, file: dict[str, str], said: str) -> None:
    assert about(task(kind, payload, "f" if file else ""), file).sentence() == said


@pytest.mark.parametrize(
    "payload", ["", "nothing", "[]", "{}", "[[]]", '{"transfer": 3}', '{"number": "x"}', "7", "null"]
)
@pytest.mark.parametrize("kind", ["batch", "part", "folders", "delete", "of another release"])
def test_what_another_release_put_there_is_told_by_its_kind_alone(kind: str, payload: str) -> None:
    assert about(Task("t", kind, "q", 1, payload), {}).path == ""
    assert about(Task("t", kind, "q", 1, payload), {"rest": "?"}).kind == kind


def test_without_names_no_file_is_named_and_the_numbers_stay() -> None:
    assert (
        about(task("part", {"number": 17}, "f"), large("secret/plan")).sentence(False) == "1 file, part 17/640, 8.0 MiB"
    )
    assert about(task("batch", files("a", "b")), {}).sentence(False) == "2 files, 2.0 KiB"


def test_names_are_anybodys_and_what_is_shown_of_them_is_printable_short_and_without_secrets() -> None:
    bad = names.encode_name(os.fsencode("gr\udcfc\udcdf"))  # Latin-1 in a file's name
    assert plain(bad) == bad == "gr‛FC‛DF"
    assert plain("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert "hunter22" not in plain("x?password=hunter22&y")
    long = plain("start/" + "x" * 5000 + "/end")
    assert (len(long), long[:6], long[-4:]) == (LONGEST, "start/", "/end")
    assert "hunter22" not in plain("s" * 150 + "/password=" + "hunter22" * 300), "it is hidden before the rest is cut"


@given(st.text())
def test_whatever_is_shown_can_be_a_json_string_of_one_line(text: str) -> None:
    shown = plain(text)
    assert len(shown) <= LONGEST
    assert shown.isprintable()
    shown.encode()


class Request(SimpleNamespace):
    """As much of Celery's as is needed."""

    _argsrepr, _kwargsrepr = "ids", "{}"


def test_the_words_go_where_celery_takes_them_from_and_a_silent_ledger_leaves_the_ids() -> None:
    ledger = MemoryLedger()
    ledger.put_tasks("j1", [Task("b1.1", "batch", "q", 1, json.dumps(files("a/x", "a/y")))])
    request = Request(args=("j1", "b1.1"))
    taskevents.put_words(request, ledger, names=True)
    assert request._argsrepr == "a/x and 1 more file, 2.0 KiB"
    assert request._kwargsrepr == "{'job': 'j1', 'task': 'b1.1'}", "as Flower's filter kwargs:job=j1 reads it"
    taskevents.put_words(request, ledger, names=False)
    assert request._argsrepr == "2 files, 2.0 KiB"
    gone = Request(args=("j1", "b1.2"))
    taskevents.put_words(gone, ledger, names=True)
    assert gone._argsrepr == "over already"

    class Silent(MemoryLedger):
        def task(self, job: str, task: str) -> Any:
            raise Unreachable("nobody answers")

    for args in (("j1", "b1.1"), (), ("one",), None):
        left = Request(args=args)
        taskevents.put_words(left, Silent(), names=True)
        assert (left._argsrepr, left._kwargsrepr) == ("ids", "{}")


@pytest.mark.parametrize(
    ("enabled", "groups", "tells"),
    [(False, ["worker"], False), (True, ["worker"], False), (True, [], True), (True, ["worker", "task"], True)],
)
def test_the_ledger_is_asked_only_while_task_events_are_sent(enabled: bool, groups: list[str], tells: bool) -> None:
    consumer = SimpleNamespace(event_dispatcher=SimpleNamespace(enabled=enabled, groups=set(groups)))
    assert taskevents.told(consumer) is tells
    assert not taskevents.told(SimpleNamespace(event_dispatcher=None))


@pytest.mark.parametrize("error", [Unreachable("x://me:hunter22@host/ is away"), KeyError("password=hunter22")])
def test_an_error_that_celery_tells_flower_of_has_no_secret_and_no_traceback_with_one(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(job: str, task: str, process: object) -> str:
        raise error

    monkeypatch.setattr(tasks.Process, "current", lambda: None)
    monkeypatch.setattr(tasks, "_lending", lambda process: SimpleNamespace(busy=lambda job: nullcontext()))
    monkeypatch.setattr(tasks, "perform", fails)
    with pytest.raises(tasks.TaskFailed) as raised:
        tasks._run("j", "t")
    told = "".join(traceback.format_exception(raised.value))
    assert type(error).__name__ in told
    assert "hunter22" not in told
    assert ("unexpected" in caplog.text) is isinstance(error, KeyError), "what was not foreseen is in the log"
