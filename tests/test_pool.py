"""Which workers a job counts on, and what it asks of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hugesync_producer.pool import Pool, Stalled
from hugesync_tasks.logs import configure
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.register import Register
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.state.memory import MemoryLedger


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def job_from(folder: Path) -> Spec:
    source = Location("file", root="data", path=folder.name, local=str(folder))
    return Spec("job", source, Location("s3", bucket="b"), options=Options())


def planned(path: Path) -> Entry:
    st = path.stat()
    return Entry(path.name, Kind.FILE, st.st_size, st.st_mtime_ns)


def test_a_worker_serves_a_source_root_only_where_it_finds_what_the_producer_saw(tmp_path: Path) -> None:
    tree, other = tmp_path / "ours" / "tree", tmp_path / "other" / "tree"
    for folder, body in ((tree, b"this"), (other, b"that tree")):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(body)
    ledger = MemoryLedger()
    Pool(ledger, job_from(tree), embedded=False).probe(planned(tree / "file"))
    ours = Register(ledger, "a", 1, {"data": str(tree.parent)}, embedded=False)
    theirs = Register(ledger, "b", 1, {"data": str(other.parent)}, embedded=False)
    assert "hs.data" in ours.tick()[0]
    assert "hs.data" not in theirs.tick()[0]


def test_a_file_that_changed_after_the_listing_does_not_keep_the_workers_away(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "log").write_bytes(b"one line")
    clock, ledger = Clock(), MemoryLedger()
    pool = Pool(ledger, job_from(tree), embedded=False, clock=clock)
    pool.probe(planned(tree / "log"))
    (tree / "log").write_bytes(b"one line and another")
    os.utime(tree / "log", ns=(5, 5))
    worker = Register(ledger, "a", 1, {"data": str(tmp_path)}, embedded=False)
    assert "hs.data" not in worker.tick()[0]
    pool.look(True, 0)
    assert "hs.data" in worker.tick()[0]


def test_an_embedded_worker_has_nothing_to_prove(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x")
    ledger = MemoryLedger()
    Pool(ledger, job_from(tree), embedded=True).probe(planned(tree / "file"))
    (needs,) = [json.loads(v) for v in ledger.announced().values()]
    assert needs["roots"][0]["probe"] is None


def test_no_consumer_within_fifteen_seconds_is_a_stall_that_names_root_and_workers(tmp_path: Path) -> None:
    clock, ledger = Clock(), MemoryLedger()
    pool = Pool(ledger, job_from(tmp_path), embedded=False, clock=clock)
    pool.probe(None)
    pool.look(True, 0)
    clock.now += 15.1
    with pytest.raises(Stalled, match=r"no worker serves root data .*workers: none"):
        pool.look(True, 0)


def test_the_window_follows_the_workers_slots_and_a_change_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    ledger = MemoryLedger()
    pool = Pool(ledger, job_from(tmp_path), embedded=False)
    pool.probe(planned(tmp_path / "file"))
    configure("INFO", "json")
    try:
        pool.look(True, 0)
        assert pool.window == 64
        worker = Register(ledger, "a", 100, {"data": str(tmp_path.parent)}, embedded=False)
        worker.tick()
        worker.tick()  # what it serves is told with the next beat
        pool.look(True, 0)
        pool.look(True, 1)
    finally:
        configure()
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["workers"], told["slots"], told["window"]) == ("workers counted", 1, 100, 400)
    assert pool.window == 400
