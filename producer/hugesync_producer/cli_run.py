"""Runs one job for a command and ends it as design §6 says: progress, one sentence, summary or JSON, exit code."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hugesync_producer import human
from hugesync_producer.aside import leave
from hugesync_producer.interrupts import Interrupts
from hugesync_producer.progress import observer_for
from hugesync_producer.report import FAILURES_SHOWN, honest, to_json, to_text
from hugesync_producer.streams import Unwritten, show, tell
from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.redact import redact
from hugesync_tasks.summary import FAILURES_KEPT, Observer, Snapshot, State, Summary, state_of_error

if TYPE_CHECKING:
    from hugesync_producer.following import Following

_RESUMABLE = (State.STALLED, State.INTERRUPTED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Output:
    """How a command speaks."""

    command: str
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    progress: bool = True
    log_format: str = "text"
    events: str = ""
    log_file: str = ""
    itemize: bool = False
    exposed: int = 0  # the port at which its figures are served; 0: nowhere

    @classmethod
    def of(cls, command: str, given: Mapping[str, Any]) -> Output:
        """From a command's parameters; what it has no option for is at its default."""
        from hugesync_tasks.config import log_format

        names = [n for n in cls.__slots__ if n not in ("command", "log_format") and given.get(n) is not None]
        return cls(command, **{n: given[n] for n in names}, log_format=log_format(given.get("log_format")))

    @property
    def in_json(self) -> bool:
        """Whether each line on stderr is one JSON object."""
        return self.log_format == "json"

    def start_logging(self) -> None:
        """Logs as these options want them. What is for people on stderr (notices, the reason of an end) is an event of the
        logger ``hugesync`` under JSON, and a plain sentence, no log line, as text."""
        from hugesync_tasks.logs import OURS, configure

        level = "DEBUG" if self.debug else "INFO" if self.verbose else "ERROR" if self.quiet else "WARNING"
        configure(level, self.log_format)
        if self.in_json and level == "WARNING":
            logging.getLogger(OURS).setLevel(logging.INFO)
        # the summary lists what failed
        told = logging.ERROR if level == "WARNING" and not self.in_json else logging.NOTSET
        logging.getLogger("hugesync_producer.filelog").setLevel(told)

    def observer(self) -> tuple[Observer, Callable[[], None]]:
        """Who watches a job, and what ends that."""
        if not self.in_json:
            lines = (
                self.itemize and sys.stdout is not None and sys.stdout.isatty()
            )  # a live display would be torn by them
            return observer_for(sys.stderr, self.progress, self.quiet, self.command, redraw=not lines)
        from hugesync_producer.logobserver import LogObserver

        return LogObserver(self.progress), lambda: None

    def say(self, message: str, **more: Any) -> None:
        """One sentence on stderr, fit to be seen by anyone; under JSON an event, with ``more``."""
        if self.in_json:
            from hugesync_tasks.logs import get_logger

            get_logger().error(message, **more)
        else:
            tell(f"{self.command}: {human.plain(redact(message)).strip()}")

    def notice(self, message: str) -> None:
        """Like ``say``, of something that is no error."""
        if self.in_json:
            from hugesync_tasks.logs import get_logger

            get_logger().warning("notice", message=message)
        else:
            self.say(message)

    def raised(self) -> None:
        """Within ``except``: the traceback, for ``--debug``."""
        if not self.debug:
            return
        if self.in_json:
            from hugesync_tasks.logs import get_logger

            get_logger().debug("traceback", exc_info=True)
        else:
            tell(redact(traceback.format_exc()))


def run(out: Output, work: Callable[[Observer], Summary]) -> int:
    """Do ``work`` under observation; the exit code. Whatever it raises becomes a state, a sentence and a code."""
    from hugesync_producer.following import Following

    out.start_logging()
    try:
        following = Following.of(out)
    except (HugeSyncError, KeyboardInterrupt) as error:  # of a pipe that nobody reads yet
        return conclude(out, Summary(state_of_error(error), reason=sentence(error)), began=False)
    with stoppable():
        summary, began = _worked(out, work, following)
        with unstoppable():
            for missing in following.end(summary, began):
                out.notice(missing)
            return conclude(out, summary, began)


def _worked(out: Output, work: Callable[[Observer], Summary], following: Following) -> tuple[Summary, bool]:
    """What came of ``work``, and whether there is anything to sum up."""
    inner, close = out.observer()
    seen = _Seen(following.over(inner))
    try:
        return work(seen), True
    except (Exception, KeyboardInterrupt) as error:
        close()
        summary = seen.summary(error)
        never = summary.state in (State.USAGE, State.REFUSED) and not any(summary.files.values())
        out.raised()
        return summary, bool(seen.job_id) and not never
    finally:
        close()


def answer(out: Output, work: Callable[[], None]) -> int:
    """For commands that only ask: 0, or the code of the error, which is said in one sentence."""
    if out.in_json:
        out.start_logging()
    try:
        work()
    except Unwritten as error:
        return lost(out, error, 0)
    except (Exception, KeyboardInterrupt) as error:
        out.raised()
        return conclude(out, Summary(state_of_error(error), reason=sentence(error)), began=False)
    return 0


def conclude(out: Output, summary: Summary, began: bool) -> int:
    """Show the end of a job and give its exit code. ``began`` false: there is nothing to sum up, only a reason."""
    summary, wrong = honest(summary)
    if wrong:
        out.say(f"internal error: the counters contradict each other ({wrong}); do not rely on this run")
    if out.in_json:
        from hugesync_producer.logobserver import log_end
        from hugesync_tasks.logs import get_logger

        log_end(get_logger(), summary, began)
    elif summary.reason:
        stopped = began and summary.resumable and summary.state is State.INTERRUPTED
        out.say(summary.reason + (f"; to go on: hugesync resume {summary.job_id}" if stopped and out.as_json else ""))
    try:
        if out.as_json:
            show(json.dumps(to_json(summary)))
        elif began and summary.state is State.RUNNING:  # --detach: a script takes the id from stdout, also with -q
            for note in () if out.quiet or out.in_json else summary.notes:
                out.say(note)
            show(summary.job_id)
        elif began and not (out.quiet and summary.state is State.DONE):
            show(to_text(summary, FAILURES_KEPT if out.verbose else FAILURES_SHOWN))
    except Unwritten as error:
        return lost(out, error, summary.state.exit_code)
    return summary.state.exit_code


def lost(out: Output, error: Unwritten, code: int) -> int:
    """The exit code where stdout could not be written; ``code`` is what it had been otherwise. An answer that was lost is no
    success; but a reader of text that left (``| head``) lost nothing it wanted, and nobody is left to be told."""
    if error.reader_left:
        return code or int(out.as_json)
    out.say(f"cannot write to standard output: {error}")
    return code or 1


def sentence(error: BaseException) -> str:
    """What happened, for a person."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, HugeSyncError):
        return error.told()
    return f"internal error: {type(error).__name__}: {error} (--debug shows where)"


class _Seen:
    """Passes everything on and remembers what a summary needs if the job ends without one."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner
        self._began = time.monotonic()
        self._last: Snapshot | None = None
        self.job_id = ""
        if hasattr(inner, "on_file"):
            self.on_file = inner.on_file

    def on_start(self, job_id: str, resumed: bool) -> None:
        from hugesync_tasks.logs import on_every_line

        self.job_id = job_id
        on_every_line(job=job_id)
        self._inner.on_start(job_id, resumed)

    def on_progress(self, snapshot: Snapshot) -> None:
        self._last = snapshot
        self._inner.on_progress(snapshot)

    def on_notice(self, message: str) -> None:
        self._inner.on_notice(message)

    def summary(self, error: BaseException) -> Summary:
        from hugesync_producer.checkpoint import TakenOver

        state, gone = state_of_error(error), isinstance(error, TakenOver)
        return Summary(
            state,
            self.job_id,
            scan_complete=self._last.scan_complete if self._last else False,
            files=self._last.files if self._last else {},
            bytes=self._last.bytes if self._last else {},
            elapsed_seconds=time.monotonic() - self._began,
            reason=sentence(error),
            resumable=bool(self.job_id) and state in _RESUMABLE and not gone,
        )


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP end a job as Ctrl-C does, so that it winds down and says so; one that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for s in (s for s, handler in before.items() if handler is signal.SIG_DFL):
            signal.signal(s, signal.default_int_handler)
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


@contextmanager
def unstoppable() -> Iterator[None]:
    """While the end of a job is told. A first signal comes too late to stop anything, and to cut the telling short would leave a
    script without its object; a second one ends the process, for whoever should read may have stopped reading."""
    try:
        with Interrupts():
            yield
    except KeyboardInterrupt:
        raise SystemExit(leave(State.INTERRUPTED.exit_code)) from None
