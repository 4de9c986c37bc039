"""Memory stays under the number given, and does not grow with the tree: producer and workers, RSS sampled."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from conftest import Bucket
from deltas import inserted, write
from hugesync_tasks.spec import Options
from hugesync_tasks.stages.reading import whole
from memory_run import workers_of
from scale import factor, scaled
from submit import ROOT, Submit

MIB = 1 << 20
MOST = 200_000_000  # bytes of the producer, at any number of files
GROWTH = 8 * MIB  # what counts as flat: the allocator's slack
FILES = scaled(1_000_000, 50_000)
RUN = scaled(
    100_000, 5_000
)  # entries sorted in memory, and files after which memory is flat; above them runs go to disk
SETTLED = max(20_000, RUN)  # both listings' buffers are full by then
SENT = scaled(1_000_000, 150_000)  # files that really travel
WINDOW_FULL = 100_000  # files found by the time when as many tasks are out, and planned, as ever will be


@pytest.fixture
def roomy() -> Iterator[Path]:
    """A folder for very many files: in memory where there is a tmpfs that has room for their names."""
    shm = Path("/dev/shm")
    fits = os.access(shm, os.W_OK) and os.statvfs(shm).f_favail > 2 * FILES
    folder = Path(tempfile.mkdtemp(prefix="hsm", dir=shm if fits else None))
    yield folder
    shutil.rmtree(folder)


def flat_folder(at: Path, files: int) -> None:
    """Empty files whose order of creation is not that of their names."""
    at.mkdir()
    step = next(p for p in (7919, 7907, 7901) if files % p)
    fd = os.open(at, os.O_RDONLY)
    for i in range(files):
        os.mknod(f"{i * step % files:07d}-a name of ordinary length", 0o100644, dir_fd=fd)
    os.close(fd)


def run(folder: Path, source: str, dest: str, dry_run: bool, keys: int = 0) -> dict[str, Any]:
    asked = {"source": source, "dest": dest, "dry_run": dry_run, "keys": keys, "run_size": RUN}
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tests/memory_run.py"), json.dumps(asked)],
        env={**Submit(folder).environment(), "TMPDIR": str(folder)},
        capture_output=True,
        timeout=3000,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()[-4000:]
    answer: dict[str, Any] = json.loads(ended.stdout)
    assert answer["state"] == "done"
    return answer


def assert_bounded(samples: list[list[int]], settled: int = SETTLED) -> None:
    """Never above ``MOST``, and flat from ``settled`` files on."""
    early = max(rss for found, rss in samples if found <= settled)
    late = max(rss for found, rss in samples if found > settled)
    assert len([found for found, _ in samples if found > settled]) >= 2, "too few samples to tell"
    assert max(early, late) <= MOST, (early, late)
    assert late <= early + GROWTH, (early, late)


def test_the_producer_is_flat_over_a_flat_folder_that_is_there_already(roomy: Path) -> None:
    flat_folder(roomy / "from", FILES)
    (roomy / "to").mkdir()
    for name in os.listdir(roomy / "from"):
        os.link(roomy / "from" / name, roomy / "to" / name)
    answer = run(roomy, str(roomy / "from"), str(roomy / "to"), dry_run=False)
    assert answer["files"]["skipped"] == FILES
    assert_bounded(answer["samples"])


def test_the_producer_is_flat_over_a_flat_folder_that_is_all_new(roomy: Path) -> None:
    flat_folder(roomy / "from", FILES)
    answer = run(roomy, str(roomy / "from"), str(roomy / "to"), dry_run=True)
    assert answer["files"]["pending"] == FILES
    assert_bounded(answer["samples"])


@pytest.mark.full
def test_producer_and_workers_are_flat_over_a_flat_folder_that_is_really_sent(roomy: Path) -> None:
    """Every file travels: batches go out, receipts come in, the checkpoint moves on."""
    flat_folder(roomy / "from", SENT)
    for n, name in enumerate(os.listdir(roomy / "from")):
        if n % 10 == 0:
            (roomy / "from" / name).write_bytes(b"a tiny file")
    answer = run(roomy, str(roomy / "from"), str(roomy / "to"), dry_run=False)
    assert answer["files"]["done"] == SENT == len(os.listdir(roomy / "to"))
    assert_bounded(answer["samples"], WINDOW_FULL)
    assert len(answer["workers"]) >= 2, "the worker's main process and a child at least"
    assert max(answer["workers"]) <= Options().memory


def test_the_producer_is_flat_over_listings_in_path_segment_order(roomy: Path) -> None:
    answer = run(roomy, "s3://one", "s3://two", dry_run=True, keys=FILES)
    assert answer["files"]["skipped"] == answer["files"]["found"] == FILES
    assert_bounded(answer["samples"])


@pytest.mark.parametrize("chunks", [[], [b""], [b"a"], [b"a", b"bc"], [b"a", b"b", b"c" * 5000]])
def test_a_body_is_the_chunks_of_its_reader_in_order(chunks: list[bytes]) -> None:
    assert whole(iter(chunks)) == b"".join(chunks)  # type: ignore[arg-type]


@pytest.mark.full
def test_each_worker_process_stays_under_its_memory_with_large_files_and_many_small_ones(
    tmp_path: Path, s3_bucket: Bucket
) -> None:
    """Small files of 1 MiB, so many at once that their bytes together would pass the bound; and parts of 16 MiB."""
    memory = 256 * MIB
    tree = tmp_path / "tree"
    tree.mkdir()
    for i in range(scaled(2000, 150)):
        (tree / f"small {i}").write_bytes(os.urandom(MIB) if i % 2 else b"x" * (7 * MIB))
    for i in range(scaled(20, 3)):
        (tree / f"large {i}").write_bytes(os.urandom(MIB) * 80)
    submit = Submit(tmp_path / "us", s3_bucket.env)
    there, back = f"s3://{s3_bucket.bucket}/tree", tmp_path / "back"
    for source, dest in ((tree, there), (there, back)):
        highest = peak_of_children(submit, str(source), str(dest), "--memory", "256MiB")
        assert highest, "no worker was seen"
        assert max(highest.values()) <= memory, {pid: rss // MIB for pid, rss in highest.items()}
    assert sorted(p.name for p in back.iterdir()) == sorted(p.name for p in tree.iterdir())
    assert factor() < 1 or len(highest) >= 2


@pytest.mark.full
def test_each_worker_process_stays_under_its_memory_with_parts_of_64_mib(tmp_path: Path, s3_bucket: Bucket) -> None:
    """The least memory that such parts are accepted with, and four of them at once, each in a process of its own."""
    part, memory = 64 * MIB, 256 * MIB
    (tmp_path / "tree").mkdir()
    with open(tmp_path / "tree" / "large", "wb") as out:
        for _ in range(max(4, scaled(32)) * part // MIB):
            out.write(os.urandom(1024) * 1024)
    submit = Submit(tmp_path / "us", {**s3_bucket.env, "HUGESYNC_PART_SIZE": "64MiB"})
    there, back = f"s3://{s3_bucket.bucket}/tree", tmp_path / "back"
    for source, dest in ((tmp_path / "tree", there), (there, back)):
        highest = peak_of_children(submit, str(source), str(dest), "-j", "4", "--memory", "256MiB")
        assert max(highest.values()) <= memory, {pid: rss // MIB for pid, rss in highest.items()}
        idle = min(highest.values())  # the main process holds no part
        assert sum(rss > idle + part // 2 for rss in highest.values()) >= 2, "not several parts at once"
    assert filecmp.cmp(tmp_path / "tree" / "large", back / "large", shallow=False)


@pytest.mark.full
def test_a_worker_that_looks_for_what_changed_stays_under_its_memory_or_does_not_begin_to(
    tmp_path: Path, s3_bucket: Bucket
) -> None:
    """Sliding loads a compiler, which takes more than the least ``--memory`` has."""
    submit, low = Submit(tmp_path / "us", s3_bucket.env), ("--delta-threshold", "6MiB")
    here, back, there = tmp_path / "here", tmp_path / "back", f"s3://{s3_bucket.bucket}/tree"
    write(here / "large", 40 * MIB)
    assert submit(here, there, *low).code == submit(there, back, *low).code == 0
    inserted(here / "large", 3 * MIB, 1000)
    foreseen = submit(here, there, *low, "--memory", "128MiB", "-n", json=False)
    assert "would be sent whole: --memory leaves no room to look for what changed" in foreseen.out
    for source, dest, memory, slides in ((here, there, 128, False), (there, back, 320, True)):
        highest = peak_of_children(submit, str(source), str(dest), *low, "--memory", f"{memory}MiB")
        assert max(highest.values()) <= memory * MIB, {pid: rss // MIB for pid, rss in highest.items()}
        assert (max(highest.values()) > 160 * MIB) is slides
        assert max(highest.values()) <= 250_000_000, "what the issue gives to a worker that slides"
    assert filecmp.cmp(here / "large", back / "large", shallow=False)


def peak_of_children(submit: Submit, *arguments: str, look: Callable[[], object] = lambda: None) -> dict[int, int]:
    """Run to the end; pid → the highest RSS seen of each worker process. ``look`` is called as often as they are."""
    process = submit.start(*arguments, "--quiet")
    highest: dict[int, int] = {}
    while process.poll() is None:
        for child in workers_of(psutil.Process(process.pid)):
            try:
                highest[child.pid] = max(highest.get(child.pid, 0), child.memory_info().rss)
            except psutil.Error:
                continue
        look()
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()
    return highest
