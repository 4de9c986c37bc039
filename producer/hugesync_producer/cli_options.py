"""The options of the commands, in groups. Only declarations and what the command line alone can know: their order.

Nothing heavy is imported here: ``--help`` must answer at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from hugesync_producer.cli_help import SectionedCommand, in_section
from hugesync_producer.cli_types import PLACE, Choice

Decorator = Callable[[Any], Any]
FILTERS = ("filter", "exclude", "include", "exclude_from", "include_from")


class FilteringCommand(SectionedCommand):
    """Keeps the order in which the five filter options were given, across them, as rsync does: the first that matches
    decides. ``filters_given`` reads them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        opts, _, order = self.make_parser(ctx).parse_args(args=list(args))
        values = {name: iter(opts.get(name, ())) for name in FILTERS if isinstance(opts.get(name), list)}
        given = [(str(p.name), str(next(values[str(p.name)]))) for p in order if p.name in values]
        ctx.meta["hugesync.filters"] = tuple(given)
        return super().parse_args(ctx, args)


def filters_given(ctx: click.Context) -> tuple[tuple[str, str], ...]:
    """(option, value) of ``--filter``, ``--exclude``, ``--include``, ``--exclude-from``, ``--include-from`` as typed."""
    given: tuple[tuple[str, str], ...] = ctx.meta.get("hugesync.filters", ())
    return given


def grouped(*options: Decorator, section: str = "") -> Decorator:
    """Several options as one decorator, shown in ``--help`` in this order, below the title ``section``."""

    def apply(command: Any) -> Any:
        for option in reversed(options):
            command = in_section(option(command), section)
        return command

    return apply


def flag(*names: str, help: str) -> Decorator:
    return click.option(*names, is_flag=True, default=False, help=help)


COMPARING = grouped(
    flag("-n", "--dry-run", help="Look and count, change nothing."),
    flag("--estimate", help="With -n: guess from a few blocks what a delta would save, instead of computing it."),
    flag("-c", "--checksum", help="Compare contents, by the store's checksums where it has them."),
    flag("-u", "--update", help="Leave files alone that are newer at the destination."),
    flag("--size-only", help="Files of equal size are the same."),
    flag("--ignore-existing", help="Leave alone what the destination has."),
    flag("--existing", help="Transfer only what the destination has already."),
    flag("-I", "--ignore-times", help="Transfer also what looks the same by size and time."),
    click.option(
        "--modify-window", metavar="TIME", help="Times that differ by no more are equal: 1s, 1ms.  [default: 0]"
    ),
    section="What is transferred",
)

SELECTING = grouped(
    click.option(
        "-f", "--filter", multiple=True, metavar="RULE", help="A filter rule of rsync: '- *.tmp', 'P logs/', '. FILE'."
    ),
    click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out what matches, as in rsync."),
    click.option("--include", multiple=True, metavar="PATTERN", help="Take what matches. The first match decides."),
    click.option(
        "--exclude-from",
        type=PLACE,
        multiple=True,
        metavar="FILE",
        help="Leave out what matches a pattern in FILE (- is stdin).",
    ),
    click.option(
        "--include-from",
        type=PLACE,
        multiple=True,
        metavar="FILE",
        help="Take what matches a pattern in FILE (- is stdin).",
    ),
    click.option("--min-size", metavar="SIZE", help="Leave out smaller files: 100, 10K, 1.5GiB."),
    click.option("--max-size", metavar="SIZE", help="Leave out larger files."),
    flag("-L", "--copy-links", help="Transfer what symlinks point to."),
    flag("--skip-links", help="Skip symlinks."),
    section="What takes part",
)

LISTED = grouped(
    click.option(
        "--files-from",
        type=PLACE,
        metavar="FILE",
        help="Look only at what FILE names (- is stdin): a name below SOURCE per line, DIR/ with all in it; or a manifest.",
    ),
    click.option(
        "--files-from0", type=PLACE, metavar="FILE", help="The same of a list in which each name ends in NUL."
    ),
    section="What takes part",
)

WRITING = grouped(
    flag("-a", "--archive", help="Keep owner and group too (times and modes are kept anyway)."),
    flag("-o", "--owner", help="With -g: keep owner and group."),
    flag("-g", "--group", help="With -o: keep owner and group."),
    flag("--no-metadata", help="Keep neither times nor modes."),
    flag("--dir-metadata", help="Keep times and modes of folders on stores too, as an object per folder."),
    click.option("--storage-class", metavar="CLASS", help="Storage class of what is written, such as STANDARD_IA."),
    click.option("--sse-kms-key", metavar="KEY", help="Have the store encrypt with this KMS key."),
    click.option(
        "--on-conflict",
        type=Choice(["retry", "skip", "keep-both"]),
        help="When somebody else wrote the destination meanwhile: compare afresh, leave theirs and report it, or write"
        " ours beside theirs under a dated name."
        "  [default: retry]",
    ),
    click.option("--conflict-retries", metavar="N", help="How often to compare afresh.  [default: 3]"),
    flag("--fail-on-conflict", help="Stop the job at the first conflict (exit code 3)."),
    flag(
        "--unsafe-no-conflict-check",
        help="Overwrite somebody's newer version unseen where the store cannot guard against that.",
    ),
    click.option(
        "--verify",
        type=Choice(["none", "transferred", "all"]),
        default="none",
        help="What to compare beyond what the stores prove by themselves: read back what was transferred and is not proven;"
        " with all, compare also what looks the same, and send it if it is not.  [default: none]",
    ),
    section="How it is written",
)

DELETING = grouped(
    flag(
        "--delete",
        help="When everything else has succeeded, delete at DEST what SOURCE does not have. What filters leave out stays.",
    ),
    flag("--delete-excluded", help="With --delete: delete also what filters, sizes and --skip-links leave out."),
    click.option(
        "--max-delete",
        metavar="N|P%",
        help="With --delete: refuse (exit code 4) to delete more entries than N, or than P% of those at DEST."
        "  [default: 10%]",
    ),
    click.option(
        "--backup-dir",
        metavar="DIR",
        default="",
        help="Keep what is overwritten or deleted below DIR, a folder inside DEST that is otherwise left alone.",
    ),
    section="Deleting",
)

DELTA = grouped(
    click.option(
        "-W/ ",
        "--whole-file/--no-whole-file",
        "whole_file",
        default=None,
        help="Send files whole, or only what changed.  [default: whole from folder to folder, else what changed]",
    ),
    click.option("--delta-threshold", metavar="SIZE", help="Files up to this go whole.  [default: 50MiB]"),
    click.option(
        "--block-size",
        metavar="SIZE",
        help="Blocks of new signatures: 64, 128, 256, 512KiB, 1MiB to 5MiB.  [default: by the file's size]",
    ),
    click.option(
        "--signature-missing",
        type=Choice(["auto", "generate", "full"]),
        default="auto",
        help="Where the destination has no signature: read it to make one, or send the file whole."
        "  [default: read what is local]",
    ),
    flag(
        "--inplace",
        help="Write what changed of a large file into the local file that is there: no room for a second copy, the same"
        " inode; but a crash in the middle leaves a mixture until the next run.",
    ),
    flag("--no-sidecar", help="Write no signatures (KEY.hssig) beside large objects."),
    click.option(
        "--sidecar-prefix", metavar="PREFIX/", default="", help="Where signatures lie, instead of beside their files."
    ),
    section="Sending only what changed",
)

RUNNING = grouped(
    click.option(
        "-j",
        "--jobs",
        metavar="N",
        help="Parts and batches in flight, over all workers.  [default: as workers have slots]",
    ),
    click.option("--memory", metavar="SIZE", help="Most memory of each worker process.  [default: 512MiB]"),
    click.option(
        "--bwlimit",
        metavar="RATE",
        help="Most bytes per second of the whole job, both ways together, over all workers: 10M, 1.5MiB, 10MB/s; at least"
        " 64KiB/s. hugesync limit changes it while the job runs.  [default: off]",
    ),
    click.option(
        "--tpslimit",
        metavar="N",
        help="Most requests per second of the whole job, over all workers; at least 0.5. hugesync limit changes it while the job"
        " runs.  [default: off]",
    ),
    click.option(
        "--weight",
        metavar="N",
        help="Share in workers that other jobs use at the same time: of 4 and 1 the first moves four times the bytes. hugesync"
        " limit changes it while the job runs.  [default: 1]",
    ),
    click.option(
        "--retries",
        metavar="N",
        help="Attempts at one request or task; what failed for a reason that may pass is tried again at the end (1: not even that)."
        "  [default: 5]",
    ),
    click.option(
        "--retry-max-wait",
        metavar="TIME",
        help="Longest pause between two attempts at a request.  [default: 20s, or as long as the store asks]",
    ),
    click.option(
        "--max-duration",
        metavar="TIME",
        help="Stop after so long, as Ctrl-C would: what is in hand finishes, the same command goes on later (exit code 130)."
        "  [default: never]",
    ),
    click.option(
        "--stall-timeout",
        metavar="TIME",
        help="How long nothing may move, or no worker be there, before the job ends as stalled.  [default: 30m]",
    ),
    click.option(
        "--source-profile",
        metavar="NAME",
        default="",
        help="Profile that SOURCE is reached with (of AWS; gs, az: of the configuration file).",
    ),
    click.option(
        "--dest-profile",
        metavar="NAME",
        default="",
        help="Profile that DEST is reached with (of AWS; gs, az: of the configuration file).",
    ),
    flag("--detach", help="Hand the job to the fleet and return at once; hugesync watch JOB follows it."),
    flag("--fresh", help="Do not resume this job if it was left unfinished; begin anew."),
    section="How the job runs",
)

MEASURING = grouped(
    flag("--preflight", help="Measure this machine and both ends first, as hugesync preflight does, print it, go on."),
    flag("--auto", help="Measure first, and use the jobs, sizes and memory that are recommended, unless they are set."),
    section="How the job runs",
)

FLEET = grouped(
    click.option(
        "--broker", metavar="URL", help="Redis of a fleet of workers. Without it everything is on this machine."
    ),
    click.option("--state", metavar="URL", help="Redis that holds the state of jobs, if it is another."),
    section="Fleet",
)
