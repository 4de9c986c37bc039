"""How cost grows: with the number of files, and with the size of one.

    make bench-growth                                            10 to 100,000 files of 4 KiB; 1 MiB to 4 GiB
    make bench-growth ARGS="--files 10,100 --sizes 1048576"      some of it

Each number goes up to an S3 server, up again with nothing to do, and from folder to folder; each size up and down. Medians of
the rounds; CPU with all that is started, memory of the largest process. What is left of a run's cost when a run of the
smallest tree is taken away, over its files, is what a file costs; over its bytes, what a GiB costs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from cases import Bench, size  # noqa: E402
from ground import asked, ground, report  # noqa: E402
from programs import Program, hugesync  # noqa: E402

MARKS = ("<!-- growth -->", "<!-- /growth -->")
GIB = 1 << 30
Costs = dict[str, list[dict[str, float]]]  # what was done → what each round cost


def median(costs: list[dict[str, float]], what: str) -> float:
    return statistics.median(cost[what] for cost in costs)


def files_table(found: dict[int, Costs]) -> str:
    """A row for each number of files and kind of run; a file's cost is over the smallest number's run."""
    lines = [
        "| files of 4 KiB | | wall s | CPU-s | CPU ms a file, over the fewest | peak MiB |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    fewest = min(found)
    for number, costs in sorted(found.items()):
        for what, rounds in costs.items():
            cpu = median(rounds, "cpu")
            more = cpu - median(found[fewest][what], "cpu")
            each = f"{1000 * more / (number - fewest):.2f}" if number > fewest else "–"
            peak = median(rounds, "peak_kib") / 1024
            lines.append(f"| {number:,} | {what} | {median(rounds, 'wall'):.2f} | {cpu:.2f} | {each} | {peak:.0f} |")
    return "\n".join(lines)


def sizes_table(found: dict[int, Costs]) -> str:
    """A row for each size and direction; the rate and a GiB's cost are over the smallest size's run."""
    lines = [
        "| one file of | | wall s | CPU-s | MiB/s | CPU-s a GiB, over the smallest | peak MiB |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    least = min(found)
    for length, costs in sorted(found.items()):
        for what, rounds in costs.items():
            wall, cpu = median(rounds, "wall"), median(rounds, "cpu")
            more = cpu - median(found[least][what], "cpu")
            each = f"{more * GIB / (length - least):.2f}" if length > least else "–"
            rate, peak = length / 2**20 / wall, median(rounds, "peak_kib") / 1024
            lines.append(f"| {size(length)} | {what} | {wall:.2f} | {cpu:.2f} | {rate:.0f} | {each} | {peak:.0f} |")
    return "\n".join(lines)


def by_number(bench: Bench, program: Program, number: int, costs: Costs) -> None:
    assert program.up is not None
    assert program.local is not None
    tree, label = bench.tree(f"n{number}", number, 4096), f"{number:,} files"
    with bench.bucket() as bucket, bench.target() as out:
        costs["up"].append(bench.measured(f"{label}, up", program, program.up(str(tree), bucket)))
        bench.must_hold(program, bucket, tree)
        again = bench.measured(f"{label}, nothing to do", program, program.up(str(tree), bucket))
        costs["up, nothing to do"].append(again)
        costs["folder to folder"].append(bench.measured(f"{label}, local", program, program.local(str(tree), str(out))))
        bench.must_equal(program, out, tree)


def by_size(bench: Bench, program: Program, length: int, costs: Costs) -> None:
    assert program.up is not None
    assert program.down is not None
    tree, label = bench.tree(f"s{length}", 1, length), size(length)
    with bench.bucket() as bucket, bench.target() as out:
        costs["up"].append(bench.measured(f"{label}, up", program, program.up(str(tree), bucket)))
        bench.must_hold(program, bucket, tree)
        costs["down"].append(bench.measured(f"{label}, down", program, program.down(bucket, str(out))))
        bench.must_equal(program, out, tree)


def numbers(text: str) -> list[int]:
    return [int(part.replace("_", "")) for part in text.split(",") if part]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=numbers, default="10,100,1000,10000,100000", help="numbers of files of 4 KiB")
    parser.add_argument(
        "--sizes", type=numbers, default=f"{1 << 20},{16 << 20},{256 << 20},{4 << 30}", help="bytes of one file"
    )
    options = asked(parser, MARKS)
    program = hugesync()
    files: dict[int, Costs] = {n: defaultdict(list) for n in options.files}
    sizes: dict[int, Costs] = {n: defaultdict(list) for n in options.sizes}
    with ground(options, [program]) as (bench, about):
        for _ in range(options.rounds):
            for n, costs in files.items():
                by_number(bench, program, n, costs)
            for n, costs in sizes.items():
                by_size(bench, program, n, costs)
    shown = [about, *([files_table(files)] if files else []), *([sizes_table(sizes)] if sizes else [])]
    report(options, MARKS, "\n\n".join(shown))


if __name__ == "__main__":
    main()
