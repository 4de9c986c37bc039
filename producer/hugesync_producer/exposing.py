"""``--metrics-port``: the figures of a job from its coordinator, for Prometheus. An observer like the others; what fails here is a
notice, and the job goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from hugesync_tasks import endpoint
from hugesync_tasks.endpoint import CannotServe, Endpoint, Page
from hugesync_tasks.job_figures import of_jobs
from hugesync_tasks.summary import BYTES, OUTCOMES, Snapshot, Summary


class Exposing:
    """``begin`` before the job, ``end`` after it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._served: Endpoint | None = None
        self._job = ""
        self._told: Mapping[str, Any] | None = None

    def begin(self) -> str:
        """What to say where it cannot be served; "" where it is."""
        try:
            from prometheus_client import CollectorRegistry

            registry = CollectorRegistry(auto_describe=False)
            registry.register(self)
            pages: dict[str, Callable[[str], Page]] = {
                "/metrics": partial(endpoint.metrics, registry),
                "/livez": lambda accept: Page.verdict(True, "live"),
            }
            self._served = Endpoint(self._host, self._port, pages)
        except CannotServe as error:
            return str(error).replace("(metrics_port)", "(--metrics-port)")
        except Exception as error:
            return f"metrics are not served: {type(error).__name__}: {error}"
        return ""

    def collect(self) -> Iterator[Any]:
        told = self._told
        yield from of_jobs({self._job: told} if told is not None else {})

    def on_start(self, job_id: str, resumed: bool) -> None:
        self._job = job_id

    def on_progress(self, snapshot: Snapshot) -> None:
        self._told = {
            "files": snapshot.files,
            "bytes": snapshot.bytes,
            "traffic": snapshot.counted,
            "conflicts": snapshot.counted.get("conflicts", 0),
            "scan_complete": snapshot.scan_complete,
            "throttled": snapshot.throttled,
            "elapsed": snapshot.elapsed,
        }

    def on_notice(self, message: str) -> None:
        pass

    def end(self, summary: Summary, began: bool) -> str:
        """The last figures are those of the summary; whoever scrapes in this instant gets them."""
        traffic = {f"bytes.{n}": summary.bytes.get(n, 0) for n in BYTES if n not in OUTCOMES}
        requests = {f"requests.{n}": count for n, count in summary.requests.items()}
        self._told = {
            "files": summary.files,
            "bytes": summary.bytes,
            "traffic": {**traffic, **requests, "retries": summary.retries},
            "conflicts": summary.conflicts,
            "scan_complete": summary.scan_complete,
            "elapsed": summary.elapsed_seconds,
        }
        if self._served is not None:
            self._served.close()
        return ""
