"""Traces cost nothing where nobody asked, and a collector that is gone or hangs costs no job anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from collector import Collector, collecting
from hugesync_tasks import tracing
from hugesync_tasks.errors import StoreError, Transient
from hugesync_tasks.model import Meta
from hugesync_tasks.spans import Exporting
from hugesync_tasks.spec import Location, Options
from hugesync_tasks.stores.faults import Fault, FaultyStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.opening import open_store
from hugesync_tasks.stores.traced import TracedStore
from hugesync_tasks.token import Token
from processes import REPO, Place, wait_until
from servers import free_ports

LOADED = """
import sys, hugesync_producer.cli, hugesync_producer.run, hugesync_worker.lifecycle, hugesync_tasks.perform, hugesync_tasks.tasks
import hugesync_tasks.consumer, hugesync_tasks.tracing
from hugesync_tasks.stores.opening import open_store
from hugesync_tasks.spec import Location, Options
store = open_store(Location("file", local="/tmp"), None, Options(), role="source", job="j")
print(hugesync_tasks.tracing.active())
print([m for m in sys.modules if m.startswith(("opentelemetry.sdk.trace", "opentelemetry.exporter", "hugesync_tasks.spans"))])
"""


def span(sampled: bool = True) -> Any:
    return SimpleNamespace(context=SimpleNamespace(trace_flags=SimpleNamespace(sampled=sampled)))


class Exporter:
    """``answer`` is called for each batch."""

    def __init__(self, answer: Callable[[], SpanExportResult]) -> None:
        self.answer, self.batches = answer, list[int]()

    def export(self, spans: Any) -> SpanExportResult:
        self.batches.append(len(spans))
        return self.answer()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment decides anew, and for this test alone."""
    tracing.wanted.cache_clear()
    monkeypatch.setattr(tracing, "_made", (0, None))
    for name in [n for n in os.environ if n.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    yield monkeypatch
    tracing.wanted.cache_clear()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as it:
        yield it


def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded_by_producer_or_worker() -> None:
    """Neither where it is installed (redis-py then loads its metrics, and google-cloud-storage its interface, by themselves) nor
    where it cannot be."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    missing = "import sys; sys.modules['opentelemetry'] = None\n"
    for start in ("", missing):
        command = [sys.executable, "-c", start + LOADED]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, cwd=REPO)
        assert done.stdout == "None\n[]\n", done.stderr


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_switch_traces(told: pytest.MonkeyPatch, env: dict[str, str], wanted: bool) -> None:
    for name, value in env.items():
        told.setenv(name, value)
    assert tracing.wanted() is wanted
    assert (tracing.active() is not None) is wanted


def test_what_cannot_be_is_said_once_and_no_job_fails_for_it(
    told: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")
    cases = {
        "grpc": lambda: told.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        "hugesync[otel]": lambda: told.setitem(sys.modules, "hugesync_tasks.spans", None),
        "ValueError": lambda: told.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
    }
    for word, arrange in cases.items():
        caplog.clear()
        told.setattr(tracing, "_made", (0, None))
        arrange()
        assert tracing.active() is None
        assert tracing.active() is None
        assert len(caplog.messages) == 1
        assert word in caplog.text
        told.delenv("OTEL_EXPORTER_OTLP_PROTOCOL", raising=False)
        if word == "hugesync[otel]":
            told.delitem(sys.modules, "hugesync_tasks.spans")


def test_a_call_that_fails_is_a_span_with_its_error_and_each_repeat_one_of_its_own(
    told: pytest.MonkeyPatch, collector: Collector
) -> None:
    told.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.env["OTEL_EXPORTER_OTLP_ENDPOINT"])
    tracer = tracing.active()
    assert tracer is not None
    faulty = FaultyStore(MemoryStore(), [Fault(op="put", error=Transient("no token=hunter22 today", "k"))])
    store = TracedStore(faulty, tracer, "j1", "destination")
    with tracer.under("task batch", "j1", {}, parent=f"00-{'a' * 32}-{'b' * 16}-01"):
        with pytest.raises(StoreError):
            store.put("k", b"body", Meta(), None, Token())
        commit = store.put("k", b"body", Meta(), None, Token())
        with store.open("k", commit.version, Token()) as reader:
            assert b"".join(reader) == b"body"
        assert [e.key for e in store.list(Token())] == ["k"]
    tracer.flush(10)
    spans = {s.name: s for s in collector.spans}
    task = spans["task batch"]
    assert (task.trace, task.parent) == ("a" * 32, "b" * 16), "as the message said"
    puts = collector.named("destination put")
    assert [("hunter22" in s.error, bool(s.error), s.attributes.get("error.type")) for s in puts] == [
        (False, True, "Transient"), (False, False, None),
    ]  # fmt: skip
    assert {s.parent for s in collector.spans if s is not task} == {task.id}
    assert spans["destination open"].attributes["bytes"] == 4
    assert spans["destination list"].attributes["entries"] == 1


def test_a_store_is_as_it_was_where_no_traces_are_wanted(told: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def layers() -> list[str]:
        store: Any = open_store(Location("file", local=str(tmp_path)), None, Options(), role="source", job="j")
        found = []
        while store is not None:
            found.append(type(store).__name__)
            store = getattr(store, "inner", None)
        return found

    assert "TracedStore" not in layers()
    told.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    tracing.wanted.cache_clear()
    assert "TracedStore" in layers()


def test_a_collector_that_hangs_holds_up_neither_the_work_nor_the_end(caplog: pytest.LogCaptureFixture) -> None:
    hangs = threading.Event()

    def hang() -> SpanExportResult:
        hangs.wait(60)
        return SpanExportResult.SUCCESS

    exporter = Exporter(hang)
    exporting = Exporting(exporter, delay=0.01, queue=10, at_once=5)  # type: ignore[arg-type]
    exporting.on_end(span())
    wait_until(lambda: exporter.batches, what="the first delivery")
    for _ in range(1000):
        exporting.on_end(span())  # a queue without an end, or one that waits, would be seen here
    began = time.monotonic()
    exporting.flush(0.05)
    assert time.monotonic() - began < 30
    hangs.set()
    exporting.on_end(span())
    exporting.flush(30)
    assert sum(exporter.batches) <= 1 + 10 + 1
    assert "were dropped: more at once" in caplog.text


def test_a_collector_that_is_gone_is_told_of_once_and_its_return_too(caplog: pytest.LogCaptureFixture) -> None:
    answers = [SpanExportResult.FAILURE, ConnectionError("x"), SpanExportResult.FAILURE, SpanExportResult.SUCCESS]

    def answer() -> SpanExportResult:
        one = answers.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    exporter = Exporter(answer)  # type: ignore[arg-type]
    exporting = Exporting(exporter, delay=0.01, queue=10, at_once=5)  # type: ignore[arg-type]
    for n in range(4):
        exporting.on_end(span())
        wait_until(lambda n=n: len(exporter.batches) == n + 1, what="a delivery")
    exporting.on_end(span(sampled=False))
    wait_until(lambda: "delivered again" in caplog.text, what="the last line")
    assert len(caplog.messages) == 2
    assert exporter.batches == [1, 1, 1, 1], "what is not sampled is not sent"


def test_the_end_of_a_process_does_not_wait_for_a_collector_that_did_not_answer() -> None:
    release, failed = threading.Event(), [SpanExportResult.FAILURE]

    def answer() -> SpanExportResult:
        if failed:
            return failed.pop()
        release.wait(60)
        return SpanExportResult.SUCCESS

    exporter = Exporter(answer)
    exporting = Exporting(exporter, delay=0.01, queue=10, at_once=5)  # type: ignore[arg-type]
    exporting.on_end(span())
    wait_until(lambda: exporting._failing, what="the failure")
    exporting.on_end(span())
    began = time.monotonic()
    exporting.flush(60)
    assert time.monotonic() - began < 30
    release.set()


def test_a_job_on_its_own_is_traced_to_its_last_task(tmp_path: Path, collector: Collector) -> None:
    """Embedded: its worker is killed at the end, when the last spans have been given time."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a").write_bytes(b"x")
    place = Place(tmp_path / "place", collector.env)
    ended = place.submit(tmp_path / "src", tmp_path / "dst").finish()
    place.end()
    assert ended.code == 0, ended.err
    (job,) = collector.named("job")
    (batch,) = collector.named("task batch")
    assert batch.parent == job.id
    assert batch.attributes["path"] == "a"


def test_a_job_whose_collector_is_gone_ends_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a").write_bytes(b"x")
    (port,) = free_ports(1)
    place = Place(tmp_path / "place", {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:hunter22@127.0.0.1:{port}"})
    ended = place.submit("-v", tmp_path / "src", tmp_path / "dst").finish()
    place.end()
    assert (ended.code, ended.summary["files"]["done"]) == (0, 1), ended.err
    assert "hunter22" not in ended.err
    assert "Traceback" not in ended.err
    lines = re.findall(r"^\d{4}-\S+Z .*", ended.err, re.MULTILINE)
    begun = next(n for n, line in enumerate(lines) if "work begins" in line)
    assert all(f" job={ended.summary['job_id']}" in line for line in lines[begun:]), (
        "as text, too, the coordinator's say the job"
    )
