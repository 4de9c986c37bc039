"""Each option of ``hugesync-submit`` shows once what it does, from the command line to what lies at the destination."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import compare
import nasty
from busyproxy import BusyProxy
from carry import carry
from conftest import Bucket
from hugesync_producer.cli import submit_command
from hugesync_tasks.spec import Options
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.token import Token
from scale import mostly_full
from slowproxy import SlowProxy
from submit import Ran, Submit, assert_moved_nothing

T = 1_600_000_000_000_000_000  # ns
SECOND = 10**9
KIB = 1 << 10


@pytest.fixture
def hs(tmp_path: Path) -> Submit:
    return Submit(tmp_path / "home")


@pytest.fixture
def s3(tmp_path: Path, s3_bucket: Bucket) -> Iterator[tuple[Submit, Bucket]]:
    return Submit(tmp_path / "home", dict(s3_bucket.env)), s3_bucket


def put(path: Path, body: bytes, mtime_ns: int = T) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    os.utime(path, ns=(0, mtime_ns))


def head(bucket: Bucket, key: str) -> dict[str, Any]:
    return bucket.client.head_object(Bucket=bucket.bucket, Key=key)


def keys(bucket: Bucket) -> list[str]:
    return sorted(o["Key"] for o in bucket.client.list_objects_v2(Bucket=bucket.bucket).get("Contents", []))


# --- what is compared ---------------------------------------------------------------------------------------------------


def two_trees(source: Path, dest: Path) -> None:
    """One file for each way in which source and destination can differ."""
    put(source / "same", b"same")
    put(dest / "same", b"same")
    put(source / "content", b"here")
    put(dest / "content", b"HERE")  # equal size and time
    put(source / "touched", b"same", T + SECOND // 2)
    put(dest / "touched", b"same")
    put(source / "newer", b"newer", T + 60 * SECOND)
    put(dest / "newer", b"old")
    put(source / "older", b"older", T - 60 * SECOND)
    put(dest / "older", b"newer there")
    put(source / "new", b"new")
    put(dest / "extra", b"extra")


@pytest.mark.parametrize(
    ("options", "done", "existing"),
    [
        ([], "newer older touched new", 0),
        (["-u"], "newer touched new", 1),
        (["--size-only"], "newer older new", 0),
        (["--ignore-existing"], "new", 5),
        (["--existing"], "newer older touched", 1),
        (["-I"], "same content touched newer older new", 0),
        (["--modify-window", "1s"], "newer older new", 0),
        (["-c"], "content newer older new", 0),
        (["--checksum", "--existing"], "content newer older", 1),
    ],
    ids=lambda v: " ".join(v) or "default" if isinstance(v, list) else "",
)
def test_which_files_are_transferred(tmp_path: Path, hs: Submit, options: list[str], done: str, existing: int) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    two_trees(source, dest)
    before = compare.tree(dest)
    planned = hs(str(source), str(dest), "-n", *options)
    assert compare.differences(before, compare.tree(dest)) == []
    ran = hs(str(source), str(dest), *options)
    assert ran.code == 0, (ran.failures, ran.err)
    assert ran.files["done"] == len(done.split()), ran.json
    assert ran.json["skipped_by"]["existing"] == existing
    there, here = compare.tree(dest), compare.tree(source)
    expected = {**before, **{name.encode(): here[name.encode()] for name in done.split()}}
    assert compare.differences(expected, there) == []
    assert (planned.files["pending"], planned.bytes["pending"]) == (ran.files["done"], ran.bytes["done"])


@pytest.mark.full
def test_a_store_is_compared_by_contents_or_times_as_asked(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    source, uri = tmp_path / "source", f"s3://{bucket.bucket}/x"
    for name in ("same", "content", "touched", "older"):
        put(source / name, b"one")
    assert hs(str(source), uri).files["done"] == 4
    put(source / "content", b"two")  # equal size and time
    put(source / "touched", b"one", T + SECOND)
    put(source / "older", b"old", T - 60 * SECOND)
    done = {
        ("-n",): (0, 2),
        ("-n", "-u"): (0, 1),
        ("-n", "-c"): (0, 2),
        ("-c", "-u"): (1, 0),  # content
        ("--modify-window=1s", "-u"): (0, 0),
        (): (2, 0),
    }
    for options, (sent, pending) in done.items():
        ran = hs(str(source), uri, *options)
        assert (ran.code, ran.files["done"], ran.files["pending"]) == (0, sent, pending), (options, ran.json)
    names = compare.tree(source, "none")
    held = compare.bucket(bucket.client, bucket.bucket, "x/")
    assert compare.differences(names, held) == []


@pytest.mark.full
def test_a_dry_run_counts_what_a_run_then_does_and_writes_nothing(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    source, uri = tmp_path / "source", f"s3://{bucket.bucket}/x"
    put(source / "changes", b"before")
    put(source / "stays", b"stays")
    assert hs(str(source), uri).code == 0
    nasty.plant(source / "nasty")
    put(source / "changes", b"after all")
    held = compare.bucket(bucket.client, bucket.bucket)
    state = sorted(str(p) for p in hs.folder.rglob("*"))
    dry = hs(str(source), uri, "--dry-run")
    assert (dry.code, dry.json["dry_run"], dry.json["state"]) == (0, True, "done")
    assert compare.differences(held, compare.bucket(bucket.client, bucket.bucket)) == []
    assert sorted(str(p) for p in hs.folder.rglob("*")) == state
    assert dry.json["requests"]["put"] == dry.json["requests"]["create"] == dry.json["requests"]["delete"] == 0
    real = hs(str(source), uri)
    for what in (dry.files, dry.bytes):
        assert what["done"] == 0
    assert dry.files["pending"] == real.files["done"] > 100
    assert dry.bytes["pending"] == real.bytes["done"]
    assert (dry.files["skipped"], dry.files["found"]) == (real.files["skipped"], real.files["found"])
    dry_down = hs(uri, str(tmp_path / "down" / "below"), "-n")
    assert not (tmp_path / "down").exists()
    assert (dry_down.files["pending"], dry_down.bytes["pending"]) == (real.files["found"], real.bytes["found"])
    nasty.writable(source)


# --- what takes part ----------------------------------------------------------------------------------------------------


def filtered(tmp_path: Path, hs: Submit, *options: str, stdin: bytes | None = None) -> list[str]:
    """The names that reach an empty destination."""
    dest = tmp_path / f"dest{len(list(tmp_path.iterdir()))}"
    ran = hs(str(tmp_path / "source"), str(dest), *options, stdin=stdin)
    assert ran.code == 0, (ran.failures, ran.err)
    return sorted(os.fsdecode(name) for name in compare.tree(dest, "none"))


@pytest.mark.full
def test_filters_are_asked_in_the_order_in_which_they_were_typed(tmp_path: Path, hs: Submit) -> None:
    for name in ("keep.txt", "drop.tmp", "sub/keep.tmp", "sub/drop.txt", "cache/x", "sub/cache/y", "-odd"):
        put(tmp_path / "source" / name, b"x")
    rules, more = tmp_path / "rules", tmp_path / "more"
    rules.write_text("# a comment\n+ keep.*\n*.tmp\n")
    more.write_text("/cache/\n")
    cases: dict[tuple[str, ...], str] = {
        ("--include", "keep.tmp", "--exclude", "*.tmp"): "-odd cache/x keep.txt sub/cache/y sub/drop.txt sub/keep.tmp",
        ("--exclude", "*.tmp", "--include", "keep.tmp"): "-odd cache/x keep.txt sub/cache/y sub/drop.txt",
        ("--exclude", "/cache/"): "-odd drop.tmp keep.txt sub/cache/y sub/drop.txt sub/keep.tmp",
        ("--include", "*/", "--include", "*.txt", "--exclude", "*"): "keep.txt sub/drop.txt",
        ("--exclude-from", str(more), "--exclude-from", str(rules)): "-odd keep.txt sub/cache/y sub/drop.txt sub/keep.tmp",
        ("--include-from", str(more), "--exclude", "cache/"): "-odd cache/x drop.tmp keep.txt sub/drop.txt sub/keep.tmp",
    }  # fmt: skip
    for options, expected in cases.items():
        assert filtered(tmp_path, hs, *options) == expected.split(), options
    assert filtered(tmp_path, hs, "--exclude-from", "-", stdin=b"*.tmp\n*.txt\n") == ["-odd", "cache/x", "sub/cache/y"]


def test_an_excluded_folder_is_never_read(tmp_path: Path, hs: Submit) -> None:
    source = tmp_path / "source"
    put(source / "open" / "f", b"x")
    put(source / "closed" / "f", b"x")
    (source / "closed").chmod(0)
    seen = hs(str(source), str(tmp_path / "a"), weak=True)
    assert (seen.code, seen.files["done"]) == (1, 1), "without the exclusion it is read, or the next line shows nothing"
    unseen = hs(str(source), str(tmp_path / "b"), "--exclude", "closed/", weak=True)
    assert (unseen.code, unseen.files["found"], unseen.files["done"]) == (0, 1, 1), (unseen.failures, unseen.err)
    assert unseen.json["skipped_by"]["filtered"] == 0  # nobody looked, so nothing is counted
    (source / "closed").chmod(0o755)


def test_files_too_small_or_too_large_are_left_out_and_counted(tmp_path: Path, hs: Submit) -> None:
    for size in (0, 99, 100, 10 * KIB, 10 * KIB + 1):
        put(tmp_path / "source" / str(size), bytes(size))
    (tmp_path / "source" / "link").symlink_to("99")
    ran = hs(str(tmp_path / "source"), str(tmp_path / "dest"), "--min-size", "100", "--max-size=10K")
    assert (ran.files["found"], ran.files["done"], ran.json["skipped_by"]["filtered"]) == (6, 3, 3), ran.json
    assert sorted(compare.tree(tmp_path / "dest")) == [b"100", b"10240", b"link"]
    assert ran.bytes["skipped"] == 99 + 10 * KIB + 1


# --- what is written ----------------------------------------------------------------------------------------------------


def test_without_metadata_neither_times_nor_modes_are_kept(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    put(tmp_path / "source" / "f", b"x")
    (tmp_path / "source" / "f").chmod(0o611)
    assert hs(str(tmp_path / "source"), f"s3://{bucket.bucket}/bare", "--no-metadata").code == 0
    assert hs(str(tmp_path / "source"), f"s3://{bucket.bucket}/full").code == 0
    bare, full = head(bucket, "bare/f")["Metadata"], head(bucket, "full/f")["Metadata"]
    assert {"mtime", "hugesync-mode"} <= full.keys()
    assert not {"mtime", "hugesync-mode", "hugesync-uid"} & bare.keys()
    assert_moved_nothing(hs(str(tmp_path / "source"), f"s3://{bucket.bucket}/bare", "--no-metadata"))
    assert hs(str(tmp_path / "source"), str(tmp_path / "dest"), "--no-metadata").code == 0
    st = (tmp_path / "dest" / "f").stat()
    assert st.st_mtime_ns > T
    assert stat.S_IMODE(st.st_mode) != 0o611


def test_a_folder_becomes_an_object_of_its_own_on_request(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    """Told by the requests: this server loses a folder's object where a file in it is put at the same moment or before. The next
    test shows what the object holds."""
    hs, bucket = s3
    put(tmp_path / "source" / "a" / "f", b"x")
    plain = hs(str(tmp_path / "source"), f"s3://{bucket.bucket}/plain")
    assert plain.code == 0
    assert keys(bucket) == ["plain/a/f"]
    ran = hs(str(tmp_path / "source"), f"s3://{bucket.bucket}/x", "--dir-metadata")
    assert (ran.code, ran.json["requests"]["put"]) == (0, plain.json["requests"]["put"] + 1)


def test_folders_keep_times_and_modes_on_stores_on_request(tmp_path: Path) -> None:
    source, options = tmp_path / "source", Options(dir_metadata=True)
    put(source / "a" / "b" / "f", b"x")
    (source / "a" / "empty").mkdir()
    for n, folder in enumerate(("a/empty", "a/b", "a")):
        os.utime(source / folder, ns=(0, T + n))
        (source / folder).chmod(0o750 + n)
    bucket = MemoryBucket()
    (tmp_path / "down").mkdir()
    stores = [
        LocalStore(str(source)),
        MemoryStore(bucket, "x/"),
        MemoryStore(bucket, "y/"),
        LocalStore(str(tmp_path / "down")),
    ]
    for a, b in pairwise(stores):
        carried = carry(a, b, options)
        assert carried.refused == carried.unlike("done") == {}
    assert compare.differences(compare.tree(source), compare.tree(tmp_path / "down")) == []


def test_objects_get_the_content_type_of_their_extension_and_keep_it_when_they_are_copied(tmp_path: Path) -> None:
    source, bucket = tmp_path / "source", MemoryBucket()
    for name in ("page.html", "data.json", "nothing"):
        put(source / name, b"x")
    stores = [LocalStore(str(source)), MemoryStore(bucket, "x/"), MemoryStore(MemoryBucket(), "y/")]
    for a, b in pairwise(stores):
        assert carry(a, b).unlike("done") == {}
        types = {entry.key: b.head(entry.key, Token()).meta.content_type for entry in b.list(Token())}  # type: ignore[union-attr]
        unnamed = "binary/octet-stream"  # S3's word for what came without one
        assert types == {"page.html": "text/html", "data.json": "application/json", "nothing": unnamed}


def test_storage_class_and_encryption_are_asked_of_the_store(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    put(tmp_path / "source" / "small", b"x")
    put(tmp_path / "source" / "large", bytes(11 << 20))
    hs.env["HUGESYNC_PART_SIZE"] = "5MiB"
    ran = hs(str(tmp_path / "source"), f"s3://{bucket.bucket}/ia", "--storage-class", "STANDARD_IA")
    assert ran.code == 0, (ran.failures, ran.err)
    for name in ("small", "large"):
        assert head(bucket, f"ia/{name}").get("StorageClass") == "STANDARD_IA", name
    assert hs(f"s3://{bucket.bucket}/ia", f"s3://{bucket.bucket}/copy", "--storage-class", "GLACIER_IR").code == 0
    assert head(bucket, "copy/small").get("StorageClass") == "GLACIER_IR"
    with SlowProxy(bucket.endpoint) as proxy:  # this server has no KMS: that it was asked is what can be seen
        hs.env["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
        kms = hs(str(tmp_path / "source"), f"s3://{bucket.bucket}/kms", "--sse-kms-key", "no-such-key")
    encrypted = kms.code == 0 and all(
        head(bucket, f"kms/{n}").get("ServerSideEncryption") == "aws:kms" for n in ("small", "large")
    )
    assert encrypted or (kms.code == 1 and len(kms.failures) == 2), (kms.json, kms.err)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.full
def test_owner_and_group_are_kept_on_request(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    source, uri = tmp_path / "source", f"s3://{bucket.bucket}/x"
    put(source / "folder" / "f", b"x")
    (source / "link").symlink_to("f")
    for name in ("folder/f", "folder", "link"):
        os.chown(source / name, 1234, 2345, follow_symlinks=False)
    for n, options in enumerate((["-a"], ["-o", "-g"])):
        dest = tmp_path / f"dest{n}"
        assert hs(str(source), str(dest), *options).code == 0
        for name in ("folder/f", "folder", "link"):
            st = os.lstat(dest / name)
            assert (st.st_uid, st.st_gid) == (1234, 2345), (options, name)
    assert hs(str(source), str(tmp_path / "plain")).code == 0
    assert (tmp_path / "plain" / "folder" / "f").stat().st_uid == 0
    assert hs(str(source), uri, "-a").code == 0
    assert head(bucket, "x/folder/f")["Metadata"]["hugesync-uid"] == "1234"
    assert hs(uri, str(tmp_path / "down"), "-a").code == 0
    assert (tmp_path / "down" / "folder" / "f").stat().st_gid == 2345
    refused = hs(str(source), str(tmp_path / "refused"), "-a", weak=True, json=False)
    assert refused.code == 0, refused.err
    assert re.search(r"\d+ × .*(owner|chown)", refused.out), refused.out


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_links_times_and_modes_are_kept_anyway_and_owners_with_a(tmp_path: Path, hs: Submit) -> None:
    source = tmp_path / "source"
    put(source / "f", b"x")
    (source / "f").chmod(0o640)
    os.chown(source / "f", 1234, 2345)
    (source / "link").symlink_to("f")
    for options, owner in (((), (0, 0)), (("-a",), (1234, 2345))):
        dest = tmp_path / f"dest{len(options)}"
        assert hs(str(source), str(dest), *options).code == 0
        st = (dest / "f").stat()
        assert (st.st_mtime_ns, stat.S_IMODE(st.st_mode), os.readlink(dest / "link")) == (T, 0o640, "f")
        assert (st.st_uid, st.st_gid) == owner


# --- conflicts ----------------------------------------------------------------------------------------------------------


def overtaken(tmp_path: Path, s3: tuple[Submit, Bucket], *options: str) -> tuple[Ran, bytes]:
    """A rival writes the same key while our body is on its way: our run, and what the bucket then holds."""
    hs, bucket = s3
    put(tmp_path / "source" / "f", os.urandom(1 << 20))
    with SlowProxy(bucket.endpoint) as proxy:
        hs.env["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
        proxy.hold_after(up=300_000)
        results: list[Ran] = []
        run = threading.Thread(
            target=lambda: results.append(hs(str(tmp_path / "source"), f"s3://{bucket.bucket}/x", *options))
        )
        run.start()
        proxy.held()
        bucket.client.put_object(Bucket=bucket.bucket, Key="x/f", Body=b"the rival's")
        proxy.release()
        run.join(120)
    assert results, "the run did not end"
    hs.env["AWS_ENDPOINT_URL_S3"] = bucket.endpoint
    return results[0], bucket.client.get_object(Bucket=bucket.bucket, Key="x/f")["Body"].read()


def test_a_conflict_is_compared_afresh(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    ran, held = overtaken(tmp_path, s3)
    assert (ran.code, ran.files["done"], ran.json["conflicts"]) == (0, 1, 1), (ran.json, ran.err)
    assert held == (tmp_path / "source" / "f").read_bytes()


def test_a_conflict_is_left_to_the_rival_on_request(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    ran, held = overtaken(tmp_path, s3, "--on-conflict", "skip")
    assert (ran.code, ran.classes, ran.json["conflicts"]) == (1, {"f": "conflict"}, 1), (ran.json, ran.err)
    assert held == b"the rival's"


def test_both_versions_are_kept_on_request(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    ran, held = overtaken(tmp_path, s3, "--on-conflict", "keep-both")
    assert (ran.code, ran.files["done"], ran.json["conflicts"]) == (0, 1, 1), (ran.json, ran.err)
    assert held == b"the rival's"
    client, name = s3[1].client, s3[1].bucket
    (beside,) = [o["Key"] for o in client.list_objects_v2(Bucket=name)["Contents"] if o["Key"] != "x/f"]
    assert re.fullmatch(r"x/f\.conflict-\d{8}T\d{6}Z", beside)
    assert client.get_object(Bucket=name, Key=beside)["Body"].read() == (tmp_path / "source" / "f").read_bytes()


def test_a_conflict_stops_the_job_on_request(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    ran, held = overtaken(tmp_path, s3, "--fail-on-conflict")
    assert (ran.code, ran.json["state"]) == (3, "conflict"), (ran.json, ran.err)
    assert held == b"the rival's"


def test_without_the_guard_a_rival_is_overwritten_and_the_summary_says_so(
    tmp_path: Path, s3: tuple[Submit, Bucket]
) -> None:
    ran, held = overtaken(tmp_path, s3, "--unsafe-no-conflict-check")
    assert (ran.code, ran.files["done"], ran.json["conflicts"]) == (0, 1, 0), (ran.json, ran.err)
    assert held == (tmp_path / "source" / "f").read_bytes()
    said = s3[0](str(tmp_path / "source"), f"s3://{s3[1].bucket}/y", "--unsafe-no-conflict-check", json=False)
    assert "conflict guard: off" in said.out


# --- what a person sees -------------------------------------------------------------------------------------------------


def test_what_is_said_and_where(tmp_path: Path, hs: Submit) -> None:
    put(tmp_path / "source" / "f", b"x")
    os.mkfifo(tmp_path / "source" / "fifo")
    ends = (str(tmp_path / "source"), str(tmp_path / "dest"))
    first = hs(*ends, json=False)
    assert first.code == 0
    assert re.search(r"done", first.out)
    quiet = hs(*ends, "-q", json=False)
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    both = hs(*ends, "--quiet")
    assert (both.code, both.err) == (0, "")
    plain = hs(*ends, "--no-progress", json=False)
    assert plain.err == ""
    logged = hs(*ends, "-v", "--no-progress", "--log-format", "json")
    lines = [json.loads(line) for line in logged.err.splitlines()]
    assert {(e["path"], e["reason"]) for e in lines if e["event"] == "file skipped"} == {
        ("f", "same"),
        ("fifo", "special"),
    }
    traced = hs(str(tmp_path / "missing"), str(tmp_path / "dest"), "--debug")
    assert (traced.code, "Traceback" in traced.err) == (2, True)
    assert hs("--version", json=False).out.startswith("hugesync-submit ")


@pytest.mark.parametrize(("options", "drawn"), [([], True), (["--progress"], True), (["--no-progress"], False)])
def test_progress_is_drawn_on_a_terminal_unless_it_is_not_wanted(
    tmp_path: Path, hs: Submit, options: list[str], drawn: bool
) -> None:
    put(tmp_path / "source" / "f", b"x")
    terminal, theirs = os.openpty()
    hs.env["TERM"] = "xterm"
    process = hs.start(str(tmp_path / "source"), str(tmp_path / "dest"), *options, stderr=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how Linux says that nobody has the other end open any more
        while data := os.read(terminal, 65536):
            shown += data
    os.close(terminal)
    process.communicate()
    assert process.returncode == 0
    assert (b"\x1b[" in shown) is drawn, shown


def test_a_failure_is_said_even_quietly_and_all_of_them_on_request(tmp_path: Path, hs: Submit) -> None:
    for n in range(30):
        put(tmp_path / "source" / f"f{n:02}.rclonelink", b"reserved")
    ends = (str(tmp_path / "source"), str(tmp_path / "dest"))
    few, all_of_them = hs(*ends, "-q", json=False), hs(*ends, "-v", json=False)
    assert few.code == all_of_them.code == 1
    assert 0 < len(set(re.findall(r"f\d\d\.rclonelink", few.out))) < 30
    assert len(set(re.findall(r"f\d\d\.rclonelink", all_of_them.out))) == 30


@pytest.mark.parametrize("jobs", mostly_full([3, 1], 1))
def test_jobs_bounds_what_is_in_flight(tmp_path: Path, s3: tuple[Submit, Bucket], jobs: int) -> None:
    hs, bucket = s3
    put(tmp_path / "source" / "large", os.urandom(31 << 20))
    with SlowProxy(bucket.endpoint, rate=20e6) as proxy:  # a part takes 0.25 s and more: long enough to be seen
        hs.env |= {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "HUGESYNC_PART_SIZE": "5MiB"}
        process = hs.start(str(tmp_path / "source"), f"s3://{bucket.bucket}/x", "-j", str(jobs), "--json")
        most = 0
        while process.poll() is None:
            under_way = [x for x in tuple(proxy.exchanges) if x.status == 0 and "partNumber=" in x.path]
            most = max(most, len({x.path for x in under_way}))
            time.sleep(0.005)
        process.communicate()
    assert process.returncode == 0
    assert len({x.path for x in proxy.exchanges if "partNumber=" in x.path and "/x/large" in x.path}) == 7  # of 5 MiB
    assert most == 1 if jobs == 1 else 1 < most <= jobs


def test_no_pause_between_two_attempts_is_longer_than_asked_for(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    """The store asks for ten minutes each time; the test would not live to see them."""
    hs, bucket = s3
    put(tmp_path / "source" / "f", b"x")
    refused = iter(range(3))
    proxy = BusyProxy(bucket.endpoint, lambda put: next(refused, None) is not None, retry_after=600)
    try:
        hs.env["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
        ran = hs(str(tmp_path / "source"), f"s3://{bucket.bucket}/x", "--retry-max-wait", "50ms")
    finally:
        proxy.close()
    assert (ran.code, ran.files["done"]) == (0, 1), (ran.failures, ran.err)
    assert ran.json["retries"] >= 3


def test_a_run_whose_time_is_over_stops_and_the_same_command_goes_on(tmp_path: Path, hs: Submit) -> None:
    put(tmp_path / "source" / "f", b"x")
    ends = (str(tmp_path / "source"), str(tmp_path / "dest"))
    for options in ((), ("-n",)):
        ran = hs(*ends, "--max-duration", "1ms", "--no-progress", *options)
        assert (ran.code, ran.json["state"], ran.json["scan_complete"]) == (130, "interrupted", False)
        assert "its time is over (--max-duration 0.001s)" in ran.err.splitlines()[-1]
    assert hs(*ends, "--max-duration", "1h").files["done"] == 1


@pytest.mark.full
def test_what_is_in_hand_when_the_time_is_over_is_not_sent_again(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    put(tmp_path / "source" / "large", os.urandom(60 << 20))
    hs.env["HUGESYNC_PART_SIZE"] = "5MiB"
    ends = (str(tmp_path / "source"), f"s3://{bucket.bucket}/x")
    with SlowProxy(bucket.endpoint, rate=2e6) as proxy:
        hs.env["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
        first = hs(*ends, "--max-duration", "15s", "-j", "2")
    assert (first.code, first.json["state"]) == (130, "interrupted"), first.err
    assert "its time is over (--max-duration 15s)" in first.err
    hs.env["AWS_ENDPOINT_URL_S3"] = bucket.endpoint
    second = hs(*ends)
    assert second.code == 0
    assert first.bytes["sent"] >= 5 << 20
    assert first.bytes["sent"] + second.bytes["sent"] == 60 << 20


def test_every_option_is_shown_by_a_test_somewhere() -> None:
    """Not that it is shown well: only that no option can be added and forgotten here."""
    said = "".join(
        path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path.name not in ("test_cli.py",)
    )
    options = [p for p in submit_command.params if p.param_type_name == "option"]
    forgotten = [p.opts for p in options if not any(f'"{o}' in said for o in (*p.opts, *p.secondary_opts))]
    assert forgotten == []
