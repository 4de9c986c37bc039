"""``hugesync``: the commands around jobs that exist.

They call these functions of ``hugesync_producer.jobs``, all of which raise UsageError for a job that nobody knows:

    list_jobs(settings) -> list[JobLine]                    newest first
    status(job_id, settings) -> dict[str, Any]              design §6's object, and "source", "dest", "started", "resumable"
    resume(job_id, settings, observer) -> Summary
    cancel(job_id, settings) -> None                        returns when the job has been told, not when it has stopped
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hugesync_producer import human
from hugesync_producer.cli_delta import delta_command, patch_command, sign_command
from hugesync_producer.cli_endpoint import uploads_commands, validate_command
from hugesync_producer.cli_help import SectionedGroup
from hugesync_producer.cli_limit import limit_command
from hugesync_producer.cli_manifest import manifest_command
from hugesync_producer.cli_options import FLEET, grouped
from hugesync_producer.cli_preflight import preflight_command
from hugesync_producer.cli_providers import providers_command
from hugesync_producer.cli_run import Output, answer, run
from hugesync_producer.cli_scale import scale_command
from hugesync_producer.cli_setup import completion_command, config_command
from hugesync_producer.cli_showing import ITEMIZE, JSON, SHOWING, SHOWN
from hugesync_producer.cli_steer import errors_command, pause_command, retry_command
from hugesync_producer.cli_verify import verify_command
from hugesync_producer.cli_watch import watch_command
from hugesync_producer.report import FAILURES_SHOWN, from_json, to_text
from hugesync_producer.streams import show
from hugesync_producer.table import print_table
from hugesync_tasks import __version__
from hugesync_tasks.redact import redact
from hugesync_tasks.summary import FAILURES_KEPT, JobLine, Observer, Summary

if TYPE_CHECKING:
    from hugesync_tasks.config import Settings

NAME = "hugesync"
DEBUG = grouped(click.option("--debug", is_flag=True, help="Show tracebacks."), section=SHOWN)
VERBOSE = grouped(click.option("-v", "--verbose", is_flag=True, help="List every failure."), section=SHOWN)


class HugesyncCommands(SectionedGroup):
    sections = {
        "Jobs": ("jobs", "status", "watch", "pause", "resume", "cancel", "limit", "retry", "errors"),
        "Fleet": ("scale",),
        "Two places compared": ("verify", "manifest"),
        "Before a job": ("preflight", "validate-endpoint", "providers"),
        "What was left behind": ("uploads",),
        "Files and signatures": ("sign", "delta", "patch"),
        "Setting up": ("config", "completion"),
    }


@click.group(NAME, cls=HugesyncCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def hugesync_commands() -> None:
    """Look after HugeSync's jobs; hugesync-submit starts one."""


for _command in (
    sign_command, delta_command, patch_command, preflight_command, providers_command, uploads_commands, validate_command,
    verify_command, manifest_command, config_command, completion_command, pause_command, errors_command, retry_command,
    watch_command, limit_command, scale_command,
):  # fmt: skip
    hugesync_commands.add_command(_command)


@hugesync_commands.command("jobs")
@FLEET
@JSON
@DEBUG
def jobs_command(as_json: bool, **given: Any) -> int:
    """List the jobs, newest first."""

    def work() -> None:
        from hugesync_producer.jobs import list_jobs

        lines = list_jobs(_settings(given))
        if as_json:
            show(json.dumps({"jobs": [asdict(line) for line in lines]}))
        else:
            print_table(("JOB", "STATE", "STARTED", "SOURCE", "DEST"), (_row(line) for line in lines))

    return answer(Output.of(NAME, {**given, "as_json": as_json}), work)


@hugesync_commands.command("status")
@click.argument("job")
@FLEET
@JSON
@VERBOSE
@DEBUG
def status_command(job: str, as_json: bool, verbose: bool, **given: Any) -> int:
    """Show how JOB stands or how it ended, and what failed."""

    def work() -> None:
        from hugesync_producer.fleet import standing_lines
        from hugesync_producer.jobs import status
        from hugesync_producer.latest import lines as as_of_lines

        found = status(job, _settings(given))
        if as_json:
            show(json.dumps(found))
            return
        compares = bool(found.get("compares"))
        summary = replace(from_json(found), resumable=bool(found.get("resumable")), compares=compares)
        show(f"{human.name(found.get('source', ''))} → {human.name(found.get('dest', ''))}")
        show(to_text(summary, FAILURES_KEPT if verbose else FAILURES_SHOWN))
        if found.get("paused"):
            show(f"Paused: nothing is sent until hugesync resume {job}")
        if found.get("reason"):
            show(f"Why: {human.plain(redact(found['reason']))}")
        for line in as_of_lines(found["as_of"]) if "as_of" in found else ():
            show(human.plain(redact(line)))
        for line in standing_lines(found["workers"]) if "workers" in found else ():
            show(human.plain(redact(line)))

    return answer(Output.of(NAME, {**given, "as_json": as_json}), work)


@hugesync_commands.command("resume")
@click.argument("job")
@FLEET
@SHOWING
@ITEMIZE
def resume_command(job: str, **given: Any) -> int:
    """Go on with JOB where it stopped, or let one go on that is paused. Output and exit codes are those of hugesync-submit."""
    out = Output.of(NAME, given)

    def work(observer: Observer) -> Summary:
        from hugesync_producer.cli_request import refuse_pairs
        from hugesync_producer.jobs import resume

        refuse_pairs(given)
        return resume(job, _settings(given), observer)

    return run(out, work)


@hugesync_commands.command("cancel")
@click.argument("job")
@FLEET
@JSON
@DEBUG
def cancel_command(job: str, as_json: bool, **given: Any) -> int:
    """Tell JOB to stop. What it has done stays, and it can be resumed."""

    def work() -> None:
        from hugesync_producer.jobs import cancel

        cancel(job, _settings(given))
        show(json.dumps({"job_id": job, "cancel": True}) if as_json else f"job {job} was told to stop")

    return answer(Output.of(NAME, {**given, "as_json": as_json}), work)


def _settings(given: dict[str, Any]) -> Settings:
    from hugesync_producer.cli_request import settings_given
    from hugesync_tasks.config import load

    return load(settings_given(given))


def _row(line: JobLine) -> tuple[str, ...]:
    started = datetime.fromtimestamp(line.started, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    state = (
        ("paused" if line.paused else human.state(line.state))
        + (", resumable" if line.resumable else "")
        + (", verify" if line.compares else "")
    )
    return line.job_id, state, started, line.source, line.dest
