"""The observer for ``--log-format json``: what a person would read on stderr as one event each, progress included."""

from __future__ import annotations

from hugesync_producer.progress import PLAIN_INTERVAL
from hugesync_tasks.logs import get_logger, on_every_line
from hugesync_tasks.summary import Snapshot


class LogObserver:
    """Events ``job started``, ``notice`` and, every ``PLAIN_INTERVAL`` seconds of the job if ``progress``, ``progress``."""

    def __init__(self, progress: bool) -> None:
        self._log = get_logger()
        self._progress = progress
        self._next = PLAIN_INTERVAL
        self._throttled = False  # since the last event: one tells of its whole interval

    def on_start(self, job_id: str, resumed: bool) -> None:
        on_every_line(job=job_id)
        self._log.info("job started", resumed=resumed)

    def on_progress(self, snapshot: Snapshot) -> None:
        self._throttled = self._throttled or snapshot.throttled
        if not self._progress or snapshot.elapsed < self._next:
            return
        self._next = snapshot.elapsed + PLAIN_INTERVAL
        self._log.info(
            "progress",
            files=dict(snapshot.files),
            bytes=dict(snapshot.bytes),
            moved_bytes=snapshot.moved_bytes,
            scan_complete=snapshot.scan_complete,
            elapsed_seconds=round(snapshot.elapsed, 3),
            throttled=self._throttled,
            waiting_for=snapshot.waiting_for,
        )
        self._throttled = False

    def on_notice(self, message: str) -> None:
        self._log.warning("notice", message=message)
