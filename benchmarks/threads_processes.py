"""Threads against processes: 1, 2, 4, 8 I/O threads in a task × 1, 2, 4 worker processes, on one host.

    make bench-threads                                              5,000 × 4 KiB up and down, and 1 GiB by processes
    make bench-threads ARGS="--threads 1,4 --processes 1,2 --small 200 --large 0"
    make bench-threads ARGS="--latency 0.02"                        a store that is 20 ms away, through a proxy

A fleet of one worker is started for each cell before the clock runs, with its number of threads set from here (a worker has
16); the command hands it the job. Wall seconds of the command / CPU seconds of the command and the worker with its children;
medians of the rounds, whose order of cells is turned. Parts of a large file are a task each and use no threads.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import redis

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from cases import Bench, size  # noqa: E402
from ground import asked, ground, report  # noqa: E402
from programs import hugesync  # noqa: E402

import servers  # noqa: E402
from slowproxy import SlowProxy  # noqa: E402

MARKS = ("<!-- threads -->", "<!-- /threads -->")
WORKER = (
    "import sys; import hugesync_tasks.stages.execute as e; e.THREADS = int(sys.argv.pop(1)); "
    "from hugesync_worker.__main__ import main; sys.argv[0] = 'hugesync-worker'; main()"
)
READY = 60.0  # seconds for a worker to come up
Cell = tuple[float, float]  # wall, CPU


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds so far of a process, those that it has waited for, and those that live below it."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        times = one.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def worker(bench: Bench, url: str, root: Path, threads: int, processes: int) -> Iterator[psutil.Process]:
    """A worker of ``processes`` children that serves ``root``, up and heard of."""
    command = [sys.executable, "-P", "-c", WORKER, str(threads), "--broker", url, "--root", f"bench={root}"]
    process = subprocess.Popen(
        [*command, "--concurrency", str(processes)],
        env={**bench.env, **hugesync().env},
        cwd=bench.folder / "here",
        stdout=subprocess.DEVNULL,
        stderr=(bench.folder / "worker.log").open("ab"),
    )
    try:
        until = time.monotonic() + READY
        with redis.Redis.from_url(url) as ledger:
            while not ledger.zcard("hs:{workers}"):
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit((bench.folder / "worker.log").read_text()[-2000:])
                time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cell(bench: Bench, tree: Path, threads: int, processes: int, rows: dict[str, Cell], label: str) -> None:
    """One tree up and down by one fleet."""
    valkey = servers.start_valkey(bench.folder / "valkey")
    try:
        program = hugesync("--broker", valkey.url)
        assert program.up is not None
        assert program.down is not None
        out = bench.folder / "out"
        out.mkdir()
        with (
            bench.bucket() as bucket,
            bench.target(),
            worker(bench, valkey.url, bench.folder, threads, processes) as busy,
        ):
            for way, command in (("up", program.up(str(tree), bucket)), ("down", program.down(bucket, str(out)))):
                before = cpu_of(busy)
                cost = bench.measured(f"{label}, {way}, {threads} × {processes}", program, command)
                rows[way] = cost["wall"], cost["cpu"] + cpu_of(busy) - before
            bench.must_hold(program, bucket, tree)
            bench.must_equal(program, out, tree)
    finally:
        valkey.stop()


def table(found: dict[tuple[int, int], list[Cell]], threads: list[int], processes: list[int]) -> str:
    """A row for each number of threads, a column for each of processes."""
    head = " | ".join(f"{p} process{'es' if p > 1 else ''}" for p in processes)
    lines = [f"| wall s / CPU-s | {head} |", "| --- |" + " ---: |" * len(processes)]
    for t in threads:
        cells = []
        for p in processes:
            wall, cpu = (statistics.median(x) for x in zip(*found[t, p], strict=True))
            cells.append(f"{wall:.2f} / {cpu:.2f}")
        lines.append(f"| {t} thread{'s' if t > 1 else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(bench: Bench, label: str, tree: Path, threads: list[int], processes: list[int], rounds: int) -> list[str]:
    found: dict[str, dict[tuple[int, int], list[Cell]]] = {"up": {}, "down": {}}
    cells = [(t, p) for t in threads for p in processes]
    for number in range(rounds):
        for t, p in cells if number % 2 == 0 else reversed(cells):
            rows: dict[str, Cell] = {}
            cell(bench, tree, t, p, rows, label)
            for way, cost in rows.items():
                found[way].setdefault((t, p), []).append(cost)
    return [f"### {label}, {way}\n\n{table(found[way], threads, processes)}" for way in found]


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=numbers, default="1,2,4,8")
    parser.add_argument("--processes", type=numbers, default="1,2,4")
    parser.add_argument("--small", type=int, default=5000, help="files of 4 KiB; 0: none")
    parser.add_argument("--large", type=int, default=1 << 30, help="bytes of the large file; 0: none")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds by which a proxy delays each request")
    options = asked(parser, MARKS)
    with ground(options, [hugesync()]) as (bench, about):
        if options.latency:
            endpoint = SlowProxy(bench.server.endpoint, latency=options.latency).endpoint
            bench.env |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT_URL_S3": endpoint}
            about += f" Each request delayed by {1000 * options.latency:.0f} ms."
        shown = [about]
        if options.small:
            label, tree = f"{options.small:,} × 4 KiB", bench.tree("small", options.small, 4096)
            shown += measure(bench, label, tree, options.threads, options.processes, options.rounds)
        if options.large:
            label, tree = f"1 × {size(options.large)}", bench.tree("large", 1, options.large)
            shown += measure(bench, label, tree, options.threads[-1:], options.processes, options.rounds)
        report(options, MARKS, "\n\n".join(shown))


if __name__ == "__main__":
    main()
