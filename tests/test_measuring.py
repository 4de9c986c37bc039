"""What a worker's child counts, and that no failure of it is ever a task's."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest
from prometheus_client import values
from prometheus_client.multiprocess import MultiProcessCollector

from hugesync_tasks import consumer, measuring
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.exporting import Exporting
from hugesync_tasks.lease import COMMIT_LEASE_MS, LEASE_MS, Lease
from hugesync_tasks.metric_names import KINDS, METRICS, OTHER, SECONDS
from hugesync_tasks.model import Outcome
from hugesync_tasks.perform import KINDS as PERFORMED
from hugesync_tasks.state.base import Task
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.token import Meter
from hugesync_tasks.vitals import CHILDREN, Child, Vitals
from hugesync_worker.selffigures import WorkerFigures


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of a worker that serves metrics; nothing is counted after the test."""
    before = values.ValueClass
    monkeypatch.setattr(measuring, "folder", str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    Vitals(str(tmp_path)).make()
    yield tmp_path
    values.ValueClass = before
    measuring._measures = measuring._vitals = None


def counted(folder: Path) -> dict[str, float]:
    """Name and labels -> value, of all that is not 0."""
    found = {}
    for metric in MultiProcessCollector.merge([str(p) for p in folder.glob("*.db")]):
        for sample in metric.samples:
            if sample.value:
                found[sample.name + "".join(f" {v}" for _, v in sorted(sample.labels.items()))] = sample.value
    return found


def test_each_kind_of_task_has_its_name() -> None:
    assert {*PERFORMED, OTHER} == set(KINDS)


def test_names_are_as_prometheus_wants_them() -> None:
    for name, metric in METRICS.items():
        assert name.startswith("hugesync_")
        assert name.endswith("_total") == (metric.kind == "counter")
        assert metric.kind in ("counter", "gauge", "histogram")
    unbounded = {label for m in METRICS.values() for label, known in m.labels.items() if not known}
    assert unbounded == {"child", "stat", "queue", "job", "version"}


def test_traffic_is_counted_when_it_is_taken_once(folder: Path) -> None:
    measuring.start(0)
    meter = measuring.CountedMeter()
    for name, n in (
        ("bytes.sent", 70),
        ("bytes.overhead", 5),
        ("requests.put", 2),
        ("retries", 3),
        ("throttled", 1),
        ("held", 4),
    ):
        meter.add(name, n)
    meter.add("bytes.of_another_release", 9)
    assert meter.take()["bytes.sent"] == 70
    assert meter.take() == {}
    assert counted(folder) == {
        "hugesync_bytes_total sent": 70, "hugesync_bytes_total overhead": 5, "hugesync_requests_total put": 2,
        "hugesync_retries_total": 3, "hugesync_throttled_total": 1, "hugesync_held_total": 4,
    }  # fmt: skip


def test_files_and_failures_are_counted_by_outcome(folder: Path) -> None:
    measuring.start(0)
    for outcome, size in (
        (Outcome("done"), 10), (Outcome("skipped", "same"), 20), (Outcome("failed", FailureClass.NEEDS_PERSON), 40),
        (Outcome("failed", "of another release"), 1), (Outcome("deleted"), 0), (Outcome("replan", "conflict"), 7),
    ):  # fmt: skip
        measuring.finished(outcome, size)
    assert counted(folder) == {
        "hugesync_files_total done": 1, "hugesync_files_total skipped": 1, "hugesync_files_total failed": 2,
        "hugesync_files_total deleted": 1, "hugesync_file_bytes_total done": 10, "hugesync_file_bytes_total skipped": 20,
        "hugesync_file_bytes_total failed": 41, "hugesync_failures_total needs_person": 1, "hugesync_failures_total permanent": 1,
    }  # fmt: skip


def test_a_task_is_counted_with_its_end_its_time_and_what_it_did_not_record(folder: Path) -> None:
    measuring.start(0)
    meter: Meter = measuring.CountedMeter()
    with pytest.raises(ValueError), measuring.performing("part", meter, lambda: 9) as performed:
        measuring.leased(30_000)
        assert Vitals(str(folder)).read()[0].until > 0
        meter.add("bytes.received", 8)
        performed.result = "stopped"
        raise ValueError
    found = counted(folder)
    assert found["hugesync_tasks_total part stopped"] == 1
    assert found["hugesync_task_seconds_count part"] == 1
    assert (found["hugesync_bytes_total received"], found["hugesync_worked_bytes_total"]) == (8, 9)
    assert Vitals(str(folder)).read()[0].until == 0


def test_a_replaced_child_goes_on_where_the_dead_one_stopped_and_there_are_no_more_files(folder: Path) -> None:
    for _ in range(3):  # three children, one after another in the same place of the pool
        measuring.start(0)
        measuring.worked(100)
    measuring.start(1)
    measuring.worked(1)
    assert counted(folder) == {"hugesync_worked_bytes_total": 301}
    assert sorted(p.name for p in folder.glob("*.db")) == [
        "counter_0.db",
        "counter_1.db",
        "histogram_0.db",
        "histogram_1.db",
    ]


def test_counters_begin_at_nothing_so_that_the_first_failure_is_an_increase(folder: Path) -> None:
    measuring.start(0)
    merged = {m.name: m for m in MultiProcessCollector.merge([str(folder / "counter_0.db")])}
    classes = {s.labels["class"]: s.value for s in merged["hugesync_failures"].samples}
    assert classes == dict.fromkeys(FailureClass, 0)


def test_all_that_a_child_can_count_fits_into_its_files_which_never_grow(folder: Path) -> None:
    measuring.start(0)
    for kind, result in product(
        METRICS["hugesync_tasks_total"].labels["kind"], METRICS["hugesync_tasks_total"].labels["result"]
    ):
        measuring.task(kind, result, SECONDS[-1] + 1)
    assert measuring._measures is not None
    assert {p.stat().st_size for p in folder.glob("*.db")} == {measuring.FILE_BYTES}
    blocks = min(p.stat().st_blocks * 512 for p in folder.glob("*.db"))
    assert blocks >= measuring.FILE_BYTES, "a sparse page that the disk cannot hold would kill the process"


@pytest.mark.parametrize("full", [True, False])
def test_where_nothing_can_be_counted_tasks_go_on_and_it_is_said_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, full: bool
) -> None:
    def no_space(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if full:
        monkeypatch.setattr(os, "posix_fallocate", no_space)
        measuring.start(0)
    else:
        measuring.start(0)
        monkeypatch.setattr(measuring.Measures, "of", lambda *a, **k: 1 / 0)
    with measuring.performing("part", measuring.CountedMeter(), lambda: 1):
        measuring.worked(5)
        measuring.finished(Outcome("done"), 1)
        measuring.traffic({"bytes.sent": 3})
    assert len([r for r in caplog.records if "metrics" in r.message]) == 1
    assert measuring._measures is None
    measuring.canary(7.0)  # health does not depend on them
    assert Vitals(str(folder)).read()[0].canary == 7.0


def test_a_child_of_a_worker_without_metrics_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "folder", "")
    measuring.start(0)
    measuring.worked(1)
    measuring.leased(1)
    measuring.canary(1.0)
    assert measuring._measures is None
    assert list(tmp_path.iterdir()) == []


def test_signs_of_life_are_each_childs_own_and_writing_them_never_raises(tmp_path: Path) -> None:
    vitals = Vitals(str(tmp_path))
    vitals.make()
    vitals.begins(1)
    vitals.leased(1, 5.5)
    vitals.took_canary(2, 6.5)
    vitals.leased(CHILDREN, 1.0)  # beyond the file
    children = vitals.read()
    assert (len(children), children[0]) == (CHILDREN, Child())
    assert (children[1], children[2]) == (Child(5.5, 0.0, os.getpid()), Child(0.0, 6.5, 0.0))
    assert vitals.since_turned() < 60
    assert not vitals.is_ending()
    vitals.ending()
    assert vitals.is_ending()
    gone = Vitals(str(tmp_path / "gone"))
    gone.leased(0, 1.0)
    gone.turned()
    gone.ending()


def test_the_figures_of_a_workers_buffers_reach_its_exporter_whatever_they_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing = ModuleType("hugesync_tasks.buffers.sharing")
    sharing.stats = lambda: {"gets": 7, "wait_p99_seconds": 0.25, "no name": 1, "word": "x"}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, sharing.__name__, sharing)
    monkeypatch.setattr(measuring, "folder", "")
    exporting = Exporting(Settings(runtime_dir=tmp_path))
    try:
        monkeypatch.setattr(exporting, "start", lambda: None)
        exporting.tick()
        shown = WorkerFigures(exporting.vitals, os.getpid(), 1, lambda: None, dict, lambda: 0.0)
        [family] = [f for f in shown.collect() if f.name == "hugesync_worker_buffers"]
        assert {s.labels["stat"]: s.value for s in family.samples} == {"gets": 7.0, "wait_p99_seconds": 0.25}
    finally:
        exporting.stop()
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_is_swept_and_what_a_living_worker_has_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "folder", "")
    for name in ("dead", "begins"):
        (tmp_path / f"hugesync-metrics-{name}").mkdir()
    (tmp_path / "hugesync-metrics-dead" / "lock").touch()
    living = Exporting(Settings(runtime_dir=tmp_path))
    other = Exporting(Settings(runtime_dir=tmp_path))
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"hugesync-metrics-begins", Path(living.folder).name, Path(other.folder).name}
    living.stop()
    other.stop()


@pytest.mark.parametrize(("life_fd", "port", "serves"), [(None, "9464", True), (None, "0", False), (7, "9464", False)])
def test_a_worker_serves_where_it_is_told_to_and_the_private_one_of_a_job_never(
    monkeypatch: pytest.MonkeyPatch, life_fd: int | None, port: str, serves: bool
) -> None:
    made: list[Settings] = []

    class Noted(Exporting):
        def __init__(self, settings: Settings) -> None:
            made.append(settings)

        def start(self) -> None:
            pass

    monkeypatch.setenv("HUGESYNC_METRICS_PORT", port)
    monkeypatch.setattr(consumer, "Exporting", Noted)
    monkeypatch.setattr(consumer.RegisterStep, "exporting", None)
    monkeypatch.setattr(consumer.RegisterStep, "life_fd", life_fd)
    consumer._worker_begins()
    assert [settings.metrics_port for settings in made] == ([9464] if serves else [])


@pytest.mark.parametrize("lease_ms", [LEASE_MS, COMMIT_LEASE_MS])
def test_a_child_says_from_the_first_moment_until_when_its_task_has_a_lease(folder: Path, lease_ms: int) -> None:
    """A commit may be silent for 900 s, and its worker is not deaf meanwhile."""
    measuring.start(0)
    ledger = MemoryLedger()
    ledger.put_tasks("j", [Task("t", "commit", "hs.any", 1, "{}")])
    Lease(ledger, "j", ledger.claim("j", "t", "w", lease_ms, 5), lease_ms, time.monotonic())
    assert 0 <= time.time() + lease_ms / 1000 - Vitals(str(folder)).read()[0].until < 5
