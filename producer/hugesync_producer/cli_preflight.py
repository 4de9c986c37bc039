"""``hugesync preflight``, and what ``hugesync-submit --preflight`` and ``--auto`` do before a job."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from hugesync_producer.cli_options import SELECTING, FilteringCommand, filters_given
from hugesync_producer.cli_run import Output, answer, stoppable
from hugesync_producer.cli_showing import JSON
from hugesync_producer.streams import show, tell

if TYPE_CHECKING:
    from hugesync_producer.preflight.report import Report
    from hugesync_tasks.config import Settings
    from hugesync_tasks.spec import Options, Selection

NAME = "hugesync preflight"
LONGEST = 600.0  # seconds; what a preflight writes is never older, so that an old one's is known as left


@click.command("preflight", cls=FilteringCommand)
@click.argument("source")
@click.argument("dest")
@click.option(
    "--max-seconds", metavar="N", default="30", show_default=True, help="Measure for about so long, 5 to 600."
)
@click.option(
    "--max-bytes",
    metavar="SIZE",
    default="256MiB",
    show_default=True,
    help="Read and write at most so much to measure.",
)
@SELECTING
@click.option(
    "--source-profile", metavar="NAME", default="", help="Profile that SOURCE is reached with, as in hugesync-submit."
)
@click.option(
    "--dest-profile", metavar="NAME", default="", help="Profile that DEST is reached with, as in hugesync-submit."
)
@click.option("--broker", metavar="URL", help="Redis of the fleet that would do the job.")
@JSON
@click.option("-q", "--quiet", is_flag=True, default=False, help="Do not say what is being measured.")
@click.option("--debug", is_flag=True, default=False, help="Show tracebacks.")
@click.pass_context
def preflight_command(ctx: click.Context, /, source: str, dest: str, **given: Any) -> int:
    """Measure this machine, SOURCE and DEST, and say how a job should be set up and how long it will take.

    SOURCE is only read. What is written at DEST to measure it never becomes visible and is gone at the end, also when this
    command is killed. The estimate is of a DEST that has nothing yet.

    \b
    Exit codes: 0 a job can be started, 1 it can, but something could not be
    removed, 2 bad usage or configuration, missing source or bucket,
    4 blocked: no space, no inodes, no permission, 5 unreachable,
    130 interrupted.
    """
    out = Output.of(NAME, given)
    blocked: list[str] = []
    left: list[str] = []

    def work() -> None:
        from hugesync_producer import cli_request as request
        from hugesync_producer.cli_inputs import Inputs
        from hugesync_producer.preflight.wording import lines
        from hugesync_tasks.config import load

        settings = load({"broker_url": given["broker"]} if given["broker"] is not None else {})
        selection = request.selection_of(given, filters_given(ctx), Inputs())
        options = request.comparing_options_of(given, settings)
        with stoppable():
            report = _measured(out, source, dest, given, settings, options, selection)
        blocked.extend(report.blockers)
        left.extend(report.left)
        if out.as_json:
            show(json.dumps(report.to_json()))
        else:
            for line in lines(report):
                show(line)

    code = answer(out, work)
    if out.as_json and not code:
        for why in blocked:
            out.say(f"blocked: {why}")
        for place in left:
            out.say(f"could not be removed: {place}")
    return code or (4 if blocked else int(bool(left)))


def before_job(
    out: Output,
    source: str,
    dest: str,
    given: Mapping[str, Any],
    settings: Settings,
    options: Options,
    selection: Selection,
) -> tuple[Options, Settings]:
    """For ``--preflight``: the report on stderr, whatever it says; for ``--auto`` the job's options and the settings with
    what is recommended."""
    from hugesync_producer.preflight.report import applied
    from hugesync_producer.preflight.wording import lines

    report = _measured(out, source, dest, given, settings, options, selection)
    if given["preflight"]:
        if out.in_json:
            from hugesync_tasks.logs import get_logger

            get_logger().warning("preflight", **report.to_json())
        else:
            for line in lines(report):
                tell(line)
    if not given["auto"]:
        return options, settings
    options, settings, taken = applied(report.advice, options, settings)
    if not out.quiet:
        said = ", ".join(f"{a.key} {a.value}" for a in taken)
        out.notice(f"--auto: {said or 'nothing is changed, all of it was set'}")
    return options, settings


def _measured(
    out: Output,
    source: str,
    dest: str,
    given: Mapping[str, Any],
    settings: Settings,
    options: Options,
    selection: Selection,
) -> Report:
    from hugesync_producer.preflight.run import MAX_BYTES, MAX_SECONDS, preflight

    return preflight(
        source,
        dest,
        settings=settings,
        options=options,
        selection=selection,
        source_profile=given["source_profile"],
        dest_profile=given["dest_profile"],
        max_seconds=_seconds(given["max_seconds"]) if "max_seconds" in given else MAX_SECONDS,
        max_bytes=_size(given["max_bytes"]) if "max_bytes" in given else MAX_BYTES,
        say=_progress(out),
    )


def _progress(out: Output) -> Callable[[str], None]:
    return (
        (lambda _: None)
        if out.quiet or out.as_json
        else (lambda what: out.notice(what if out.command == NAME else f"preflight: {what}"))
    )


def _seconds(text: str) -> float:
    from hugesync_tasks.config_units import parse_duration
    from hugesync_tasks.errors import UsageError

    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parse_duration(text)
        except ValueError as error:
            raise UsageError(f"--max-seconds: {error}") from error
    if not 5 <= seconds <= LONGEST:
        raise UsageError(f"--max-seconds {text}: between 5 and {LONGEST:.0f} seconds")
    return seconds


def _size(text: str) -> int:
    from hugesync_tasks.config_units import parse_size
    from hugesync_tasks.errors import UsageError

    try:
        size = parse_size(text)
    except ValueError as error:
        raise UsageError(f"--max-bytes: {error}") from error
    if size < 4 << 20:
        raise UsageError(f"--max-bytes {text}: with less than 4MiB nothing can be measured")
    return size
