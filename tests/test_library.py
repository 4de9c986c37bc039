"""The library's call: typed keywords, and a job as an iterator of what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from hugesync_producer import keywords, running
from hugesync_producer.events import Ended, FileEvent, Lost, Notice, Progress, Started
from hugesync_producer.keywords import Keywords, values
from hugesync_producer.mailbox import Mailbox
from hugesync_producer.running import Arguments, Running, sync_events
from hugesync_producer.sync import sync
from hugesync_tasks.config import Settings, load
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Options, Rules, Selection
from hugesync_tasks.summary import Observer, Snapshot, State, Summary

ROOT = Path(__file__).resolve().parent.parent
DONE = Summary(State.DONE, "job1")
SHOT = Snapshot({"found": 1, "pending": 1}, {})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [n for n in os.environ if n.startswith("HUGESYNC_") and not n.startswith("HUGESYNC_TEST_")]:
        monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


# --- keywords ---------------------------------------------------------------------------------------------------------


def test_each_field_of_the_three_values_is_a_keyword_of_its_type() -> None:
    """One that was added to spec.py belongs into hugesync_producer/keywords.py, too."""
    hints: dict[str, Any] = {}
    for value in (Rules, Selection, Options):
        own = get_type_hints(value)
        assert not set(own) & set(hints), "one keyword would mean two things"
        hints |= {name: kind for name, kind in own.items() if name not in keywords.NO_KEYWORDS}
    assert get_type_hints(Keywords) == hints


def test_beside_them_sync_events_takes_what_sync_takes_but_the_observer() -> None:
    mine = set(get_type_hints(Arguments)) - set(get_type_hints(Keywords))
    assert mine == set(get_type_hints(sync)) - {"source", "dest", "observer", "keywords", "return"}


def test_what_is_not_told_comes_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGESYNC_JOBS", "7")
    monkeypatch.setenv("HUGESYNC_MODIFY_WINDOW", "2s")
    rules, selection, options = values(load(), None, None, None, {"delete": True, "retries": 9, "min_size": 1})
    assert rules == Rules(modify_window_ns=2_000_000_000)
    assert selection == Selection(min_size=1)
    assert options == Options(jobs=7, retries=9, delete=True)


def test_keywords_stand_above_whole_values_and_those_above_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGESYNC_JOBS", "7")
    whole = (Rules(checksum=True), Selection(links="skip"), Options(retries=3))
    assert values(load(), *whole, {"jobs": 2, "links": "keep"}) == (whole[0], Selection(), Options(jobs=2, retries=3))


@pytest.mark.parametrize("word", keywords._WORDS)
def test_a_word_that_one_cannot_be_is_refused(word: str) -> None:
    for good in keywords._WORDS[word]:
        values(load(), None, None, None, {word: good})  # type: ignore[misc]
    with pytest.raises(UsageError, match=word):
        values(load(), None, None, None, {word: "sometimes"})  # type: ignore[misc]


def test_a_keyword_that_there_is_none_of_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="delet_"):
        sync("/a", "/b", delet_=True)  # type: ignore[call-arg]


def test_the_page_shows_the_calls_as_they_are() -> None:
    page = (ROOT / "docs" / "library.md").read_text()
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        compile(code, "library.md", "exec")
        imports = "\n".join(line for line in code.splitlines() if line.startswith("from "))
        exec(imports, {})
    named = set(re.findall(r"`(\w+)`", page.split("| keyword")[1].split("\n\n")[0]))
    assert set(get_type_hints(Arguments)) - set(get_type_hints(Keywords)) <= named


# --- events -----------------------------------------------------------------------------------------------------------


def test_a_slow_taker_gets_the_newest_progress_what_there_was_room_for_and_the_number_of_the_rest() -> None:
    box = Mailbox(most=2)
    for n in range(5):
        box.put(Progress(Snapshot({"found": n}, {})))
        box.put(FileEvent(str(n), "done"))
    assert box.take() == Progress(Snapshot({"found": 4}, {}))
    assert box.take() == FileEvent("0", "done")
    box.put(Notice("room again"))
    box.put(Ended(DONE))
    assert [box.take() for _ in range(4)] == [FileEvent("1", "done"), Lost(3), Notice("room again"), Ended(DONE)]


def test_nothing_comes_after_the_end() -> None:
    box = Mailbox()
    box.put(Progress(SHOT))
    box.put(Ended(DONE))
    assert box.take() == Ended(DONE)


def tell(observer: Any) -> Summary:
    observer.on_start("job1", False)
    observer.on_file(FileEvent("a", "done"))
    observer.on_notice("mind")
    return DONE


def test_a_job_tells_and_ends_with_its_summary() -> None:
    job = Running(tell)
    assert list(job) == [Started("job1", False), FileEvent("a", "done"), Notice("mind"), Ended(DONE)]
    assert list(job) == []
    assert job.summary is DONE
    assert Running(tell).wait() is DONE


def test_before_the_end_there_is_no_summary() -> None:
    go = threading.Event()

    def work(observer: Observer) -> Summary:
        go.wait(30)
        return DONE

    job = Running(work)
    with pytest.raises(RuntimeError, match="not ended"):
        _ = job.summary
    go.set()
    assert job.wait() is DONE


def test_what_the_call_raises_the_iteration_raises() -> None:
    def work(observer: Observer) -> Summary:
        observer.on_notice("so far so good")
        raise UsageError("no such source")

    job = Running(work)
    assert next(job) == Notice("so far so good")
    with pytest.raises(UsageError, match="no such source"):
        next(job)
    with pytest.raises(UsageError, match="no such source"):
        _ = job.summary


def until_stopped(ended: list[str]) -> Callable[[Any], Summary]:
    def work(observer: Any) -> Summary:
        while not observer.stop_wanted():
            observer.on_progress(SHOT)
            threading.Event().wait(0.01)
        ended.append("drained")
        return Summary(State.INTERRUPTED, "job1")

    return work


@pytest.mark.parametrize("how", ["stop", "break", "raise"])
def test_a_job_can_be_stopped_and_is_when_its_block_is_left(how: str) -> None:
    ended: list[str] = []
    try:
        with Running(until_stopped(ended)) as job:
            for event in job:
                if isinstance(event, Progress):
                    if how == "break":
                        break
                    if how == "raise":
                        raise LookupError
                    job.stop()
    except LookupError:
        pass
    assert ended == ["drained"]
    assert job.summary.state is State.INTERRUPTED


def test_the_arguments_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    got: dict[str, Any] = {}

    def fake(source: str, dest: str, *, observer: Observer, **rest: Any) -> Summary:
        got.update(rest, ends=(source, dest))
        return DONE

    monkeypatch.setattr("hugesync_producer.sync.sync", fake)
    settings = Settings()
    assert sync_events("/a", "/b", settings=settings, delete=True, dry_run=True).wait() is DONE
    assert got == {"ends": ("/a", "/b"), "settings": settings, "delete": True, "dry_run": True}
    assert running.sync_events is sync_events


# --- the examples, as they are run --------------------------------------------------------------------------------------


def example(name: str, home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "HUGESYNC_", "PYTHON"))}
    command = [sys.executable, str(ROOT / "examples" / name), *args]
    return subprocess.run(command, env={**env, "HOME": str(home)}, capture_output=True, text=True, timeout=300)


def test_the_basic_example_runs_two_jobs_in_one_process_and_prints_only_what_it_says(home: Path) -> None:
    ran = example("basic_sync.py", home)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "Everything is new:", "done: found 21, done 20, skipped 1, failed 0",
        "One file was edited:", "  >f.st...... notes/07.txt", "done: found 21, done 1, skipped 20, failed 0",
    ]  # fmt: skip
    wrong = example("basic_sync.py", home, str(home / "nowhere"), str(home / "dest"))
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert re.fullmatch(r"basic_sync: .*nowhere: no such file or folder\n", wrong.stderr)


@pytest.mark.full
def test_the_delta_example_sends_a_part_of_what_it_sent_before(home: Path) -> None:
    ran = example("delta_demo.py", home, "24")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "disk.img  (delta)" in ran.stdout
    assert "Sent 5.0 MiB, reused 19.0 MiB of what was there: 79.2 % saved." in ran.stdout
