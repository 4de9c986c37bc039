"""Flower beside a real fleet: what it shows of tasks is what people read, and nothing is told where nobody asked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import servers
from acl import ADMIN, ADMIN_PASSWORD, PASSWORD
from flowers import Flower, heard, watching
from processes import REPO, Ended, Place, Running, wait_until

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
def broker(guarded: servers.ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=str(guarded.socket), username=ADMIN, password=ADMIN_PASSWORD) as r:
        yield r


@pytest.fixture
def place(tmp_path: Path, data: Path, guarded: servers.ValkeyServer) -> Iterator[Place]:
    env = {
        "HUGESYNC_PART_SIZE": str(PART),
        "HUGESYNC_WORKER_ROOTS": f"data={data}",
        "HUGESYNC_BROKER_URL": f"redis://hugesync:{PASSWORD}@127.0.0.1:{guarded.port}/0",
    }
    it = Place(tmp_path / "place", env)
    yield it
    it.end()


def start_worker(place: Place, *args: str, **env: str) -> Running:
    return place.start([sys.executable, "-m", "hugesync_worker", "-v", *args], **env)


def submit(place: Place, data: Path, *args: str) -> Ended:
    return place.submit(*args, data / "src", data / "dst").finish()


def shown(flower: Flower, job: str, name: str) -> dict[str, str]:
    """Task id -> words of each finished task of this name and job, as soon as none of them is unfinished."""

    def finished() -> dict[str, str]:
        tasks = [t for t in flower.tasks() if t["name"] == name]
        assert all(f"'job': '{job}'" in t["kwargs"] for t in tasks), tasks
        done = {t["kwargs"]: t["args"] for t in tasks if t["state"] == "SUCCESS"}
        return done if len(done) == len(tasks) else {}

    return wait_until(finished, 20, f"{name} in Flower")  # type: ignore[no-any-return]


def test_flower_shows_job_file_part_and_bytes_of_each_task(place: Place, broker: redis.Redis, data: Path) -> None:
    with watching(place, broker) as flower:
        worker = start_worker(place, "--task-events", "-c", "2")
        ended = submit(place, data)
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
        of_parts = [line for line in worker.said().splitlines() if "hugesync.part" in line and "succeeded" in line]
        assert len(of_parts) == 6
        assert all(
            re.search(rf" job={job} task=[0-9a-f]+:\d kind=part path=\S+ part=\d/3 process=", p) for p in of_parts
        )
        assert broker.execute_command("ACL", "LOG") == [], "the documentation's ACL file suffices"
        found = flower.get(f"/api/tasks?search=kwargs:job={job}")
        assert len(found) == len(flower.tasks()), "Flower's own filter finds the job's tasks"


def test_names_can_be_left_out_of_events_where_parts_and_sizes_stay(
    place: Place, broker: redis.Redis, data: Path
) -> None:
    with heard(broker, "hs") as events:
        worker = start_worker(place, "--task-events", "-c", "1", HUGESYNC_TASK_EVENT_NAMES="hidden")
        assert submit(place, data).code == 0, worker.said()[-2000:]
        wait_until(lambda: "1 file, part 3/3, 1000 B" in events(), what="the last part's event")
        said = events()
    assert "1 file, part 1/3, 5.0 MiB" in said
    for name in ("movie", "small", "name", "gr‛", "hunter22"):
        assert name not in said.replace("hostname", "").replace('"name"', "")


COLUMNS = re.findall(r"--tasks-columns=[a-z,]+", (REPO / "docs" / "operations.md").read_text())


@pytest.mark.parametrize(
    "file",
    ["compose.yaml", "try.sh", "kubernetes/components/flower/flower.yaml", "kubernetes/rendered/flower.yaml"],
)
def test_every_flower_that_we_start_shows_the_column_of_the_words(file: str) -> None:
    assert COLUMNS, "docs/operations.md says how"
    assert all(column in (REPO / "docker" / file).read_text() for column in COLUMNS)


def chromium() -> str:
    found = shutil.which("chromium")
    assert found, "apt-get install chromium"
    return found


@pytest.mark.system
def test_a_browser_sees_the_words_during_a_job(place: Place, broker: redis.Redis, data: Path, tmp_path: Path) -> None:
    """Debian's Chromium, headless, on the page that people open, behind Flower's password."""
    with watching(place, broker, "--basic-auth=operator:flower-password", *COLUMNS) as flower:
        start_worker(place, "--task-events", "-c", "2")
        running = place.submit("--bwlimit", "200K", data / "src", data / "dst")
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
