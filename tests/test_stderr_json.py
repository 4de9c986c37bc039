"""``--log-format json``: each line on stderr is one JSON object with time, level and event, whatever happens."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hugesync_producer.logobserver import LogObserver
from hugesync_producer.progress import PLAIN_INTERVAL
from hugesync_tasks.logs import configure
from hugesync_tasks.summary import Snapshot
from submit import Ran, Submit

JSON = ("--log-format", "json")


def events(err: str) -> list[dict[str, Any]]:
    """Every line of ``err``; each must be an object with what each line has."""
    found = [json.loads(line) for line in err.splitlines()]
    for event in found:
        assert {"time", "level", "event"} <= event.keys(), event
    return found


def named(ran: Ran, *names: str) -> list[dict[str, Any]]:
    return [event for event in events(ran.err) if event["event"] in names]


def ended(ran: Ran) -> dict[str, Any]:
    """The last event, which is there once and agrees with the exit code."""
    (last,) = named(ran, "ended")
    assert events(ran.err)[-1] == last
    assert last["exit_code"] == ran.code
    assert last["level"] == ("error" if ran.code else "info")
    return last


@pytest.fixture
def hs(tmp_path: Path) -> Submit:
    return Submit(tmp_path / "home")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_bytes(b"content")
    (tmp_path / "source" / "closed").write_bytes(b"content")
    os.mkfifo(tmp_path / "source" / "fifo")
    return tmp_path / "source"


def test_a_success_names_the_job_and_ends_with_its_counters(tmp_path: Path, source: Path, hs: Submit) -> None:
    ran = hs(source, tmp_path / "dest", *JSON)

    started, last = events(ran.err)
    assert (started["event"], started["level"]) == ("job started", "info")
    assert started["job"] == last["job"] == ran.json["job_id"]
    assert last == ended(ran)
    assert last["files"] == ran.json["files"]


def test_a_run_with_failures_has_a_warning_for_each(tmp_path: Path, source: Path, hs: Submit) -> None:
    (source / "closed").chmod(0)

    ran = hs(source, tmp_path / "dest", *JSON, weak=True)

    (failed,) = named(ran, "file failed")
    assert failed["level"] == "warning"
    assert (failed["path"], failed["class"], failed["job"]) == ("closed", "needs_person", ran.json["job_id"])
    assert "permission denied" in failed["reason"]
    assert ended(ran)["state"] == "done_with_errors"


def test_a_refusal_is_an_event_with_its_reason(source: Path, hs: Submit) -> None:
    ran = hs(source, source / "below", *JSON)

    (event,) = events(ran.err)
    assert event == ended(ran)
    assert (event["state"], event["exit_code"]) == ("refused", 4)
    assert str(source) in event["reason"]


@pytest.mark.parametrize(
    "args",
    [
        ["--log-format", "json", "--frobnicate"],
        ["--log-format=json", "third"],
        ["--log-format", "json", "--memory", "lots"],
        ["--log-format", "json", "-q", "-v"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_an_event_with_its_reason(tmp_path: Path, source: Path, hs: Submit, args: list[str]) -> None:
    ran = hs(source, tmp_path / "dest", *args)

    (event,) = events(ran.err)
    assert event == ended(ran)
    assert (event["state"], event["exit_code"]) == ("usage", 2)
    assert event["reason"]


def test_the_environment_and_the_file_ask_for_json_too_even_where_the_rest_of_them_is_wrong(
    tmp_path: Path, source: Path, hs: Submit
) -> None:
    ask = (source, tmp_path / "dest", "--frobnicate")
    (tmp_path / "home" / "config" / "hugesync").mkdir(parents=True)
    (tmp_path / "home" / "config" / "hugesync" / "config.toml").write_text('log_format = "json"\nretries = "none"\n')
    assert ended(hs(*ask))["state"] == "usage"
    assert "retries" in ended(hs(*ask[:2]))["reason"]
    assert hs(*ask, "--log-format", "text").err.startswith("hugesync-submit: ")

    (tmp_path / "home" / "config" / "hugesync" / "config.toml").unlink()
    hs.env["HUGESYNC_LOG_FORMAT"] = "json"
    assert ended(hs(*ask))["state"] == "usage"


def test_verbose_says_of_each_file_what_was_decided_and_why_and_of_the_job_how_it_works(
    tmp_path: Path, source: Path, hs: Submit
) -> None:
    first = hs(source, tmp_path / "dest", *JSON, "-v")
    decided = {e["path"]: e for e in named(first, "file done", "file skipped", "file failed")}
    assert {path: e["event"] for path, e in decided.items()} == {
        "a": "file done", "closed": "file done", "fifo": "file skipped",
    }  # fmt: skip
    assert (decided["a"]["size"], decided["a"]["how"]) == (7, "full")
    assert decided["fifo"]["reason"] == "special"
    assert {e["role"] for e in named(first, "endpoint measured")} == {"source", "destination"}
    (begins,) = named(first, "work begins")
    assert begins["memory"] == 512 << 20
    assert begins["window"] == 64

    (source / "a").write_bytes(b"changed!")
    dry = hs(source, tmp_path / "dest", *JSON, "-v", "--dry-run", "--exclude", "closed")
    assert {e["path"]: (e["event"], e.get("reason")) for e in events(dry.err) if "path" in e} == {
        "a": ("file would be transferred", None),
        "closed": ("file skipped", "filtered"),
        "fifo": ("file skipped", "special"),
    }


def test_as_text_verbose_says_the_same_and_without_it_only_the_summary_lists_files(
    tmp_path: Path, source: Path, hs: Submit
) -> None:
    (source / "closed").chmod(0)
    assert hs(source, tmp_path / "one", weak=True).err == ""

    err = hs(source, tmp_path / "two", "-v", weak=True).err
    (done,) = [line for line in err.splitlines() if " file done " in line]
    (failed,) = [line for line in err.splitlines() if " file failed " in line]
    assert " INFO " in done
    assert "path=a " in done
    assert " WARNING " in failed
    assert "permission denied" in failed


def test_quiet_leaves_only_errors(tmp_path: Path, source: Path, hs: Submit) -> None:
    assert hs(source, tmp_path / "dest", *JSON, "-q").err == ""

    (source / "closed").write_bytes(b"changed!")
    (source / "closed").chmod(0)
    (event,) = events(hs(source, tmp_path / "dest", *JSON, "-q", weak=True).err)
    assert (event["event"], event["level"]) == ("ended", "error")


def test_no_secret_is_in_any_event_nor_in_the_traceback_of_debug(tmp_path: Path, source: Path, hs: Submit) -> None:
    ran = hs(source, tmp_path / "dest", *JSON, "--debug", "--broker", "redis://:hunter2@127.0.0.1:1/0", timeout=60)

    assert ran.code == 5
    assert "hunter2" not in ran.err
    (traceback,) = named(ran, "traceback")
    assert "Traceback" in traceback["exception"]
    assert ended(ran)["state"] == "stalled"


def test_notices_and_progress_are_events_and_progress_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (True, False):
        configure("INFO", "json")
        observer = LogObserver(progress=shown)
        observer.on_start("job7", True)
        for second in range(25):
            counted = {"found": 9, "done": 1, "pending": 8}
            observer.on_progress(Snapshot(counted, counted, elapsed=float(second), throttled=second == 3))
        observer.on_notice("cannot reach https://me:hunter2@host/x")

        began, *progress, notice = events(capsys.readouterr().err)
        assert (began["event"], began["resumed"], began["job"]) == ("job started", True, "job7")
        assert [(e["event"], e["elapsed_seconds"], e["throttled"]) for e in progress] == (
            [("progress", PLAIN_INTERVAL, True), ("progress", 2 * PLAIN_INTERVAL, False)] if shown else []
        )
        assert (notice["event"], notice["level"], notice["job"]) == ("notice", "warning", "job7")
        assert notice["message"] == "cannot reach https://***@host/x"
