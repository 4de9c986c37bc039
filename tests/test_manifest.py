"""``hugesync manifest``: how each entry stands, in a file that is whole or is not there, and that nothing is written elsewhere."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import random
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

import compare
from comparison import PLAIN, Sealed
from conftest import Bucket
from hugesync_producer import cli, cli_jobs, manifest_ends
from hugesync_producer import manifest as module
from hugesync_producer.ends import Ends
from hugesync_producer.manifest import Manifest, Told, manifest, write
from hugesync_producer.manifest_ends import Opened, Request, joined
from hugesync_producer.manifest_format import Line, Standing
from hugesync_producer.manifest_walk import AHEAD, Looks, looked_at
from hugesync_producer.namelist_read import read_list
from hugesync_producer.sync import sync
from hugesync_tasks.config import load
from hugesync_tasks.errors import AccessDenied, Permanent, Refused, Transient, UsageError
from hugesync_tasks.model import Entry, Kind, Meta
from hugesync_tasks.names import encode_name
from hugesync_tasks.spec import Location, Options, Rules, Selection, Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.faults import Fault, FaultyStore
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.summary import State, Summary, Unobserved
from hugesync_tasks.token import Token
from submit import Submit
from world import LIMITS

T = 10**18
MD5, CRC = replace(LIMITS, full_crc64=False), replace(LIMITS, etag_is_md5=False)


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))


def put(path: Path, body: bytes, at: int = T) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    os.utime(path, ns=(0, at))


def told(output: Path | bytes) -> dict[str, dict[str, Any]]:
    """Path -> entry, of a manifest that is whole: header first, trailer last, its counts those of the entries, keys in order."""
    raw = output if isinstance(output, bytes) else output.read_bytes()
    assert raw.endswith(b"\n")
    header, *entries, trailer = map(json.loads, raw.decode().removesuffix("\n").split("\n"))
    assert header["hugesync_manifest"] == 1
    assert set(header) == {"hugesync_manifest", "source", "dest", "created"}
    assert trailer["hugesync_manifest_end"] == 1
    assert trailer["entries"] == len(entries)
    for state in Standing:
        assert trailer[state] == sum(e["state"] == state for e in entries)
    keys = [e["path"] for e in entries]
    assert keys == sorted(set(keys))
    return {e["path"]: e for e in entries}


def states(output: Path | bytes) -> dict[str, str]:
    return {path: entry["state"] for path, entry in told(output).items()}


def made(tmp_path: Path, **request: Any) -> Manifest:
    return manifest(Request(str(tmp_path / "src"), **request), tmp_path / "out.jsonl", settings=load({}))


def test_between_folders_each_entry_is_told_with_its_kind_size_time_and_state(tmp_path: Path) -> None:
    source, dest = tmp_path / "src", tmp_path / "dst"
    for root in (source, dest):
        put(root / "a" / "same", b"same")
        put(root / "time", b"same", T if root == source else T + 1)
        put(root / "size", b"four" if root == source else b"three")
        (root / "link").symlink_to("a")
        os.utime(root / "link", ns=(0, T), follow_symlinks=False)
        put(root / "left.tmp", b"1" if root == source else b"22")
    put(source / "a" / "gone", b"gone")
    put(source / "before 1970", b"", -1_500_000_000)
    put(source / os.fsdecode(b"no utf8 \xff"), b"x")
    put(source / "line\nfeed", b"x")
    os.mkfifo(source / "fifo")
    put(source / "kinds", b"")
    put(dest / "kinds" / "in it", b"")
    put(dest / "more", b"more")
    (source / "empty").mkdir()
    before = compare.tree(source), compare.tree(dest)

    ran = made(tmp_path, dest=str(dest), selection=Selection((("-", "*.tmp"),)))

    assert (compare.tree(source), compare.tree(dest)) == before
    entries = told(tmp_path / "out.jsonl")
    assert {p: e["state"] for p, e in entries.items()} == {
        "a/": "done", "a/same": "done", "a/gone": "missing", "link.rclonelink": "done", "time": "differs",
        "size": "differs", "before 1970": "missing", "no utf8 ‛FF": "missing", "line\nfeed": "missing",
        "fifo": "listed", "kinds": "missing", "kinds/": "extra", "kinds/in it": "extra", "more": "extra",
        "empty/": "missing",
    }  # fmt: skip
    assert entries["size"] == {
        "path": "size", "type": "file", "size": 4, "mtime": "1000000000.000000000", "state": "differs",
    }  # fmt: skip
    assert entries["before 1970"]["mtime"] == "-1.500000000"
    assert base64.b64decode(entries["no utf8 ‛FF"]["path_bytes"]) == b"no utf8 \xff"
    assert sum("path_bytes" in e for e in entries.values()) == 1
    assert {e["type"] for e in entries.values()} == {"file", "dir", "link", "special"}
    assert not any("digest" in e for e in entries.values())
    header = json.loads((tmp_path / "out.jsonl").read_text().split("\n")[0])
    assert (header["source"], header["dest"]) == (str(source), str(dest))
    assert header["created"].endswith("Z")
    assert (ran.left_out, ran.summary.skipped_by["filtered"]) == (1, 1)
    assert ran.summary.state is State.DONE_WITH_ERRORS
    assert not ran.summary.falsehood()


def test_what_is_done_is_what_a_sync_would_leave_alone_and_everything_is_after_it(tmp_path: Path) -> None:
    rng = random.Random(3)
    for n in range(60):
        body = rng.randbytes(rng.choice([0, 1, 50]))
        put(tmp_path / "src" / f"{n % 5}" / f"{n}", body)
        there = rng.choice([body, body, bytes(len(body)), body + b"x", None])
        if there is not None:
            put(tmp_path / "dst" / f"{n % 5}" / f"{n}", there, rng.choice([T, T, T + 5]))
    for checksum in (False, True):
        rules = Rules(checksum=checksum)
        ran = made(tmp_path, dest=str(tmp_path / "dst"), checksum=checksum)
        dry = sync(str(tmp_path / "src"), str(tmp_path / "dst"), settings=load({}), rules=rules, dry_run=True)
        for name in ("found", "skipped", "pending", "failed"):
            assert (ran.summary.files[name], ran.summary.bytes[name]) == (dry.files[name], dry.bytes[name]), name
        assert 0 < ran.summary.files["pending"] < 60
        if checksum:
            for path, entry in told(tmp_path / "out.jsonl").items():
                same = (tmp_path / "dst" / path).is_file() and (
                    (tmp_path / "src" / path).read_bytes() == (tmp_path / "dst" / path).read_bytes()
                )
                assert (entry["state"] == "done") is same or entry["type"] == "dir", path


def test_without_a_destination_entries_are_listed_and_the_exit_code_is_0(tmp_path: Path) -> None:
    put(tmp_path / "src" / "a", b"123456789")
    put(tmp_path / "src" / "b" / "c", b"")
    ran = made(tmp_path, checksum=True)
    assert (ran.summary.state, ran.states["listed"]) == (State.DONE, 3)
    entries = told(tmp_path / "out.jsonl")
    assert entries["a"]["digest"] == "crc64nvme:ae8b14860a799888", "the CRC64NVME catalogue's check value"
    assert entries["b/c"]["digest"] == "crc64nvme:" + 16 * "0"
    assert "digest" not in entries["b/"]
    single = manifest(Request(str(tmp_path / "src" / "a")), tmp_path / "one", settings=load({}))
    assert (states(tmp_path / "one"), single.summary.state) == ({"a": "listed"}, State.DONE)


def test_a_destination_that_is_not_there_yet_has_nothing_and_one_way_lists_no_extras(tmp_path: Path) -> None:
    put(tmp_path / "src" / "a", b"a")
    assert made(tmp_path, dest=str(tmp_path / "not yet")).states["missing"] == 1
    assert not (tmp_path / "not yet").exists()
    put(tmp_path / "dst" / "a", b"a")
    put(tmp_path / "dst" / "b", b"b")
    assert made(tmp_path, dest=str(tmp_path / "dst")).summary.state is State.DONE_WITH_ERRORS
    assert made(tmp_path, dest=str(tmp_path / "dst"), one_way=True).summary.state is State.DONE
    assert states(tmp_path / "out.jsonl") == {"a": "done"}


def test_csv_has_one_row_for_each_entry_whatever_its_name(tmp_path: Path) -> None:
    for name in ('a,"b"', "line\nfeed", "plain", "=1+1"):
        put(tmp_path / "src" / name, b"x")
    made(tmp_path, form="csv", checksum=True)
    rows = list(csv.reader(io.StringIO((tmp_path / "out.jsonl").read_text(), newline="")))
    assert rows[0] == ["path", "type", "size", "mtime", "digest", "state"]
    assert [r[0] for r in rows[1:]] == sorted(['a,"b"', "line\nfeed", "plain", "=1+1"])
    assert rows[1][1:] == ["file", "1", "1000000000.000000000", rows[2][4], "listed"]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_manifest_as_a_list_of_names_asks_for_exactly_what_is_not_done(tmp_path: Path, form: str) -> None:
    rng = random.Random(5)
    names = [
        "a",
        "b c",
        "ü/é",
        "x/y/z",
        'q"uo,te',
        "line\nfeed",
        os.fsdecode(b"\xff/raw"),
        "d/" + "n" * 200,
        "#not",
        ";a",
    ]
    wanted, size = set(), 0
    for n, name in enumerate([*names, *(f"t/{n:02}" for n in range(30))]):
        body = rng.randbytes(n)
        put(tmp_path / "src" / name, body)
        match rng.choice(["done", "missing", "differs"]):
            case "done":
                put(tmp_path / "dst" / name, body)
                continue
            case "differs":
                put(tmp_path / "dst" / name, body + b"more")
        wanted.add(encode_name(os.fsencode(name)))
        size += len(body)
    put(tmp_path / "dst" / "only there", b"x")
    (tmp_path / "src" / "link").symlink_to("a")
    (tmp_path / "src" / "empty").mkdir()
    ran = made(tmp_path, dest=str(tmp_path / "dst"), form=form)
    assert ran.summary.files["pending"] == len(wanted) + 1
    with read_list(str(tmp_path / "out.jsonl")) as listed:
        dry = sync(
            str(tmp_path / "src"), str(tmp_path / "dst"), settings=load({}), files_from=listed, dry_run=True
        )  # fmt: skip
    assert (dry.files["found"], dry.files["pending"], dry.files["missing"]) == (len(wanted) + 1, len(wanted) + 1, 0)
    assert dry.bytes["found"] == size + 1, "with the link's target; nothing that is done was looked at"
    if form == "jsonl":
        cut = (tmp_path / "out.jsonl").read_bytes()
        (tmp_path / "cut").write_bytes(cut[: cut[:-1].rindex(b"\n") + 1])
        with pytest.raises(UsageError, match="not whole"), read_list(str(tmp_path / "cut")):
            pass


# --- the file -----------------------------------------------------------------------------------------------------------


def test_a_listing_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        put(tmp_path / "src" / f"{n}", b"x")
    output = tmp_path / "out" / "m.jsonl"
    put(output, b"the old one")
    plain = LocalStore.list

    def broken(self: LocalStore, *args: Any) -> Iterator[Entry]:
        for entry in plain(self, *args):
            yield entry
            raise AccessDenied("the disk is gone")

    monkeypatch.setattr(LocalStore, "list", broken)
    for dest in ("", str(tmp_path / "dst")):
        with pytest.raises(AccessDenied):
            manifest(Request(str(tmp_path / "src"), dest), output, settings=load({}))
        assert [(p.name, p.read_bytes()) for p in output.parent.iterdir()] == [("m.jsonl", b"the old one")]


def test_the_file_is_replaced_in_one_step_with_its_mode_and_behind_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "src" / "a", b"x")
    real, link = tmp_path / "kept" / "m.jsonl", tmp_path / "link"
    put(real, b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    order: list[str] = []
    synced, replaced = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("sync"), synced(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replaced(a, b))[1])
    old = os.stat(real).st_ino
    manifest(Request(str(tmp_path / "src")), link, settings=load({}))
    assert states(real) == {"a": "listed"}
    assert link.is_symlink()
    assert os.stat(real).st_ino != old
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert order == ["sync", "replace", "sync"], "the bytes, then the name"
    assert [p.name for p in real.parent.iterdir()] == ["m.jsonl"]


def test_what_is_no_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    put(tmp_path / "src" / "a", b"x")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    manifest(Request(str(tmp_path / "src")), pipe, settings=load({}))
    reader.join(30)
    assert states(read[0]) == {"a": "listed"}
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    (tmp_path / "home").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*: Is a directory"):
        manifest(Request(str(tmp_path / "src")), tmp_path / "home", settings=load({}))


def test_a_file_inside_either_end_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "src" / "a", b"x")
    (tmp_path / "dst").mkdir()
    (tmp_path / "by another name").symlink_to(tmp_path / "dst")
    for place in ("src", "dst", "by another name"):
        with pytest.raises(Refused, match=r"lies inside the (source|destination)"):
            output = tmp_path / place / "m.jsonl"
            manifest(Request(str(tmp_path / "src"), str(tmp_path / "dst")), output, settings=load({}))
    single = Request(str(tmp_path / "src" / "a"))
    with pytest.raises(Refused, match=r"lies inside the source"):
        manifest(single, tmp_path / "src" / "a", settings=load({}))
    assert [p.name for p in (tmp_path / "src").iterdir()] == ["a"]
    manifest(single, tmp_path / "src" / "beside it", settings=load({}))
    assert not list((tmp_path / "dst").iterdir())


# --- what the listings do not tell --------------------------------------------------------------------------------------


class Trees:
    """Two strict stores that refuse every write."""

    def __init__(self, here: Any = LIMITS, there: Any = LIMITS, checksum: bool = False) -> None:
        self.buckets = [MemoryBucket(limits, lambda: 5 * T) for limits in (here, there)]
        self.stores = [FaultyStore(Sealed(b, "p/", page_size=7)) for b in self.buckets]
        self.checksum = checksum

    def put(self, end: int, key: str, body: bytes, at: int | None = T) -> None:
        MemoryStore(self.buckets[end], "p/").put(key, body, Meta(mtime_ns=at), ANY, Token())

    def run(self) -> tuple[dict[str, dict[str, Any]], Summary]:
        location, out, tell = Location("s3", "b"), io.BytesIO(), Told(Unobserved())
        spec = Spec("", location, location, rules=Rules(checksum=self.checksum), options=Options(), dry_run=True)
        job = JobContext(spec, *self.stores)
        write(
            Opened(Ends(location, location), *joined(job, tell.meter, self.checksum, False, tell.left_out)),
            "jsonl", out, tell,
        )  # fmt: skip
        return told(out.getvalue()), tell.manifest().summary


def test_times_that_a_listing_lacks_are_asked_for_where_they_decide() -> None:
    trees = Trees()
    for end in (0, 1):
        trees.put(end, "same", b"here" if end == 0 else b"HERE")
        trees.put(end, "time", b"here" if end == 0 else b"HERE", T + end)
        trees.put(end, "size", b"x" * end)
    trees.put(0, "missing", b"x")
    trees.put(0, "missing folder/", b"")
    entries, summary = trees.run()
    assert {p: e["state"] for p, e in entries.items()} == {
        "same": "done", "time": "differs", "size": "differs", "missing": "missing", "missing folder/": "missing",
    }  # fmt: skip
    assert {p: e["mtime"] is not None for p, e in entries.items()} == {
        "same": True, "time": True, "size": False, "missing": False, "missing folder/": False,
    }  # fmt: skip
    assert (summary.requests["head"], summary.requests["get"]) == (4, 0)


@pytest.mark.parametrize(
    ("here", "there", "read"),
    [
        (LIMITS, LIMITS, 0), (CRC, PLAIN, 1), (PLAIN, CRC, 1), (PLAIN, MD5, 1), (MD5, MD5, 1), (MD5, CRC, 1),
        (CRC, MD5, 1), (MD5, PLAIN, 2), (PLAIN, PLAIN, 2),
    ],
)  # fmt: skip
def test_with_checksum_contents_decide_and_nothing_is_read_twice_or_needlessly(
    here: Any, there: Any, read: int
) -> None:
    body = random.Random(1).randbytes(3000)
    for wrong in (False, True):
        trees = Trees(here, there, checksum=True)
        trees.put(0, "file", body, T)
        trees.put(1, "file", bytes([body[0] ^ 1]) + body[1:] if wrong else body, T + 99)
        entries, summary = trees.run()
        assert entries["file"]["state"] == ("differs" if wrong else "done")
        assert len(entries["file"]["digest"]) == len("crc64nvme:") + 16
        assert summary.bytes["received"] == read * 3000


def test_what_changes_or_cannot_be_read_is_unknown_and_never_done() -> None:
    for op, error, words in (
        ("open", AccessDenied("permission denied"), "permission denied"),
        ("head", Transient("no answer"), "no answer"),
    ):
        for end in (0, 1):
            trees = Trees(PLAIN, PLAIN, checksum=True)
            for at in (0, 1):
                trees.put(at, "a", b"body")
                trees.put(at, "b", b"body")
            fault = Fault(op=op, error=error)
            trees.stores[end]._strike = lambda o, key, op=op, fault=fault: (  # type: ignore[method-assign]
                fault if (o, key) == (op, "a") else None
            )
            entries, summary = trees.run()
            assert {p: e["state"] for p, e in entries.items()} == {"a": "unknown", "b": "done"}
            assert words in entries["a"]["error"]
            assert "digest" not in entries["a"]
            assert (summary.files["failed"], summary.state) == (1, State.DONE_WITH_ERRORS)
    trees = Trees(PLAIN, PLAIN, checksum=True)
    for at in (0, 1):
        trees.put(at, "a", b"body")

    def strike(op: str, key: str) -> None:
        if op == "open":
            trees.put(0, "a", b"BODY")

    trees.stores[1]._strike = strike  # type: ignore[assignment]
    entries, _ = trees.run()
    assert (entries["a"]["state"], entries["a"]["error"]) == ("unknown", "the source changed while it was read")


def test_of_a_slow_look_no_more_than_a_bounded_number_of_entries_waits_behind_it() -> None:
    gate, pulled = threading.Event(), 0

    class Slow(Looks):
        def take(self, found: Any) -> Line:
            gate.wait(30)
            return super().take(replace(found, error="looked at"))

        def needed(self, found: Any) -> bool:
            return bool(found.entry.key == "000000")

    def found() -> Iterator[Line]:
        nonlocal pulled
        for n in range(5000):
            pulled += 1
            yield Line(Entry(f"{n:06}", Kind.SPECIAL), Standing.LISTED)

    looks = Slow(lambda entry: pytest.fail("asked"), None, False, Token())
    lines = looked_at(found(), looks)
    assert next(lines) is None
    assert next(lines) is None
    assert pulled <= AHEAD + 2
    gate.set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Looks, "take", lambda self, found: found)
        keys = [line.entry.key for line in lines if line is not None]
    assert keys == [f"{n:06}" for n in range(5000)]


# --- as a user runs it --------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_unknown_and_what_lies_below_it_neither_missing_nor_extra(tmp_path: Path) -> None:
    for root in ("src", "dst"):
        for folder in ("dark", "night"):
            put(tmp_path / root / folder / "inside", b"x")
    (tmp_path / "src" / "night").chmod(0)
    (tmp_path / "dst" / "dark").chmod(0)
    hs = replace(Submit(tmp_path / "home"), program=PROGRAM)
    try:
        ran = hs(str(tmp_path / "src"), str(tmp_path / "dst"), "-o", str(tmp_path / "m"), weak=True)
    finally:
        (tmp_path / "src" / "night").chmod(0o755)
        (tmp_path / "dst" / "dark").chmod(0o755)
    entries = told(tmp_path / "m")
    assert {p: e["state"] for p, e in entries.items()} == {
        "dark/": "unknown", "dark/inside": "unknown", "night/": "unknown",
    }  # fmt: skip
    assert all("denied" in e["error"] for e in entries.values())
    assert (ran.code, ran.json["manifest"]["entries"]["unknown"]) == (1, 3)


PROGRAM = "import sys; sys.argv[0:1] = ['hugesync', 'manifest']; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"


def test_with_a_store_the_manifest_says_done_after_a_sync_in_either_direction(
    tmp_path: Path, s3_bucket: Bucket
) -> None:
    source, uri = tmp_path / "src", f"s3://{s3_bucket.bucket}/p"
    put(source / "a" / "b", b"one")
    put(source / "c", b"two")
    (source / "empty").mkdir()
    (source / "link").symlink_to("c")
    put(tmp_path / "src" / "own", b"x")
    ran = made(tmp_path, dest=uri)
    assert set(states(tmp_path / "out.jsonl").values()) == {"missing", "done"}, "a/ need not be there"
    assert Submit(tmp_path / "home", s3_bucket.env)(str(source), uri).code == 0
    ran = made(tmp_path, dest=uri)
    assert ran.summary.state is State.DONE, states(tmp_path / "out.jsonl")
    os.utime(source / "c", ns=(0, T + 10**9))
    s3_bucket.client.put_object(Bucket=s3_bucket.bucket, Key="p/more", Body=b"x")
    made(tmp_path, dest=uri, checksum=True)
    assert {p: s for p, s in states(tmp_path / "out.jsonl").items() if s != "done"} == {"more": "extra"}
    back = manifest(Request(uri, str(tmp_path / "back")), tmp_path / "back.jsonl", settings=load({}))
    assert (back.states["missing"], back.states["done"]) == (6, 0)
    made(tmp_path, dest=uri, selection=Selection(min_size=2))
    assert states(tmp_path / "out.jsonl")["c"] in ("done", "differs")
    with pytest.raises(Permanent, match="nothing is there"):
        manifest(Request(f"s3://{s3_bucket.bucket}/none"), tmp_path / "out.jsonl", settings=load({}))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Request, Any, Any]]:
    calls: list[tuple[Request, Any, Any]] = []

    def fake(request: Request, output: Any, *, settings: Any, observer: Any) -> Manifest:
        calls.append((request, output, settings))
        return Manifest(dict.fromkeys(map(str, Standing), 0), 0, Summary(State.DONE))

    monkeypatch.setattr(module, "manifest", fake)
    return calls


def command(*args: str) -> int:
    return cli.invoke(cli_jobs.hugesync_commands, "hugesync", ["manifest", *args])


OPTIONS: list[tuple[list[str], str, Any]] = [
    (["--format", "csv"], "form", "csv"),
    (["-c"], "checksum", True),
    (["--checksum"], "checksum", True),
    (["--one-way"], "one_way", True),
    (["--exclude", "*.o"], "selection", Selection((("-", "*.o"),))),
    (["--include", "*.o"], "selection", Selection((("+", "*.o"),))),
    (["--min-size", "10K"], "selection", Selection(min_size=10240)),
    (["--max-size", "10K"], "selection", Selection(max_size=10240)),
    (["-L"], "selection", Selection(links="follow")),
    (["--copy-links"], "selection", Selection(links="follow")),
    (["--skip-links"], "selection", Selection(links="skip")),
    (["--source-profile", "here"], "source_profile", "here"),
    (["--dest-profile", "there"], "dest_profile", "there"),
    (["-f", "+ y"], "selection", Selection((("+", "y"),))),
    (["--filter", "+ x"], "selection", Selection((("+", "x"),))),
    (["--map", "m.csv"], "names", ("m.csv", "")),
    (["--map", "m.db", "--map-query", "SELECT 1"], "names", ("m.db", "SELECT 1")),
]


@pytest.mark.parametrize(
    ("args", "name", "expected"), OPTIONS, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_an_option_changes_its_value_and_nothing_else(
    asked: list[tuple[Request, Any, Any]], args: list[str], name: str, expected: Any
) -> None:
    assert command("/src", "s3://dst", "-o", "f") == command(*args, "/src", "s3://dst", "--output", "f") == 0
    (plain, output, _), (given, _, _) = asked
    assert given == replace(plain, **{name: expected}) != plain
    assert (plain.source, plain.dest, output) == ("/src", "s3://dst", Path("f"))


def test_every_parameter_of_the_command_is_covered_by_a_test_of_its_effect(
    asked: list[tuple[Request, Any, Any]],
) -> None:
    tested = {a for args, _, _ in OPTIONS for a in args if a.startswith("-")}
    tested |= {"-o", "--output"}
    tested |= {"--exclude-from", "--include-from", "--broker", "--state", "--log-format", "--json", "-q", "--quiet"}
    tested |= {"-v", "--verbose", "--debug", "--progress", "--no-progress", "-P"}
    command("/src", "-o", "f", "--retries", "9")
    assert asked[-1][2].retries == 9
    tested |= {"--retries"}
    shown = cli_jobs.hugesync_commands.commands["manifest"]
    declared = {name for p in shown.params if isinstance(p, click.Option) for name in [*p.opts, *p.secondary_opts]}
    assert declared == tested


def test_on_stdout_stands_the_manifest_alone_and_the_exit_code_tells(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    put(tmp_path / "src" / "a", b"x")
    assert command(str(tmp_path / "src"), "-o", "-") == 0
    out, err = capfdbinary.readouterr()
    assert states(out) == {"a": "listed"}
    assert b"1 entry" in err
    assert command(str(tmp_path / "src"), str(tmp_path / "dst"), "-o", "-", "-q") == 1
    assert states(capfdbinary.readouterr().out) == {"a": "missing"}
    assert command(str(tmp_path / "src"), "-o", "-", "--json") == 2
    assert command(str(tmp_path / "src")) == 2
    assert command(str(tmp_path / "none"), "-o", str(tmp_path / "m")) == 2
    assert not (tmp_path / "m").exists()
    capfdbinary.readouterr()
    assert command(str(tmp_path / "src"), str(tmp_path / "dst"), "-o", str(tmp_path / "m"), "--json") == 1
    shown = json.loads(capfdbinary.readouterr().out)
    assert shown["manifest"]["entries"]["missing"] == shown["files"]["pending"] == 1
    assert (shown["manifest"]["file"], shown["state"]) == (str(tmp_path / "m"), "done_with_errors")


def test_every_store_that_a_manifest_opens_refuses_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "src" / "a", b"x")
    opened: list[bool] = []
    plain = manifest_ends.open_end

    def watched(*args: Any, **kwargs: Any) -> Any:
        opened.append(kwargs.get("reads_only", args[6] if len(args) > 6 else False))
        return plain(*args, **kwargs)

    monkeypatch.setattr(manifest_ends, "open_end", watched)
    made(tmp_path)
    made(tmp_path, dest=str(tmp_path / "dst"))
    assert opened == [True] * 4
