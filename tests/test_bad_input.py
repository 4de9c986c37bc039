"""What cannot be done ends with a clear sentence and the right exit code, and everything else is done."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import compare
import servers
from carry import carry
from conftest import Bucket
from hugesync_tasks.model import Meta
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.token import Token
from slowproxy import SlowProxy
from submit import Ran, Submit, as_object, assert_moved_nothing, assert_true

MIB = 1 << 20


@pytest.fixture
def hs(tmp_path: Path) -> Submit:
    return Submit(tmp_path / "home")


@pytest.fixture
def s3(tmp_path: Path, s3_bucket: Bucket) -> Iterator[tuple[Submit, Bucket]]:
    return Submit(tmp_path / "home", dict(s3_bucket.env)), s3_bucket


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source" / "sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        (tmp_path / "source" / name).write_bytes(b"content")
    return tmp_path / "source"


def one_sentence(ran: Ran, code: int, *said: str) -> None:
    """The exit code, and one line on stderr that says why."""
    assert ran.code == code, (ran.code, ran.err, ran.json)
    assert len(ran.err.strip().splitlines()) == 1, ran.err
    for words in said:
        assert words in ran.err, ran.err


# --- before anything starts ---------------------------------------------------------------------------------------------


def test_a_missing_source_is_named(tmp_path: Path, hs: Submit) -> None:
    missing = tmp_path / "not here"
    one_sentence(hs(str(missing), str(tmp_path / "dest")), 2, str(missing))
    (tmp_path / "file").write_bytes(b"")
    one_sentence(hs(f"{tmp_path}/file/", str(tmp_path / "dest")), 2, "file/")
    os.mkfifo(tmp_path / "fifo")
    one_sentence(hs(str(tmp_path / "fifo"), str(tmp_path / "dest")), 2, "fifo")
    assert not (tmp_path / "dest").exists()


def test_a_missing_bucket_or_prefix_is_named(tmp_path: Path, source: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    one_sentence(hs(str(source), "s3://no-such-bucket-here/x"), 2, "no-such-bucket-here")
    one_sentence(hs("s3://no-such-bucket-here/x", str(tmp_path / "dest")), 2, "no-such-bucket-here")
    one_sentence(hs("s3://no-such-bucket-here", str(tmp_path / "dest")), 2, "no-such-bucket-here")
    one_sentence(hs(f"s3://{bucket.bucket}/nothing/", str(tmp_path / "dest")), 2, "nothing/")
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize(
    "wrong", [{"AWS_SECRET_ACCESS_KEY": "not the one"}, {"AWS_ACCESS_KEY_ID": "nobody"}], ids=["secret", "key"]
)
def test_wrong_credentials_are_told_apart_from_a_missing_bucket_and_stay_secret(
    tmp_path: Path, source: Path, s3: tuple[Submit, Bucket], wrong: dict[str, str]
) -> None:
    hs, bucket = s3
    hs.env |= wrong
    for ends in ((str(source), f"s3://{bucket.bucket}/x"), (f"s3://{bucket.bucket}/x", str(tmp_path / "dest"))):
        ran = hs(*ends)
        one_sentence(ran, 2, "s3://")
        assert hs.env["AWS_SECRET_ACCESS_KEY"] not in ran.err + ran.out


def test_absent_credentials_are_said_to_be_absent(tmp_path: Path, source: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    hs.env = {"AWS_ENDPOINT_URL_S3": bucket.endpoint, "HOME": str(tmp_path)}
    one_sentence(hs(str(source), f"s3://{bucket.bucket}/x"), 2, "credentials")


def test_a_profile_that_is_not_there_is_named(source: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    one_sentence(hs(str(source), f"s3://{bucket.bucket}/x", "--dest-profile", "nobody"), 2, "nobody")
    one_sentence(hs(str(source), f"s3://{bucket.bucket}/x", "--source-profile", "nobody"), 2, "nobody")


def test_rights_to_read_only_are_no_rights_to_write(tmp_path: Path, source: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    bucket.client.put_object(Bucket=bucket.bucket, Key="x/f", Body=b"hi")
    hs.env |= {"AWS_ACCESS_KEY_ID": "readaccess", "AWS_SECRET_ACCESS_KEY": "readsecret0123456789"}
    down = hs(f"s3://{bucket.bucket}/x", str(tmp_path / "dest"))
    assert (down.code, down.files["done"]) == (0, 1), (down.failures, down.err)
    one_sentence(hs(str(source), f"s3://{bucket.bucket}/x"), 2, bucket.bucket)


def test_an_unreachable_endpoint_is_said_within_15_seconds(tmp_path: Path, source: Path, hs: Submit) -> None:
    (port,) = servers.free_ports(1)
    hs.env |= {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
    }  # fmt: skip
    for ends in ((str(source), "s3://bucket/x"), ("s3://bucket/x", str(tmp_path / "dest"))):
        began = time.monotonic()
        one_sentence(hs(*ends, timeout=60), 5, "reach")
        assert time.monotonic() - began < 15


@pytest.mark.full
def test_an_endpoint_that_accepts_and_never_answers_is_said_within_15_seconds(source: Path, hs: Submit) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hs.env |= {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{silent.getsockname()[1]}", "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1",
        }  # fmt: skip
        began = time.monotonic()
        one_sentence(hs(str(source), "s3://bucket/x", timeout=120), 5, "reach")
        assert time.monotonic() - began < 15


def test_an_unreachable_broker_or_ledger_is_said_within_15_seconds(
    tmp_path: Path, source: Path, hs: Submit, valkey: servers.ValkeyServer
) -> None:
    (port,) = servers.free_ports(1)
    for options in (
        ["--broker", f"redis://:hunter2@127.0.0.1:{port}/0"],
        ["--broker", f"redis+socket://{tmp_path}/no.sock"],
        ["--broker", valkey.url, "--state", f"redis://:hunter2@127.0.0.1:{port}/0"],
    ):
        began = time.monotonic()
        ran = hs(str(source), str(tmp_path / "dest"), *options, timeout=60)
        one_sentence(ran, 5, "reach")
        assert time.monotonic() - began < 15
        assert "hunter2" not in ran.err + ran.out


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x", "x"),
        ("x", "x/y"),
        ("x/y", "x"),
        ("x/.", "x"),
        ("link", "x"),
        ("link/y", "x"),
        ("x", "x/new/er"),
        ("x/f", "x/f"),
    ],
)
def test_a_source_that_touches_its_destination_is_refused(tmp_path: Path, hs: Submit, a: str, b: str) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "f").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("x")
    before = compare.tree(tmp_path / "x")
    one_sentence(hs(a, b, cwd=tmp_path), 4)
    assert compare.tree(tmp_path / "x") == before


def test_overlapping_prefixes_are_refused_and_neighbours_are_not(s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    root = f"s3://{bucket.bucket}"
    bucket.client.put_object(Bucket=bucket.bucket, Key="x/f", Body=b"hi")
    for a, b in (
        (f"{root}/x", f"{root}/x/"),
        (f"{root}/x", f"{root}/x/y"),
        (f"{root}/x/y/", f"{root}/x"),
        (root, f"{root}/z"),
    ):
        one_sentence(hs(a, b), 4, "s3://")
    assert hs(f"{root}/x", f"{root}/x2").files["done"] == 1


def test_the_same_job_twice_at_once_is_refused_with_the_first_ones_id(
    tmp_path: Path, source: Path, s3: tuple[Submit, Bucket]
) -> None:
    hs, bucket = s3
    (source / "large").write_bytes(os.urandom(2 * MIB))
    with SlowProxy(bucket.endpoint) as proxy:
        hs.env["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
        proxy.hold_after(up=500_000)
        first = hs.start(str(source), f"s3://{bucket.bucket}/x", "--json")
        try:
            proxy.held()
            direct = Submit(hs.folder, {**hs.env, "AWS_ENDPOINT_URL_S3": bucket.endpoint})
            second = direct(str(source), f"s3://{bucket.bucket}/x")
            proxy.release()
            out, err = first.communicate(timeout=120)
        finally:
            first.kill()
    ran = Ran(first.returncode, "", err.decode(), as_object(out))
    assert_true(ran)
    assert (ran.code, ran.files["done"]) == (0, 3)
    one_sentence(second, 4, ran.json["job_id"])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--modify-window", "soon"], "modify"),
        (["--min-size", "much"], "min-size"),
        (["--max-size", "-1"], "max-size"),
        (["--min-size", "2K", "--max-size", "1K"], "min-size"),
        (["--jobs", "-3"], "jobs"),
        (["-j", "many"], "jobs"),
        (["--memory", "1MiB"], "memory"),
        (["--retries", "0"], "retries"),
        (["--stall-timeout", "later"], "stall"),
        (["--conflict-retries", "x"], "conflict"),
        (["--on-conflict", "pray"], "on-conflict"),
        (["--log-format", "xml"], "log"),
        (["--broker", "http://x"], "broker"),
        (["--copy-links", "--skip-links"], "--skip-links"),
        (["--no-metadata", "-a"], "--no-metadata"),
        (["-o"], "-g"),
        (["--exclude-from", "no such file"], "no such file"),
        (["--exclude", ""], "pattern"),
        (["--frobnicate"], "--frobnicate"),
        (["third argument"], "third argument"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_a_bad_option_is_named_and_nothing_is_done(
    tmp_path: Path, source: Path, hs: Submit, options: list[str], named: str
) -> None:
    one_sentence(hs(str(source), str(tmp_path / "dest"), *options), 2, named)
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize(
    ("a", "b"),
    [("ftp://host/x", "dest"), ("s3://", "dest"), ("s3:///x", "dest"), ("s3://b!/x", "dest"), ("", "dest"),
     ("file://otherhost/x", "dest"), ("source", ""), ("s3://bucket//x", "dest")],
)  # fmt: skip
def test_a_location_that_cannot_be_is_a_usage_error(tmp_path: Path, source: Path, hs: Submit, a: str, b: str) -> None:
    one_sentence(hs(a, b, cwd=tmp_path), 2)


# --- while it runs: the others are done ---------------------------------------------------------------------------------


def test_what_cannot_be_read_is_listed_and_the_rest_is_done(tmp_path: Path, source: Path, hs: Submit) -> None:
    (source / "closed").mkdir()
    (source / "closed" / "inside").write_bytes(b"x")
    (source / "closed").chmod(0)
    (source / "listable").mkdir()
    (source / "listable" / "unseen").write_bytes(b"x")
    (source / "listable").chmod(0o444)
    (source / "secret").write_bytes(b"secret")
    (source / "secret").chmod(0)
    ran = hs(str(source), str(tmp_path / "dest"), weak=True)
    assert ran.code == 1
    assert (tmp_path / "dest" / "a").read_bytes() == (tmp_path / "dest" / "sub" / "b").read_bytes() == b"content"
    assert {"closed/", "listable/unseen", "secret"} <= ran.failures.keys(), ran.failures
    assert set(ran.classes.values()) == {"needs_person"}, ran.classes
    assert not (tmp_path / "dest" / "secret").exists()
    for name in ("closed", "listable", "secret"):
        (source / name).chmod(0o755)
    (tmp_path / "dest" / "listable").chmod(0o755)  # it is nobody's to write into since the first run gave it its mode
    mended = hs(str(source), str(tmp_path / "dest"), weak=True)
    assert (mended.code, mended.files["done"]) == (0, 3), mended.failures
    assert compare.differences(compare.tree(source), compare.tree(tmp_path / "dest")) == []


def test_a_source_root_that_cannot_be_listed_is_a_usage_error(tmp_path: Path, source: Path, hs: Submit) -> None:
    source.chmod(0)
    one_sentence(hs(str(source), str(tmp_path / "dest"), weak=True), 2, "denied")
    source.chmod(0o755)


def test_fifos_sockets_and_devices_are_skipped_and_counted(tmp_path: Path, source: Path, hs: Submit) -> None:
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.open(source, os.O_PATH)
        bound.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    special = 2
    if os.geteuid() == 0:
        os.mknod(source / "null", 0o666 | 0o020000, os.makedev(1, 3))
        special = 3
    ran = hs(str(source), str(tmp_path / "dest"))
    assert (ran.code, ran.files["done"]) == (0, 2), (ran.failures, ran.err)
    assert ran.json["skipped_by"]["special"] == ran.files["skipped"] == special
    assert sorted(compare.tree(tmp_path / "dest", "none")) == [b"a", b"sub/b"]
    assert_moved_nothing_but_special(hs(str(source), str(tmp_path / "dest")))


def assert_moved_nothing_but_special(ran: Ran) -> None:
    assert_moved_nothing(ran)
    assert ran.json["skipped_by"]["same"] == 2


def test_reserved_names_are_failures_and_never_written(tmp_path: Path, source: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    (source / "user.rclonelink").write_bytes(b"no link")
    (source / ".hugesync-mine").write_bytes(b"mine")
    (source / "user.hssig").write_bytes(b"mine, and allowed")
    for dest in (str(tmp_path / "dest"), f"s3://{bucket.bucket}/x"):
        ran = hs(str(source), dest)
        assert (ran.code, ran.files["done"]) == (1, 3), (ran.json, ran.err)
        assert {k: "reserved name" in v for k, v in ran.failures.items()} == {
            "user.rclonelink": True,
            ".hugesync-mine": True,
        }
    assert sorted(compare.tree(tmp_path / "dest", "none")) == [b"a", b"sub/b", b"user.hssig"]


def test_a_file_that_vanishes_grows_or_becomes_a_fifo_is_never_published_half(
    tmp_path: Path, source: Path, s3: tuple[Submit, Bucket]
) -> None:
    """Everything is held in the middle of the first upload; the files behind it then are not what was listed."""
    hs, bucket = s3
    (source / "a").write_bytes(os.urandom(2 * MIB))
    for n in range(60):
        (source / f"z{n:02}").write_bytes(os.urandom(2 * MIB))
    hs.env["HUGESYNC_PART_SIZE"] = "5MiB"
    with SlowProxy(bucket.endpoint) as proxy:
        hs.env["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
        proxy.hold_after(up=1_000_000)
        process = hs.start(str(source), f"s3://{bucket.bucket}/x", "-j", "1", "--json")
        proxy.held()
        (source / "z57").unlink()
        with open(source / "z58", "ab") as file:
            file.write(b"and more")
        (source / "z59").unlink()
        os.mkfifo(source / "z59")
        proxy.release()
        out, err = process.communicate(timeout=240)
    ran = Ran(process.returncode, "", err.decode(), as_object(out))
    assert_true(ran)
    assert ran.classes == {"z57": "source_changed", "z59": "source_changed"}, (ran.failures, ran.err)
    assert (ran.code, ran.files["failed"], ran.files["done"]) == (1, 2, 60)
    held = compare.bucket(bucket.client, bucket.bucket, "x/")
    assert b"z57" not in held
    assert b"z59" not in held
    now = {k: f for k, f in compare.tree(source, "none").items() if f.kind == "file"}
    assert compare.differences(now, held) == []


@pytest.mark.full  # a loaded machine lets the writer rest; every reading disturbed is in test_stages.py
def test_a_file_that_never_holds_still_is_listed_and_never_published(tmp_path: Path, source: Path, hs: Submit) -> None:
    busy = source / "busy"
    busy.write_bytes(os.urandom(7 * MIB))
    writer = subprocess.Popen(
        [
            "python3",
            "-c",
            f"import os\nwhile True:\n f=os.open({str(busy)!r},os.O_WRONLY); os.pwrite(f,os.urandom(8),0); os.close(f)",
        ]
    )
    try:
        began = busy.stat().st_mtime_ns
        until = time.monotonic() + 60
        while busy.stat().st_mtime_ns == began:  # or the job could end before the writer begins
            assert time.monotonic() < until
        ran = hs(str(source), str(tmp_path / "dest"))
    finally:
        writer.kill()
        writer.wait()
    assert (ran.code, ran.classes) == (1, {"busy": "source_changed"}), (ran.json, ran.err)
    assert not (tmp_path / "dest" / "busy").exists()
    assert ran.files["done"] == 2


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """A filesystem of ``size`` bytes at ``folder``."""
    folder.mkdir()
    options = f"size={size}"
    asked = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
    )
    if asked.returncode != 0:
        pytest.skip(f"a small filesystem cannot be mounted here: {asked.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("size", [200_000, 12 * MIB], ids=["in a batch", "in parts"])
def test_a_full_destination_fails_what_does_not_fit(tmp_path: Path, source: Path, hs: Submit, size: int) -> None:
    hs.env["HUGESYNC_PART_SIZE"] = "5MiB"
    (source / "large").write_bytes(os.urandom(size))
    dest = tmp_path / "dest"
    with mounted(dest, size // 2):
        ran = hs(str(source), str(dest))
        assert (ran.code, ran.files["failed"]) == (1, 1), (ran.json, ran.err)
        assert ran.classes == {"large": "needs_person"}, ran.failures
        assert sorted(compare.tree(dest, "none")) == [b"a", b"sub/b"]
        if size < MIB:
            assert ran.bytes["sent"] == ran.bytes["done"] < size, "what found no room did not move"


def test_a_destination_that_cannot_be_written_is_said(tmp_path: Path, source: Path, hs: Submit) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "sub").mkdir()
    (dest / "sub").chmod(0o555)
    dest.chmod(0o555)
    ran = hs(str(source), str(dest / "below"), weak=True)
    assert ran.code in (1, 2), (ran.json, ran.err)
    assert "denied" in ran.err + str(ran.failures)
    paths = [failure["path"] for failure in ran.json["failures"]]
    assert sorted(paths) == sorted(set(paths)), "a folder that could not be made failed once"
    dest.chmod(0o755)
    (dest / "sub").chmod(0o755)


def test_a_file_is_in_the_way_of_the_destination(tmp_path: Path, source: Path, hs: Submit) -> None:
    (tmp_path / "dest").write_bytes(b"precious")
    ran = hs(str(source), str(tmp_path / "dest"))
    one_sentence(ran, 2, "not a folder")
    one_sentence(hs(str(source), str(tmp_path / "dest" / "below" / "it")), 2, "not a folder")
    assert (tmp_path / "dest").read_bytes() == b"precious"


def test_a_folder_in_the_way_of_a_file_and_a_file_in_the_way_of_a_folder(
    tmp_path: Path, source: Path, hs: Submit
) -> None:
    dest = tmp_path / "dest"
    (dest / "a").mkdir(parents=True)
    (dest / "a" / "precious").write_bytes(b"precious")
    (dest / "sub").write_bytes(b"precious")
    ran = hs(str(source), str(dest))
    assert (dest / "a" / "precious").read_bytes() == b"precious"
    assert (dest / "sub").read_bytes() == b"precious"
    assert "a" in ran.failures, (ran.json, ran.err)
    assert "a file is in the way of a folder" in ran.failures["sub/"]
    assert ran.code == 1
    assert ran.files["found"] == 2


def test_a_link_in_the_way_of_a_folder_stays_even_of_an_empty_one(tmp_path: Path, hs: Submit) -> None:
    """Nothing is deleted without --delete; the same command again changes nothing either."""
    source, dest = tmp_path / "source", tmp_path / "dest"
    (source / "empty").mkdir(parents=True)
    dest.mkdir()
    (dest / "empty").symlink_to("../elsewhere")
    for _ in range(2):
        ran = hs(str(source), str(dest))
        assert ran.code == 1
        assert "a symlink is in the way of a folder" in ran.failures["empty/"]
        assert (dest / "empty").readlink() == Path("../elsewhere")


# --- keys that are no names ---------------------------------------------------------------------------------------------

HOSTILE = (
    "../x", "a/../../x", "/abs", "a//b", "./c", "d/./e", "nul\0nul", "x" * 300, "long/" + "y" * 256, "p/" * 1 + "..",
    "\u201bC3\u201bA9",
)  # fmt: skip


def test_keys_that_no_filesystem_can_hold_stay_below_the_root_and_are_listed(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    root = outer / "in" / "root"
    root.mkdir(parents=True)
    bucket = MemoryBucket()
    store = MemoryStore(bucket)
    for key in (*HOSTILE, "good", "sub/good", "f", "f/below", "caf\u00e9", "CAF\u00c9"):
        store.put(key, b"evil" if key in HOSTILE else b"good", Meta(), None, Token())
    carried = carry(store, LocalStore(str(root)))
    failed = carried.refused.keys() | carried.unlike("done").keys()
    assert failed == {*HOSTILE, "f/below"}, (carried.refused, carried.unlike("done"))
    there = compare.tree(outer)
    assert {k for k, f in there.items() if f.kind != "folder"} == {
        b"in/root/" + name.encode() for name in ("good", "sub/good", "f", "caf\u00e9", "CAF\u00c9")
    }
    assert carried.found == len(HOSTILE) + 6


def test_hostile_keys_that_a_server_holds_are_listed_by_the_command(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    held = {"good": b"good", "sub/good": b"good", "caf\u201bC3\u201bA9": b"quoted"}
    for key, body in held.items():
        bucket.client.put_object(Bucket=bucket.bucket, Key=key, Body=body)
    ran = hs(f"s3://{bucket.bucket}", str(tmp_path / "dest"))
    assert (ran.code, list(ran.failures)) == (1, ["caf\u201bC3\u201bA9"]), (ran.json, ran.err)
    assert sorted(compare.tree(tmp_path / "dest", "none")) == [b"good", b"sub/good"]
    (tmp_path / "outside").mkdir()
    bucket.client.put_object(
        Bucket=bucket.bucket, Key="z.rclonelink", Body=b"../outside", Metadata={"hugesync-type": "symlink"}
    )
    bucket.client.put_object(Bucket=bucket.bucket, Key="z/evil", Body=b"evil")
    again = hs(f"s3://{bucket.bucket}", str(tmp_path / "dest"))
    assert again.code == 1
    assert list((tmp_path / "outside").iterdir()) == []
    assert {"z/evil", "z"} & {k.removesuffix(".rclonelink") for k in again.failures}, again.failures


def test_names_that_differ_by_case_only_stay_apart_or_are_listed(tmp_path: Path, hs: Submit) -> None:
    (tmp_path / "source").mkdir()
    for name in ("Name", "NAME", "name"):
        (tmp_path / "source" / name).write_bytes(name.encode())
    ran = hs(str(tmp_path / "source"), str(tmp_path / "dest"))
    kept = compare.tree(tmp_path / "dest", "none")
    assert len(kept) + len(ran.failures) == 3
    assert ran.files["done"] == len(kept)
