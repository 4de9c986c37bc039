"""Metrics of a real job, by a real worker through a real Valkey to a real store, compared with what the job says of itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import yaml

import servers
from conftest import Bucket
from hugesync_tasks.metric_names import METRICS, samples
from hugesync_tasks.state.base import Task
from hugesync_tasks.state.redis import RedisLedger
from processes import Ended, Place, Running, pool_children, wait_until
from scrape import get, of
from scrape import samples as scraped

REPO = Path(__file__).parents[1]
PART = 5 << 20
EXPORTER = [sys.executable, "-m", "hugesync_worker.exporter"]  # what hugesync-exporter is
PASSWORD = "s3cret-of-redis"
NAME = "a-name-that-nobody-shall-see"
LONG, SHORT = 60.0, 20.0  # s, of waiting; the machine may be busy


def start_worker(place: Place, url: str, root: Path, port: int, *args: object, **env: str) -> Running:
    return place.worker(url, "--root", f"data={root}", "--metrics-port", port, *args, **env)


def wait_for(port: int, path: str, status: int = 200, timeout: float = LONG) -> str:
    wait_until(lambda: get(port, path)[0] == status, timeout, f"{status} of {path}", every=0.1)
    return get(port, path)[1]


@dataclass
class Watched:
    """What was scraped while two jobs ran, and how those ended."""

    ended: list[Ended] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=lambda: {"worker": [], "exporter": [], "job": []})
    last: dict[str, dict[str, float]] = field(default_factory=dict)  # the worker's, after the second job
    works: list[dict[str, int]] = field(default_factory=list)
    health: dict[str, tuple[int, str]] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)  # at the broker, when the worker had ended
    left: list[Any] = field(default_factory=list)

    def scrapes(self, who: str) -> list[dict[str, dict[str, float]]]:
        return [scraped(text) for text in self.texts[who]]


OF_JOB = ("sent", "put", "scanned", "a while")
OF_FLEET = ("running", "job")


def told(shown: dict[str, dict[str, float]]) -> list[str]:
    """Which of these a scrape tells."""
    facts = {
        "sent": any(n for labels, n in shown.get("hugesync_job_traffic_bytes", {}).items() if labels.endswith(" sent")),
        "put": any(n for labels, n in shown.get("hugesync_job_requests", {}).items() if labels.endswith(" put")),
        "scanned": any(shown.get("hugesync_job_scan_complete", {}).values()),
        "a while": any(n > 1 for n in shown.get("hugesync_job_elapsed_seconds", {}).values()),
        "running": of(shown, "ledger_tasks", "running") >= 1,
        "job": of(shown, "jobs", "running") == 1,
    }
    return [fact for fact, true in facts.items() if true]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, seaweedfs: servers.S3Server) -> Iterator[Watched]:
    tmp = tmp_path_factory.mktemp("watched")
    folder = tempfile.mkdtemp(prefix="hsm")
    server = servers.start_valkey(folder)
    acl = re.search(r"(?m)^ +user (hugesync .*)$", (REPO / "docs/security.md").read_text())
    assert acl is not None
    with redis.Redis.from_url(server.url) as r:
        r.execute_command("ACL", "SETUSER", *acl[1].replace("change-me", PASSWORD).split())
    url = server.url.replace("://", f"://hugesync:{PASSWORD}@")
    bucket = Bucket(seaweedfs, "metrics")
    bucket.client.create_bucket(Bucket="metrics")
    data, runtime = tmp / "data", tmp / "run"
    for path in (data / "src", data / "more", data / "dst" / "in the way", runtime):
        path.mkdir(parents=True)
    for n in range(20):
        (data / "src" / f"{NAME}-{n}").write_bytes(os.urandom(1_000))
    (data / "src" / "large").write_bytes(os.urandom(2 * PART))
    (data / "more" / "in the way").write_bytes(b"a file")
    env = {
        **bucket.env,
        "HUGESYNC_PART_SIZE": str(PART),
        "HUGESYNC_WORKER_ROOTS": f"data={data}",
        "TMPDIR": str(runtime),
    }
    place, it = Place(tmp / "place", env), Watched()
    of_worker, of_fleet, of_job = servers.free_ports(3)
    try:
        worker = start_worker(place, url, data, of_worker, "-c", 2)
        place.start([*EXPORTER, "--broker", url, "--metrics-port", str(of_fleet)])
        wait_for(of_worker, "/readyz")
        wait_until(lambda: '"slots": 2' in get(of_fleet, "/work")[1], LONG, "the fleet's figures", every=0.1)
        job = place.submit(
            "--broker",
            url,
            "--bwlimit",
            "512K",  # until all three have told what the tests want to see
            "--metrics-port",
            of_job,
            data / "src",
            "s3://metrics/",
            HUGESYNC_METRICS_PORT="0",
        )
        ports, facts = {"worker": of_worker, "exporter": of_fleet, "job": of_job}, set()
        with closing(RedisLedger.from_url(server.url)) as ledger:
            while job.process.poll() is None:
                for who, port in ports.items():
                    status, text = get(port, "/metrics")
                    if status == 200:
                        it.texts[who].append(text)
                        facts |= {(who, fact) for fact in told(scraped(text))}
                status, text = get(of_fleet, "/work")
                it.works += [json.loads(text)] if status == 200 else []
                if facts == {(who, fact) for who in ports for fact in OF_JOB} | {("worker", f) for f in OF_FLEET} | {
                    ("exporter", f) for f in OF_FLEET
                }:
                    ledger.set_meta(ledger.jobs()[0][0], bwlimit="0")
                time.sleep(0.1)
        it.ended.append(job.finish())
        it.ended.append(place.submit("--broker", url, data / "more", data / "dst").finish())
        wait_for(of_worker, "/consuming")
        both = {"done": 1.0, "done_with_errors": 1.0}
        wait_until(
            lambda: both.items() <= scraped(get(of_worker, "/metrics")[1])["hugesync_jobs_ended"].items(),
            SHORT,
            "both ends",
        )
        it.works.append(json.loads(get(of_worker, "/work")[1]))
        text = get(of_worker, "/metrics")[1]
        it.texts["worker"].append(text)
        it.last = scraped(text)
        it.health = {path: get(of_worker, path) for path in ("/livez", "/readyz", "/consuming")}
        worker.stop()
        wait_until(lambda: get(of_worker, "/livez")[0] == 0, SHORT, "the end of the exporter")
        it.left = [*runtime.iterdir()]
        with redis.Redis.from_url(server.url, decode_responses=True) as r:
            it.keys = sorted(r.keys("*"))
        assert PASSWORD not in worker.said()
    finally:
        place.end()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    yield it


def test_what_the_worker_counted_is_what_the_jobs_say(watched: Watched) -> None:
    first, second = (ended.summary for ended in watched.ended)
    assert (watched.ended[0].code, watched.ended[1].code) == (0, 1), watched.ended[1].err
    last = watched.last
    for outcome in ("done", "failed"):
        assert of(last, "files_total", outcome) == first["files"][outcome] + second["files"][outcome]
        assert of(last, "file_bytes_total", outcome) == first["bytes"][outcome] + second["bytes"][outcome]
    assert of(last, "files_total", "done") == 21
    for kind in ("sent", "received", "copied_server_side", "reused"):  # of the overhead some is the coordinator's
        assert of(last, "bytes_total", kind) == first["bytes"][kind] + second["bytes"][kind], kind
    assert of(last, "bytes_total", "sent") == 2 * PART + 20_000
    expected = {"put": 21, "create": 1, "part": 2, "complete": 1}  # 20 files and an intent; one upload
    for operation, n in expected.items():
        assert of(last, "requests_total", operation) == n, operation
        assert n <= first["requests"][operation], (
            "in the summary the probe's, which the coordinator makes, are beside them"
        )
    assert of(last, "failures_total", "permanent") == 1
    assert of(last, "retries_total") == first["retries"] + second["retries"]
    assert of(last, "tasks_total", "part ended") == 2
    assert of(last, "task_seconds_count", "part") == 2
    assert of(last, "task_seconds_sum", "part") > 1.0, "under its limit"
    assert of(last, "worked_bytes_total") >= 2 * PART


def test_while_the_job_ran_its_figures_obeyed_the_law_wherever_they_were_asked_for(watched: Watched) -> None:
    job = watched.ended[0].summary["job_id"]
    for who in ("worker", "exporter", "job"):
        told = [s for s in watched.scrapes(who) if s.get("hugesync_job_files")]
        assert len(told) >= 2, who
        for shown in told:
            for what in ("job_files", "job_bytes"):
                assert set(shown[f"hugesync_{what}"]) >= {f"{job} found"}
                parts = [of(shown, what, f"{job} {outcome}") for outcome in ("done", "skipped", "failed", "pending")]
                assert of(shown, what, f"{job} found") == sum(parts)
        moved = [of(shown, "job_traffic_bytes", f"{job} sent") for shown in told]
        assert moved == sorted(moved)
        assert 0 < moved[-1] <= watched.ended[0].summary["bytes"]["sent"], who
        assert max(of(shown, "job_elapsed_seconds", job) for shown in told) > 1.0
        assert max(of(shown, "job_scan_complete", job) for shown in told) == 1.0
        assert max(of(shown, "job_requests", f"{job} put") for shown in told) >= 1.0


def test_the_fleets_figures_tell_of_work_while_there_is_some(watched: Watched) -> None:
    assert max(work["unsettled"] for work in watched.works) >= 1
    assert max(work["running"] for work in watched.works) >= 1
    assert watched.works[-1] == {"unsettled": 0, "running": 0, "slots": 2, "jobs": 0}
    for who in ("worker", "exporter"):
        shown = watched.scrapes(who)
        assert max(of(s, "unsettled_tasks") for s in shown) >= 1
        assert max(of(s, "ledger_tasks", "running") for s in shown) >= 1
        assert {of(s, "slots") for s in shown} == {2.0}
        assert {of(s, "workers") for s in shown} == {1.0}
        assert max(of(s, "jobs", "running") for s in shown) == 1.0
    assert (of(watched.last, "jobs_ended", "done"), of(watched.last, "jobs_ended", "done_with_errors")) == (1.0, 1.0)


def test_the_worker_tells_of_itself(watched: Watched) -> None:
    last, during = watched.last, watched.scrapes("worker")
    assert (of(last, "worker_slots"), of(last, "worker_children"), of(last, "worker_busy_children")) == (2.0, 2.0, 0.0)
    assert max(of(s, "worker_busy_children") for s in during) >= 1.0
    assert max(of(s, "child_lease_timestamp_seconds", child) for s in during for child in "01") > time.time() - 3600
    assert {of(last, "child_lease_timestamp_seconds", child) for child in "01"} == {0.0}
    assert of(last, "worker_memory_limit_bytes") == 512 << 20
    memory = last["hugesync_worker_memory_bytes"]
    assert 10 << 20 < memory["largest_child"] < memory["children"] < 1 << 30
    assert memory["main"] > 10 << 20
    buffers = last["hugesync_worker_buffers"]
    assert {"hits", "misses", "waits", "wait_p50_seconds", "wait_p99_seconds", "held", "idle"} <= set(buffers)
    assert buffers["gets"] >= buffers["puts"] > 0
    assert 0 < buffers["high_water"] <= buffers["budget"]
    assert last["hugesync_worker_health"] == {"live": 1.0, "ready": 1.0, "consuming": 1.0}
    assert watched.health == {
        "/livez": (200, "live\n"),
        "/readyz": (200, "ready\n"),
        "/consuming": (200, "consuming\n"),
    }
    assert 0 < of(last, "worker_canary_seconds") < 60
    assert time.time() - 3600 < of(last, "canary_timestamp_seconds") <= time.time()


def test_every_metric_of_the_table_was_served_by_a_real_run(watched: Watched) -> None:
    seen = {who: {name for shown in watched.scrapes(who) for name in shown} for who in watched.texts}
    for metric in METRICS.values():
        by = {
            "child": ["worker"],
            "worker": ["worker"],
            "ledger": ["worker", "exporter"],
            "job": ["worker", "exporter"],
        }[metric.where]
        for who in by:
            assert set(samples(metric)) <= seen[who], (metric.name, who)
    of_the_job = {m.name for m in METRICS.values() if m.where == "job"} - {
        "hugesync_job_unsettled_tasks",
        "hugesync_job_told_age_seconds",
    }
    assert of_the_job == seen["job"], "what hugesync-submit --metrics-port serves"
    known = {name for metric in METRICS.values() for name in samples(metric)}
    assert set().union(*seen.values()) <= known, "and nothing is served that the table lacks"


def test_labels_have_only_the_values_of_the_table(watched: Watched) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    tables = {name: metric for metric in METRICS.values() for name in samples(metric)}
    for text in (texts[-1] for texts in watched.texts.values()):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                for label, value in sample.labels.items():
                    allowed = tables[sample.name].labels.get(label, ())
                    assert label == "le" or not allowed or value in allowed, sample


def test_no_name_of_a_file_and_no_secret_is_served_or_left(watched: Watched) -> None:
    for texts in watched.texts.values():
        for text in texts:
            assert NAME not in text
            assert PASSWORD not in text
    assert watched.left == [], "the folder that worker, children and exporter shared"
    assert [key for key in watched.keys if "canary" in key] == []


def named(text: str) -> set[str]:
    return set(re.findall(r"hugesync_[a-z_]+", text))


def test_every_metric_of_the_alerts_and_of_the_dashboard_is_served(watched: Watched) -> None:
    seen = {name for who in watched.texts for shown in watched.scrapes(who) for name in shown}
    rules = yaml.safe_load((REPO / "docker/prometheus/hugesync.rules.yml").read_text())
    in_rules = {name for group in rules["groups"] for rule in group["rules"] for name in named(rule["expr"])}
    dashboard = json.loads((REPO / "docker/grafana/dashboards/hugesync.json").read_text())
    exprs = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    exprs += [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    in_panels = {name for expr in exprs for name in named(expr)}
    assert in_rules <= seen
    assert in_panels <= seen
    assert len(in_rules) > 10
    missing = {m.name for m in METRICS.values()} - {name.removesuffix("_bucket") for name in in_panels}
    assert missing == set(), "no metric without a panel"


# ---- when things end, hang, or are taken


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "run").mkdir()
    it = Place(tmp_path / "place", {"TMPDIR": str(tmp_path / "run")})
    yield it
    it.end()


def exporter_of(worker: Running) -> psutil.Process:
    return next(p for p in worker.children() if "hugesync_worker.exporter" in p.cmdline())


def test_work_whose_messages_the_broker_lost_is_still_told_at_zero_workers(
    place: Place, broker: servers.ValkeyServer
) -> None:
    port = servers.free_ports(1)[0]
    place.start([*EXPORTER, "--broker", broker.url, "--metrics-port", str(port)])
    ledger = RedisLedger.from_url(broker.url)
    wait_for(port, "/readyz")
    assert json.loads(get(port, "/work")[1]) == {"unsettled": 0, "running": 0, "slots": 0, "jobs": 0}
    ledger.open_job("j", "{}")
    ledger.set_meta("j", state="running")
    ledger.offer("j", "{}")
    ledger.put_tasks("j", [Task(f"b0.{n}", "batch", "hs.any", n, "[]") for n in range(7)])
    assert ledger.queue_length("hs.any") == 0, "no message of them is there"
    told = {"unsettled": 7, "running": 0, "slots": 0, "jobs": 1}
    wait_until(lambda: json.loads(get(port, "/work")[1]) == told, SHORT, "the work", every=0.1)
    ledger.close()


@pytest.mark.full
def test_a_redis_that_hangs_is_an_error_and_never_no_work(place: Place, broker: servers.ValkeyServer) -> None:
    port = servers.free_ports(1)[0]
    place.start([*EXPORTER, "--broker", broker.url, "--metrics-port", str(port)])
    ledger = RedisLedger.from_url(broker.url)
    ledger.put_tasks("j", [Task("b0.1", "batch", "hs.any", 1, "[]")])
    ledger.offer("j", "{}")
    wait_until(lambda: '"unsettled": 1' in get(port, "/work")[1], LONG, "the work", every=0.1)
    broker.process.send_signal(signal.SIGSTOP)
    try:
        answers = []
        wait_until(lambda: answers.append(get(port, "/work")) or answers[-1][0] == 503, LONG, "an error", every=0.2)
        assert {json.loads(body)["unsettled"] for status, body in answers if status == 200} == {1}
        assert get(port, "/readyz")[0] == 503
        assert get(port, "/livez") == (200, "live\n")
        assert of(scraped(get(port, "/metrics")[1]), "ledger_up") == 0.0
    finally:
        broker.process.send_signal(signal.SIGCONT)
    ledger.close()


def test_a_killed_worker_takes_its_exporter_and_its_folder_with_it(
    place: Place, broker: servers.ValkeyServer, tmp_path: Path
) -> None:
    port = servers.free_ports(1)[0]
    worker = start_worker(place, broker.url, tmp_path, port, "-c", 1, "--metrics-host", "127.0.0.2")
    wait_until(lambda: get(port, "/livez", host="127.0.0.2")[0] == 200, LONG, "life", every=0.1)
    assert get(port, "/livez")[0] == 0, "it listens where it was told, and nowhere else"
    assert len([*(tmp_path / "run").glob("hugesync-metrics-*")]) == 1
    exporter = exporter_of(worker)
    worker.kill()
    psutil.wait_procs([exporter], timeout=SHORT)
    assert not exporter.is_running()
    assert place.left() == []
    wait_until(lambda: not [*(tmp_path / "run").glob("hugesync-metrics-*")], SHORT, "the folder's end")


def test_a_port_that_is_taken_is_a_warning_by_name_and_the_job_is_done(
    place: Place, broker: servers.ValkeyServer, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "f").write_bytes(b"x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = start_worker(place, broker.url, tmp_path, port, "-c", 1)
        said = f"metrics are not served: port {port} of 127.0.0.1 (metrics_port): another process has it"
        wait_until(lambda: said in worker.said(), LONG, "the warning")
        roots = {"HUGESYNC_WORKER_ROOTS": f"data={tmp_path}"}
        job = place.submit(
            "--broker", broker.url, "--metrics-port", port, tmp_path / "src", tmp_path / "dst", **roots
        ).finish()
    assert (job.code, job.summary["files"]["done"]) == (0, 1), job.err
    assert said.replace("metrics_port", "--metrics-port") in job.err
    assert worker.said().count(said) == 1


def test_without_a_place_for_the_files_the_worker_serves_no_metrics_and_does_its_work(
    place: Place, broker: servers.ValkeyServer, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "f").write_bytes(b"x")
    port = servers.free_ports(1)[0]
    gone = {"HUGESYNC_RUNTIME_DIR": str(tmp_path / "gone"), "HUGESYNC_WORKER_ROOTS": f"data={tmp_path}"}
    worker = start_worker(place, broker.url, tmp_path, port, "-c", 1, **gone)
    job = place.submit("--broker", broker.url, tmp_path / "src", tmp_path / "dst", **gone).finish()
    assert (job.code, job.summary["files"]["done"]) == (0, 1), job.err
    assert "metrics and health are not served: [Errno 2]" in worker.said()
    assert get(port, "/livez")[0] == 0


@pytest.mark.full
def test_a_plain_celery_worker_serves_them_too(place: Place, broker: servers.ValkeyServer) -> None:
    port = servers.free_ports(1)[0]
    celery = [sys.executable, "-m", "celery", "-A", "hugesync_tasks", "worker", "-c", "1"]
    worker = place.start(celery, HUGESYNC_BROKER_URL=broker.url, HUGESYNC_METRICS_PORT=str(port))
    wait_for(port, "/consuming")
    assert of(scraped(get(port, "/metrics")[1]), "worker_children") == 1
    assert worker.stop() == 0


@pytest.mark.full
def test_a_worker_that_is_told_to_end_says_so_while_its_part_is_finished(
    place: Place, broker: servers.ValkeyServer, tmp_path: Path, s3_bucket: Bucket
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "f").write_bytes(os.urandom(PART))
    port = servers.free_ports(1)[0]
    env = {**s3_bucket.env, "HUGESYNC_WORKER_ROOTS": f"data={tmp_path}"}
    worker = start_worker(place, broker.url, tmp_path, port, "-c", 1, **env)
    wait_for(port, "/readyz")
    job = place.submit(
        "--broker", broker.url, "--bwlimit", "512K", tmp_path / "src", f"s3://{s3_bucket.bucket}/", **env
    )
    wait_until(lambda: of(scraped(get(port, "/metrics")[1]), "worker_busy_children") == 1, LONG, "a part in hand")
    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: get(port, "/readyz") == (503, "ending\n"), SHORT, "the word", every=0.05)
    assert get(port, "/livez") == (200, "ending\n")
    assert get(port, "/consuming") == (503, "ending\n")
    assert job.finish().code == 0


@pytest.mark.full
def test_children_that_stand_still_are_seen_by_the_canary_and_its_message_does_not_outlive_its_minute(
    place: Place, broker: servers.ValkeyServer, tmp_path: Path
) -> None:
    port = servers.free_ports(1)[0]
    start_worker(place, broker.url, tmp_path, port, "-c", 2)
    wait_for(port, "/consuming")
    children = [p for p in pool_children(place) if "hugesync_worker.exporter" not in p.cmdline()]
    for child in children:
        child.send_signal(signal.SIGSTOP)
    said = wait_for(port, "/consuming", 503, 2 * LONG)
    assert re.fullmatch(r"a canary has not come back for \d+ s\n", said)
    assert (get(port, "/livez")[0], get(port, "/readyz")[0]) == (200, 200)
    with redis.Redis.from_url(broker.url, decode_responses=True) as r:
        assert all(0 < r.pttl(key) <= 60_000 for key in r.keys("*canary*"))
    for child in children:
        child.send_signal(signal.SIGCONT)
    wait_for(port, "/consuming", 200, 2 * LONG)


@pytest.mark.full
def test_an_exporter_that_is_killed_is_started_again_and_its_worker_goes_on(
    place: Place, broker: servers.ValkeyServer, tmp_path: Path
) -> None:
    port = servers.free_ports(1)[0]
    worker = start_worker(place, broker.url, tmp_path, port, "-c", 1)
    wait_for(port, "/livez")
    exporter_of(worker).kill()
    wait_until(lambda: get(port, "/livez")[0] == 0, SHORT, "its end", every=0.01)
    wait_for(port, "/consuming")
    assert "the exporter ended with exit code -9 and is started again" in worker.said()
    assert worker.stop() == 0
    assert place.left() == []


@pytest.mark.full
def test_a_redis_that_is_away_makes_workers_unready_and_kills_none(
    place: Place, broker: servers.ValkeyServer, tmp_path: Path
) -> None:
    port = servers.free_ports(1)[0]
    start_worker(place, broker.url, tmp_path, port, "-c", 1)
    wait_for(port, "/consuming")
    broker.process.kill()
    assert "cannot be reached" in wait_for(port, "/readyz", 503)
    assert get(port, "/livez") == (200, "live\n")
    assert get(port, "/work")[0] in (200, 503)
    assert "no canary could be sent" in wait_for(port, "/consuming", 503)
