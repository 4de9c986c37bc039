"""``hugesync validate-endpoint`` and ``hugesync uploads``: the commands around a place, not a job."""

from __future__ import annotations

import json
from typing import Any

import click

from hugesync_producer import human
from hugesync_producer.cli_help import SectionedCommand, SectionedGroup
from hugesync_producer.cli_options import grouped
from hugesync_producer.cli_run import Output, answer, stoppable
from hugesync_producer.cli_showing import JSON
from hugesync_producer.cli_types import PLACE
from hugesync_producer.streams import show
from hugesync_producer.table import print_table

_PLACE = grouped(
    click.option(
        "--profile",
        metavar="NAME",
        default="",
        help="Profile that URL is reached with (of AWS; gs, az: of the configuration file).",
    ),
    JSON,
    click.option("--debug", is_flag=True, help="Show tracebacks."),
)
_AGE = "such as 7d, 12h or 90m"


@click.command("validate-endpoint", cls=SectionedCommand)
@click.argument("url", type=PLACE, required=False, default="")
@click.option("--cached", is_flag=True, help="Show what an earlier run found, of URL or of all places. Asks no store.")
@_PLACE
def validate_command(url: str, cached: bool, profile: str, as_json: bool, **given: Any) -> int:
    """Find out what the store at URL really honours, by WRITING.

    About 16 MiB go below URL in a folder .hugesync/validate-<random>/, which is removed afterwards; on a local path a few
    small files. The answers are kept and decide how far later jobs trust the store.

    \b
    Exit codes: 0 answered, 1 answered but something could not be removed,
    2 no such place or no right to write, 5 unreachable.
    """
    out = Output.of("hugesync validate-endpoint", {**given, "as_json": as_json})
    left: list[str] = []

    def work() -> None:
        from hugesync_producer import validate
        from hugesync_tasks.config import load
        from hugesync_tasks.errors import UsageError

        if not url and not cached:
            raise UsageError("give the URL to ask; --cached shows what is kept of all")
        state_dir = load({}).state_dir
        found = validate.cached(url, profile, state_dir) if cached else []
        if not cached:
            with stoppable():  # what it wrote must go, however it is ended
                found = [validate.validate(url, profile, state_dir, out.notice)]
            left.extend(found[0].findings.left)
        objects = [validate.as_object(one) for one in found]
        if as_json:
            show(json.dumps(objects[0] if url else {"endpoints": objects}))
        else:
            for one in found:
                show(f"{human.name(one.location)}: {one.findings.server}, asked at {one.when}")
                print_table(("CAPABILITY", "ANSWER", "WHAT HUGESYNC DOES"), validate.rows(one.findings))
        for what in left:
            out.say(f"could not be removed: {what}")

    return answer(out, work) or int(bool(left))


@click.group("uploads", cls=SectionedGroup)
def uploads_commands() -> None:
    """Find and end what unfinished uploads left at a store, or temporary files in a folder."""


@uploads_commands.command("list")
@click.argument("url", type=PLACE)
@click.option("--older-than", metavar="AGE", help=f"Only those that began longer ago, {_AGE}.")
@_PLACE
def list_command(url: str, older_than: str | None, profile: str, as_json: bool, **given: Any) -> int:
    """List the open uploads below URL: whose they are, how old, how large."""
    out = Output.of("hugesync uploads", {**given, "as_json": as_json})

    def work() -> None:
        from hugesync_producer import uploads

        found = uploads.survey(url, profile, None if older_than is None else uploads.age_of(older_than))
        if as_json:
            show(json.dumps({"location": found.location, "uploads": [one.to_json() for one in found.uploads]}))
            return
        print_table(("KEY", "ID", "AGE", "HOLDS", "OURS"), (one.row() for one in found.uploads))
        show(uploads.sum_up(found.uploads, "open"))

    return answer(out, work)


@uploads_commands.command("abort")
@click.argument("url", type=PLACE)
@click.option("--older-than", metavar="AGE", required=True, help=f"Those that began longer ago, {_AGE}.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be aborted, abort nothing.")
@_PLACE
def abort_command(url: str, older_than: str, dry_run: bool, profile: str, as_json: bool, **given: Any) -> int:
    """Abort the uploads below URL that began longer ago than AGE, ours or not, and forget their intents.

    Intents whose upload is gone go too; to find them everything below URL is listed. Objects are never touched. On a local
    path: temporary files of ours that nobody has written to for AGE.
    """
    out = Output.of("hugesync uploads", {**given, "as_json": as_json})
    failed: list[str] = []

    def work() -> None:
        from hugesync_producer import uploads

        done = uploads.abort(url, profile, uploads.age_of(older_than), dry_run)
        failed.extend(done.failed)
        if as_json:
            show(json.dumps(done.to_json()))
        else:
            for one in done.uploads:
                show(f"{human.name(one.key)}  {human.name(one.id)}")
            for line in done.lines():
                show(line)
        for why in failed:
            out.say(why)

    return answer(out, work) or int(bool(failed))
