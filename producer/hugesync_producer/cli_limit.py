"""``hugesync limit``: show and change what a running job, or all jobs at an endpoint, may use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from hugesync_producer.cli_help import SectionedCommand
from hugesync_producer.cli_options import FLEET, grouped
from hugesync_producer.cli_run import Output, answer
from hugesync_producer.cli_showing import JSON, SHOWN
from hugesync_producer.streams import show
from hugesync_tasks.errors import UsageError

if TYPE_CHECKING:
    from hugesync_tasks.caps import Caps

NAME = "hugesync limit"


@click.command("limit", cls=SectionedCommand)
@click.argument("job", required=False)
@click.option(
    "--endpoint",
    metavar="URL",
    help="Not of a job: of all jobs that use the store at this URL, now and later. --tpslimit is then for each prefix (the first"
    " segment below the bucket).",
)
@click.option(
    "--bwlimit",
    metavar="RATE",
    help="Most bytes per second from now on, over all workers: 10M, 1.5MiB, 10MB/s; at least 64KiB/s; off: no limit.",
)
@click.option(
    "--tpslimit",
    metavar="N",
    help="Most requests per second from now on, over all workers; at least 0.5; off: no limit.",
)
@click.option(
    "-j", "--jobs", metavar="N", help="Most parts and batches in flight from now on, over all workers; 0: no limit."
)
@click.option(
    "--weight", metavar="N", help="Share of the job in workers that other jobs use at the same time, from 1 to 1000."
)
@FLEET
@JSON
@grouped(click.option("--debug", is_flag=True, help="Show tracebacks."), section=SHOWN)
def limit_command(job: str | None, endpoint: str | None, as_json: bool, **given: Any) -> int:
    """Change what JOB may use while it runs, or all jobs at an endpoint; without a change, show what holds. hugesync status shows
    it too. It stays when the job is resumed. With neither JOB nor --endpoint: all running jobs and endpoints of the fleet."""

    def work() -> None:
        from hugesync_producer.cli_request import settings_given
        from hugesync_producer.limiting import limit, limit_endpoint, limits
        from hugesync_tasks.config import load

        said = _said(given)
        settings = load(settings_given({name: given[name] for name in ("broker", "state")}))
        if job is not None and endpoint is not None:
            raise UsageError("give a job or --endpoint URL, not both")
        if endpoint is not None:
            if "weight" in said:
                raise UsageError("--weight is of a job: an endpoint has none")
            caps = limit_endpoint(endpoint, settings, said)
            _show(f"endpoint {endpoint}", {"endpoint": endpoint}, caps, as_json)
        elif job is not None:
            _show(f"job {job}", {"job_id": job}, limit(job, settings, said), as_json)
        elif said:
            raise UsageError("whose limit? give a job, or --endpoint URL")
        else:
            _show_all(*limits(settings), as_json)

    return answer(Output.of(NAME, {**given, "as_json": as_json}), work)


def _said(given: dict[str, Any]) -> dict[str, str]:
    """What is to be changed, as the ledger keeps it. Raises UsageError."""
    from hugesync_tasks.config_units import parse_rate, parse_requests

    parsers = {
        "bwlimit": parse_rate,
        "tpslimit": parse_requests,
        "jobs": _number(0, 10_000),
        "weight": _number(1, 1000),
    }
    said = {}
    for name, parse in parsers.items():
        if given[name] is not None:
            try:
                said[name] = str(parse(given[name]))
            except ValueError as error:
                raise UsageError(f"--{name}: {error}") from error
    return said


def _number(low: int, high: int) -> Any:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse


def _words(caps: Caps, weighs: bool) -> Iterator[str]:
    from hugesync_tasks.config_units import show_rate, show_requests

    yield f"bandwidth {show_rate(caps.bwlimit)}"
    yield f"requests {show_requests(caps.tpslimit)}"
    yield f"tasks at once {caps.jobs or 'off'}"
    if weighs:
        yield f"weight {caps.weight}"


def _plain(caps: Caps, weighs: bool) -> dict[str, Any]:
    return {name: value for name, value in caps.plain().items() if weighs or name != "weight"}


def _show(what: str, named: dict[str, str], caps: Caps, as_json: bool) -> None:
    weighs = "job_id" in named
    show(json.dumps({**named, **_plain(caps, weighs)}) if as_json else f"{what}: {', '.join(_words(caps, weighs))}")


def _show_all(jobs: dict[str, Caps], endpoints: dict[str, Caps], as_json: bool) -> None:
    if as_json:
        told = {"jobs": {job: _plain(caps, True) for job, caps in jobs.items()}}
        show(json.dumps({**told, "endpoints": {url: _plain(caps, False) for url, caps in endpoints.items()}}))
        return
    lines = [f"job {job}: {', '.join(_words(caps, True))}" for job, caps in jobs.items()]
    lines += [f"endpoint {url}: {', '.join(_words(caps, False))}" for url, caps in endpoints.items()]
    show("\n".join(lines or ["no job runs, and no endpoint has limits"]))
