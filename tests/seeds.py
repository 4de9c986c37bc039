"""Play seeds of the simulation on every core until they are all played, whatever fails: ``python tests/seeds.py FIRST COUNT``.

Each seed is played with one kind of trouble, in turn. What fails is printed with its story, and at the end how many were
played; exit 1 where one failed. ``--processes`` (default: one for each core) is how many play side by side.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import structlog

ROOT = Path(__file__).resolve().parent.parent
KEPT = 4000  # characters of a failing seed's story, its end


def play(first: int, count: int, every: int, cpu: int) -> tuple[int, list[str]]:
    """``count`` seeds from ``first``, each ``every``-th; how many were played, and what failed."""
    if hasattr(
        os, "sched_setaffinity"
    ):  # its threads take turns: on two cores each turn would wait for the other to wake
        os.sched_setaffinity(0, {cpu})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    from chaos import KINDS
    from test_simulation import replay

    kinds, failed, played, told = list(KINDS), [], 0, time.monotonic()
    for seed in range(first, first + count, every):
        with tempfile.TemporaryDirectory(prefix="hss") as folder:
            try:
                replay(kinds[seed // 2 % len(kinds)], seed, Path(folder) / "job")
            except AssertionError as error:
                failed.append(str(error))
                print(f"FAILED {str(error)[:300]}\n{str(error)[-KEPT:]}", flush=True)
        played += 1
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{played} seeds from {first}, {len(failed)} failed", flush=True)
    return played, failed


def main() -> int:
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--processes", type=int, default=len(allowed))
    given = parser.parse_args()
    n, began = given.processes, time.monotonic()
    with get_context("spawn").Pool(n) as pool:
        answers = pool.starmap(
            play, [(given.first + i, given.count - i, n, allowed[i % len(allowed)]) for i in range(n)], chunksize=1
        )
    played, failed = sum(p for p, _ in answers), [f for _, fs in answers for f in fs]
    print(f"{played} seeds in {time.monotonic() - began:.0f} s, {len(failed)} failed")
    for failure in failed:
        print(failure.split("\n")[0])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "producer"), str(ROOT / "worker"), str(ROOT / "tests")]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:4])
    sys.exit(main())
