"""The buffers where they are used: parts in memory that is lent, the same results without, and a worker under its budget."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import servers
from conftest import Bucket
from hugesync_tasks.budget import Budget, Holds
from hugesync_tasks.buffers.classes import MIB, Sizes
from hugesync_tasks.buffers.pool import Pool
from hugesync_tasks.buffers.table import Table
from hugesync_tasks.errors import SourceChanged
from hugesync_tasks.model import Meta, Transfer
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.stages.begin import begin
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.execute import BatchRun
from hugesync_tasks.stages.parts import send_part
from hugesync_tasks.stores.base import Store
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.named import NamedStore
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.token import Token
from processes import Place, wait_until
from scale import scaled

PART = 8 * MIB
HOLES = os.urandom(3 * MIB) + bytes(2 * MIB) + os.urandom(17) + bytes(PART) + os.urandom(5 * MIB)


@pytest.fixture
def pool() -> Iterator[Pool]:
    table = Table(64 * MIB)
    made = Pool(64 * MIB, table, Sizes())
    yield made
    made.close()
    table.close()


def stacked(store: Store) -> Store:
    return NamedStore(RetryingStore(store, 3, sleep=lambda _: None), "source", "here")


def between(source: Store, dest: Store) -> JobContext:
    spec = Spec("j", Location("s3", bucket="a"), Location("s3", bucket="b"), options=Options(part_size=PART))
    return JobContext(spec, stacked(source), stacked(dest))


def send(source: Store, dest: Store, holds: Holds) -> tuple[list[Any], bytes]:
    """The file "big", its parts in what ``holds`` lends: the receipts, hashes among them, and what arrived."""
    job, token = between(source, dest), Token()
    entry = next(e for e in source.list(token) if e.key == "big")
    large, _ = begin(job, Transfer(entry, "big", None), token)
    receipts = []
    for n in range(1, int(large.fields()["total"]) + 1):
        with holds.hold(PART, token, memory=True) as room:
            # of the last part there is less than is lent
            size = min(PART, entry.size - (n - 1) * PART)
            receipts.append(send_part(job, large, n, None, token, MIB, None if room is None else room[:size]))
    dest.complete(large.upload, [part for part, _ in receipts], large.meta, None, None, token)
    with dest.open("big", "", token) as reader:
        return receipts, b"".join(reader)


@pytest.mark.parametrize("ends", ["local to store", "store to local", "store to store"])
def test_parts_in_memory_that_is_lent_arrive_as_those_without_a_pool(ends: str, pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "big").write_bytes(HOLES)
    stored = MemoryStore()
    stored.put("big", HOLES, Meta(mtime_ns=10**18), None, Token())
    source: Store = LocalStore(tmp_path / "from") if ends.startswith("local") else stored
    found = []
    for n, holds in enumerate((pool, Budget(64 * MIB))):
        folder = tmp_path / f"to {n}"
        folder.mkdir()
        found.append(send(source, LocalStore(folder) if ends.endswith("local") else MemoryStore(), holds))
    assert found[0] == found[1]
    assert found[0][1] == HOLES
    assert pool.stats()["hits"] == 2, "the memory of the first part was lent again"


def test_a_source_that_gives_less_than_a_part_leaves_nothing_of_the_last_part_in_it(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(HOLES)
    store, dest, token = LocalStore(tmp_path), MemoryStore(), Token()
    job = between(store, dest)
    entry = next(iter(store.list(token)))
    large, _ = begin(job, Transfer(entry, "big", None), token)
    os.truncate(tmp_path / "big", PART + 5)
    with pool.hold(PART, token, memory=True) as room, pytest.raises(SourceChanged):
        send_part(job, large, 2, None, token, 0, room)
    assert dest.list_parts(large.upload, token) == []


def test_a_file_of_a_batch_that_never_fits_fails_alone() -> None:
    table, source, dest, found = Table(64 * MIB), MemoryStore(), MemoryStore(), {}
    pool = Pool(MIB, table, Sizes())
    for key, size in (("a", 10), ("b", 2 * MIB), ("c", 10)):
        source.put(key, bytes(size), Meta(mtime_ns=10**18), None, Token())
    transfers = {n: Transfer(e, e.key, None) for n, e in enumerate(source.list(Token()))}
    BatchRun(between(source, dest), Token(), found.update, pool).run(transfers)
    assert [found[n].state for n in range(3)] == ["done", "failed", "done"]
    assert "--memory" in found[1].message
    assert pool.stats()["gets"] == 3
    pool.close()
    table.close()


# --- a worker ----------------------------------------------------------------------------------------


@pytest.fixture
def broker() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="hsf")
    server = servers.start_valkey(folder)
    yield server.url
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_worker_keeps_to_its_budget_and_logs_what_its_buffers_did(
    tmp_path: Path, broker: str, s3_bucket: Bucket
) -> None:
    """Parts and batches there and back, with a budget of a few parts for all its children; RSS of all processes together."""
    place, size = Place(tmp_path / "place", s3_bucket.env), scaled(1024, 64)
    (tmp_path / "tree").mkdir()
    with open(tmp_path / "tree" / "large", "wb") as out:
        for _ in range(size):
            out.write(os.urandom(1 << 10) * 1024)
    for n in range(50):
        (tmp_path / "tree" / f"small {n}").write_bytes(os.urandom(100_000))
    arguments = ["--root", f"data={tmp_path}", "-c", "2", "--buffer-budget", "32MiB"]
    worker = place.worker(broker, *arguments, HUGESYNC_BUFFERS_LOG_INTERVAL="200ms")
    try:
        wait_until(lambda: len(worker.children()) == 2, what="its children")
        there, back = f"s3://{s3_bucket.bucket}/tree", tmp_path / "back"
        highest = 0
        for source, dest in ((tmp_path / "tree", there), (there, back)):
            running = place.submit("--broker", broker, source, dest)
            while running.process.poll() is None:
                highest = max(highest, resident(worker.pid))
                with suppress(subprocess.TimeoutExpired):
                    running.process.wait(0.02)
            ended = running.finish()
            assert ended.code == 0, ended.err
        assert (back / "large").read_bytes() == (tmp_path / "tree" / "large").read_bytes()
        assert highest <= 32 * MIB + 3 * 150 * 10**6, highest
        print(f"RSS of the worker, three processes: {highest >> 20} MiB")
        line = re.compile(
            r"buffers: \S+ in use and \S+ kept of 32MiB, at most (\d+)MiB; (\d+) gets, \d+ puts, (\d+) hits"
        )
        leases = 2 * (size // 16 + 50)
        most, _, hits = wait_until(lambda: [m for m in line.findall(worker.said()) if int(m[1]) >= leases])[-1]
        assert 16 <= int(most) <= 32, worker.said()
        assert int(hits) > 0
    finally:
        place.end()


def resident(main: int) -> int:
    """Bytes of a worker's process and its children."""
    total = 0
    for process in (psutil.Process(main), *psutil.Process(main).children()):
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total
