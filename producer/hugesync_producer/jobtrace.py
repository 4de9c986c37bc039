"""The span of one run of a job, under which its tasks and the coordinator's own calls of stores are."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from hugesync_tasks.spec import Spec
from hugesync_tasks.summary import Summary
from hugesync_tasks.tracing import FLUSH, active


class JobTrace:
    """``headers``: what each of the job's messages carries beside its ids; {} where no traces are wanted. What is over is sent
    when the block ends, which waits at most ``FLUSH`` seconds for that."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._stack = ExitStack()
        self._tracer = active()
        self._span: Any = None
        self.headers: dict[str, str] = {}

    def __enter__(self) -> JobTrace:
        if self._tracer is not None:
            self._stack.callback(self._tracer.flush, FLUSH)
            ends = {"source": self._spec.source.display(), "dest": self._spec.dest.display()}
            self._span = self._stack.enter_context(self._tracer.under("job", self._spec.job, ends, kind="PRODUCER"))
            self.headers = {"traceparent": self._tracer.header(self._span)}
        return self

    def ended(self, summary: Summary) -> Summary:
        """Say how; ``summary`` as it is."""
        if self._span is not None:
            counted = {f"files.{name}": n for name, n in summary.files.items()}
            counted |= {"bytes.done": summary.bytes.get("done", 0)}
            for name, value in {"state": str(summary.state), **counted}.items():
                self._span.set_attribute(f"hugesync.{name}", value)
        return summary

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)
