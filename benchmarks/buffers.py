"""What the buffers cost and gain: bodies of 4 KiB to 64 MiB with the pool on, counting only, and off; RSS included.

    make bench-buffers                                        1 GiB of each size, two processes that share a budget, 5 rounds
    make bench-buffers ARGS="--sizes 4KiB,8MiB --bytes 64MiB --rounds 1"

A body is held, read from a file as a part or a small file is, given its CRC64NVME, written to a file, and given back. ``off``: what
``[buffers] enabled = false`` does; ``counted``: a pool that keeps nothing, so what counting costs by itself; ``on``: the defaults. Each
measurement is a worker of its own: a process that makes the budget and forks ``--processes`` children. CPU is theirs, start-up left out;
RSS is the highest of one child, all of it. What counting costs is measured by leases without a body, against the CPU of a body: the
difference of two bodies is smaller than what one differs from the next. Medians of the rounds, whose order is turned.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

MODES = ("off", "counted", "on")
MARKS = ("<!-- buffers -->", "<!-- /buffers -->")
SIZES = "4KiB,64KiB,1MiB,2MiB,4MiB,8MiB,16MiB,64MiB"
BUDGET = 512 << 20
LOOK = 16  # bodies between two looks at RSS
LEASES = 5000


def child(mode: str, size: int, count: int, folder: Path, out: int) -> None:
    """Handle ``count`` bodies as a worker's child does; writes what it cost, as JSON."""
    from awscrt.checksums import crc64nvme

    from hugesync_tasks.budget import return_freed_memory
    from hugesync_tasks.buffers import sharing
    from hugesync_tasks.config import load
    from hugesync_tasks.stages.reading import into
    from hugesync_tasks.stores.local import LocalStore
    from hugesync_tasks.stores.local_copy import write_at
    from hugesync_tasks.token import Token

    return_freed_memory()
    holds = sharing.budget_for(load(keys(mode)), BUDGET)
    store, token = LocalStore(folder), Token()
    fd = os.open(folder / f"out {os.getpid()}", os.O_RDWR | os.O_CREAT)

    def body(look: bool = False) -> None:
        nonlocal highest
        with holds.hold(size, token, memory=True) as room, store.open("body", "", token) as reader:
            whole = into(room, reader)
            crc64nvme(whole)
            write_at(fd, whole, 0)
            if look:
                highest = max(highest, resident())

    highest = 0
    body()  # what is loaded and mapped once
    began, cpu = time.perf_counter(), time.process_time()
    for n in range(count):
        body(n % LOOK == 0)
    cost = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - began, "rss": highest}
    cpu = time.process_time()
    for _ in range(LEASES):
        with holds.hold(size, token, memory=True):
            pass
    cost["lease"] = (time.process_time() - cpu) / LEASES
    os.write(out, json.dumps(cost).encode() + b"\n")
    sharing.end()


def keys(mode: str) -> dict[str, Any]:
    given = {"buffers_enabled": mode != "off", "buffers_budget": str(BUDGET), "memory": "1GiB"}
    return given | ({"buffers_reuse_from": "1TiB"} if mode == "counted" else {})


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def worker(mode: str, size: int, count: int, processes: int, folder: Path) -> None:
    """Make the budget, fork, and pass on what the children say."""
    from hugesync_tasks.buffers import sharing
    from hugesync_tasks.config import load

    sharing.share(load(keys(mode)), processes)
    pids = []
    for _ in range(processes):
        if (pid := os.fork()) == 0:
            try:
                child(mode, size, count, folder, 1)
            finally:
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


def measured(options: argparse.Namespace, mode: str, size: int, folder: Path) -> dict[str, float]:
    """One worker: MB per CPU second, microseconds of CPU for a body and for a lease, wall MB/s, RSS of a child in MiB."""
    count = max(8, options.bytes // size // options.processes)
    command = [sys.executable, "-P", __file__, "--one", mode, "--sizes", str(size), "--count", str(count)]
    ran = subprocess.run(
        [*command, "--processes", str(options.processes), "--folder", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    children = [json.loads(line) for line in ran.stdout.splitlines()]
    if len(children) != options.processes:
        raise SystemExit(ran.stderr[-2000:])
    cpu, wall = sum(c["cpu"] for c in children), max(c["wall"] for c in children)
    moved = size * count * options.processes
    return {
        "cpu": cpu / (count * options.processes) * 1e6,
        "rate": moved / cpu / 1e6,
        "wall": moved / wall / 1e6,
        "rss": max(c["rss"] for c in children) / (1 << 20),
        "lease": statistics.mean(c["lease"] for c in children) * 1e6,
    }


def table(found: dict[int, dict[str, dict[str, float]]]) -> str:
    """A row for each size; what counting costs and what the pool gains is in CPU against ``off``."""
    from hugesync_tasks.config_units import show_size

    lines = [
        "| body | off, MB per CPU-s | counted | on | lease off / counted / on, µs | counting costs | on against off, CPU | wall on/off | RSS off, MiB | RSS on, MiB |",
        "| --- |" + " ---: |" * 9,
    ]
    for size, modes in found.items():
        off, counted, on = (modes[mode] for mode in MODES)
        lines.append(
            f"| {show_size(size)} | {off['rate']:.0f} | {counted['rate']:.0f} | {on['rate']:.0f} | "
            f"{off['lease']:.1f} / {counted['lease']:.1f} / {on['lease']:.1f} | "
            f"{(counted['lease'] - off['lease']) / off['cpu'] * 100:+.2f} % | {(on['cpu'] / off['cpu'] - 1) * 100:+.1f} % | "
            f"{on['wall'] / off['wall']:.2f} | {off['rss']:.0f} | {on['rss']:.0f} |"
        )
    return "\n".join(lines)


def rounds(options: argparse.Namespace, sizes: list[int], folder: Path) -> dict[int, dict[str, dict[str, float]]]:
    found: dict[int, dict[str, dict[str, float]]] = {}
    for size in sizes:
        with open(folder / "body", "wb") as body:
            for at in range(0, size, 1 << 20):
                body.write(os.urandom(min(1 << 20, size - at)))
        cells: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
        for number in range(options.rounds):
            for mode in MODES if number % 2 == 0 else reversed(MODES):
                cells[mode].append(measured(options, mode, size, folder))
                time.sleep(options.rest)
        found[size] = {
            mode: {name: statistics.median(cell[name] for cell in rows) for name in rows[0]}
            for mode, rows in cells.items()
        }
        print(table({size: found[size]}).splitlines()[-1], file=sys.stderr)
    return found


def main() -> None:
    from hugesync_tasks.config_units import parse_size

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=lambda text: [parse_size(one) for one in text.split(",")], default=SIZES)
    parser.add_argument("--bytes", type=parse_size, default="1GiB", help="of each size, over all processes")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--one", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=8, help=argparse.SUPPRESS)
    if "--one" in sys.argv:
        parser.add_argument("--folder", type=Path)
        options = parser.parse_args()
        worker(options.one, options.sizes[0], options.count, options.processes, options.folder)
        return
    from ground import asked, report
    from machine import machine

    parser.set_defaults(rounds=5)
    options = asked(parser, MARKS)
    shm = Path("/dev/shm")  # in memory, where there is a tmpfs: what is measured is not a disk
    below = options.folder or (shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix="hugesync-bench-", dir=below) as name:
        folder, about = Path(name), machine(below=below)
        report(options, MARKS, f"{about}\n\n{table(rounds(options, options.sizes, folder))}")


if __name__ == "__main__":
    main()
