"""One real job of a fleet that is watched in every way: its worker logs JSON, and sends spans to a collector; Flower is in
test_flower. What each tells of job, file and part is compared with the job."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

import servers
from collector import Collector, collecting
from flowers import heard
from processes import Ended, Place

PART = 5 << 20
MOVIE = "big/movie.mkv"


@dataclass
class Watched:
    ended: Ended
    worker: list[dict[str, Any]]  # its log
    collector: Collector
    events: str  # that it sent to Flower, unasked

    @property
    def job(self) -> str:
        return str(self.ended.summary["job_id"])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, valkey: servers.ValkeyServer) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    source = folder / "data" / "src"
    (source / "big").mkdir(parents=True)
    (source / MOVIE).write_bytes(os.urandom(2 * PART + 1000))
    (source / "token=hunter22").write_bytes(b"x" * 10)
    for n in range(3):
        (source / f"f{n}").write_bytes(b"y" * 100)
    broker = redis.Redis.from_url(valkey.url)
    with collecting() as collector, broker, heard(broker, "watched") as events:
        env = {
            "HUGESYNC_PART_SIZE": str(PART),
            "HUGESYNC_WORKER_ROOTS": f"data={folder / 'data'}",
            "HUGESYNC_QUEUE_PREFIX": "watched",
            "HUGESYNC_BROKER_URL": valkey.url,
            "OTEL_RESOURCE_ATTRIBUTES": "team=media,note=password:hunter22",
            **collector.env,
        }
        place = Place(folder / "place", env)
        worker = place.worker(valkey.url, "-c", 2, "--log-format", "json")
        ended = place.submit("--debug", "--log-format", "json", source, folder / "data" / "dst").finish()
        assert ended.code == 0, ended.err[-3000:] + worker.said()[-3000:]
        collector.wait_for(lambda: collector.named("task commit") and collector.named("job"), "spans of all")
        worker.stop()
        lines = [json.loads(line) for line in worker.said().splitlines()]
        yield Watched(ended, lines, collector, events())
        place.end()


def about_tasks(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if re.search(r"[Tt]ask\b.*hugesync\.", line["event"])]


def test_every_line_of_a_worker_about_a_task_says_job_task_file_and_part(watched: Watched) -> None:
    lines = about_tasks(watched.worker)
    assert len(lines) >= 6
    for line in lines:
        assert line["job"] == watched.job
        assert re.fullmatch(r"[bd]\d+\.\d+|[0-9a-f]{32}:\w+", line["task"]), line
        assert "path" in line or line.get("files", line.get("folders", 0)) > 1, line
    of_parts = sorted((line["path"], line["part"]) for line in lines if "hugesync.part" in line["event"])
    assert of_parts == [(MOVIE, "1/3"), (MOVIE, "2/3"), (MOVIE, "3/3")]
    assert "job" not in next(line for line in watched.worker if "serves queue" in line["event"]), (
        "one that is of no task"
    )


def test_every_line_of_the_coordinator_from_its_start_says_the_job(watched: Watched) -> None:
    lines = [json.loads(line) for line in watched.ended.err.splitlines()]
    start = next(n for n, line in enumerate(lines) if line["event"] == "job started")
    assert {line.get("job") for line in lines[start:]} == {watched.job}
    assert any(line["event"] == "work begins" for line in lines)


def test_a_jobs_spans_are_one_trace_with_job_file_and_part(watched: Watched) -> None:
    (job,) = watched.collector.named("job")
    tasks = [s for s in watched.collector.spans if s.name.startswith("task ")]
    calls = [s for s in watched.collector.spans if s.name.startswith(("source ", "destination "))]
    assert {s.attributes["job"] for s in watched.collector.spans} == {watched.job}
    assert {s.trace for s in watched.collector.spans} == {job.trace}
    assert {s.parent for s in tasks} == {job.id}
    assert {s.parent for s in calls} <= {job.id, *(s.id for s in tasks)}
    parts = sorted(watched.collector.named("task part"), key=lambda s: str(s.attributes["part"]))
    assert [(s.attributes["path"], s.attributes["part"], s.attributes["bytes"]) for s in parts] == [
        (MOVIE, "1/3", PART), (MOVIE, "2/3", PART), (MOVIE, "3/3", 1000),
    ]  # fmt: skip
    made = [s for s in calls if s.name in ("destination put_part", "destination copy_part")]
    assert {s.parent for s in made} == {s.id for s in parts}
    assert {s.attributes["path"] for s in made} == {MOVIE}
    assert any(s.name == "source list" and s.attributes["entries"] >= 6 and s.parent == job.id for s in calls)
    assert (job.attributes["state"], job.attributes["files.done"]) == ("done", 5)


def test_spans_come_from_the_workers_children_and_the_coordinator_and_from_no_process_that_forks(
    watched: Watched,
) -> None:
    main = next(line["process"] for line in watched.worker if "serves queue" in line["event"])
    children = {line["process"] for line in about_tasks(watched.worker)}
    tasks = {s.pid for s in watched.collector.spans if s.name.startswith("task ")}
    assert tasks <= children
    assert main not in {s.pid for s in watched.collector.spans}
    assert not any("thread before it forked" in line["event"] for line in watched.worker)


def test_nothing_that_is_logged_or_traced_holds_a_secret(watched: Watched) -> None:
    assert "hunter22" not in str(watched.worker) + watched.ended.err
    assert b"hunter22" not in b"".join(watched.collector.bodies)
    assert {s.resource["service.name"] for s in watched.collector.spans} == {"hugesync"}
    assert {s.resource["team"] for s in watched.collector.spans} == {"media"}, "the standard variables count"


def test_no_task_event_is_sent_unless_it_is_asked_for(watched: Watched) -> None:
    """What would be heard is heard in test_flower."""
    assert watched.events == ""
