"""``hugesync limit``: change what a running job may use."""

from __future__ import annotations

import json
from typing import Any

import click

from hugesync_producer.cli_help import SectionedCommand
from hugesync_producer.cli_options import FLEET, grouped
from hugesync_producer.cli_run import Output, answer
from hugesync_producer.cli_showing import JSON, SHOWN
from hugesync_producer.streams import show
from hugesync_tasks.errors import UsageError

NAME = "hugesync limit"


@click.command("limit", cls=SectionedCommand)
@click.argument("job")
@click.option(
    "--bwlimit",
    metavar="RATE",
    required=True,
    help="Most bytes per second from now on, over all workers: 10M, 1.5MiB, 10MB/s; at least 64KiB/s; off: no limit.",
)
@FLEET
@JSON
@grouped(click.option("--debug", is_flag=True, help="Show tracebacks."), section=SHOWN)
def limit_command(job: str, bwlimit: str, as_json: bool, **given: Any) -> int:
    """Change the bandwidth limit of JOB while it runs; hugesync status shows it. It stays when the job is resumed."""

    def work() -> None:
        from hugesync_producer.cli_request import settings_given
        from hugesync_producer.jobs import limit
        from hugesync_tasks.config import load
        from hugesync_tasks.config_units import parse_rate, show_rate

        try:
            rate = parse_rate(bwlimit)
        except ValueError as error:
            raise UsageError(f"--bwlimit: {error}") from error
        limit(job, load(settings_given(given)), rate)
        told = f"job {job} is limited to {show_rate(rate)}" if rate else f"job {job} has no bandwidth limit any more"
        show(json.dumps({"job_id": job, "bwlimit": rate}) if as_json else told)

    return answer(Output.of(NAME, {**given, "as_json": as_json}), work)
