"""Traces: spans of jobs, tasks and calls of stores, sent by OTLP over HTTP where the standard variables name an endpoint.

Without ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``) nothing of OpenTelemetry is loaded and no
call takes another way. With it each process that does work makes its own exporter at its first span: a worker's children,
after the fork, and the coordinator; a worker's main process never. The coordinator's span travels as ``traceparent``, a
header beside the ids of a message.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from hugesync_tasks import __version__
from hugesync_tasks.redact import plain, redact

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from hugesync_tasks.spans import Exporting

FLUSH = 1.0  # seconds that the end of a process waits for its last spans, whatever becomes of them
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

log = logging.getLogger(__name__)
Attributes = Mapping[str, str | int]
_came_with: ContextVar[str] = ContextVar("traceparent", default="")


@cache
def wanted() -> bool:
    """Whether the environment, as it is at the first call, asks for traces."""
    env = os.environ
    off = env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return any(env.get(name) for name in ENDPOINTS) and not off


class Tracer:
    """Makes the spans of one process. ``parents``: job → the span under which its calls of stores are: the task in hand, in
    the coordinator the job's own."""

    def __init__(self, exporting: Exporting) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        named = os.environ.get("OTEL_SERVICE_NAME") or "hugesync"
        found = Resource.create({"service.version": __version__, "process.pid": os.getpid()}).attributes
        said = {k: redact(v) if isinstance(v, str) else v for k, v in found.items()}
        if "unknown_service" in str(said.get("service.name", "unknown_service")):
            said["service.name"] = named
        provider = TracerProvider(resource=Resource(said), shutdown_on_exit=False)
        provider.add_span_processor(exporting)
        self._trace, self._exporting = trace, exporting
        self._tracer = provider.get_tracer("hugesync", __version__)
        self.parents: dict[str, Span] = {}

    def begin(self, name: str, job: str, attributes: Attributes, parent: str = "", kind: str = "INTERNAL") -> Span:
        """A span that the caller ends. ``parent``: a traceparent; without one what is in hand of the job."""
        context = None
        if parent:
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            context = TraceContextTextMapPropagator().extract({"traceparent": parent})
        elif (above := self.parents.get(job)) is not None:
            context = self._trace.set_span_in_context(above)
        said = {f"hugesync.{k}": plain(v) if isinstance(v, str) else v for k, v in {"job": job, **attributes}.items()}
        return self._tracer.start_span(name, context, self._trace.SpanKind[kind], said)

    def end(self, span: Span, error: BaseException | None = None, **more: str | int) -> None:
        """``error``: its kind and its sentence, without secrets; no traceback, whose lines nobody has looked through."""
        for name, value in more.items():
            span.set_attribute(f"hugesync.{name}", plain(value) if isinstance(value, str) else value)
        if error is not None:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(self._trace.StatusCode.ERROR, plain(str(error)))
        span.end()

    @contextmanager
    def under(
        self, name: str, job: str, attributes: Attributes, parent: str = "", kind: str = "INTERNAL"
    ) -> Iterator[Span]:
        """A span over the block, under which the job's calls of stores are meanwhile."""
        span, error = self.begin(name, job, attributes, parent, kind), None
        self.parents[job] = span
        try:
            yield span
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.parents.pop(job, None)
            self.end(span, error)

    def header(self, span: Span) -> str:
        """``span`` as a traceparent."""
        at = span.get_span_context()
        return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}"

    def flush(self, seconds: float = FLUSH) -> None:
        """Let what is over be sent, for at most ``seconds``; at once where the last attempt failed."""
        self._exporting.flush(seconds)


_made: tuple[int, Tracer | None] = (0, None)


def active() -> Tracer | None:
    """This process's tracer, None where no traces are wanted or they cannot be made, which is said once. A fork's copy of its
    parent's is never used."""
    global _made
    if not wanted():
        return None
    if _made[0] != os.getpid():
        _made = (os.getpid(), _make())
    return _made[1]


def _make() -> Tracer | None:
    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        log.warning("no traces: they are sent as http/protobuf only, and the environment wants %s", protocol)
        return None
    try:
        from hugesync_tasks.spans import exporting

        return Tracer(exporting())
    except ImportError as error:
        log.warning("no traces: %s; install hugesync[otel]", error)
    except Exception as error:  # a variable that cannot be: no job fails for its traces
        log.warning("no traces: %s: %s", type(error).__name__, redact(str(error)))
    return None


def came_with(header: object) -> None:
    """The task at hand was sent under this traceparent."""
    _came_with.set(header if isinstance(header, str) else "")


def task_span(job: str, attributes: Callable[[], dict[str, Any]], run: Callable[[], str]) -> str:
    """``run``'s answer, under a span of the task where traces are wanted."""
    tracer = active()
    if tracer is None:
        return run()
    said = attributes()
    with tracer.under(f"task {said['kind']}", job, said, _came_with.get(), "CONSUMER") as span:
        answer = run()
        span.set_attribute("hugesync.outcome", plain(answer))
        return answer


def end_of_process() -> None:
    """Nothing that costs where nothing was traced."""
    if _made[0] == os.getpid() and _made[1] is not None:
        _made[1].flush()
