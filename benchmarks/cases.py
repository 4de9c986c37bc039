"""The jobs that are measured: trees of random bytes, up, down and from folder to folder, by each program in turn."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from programs import Program, environment, hugesync
from tables import Cells, medians

import servers

CASES = ("large", "small", "local", "one", "jobs")
HERE = Path(__file__).resolve().parent


class Bench:
    """One run of the benchmark."""

    def __init__(
        self, options: argparse.Namespace, folder: Path, server: servers.S3Server, programs: list[Program]
    ) -> None:
        self.options, self.folder, self.server = options, folder, server
        self.client = servers.s3_client(server)
        self.env = environment(server.endpoint, server.env, folder / "state")
        (folder / "here").mkdir()  # where programs run: not in a checkout, or Python would import from it
        self.programs = programs
        self.cells: Cells = defaultdict(lambda: defaultdict(list))

    def measured(self, row: str, program: Program, command: list[str]) -> dict[str, float]:
        """What a command cost, with all that it started; noted in ``cells`` as well."""
        result = self.folder / "result.json"
        subprocess.run(
            [sys.executable, str(HERE / "measure.py"), str(result), *command],
            env={**self.env, **program.env}, cwd=self.folder / "here", check=True,
        )  # fmt: skip
        cost: dict[str, float] = json.loads(result.read_text())
        if cost["code"] != 0:
            raise SystemExit(f"{program.name} ended with exit code {cost['code']}: {' '.join(command)}")
        self.cells[row][program.name].append((cost["wall"], cost["cpu"]))
        print(f"{row:28} {program.name:14} {cost['wall']:7.2f} s {cost['cpu']:7.2f} CPU-s", file=sys.stderr)
        time.sleep(self.options.rest)
        return cost

    def medians(self, program: Program) -> list[tuple[str, float, float]]:
        """(row, wall, CPU) of what was measured of one program."""
        return [(row, *medians(runs)[program.name]) for row, runs in self.cells.items() if program.name in runs]

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
        found = [o for page in pages for o in page.get("Contents", [])]
        sizes = [o["Size"] for o in found if not o["Key"].endswith(("/", ".hssig"))]  # folders, signatures of ours
        self._compare(program, (len(sizes), sum(sizes)), extent(tree))

    def must_equal(self, program: Program, there: Path, tree: Path) -> None:
        self._compare(program, extent(there), extent(tree))

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

    def warm(self) -> None:
        """Each program once, unmeasured: what Python compiles and the kernel reads for the first time is in nobody's figure."""
        for program in self.programs:
            with self.target() as out:
                command = program.local(str(self.tree("one", 1, 1024)), str(out)) if program.local else program.version
                subprocess.run(command, env={**self.env, **program.env}, cwd=self.folder / "here", check=True)

    def round(self, case: str) -> None:
        self.programs = self.programs[1:] + self.programs[:1]  # nobody is always the first
        o = self.options
        if case == "large":
            self.there_and_back(f"1 × {size(o.large)}", self.tree("large", 1, o.large), self.programs, False)
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
            self.there_and_back(f"1 × {size(o.large)}", self.tree("large", 1, o.large), ours, False)


def extent(tree: Path) -> tuple[int, int]:
    sizes = [os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(tree) for name in names]
    return len(sizes), sum(sizes)


def size(n: int) -> str:
    return f"{n / 2**30:g} GiB" if n >= 2**30 else f"{n / 2**20:g} MiB"
