"""The benchmark table: HugeSync beside s5cmd, rclone, aws, rsync and cp; one machine, one SeaweedFS, one run of this.

    make bench                                  all cases, three rounds, on tmpfs where there is one
    make bench ARGS="--case small --rounds 5"   some of it
    make bench BASE=v0.1.0                      two revisions of our own code side by side, nobody else

The programs take turns within each round, so that what else the machine does hits all of them. Each cell is the median
of the rounds: wall seconds / CPU seconds with all descendants (ours: the embedded server and the workers too). What each
run left behind is counted, and a run that did not bring everything ends the benchmark.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from cases import CASES, Bench  # noqa: E402
from machine import machine  # noqa: E402
from programs import ROOT, Program, environment, hugesync, programs  # noqa: E402
from revisions import NoSuchRevision, checked_out, here, home_of, libraries_of, program_of  # noqa: E402
from tables import Cells, jobs_table, sides_table, table, write_between  # noqa: E402

import servers  # noqa: E402

MARKS = ("<!-- table -->", "<!-- /table -->")


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; repeatable")
    parser.add_argument("--base", help="compare this checkout with a revision of git, instead of with other programs")
    parser.add_argument("--program", default="", help="only these, by name, with commas; ours is hugesync")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=1 << 30, help="bytes of the large file")
    parser.add_argument("--small", type=int, default=5000, help="files of 4 KiB")
    parser.add_argument("--local", type=int, default=20_000, help="local files of 2 KiB")
    parser.add_argument("--rest", type=float, default=0.5, help="seconds between two runs")
    parser.add_argument("--folder", type=Path, help="below this folder (default: /dev/shm, else the temporary folder)")
    parser.add_argument("--write", type=Path, help=f"put the table between {MARKS[0]} and {MARKS[1]} in this file")
    options = parser.parse_args()
    if options.base and (options.program or "jobs" in (options.case or ())):
        parser.error("--base compares two revisions: without --program and --case jobs")
    return options


def sides(base: str, folder: Path, until: ExitStack) -> list[Program]:
    """The base and what is here, each seen to run its own code."""
    commit, tree = until.enter_context(checked_out(base, folder))
    two = [
        program_of(f"base ({commit})", tree, libraries_of(tree, folder / "libraries")),
        program_of(f"here ({here()})", ROOT, sys.executable),
    ]
    env = environment("", {"AWS_REGION": ""}, folder)
    for program, home in zip(two, (tree, ROOT), strict=True):
        if (found := home_of(program, env)) != home:
            raise SystemExit(f"{program.name} would run the code of {found}")
    return two


def main() -> None:
    options = asked()
    shm = Path("/dev/shm")
    below = options.folder or (shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix="hugesync-bench-", dir=below))
    with ExitStack() as until:
        until.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "state").mkdir()
        absent: list[str] = []
        if options.base:
            try:
                which = sides(options.base, folder, until)
            except NoSuchRevision as error:
                raise SystemExit(f"BASE={options.base}: {error}") from None
        else:
            which, absent = programs(environment("", {"AWS_REGION": ""}, folder)["PATH"])
            which = [p for p in which if p.name in options.program.split(",") or not options.program]
        server = servers.start_seaweedfs(folder / "weed")
        until.callback(server.stop)
        bench = Bench(options, folder, server, list(which))
        about = machine(which, absent, below, bench.env)
        if options.base:
            bench.warm()
        for case in options.case or [c for c in CASES if not (options.base and c == "jobs")]:
            for _ in range(options.rounds):
                bench.round(case)
    report = f"{about}\n\n{tables(bench.cells, which, bool(options.base))}"
    print(report)
    if options.write:
        write_between(options.write, MARKS, report)


def tables(cells: Cells, which: list[Program], two_revisions: bool) -> str:
    names = [p.name for p in which]
    if two_revisions:
        return sides_table(cells, *names)
    ours = {row: {k: v for k, v in runs.items() if k in names} for row, runs in cells.items()}
    jobs = {row: {k: v for k, v in runs.items() if k not in names} for row, runs in cells.items()}
    shown = [table({r: c for r, c in ours.items() if c}, names)]
    if any(jobs.values()):
        shown.append(
            jobs_table({r: c for r, c in jobs.items() if c}, hugesync("-j", "1").name, hugesync("-j", "2").name)
        )
    return "\n\n".join(shown)


if __name__ == "__main__":
    main()
