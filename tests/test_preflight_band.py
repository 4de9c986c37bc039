"""The estimate of a preflight holds: real jobs on throttled stores end inside the band that was foretold.

Latency and rate are a TCP proxy's, so that they, and not the machine that tests run on, decide how long a job takes.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import Bucket
from slowproxy import SlowProxy
from submit import Submit

KIB, MIB = 1 << 10, 1 << 20
ENOUGH = 8  # of the ten
WIDEST = 3.0  # worst over best
_PREFLIGHT = "import sys; sys.argv[0:1] = ['hugesync', 'preflight']; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"


@dataclass(frozen=True)
class Mix:
    """What is sent where: sizes of files in bytes; ``way`` up, down or across; the proxy's bytes and seconds."""

    name: str
    sizes: tuple[int, ...]
    way: str
    rate: float
    latency: float


def spread(n: int, low: int, high: int) -> tuple[int, ...]:
    """``n`` sizes between both, evenly by magnitude, the same each time."""
    chance = random.Random(n)
    return tuple(int(low * (high / low) ** chance.random()) for _ in range(n))


MIXES = (
    Mix("many tiny up", (4 * KIB,) * 1500, "up", 8 * MIB, 0.05),
    Mix("two large up", (30 * MIB,) * 2, "up", 2.5 * MIB, 0.005),
    Mix("one large among tiny up", (4 * KIB,) * 600 + (40 * MIB,), "up", 3 * MIB, 0.01),
    Mix("all sizes up", spread(200, KIB, 4 * MIB), "up", 4 * MIB, 0.01),
    Mix("medium up", (MIB,) * 60, "up", 3 * MIB, 0.005),
    Mix("between small and large up", (10 * MIB,) * 6, "up", 3 * MIB, 0.005),
    Mix("many tiny down", (4 * KIB,) * 1000, "down", 8 * MIB, 0.05),
    Mix("large down", (25 * MIB,) * 2, "down", 2.5 * MIB, 0.005),
    Mix("all sizes down", spread(150, KIB, 4 * MIB), "down", 4 * MIB, 0.01),
    Mix("from store to store", spread(60, KIB, 8 * MIB), "across", 3 * MIB, 0.01),
)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_real_jobs_end_inside_the_band_that_was_foretold(tmp_path: Path, s3_bucket: Bucket) -> None:
    faulthandler.cancel_dump_traceback_later()  # ten jobs in one test: it is long, and nothing hangs
    met = []
    for mix in MIXES:
        best, likely, worst, took, limit = foretold_and_done(mix, tmp_path / mix.name.replace(" ", "-"), s3_bucket)
        assert worst <= WIDEST * best * 1.0001, (mix, best, worst)
        met.append(
            (best <= took <= worst, f"{mix.name}: {best:.1f} {likely:.1f} {worst:.1f} took {took:.1f} by {limit}")
        )
        print(met[-1], flush=True)
    assert sum(inside for inside, _ in met) >= ENOUGH, "\n".join(line for _, line in met)


def foretold_and_done(mix: Mix, folder: Path, bucket: Bucket) -> tuple[float, float, float, float, str]:
    """(best, likely, worst, real) seconds of one job, and what limits it."""
    source = folder / "source"
    source.mkdir(parents=True)
    for i, size in enumerate(mix.sizes):
        below = source / f"d{i % 7}"
        below.mkdir(exist_ok=True)
        (below / f"f{i}").write_bytes(os.urandom(size))
    there = f"s3://{bucket.bucket}/{folder.name}"
    ends: dict[str, Callable[[], tuple[str, str]]] = {
        "up": lambda: (str(source), there),
        "down": lambda: (uploaded(source, there, folder, bucket), str(folder / "dest")),
        "across": lambda: (uploaded(source, there, folder, bucket), f"{there}-copy"),
    }
    a, b = ends[mix.way]()
    with SlowProxy(bucket.endpoint, rate=mix.rate, latency=mix.latency) as proxy:
        env = {**bucket.env, "AWS_ENDPOINT_URL_S3": proxy.endpoint, "HUGESYNC_WORKER_CONCURRENCY": "2"}
        submit = Submit(folder / "us", env)
        preflight = Submit(folder / "us", env, program=_PREFLIGHT)
        options = ("--max-seconds", "30")
        process = preflight.start(a, b, "--json", *options)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        estimate = json.loads(out)["estimate"]
        began = time.monotonic()
        ran = submit(a, b, timeout=900)
        took = time.monotonic() - began
    assert ran.files["done"] == len(mix.sizes), (ran.json, ran.err)
    return estimate["best"], estimate["likely"], estimate["worst"], took, estimate["limited_by"]


def uploaded(source: Path, there: str, folder: Path, bucket: Bucket) -> str:
    """What the job shall fetch: brought there without the proxy."""
    ran = Submit(folder / "before", bucket.env)(str(source), there, timeout=600)
    assert ran.code == 0, ran.err
    return f"{there}/"
