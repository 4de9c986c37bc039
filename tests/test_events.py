"""What a job tells while it runs: the records of ``--events``, the lines of ``-i``, and the log in a file."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hugesync_producer import events, itemize
from hugesync_producer.eventfile import EventFile, opened
from hugesync_producer.events import Ended, FileEvent, Lost, Notice, Progress, Started, wire
from hugesync_tasks import logs
from hugesync_tasks.errors import UsageError
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.spec import Options, Rules
from hugesync_tasks.summary import OUTCOMES, Snapshot, State, Summary
from submit import Submit

PAGE = (Path(__file__).parent.parent / "docs" / "events.md").read_text()
SECRET = "redis://:hunter2@host/0"


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def fill(source: Path) -> None:
    (source / "sub").mkdir(parents=True)
    (source / "same").write_text("same")
    (source / "sub" / "larger").write_text("x")
    (source / "café").write_text("y")
    (source / "link").symlink_to("same")
    (source / "no.rclonelink").write_text("reserved")
    os.mkfifo(source / "fifo")


# --- a job ------------------------------------------------------------------------------------------------------------


def test_the_records_of_a_job_agree_with_its_summary_and_its_lines_and_its_log(tmp_path: Path) -> None:
    hs, source, dest = Submit(tmp_path / "home"), tmp_path / "source", tmp_path / "dest"
    fill(source)
    told, log = tmp_path / "events", tmp_path / "log"
    follows = ("--events", str(told), "--log-file", str(log), "-i", "--no-progress")
    first = hs(source, dest, *follows, json=False)
    (source / "sub" / "larger").write_text("more than x")
    os.utime(source / "café", ns=(0, 1))
    (source / "no.rclonelink").unlink()
    (dest / "extra").write_text("extra")
    (tmp_path / "names").write_text("same\ngone\n")
    listed = hs(source, dest, "-n", "--events", str(tmp_path / "listed"), "--files-from", str(tmp_path / "names"))
    dry = hs(source, dest, "-n", "-i", "--delete", "--max-delete=50%", json=False)
    second = hs(source, dest, *follows, "--delete", "--max-delete=50%", json=False)
    assert (first.code, dry.code, second.code) == (1, 0, 0), (first, dry, second)

    every = records(told)
    begins = [i for i, r in enumerate(every) if r["event"] == "begin"]
    assert len(begins) == 2, "a dry run without --events writes none"
    for run in (every[: begins[1]], every[begins[1] :]):
        assert [r["seq"] for r in run] == list(range(1, len(run) + 1))
        assert run[0]["schema"] == events.SCHEMA
        assert [r["event"] for r in run].count("started") == 1
        assert {r["event"] for r in run if r["event"] == "progress"}
        ended = run[-1]
        files = [r for r in run if r["event"] == "file"]
        by = Counter(r["outcome"] for r in files if r["kind"] != "folder")
        assert {n: by[n] for n in ("done", "skipped", "failed", "deleted")} == {
            n: ended["summary"]["files"][n] for n in ("done", "skipped", "failed", "deleted")
        }
        sizes = {n: sum(r["size"] for r in files if r["outcome"] == n) for n in ("done", "skipped", "failed")}
        assert sizes == {n: ended["summary"]["bytes"][n] for n in sizes}
        for r in run:
            if r["event"] == "progress":
                for what in ("files", "bytes"):
                    assert r[what]["found"] == sum(r[what][n] for n in OUTCOMES[1:])
    assert [(r["path"], r["outcome"]) for r in records(tmp_path / "listed") if r["event"] == "file"] == [
        ("gone", "missing"), ("same", "skipped"),
    ]  # fmt: skip
    assert listed.files["missing"] == 1
    assert (every[-1]["event"], every[-1]["state"], every[-1]["exit_code"]) == ("ended", "done", 0)

    new = [">f+++++++++ café", "cL+++++++++ link", ">f+++++++++ same", "cd+++++++++ sub/", ">f+++++++++ sub/larger"]
    changed = [">f..t...... café", ">f.st...... sub/larger", "*deleting   extra"]
    assert first.out.splitlines()[: len(new)] == new
    assert second.out.splitlines()[: len(changed)] == changed
    assert sorted(dry.out.splitlines()[: len(changed)]) == sorted(changed)
    assert (first.err, second.err.count("\n")) == ("", 1), "deletes are announced"
    assert [r["changes"] for r in every if r.get("outcome") == "deleted"] == ["*deleting"]

    lines = log.read_text().splitlines()
    assert sum(" job started " in line for line in lines) == 2
    job = ended["summary"]["job_id"]
    for said, name in (("done", "same"), ("skipped", "fifo"), ("failed", "no.rclonelink"), ("deleted", "extra")):
        assert any(f"file {said} job={job} path={name}" in line for line in lines), said
    assert sum(f" ended job={job} state=" in line for line in lines) == 2


def test_a_file_that_takes_nothing_changes_neither_the_job_nor_its_exit_code(tmp_path: Path) -> None:
    hs, source = Submit(tmp_path / "home"), tmp_path / "source"
    source.mkdir()
    (source / "f").write_text("x")
    full = "/dev/full"
    ran = hs(source, tmp_path / "dest", "--events", full, "--log-file", full)
    assert (ran.code, ran.files["done"]) == (0, 1)
    assert re.search(r"events: /dev/full lacks \d+ of them: No space left on device", ran.err)
    assert re.search(r"log: /dev/full lacks \d+ lines: No space left on device", ran.err)


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--events", "--log-file"])
@pytest.mark.parametrize("path", ["-", "", "/dev/stdout", "/proc/self/fd/1", "{here}", "{here}/none/f"])
def test_a_file_that_cannot_be_is_refused_by_name(tmp_path: Path, option: str, path: str, capfd: Any) -> None:
    with pytest.raises(UsageError, match=option):
        opened(option, path.format(here=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_dev_null_may_be_both(monkeypatch: pytest.MonkeyPatch) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    before = os.dup(1)
    try:
        os.dup2(null, 1)
        os.close(opened("--events", os.devnull))
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(null)


EVERY = [
    Started("job1", True),
    Progress(Snapshot({"found": 1, "pending": 1}, {"found": 9, "pending": 9}, in_flight=(("a", 1, 9),), elapsed=9.0)),
    Notice(f"cannot reach {SECRET}"),
    FileEvent("a", "done", 9, how="full", verified=True, notes=("chown not permitted",), changes=">f+++++++++"),
    FileEvent("b", "failed", 9, reason="transient", message=f"cannot reach {SECRET}"),
    Lost(3),
    Ended(Summary(State.STALLED, "job1", reason=f"cannot reach {SECRET}", notes=(SECRET,))),
]


def test_the_page_names_every_record_and_each_of_its_fields() -> None:
    rows = {m[1]: set(re.findall(r"`(\w+)`", m[2])) for m in re.finditer(r"(?m)^\| `(\w+)` \| ([^|]*) \|", PAGE)}
    seen: dict[str, set[str]] = {"begin": {"schema", "version", "command"}}
    for event in EVERY:
        record = wire(event)
        seen.setdefault(record.pop("event"), set()).update(record)
    assert {name: rows[name] for name in seen} == seen
    assert f"schema {events.SCHEMA}:" in PAGE


def test_no_record_holds_a_secret_and_each_is_one_line_of_ascii(tmp_path: Path) -> None:
    path = tmp_path / "events"
    file = EventFile(opened("--events", str(path)), str(path), "hugesync-submit")
    file.on_start("job1", False)
    file.on_notice(f"two\nlines of {SECRET} café")
    file.on_file(FileEvent("a\nb café", "failed", message=SECRET))
    assert file.end(Summary(State.STALLED, reason=SECRET)) == ""
    text = path.read_text()
    assert "hunter2" not in text
    assert text.isascii()
    assert [r["event"] for r in records(path)] == ["begin", "started", "notice", "file", "ended"]
    assert records(path)[3]["path"] == "a\nb café"


def test_progress_is_recorded_at_most_once_a_second_of_the_job(tmp_path: Path) -> None:
    path = tmp_path / "events"
    file = EventFile(opened("--events", str(path)), str(path), "x")
    for n in range(25):
        file.on_progress(Snapshot({}, {}, elapsed=n / 10))
    file.end(Summary(State.DONE))
    assert [r["elapsed_seconds"] for r in records(path) if r["event"] == "progress"] == [0.0, 1.0, 2.0]


# --- what changes -----------------------------------------------------------------------------------------------------

T = 1_600_000_000_000_000_000
A = Entry("a", Kind.FILE, 3, T, None, "v", 0o644, 1, 1)


@pytest.mark.parametrize(
    ("source", "dest", "rules", "options", "expected"),
    [
        (A, None, Rules(), Options(), ">f+++++++++"),
        (A, Entry("a", Kind.LINK, 3, T), Rules(), Options(), ">f+++++++++"),
        (A, A, Rules(ignore_times=True), Options(), ">f........."),
        (A, Entry("a", Kind.FILE, 4, T + 1, None, "w", 0o600, 2, 2), Rules(), Options(), ">f.stp....."),
        (A, Entry("a", Kind.FILE, 4, T + 1, None, "w", 0o600, 2, 2), Rules(), Options(owner=True), ">f.stpog..."),
        (A, Entry("a", Kind.FILE, 3, T + 1, None, "w", 0o600, 2, 2), Rules(), Options(metadata=False), ">f..T......"),
        (A, Entry("a", Kind.FILE, 3, T + 1, None, "w", 0o644), Rules(modify_window_ns=1), Options(), ">f........."),
        (A, Entry("a", Kind.FILE, 3, T, None, "w", 0o644), Rules(checksum=True), Options(), ">fc........"),
        (A, Entry("a", Kind.FILE, 4, None, T, "w"), Rules(), Options(owner=True), ">f.s????..."),
        (Entry("l", Kind.LINK, 3, T), None, Rules(), Options(), "cL+++++++++"),
        (Entry("l", Kind.LINK, 3, T), Entry("l", Kind.LINK, 4, T), Rules(), Options(), "cLcs......."),
        (Entry("l", Kind.LINK, 3, T), Entry("l", Kind.LINK, 3, T + 1), Rules(), Options(), "cL?.t......"),
        (Entry("d/", Kind.DIR, 0, T), None, Rules(), Options(), "cd+++++++++"),
    ],
)  # fmt: skip
def test_eleven_letters_say_what_changes(
    source: Entry, dest: Entry | None, rules: Rules, options: Options, expected: str
) -> None:
    assert itemize.code(source, dest, False, rules, options) == expected
    to_store = expected.replace(">", "<")
    assert itemize.code(source, dest, True, rules, options) == to_store


def test_a_name_cannot_forge_a_line() -> None:
    assert itemize.line(">f+++++++++", "a\n*deleting   b") == ">f+++++++++ $'a\\n*deleting   b'"
    assert itemize.line(itemize.DELETING, "a.rclonelink") == "*deleting   a"


@pytest.mark.system
@pytest.mark.parametrize("options", [[], ["-n"], ["-c"], ["-I"], ["--existing"], ["--delete"]], ids=" ".join)
def test_the_lines_are_those_of_rsync(tmp_path: Path, options: list[str]) -> None:
    """Of what both show: rsync tells of folders whose time alone changes, and where a link points."""
    hs, source = Submit(tmp_path / "home"), tmp_path / "source"
    (source / "sub" / "new").mkdir(parents=True)
    for name in ("same", "size", "time", "mode", "content", "sub/deep", "sub/size"):
        (source / name).write_text(f"{name} as it was")
        os.utime(source / name, (1_600_000_000, 1_600_000_000))
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for dest in (ours, theirs):
        shutil.copytree(source, dest, symlinks=True)
        (dest / "extra").write_text("extra")
        (dest / "sub" / "new").rmdir()
    (source / "size").write_text("another size altogether")
    (source / "sub" / "size").write_text("x")
    (source / "sub" / "new" / "f").write_text("new")
    (source / "content").write_text("content as it IS!")
    (source / "content").write_text("CONTENT as it was")
    os.utime(source / "content", (1_600_000_000, 1_600_000_000))
    os.utime(source / "time", (1_600_000_009, 1_600_000_009))
    (source / "time").chmod(0o600)
    more = ["--max-delete=50%"] if "--delete" in options else []
    mine = hs(source, ours, "-i", "-a", "--no-progress", *options, *more, json=False)
    rsync = subprocess.run(
        ["rsync", "-ai", *options, f"{source}/", f"{theirs}/"], capture_output=True, text=True, check=True
    )
    assert mine.code == 0, mine
    form = r"(?m)^(?:[<>c][fLdDS]\S{9}|\*deleting  ) .*$"
    wanted = [line for line in re.findall(form, rsync.stdout) if not re.match(r"\.d|cd\.", line)]
    assert sorted(re.findall(form, mine.out)) == sorted(wanted)
    assert len(wanted) >= 3


# --- the log ----------------------------------------------------------------------------------------------------------


def test_a_file_gets_what_verbose_would_show_and_stderr_what_it_showed_before(capfd: Any) -> None:
    for level, shown in (("ERROR", {"e"}), ("WARNING", {"w", "e"}), ("INFO", {"i", "w", "e"})):
        logs.configure(level)
        lines: list[str] = []
        logs.also_to(lines.append)
        log = logs.get_logger("hugesync_producer.x")
        log.debug("d")
        log.info("i")
        log.warning("w", url=SECRET)
        log.error("e")
        logging.getLogger("library").info("chatter")
        logs.get_logger(logs.ONLY_IN_FILES).info("in plain words")
        logs.also_to(None)
        log.info("i")
        assert {line.split()[2] for line in lines} == {"i", "w", "e", "in"}
        assert "hunter2" not in "".join(lines)
        err = capfd.readouterr().err
        assert {line.split()[2] for line in err.splitlines()} == shown
        assert err.count(" i\n") == (2 if level == "INFO" else 0), "as before when the file is closed"
    logs.configure("DEBUG")
    lines = []
    logs.also_to(lines.append, "DEBUG")
    logging.getLogger("library").debug("chatter")
    logs.also_to(None)
    assert "chatter" in "".join(lines)
