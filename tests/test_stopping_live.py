"""Ctrl-C, SIGTERM and pause on running processes: what is in hand reaches the store, nothing else is begun."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

import servers
from compare import differences, tree
from conftest import Bucket
from hugesync_producer.stopping import DRAIN
from midway import PART
from processes import Place, wait_until
from scale import mostly_full
from slowproxy import SlowProxy

FILE = 8 * PART
CRAWL = PART // 4  # as long as nobody is to get anywhere
RATE = 2 * PART  # bytes per second: a part takes a second, of two at once each two


def begun(proxy: SlowProxy) -> list[str]:
    return [e.path for e in list(proxy.exchanges) if e.method == "PUT" and "/to/large?" in e.path]


def ended_well(proxy: SlowProxy) -> list[str]:
    return [e.path for e in list(proxy.exchanges) if e.method == "PUT" and "/to/large?" in e.path and e.status == 200]


def a_file(folder: Path) -> Path:
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(FILE))
    return folder


@pytest.mark.parametrize("how", mostly_full([signal.SIGTERM, signal.SIGINT], 1))
def test_one_signal_lets_the_parts_in_hand_finish_and_begins_no_other(
    how: signal.Signals, place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    source = a_file(tmp_path / "src")
    proxy.rate = RATE
    run = place.submit(source, f"s3://{s3_bucket.bucket}/to")
    wait_until(lambda: len(begun(proxy)) >= 3, what="the third part")
    run.process.send_signal(how)
    wait_until(lambda: "stopping: what is in hand may finish" in run.said(), what="an answer")
    time.sleep(0.5)  # a worker that had its part already is seen to begin it
    known = len(begun(proxy))
    ended = run.finish(60)
    assert (ended.code, ended.summary["state"]) == (130, "interrupted"), ended.err
    job = ended.summary["job_id"]
    assert ended.err.strip().endswith(f"interrupted; to go on: hugesync resume {job}")
    assert len(begun(proxy)) == known < FILE // PART
    assert len(ended_well(proxy)) == known, "each that was begun is there"
    proxy.rate = None
    again = place.resume(job).finish()
    assert again.code == 0, again.err
    assert again.summary["bytes"]["sent"] == FILE - known * PART


@pytest.mark.full
def test_a_paused_job_of_a_fleet_stands_still_through_the_death_of_its_coordinator(
    place: Place, proxy: SlowProxy, broker: servers.ValkeyServer, s3_bucket: Bucket, tmp_path: Path
) -> None:
    source = a_file(tmp_path / "src")
    fleet = ("--broker", broker.url)
    proxy.rate = CRAWL
    place.worker(broker.url, "--root", f"data={tmp_path}")
    run = place.submit(*fleet, source, f"s3://{s3_bucket.bucket}/to", HUGESYNC_WORKER_ROOTS=f"data={tmp_path}")
    wait_until(lambda: len(begun(proxy)) >= 2, what="the second part", timeout=90)
    (job,) = [line.split()[0] for line in place.command("jobs", *fleet).out.splitlines()[1:]]
    assert place.command("pause", job, *fleet).code == 0
    wait_until(lambda: "paused: what is in hand finishes" in run.said(), what="the notice")
    proxy.rate = None
    wait_until(lambda: len(ended_well(proxy)) == len(begun(proxy)), what="the parts in hand")
    known = len(begun(proxy))
    assert known < FILE // PART
    time.sleep(15)
    assert len(begun(proxy)) == known, "nothing is sent, and nothing is sent twice"
    assert place.command("jobs", *fleet).out.splitlines()[1].split()[1] == "paused"

    run.kill()
    wait_until(lambda: "coordinates it" not in place.command("status", job, *fleet).out, what="a stand-in", timeout=120)
    time.sleep(5)
    assert len(begun(proxy)) == known, "whoever takes its place keeps to it"
    ended = place.resume(job, *fleet).finish()
    assert (ended.code, ended.summary["state"], ended.summary["files"]["done"]) == (0, "done", 1), ended.err
    assert "goes on in the process that runs it" in ended.err
    out = tmp_path / "out"
    assert place.submit(f"s3://{s3_bucket.bucket}/to", out).finish().code == 0
    assert differences(tree(source), tree(out)) == []


@pytest.mark.full
def test_a_job_of_this_machine_is_paused_and_goes_on(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    source = a_file(tmp_path / "src")
    proxy.rate = CRAWL
    run = place.submit(source, f"s3://{s3_bucket.bucket}/to")
    wait_until(lambda: len(begun(proxy)) >= 2, what="the second part")
    (job,) = [line.split()[0] for line in place.command("jobs").out.splitlines()[1:]]
    assert place.command("pause", job).code == 0
    wait_until(lambda: "paused: what is in hand finishes" in run.said(), what="the notice")
    proxy.rate = None
    wait_until(lambda: len(ended_well(proxy)) == len(begun(proxy)), what="the parts in hand")
    known = len(begun(proxy))
    assert json.loads(place.command("status", job, "--json").out)["paused"] is True
    time.sleep(DRAIN)
    assert len(begun(proxy)) == known < FILE // PART
    assert place.resume(job).finish().code == 0
    ended = run.finish()
    assert (ended.code, ended.summary["bytes"]["sent"]) == (0, FILE)
