"""The delta engine by itself: signing, comparing and patching one file, beside rdiff and rsync where they are on the PATH.

    python benchmarks/delta.py                         1 GiB, three rounds
    python benchmarks/delta.py --size 256MiB --rounds 1 --only ours
    python benchmarks/delta.py --ranges 4GiB         and one process beside two

A cell is the median of the rounds of CPU seconds per GiB of input, user and system, of the program and all it started. "In
process" leaves out what starting Python costs and has the loop compiled already, as a worker has; the commands pay for all.
``--ranges`` matches a file in ranges by one process and by two, from the page cache; its figures are wall seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "producer"), str(HERE.parent / "worker")]

from delta_files import noise, variant  # noqa: E402
from delta_ranges import in_ranges  # noqa: E402

from hugesync_tasks.config_units import parse_size  # noqa: E402
from hugesync_tasks.delta.files import opened, sign  # noqa: E402
from hugesync_tasks.delta.match import Matcher  # noqa: E402
from hugesync_tasks.delta.slide import warm  # noqa: E402
from hugesync_tasks.signature import format as hssig  # noqa: E402
from hugesync_tasks.signature.blocks import KIB  # noqa: E402

GIB = 1 << 30
BLOCK = 64 * KIB
MARKS = ("<!-- delta -->", "<!-- /delta -->")
CASES = {
    "20 × 4 KiB overwritten": "overwritten",
    "1,000 bytes inserted at 10 %, 777 removed at 60 %": "shifted",
    "nothing shared": "foreign",
}
_CLI = "import sys; sys.argv[0] = 'hugesync'; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"
Cells = dict[str, dict[str, list[float]]]


def child(work: str, file: Path, signature: Path) -> None:
    """Do one thing once and print its cost: CPU seconds, and the most memory that the process has had."""
    warm()
    before = time.process_time()
    if work == "sign":
        with opened(file) as source:
            made = sign(source, BLOCK, "benchmark")
        used = time.process_time() - before
        signature.write_bytes(b"".join(hssig.write(made.header, [made.records])))
        said = {}
    else:
        with signature.open("rb") as stream:
            known = hssig.read(stream.read)
        with opened(file) as new:
            found = Matcher(known).match(new.read, new.size, 0, new.size)
            sent = new.size - sum(c.length for c in found.copies)
        used = time.process_time() - before
        said = {"sent": sent}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"cpu": used, "peak_kib": peak, **said}))


def ours_in_process(work: str, file: Path, signature: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", work, str(file), str(signature)]
    answer: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return answer


def measured(folder: Path, command: list[str]) -> dict[str, float]:
    """CPU and peak memory of a command with all it starts. It must succeed."""
    result = folder / "result.json"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[:3])}
    subprocess.run(
        [sys.executable, str(HERE / "measure.py"), str(result), *command],
        check=True,
        env=env,
        stderr=subprocess.DEVNULL,
    )
    cost: dict[str, float] = json.loads(result.read_text())
    if cost["code"] != 0:
        raise SystemExit(f"exit code {cost['code']}: {' '.join(command)}")
    return cost


class Bench:
    """One run of the table."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.folder, self.options = folder, options
        self.cells: Cells = {}
        self.peak = 0.0
        self.sent: dict[str, str] = {}
        self.gib = parse_size(options.size) / GIB

    def add(self, row: str, column: str, cost: dict[str, float]) -> None:
        self.cells.setdefault(row, {}).setdefault(column, []).append(cost["cpu"] / self.gib)
        print(f"{row:52} {column:14} {cost['cpu'] / self.gib:6.2f}", file=sys.stderr)
        if column.startswith("hugesync"):
            self.peak = max(self.peak, cost["peak_kib"] / 1024)

    def others(self) -> Iterator[str]:
        if self.options.only != "ours":
            yield from (p for p in ("rdiff", "rsync") if shutil.which(p))

    def run(self) -> None:
        """All rounds."""
        f = self.folder
        basis, new = f / "basis", f / "new"
        noise(basis, parse_size(self.options.size), 1)
        for _ in range(self.options.rounds):
            self.add("signature", "hugesync", ours_in_process("sign", basis, f / "in.hssig"))
            ours = [sys.executable, "-c", _CLI]
            self.add(
                "signature",
                "hugesync sign",
                measured(f, [*ours, "sign", "-f", str(basis), "-o", str(f / "b.hssig"), "--block-size", "64KiB"]),
            )
            if "rdiff" in self.others():
                self.add(
                    "signature",
                    "rdiff",
                    measured(f, ["rdiff", "-f", "-b", str(BLOCK), "signature", str(basis), str(f / "b.rsig")]),
                )
            for label, kind in CASES.items():
                variant(kind, basis, new)
                self.case(label, basis, new, ours)

    def case(self, label: str, basis: Path, new: Path, ours: list[str]) -> None:
        f, out = self.folder, self.folder / "out"
        cost = ours_in_process("match", new, f / "in.hssig")
        self.add(label, "hugesync", cost)
        self.add(
            label, "hugesync delta", measured(f, [*ours, "delta", "-f", str(f / "b.hssig"), str(new), "-o", str(out)])
        )
        sent = [f"hugesync {out.stat().st_size:,}"]
        if "rdiff" in self.others():
            self.add(label, "rdiff", measured(f, ["rdiff", "-f", "delta", str(f / "b.rsig"), str(new), str(out)]))
            sent.append(f"rdiff {out.stat().st_size:,}")
        if "rsync" in self.others():
            shutil.copyfile(basis, out)
            os.utime(out, ns=(1, 1))
            self.add(label, "rsync", measured(f, ["rsync", "--no-whole-file", "-B", str(BLOCK), str(new), str(out)]))
        out.unlink()
        self.sent[label] = ", ".join(sent)

    def table(self) -> str:
        """The medians, and what was sent."""
        columns = ["hugesync", "hugesync sign", "hugesync delta", "rdiff", "rsync"]
        there = [c for c in columns if any(c in row for row in self.cells.values())]
        merged = ["hugesync", "the command", *(c for c in there if not c.startswith("hugesync"))]
        lines = [
            "| CPU-s / GiB | " + " | ".join(["in process", *merged[1:]]) + " | bytes of the delta |",
            "| --- |" + " ---: |" * len(merged) + " --- |",
        ]
        for row, cells in self.cells.items():
            command = cells.get("hugesync sign") or cells.get("hugesync delta") or []
            values = [cells["hugesync"], command, *(cells.get(c, []) for c in merged[2:])]
            said = [f"{statistics.median(v):.2f}" if v else "–" for v in values]
            lines.append(f"| {row} | {' | '.join(said)} | {self.sent.get(row, '')} |")
        lines.append(f"\nThe most memory that a process of ours had: {self.peak:.0f} MiB.")
        return "\n".join(lines)


def machine() -> str:
    """When, how and where it ran."""
    text = Path("/proc/cpuinfo").read_text()
    cpu = next((x.partition(":")[2].strip() for x in text.splitlines() if "model name" in x), "?")
    versions = []
    for program in ("rdiff", "rsync"):
        if shutil.which(program):
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
            versions.append(said.splitlines()[0].strip())
    ran = f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, `benchmarks/delta.py {' '.join(sys.argv[1:])}`"
    host = f"{len(os.sched_getaffinity(0))} × {cpu}, Linux {platform.release()}, Python {platform.python_version()}"
    return f"{ran}\n{host}, load before the run {os.getloadavg()[0]:.1f}. {'; '.join(versions)}."


def main() -> None:
    """Run what was asked for; print the table or put it in a file."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1GiB", help="bytes of the file [1GiB]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["ours"], help="neither rdiff nor rsync")
    parser.add_argument("--ranges", metavar="SIZE", help="also match a file of so many bytes by one process and by two")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the files are made")
    parser.add_argument("--write", type=Path, help=f"put the table between {MARKS[0]} and {MARKS[1]} in this file")
    options = parser.parse_args()
    head = machine()
    with tempfile.TemporaryDirectory(prefix="hugesync-delta-", dir=options.folder) as folder:
        bench = Bench(options, Path(folder))
        bench.run()
        report = f"{head}\n\n{bench.table()}"
        if options.ranges:
            for path in Path(folder).iterdir():
                path.unlink()
            report += "\n\n" + in_ranges(Path(folder), parse_size(options.ranges), options.rounds)
    print(report)
    if options.write:
        text = options.write.read_text()
        if not all(mark in text for mark in MARKS):
            raise SystemExit(f"{options.write} has no place for the table: {MARKS[0]} and {MARKS[1]}")
        before, after = text.partition(MARKS[0])[0], text.partition(MARKS[1])[2]
        options.write.write_text(f"{before}{MARKS[0]}\n{report}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
