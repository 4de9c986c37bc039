"""Sends spans away, from a thread of its own that starts with the first of them. Loaded only where traces are wanted.

Instead of the SDK's ``BatchSpanProcessor``, which starts a thread in every fork, waits up to 30 s at the end of a process and logs each
failure: here a collector that is gone costs a bounded queue and one line.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

DELAY_MS, QUEUE, AT_ONCE = 1000, 2048, 512  # OTEL_BSP_SCHEDULE_DELAY, _MAX_QUEUE_SIZE, _MAX_EXPORT_BATCH_SIZE

log = logging.getLogger(__name__)


class Exporting(SpanProcessor):
    """At most ``queue`` spans wait; what does not fit is dropped and counted. ``delay`` in seconds."""

    def __init__(self, exporter: SpanExporter, delay: float, queue: int, at_once: int) -> None:
        self._exporter, self._delay, self._most, self._at_once = exporter, delay, queue, at_once
        self._waiting: deque[ReadableSpan] = deque()
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._sent = threading.Event()  # nothing waits, nothing is on its way
        self._thread: threading.Thread | None = None
        self._failing = False
        self._dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            if len(self._waiting) >= self._most:
                self._dropped += 1
                return
            self._waiting.append(span)
            self._sent.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
                self._thread.start()
        if len(self._waiting) >= self._at_once:
            self._wake.set()

    def flush(self, seconds: float) -> None:
        """Wait until all is sent, at most so long; not at all while the collector does not answer."""
        if self._thread is not None and not self._failing:
            self._wake.set()
            self._sent.wait(seconds)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        self.flush(timeout_millis / 1000)
        return self._sent.is_set()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._delay)
            self._wake.clear()
            while self._waiting:
                self._export()
            with self._lock:
                if not self._waiting:
                    self._sent.set()

    def _export(self) -> None:
        with self._lock:
            some = [self._waiting.popleft() for _ in range(min(self._at_once, len(self._waiting)))]
        try:
            failed = self._exporter.export(some) is not SpanExportResult.SUCCESS
        except Exception:
            failed = True
        if failed and not self._failing:
            log.warning("traces cannot be delivered: the collector does not take them; they are dropped until it does")
        elif self._failing and not failed:
            log.warning("traces are delivered again")
        elif self._dropped and not failed:
            log.warning("%d spans were dropped: more at once than OTEL_BSP_MAX_QUEUE_SIZE", self._dropped)
        if not failed:
            self._dropped = 0
        self._failing = failed


def exporting() -> Exporting:
    """As the standard variables want it. Raises what the exporter raises for one that cannot be."""
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # each attempt, with the endpoint's URL
    delay = _number("OTEL_BSP_SCHEDULE_DELAY", DELAY_MS) / 1000
    queue = _number("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE)
    return Exporting(OTLPSpanExporter(), delay, queue, min(queue, _number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", AT_ONCE)))


def _number(name: str, default: int) -> int:
    return max(1, int(os.environ.get(name) or default))
