"""``hugesync watch``: one job is followed as the command that runs it shows it; several at once, each under its name."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from hugesync_producer import human
from hugesync_producer.cli_help import SectionedCommand
from hugesync_producer.cli_options import FLEET
from hugesync_producer.cli_run import Output, conclude, run, sentence, stoppable
from hugesync_producer.cli_showing import SHOWING
from hugesync_producer.report import FAILURES_SHOWN, to_json, to_text
from hugesync_producer.streams import Unwritten, show
from hugesync_tasks.errors import UsageError
from hugesync_tasks.summary import FAILURES_KEPT, Observer, Summary, state_of_error

NAME = "hugesync"


@click.command("watch", cls=SectionedCommand)
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
@FLEET
@SHOWING
def watch_command(jobs: tuple[str, ...], **given: Any) -> int:
    """Follow each JOB until it ends, and exit with its code; of several, with the highest. To stop watching (Ctrl-C) does not stop
    a job. With --json several are one object: {"jobs": [...]}.

    Of single files it knows nothing: -v lists every failure at the end, --events and --log-file, which are of one JOB, tell how it
    stands and how it ended."""
    out = Output.of(NAME, given)
    if len(jobs) > 1:
        return _several(out, jobs, given)

    def work(observer: Observer) -> Summary:
        from hugesync_producer.jobs import watch

        return watch(jobs[0], _settings(given), observer)

    return run(out, work)


def _several(out: Output, jobs: tuple[str, ...], given: dict[str, Any]) -> int:
    out.start_logging()
    observers, close = _observers(out, jobs)

    def ended(job: str, summary: Summary) -> None:
        row = observers[job]
        if hasattr(row, "ended"):
            row.ended()
        row.on_notice(summary.reason or f"the job has ended: {human.state(summary.state)}")

    try:
        for option in ("events", "log_file"):
            if given[option]:
                raise UsageError(f"--{option.replace('_', '-')} is of one job: watch each by itself")
        from hugesync_producer.watching import watch_all

        with stoppable():
            summaries = watch_all(jobs, _settings(given), observers, ended)
    except (Exception, KeyboardInterrupt) as error:
        close()
        out.raised()
        return conclude(out, Summary(state_of_error(error), reason=sentence(error)), began=False)
    finally:
        close()
    return _conclude(out, list(summaries.values()))


def _conclude(out: Output, summaries: list[Summary]) -> int:
    from hugesync_producer.report import honest

    told = [honest(summary)[0] for summary in summaries]
    code = max(summary.state.exit_code for summary in told)
    try:
        if out.as_json:
            show(json.dumps({"jobs": [to_json(summary) for summary in told]}))
        else:
            for summary in told:
                if not (out.quiet and summary.state.exit_code == 0):
                    show(to_text(summary, FAILURES_KEPT if out.verbose else FAILURES_SHOWN))
    except Unwritten as error:
        from hugesync_producer.cli_run import lost

        return lost(out, error, code)
    return code


def _observers(out: Output, jobs: tuple[str, ...]) -> tuple[dict[str, Any], Any]:
    if not out.in_json:
        from hugesync_producer.progress_many import observers_for

        return observers_for(sys.stderr, out.progress, out.quiet, NAME, jobs)
    from hugesync_producer.logobserver import LogObserver
    from hugesync_tasks.logs import get_logger

    return {job: LogObserver(out.progress, get_logger().bind(job=job)) for job in jobs}, lambda: None


def _settings(given: dict[str, Any]) -> Any:
    from hugesync_producer.cli_request import settings_given
    from hugesync_tasks.config import load

    return load(settings_given(given))
