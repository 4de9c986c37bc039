"""Every metric: its name, kind, labels and meaning, once. Whoever serves one looks it up here, and docs/metrics.md is made of it.

Labels are bounded: each takes its values from a fixed list, but for ``child`` (a worker's child processes), ``stat`` (at most
``MOST_STATS``), ``queue`` and ``job`` (at most ``MOST_QUEUES`` and ``MOST_JOBS`` values at a time; what is beyond them is summed under "other"). None holds the name of a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hugesync_tasks.errors import FailureClass
from hugesync_tasks.summary import BYTES, FILES, MOVED, OUTCOMES, REQUESTS, State

MOST_JOBS, MOST_QUEUES, MOST_STATS = 20, 20, 40
OTHER = "other"

KINDS = (
    "batch", "begin", "sign", "match", "lay", "compare_files", "compare_begin", "compare", "conclude", "part", "commit", "abandon",
    "folders", "delete", OTHER,
)  # fmt: skip
RESULTS = ("ended", "failed", "stopped", "unreachable", "not_taken")
TRAFFIC = (*MOVED, "overhead")
ENDED = tuple(str(s) for s in State if s is not State.RUNNING)
SECONDS = (0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0)  # the buckets of a task's duration

WHERE = {
    "child": "a worker: counted by its child processes since it started; what a killed task moved since its last renewal (1 s) is missing",
    "worker": "a worker, of itself",
    "ledger": "a worker and `hugesync-exporter`: of the whole fleet, so take `max` over instances, never `sum`",
    "job": "`hugesync-submit --metrics-port` of its one job; a worker and `hugesync-exporter` of the jobs that run",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """``labels``: name -> the values it can have; an empty tuple where they are bounded by number only."""

    name: str
    kind: str  # counter | gauge | histogram
    where: str  # a word of WHERE
    meaning: str
    labels: Mapping[str, tuple[str, ...]]

    @property
    def counted(self) -> str:
        """The name as prometheus-client wants it: it adds ``_total`` to a counter's by itself."""
        return self.name.removesuffix("_total")


def _metric(name: str, kind: str, where: str, meaning: str, /, **labels: tuple[str, ...]) -> Metric:
    return Metric(f"hugesync_{name}", kind, where, meaning, labels)


_ALL = (
    _metric("bytes_total", "counter", "child", "Bytes of bodies that moved, and what the destination had already (reused).", kind=TRAFFIC),
    _metric("worked_bytes_total", "counter", "child", "Bytes read, hashed, compared or moved.", ),
    _metric("requests_total", "counter", "child", "Requests to stores.", operation=REQUESTS),
    _metric("retries_total", "counter", "child", "Requests that were made again."),
    _metric("throttled_total", "counter", "child", "Of the retries, those for which a store asked (503, 429)."),
    _metric("held_total", "counter", "child", "Requests that waited because a store had asked somebody of the fleet to slow down."),
    _metric("files_total", "counter", "child", "Files that tasks finished; of one that is done again, again. Exact figures: hugesync_job_files.",
            outcome=("done", "skipped", "failed", "deleted")),
    _metric("file_bytes_total", "counter", "child", "Planned sizes of those files.", outcome=("done", "skipped", "failed")),
    _metric("failures_total", "counter", "child", "Files that failed, by class.", **{"class": tuple(FailureClass)}),
    _metric("tasks_total", "counter", "child", "Messages that were taken from a queue, and what became of the task: ended, failed, stopped "
            "(cancelled, lease lost, deadline), unreachable (the ledger), not_taken (settled, running elsewhere, cancelled).",
            kind=KINDS, result=RESULTS),
    _metric("task_seconds", "histogram", "child", "How long tasks took.", kind=KINDS),
    _metric("child_lease_timestamp_seconds", "gauge", "worker", "Until when the lease of the task in hand stands, of each child by its place in the pool; 0 where it has none.",
            child=()),
    _metric("canary_timestamp_seconds", "gauge", "worker", "When the newest canary was sent that a child took."),
    _metric("worker_info", "gauge", "worker", "1; the release of this worker.", version=()),
    _metric("worker_slots", "gauge", "worker", "Child processes that this worker should have."),
    _metric("worker_children", "gauge", "worker", "Child processes that live."),
    _metric("worker_busy_children", "gauge", "worker", "Of these, those with a task under a lease that stands."),
    _metric("worker_memory_bytes", "gauge", "worker", "Resident memory: of the main process, of all children together, and of the largest child.",
            process=("main", "children", "largest_child")),
    _metric("worker_memory_limit_bytes", "gauge", "worker", "--memory: what each child may take."),
    _metric("worker_buffers", "gauge", "worker", "The worker's buffers, each figure by its name: bytes (budget, held, high_water, ...), counts since the "
            "start (gets, hits, waits, ...), and seconds (wait_p99_seconds, ...). Absent where there are none.", stat=()),
    _metric("worker_health", "gauge", "worker", "1 where the check of this name passes: /livez, /readyz, /consuming.",
            check=("live", "ready", "consuming")),
    _metric("worker_canary_seconds", "gauge", "worker", "From sending the last canary that came back until it was seen, to the nearest look (1 s)."),
    _metric("ledger_up", "gauge", "ledger", "1 where the ledger answered within the last 15 s. Where it is 0 all other figures of the ledger are absent."),
    _metric("unsettled_tasks", "gauge", "ledger", "Work that is not settled, from the ledger: what /work tells KEDA. At least 1 for each job that runs; "
            "of a paused one only what workers have in hand."),
    _metric("ledger_tasks", "gauge", "ledger", "Tasks of jobs that run, by how they stand; expired: the lease of whoever ran it ran out.",
            state=("queued", "running", "expired", "recalled")),
    _metric("jobs", "gauge", "ledger", "Jobs that have not ended: running, paused, uncoordinated (they run, and nobody leads them).",
            state=("running", "paused", "uncoordinated")),
    _metric("jobs_ended", "gauge", "ledger", "Of the newest 200 jobs, those that ended so.", state=ENDED),
    _metric("workers", "gauge", "ledger", "Workers whose heartbeat stands."),
    _metric("slots", "gauge", "ledger", "Their child processes."),
    _metric("queue_messages", "gauge", "ledger", "Messages that wait in a queue of the broker, its .commit twin included. A hint: the truth is "
            "hugesync_ledger_tasks.", queue=()),
    _metric("job_unsettled_tasks", "gauge", "job", "Tasks of the job that are not settled (not from hugesync-submit).", job=()),
    _metric("job_files", "gauge", "job", "Files; found is the sum of done, skipped, failed and pending.", job=(), outcome=FILES),
    _metric("job_bytes", "gauge", "job", "Their planned sizes.", job=(), outcome=OUTCOMES),
    _metric("job_traffic_bytes", "gauge", "job", "Bytes of bodies that moved in this run of the job.", job=(), kind=TRAFFIC),
    _metric("job_requests", "gauge", "job", "Requests of its workers to stores.", job=(), operation=REQUESTS),
    _metric("job_retries", "gauge", "job", "Requests that were made again.", job=()),
    _metric("job_conflicts", "gauge", "job", "Files whose destination somebody else changed meanwhile.", job=()),
    _metric("job_scan_complete", "gauge", "job", "1 when found is final.", job=()),
    _metric("job_throttled", "gauge", "job", "1 where a store asks the job to slow down.", job=()),
    _metric("job_elapsed_seconds", "gauge", "job", "Since this run of it began.", job=()),
    _metric("job_told_age_seconds", "gauge", "job", "How old these figures of the job are (not from hugesync-submit).", job=()),
)  # fmt: skip
METRICS: Mapping[str, Metric] = {m.name: m for m in _ALL}
assert set(BYTES) >= set(TRAFFIC)


def samples(metric: Metric) -> tuple[str, ...]:
    """The names of the time series that a metric has."""
    if metric.kind == "histogram":
        return tuple(f"{metric.name}_{what}" for what in ("bucket", "sum", "count"))
    return (metric.name,)
