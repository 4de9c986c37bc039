"""Flower beside a real fleet: what it shows of tasks is what people read, and nothing is told where nobody asked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from flowers import Flower, watching
from processes import Ended, Place, wait_until

PART = 5 << 20
BAD = b"gr\xfc\xdf\nname"  # Latin-1, and a line's end


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The root ``data``: one file of three parts, some small ones."""
    source = tmp_path / "data" / "src"
    (source / "big").mkdir(parents=True)
    (source / "big" / "movie.mkv").write_bytes(os.urandom(2 * PART + 1000))
    (source / "small").mkdir()
    (source / "small" / "password=hunter22").write_bytes(b"x" * 10)
    for n in range(3):
        (source / "small" / f"f{n}").write_bytes(b"y" * 100)
    with open(os.fsencode(source) + b"/" + BAD, "wb") as file:
        file.write(b"z" * (PART + PART // 2) + os.urandom(PART))
    return source.parent


@pytest.fixture
def place(tmp_path: Path, data: Path) -> Iterator[Place]:
    it = Place(tmp_path / "place", {"HUGESYNC_PART_SIZE": str(PART), "HUGESYNC_WORKER_ROOTS": f"data={data}"})
    yield it
    it.end()


def submit(place: Place, broker: servers.ValkeyServer, data: Path, *args: str) -> Ended:
    return place.submit("--broker", broker.url, *args, data / "src", data / "dst").finish()


def shown(flower: Flower, job: str, name: str) -> dict[str, str]:
    """Task id -> words of each finished task of this name and job, as soon as none of them is unfinished."""

    def finished() -> dict[str, str]:
        tasks = [t for t in flower.tasks() if t["name"] == name]
        assert all(f"'job': '{job}'" in t["kwargs"] for t in tasks), tasks
        done = {t["kwargs"]: t["args"] for t in tasks if t["state"] == "SUCCESS"}
        return done if len(done) == len(tasks) else {}

    return wait_until(finished, 20, f"{name} in Flower")  # type: ignore[no-any-return]


def test_flower_shows_job_file_part_and_bytes_of_each_task(
    place: Place, broker: servers.ValkeyServer, data: Path
) -> None:
    with watching(place, broker) as flower:
        worker = place.worker(broker.url, "--task-events", "-c", 2)
        ended = submit(place, broker, data)
        assert ended.code == 0, ended.err + worker.said()[-2000:]
        job = ended.summary["job_id"]
        movie = "big/movie.mkv"
        parts = sorted(shown(flower, job, "hugesync.part").values())
        assert [p for p in parts if p.startswith(movie)] == [
            f"{movie}, part 1/3, 5.0 MiB", f"{movie}, part 2/3, 5.0 MiB", f"{movie}, part 3/3, 1000 B",
        ]  # fmt: skip
        assert [p for p in parts if not p.startswith(movie)] == [
            f"gr‛FC‛DF\\nname, part {n}/3, {size}" for n, size in enumerate(("5.0 MiB", "5.0 MiB", "2.5 MiB"), 1)
        ]
        assert f"{movie}, 10.0 MiB" in shown(flower, job, "hugesync.commit").values()
        batches = [b for b in shown(flower, job, "hugesync.batch").values() if "/, 0 B" not in b]  # of folders alone
        assert all(re.fullmatch(r"small/[^ ,]+(?: and \d more files?)?, \d+ B", b) for b in batches), batches
        answers = str(flower.tasks())
        assert "hunter22" not in answers
        assert movie not in str([t["result"] for t in flower.tasks()]), "the result names no file: the words do"
        found = flower.get(f"/api/tasks?search=kwargs:job={job}")
        assert len(found) == len(flower.tasks()), "Flower's own filter finds the job's tasks"


def test_events_are_off_until_asked_for_and_names_can_be_left_out_of_them(
    place: Place, broker: servers.ValkeyServer, data: Path
) -> None:
    with watching(place, broker) as flower:
        quiet = place.worker(broker.url, "-c", 1)
        assert submit(place, broker, data).code == 0
        quiet.stop()
        loud = place.worker(broker.url, "--task-events", "-c", 1, HUGESYNC_TASK_EVENT_NAMES="hidden")
        (data / "src" / "big" / "movie.mkv").write_bytes(os.urandom(2 * PART + 7))
        ended = submit(place, broker, data)
        assert ended.code == 0, loud.said()[-2000:]
        words = {
            w
            for n in ("begin", "part", "commit")
            for w in shown(flower, ended.summary["job_id"], f"hugesync.{n}").values()
        }
        assert "1 file, part 3/3, 7 B" in words
        told = str(flower.tasks())
    assert "movie" not in told
    assert quiet.said().count("succeeded") > 5, "it worked, and nothing was told of it"
    assert "small" not in told
    assert str(quiet.pid) not in told


COLUMNS = "--tasks-columns=name,args,kwargs,state,received,runtime,worker"  # of docs/operations.md


def chromium() -> str:
    found = shutil.which("chromium")
    assert found, "apt-get install chromium"
    return found


@pytest.mark.system
def test_a_browser_sees_the_words_during_a_job(
    place: Place, broker: servers.ValkeyServer, data: Path, tmp_path: Path
) -> None:
    """Debian's Chromium, headless, on the page that people open, behind Flower's password."""
    with watching(place, broker, "--basic-auth=operator:flower-password", COLUMNS) as flower:
        place.worker(broker.url, "--task-events", "-c", 2)
        running = place.submit("--broker", broker.url, "--bwlimit", "200K", data / "src", data / "dst")
        command = [
            chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'chromium'}",
            "--virtual-time-budget=8000", "--dump-dom", f"http://operator:flower-password@{flower.address}/tasks",
        ]  # fmt: skip

        def page() -> str:
            assert running.process.poll() is None, "the job ended before the page was seen"
            dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
            return dom if "movie.mkv, part" in dom else ""

        dom = wait_until(page, 120, "the page")
        assert "big/movie.mkv, part 1/3, 5.0 MiB" in dom
        assert "hugesync.part" in dom
        assert "STARTED" in dom
        assert "&#39;job&#39;: &#39;" in dom or "'job': '" in dom
        running.interrupt()
        running.finish()
