"""``hugesync manifest``: a file that says what is there, missing or different."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hugesync_producer import human
from hugesync_producer.cli_map import MAPPED, map_of
from hugesync_producer.cli_options import FLEET, SELECTING, FilteringCommand, filters_given, grouped
from hugesync_producer.cli_run import Output, answer, stoppable
from hugesync_producer.cli_showing import SPEAKING
from hugesync_producer.cli_types import PLACE, Choice
from hugesync_producer.report import FAILURES_SHOWN, to_json, unnamed_words
from hugesync_producer.streams import Unwritten, show, tell, unwritten
from hugesync_tasks.redact import redact

if TYPE_CHECKING:
    from hugesync_producer.manifest import Manifest

NAME = "hugesync manifest"

_TELLING = grouped(
    click.option(
        "-o", "--output", metavar="FILE", required=True, help="Write it to FILE, replaced in one step; - is stdout."
    ),
    click.option(
        "--format",
        "form",
        type=Choice(["jsonl", "csv"]),
        default="jsonl",
        show_default=True,
        help="JSON Lines, or CSV for spreadsheets.",
    ),
    click.option(
        "-c",
        "--checksum",
        is_flag=True,
        default=False,
        help="Compare contents instead of times, and write the CRC64NVME of each file. What no store holds is read.",
    ),
    click.option("--one-way", is_flag=True, default=False, help="Do not list what only DEST has."),
    section="What is told",
)
_REACHING = grouped(
    click.option("--retries", metavar="N", help="Attempts at one request.  [default: 5]"),
    click.option(
        "--source-profile", metavar="NAME", default="",
        help="Profile that SOURCE is reached with (of AWS; gs, az: of the configuration file).",
    ),
    click.option(
        "--dest-profile", metavar="NAME", default="",
        help="Profile that DEST is reached with (of AWS; gs, az: of the configuration file).",
    ),
    section="How it runs",
)  # fmt: skip


@click.command("manifest", cls=FilteringCommand)
@click.argument("source", type=PLACE)
@click.argument("dest", type=PLACE, required=False, default="")
@_TELLING
@SELECTING
@MAPPED
@_REACHING
@FLEET
@SPEAKING
@click.pass_context
def manifest_command(ctx: click.Context, /, source: str, dest: str, **given: Any) -> int:
    """List SOURCE, and with DEST how each entry stands there: done, missing, differs, or extra (only DEST has it).

    An entry is done when a sync would leave it alone. Nothing is written at either end, nothing is remembered: make it again
    at any time, and see how far a recovery has come.

    \b
    Exit codes: 0 everything is done (or only listed), 1 something is missing,
    differs, is extra or could not be looked at, 2 bad usage or configuration,
    4 refused (SOURCE, DEST and FILE must lie apart), 5 unreachable,
    130 interrupted. With 2 and above FILE is what it was.
    """
    out = Output.of(NAME, given)
    ended: list[Manifest] = []

    def work() -> None:
        from hugesync_producer import cli_request as request
        from hugesync_producer.cli_inputs import Inputs
        from hugesync_producer.manifest import manifest
        from hugesync_producer.manifest_ends import Request
        from hugesync_tasks.config import load
        from hugesync_tasks.errors import UsageError

        if not out.in_json:
            out.start_logging()
        request.refuse_pairs(given)
        if out.as_json and given["output"] == "-":
            raise UsageError("--json and -o - contradict each other: both would be on standard output")
        settings = load(request.settings_given(given))
        asked = Request(
            source,
            dest,
            given["form"],
            given["checksum"],
            given["one_way"],
            request.selection_of(given, filters_given(ctx), Inputs()),
            given["source_profile"],
            given["dest_profile"],
            map_of(given),
        )
        observer, close = out.observer()
        try:
            with stoppable():
                if given["output"] != "-":
                    ended.append(manifest(asked, Path(given["output"]), settings=settings, observer=observer))
                else:
                    ended.append(_to_stdout(asked, settings, observer))
        finally:
            close()
        _conclude(out, ended[0], given["output"], given["form"])

    return answer(out, work) or ended[0].summary.state.exit_code


def _to_stdout(asked: Any, settings: Any, observer: Any) -> Manifest:
    from hugesync_producer.manifest import manifest

    if sys.stdout is None:
        raise Unwritten("it is closed")
    try:
        return manifest(asked, sys.stdout.buffer, settings=settings, observer=observer)
    except OSError as error:
        raise unwritten(error) from error


def _conclude(out: Output, told: Manifest, output: str, form: str) -> None:
    """Raises Unwritten."""
    summary = told.summary
    about: dict[str, Any] = {"file": output, "format": form, "entries": told.states, "left_out": told.left_out}
    if told.unnamed is not None:
        about["not_named_by_map"] = told.unnamed
    if out.in_json:
        from hugesync_tasks.logs import get_logger

        get_logger().info("ended", state=str(summary.state), exit_code=summary.state.exit_code, manifest=about)
    if out.as_json:
        show(json.dumps({**to_json(summary), "manifest": about}))
        return
    if (out.quiet and not summary.state.exit_code) or (out.in_json and output == "-"):
        return
    for line in _words(told):
        tell(line) if output == "-" else show(line)


def _words(told: Manifest) -> Iterator[str]:
    number = sum(told.states.values())
    states = " · ".join(f"{state} {human.count(n)}" for state, n in told.states.items() if n)
    took = human.duration(told.summary.elapsed_seconds)
    yield f"{human.count(number)} {'entry' if number == 1 else 'entries'} in {took}" + (f": {states}" if states else "")
    if told.left_out:
        yield f"  {human.count(told.left_out)} left out by filters"
    yield from (f"  {words}" for words in unnamed_words(told.unnamed))
    for failure in told.summary.failures[:FAILURES_SHOWN]:
        yield f"  {human.name(failure.path)}: {human.plain(redact(failure.message))}"
