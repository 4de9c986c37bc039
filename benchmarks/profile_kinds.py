"""Where the time goes, by kind of work: producer, worker and its children sampled while they move 1 GiB and 5,000 × 4 KiB.

    make bench-profile                                      four jobs: both sizes, up and down
    make bench-profile ARGS="--large 16777216 --small 200"  smaller

A hundred times a second py-spy notes what each running thread of each process does; threads that wait are not counted, but
those that wait for a core are, so only an idle machine gives figures. A sample belongs to the kind of the innermost frame that
has one (``KINDS``): a socket read by botocore is network, the same read by kombu is Celery. Native code counts for the Python
function that called it. A cell is seconds of running threads, not of wall time. Rust's own threads (obstore) are in none: what
the job took in all, unsampled, stands below the tables.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from cases import Bench, size  # noqa: E402
from ground import asked, ground, report  # noqa: E402
from programs import ROOT, Program, hugesync  # noqa: E402

RATE = 100  # samples a second
PATIENCE = 1800  # seconds for one job
MARKS = ("<!-- profile -->", "<!-- /profile -->")
IMPORTS = "starting: imports"
BARE = "interpreter starting or ending"  # not one Python frame
OTHER = "Python otherwise"
# part of a file's path → kind; the first that fits. What is not here (sockets, threads, json) belongs to whoever called it.
KINDS: tuple[tuple[str, str], ...] = (
    ("botocore/httpchecksum", "hashing and matching"),
    ("/awscrt/checksums", "hashing and matching"),
    ("/hashlib.py", "hashing and matching"),
    ("hugesync_tasks/signature/", "hashing and matching"),
    ("hugesync_tasks/delta/", "hashing and matching"),
    ("/logging/", "logging and display"),
    ("/structlog/", "logging and display"),
    ("/rich/", "logging and display"),
    ("hugesync_tasks/logs.py", "logging and display"),
    ("hugesync_tasks/redact.py", "logging and display"),
    ("hugesync_producer/progress.py", "logging and display"),
    ("hugesync_tasks/state/", "ledger (Redis)"),
    ("/celery/", "Celery"),
    ("/kombu/", "Celery"),
    ("/billiard/", "Celery"),
    ("/vine/", "Celery"),
    ("hugesync_tasks/celery.py", "Celery"),
    ("hugesync_tasks/consumer.py", "Celery"),
    ("/botocore/", "network"),
    ("/boto3/", "network"),
    ("/urllib3/", "network"),
    ("/http/client.py", "network"),
    ("/obstore/", "network"),
    ("hugesync_tasks/stores/local", "disk"),
    ("hugesync_tasks/stores/", "network"),
    ("hugesync_producer/", "scan and plan"),
    ("hugesync_tasks/", "stages and tasks"),
)
COLUMNS = ("producer", "worker", "its children")


def kind_of(frames: list[str]) -> str:
    """The kind of a stack of frames, outermost first, each ``function (path:line)``."""
    if not frames:
        return BARE
    paths = [frame[frame.rfind("(") + 1 :] for frame in frames]
    if any(path.startswith("<frozen importlib") for path in paths):
        return IMPORTS
    for path in reversed(paths):
        for part, kind in KINDS:
            if part in path:
                return kind
    return OTHER


def split(stack: str) -> tuple[str, list[str]]:
    """Which of ``COLUMNS`` a stack of py-spy belongs to, and its frames. Processes stand before them, outermost first."""
    frames = stack.split(";")
    processes = [f for f in frames if re.match(r'process \d+:"', f)]
    inner = max((i for i, f in enumerate(frames) if f in processes), default=-1)
    workers = sum("hugesync_worker" in p for p in processes)
    return COLUMNS[min(workers, 2)], [f for f in frames[inner + 1 :] if not f.startswith("thread (")]


def counted(lines: Iterable[str]) -> Counter[tuple[str, str]]:
    """(kind, column) → samples, of py-spy's raw format: ``frame;frame;frame COUNT``."""
    found: Counter[tuple[str, str]] = Counter()
    for line in lines:
        stack, _, number = line.rstrip("\n").rpartition(" ")
        if number.isdigit():
            column, frames = split(stack)
            found[kind_of(frames), column] += int(number)
    return found


def table(found: Counter[tuple[str, str]]) -> str:
    """Kinds by what they took; seconds of running threads."""
    total = sum(found.values()) or 1
    sums = Counter({kind: sum(n for (k, _), n in found.items() if k == kind) for kind in {k for k, _ in found}})
    lines = [f"| running s | {' | '.join(COLUMNS)} | all | share |", "| --- |" + " ---: |" * (len(COLUMNS) + 2)]
    for kind, n in sums.most_common():
        cells = " | ".join(f"{found[kind, column] / RATE:.2f}" for column in COLUMNS)
        lines.append(f"| {kind} | {cells} | {n / RATE:.2f} | {100 * n / total:.0f} % |")
    return "\n".join(lines)


def spy() -> str:
    path = shutil.which("py-spy", path=f"{ROOT / '.venv-bench/bin'}:{Path(sys.executable).parent}")
    if not (found := path or shutil.which("py-spy")):
        raise SystemExit("py-spy, a sampling profiler from PyPI, is neither in .venv-bench nor on PATH")
    return found


def sampled(bench: Bench, label: str, program: Program, command: list[str]) -> str:
    raw = bench.folder / "samples"
    # not blocking: a process that is stopped to be looked at while it is killed was once seen to stand for ever
    how = [
        "--subprocesses",
        "--nonblocking",
        "--full-filenames",
        "--rate",
        str(RATE),
        "--format",
        "raw",
        "-o",
        str(raw),
    ]
    spying = subprocess.Popen(
        [spy(), "record", *how, "--", *command],
        env={**bench.env, **program.env},
        cwd=bench.folder / "here",
        stdout=sys.stderr,
    )
    try:
        code = spying.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        spying.kill()
        raise SystemExit(f"{label}: no end after {PATIENCE} s under py-spy; run it again") from None
    if code != 0:
        raise SystemExit(f"{label}: py-spy ended with exit code {code}")
    with raw.open() as lines:
        return f"### {label}\n\n{table(counted(lines))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=1 << 30, help="bytes of the large file")
    parser.add_argument("--small", type=int, default=5000, help="files of 4 KiB")
    options = asked(parser, MARKS)
    program = hugesync()
    with ground(options, [program]) as (bench, about):
        shown = [about]
        for what, tree in (
            (f"1 × {size(options.large)}", bench.tree("large", 1, options.large)),
            (f"{options.small:,} × 4 KiB", bench.tree("small", options.small, 4096)),
        ):
            assert program.up is not None
            assert program.down is not None
            with bench.bucket() as bucket, bench.target() as out:
                shown.append(sampled(bench, f"{what}, up", program, program.up(str(tree), bucket)))
                bench.must_hold(program, bucket, tree)
                shown.append(sampled(bench, f"{what}, down", program, program.down(bucket, str(out))))
                bench.must_equal(program, out, tree)
            for _ in range(options.rounds):
                bench.there_and_back(what, tree, [program], False)
        lines = [f"| {row} | {wall:.2f} | {cpu:.2f} |" for row, wall, cpu in bench.medians(program)]
        shown.append("### In all, unsampled\n\n| | wall s | CPU-s |\n| --- | ---: | ---: |\n" + "\n".join(lines))
        report(options, MARKS, "\n\n".join(shown))


if __name__ == "__main__":
    main()
