"""What a delta costs where there is nothing to find: a compressed file is written anew, whole, and goes to an S3 server.

    python benchmarks/rewritten.py --size 1GiB

Each round writes the file anew twice and uploads it over the old one: once with ``-W``, a plain upload, and once as it comes,
where the old object's signature is looked through first. The two take turns in being first. Wall seconds and CPU seconds with
all that is started, medians of the rounds; one SeaweedFS.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT), str(ROOT / "tests")]

from programs import environment  # noqa: E402

import servers  # noqa: E402
from hugesync_tasks.config_units import parse_size  # noqa: E402

MIB = 1 << 20
_SUBMIT = "import sys; sys.argv[0] = 'hugesync-submit'; from hugesync_producer.cli import submit; sys.exit(submit())"
WAYS = {"plain upload (-W)": ["-W"], "as it comes": []}


def rewritten(path: Path, size: int, seed: int) -> None:
    """Other random bytes, as a compressor makes of changed input."""
    rng = np.random.default_rng(seed)
    with path.open("wb") as out:
        for at in range(0, size, 64 * MIB):
            out.write(rng.bytes(min(64 * MIB, size - at)))


def measured(folder: Path, env: dict[str, str], command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds of a command that must succeed."""
    result = folder / "result.json"
    subprocess.run([sys.executable, str(HERE / "measure.py"), str(result), *command], env=env, check=True)
    cost: dict[str, float] = json.loads(result.read_text())
    if cost["code"] != 0:
        raise SystemExit(f"exit code {cost['code']}: {' '.join(command)}")
    return cost


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1GiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where files and server are")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hugesync-rewritten-", dir=options.folder))
    try:
        (folder / "state").mkdir()
        (folder / "here").mkdir()
        server = servers.start_seaweedfs(folder / "weed")
        try:
            servers.s3_client(server).create_bucket(Bucket="bench")
            env = environment(server.endpoint, server.env, folder / "state")
            env["PYTHONPATH"] = os.pathsep.join(str(ROOT / part) for part in ("", "producer", "worker"))
            submit = [sys.executable, "-c", _SUBMIT, "--quiet", str(folder / "here"), "s3://bench/there"]
            file, size, seed = folder / "here" / "backup.tar.zst", parse_size(options.size), 1
            rewritten(file, size, seed)
            measured(folder, env, submit)
            taken: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for number in range(options.rounds):
                for way in list(WAYS)[:: 1 if number % 2 else -1]:
                    seed += 1
                    rewritten(file, size, seed)
                    taken[way].append(measured(folder, env, [*submit, *WAYS[way]]))
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"| {options.size}, rewritten whole | wall s | CPU-s | × plain, wall |\n| --- | ---: | ---: | ---: |")
    wall = {way: statistics.median(cost["wall"] for cost in costs) for way, costs in taken.items()}
    plain = wall[next(iter(WAYS))]
    for way, costs in taken.items():
        cpu = statistics.median(cost["cpu"] for cost in costs)
        print(f"| {way} | {wall[way]:.2f} | {cpu:.2f} | {wall[way] / plain:.2f} |")


if __name__ == "__main__":
    main()
