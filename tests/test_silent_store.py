"""A store that accepts and never answers holds nobody: Ctrl-C and cancel end a run at once, a time-out ends a wait."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import servers
from compare import differences, tree
from conftest import Bucket
from hugesync_producer import ends
from hugesync_producer.stopping import DRAIN
from hugesync_producer.sync import sync
from hugesync_tasks.config import load
from hugesync_tasks.errors import Transient
from hugesync_tasks.stores import s3_client
from hugesync_tasks.summary import state_of_error
from impatient_worker import SECONDS
from processes import Place, Running, wait_until
from scale import mostly_full
from slowproxy import SlowProxy

PROMPT = 3.0  # seconds from the signal to the end


def prompt(start: float) -> float:
    """``PROMPT``; where this machine took longer than that to come from the run's ``start`` to where it is held, as long."""
    return max(PROMPT, time.monotonic() - start)


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy) -> Iterator[Place]:
    it = Place(tmp_path / "place", {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": proxy.endpoint})
    yield it
    it.end()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    for i in range(5):
        (folder / f"f{i}").write_text("x" * (i + 1))
    (folder / "large").write_bytes(os.urandom(20 << 20))
    return folder


def interrupted(run: Running) -> None:
    """Ctrl-C until it ends (a second one does not wait for what is in hand), and what must come of it."""
    bound = prompt(psutil.Process(run.pid).create_time() - time.time() + time.monotonic())
    began = time.monotonic()
    run.interrupt()
    ended = run.finish(90)
    took = time.monotonic() - began
    assert (ended.code, ended.summary.get("state")) == (130, "interrupted"), ended.err
    assert took < bound, f"{took:.1f} s"
    assert ended.err.strip().splitlines()[-1].startswith("hugesync-submit: interrupted")


UP = {
    "the first listing": ("GET", "max-keys=1&"),
    "the listing": ("GET", "max-keys=1000"),
    "a small file": ("PUT", "/up/f3"),
    "a part": ("PUT", "/up/large?uploadId"),
    "the probe": ("PUT", "/.hugesync/probe"),
    "beginning a large file": ("POST", "/up/large?uploads"),
    "the completion": ("POST", "/up/large?uploadId"),
}


@pytest.mark.parametrize("at", mostly_full(UP, 3))
def test_ctrl_c_ends_an_upload_to_a_silent_store_at_once(
    at: str, place: Place, proxy: SlowProxy, s3_bucket: Bucket, source: Path
) -> None:
    proxy.hold_at(*UP[at])
    run = place.submit(source, f"s3://{s3_bucket.bucket}/up")
    proxy.held()
    interrupted(run)
    assert place.left() == []


@pytest.mark.full
def test_one_ctrl_c_waits_for_what_a_silent_store_holds_ten_seconds_and_no_longer(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, source: Path
) -> None:
    proxy.hold_at(*UP["a part"])
    run = place.submit(source, f"s3://{s3_bucket.bucket}/up")
    proxy.held()
    began = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    ended = run.finish(90)
    assert DRAIN <= time.monotonic() - began < DRAIN + 10
    assert (ended.code, ended.summary["state"]) == (130, "interrupted"), ended.err
    assert "stopping: what is in hand may finish, for 10 s at most" in ended.err
    assert place.left() == []


DOWN = {
    "what a prefix is": ("HEAD", "/up", 1, ""),
    "reading a small file": ("GET", "/up/f3", 1, ""),
    "reading a large file": ("GET", "/up/large", 1, ""),
    "the listing": ("GET", "max-keys=1000", 1, ""),
    "what a file is": ("HEAD", "/up/f3", 1, "/f3"),
    "what a file is, once more": ("HEAD", "/up/f3", 2, "/f3"),
}


@pytest.mark.parametrize("at", mostly_full(DOWN, 2))
def test_ctrl_c_ends_a_download_from_a_silent_store_at_once(
    at: str, place: Place, proxy: SlowProxy, s3_bucket: Bucket, source: Path, tmp_path: Path
) -> None:
    there = f"s3://{s3_bucket.bucket}/up"
    assert place.submit(source, there).finish().code == 0
    method, part, nth, below = DOWN[at]
    proxy.hold_at(method, part, nth)
    run = place.submit(there + below, tmp_path / "out")
    proxy.held()
    interrupted(run)
    assert place.left() == []


@pytest.mark.full
def test_ctrl_c_ends_a_dry_run_that_looks_at_a_silent_stores_objects(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, source: Path
) -> None:
    there = f"s3://{s3_bucket.bucket}/up"
    assert place.submit(source, there).finish().code == 0
    proxy.hold_at("HEAD", "/up/f")
    run = place.submit("--dry-run", source, there)
    proxy.held()
    interrupted(run)


def fleet_worker(place: Place, broker: servers.ValkeyServer, root: Path) -> Running:
    command = [sys.executable, "-m", "impatient_worker", "--broker", broker.url, "--root", f"data={root}", "-c", "1"]
    return place.start([*command, "-v"])


@pytest.mark.parametrize("at", mostly_full(["a part", "the listing", "a small file", "the completion"], 1))
def test_ctrl_c_ends_a_job_of_a_fleet_at_once(
    at: str, place: Place, proxy: SlowProxy, broker: servers.ValkeyServer, s3_bucket: Bucket, source: Path
) -> None:
    fleet_worker(place, broker, source)
    proxy.hold_at(*UP[at])
    run = place.submit("--broker", broker.url, source, f"s3://{s3_bucket.bucket}/up")
    proxy.held()
    interrupted(run)


@pytest.mark.parametrize("at", mostly_full(["a small file", "a part", "beginning a large file", "the completion"], 2))
def test_a_cancelled_job_ends_at_once_and_its_worker_is_free_at_its_sockets_time_out(
    at: str,
    place: Place,
    proxy: SlowProxy,
    broker: servers.ValkeyServer,
    s3_bucket: Bucket,
    source: Path,
    tmp_path: Path,
) -> None:
    fleet = ("--broker", broker.url)
    worker = fleet_worker(place, broker, tmp_path)
    method, part = UP[at]
    proxy.hold_at(method, part)
    started = time.monotonic()
    run = place.submit(*fleet, source, f"s3://{s3_bucket.bucket}/up")
    proxy.held()
    held = time.monotonic()
    bound = prompt(started)
    (job,) = [line.split()[0] for line in place.command("jobs", *fleet).out.splitlines()[1:]]
    assert place.command("cancel", job, *fleet).code == 0
    told = time.monotonic()
    already = len(proxy.exchanges)
    ended = run.finish()
    assert time.monotonic() - told < bound
    assert (ended.code, ended.summary["state"]) == (130, "cancelled"), ended.err

    wait_until(lambda: "Cancelled" in worker.said() or "cancelled" in worker.said(), what="the child")
    assert time.monotonic() - told < SECONDS + bound
    asked = [e for e in proxy.exchanges if e.method == method and part in e.path]
    twice = len(asked) - len({e.path for e in asked})
    assert twice <= (told - held) // SECONDS, "nothing is asked twice, but for time-outs that passed before the cancel"
    assert [e for e in proxy.exchanges[already:] if e.method == method and part in e.path] == [], "or after it"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "f").write_text("x")
    assert place.submit(*fleet, tmp_path / "other", tmp_path / "out").finish().code == 0
    assert differences(tree(tmp_path / "other"), tree(tmp_path / "out")) == []


def test_a_listing_that_never_answers_ends_as_unreachable_after_a_bounded_time(
    proxy: SlowProxy, s3_bucket: Bucket, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a second in place of the minute that one request, and the minute that its repeats may take."""
    monkeypatch.setattr(s3_client, "READ_TIMEOUT", 1.0)
    monkeypatch.setattr(ends, "PATIENCE", 1.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    proxy.hold_at(*UP["the listing"])
    settings = load({"state_dir": str(tmp_path / "state")})
    began = time.monotonic()

    with pytest.raises(Transient, match="cannot list") as raised:
        sync(str(source), f"s3://{s3_bucket.bucket}/up", settings=settings)

    assert state_of_error(raised.value).exit_code == 5
    assert time.monotonic() - began < 10
    lists = [e for e in proxy.exchanges if "max-keys=1000" in e.path]
    assert 2 <= len(lists) <= 3


@pytest.mark.full
def test_an_endpoint_that_never_answers_at_all_is_unreachable_after_ten_seconds(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, source: Path
) -> None:
    proxy.hold_at("GET")
    began = time.monotonic()
    ended = place.submit(source, f"s3://{s3_bucket.bucket}/up").finish()
    assert (ended.code, ended.summary["state"]) == (5, "stalled")
    assert 10 <= time.monotonic() - began < 15
