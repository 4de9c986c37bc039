"""Add a worker and it gets faster (promise 7): 1, 2, 4, 8 worker processes on a store that is far away.

    make bench-scaling                                                   20,000 × 64 KiB, 1 × 4 GiB, and 1 GiB at 5 MB/s per connection
    make bench-scaling ARGS="--files 400 --large 0 --slow 0 --processes 1,2"

``farproxy.py`` delays each request of the first two by ``--latency``; the third has ``--rate`` bytes per second for each connection, and
each process has one connection. Four files at once inside a task, whatever their number. A fleet of one worker is started for each cell
before the clock runs. Wall seconds of the command / CPU seconds of the command and the worker with its children, and × one process;
medians of the rounds. It says how busy the machine was at most: a ratio means something only where a core was left idle. Beside them the
most memory that a process of the worker had, and all of them together; where that is more than ``--memory``, or than the buffer budget
and 150 MB for each process, it ends with an error.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from cases import Bench, size  # noqa: E402
from ground import asked, ground, report  # noqa: E402
from programs import hugesync  # noqa: E402
from threads_processes import cpu_of, numbers, worker  # noqa: E402

import servers  # noqa: E402
from resident import Watch  # noqa: E402

MARKS = ("<!-- scaling -->", "<!-- /scaling -->")
THREADS = 4
MEMORY, BUDGET = 512 << 20, 64 << 20  # bytes: of each process, and of what is held of files for each
Cell = tuple[
    float, float, float, float, float
]  # wall, CPU, the part of the machine that was busy, bytes of a process, of all


@contextmanager
def far(bench: Bench, latency: float, rate: float) -> Iterator[None]:
    """The store at that distance, for everything that is started inside."""
    near = bench.server.endpoint.removeprefix("http://")
    command = [sys.executable, str(HERE / "farproxy.py"), near, "--latency", str(latency), "--rate", str(rate)]
    proxy = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert proxy.stdout is not None
    endpoint = f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
    before = dict(bench.env)
    bench.env |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT_URL_S3": endpoint}
    try:
        yield
    finally:
        bench.env = before
        proxy.terminate()
        proxy.wait()


def cell(bench: Bench, tree: Path, processes: int, label: str) -> Cell:
    """One tree up, by a fleet of one worker of so many processes."""
    valkey, budget = servers.start_valkey(bench.folder / "valkey"), BUDGET * processes
    bench.env |= {"HUGESYNC_MEMORY": str(MEMORY), "HUGESYNC_BUFFERS_BUDGET": str(budget)}
    try:
        program = hugesync("--broker", valkey.url)
        assert program.up is not None
        with bench.bucket() as bucket, worker(bench, valkey.url, bench.folder, THREADS, processes) as busy:
            before = cpu_of(busy)
            psutil.cpu_percent()
            with Watch(busy.pid) as memory:
                cost = bench.measured(f"{label}, {processes}", program, program.up(str(tree), bucket))
            load = psutil.cpu_percent() / 100  # of all cores, since the call above
            bench.must_hold(program, bucket, tree)
            if memory.largest > MEMORY or memory.beside > budget:
                raise SystemExit(
                    f"a process of {processes} had {memory.largest >> 20} MiB, and all {memory.together >> 20} MiB together"
                )
            return cost["wall"], cost["cpu"] + cpu_of(busy) - before, load, memory.largest, memory.together
    finally:
        valkey.stop()


def measure(bench: Bench, label: str, tree: Path, processes: list[int], rounds: int) -> str:
    found: dict[int, list[Cell]] = {}
    for number in range(rounds):
        for n in processes if number % 2 == 0 else reversed(processes):
            found.setdefault(n, []).append(cell(bench, tree, n, label))
    return table(label, processes[0], found)


def table(label: str, first: int, found: dict[int, list[Cell]]) -> str:
    """A row for each number of processes, set against those of ``first``."""
    one = statistics.median(wall for wall, *_ in found[first])
    lines = [
        f"### {label}",
        "",
        f"| processes | wall s / CPU-s | × {first} | machine busy | largest process, MiB | worker, MiB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for n, cells in sorted(found.items()):
        wall, cpu, load, *_ = (statistics.median(x) for x in zip(*cells, strict=True))
        largest, together = (max(cell[i] for cell in cells) / 2**20 for i in (3, 4))
        lines.append(
            f"| {n} | {wall:.1f} / {cpu:.1f} | {one / wall:.2f} | {load:.0%} | {largest:.0f} | {together:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=numbers, default="1,2,4,8")
    parser.add_argument("--files", type=int, default=20_000, help="of 64 KiB; 0: none")
    parser.add_argument("--large", type=int, default=4 << 30, help="bytes of the large file; 0: none")
    parser.add_argument("--slow", type=int, default=1 << 30, help="bytes of the file at --rate; 0: none")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds by which each request is delayed")
    parser.add_argument("--rate", type=float, default=5e6, help="bytes per second of a connection")
    options = asked(parser, MARKS)
    milli, mega = f"{1000 * options.latency:.0f} ms", f"{options.rate / 1e6:g} MB/s"
    with ground(options, [hugesync()]) as (bench, about):
        shown = [about]
        with far(bench, options.latency, 0):
            for files, each in ((options.files, 64 << 10), (int(bool(options.large)), options.large)):
                if files:
                    tree = bench.tree(f"of{each}", files, each)
                    named = size(each) if each >= 1 << 20 else f"{each >> 10} KiB"
                    label = f"{files:,} × {named}, each request delayed by {milli}"
                    shown.append(measure(bench, label, tree, options.processes, options.rounds))
        if options.slow:
            with far(bench, 0, options.rate):
                tree = bench.tree("slow", 1, options.slow)
                label = f"1 × {size(options.slow)}, {mega} for each connection, one connection for each process"
                shown.append(measure(bench, label, tree, options.processes, options.rounds))
        report(options, MARKS, "\n\n".join(shown))


if __name__ == "__main__":
    main()
