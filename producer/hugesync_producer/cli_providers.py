"""``hugesync providers``: the table of services that speak S3. Asks nobody."""

from __future__ import annotations

import json
from typing import Any

import click

from hugesync_producer.cli_help import SectionedCommand
from hugesync_producer.cli_options import grouped
from hugesync_producer.cli_run import Output, answer
from hugesync_producer.cli_showing import JSON
from hugesync_producer.streams import show
from hugesync_producer.table import print_table

_OPTIONS = grouped(JSON, click.option("--debug", is_flag=True, help="Show tracebacks."))


@click.command("providers", cls=SectionedCommand)
@click.argument("name", required=False, default="")
@_OPTIONS
def providers_command(name: str, as_json: bool, **given: Any) -> int:
    """Show what is known of services that speak S3, or all that is known of NAME, and from where.

    Endpoint, region, how the bucket is named, checksums, conditional writes, and limits that differ from S3's. Some rows were
    measured with hugesync validate-endpoint, the others repeat what a page says. No store is asked.

    \b
    Exit codes: 0 shown, 2 no such provider.
    """

    def work() -> None:
        from hugesync_producer import providers as words
        from hugesync_tasks.stores.s3_providers import find, providers

        if name:
            one = find(name)
            if as_json:
                show(json.dumps(words.as_object(one)))
                return
            show(f"{one.name}: {one.title}")
            for label, value in words.about(one):
                show(f"  {label}: {value}")
            if one.answers:
                print_table(words.CAPABILITIES, words.capabilities(one))
        elif as_json:
            show(json.dumps({"providers": [words.as_object(one) for one in providers()]}))
        else:
            print_table(words.HEAD, (words.row(one) for one in providers()))
            show(words.PROMISE)

    return answer(Output.of("hugesync providers", {**given, "as_json": as_json}), work)
