"""``hugesync verify``: compare two trees, write nothing."""

from __future__ import annotations

from typing import Any

import click

from hugesync_producer.cli_options import FLEET, LISTED, RUNNING, SELECTING, FilteringCommand, filters_given
from hugesync_producer.cli_run import Output, run
from hugesync_producer.cli_showing import SHOWING
from hugesync_producer.cli_types import PLACE
from hugesync_tasks.summary import Observer, Summary

NAME = "hugesync verify"


@click.command("verify", cls=FilteringCommand)
@click.argument("source", type=PLACE)
@click.argument("dest", type=PLACE)
@click.option(
    "--sample",
    metavar="P%",
    default="100%",
    show_default=True,
    help="Compare the contents of so many percent of the files, always the same ones; sizes are compared of all.",
)
@click.option("--one-way", is_flag=True, default=False, help="Do not look for what only DEST has.")
@SELECTING
@LISTED
@RUNNING
@FLEET
@SHOWING
@click.pass_context
def verify_command(ctx: click.Context, /, source: str, dest: str, **given: Any) -> int:
    """Compare SOURCE with DEST, as a sync of them would have left it. Nothing is written at either end.

    Each file of SOURCE must be there with its kind, size and contents. Contents are compared by the checksums that the
    stores hold; where one holds none it is read. Times, modes and owners are not compared.

    Equal files are counted as skipped (same), what differs or could not be compared as failed; what only DEST has is listed
    apart.

    \b
    Exit codes: 0 all equal, 1 not equal, 2 bad usage or configuration,
    4 refused (SOURCE and DEST overlap), 5 unreachable or stalled,
    130 interrupted or cancelled.
    """
    out = Output.of(NAME, given)

    def work(observer: Observer) -> Summary:
        from hugesync_producer import cli_request as request
        from hugesync_tasks.config import load

        request.refuse_pairs(given)
        settings = load(request.settings_given(given))
        request.refuse_without_fleet(given, settings)
        from hugesync_producer.verify import verify

        with request.chosen(given, filters_given(ctx)) as (selection, names):
            return verify(
                source,
                dest,
                settings=settings,
                selection=selection,
                options=request.comparing_options_of(given, settings),
                source_profile=given["source_profile"],
                dest_profile=given["dest_profile"],
                sample=request.sample_of(given["sample"]),
                one_way=given["one_way"],
                fresh=given["fresh"],
                detach=given["detach"],
                observer=observer,
                files_from=names,
            )

    return run(out, work)
