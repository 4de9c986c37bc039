"""What every benchmark of our own stands on: a folder on tmpfs, one SeaweedFS, the machine described, a page for the figures."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cases import Bench
from machine import machine
from programs import Program
from tables import write_between

import servers


def asked(parser: argparse.ArgumentParser, marks: tuple[str, str]) -> argparse.Namespace:
    """The command line, with the options that all have."""
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rest", type=float, default=0.5, help="seconds between two runs")
    parser.add_argument("--folder", type=Path, help="below this folder (default: /dev/shm, else the temporary folder)")
    parser.add_argument("--write", type=Path, help=f"put the figures between {marks[0]} and {marks[1]} in this file")
    return parser.parse_args()


@contextmanager
def ground(options: argparse.Namespace, programs: list[Program]) -> Iterator[tuple[Bench, str]]:
    """A place to measure in, and the paragraph about it."""
    shm = Path("/dev/shm")
    below = options.folder or (shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix="hugesync-bench-", dir=below))
    try:
        (folder / "state").mkdir()
        server = servers.start_seaweedfs(folder / "weed")
        try:
            bench = Bench(options, folder, server, programs)
            yield bench, machine(programs, below=below, env=bench.env)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(options: argparse.Namespace, marks: tuple[str, str], text: str) -> None:
    """Print the figures, and put them where ``--write`` says."""
    print(text)
    if options.write:
        write_between(options.write, marks, text)
