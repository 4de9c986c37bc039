"""One process beside two, signing and matching ranges of one file from the page cache (``delta.py --ranges``); wall seconds."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

from delta_files import noise, variant

from hugesync_tasks.delta.files import opened, sign
from hugesync_tasks.delta.match import Matcher
from hugesync_tasks.delta.ops import merge
from hugesync_tasks.delta.slide import warm
from hugesync_tasks.signature import format as hssig
from hugesync_tasks.signature.blocks import KIB, MIB

GIB = 1 << 30
BLOCK = 64 * KIB


def matching(file: Path, signature: Path, ranges: list[tuple[int, int]], ready: Barrier, answers: object) -> None:
    """Match some ranges of a file when all are ready, and send how many copies there are."""
    warm()
    with signature.open("rb") as stream:
        known = hssig.read(stream.read)
    ready.wait(timeout=600)
    copies = []
    matcher = Matcher(known)
    with opened(file) as new:
        for start, end in ranges:
            copies += matcher.match(new.read, new.size, start, end).copies
    answers.put(len(merge(copies)))  # type: ignore[attr-defined]


def wall(processes: int, target: Callable[..., None], file: Path, signature: Path) -> float:
    """Seconds from all being ready to all being done."""
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(processes + 1), context.Queue()
    size = file.stat().st_size
    ranges = [(at, min(size, at + 256 * MIB)) for at in range(0, size, 256 * MIB)]
    running = [
        context.Process(target=target, args=(file, signature, ranges[i::processes], ready, answers))
        for i in range(processes)
    ]
    for process in running:
        process.start()
    ready.wait(timeout=600)
    began = time.monotonic()
    for _ in running:
        answers.get(timeout=600)
    took = time.monotonic() - began
    for process in running:
        process.join()
    return took


def signing(file: Path, signature: Path, ranges: list[tuple[int, int]], ready: Barrier, answers: object) -> None:
    """Sign some ranges of a file as workers do."""
    from hugesync_tasks.signature.blocks import hash_blocks, leaf_digests

    del signature
    buffer = memoryview(bytearray(8 * MIB))
    ready.wait(timeout=600)
    done = 0
    with opened(file) as source:
        for start, end in ranges:
            for at in range(start, end, len(buffer)):
                view = buffer[: min(len(buffer), end - at)]
                source.read(at, view)
                done += len(hash_blocks(view, BLOCK)) + len(leaf_digests(view))
    answers.put(done)  # type: ignore[attr-defined]


def in_ranges(folder: Path, size: int, rounds: int) -> str:
    """One process beside two, signing a file and matching what shifted in it."""
    basis, new, signature = folder / "basis", folder / "new", folder / "b.hssig"
    noise(basis, size, 1)
    variant("shifted", basis, new)
    with opened(basis) as source:
        made = sign(source, BLOCK, "benchmark")
    signature.write_bytes(b"".join(hssig.write(made.header, [made.records])))
    lines = ["| wall s | one process | two | two, × one |", "| --- | ---: | ---: | ---: |"]
    for label, target, file in (("signing", signing, basis), ("matching what shifted", matching, new)):
        with file.open("rb") as stream:
            while stream.read(16 * MIB):
                pass  # into the page cache
        taken = [(wall(1, target, file, signature), wall(2, target, file, signature)) for _ in range(rounds)]
        one, two = (statistics.median(t[i] for t in taken) for i in (0, 1))
        lines.append(f"| {label}, {size / GIB:g} GiB | {one:.2f} | {two:.2f} | {one / two:.2f} |")
    return "\n".join(lines)
