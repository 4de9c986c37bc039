"""``--map``: a source's entries under the names that a file or a database gives them, whatever is wrong with those, and that
nothing is written where the names come from."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import compare
from chaos import KINDS
from conftest import Bucket
from hugesync_producer.failedfirst import failed_first
from hugesync_producer.jobfolder import JobFolder
from hugesync_producer.jobmap import JobMap
from hugesync_producer.manifest import manifest
from hugesync_producer.manifest_ends import Request
from hugesync_producer.mapped import SAME_NAME, MappedStore
from hugesync_producer.mapping import Map, Row, kept, ready
from hugesync_producer.maprows import rows_of
from hugesync_producer.namelist_read import read_list
from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.sync import sync
from hugesync_producer.window import Counters, OpenSegment, Window
from hugesync_tasks.config import load
from hugesync_tasks.errors import NoSpace, UsageError
from hugesync_tasks.model import Entry, Kind, Meta, Outcome
from hugesync_tasks.spec import Location, Options, Selection, Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import ANY, Store
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Meter, Token
from scale import mostly_full, scaled
from simulated import one_core
from simulation import Simulation
from submit import Submit
from world import LIMITS, PART

T = 10**18


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))


def put(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    os.utime(path, ns=(0, T))


def database(path: Path, rows: list[tuple[Any, Any]]) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE files (stored, logical)")
        db.executemany("INSERT INTO files VALUES (?, ?)", rows)
        db.commit()
    return path


SELECT = "SELECT stored, logical FROM files"
ROWS = [("ab/1", "2019/Aunt Mary/photo.jpg"), ("cd/2", 'ünï\ncode, "quoted"'), ("ef/3", "plain")]


def prepare(path: str, query: str, remote: bool) -> Map:
    return ready(rows_of(path, query), path, remote)


def written(path: Path, form: str, rows: list[tuple[str, str]]) -> tuple[str, str]:
    """A map of ``rows`` in each form; and its query."""
    if form == "sqlite":
        return str(database(path, rows)), SELECT
    if form == "jsonl":
        lines = [json.dumps({"stored": s, "logical": name, "more": 1}) + "\n\n" for s, name in rows]
        path.write_text("".join(lines))
    else:
        quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in (name, "x", s)) + "\r\n" for s, name in rows]
        path.write_bytes("\ufeffLogical,note, stored\r\n".encode() + "".join(quoted).encode())
    return str(path), ""


# --- the rows -----------------------------------------------------------------------------------------------------------


def test_a_map_is_the_same_in_whatever_form_and_order_it_comes(tmp_path: Path) -> None:
    digests = set()
    for form in ("csv", "jsonl", "sqlite"):
        for number, rows in enumerate((ROWS, ROWS[::-1], [*ROWS, ROWS[0]])):
            path, query = written(tmp_path / f"{form}{number}", form, rows)
            assert list(rows_of(path, query)) == [(s.encode(), name.encode()) for s, name in rows]
            found = prepare(path, query, remote=False)
            digests.add(found.digest)
            assert list(found.read()) == list(found.read()) == [Row(*row) for row in ROWS]
            assert found.rows == 3
    assert len(digests) == 1
    other = prepare(*written(tmp_path / "other", "csv", ROWS[1:]), remote=False)
    assert other.digest not in digests


def test_nothing_is_written_to_a_database_or_beside_it_even_where_it_could_be(tmp_path: Path) -> None:
    path = database(tmp_path / os.fsdecode(b"names?#%20\xff.db"), ROWS)  # type: ignore[arg-type]
    before = compare.tree(tmp_path), path.read_bytes(), os.stat(path)
    assert prepare(str(path), SELECT, remote=False).rows == 3
    for query in (
        "INSERT INTO files VALUES (1, 2)",
        "DELETE FROM files",
        "CREATE TABLE more (x)",
        f"ATTACH '{tmp_path / 'new.db'}' AS new",
        "PRAGMA journal_mode = WAL",
        "BEGIN IMMEDIATE",
        f"{SELECT}; DELETE FROM files",
        "VACUUM",
    ):
        with pytest.raises(UsageError, match=r"--map-query"):
            prepare(str(path), query, remote=False)
    after = os.stat(path)
    assert (compare.tree(tmp_path), path.read_bytes()) == before[:2]
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before[2].st_mtime_ns, before[2].st_ctime_ns)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [path.name]


def test_a_database_whose_last_changes_lie_beside_it_is_refused_not_read_without_them(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE files (stored, logical)")
    writer.execute("INSERT INTO files VALUES ('a', 'b')")
    writer.commit()
    with pytest.raises(UsageError, match=r"live\.db-wal lies beside"):
        prepare(str(path), SELECT, remote=False)
    writer.close()  # which takes it in
    assert prepare(str(path), SELECT, remote=False).rows == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no header line"),
        (b"a,b\nx,y\n", "no header line with the columns stored and logical"),
        (b"stored,stored,logical\na,b,c\n", "no header line"),
        (b"stored,logical\n", "has no rows"),
        (b"stored,logical\na,b\nc\n", "line 3: 1 columns, where the header has 2"),
        (b"stored,logical\na,\n", "line 2: it has no logical name"),
        (b'stored,logical\n"a"b,c\n', "line 2: "),
        (b'{"stored": "a", "logical": "b"}\n{"stored": "a"}\n', "line 2: it is no object like"),
        (b'{"stored": "a", "logical": "b"}\n[1]\n', "line 2: it is no object like"),
        (b'{"stored": "a", "logical": "b"}\n{"stored": "a", "log', "line 2: it is no object like"),
        (b'{"stored": null, "logical": "b"}\n', "line 1: its stored name is no text"),
        (b'{"stored": "\\ud800", "logical": "b"}\n', "line 1: its stored name is not valid Unicode"),
    ],
)  # fmt: skip
def test_what_is_no_map_is_refused_by_the_row_before_anything_starts(tmp_path: Path, content: bytes, why: str) -> None:
    put(tmp_path / "src" / "a", b"x")
    (tmp_path / "map").write_bytes(content)
    with pytest.raises(UsageError) as refused:
        sync(str(tmp_path / "src"), str(tmp_path / "dst"), settings=load({}), map_file=(str(tmp_path / "map"), ""))
    assert why in str(refused.value)
    assert not (tmp_path / "dst").exists()


def test_a_query_that_gives_no_names_is_refused(tmp_path: Path) -> None:
    path = str(database(tmp_path / "db", [("a", None)]))
    for query, why in (
        (SELECT, "row 1: its logical name is no text"),
        ("SELECT stored FROM files", "two columns"),
        ("SELECT one, two FROM files", "no such column"),
        ("SELECT 1, 2 WHERE 0", "no rows"),
        ("", "SQLite file: say what of it with --map-query"),
    ):
        with pytest.raises(UsageError, match=why):
            prepare(path, query, remote=False)
    assert list(prepare(path, "SELECT 17, x'66fc'", remote=False).read()) == [Row("17", "f‛FC")]
    (tmp_path / "csv").write_text("stored,logical\na,b\n")
    with pytest.raises(UsageError, match=r"--map-query is of an SQLite file"):
        prepare(str(tmp_path / "csv"), SELECT, remote=False)
    with pytest.raises(UsageError, match="cannot read the map"):
        prepare(str(tmp_path / "none"), "", remote=False)


def test_names_that_no_destination_may_have_and_stored_names_given_twice_are_told_by_row(tmp_path: Path) -> None:
    bad = [
        "../up",
        "a/../b",
        "/abs",
        "a//b",
        "a/./b",
        "folder/",
        ".hugesync/x",
        "a/.hugesync-1/b",
        "x.rclonelink",
        "n\0l",
    ]
    rows = [(f"{n:02}", name) for n, name in enumerate(bad)]
    rows += [("twice", "one"), ("twice", "two"), ("twice", "three"), ("fine", "fine"), ("fine", "fine")]
    found = {row.logical: row.why for row in prepare(*written(tmp_path / "m", "jsonl", rows), remote=False).read()}
    assert {name for name, why in found.items() if why} == {*bad, "one", "two", "three"}
    assert all(found[name].startswith(("the map: bad name", "the map: reserved name")) for name in bad)
    assert found["two"] == "the map: more than one name is given to twice"


def test_a_disk_without_room_for_the_rows_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "r+b", buffering=0)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: full)
    with pytest.raises(NoSpace, match=r"no space for the map in .*TMPDIR"):
        prepare(*written(tmp_path / "m", "csv", ROWS), remote=False)


def test_names_that_are_no_utf8_are_those_on_disk_and_a_stores_keys_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"stored,logical\nf\xfc,g\xfc\n\xe2\x80\x9bFC,x\n")
    assert list(prepare(str(tmp_path / "m"), "", remote=False).read()) == [Row("f‛FC", "g‛FC"), Row("‛‛FC", "x")]
    assert list(prepare(str(tmp_path / "m"), "", remote=True).read()) == [Row("f‛FC", "g‛FC"), Row("‛FC", "x")]


# --- the listing --------------------------------------------------------------------------------------------------------


def mapped(store: Store, tmp_path: Path, rows: list[tuple[str, str]]) -> MappedStore:
    names = prepare(*written(tmp_path / f"m{random.random()}", "jsonl", rows), remote=True)
    return MappedStore(store, lambda: names)


class Listing(Wrapper):
    """Of these entries."""

    def __init__(self, entries: list[Entry]) -> None:
        super().__init__(MemoryStore(MemoryBucket(LIMITS)))
        self.entries = sorted(entries, key=lambda e: e.key)

    def list(self, *_: Any) -> Iterator[Entry]:  # type: ignore[override]
        yield from self.entries


def test_each_row_is_one_entry_under_its_logical_name_in_order(tmp_path: Path) -> None:
    store = Listing([
        Entry("a/", Kind.DIR), Entry("a/1", Kind.FILE, 5, version="v1"), Entry("a/2", Kind.FILE), Entry("a/3", Kind.FILE),
        Entry("a/3x", Kind.FILE), Entry("ln.rclonelink", Kind.LINK, 3), Entry("ln!", Kind.FILE, 1),
        Entry("fifo", Kind.SPECIAL, note="fifo"), Entry("dark/", Kind.ERROR, note="permission denied"),
        Entry("bad", Kind.ERROR, note="permission denied"), Entry("no name", Kind.FILE),
    ])  # fmt: skip
    rows = [
        ("a/1", "z/one"), ("a/2", "same"), ("a/3", "same"), ("gone", "b/gone"), ("ln", "y/link"), ("ln!", "y/link!"),
        ("fifo", "pipe"), ("dark/in it", "was dark"), ("bad", "unreadable"), ("a/3x", "../up"),
    ]  # fmt: skip
    source = mapped(store, tmp_path, rows)
    found = {e.key: e for e in source.list(Token())}
    assert list(found) == sorted(found)
    assert found["z/one"] == Entry("z/one", Kind.FILE, 5, version="v1", stored="a/1")
    assert found["same"] == Entry("same", Kind.ERROR, note=SAME_NAME)
    assert found["b/gone"] == Entry("b/gone", Kind.MISSING, stored="gone")
    assert found["y/link.rclonelink"] == Entry("y/link.rclonelink", Kind.LINK, 3, stored="ln.rclonelink")
    assert found["y/link!"].stored == "ln!"
    assert found["pipe"].kind is Kind.SPECIAL
    assert found["was dark"] == Entry("was dark", Kind.ERROR, note="dark/: permission denied")
    assert found["unreadable"].note == "permission denied"
    assert found["../up"].kind is Kind.ERROR
    assert len(found) == 9
    assert source.unnamed == 1, "no name"
    assert source.stored(["z/one", "y/link.rclonelink", "nobody", "../up"]) == {
        "z/one": "a/1", "y/link.rclonelink": "ln.rclonelink",
    }  # fmt: skip


def test_any_tree_and_any_map_give_what_a_dictionary_gives(tmp_path: Path) -> None:
    for seed in range(scaled(400, 40)):
        rng = random.Random(seed)
        names = [f"{rng.choice('ab')}{rng.choice(['', '/', '!'])}{n}" for n in range(30)]
        there = rng.sample(names, 20)
        stored = rng.sample(names, rng.randint(1, 25))
        rows = [(s, rng.choice([f"{rng.choice('xy')}/{rng.randint(0, 30)}", f"{s}.jpg"])) for s in stored]
        store = Listing([Entry(key, Kind.FILE, len(key)) for key in there])
        source = mapped(store, tmp_path, rows)
        logical = [name for _, name in rows]
        expected = {}
        for s, name in rows:
            if logical.count(name) > 1:
                expected[name] = ("e", "")
            else:
                expected[name] = ("f" if s in there else "m", s)
        full = list(source.list(Token()))
        assert {e.key: (e.kind, e.stored) for e in full} == expected, seed
        assert source.unnamed == len(set(there) - set(stored)), seed
        at = rng.choice([e.key for e in full])
        assert list(source.list(Token(), at)) == [e for e in full if e.key > at], seed
        inside = [e for e in full if not e.key.startswith("x/")]
        assert list(source.list(Token(), "", lambda folder: folder != "x/")) == inside, seed


@pytest.mark.full
def test_a_million_names_are_put_in_order_in_bounded_memory(tmp_path: Path) -> None:
    import resource

    count = 1_000_000
    with open(tmp_path / "m.csv", "w") as out:
        out.write("stored,logical\n")
        out.writelines(f"{n % 256:02x}/{n:08},{(n * 7919) % count:07}/photo.jpg\n" for n in range(count))

    class Many(Listing):
        def list(self, *_: Any) -> Iterator[Entry]:  # type: ignore[override]
            for first in range(256):
                for n in range(first, count, 256):
                    yield Entry(f"{first:02x}/{n:08}", Kind.FILE, 1, version="v")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    names = prepare(str(tmp_path / "m.csv"), "", remote=False)
    last, seen = "", 0
    for entry in MappedStore(Many([]), lambda: names).list(Token()):
        assert entry.key > last
        last, seen = entry.key, seen + 1
    assert seen == count
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10, (
        "KiB; a million entries alone are more"
    )


# --- whole jobs ---------------------------------------------------------------------------------------------------------


@dataclass
class Mapped(Simulation):
    """The simulation's source under other names: some rows lack their entry, some entries their row."""

    def build(self, same_bucket: bool) -> None:
        super().build(same_bucket)
        rng = random.Random(self.seed)
        keys = self.keys(self.source_bucket, "src/")
        named = rng.sample(keys, rng.randint(1, len(keys)))
        self.names = {key: f"{rng.choice(['', 'n/', 'n/m/'])}{n:02} of {key[-3:]}" for n, key in enumerate(named)}
        if len(named) > 3:
            self.names[named[0]] = named[1]  # a name that another entry has there, and perhaps at the destination
        self.gone = {f"gone/{n}": f"n/gone {n}" for n in range(rng.randint(0, 3))}
        rows = [Row(*row) for row in sorted((self.names | self.gone).items())]
        self.map = Map("digest", len(rows))
        self.rows = rows
        self.spec = replace(self.spec, map_digest="digest")

    def stack(self, store: MemoryStore, faults: bool) -> Store:
        stacked = super().stack(store, faults)
        if store is not self.source or faults:
            return stacked
        rows = self.rows

        class Rows:
            def read(self) -> Iterator[Row]:
                yield from rows

        return MappedStore(stacked, lambda: Rows())  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("kind", mostly_full(["all", "calm", "crashing", "deadly", "flaky", "flushed", "failover"], 3))
def test_whatever_dies_each_file_ends_under_its_logical_name_and_nothing_else_does(kind: str, tmp_path: Path) -> None:
    for seed in range(scaled(60, 8)):
        chaos = replace(KINDS[kind], rival=0.0, edit=0.0)
        folder = JobFolder(tmp_path / str(seed), "sim") if seed % 2 else None
        if folder is not None:
            folder.open()
        sim = Mapped(seed, chaos, folder, same_bucket=seed % 4 == 3)
        before = {k: sim.dest_bucket.get("dst/" + k).body for k in sim.keys(sim.dest_bucket, "dst/")}
        with pytest.MonkeyPatch.context() as monkeypatch, one_core():
            try:
                summary = sim.play(monkeypatch)
            except BaseException as error:
                raise AssertionError(f"{kind}, seed {seed}\n" + "\n".join(sim.story[-60:])) from error
            finally:
                sim.end()
        failed = {f.path for f in summary.failures}
        assert kind in ("flaky", "all") or not failed, (seed, summary.failures)
        assert summary.files["found"] == len(sim.names), seed
        assert summary.files["missing"] == len(sim.gone), seed
        unnamed = sim.found - len(sim.names)
        assert any(f"{unnamed} entr" in note for note in summary.notes) is (unnamed > 0), (seed, summary.notes)
        assert set(summary.missing) == set(sim.gone.values()), seed
        for stored, logical in sim.names.items():
            if logical not in failed:
                there = sim.dest_bucket.get("dst/" + logical).body
                assert there == sim.source_bucket.get("src/" + stored).body, (seed, logical)
        for key in sim.keys(sim.dest_bucket, "dst/"):
            if not key.startswith(".hugesync") and "/.hugesync" not in key and key not in sim.names.values():
                assert sim.dest_bucket.get("dst/" + key).body == before[key], (seed, key)


def test_a_store_of_hashed_names_is_copied_out_under_its_databases_names(tmp_path: Path) -> None:
    hs = Submit(tmp_path / "home", {"HUGESYNC_PART_SIZE": "5MiB"})
    bodies = {f"{n % 7:02x}/{n:06x}": os.urandom(n * 1000) for n in range(20)} | {
        "ff/large": os.urandom((11 << 20) + 7)
    }
    for stored, body in bodies.items():
        put(tmp_path / "src" / stored, body)
    put(tmp_path / "src" / "thumbs.db", b"nobody names it")
    logical = {stored: f"2019/Aunt Mary/{n:02} pictüre.jpg" for n, stored in enumerate(bodies)}
    rows = [*logical.items(), ("00/gone", "2020/gone.jpg"), ("thumbs", "../../etc/passwd")]
    path = database(tmp_path / "store.db", rows)  # type: ignore[arg-type]
    path.chmod(0o444)
    args = ("--map", str(path), "--map-query", SELECT, str(tmp_path / "src"), str(tmp_path / "dst"))

    ran = hs(*args)

    assert ran.code == 1
    assert {n: ran.files[n] for n in ("found", "done", "failed", "missing")} == {
        "found": 22, "done": 21, "failed": 1, "missing": 1,
    }  # fmt: skip
    assert ran.failures == {"../../etc/passwd": "the map: bad name: it has a segment . or .."}
    for stored, name in logical.items():
        there = tmp_path / "dst" / name
        assert there.read_bytes() == bodies[stored], name
        assert there.stat().st_mtime_ns == T
    assert sorted(p.name for p in (tmp_path / "dst").rglob("*") if p.is_file()) == sorted(
        Path(name).name for name in logical.values()
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dst", "home", "src", "store.db"]
    again = hs(*args, json=False)
    assert again.code == 1
    assert "skipped 21 (same 21)" in again.out
    assert "1 entry of the source not named by the map" in again.out
    assert "  2020/gone.jpg" in again.out
    jobs = [p.name for p in (tmp_path / "home" / "state" / "hugesync" / "jobs").glob("*/*")]
    assert jobs == ["job.json"], "the rows go with the job"


def test_from_store_to_store_objects_are_copied_by_the_store_under_their_new_names(
    tmp_path: Path, s3_bucket: Bucket
) -> None:
    for key, body in (("p/ab/1", b"one"), ("p/cd/2", b"two"), ("p/ef/3", b"three")):
        s3_bucket.client.put_object(Bucket=s3_bucket.bucket, Key=key, Body=body)
    names = written(tmp_path / "m", "csv", [("ab/1", "x/y/1.txt"), ("cd/2", "x/2.txt"), ("no", "such")])
    hs = Submit(tmp_path / "home", s3_bucket.env)
    ran = hs("--map", names[0], f"s3://{s3_bucket.bucket}/p", f"s3://{s3_bucket.bucket}/q")
    assert (ran.code, ran.files["done"], ran.files["missing"]) == (0, 2, 1), ran.json
    assert ran.json["transfers"]["server_copy"] == 2
    there = s3_bucket.client.list_objects_v2(Bucket=s3_bucket.bucket, Prefix="q/")["Contents"]
    assert [o["Key"] for o in there] == ["q/x/2.txt", "q/x/y/1.txt"]
    assert s3_bucket.client.get_object(Bucket=s3_bucket.bucket, Key="q/x/2.txt")["Body"].read() == b"two"
    back = hs("--map", names[0], f"s3://{s3_bucket.bucket}/p", str(tmp_path / "back"), "-n")
    assert (back.code, back.files["pending"], back.files["missing"]) == (0, 2, 1)
    told = hs("--map", names[0], f"s3://{s3_bucket.bucket}/p", str(tmp_path / "back"), "-n", json=False).out
    assert "1 entry of the source not named by the map" in told


@pytest.mark.full
def test_a_job_that_was_killed_goes_on_without_the_map_it_was_given(tmp_path: Path) -> None:
    hs = Submit(tmp_path / "home")
    count = 150
    for n in range(count):
        put(tmp_path / "src" / f"{n:03}", b"%d" % n * 5_000)
    names, _ = written(tmp_path / "m", "csv", [(f"{n:03}", f"out/{count - n:03}.bin") for n in range(count)])
    process = hs.start("--map", names, "-j", "1", str(tmp_path / "src"), str(tmp_path / "dst"))
    try:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "dst").rglob("*.bin")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    (folder,) = (tmp_path / "home" / "state" / "hugesync" / "jobs").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    os.unlink(names)
    resume = replace(hs, program=RESUME)
    ran = resume(folder.name)
    assert ran.code == 0, ran.err
    assert ran.files["done"] + ran.files["skipped"] == count
    for n in range(count):
        assert (tmp_path / "dst" / "out" / f"{count - n:03}.bin").read_bytes() == b"%d" % n * 5_000


RESUME = "import sys; sys.argv[0:1] = ['hugesync', 'resume']; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"


def test_a_job_whose_map_is_on_another_host_is_refused_by_name(tmp_path: Path) -> None:
    here = Location("file", local="/src")
    names = prepare(*written(tmp_path / "m", "csv", ROWS), remote=False)
    spec = Spec("job", here, here, map_digest=names.digest)
    with pytest.raises(UsageError, match=r"the map of job job is not on this host \(.*/jobs/job/map\)"):
        JobMap(spec, tmp_path / "other", None)
    job = JobMap(spec, tmp_path / "state", names)
    job.keep()
    assert stat.S_IMODE((tmp_path / "state" / "jobs" / "job").stat().st_mode) == 0o700
    found = kept(tmp_path / "state" / "jobs" / "job", names.digest)
    assert found is not None
    assert list(found.read()) == list(names.read())
    JobMap(spec, tmp_path / "state", None)
    with open(tmp_path / "state" / "jobs" / "job" / "map", "ab") as file:
        file.write(b'["more", "x", ""]\n')
    with pytest.raises(UsageError, match="not on this host"):
        JobMap(spec, tmp_path / "state", None)
    job.forget()
    assert not (tmp_path / "state" / "jobs" / "job").exists()


def test_another_map_is_another_job_and_none_is_the_job_it_always_was(tmp_path: Path) -> None:
    put(tmp_path / "src" / "a", b"x")

    def job(rows: list[tuple[str, str]] | None) -> str:
        names = written(tmp_path / f"m{random.random()}", "csv", rows) if rows else None
        args = (str(tmp_path / "src"), str(tmp_path / "dst"))
        return sync(*args, settings=load({}), map_file=names, dry_run=True).job_id

    ids = [job(None), job([("a", "b")]), job([("a", "c")]), job([("a", "b"), ("a", "b")])]
    assert ids[1] == ids[3]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"options": Options(delete=True)}, "--delete and --map"),
        ({"options": Options(dir_metadata=True)}, "--dir-metadata and --map"),
        ({"detach": True}, "--detach and --map"),
        ({"list": True}, "--files-from and --map"),
        ({"single": True}, "SOURCE is a single file"),
    ],
)
def test_what_a_map_cannot_go_together_with_is_refused_by_name(tmp_path: Path, more: dict[str, Any], why: str) -> None:
    put(tmp_path / "src" / "a", b"x")
    names = written(tmp_path / "m", "csv", [("a", "b")])
    source = tmp_path / "src" / "a" if more.pop("single", False) else tmp_path / "src"
    (tmp_path / "list").write_text("a\n")
    with read_list(str(tmp_path / "list")) as listed, pytest.raises(UsageError, match=why):
        if more.pop("list", False):
            more["files_from"] = listed
        sync(str(source), str(tmp_path / "dst"), settings=load({}), map_file=names, **more)


def test_a_resumed_job_finds_what_had_failed_under_its_stored_name_and_no_folder_of_the_source(tmp_path: Path) -> None:
    put(tmp_path / "src" / "ab" / "1", b"now it can be read")
    put(tmp_path / "src" / "x" / "y", b"of a stored name that is another's logical one")
    names = ready(iter([(b"ab/1", b"x/y"), (b"x/y", b"z")]), "m", remote=False)
    source = MappedStore(LocalStore(str(tmp_path / "src")), lambda: names)
    spec = Spec("j", Location("file"), Location("file"), map_digest=names.digest)
    job = JobContext(spec, source, LocalStore(str(tmp_path / "dst")))
    counters = Counters()
    for key in ("x/y", "renamed since"):
        counters.found("pending", 3)
        counters.settle(key, 3, Outcome("failed", "needs_person", "permission denied"))
    planned: list[Any] = []

    class Units:
        def add(self, segment: Any) -> OpenSegment:
            planned.extend(segment.batches)
            return OpenSegment("", Counters())

    window = Window("x/y", counters)
    failed_first(job, window, Units(), Meter(), lambda: None)  # type: ignore[arg-type]
    ((transfer,),) = planned
    assert (transfer.key, transfer.source.stored, transfer.source.size) == ("x/y", "ab/1", 18)
    assert PlanFeed(job, Meter(), "x/y")._open_folders() == [], "x/ of the source is no folder of the destination"


def test_a_manifest_tells_of_the_entries_under_their_logical_names(tmp_path: Path) -> None:
    for name in ("ab/1", "cd/2", "ef/3", "unnamed"):
        put(tmp_path / "src" / name, name.encode())
    put(tmp_path / "dst" / "x" / "one", b"ab/1")
    put(tmp_path / "dst" / "more", b"")
    rows = [("ab/1", "x/one"), ("cd/2", "x/two"), ("gone", "x/gone"), ("gone too", "y/gone"), ("ef/3", "../three")]
    names = written(tmp_path / "m", "sqlite", rows)
    selection = Selection(filters=(("-", "y/"),))
    for dest, states in (
        (str(tmp_path / "dst"), {"../three": "unknown", "more": "extra", "x/gone": "gone", "x/one": "done", "x/two": "missing"}),
        ("", {"../three": "unknown", "x/gone": "gone", "x/one": "listed", "x/two": "listed"}),
    ):  # fmt: skip
        request = Request(str(tmp_path / "src"), dest, checksum=True, names=names, selection=selection)
        told = manifest(request, tmp_path / "out", settings=load({}))
        lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()][1:-1]
        found = {line["path"]: line["state"] for line in lines}
        assert found == states
        stored = {line["path"]: line.get("stored") for line in lines}
        assert (stored["x/one"], stored["x/two"], stored["x/gone"]) == ("ab/1", "cd/2", "gone")
        assert all("digest" in line for line in lines if line["state"] in ("done", "missing", "listed"))
        assert (told.unnamed, told.summary.files["missing"], told.summary.files["failed"]) == (1, 1, 1)
    with pytest.raises(UsageError, match="this manifest was made with --map"), read_list(str(tmp_path / "out")):
        pass
    single = Request(str(tmp_path / "src" / "unnamed"), names=names)
    with pytest.raises(UsageError, match="SOURCE is a single file"):
        manifest(single, tmp_path / "out", settings=load({}))


def test_of_a_store_nothing_but_what_the_map_names_is_read(tmp_path: Path) -> None:
    bucket = MemoryBucket(LIMITS)
    MemoryStore(bucket, "p/").put("x", b"1", Meta(), ANY, Token())
    source = mapped(MemoryStore(bucket, "p/"), tmp_path, [("x", "logical"), ("y", "other")])
    (found, missing) = source.list(Token())
    with source.open(found.stored, found.version, Token()) as reader:
        assert b"".join(reader) == b"1"
    assert (found.key, missing.kind) == ("logical", Kind.MISSING)
    assert source.head("logical", Token()) is None, "every other call is made with stored names"
    assert PART
