"""The observer for ``--log-format json``: what a person would read on stderr as one event each, progress included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hugesync_producer.latest import FILES_TOLD
from hugesync_producer.pace import Pace
from hugesync_producer.progress import PLAIN_INTERVAL
from hugesync_tasks.logs import get_logger, on_every_line
from hugesync_tasks.summary import Snapshot, Summary

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger


class LogObserver:
    """Events ``job started``, ``notice`` and, every ``PLAIN_INTERVAL`` seconds of the job if ``progress``, ``progress``; to ``log``,
    or to our own, whose every later line then names the job."""

    def __init__(self, progress: bool, log: BoundLogger | None = None) -> None:
        self._log = log or get_logger()
        self._everywhere = log is None
        self._progress = progress
        self._next = PLAIN_INTERVAL
        self._pace = Pace()
        self._throttled = False  # since the last event: one tells of its whole interval

    def on_start(self, job_id: str, resumed: bool) -> None:
        if self._everywhere:
            on_every_line(job=job_id)
            self._log.info("job started", resumed=resumed)
        else:
            self._log.info("job started", job=job_id, resumed=resumed)

    def on_progress(self, snapshot: Snapshot) -> None:
        self._pace.add(snapshot)
        self._throttled = self._throttled or snapshot.throttled
        if not self._progress or snapshot.elapsed < self._next:
            return
        self._next = snapshot.elapsed + PLAIN_INTERVAL
        self._log.info(
            "progress",
            files=dict(snapshot.files),
            bytes=dict(snapshot.bytes),
            skipped_by=dict(snapshot.skipped_by),
            moved_bytes=snapshot.moved_bytes,
            traffic=dict(snapshot.traffic),
            bytes_per_second={name: round(rate) for name, rate in self._pace.rates().items()},
            seconds_left=self._pace.eta(),
            in_flight=[
                {"path": key, "moved": moved, "size": size} for key, moved, size in snapshot.in_flight[:FILES_TOLD]
            ],
            scan_complete=snapshot.scan_complete,
            elapsed_seconds=round(snapshot.elapsed, 3),
            throttled=self._throttled,
            paused=snapshot.paused,
            waiting_for=snapshot.waiting_for,
        )
        self._throttled = False

    def on_notice(self, message: str) -> None:
        self._log.warning("notice", message=message)


def log_end(log: BoundLogger, summary: Summary, began: bool) -> None:
    """The last event, ``ended``: state and exit code, the reason where there is one, the counters where there are any."""
    from hugesync_producer.report import to_json

    shown = to_json(summary)
    names = ("files", "bytes", "failures_omitted", "elapsed_seconds") if began else ()
    more: dict[str, Any] = {name: shown[name] for name in names}
    if summary.job_id:
        more |= {"job": summary.job_id, "resumable": summary.resumable}
    if summary.reason:
        more["reason"] = summary.reason
    if summary.notes:
        more["notes"] = list(summary.notes)
    end = log.error if summary.state.exit_code else log.info
    end("ended", state=str(summary.state), exit_code=summary.state.exit_code, **more)
