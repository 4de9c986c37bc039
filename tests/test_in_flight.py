"""What is seen of files on their way: those in parts and those that go in one piece, and how far each has come."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Bucket
from hugesync_producer.dispatch import CHECK_EVERY, Dispatcher
from hugesync_producer.inflight import in_flight
from hugesync_producer.plan import Segment
from hugesync_producer.pool import Pool
from hugesync_producer.sync import sync
from hugesync_producer.units import Units
from hugesync_producer.window import Window
from hugesync_tasks.config import load
from hugesync_tasks.model import Entry, Kind, Meta, Part, Transfer, Upload
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.stages.begin import LargeFile
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Event
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_objects import S3_LIKE
from hugesync_tasks.summary import Snapshot, Unobserved
from hugesync_tasks.tally import Tally
from processes import Place
from slowproxy import SlowProxy

MIB = 1 << 20
JOB = "j"
PART = 16 * MIB
LONG = 60_000  # ms


class Bench:
    """Units over a ledger in memory; messages that nobody reads; a clock that a look moves."""

    def __init__(self, remote_source: bool = False, same_bucket: bool = False) -> None:
        self.now = 1000.0
        self.ledger = MemoryLedger(lambda: self.now)
        spec = Spec(JOB, Location("s3", bucket="a"), Location("s3", bucket="b"), options=Options(part_size=PART))
        dest = MemoryStore(limits=S3_LIKE)
        source = MemoryStore(dest.bucket if same_bucket else None, limits=replace(S3_LIKE, remote=remote_source))
        self.dispatcher = Dispatcher(self.ledger, lambda *_: None, JOB, lambda: self.now)
        pool = Pool(self.ledger, spec, embedded=True, clock=lambda: self.now)
        self.units = Units(JobContext(spec, source, dest), self.ledger, self.dispatcher, Window(), pool)

    def plan(self, *sizes: int) -> None:
        """Files called by their sizes in MiB; those over a part go in parts, the others in a batch each."""
        transfers = [Transfer(Entry(f"{n} MiB", Kind.FILE, n * MIB)) for n in sizes]
        tally = Tally()
        for transfer in transfers:
            tally.find("pending", transfer.source.size)
        larges = [t for t in transfers if t.source.size > PART]
        self.units.add(Segment("~", tally, tuple((t,) for t in transfers if t not in larges), tuple(larges)))
        self.units.fill()

    def begin(self, size: int) -> list[str]:
        """The upload of the one large file stands; the ids of its parts' tasks."""
        (begin,) = self.tasks("begin")
        file = begin.split(":")[0]
        large = LargeFile(
            Upload(f"{size // MIB} MiB", "u", "g", size, PART), Meta(), Entry("", Kind.FILE), None, "full"
        )
        fields = large.fields()
        self.ledger.set_upload(JOB, file, fields)
        self.units.on_event(Event(begin, {"file": fields}))
        self.units.fill()
        return self.tasks("part")

    def renews(self, task: str, fence: int = 1, **traffic: int) -> None:
        """The worker that has ``task``, or takes it now, renews its lease; then the dispatcher looks."""
        if self.ledger.statuses(JOB, [task])[0].state == "queued":
            self.ledger.claim(JOB, task, "w", LONG, 5)
        self.ledger.renew(JOB, task, fence, LONG, {f"bytes.{name}": n for name, n in traffic.items()})
        self.look()

    def look(self) -> None:
        self.now += CHECK_EVERY
        self.dispatcher.look(lambda: None)

    def tasks(self, kind: str) -> list[str]:
        return [out.task.id for out in self.dispatcher.out.values() if out.task.kind == kind]


def test_a_file_in_one_piece_is_seen_from_its_claim_on_and_as_far_as_its_renewals_say() -> None:
    bench = Bench()
    bench.plan(12)
    bench.look()
    assert in_flight(bench.units) == ()
    (task,) = bench.tasks("batch")
    bench.renews(task)
    assert in_flight(bench.units) == (("12 MiB", 0, 12 * MIB),)
    bench.renews(task, sent=5 * MIB)
    assert in_flight(bench.units) == (("12 MiB", 5 * MIB, 12 * MIB),)
    bench.renews(task, sent=9 * MIB, overhead=9)  # a part of it was sent again
    assert in_flight(bench.units) == (("12 MiB", 12 * MIB, 12 * MIB),)


def test_a_small_file_is_not_seen() -> None:
    bench = Bench()
    bench.plan(7)
    (task,) = bench.tasks("batch")
    bench.renews(task, sent=MIB)
    assert in_flight(bench.units) == ()


def test_a_file_in_parts_moves_inside_its_parts_and_counts_no_byte_twice() -> None:
    bench = Bench()
    bench.plan(40)
    first, second, third = bench.begin(40 * MIB)
    bench.renews(first, sent=3 * MIB)
    bench.renews(second, sent=20 * MIB)  # more than it has: sent again
    assert in_flight(bench.units) == (("40 MiB", 19 * MIB, 40 * MIB),)
    bench.units.on_event(Event(second, {"part": Part(2, PART, "e").wire(), "answer": "MORE"}))
    assert in_flight(bench.units) == (("40 MiB", 19 * MIB, 40 * MIB),)
    bench.renews(third, sent=9 * MIB)  # the last part has 8
    bench.units.on_event(Event(first, {"part": Part(1, PART, "e").wire(), "answer": "MORE"}))
    assert in_flight(bench.units) == (("40 MiB", 40 * MIB, 40 * MIB),)


def test_what_passes_through_a_worker_between_two_stores_is_half_way_when_it_was_received() -> None:
    bench = Bench(remote_source=True)
    bench.plan(12)
    (task,) = bench.tasks("batch")
    bench.renews(task, received=12 * MIB)
    assert in_flight(bench.units) == (("12 MiB", 6 * MIB, 12 * MIB),)
    bench.renews(task, sent=12 * MIB)
    assert in_flight(bench.units) == (("12 MiB", 12 * MIB, 12 * MIB),)


def test_what_a_store_copies_within_itself_counts_once() -> None:
    bench = Bench(remote_source=True, same_bucket=True)
    bench.plan(40)
    (first, *_) = bench.begin(40 * MIB)
    bench.renews(first, copied_server_side=10 * MIB)
    assert in_flight(bench.units) == (("40 MiB", 10 * MIB, 40 * MIB),)


def test_a_task_that_is_sent_again_begins_at_nothing_and_the_largest_file_comes_first() -> None:
    bench = Bench()
    bench.plan(9, 16, 12)
    for task in bench.tasks("batch"):
        bench.renews(task, sent=MIB)
    assert [size for _, _, size in in_flight(bench.units)] == [16 * MIB, 12 * MIB, 9 * MIB]
    bench.now += LONG / 1000
    bench.look()  # the leases are over: all three are queued again
    assert in_flight(bench.units) == ()


class Watching(Unobserved):
    def __init__(self) -> None:
        self.seen: list[Snapshot] = []

    def on_progress(self, snapshot: Snapshot) -> None:
        self.seen.append(snapshot)


def test_a_real_job_shows_its_files_between_nothing_and_their_end(
    tmp_path: Path, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "one piece").write_bytes(os.urandom(12 * MIB))
    (tree / "parts").write_bytes(os.urandom(24 * MIB))
    watching = Watching()
    with SlowProxy(s3_bucket.endpoint, rate=4 * MIB) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        settings = load({"state_dir": str(tmp_path / "state")})
        summary = sync(str(tree), f"s3://{s3_bucket.bucket}/t", settings=settings, observer=watching)
    assert summary.files["done"] == 2
    seen = {
        key: [moved for s in watching.seen for k, moved, _ in s.in_flight if k == key] for key in ("one piece", "parts")
    }
    assert any(0 < moved < 12 * MIB for moved in seen["one piece"])
    assert any(moved not in (0, 8 * MIB, PART, 24 * MIB) for moved in seen["parts"])  # inside a part
    rates = [s.moved_bytes for s in watching.seen]
    assert len(set(rates)) >= 5  # 36 MiB at 4 MiB/s, told once a second
    assert rates == sorted(rates)


@pytest.mark.full
def test_the_status_of_a_running_job_is_seconds_old_and_shows_what_is_in_flight(
    tmp_path: Path, s3_bucket: Bucket
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(os.urandom(24 * MIB))
    with SlowProxy(s3_bucket.endpoint, rate=2 * MIB) as proxy:
        place = Place(tmp_path / "place", {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": proxy.endpoint})
        try:
            running = place.submit(tmp_path / "tree", f"s3://{s3_bucket.bucket}/t")
            rows, deadline = [], time.monotonic() + 60
            while not (rows and rows[0]["moved"]) and time.monotonic() < deadline:
                time.sleep(0.2)
                jobs = json.loads(place.command("jobs", "--json").out)["jobs"]
                if jobs:
                    job = jobs[0]["job_id"]
                    found = json.loads(place.command("status", job, "--json").out)
                    rows = found["as_of"]["in_flight"]
            assert [(row["path"], row["size"]) for row in rows] == [("file", 24 * MIB)]
            assert found["state"] == "running"
            assert found["as_of"]["checkpoint"] is False
            assert found["as_of"]["seconds_ago"] < 10
            assert found["files"]["pending"] == 1
            text = place.command("status", job).out
            assert "As of " in text
            assert "  file: " in text
            assert running.finish().code == 0
            assert "as_of" not in json.loads(place.command("status", job, "--json").out)
        finally:
            place.end()
