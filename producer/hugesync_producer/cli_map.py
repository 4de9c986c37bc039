"""``--map`` and ``--map-query``: the options, and what they mean together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from hugesync_producer.cli_options import grouped
from hugesync_producer.cli_types import PLACE

MAPPED = grouped(
    click.option(
        "--map",
        "map_file",
        type=PLACE,
        metavar="FILE",
        help="Copy what FILE names, under the names that it gives: CSV with columns stored,logical, JSON Lines, or an SQLite file"
        " (opened so that nothing is written to it).",
    ),
    click.option(
        "--map-query",
        metavar="SQL",
        help="Of --map with an SQLite file: SELECT stored, logical FROM ...",
    ),
    section="What takes part",
)


def map_of(given: Mapping[str, Any]) -> tuple[str, str] | None:
    """The map's file and query. Raises UsageError."""
    from hugesync_tasks.errors import UsageError

    if given["map_query"] and not given["map_file"]:
        raise UsageError("--map-query is of --map: give that too")
    if given["map_file"] is not None and (given.get("preflight") or given.get("auto")):
        raise UsageError(
            "--preflight and --auto measure all of SOURCE, and --map copies what it names; give one of them"
        )
    return (given["map_file"], given["map_query"] or "") if given["map_file"] is not None else None
