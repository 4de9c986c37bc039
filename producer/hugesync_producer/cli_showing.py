"""The options that say how a command speaks: in words or JSON, how much, and where else."""

from __future__ import annotations

import click

from hugesync_producer.cli_options import flag, grouped
from hugesync_producer.cli_types import PLACE

SHOWN = "What is shown"  # the section's title

JSON = grouped(flag("--json", "as_json", help="Print one JSON object on stdout."), section=SHOWN)

ITEMIZE = grouped(
    flag(
        "-i",
        "--itemize-changes",
        "itemize",
        help="Print a line for each file that is sent or deleted, as rsync does: what of it changes, and its name.",
    ),
    section=SHOWN,
)

EXPOSED = grouped(
    click.option(
        "--metrics-port",
        "exposed",  # the key of that name is a worker's
        type=click.IntRange(1, 65535),
        metavar="N",
        help="While the job runs, serve its figures to Prometheus on port N of metrics_host, by default this machine's own.",
    ),
    section=SHOWN,
)

SPEAKING = grouped(
    JSON,
    flag("-q", "--quiet", help="Say nothing unless something went wrong; log errors only."),
    flag(
        "-v",
        "--verbose",
        help="Log what becomes of each file and why, and how the job works; list every failure at the end.",
    ),
    flag("--debug", help="Log everything, libraries too, and show tracebacks."),
    click.option(
        "--log-format", metavar="FORMAT", help="Write stderr as text, or as json: one object per line.  [default: text]"
    ),
    click.option(
        "-P/ ",
        "--progress/--no-progress",
        "progress",
        default=True,
        help="Show progress on stderr. (What rsync's -P keeps is kept anyway.)  [default: progress]",
    ),
    section=SHOWN,
)

SHOWING = grouped(  # of what is a job
    SPEAKING,
    click.option(
        "--events",
        type=PLACE,
        metavar="FILE",
        default="",
        help="Append what happens, each file's outcome too, to FILE: one JSON object per line.",
    ),
    click.option(
        "--log-file",
        type=PLACE,
        metavar="FILE",
        default="",
        help="Append to FILE what -v would log, whatever stderr shows.",
    ),
    section=SHOWN,
)
