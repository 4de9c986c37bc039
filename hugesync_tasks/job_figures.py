"""The metrics of jobs, and how any metric of the table becomes what prometheus-client serves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hugesync_tasks.metric_names import METRICS, MOST_JOBS, OTHER, TRAFFIC
from hugesync_tasks.summary import FILES, OUTCOMES, REQUESTS

Told = Mapping[str, Any]  # what a coordinator tells of its job: the keys of ``state.load.TOLD``
Sample = tuple[tuple[str, ...], float]  # the labels' values in the table's order, and the figure


def family(name: str, samples: Iterable[Sample]) -> Any:
    """A gauge of the table with these samples."""
    from prometheus_client.core import GaugeMetricFamily

    metric = METRICS[f"hugesync_{name}"]
    assert metric.kind == "gauge"
    made = GaugeMetricFamily(metric.name, metric.meaning, labels=list(metric.labels))
    for labels, value in samples:
        made.add_metric(labels, value)
    return made


def of_jobs(told: Mapping[str, Told]) -> Iterator[Any]:
    """Of each job what is known of it; beyond ``MOST_JOBS`` none is shown by itself, and counters are summed under "other"."""
    shown = dict(list(told.items())[:MOST_JOBS])
    rest = [t for job, t in told.items() if job not in shown]
    rows = {job: [t] for job, t in shown.items()} | ({OTHER: rest} if rest else {})
    yield family("job_files", _spread(rows, "files", FILES))
    yield family("job_bytes", _spread(rows, "bytes", OUTCOMES))
    yield family("job_traffic_bytes", _spread(rows, "traffic", TRAFFIC, "bytes."))
    yield family("job_requests", _spread(rows, "traffic", REQUESTS, "requests."))
    yield family("job_retries", (((job,), _sum(some, "traffic", "retries")) for job, some in rows.items()))
    yield family("job_conflicts", (((job,), sum(t.get("conflicts", 0) for t in some)) for job, some in rows.items()))
    yield family("job_scan_complete", (((job,), float(bool(t.get("scan_complete")))) for job, t in shown.items()))
    yield family("job_throttled", (((job,), float(bool(t.get("throttled")))) for job, t in shown.items()))
    yield family("job_elapsed_seconds", (((job,), float(t.get("elapsed", 0))) for job, t in shown.items()))


def _spread(rows: Mapping[str, list[Told]], key: str, names: Iterable[str], prefix: str = "") -> Iterator[Sample]:
    for job, some in rows.items():
        for name in names:
            yield (job, name), _sum(some, key, prefix + name)


def _sum(some: Iterable[Told], key: str, name: str) -> float:
    return sum(float(t.get(key, {}).get(name, 0)) for t in some)
