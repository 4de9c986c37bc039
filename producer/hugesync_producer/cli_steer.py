"""``hugesync pause``, ``errors`` and ``retry``: what one does to a job that runs, and about what failed in one."""

from __future__ import annotations

import json
from typing import Any

import click

from hugesync_producer.cli_help import SectionedCommand
from hugesync_producer.cli_options import FLEET, grouped
from hugesync_producer.cli_run import Output, answer, run
from hugesync_producer.cli_showing import ITEMIZE, JSON, SHOWING, SHOWN
from hugesync_producer.cli_types import Choice
from hugesync_producer.streams import show
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.summary import Observer, Summary

NAME = "hugesync"
DEBUG = grouped(click.option("--debug", is_flag=True, help="Show tracebacks."), section=SHOWN)
CLASSES = grouped(
    click.option(
        "--class",
        "classes",
        type=Choice([str(c) for c in FailureClass]),
        multiple=True,
        help="Only failures of this class; may be given more than once.  [default: all]",
    ),
    section="What takes part",
)


@click.command("pause", cls=SectionedCommand)
@click.argument("job")
@FLEET
@JSON
@DEBUG
def pause_command(job: str, as_json: bool, **given: Any) -> int:
    """Send nothing more of JOB until hugesync resume JOB. What workers have in hand finishes.

    The job keeps its place: whoever coordinates it goes on doing so, and another that takes over does not send either. A job of
    this machine alone is paused as long as the process that runs it lives; where that ends it is interrupted.
    """

    def work() -> None:
        from hugesync_producer.pausing import pause

        pause(job, _settings(given))
        show(json.dumps({"job_id": job, "pause": True}) if as_json else f"job {job} was told to pause")

    return answer(Output.of(NAME, {**given, "as_json": as_json}), work)


@click.command("errors", cls=SectionedCommand)
@click.argument("job")
@CLASSES
@FLEET
@JSON
@DEBUG
def errors_command(job: str, classes: tuple[str, ...], as_json: bool, **given: Any) -> int:
    """List what failed in JOB, with class and reason: all that is recorded, at most 1,000. Of a job that runs, as of its last
    checkpoint."""

    def work() -> None:
        from hugesync_producer.failures import failures_of, lines

        found = failures_of(job, _settings(given), classes)
        if as_json:
            show(json.dumps(found))
            return
        for line in lines(found, classes):
            show(line)

    return answer(Output.of(NAME, {**given, "as_json": as_json}), work)


@click.command("retry", cls=SectionedCommand)
@click.argument("job")
@CLASSES
@FLEET
@SHOWING
@ITEMIZE
def retry_command(job: str, classes: tuple[str, ...], **given: Any) -> int:
    """Try the files again that failed in JOB, and no others. Output and exit codes are those of hugesync-submit, and of the whole
    job: a job that had stopped before its end stays so, and hugesync resume goes on with the rest."""
    out = Output.of(NAME, given)

    def work(observer: Observer) -> Summary:
        from hugesync_producer.cli_request import refuse_pairs
        from hugesync_producer.retrying import retry

        refuse_pairs(given)
        return retry(job, _settings(given), observer, classes)

    return run(out, work)


def _settings(given: dict[str, Any]) -> Any:
    from hugesync_producer.cli_request import settings_given
    from hugesync_tasks.config import load

    return load(settings_given(given))
