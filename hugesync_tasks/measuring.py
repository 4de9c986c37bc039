"""What a worker's child counts, where its worker serves metrics: into prometheus-client's files, which the exporter reads.

A failure here never fails a task: it is said once, and this process counts no more. The files are made whole before they are mapped,
for a page of a sparse one that a full disk cannot hold would kill the process (SIGBUS). They are named by the child's place in the
pool, not by its pid: a replaced child goes on where the dead one stopped, and there are never more than slots.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import product
from typing import Any, ParamSpec

from hugesync_tasks.errors import FailureClass
from hugesync_tasks.metric_names import KINDS, METRICS, OTHER, SECONDS, TRAFFIC, Metric
from hugesync_tasks.model import Outcome
from hugesync_tasks.summary import REQUESTS
from hugesync_tasks.token import Meter
from hugesync_tasks.vitals import Vitals

FILE_BYTES = 1 << 17  # all values that a child can have fit (a test); a file that grows would be sparse
FILES = ("counter", "histogram")

P = ParamSpec("P")
log = logging.getLogger(__name__)


class Measures:
    """The metrics of one child, by name. Raises OSError where their files cannot be made."""

    def __init__(self, folder: str, child: int) -> None:
        from prometheus_client import CollectorRegistry, values

        for kind in FILES:
            _make_whole(os.path.join(folder, f"{kind}_{child}.db"))
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where prometheus-client looks for it
        values.ValueClass = values.MultiProcessValue(lambda: child)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._made = {m.name: _made(m, registry) for m in METRICS.values() if m.where == "child"}
        for name, made in self._made.items():
            _from_nothing(METRICS[name], made)

    def of(self, name: str, **labels: str) -> Any:
        metric = self._made[f"hugesync_{name}"]
        return metric.labels(**labels) if labels else metric


folder = ""  # set in the main process before it forks, where it serves metrics; "" = nothing is counted
_measures: Measures | None = None
_vitals: Vitals | None = None
_child = 0


def start(child: int) -> None:
    """In a child, after the fork: count from now on, where this worker serves metrics."""
    global _measures, _vitals, _child
    _measures = _vitals = None
    if not folder:
        return
    _vitals, _child = Vitals(folder), child
    _vitals.begins(child)
    try:
        _measures = Measures(folder, child)
    except Exception as error:  # whatever it is, the job must not notice
        log.warning("this process counts no metrics: %s", error)


def _safe(count: Callable[P, None]) -> Callable[P, None]:
    """Not called where nothing is counted; ends the counting of this process where it fails."""

    @wraps(count)
    def tried(*args: P.args, **kwargs: P.kwargs) -> None:
        global _measures
        if _measures is None:
            return
        try:
            count(*args, **kwargs)
        except Exception as error:
            _measures = None
            log.warning("this process counts no more metrics: %s", error)

    return tried


class CountedMeter(Meter):
    """A meter whose traffic is counted when it is taken."""

    def take(self) -> dict[str, int]:
        taken = super().take()
        traffic(taken)
        return taken


@_safe
def traffic(taken: Mapping[str, int]) -> None:
    assert _measures is not None
    for name, n in taken.items():
        what, _, which = name.partition(".")
        if what == "bytes" and which in TRAFFIC:
            _measures.of("bytes_total", kind=which).inc(n)
        elif what == "requests" and which in REQUESTS:
            _measures.of("requests_total", operation=which).inc(n)
        elif what in ("retries", "throttled", "held"):
            _measures.of(f"{what}_total").inc(n)


@_safe
def worked(n: int) -> None:
    """Bytes read, hashed, compared or moved."""
    assert _measures is not None
    _measures.of("worked_bytes_total").inc(n)


def leased(ms: int) -> None:
    """The task in hand has a lease of so many ms from now; 0: none is in hand."""
    if _vitals is not None:
        _vitals.leased(_child, time.time() + ms / 1000 if ms else 0.0)


def canary(sent: float) -> None:
    """This child took the canary that was sent then."""
    if _vitals is not None:
        _vitals.took_canary(_child, sent)


@_safe
def finished(outcome: Outcome, size: int) -> None:
    """One file, of so many planned bytes, as a task records it."""
    assert _measures is not None
    if outcome.state in ("done", "skipped", "failed"):
        _measures.of("files_total", outcome=outcome.state).inc()
        _measures.of("file_bytes_total", outcome=outcome.state).inc(size)
    elif outcome.state == "deleted":
        _measures.of("files_total", outcome="deleted").inc()
    if outcome.state == "failed":
        known = outcome.reason in tuple(FailureClass)
        _measures.of("failures_total", **{"class": outcome.reason if known else str(FailureClass.PERMANENT)}).inc()


@_safe
def task(kind: str, result: str, seconds: float | None = None) -> None:
    """One task was taken; ``seconds``: how long it was in hand."""
    assert _measures is not None
    kind = kind if kind in KINDS else OTHER
    _measures.of("tasks_total", kind=kind, result=result).inc()
    if seconds is not None:
        _measures.of("task_seconds", kind=kind).observe(seconds)


@dataclass(slots=True)
class Performed:
    result: str = "ended"  # a word of metric_names.RESULTS


@contextmanager
def performing(kind: str, meter: Meter, work_done: Callable[[], int]) -> Iterator[Performed]:
    """A claimed task, from here to its end, however it ends; what it moved and did not record is counted then.
    ``work_done``: bytes since the last renewal."""
    began, performed = time.monotonic(), Performed()
    try:
        yield performed
    finally:
        leased(0)
        meter.take()
        worked(work_done())
        task(kind, performed.result, time.monotonic() - began)


def _made(metric: Metric, registry: Any) -> Any:
    from prometheus_client import Counter, Histogram

    labels = list(metric.labels)
    if metric.kind == "counter":
        return Counter(metric.counted, metric.meaning, labels, registry=registry)
    assert metric.kind == "histogram"
    return Histogram(metric.name, metric.meaning, labels, registry=registry, buckets=SECONDS)


def _from_nothing(metric: Metric, made: Any) -> None:
    """Counters begin at 0 with all their labels: of one that first appears at 1, Prometheus sees no increase."""
    if metric.kind == "counter" and metric.labels:
        for values in product(*metric.labels.values()):
            made.labels(*values)


def _make_whole(path: str) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, FILE_BYTES)
        elif os.fstat(fd).st_size < FILE_BYTES:
            os.pwrite(fd, bytes(FILE_BYTES), 0)
    finally:
        os.close(fd)
