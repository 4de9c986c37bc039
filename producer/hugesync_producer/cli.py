"""``hugesync-submit`` and ``hugesync``: the entry points.

Each parses, builds values, and calls one function of the library; what a person sees of it is made in ``cli_run``.
"""

from __future__ import annotations

import sys
from typing import Any, TextIO

import click

from hugesync_producer.aside import leave
from hugesync_producer.cli_jobs import hugesync_commands
from hugesync_producer.cli_map import MAPPED, map_of
from hugesync_producer.cli_options import (
    COMPARING,
    DELETING,
    DELTA,
    FLEET,
    LISTED,
    MEASURING,
    RUNNING,
    SELECTING,
    WRITING,
    FilteringCommand,
    filters_given,
)
from hugesync_producer.cli_run import Output, conclude, lost, run
from hugesync_producer.cli_showing import EXPOSED, ITEMIZE, SHOWING
from hugesync_producer.cli_types import PLACE
from hugesync_producer.streams import stand_in, unwritten
from hugesync_tasks import __version__
from hugesync_tasks.summary import Observer, State, Summary

SUBMIT = "hugesync-submit"


@click.command(SUBMIT, cls=FilteringCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", type=PLACE)
@click.argument("dest", type=PLACE)
@COMPARING
@SELECTING
@LISTED
@MAPPED
@WRITING
@DELETING
@DELTA
@RUNNING
@MEASURING
@FLEET
@SHOWING
@ITEMIZE
@EXPOSED
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def submit_command(ctx: click.Context, /, source: str, dest: str, **given: Any) -> int:
    """Make DEST hold what SOURCE holds, sending only what differs.

    Each is a path, file://PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX. The contents of a
    directory or prefix are mirrored into DEST; a single file goes to DEST, or into DEST if that ends in / or is a directory. Nothing is deleted without
    --delete. Endpoints and credentials are those of each cloud's own tools: AWS_ENDPOINT_URL_S3, AWS_PROFILE and so on;
    Google's default credentials; AZURE_STORAGE_CONNECTION_STRING and the like.

    The same command again resumes what was left unfinished.

    \b
    Exit codes: 0 done, 1 some files failed, 2 bad usage or configuration,
    3 stopped by a conflict, 4 refused to protect data, 5 unreachable or
    stalled, 130 interrupted or cancelled.
    """
    out = Output.of(SUBMIT, given)

    def work(observer: Observer) -> Summary:
        from hugesync_producer import cli_request as request
        from hugesync_tasks.config import load

        request.refuse_contradictions(given)
        settings = load(request.settings_given(given))
        request.refuse_without_fleet(given, settings)
        map_file = map_of(given)
        options = request.options_of(given, settings)
        with request.chosen(given, filters_given(ctx)) as (selection, names):
            if given["preflight"] or given["auto"]:
                from hugesync_producer.cli_preflight import before_job

                options, settings = before_job(out, source, dest, given, settings, options, selection)
            from hugesync_producer.sync import sync

            return sync(
                source,
                dest,
                settings=settings,
                rules=request.rules_of(given, settings),
                selection=selection,
                options=options,
                source_profile=given["source_profile"],
                dest_profile=given["dest_profile"],
                dry_run=given["dry_run"],
                fresh=given["fresh"],
                detach=given["detach"],
                observer=observer,
                files_from=names,
                map_file=map_file,
            )

    return run(out, work)


def submit() -> int:
    """Entry point of ``hugesync-submit``; returns the exit code."""
    return leave(invoke(submit_command, SUBMIT, sys.argv[1:]))


def hugesync() -> int:
    """Entry point of ``hugesync``; returns the exit code."""
    return leave(invoke(hugesync_commands, "hugesync", sys.argv[1:]))


def invoke(command: click.Command, name: str, args: list[str]) -> int:
    """Run a click command; every outcome is an exit code, with ``--json`` also one object, and never a traceback."""
    stand_in()
    _accept_any_name(sys.stdout)
    options = args[: args.index("--")] if "--" in args else args
    try:
        code = command.main(args, prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        out = _as_asked(name, options)
        asked = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else name
        message = " ".join(error.format_message().split())
        return conclude(out, Summary(State.USAGE, reason=f"{message} Try '{asked} --help'."), began=False)
    except (click.Abort, KeyboardInterrupt):
        return conclude(_as_asked(name, options), Summary(State.INTERRUPTED, reason="interrupted"), began=False)
    except OSError as error:  # of click's own printing: --help, --version
        return lost(_as_asked(name, options), unwritten(error), 0)
    return code if isinstance(code, int) else 0


def _as_asked(name: str, options: list[str]) -> Output:
    """How to speak where the command line could not be read: by the words that stand in it."""
    pairs = zip(options, [*options[1:], ""], strict=False)
    asked = [v if o == "--log-format" else o.partition("=")[2] for o, v in pairs if o.startswith("--log-format")]
    out = Output.of(name, {"as_json": "--json" in options, "log_format": asked[-1] if asked else None})
    if out.in_json:
        out.start_logging()
    return out


def _accept_any_name(stream: TextIO) -> None:
    """A name that the terminal's encoding lacks is shown escaped instead of ending the report with an error."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(submit())
