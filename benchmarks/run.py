"""The benchmark table: HugeSync beside s5cmd, rclone, aws, rsync and cp; one machine, one SeaweedFS, one run of this.

    make bench                                  all cases, three rounds, on tmpfs where there is one
    make bench ARGS="--case small --rounds 5"   some of it

The programs take turns within each round, so that what else the machine does hits all of them. Each cell is the median
of the rounds: wall seconds / CPU seconds with all descendants (ours: the embedded server and the workers too). What each
run left behind is counted, and a run that did not bring everything ends the benchmark.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from programs import Program, environment, hugesync, programs  # noqa: E402

import servers  # noqa: E402

Cells = dict[str, dict[str, list[tuple[float, float]]]]  # row → program → (wall, CPU) of each round

CASES = ("large", "small", "local", "one", "jobs")
MARKS = ("<!-- table -->", "<!-- /table -->")


class Bench:
    """One run of the benchmark."""

    def __init__(self, options: argparse.Namespace, folder: Path, server: servers.S3Server) -> None:
        self.options, self.folder, self.server = options, folder, server
        self.client = servers.s3_client(server)
        self.env = environment(server.endpoint, server.env, folder / "state")
        found, self.absent = programs(self.env["PATH"])
        wanted = options.program.split(",") if options.program else [p.name for p in found]
        self.programs = [p for p in found if p.name in wanted]
        self.cells: Cells = defaultdict(lambda: defaultdict(list))

    def measured(self, row: str, program: Program, command: list[str]) -> None:
        result = self.folder / "result.json"
        subprocess.run([sys.executable, str(HERE / "measure.py"), str(result), *command], env=self.env, check=True)
        cost = json.loads(result.read_text())
        if cost["code"] != 0:
            raise SystemExit(f"{program.name} ended with exit code {cost['code']}: {' '.join(command)}")
        self.cells[row][program.name].append((cost["wall"], cost["cpu"]))
        print(f"{row:28} {program.name:14} {cost['wall']:7.2f} s {cost['cpu']:7.2f} CPU-s", file=sys.stderr)
        time.sleep(self.options.rest)

    @contextmanager
    def bucket(self) -> Iterator[str]:
        name = f"b{time.time_ns()}"
        self.client.create_bucket(Bucket=name)
        yield name
        self.client.delete_bucket(Bucket=name)  # SeaweedFS drops the volumes with all that is in them

    @contextmanager
    def target(self) -> Iterator[Path]:
        path = self.folder / "out"
        yield path
        shutil.rmtree(path, ignore_errors=True)

    def must_hold(self, program: Program, bucket: str, tree: Path) -> None:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        sizes = [o["Size"] for page in pages for o in page.get("Contents", []) if not o["Key"].endswith("/")]
        self._compare(program, (len(sizes), sum(sizes)), _extent(tree))

    def must_equal(self, program: Program, there: Path, tree: Path) -> None:
        self._compare(program, _extent(there), _extent(tree))

    def _compare(self, program: Program, there: tuple[int, int], wanted: tuple[int, int]) -> None:
        if there != wanted:
            raise SystemExit(f"{program.name} left {there} files and bytes where {wanted} should be")

    def tree(self, name: str, files: int, size: int) -> Path:
        root = self.folder / name
        if not root.exists():
            for i in range(files):
                path = root / f"d{i // 100:04d}" / f"f{i:06d}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as out:
                    for at in range(0, size, 1 << 20):
                        out.write(os.urandom(min(1 << 20, size - at)))
        return root

    def there_and_back(self, label: str, tree: Path, which: list[Program], again: bool) -> None:
        for program in which:
            if program.up is None or program.down is None:
                continue
            with self.bucket() as bucket, self.target() as out:
                self.measured(f"{label}, up", program, program.up(str(tree), bucket))
                self.must_hold(program, bucket, tree)
                if again:
                    self.measured(f"{label}, up, nothing to do", program, program.up(str(tree), bucket))
                self.measured(f"{label}, down", program, program.down(bucket, str(out)))
                self.must_equal(program, out, tree)
                if again:
                    self.measured(f"{label}, down, nothing to do", program, program.down(bucket, str(out)))

    def here(self, label: str, tree: Path, which: list[Program], again: bool) -> None:
        for program in which:
            if program.local is None:
                continue
            with self.target() as out:
                self.measured(label, program, program.local(str(tree), str(out)))
                self.must_equal(program, out, tree)
                if again and program.again:
                    self.measured(f"{label}, nothing to do", program, program.local(str(tree), str(out)))

    def round(self, case: str) -> None:
        o = self.options
        if case == "large":
            self.there_and_back(f"1 × {_bytes(o.large)}", self.tree("large", 1, o.large), self.programs, False)
        elif case == "small":
            self.there_and_back(f"{o.small:,} × 4 KiB", self.tree("small", o.small, 4096), self.programs, True)
        elif case == "local":
            self.here(f"local, {o.local:,} × 2 KiB", self.tree("local", o.local, 2048), self.programs, True)
        elif case == "one":
            tree = self.tree("one", 1, 1024)
            self.there_and_back("one file of 1 KiB", tree, self.programs, False)
            self.here("local, one file of 1 KiB", tree, self.programs, False)
        elif case == "jobs":
            ours = [hugesync("-j", "1"), hugesync("-j", "2")]
            self.there_and_back(f"{o.small:,} × 4 KiB", self.tree("small", o.small, 4096), ours, False)
            self.there_and_back(f"1 × {_bytes(o.large)}", self.tree("large", 1, o.large), ours, False)


def table(cells: Cells, columns: list[str]) -> str:
    """Markdown: a row per measurement, and ours relative to the best other program of that row."""
    columns = [c for c in columns if any(c in row for row in cells.values())]
    lines = [f"| wall s / CPU-s | {' | '.join(columns)} | wall, × best peer | CPU, × best peer |"]
    lines.append("| --- |" + " ---: |" * (len(columns) + 2))
    for label, row in cells.items():
        median = {p: tuple(statistics.median(x) for x in zip(*runs)) for p, runs in row.items()}
        shown = [f"{median[c][0]:.2f} / {median[c][1]:.2f}" if c in median else "–" for c in columns]
        peers = [median[c] for c in columns[1:] if c in median]
        ours = median.get(columns[0])
        ratios = [f"{ours[i] / min(p[i] for p in peers):.1f}" if ours and peers else "–" for i in (0, 1)]
        lines.append(f"| {label} | {' | '.join(shown)} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def machine(bench: Bench) -> str:
    """Everything needed to judge the figures."""
    cpu = next((x.partition(":")[2].strip() for x in _read("/proc/cpuinfo").splitlines() if "model name" in x), "?")
    versions = []
    for program in bench.programs:
        said = subprocess.run(program.version, env=bench.env, capture_output=True, text=True, check=False).stdout
        versions.append(f"{program.name} {_version(said)}")
    weed = subprocess.run([servers.find_weed(), "version"], capture_output=True, text=True, check=False).stdout
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    ran = f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, `benchmarks/run.py {' '.join(sys.argv[1:])}`"
    host = f"{len(os.sched_getaffinity(0))} × {cpu}, {memory:.0f} GiB, Linux {platform.release()}"
    python = f"Python {platform.python_version()}"
    server = f"SeaweedFS {_version(weed)}"
    absent = f"Not on this machine: {', '.join(bench.absent)}." if bench.absent else ""
    return (
        f"{ran}\n{host}, {python}, everything below `{bench.folder.parent}`, load before the run {load:.1f}.\n"
        f"Server: {server}. Programs: {', '.join(versions)}. {absent}".rstrip()
    )


def _version(said: str) -> str:
    for word in said.replace("/", " ").split():
        if any(c.isdigit() for c in word) and "." in word:
            return word.strip("v,()")
    return said.strip().splitlines()[0] if said.strip() else "?"


def _extent(tree: Path) -> tuple[int, int]:
    sizes = [os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(tree) for name in names]
    return len(sizes), sum(sizes)


def _bytes(n: int) -> str:
    return f"{n / 2**30:g} GiB" if n >= 2**30 else f"{n / 2**20:g} MiB"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; repeatable")
    parser.add_argument("--program", default="", help="only these, by name, with commas; ours is hugesync")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=1 << 30, help="bytes of the large file")
    parser.add_argument("--small", type=int, default=5000, help="files of 4 KiB")
    parser.add_argument("--local", type=int, default=20_000, help="local files of 2 KiB")
    parser.add_argument("--rest", type=float, default=0.5, help="seconds between two runs")
    parser.add_argument("--folder", type=Path, help="below this folder (default: /dev/shm, else the temporary folder)")
    parser.add_argument("--write", type=Path, help=f"put the table between {MARKS[0]} and {MARKS[1]} in this file")
    options = parser.parse_args()
    shm = Path("/dev/shm")
    base = options.folder or (shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix="hugesync-bench-", dir=base))
    try:
        (folder / "state").mkdir()
        server = servers.start_seaweedfs(folder / "weed")
        try:
            bench = Bench(options, folder, server)
            about = machine(bench)
            for case in options.case or CASES:
                for _ in range(options.rounds):
                    bench.round(case)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    names = [p.name for p in bench.programs]
    ours = {row: {k: v for k, v in runs.items() if k in names} for row, runs in bench.cells.items()}
    jobs = {row: {k: v for k, v in runs.items() if k not in names} for row, runs in bench.cells.items()}
    report = f"{about}\n\n{table({r: c for r, c in ours.items() if c}, names)}"
    if any(jobs.values()):
        report += f"\n\n{jobs_table({r: c for r, c in jobs.items() if c})}"
    print(report)
    if options.write:
        text = options.write.read_text()
        before, after = text.partition(MARKS[0])[0], text.partition(MARKS[1])[2]
        options.write.write_text(f"{before}{MARKS[0]}\n{report}\n{MARKS[1]}{after}")


def jobs_table(cells: Cells) -> str:
    """One worker process beside two."""
    one, two = hugesync("-j", "1").name, hugesync("-j", "2").name
    lines = [f"| wall s / CPU-s | {one} | {two} | two, × one |", "| --- | ---: | ---: | ---: |"]
    for label, row in cells.items():
        a, b = (tuple(statistics.median(x) for x in zip(*row[name])) for name in (one, two))
        lines.append(f"| {label} | {a[0]:.2f} / {a[1]:.2f} | {b[0]:.2f} / {b[1]:.2f} | {b[0] / a[0]:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
