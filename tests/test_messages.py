"""What people read: which end, which place, what to do, in units that they write themselves."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from conftest import Bucket
from hugesync_producer import human
from hugesync_producer.progress import resuming
from hugesync_producer.runtimefolder import refuse_unusable
from hugesync_tasks.config import Settings, load
from hugesync_tasks.errors import AccessDenied, FailureClass, NotFound, Refused, StoreError, UsageError
from hugesync_tasks.model import Meta, failed
from hugesync_tasks.process import Process
from hugesync_tasks.state.redis import RedisLedger
from hugesync_tasks.stores.base import Store
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.local_errors import store_error
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.named import NamedStore
from hugesync_tasks.token import Token
from hugesync_tasks.uri import parse_location
from submit import Ran, Submit


@pytest.fixture
def hs(tmp_path: Path) -> Submit:
    return Submit(tmp_path / "home")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_bytes(b"content")
    return tmp_path / "source"


def sentence(ran: Ran) -> str:
    """The one line on stderr, without the command's name."""
    (line,) = ran.err.splitlines()
    return line.removeprefix("hugesync-submit: ")


# --- what failed: the file once, and at which end -----------------------------------------------------------------------


def test_a_file_that_failed_is_named_once_with_the_end_at_which_it_did(
    tmp_path: Path, source: Path, hs: Submit
) -> None:
    (source / "a").chmod(0)
    ran = hs(source, tmp_path / "dest", json=False, weak=True)
    assert "\n  needs action   a: at the source: permission denied\n" in ran.out + "\n"

    (source / "a").chmod(0o644)
    (tmp_path / "dest").mkdir(mode=0o555)
    ran = hs(source, tmp_path / "dest", weak=True)
    assert ran.failures["a"] == "at the destination: permission denied"
    assert ran.classes["a"] == "needs_person"
    (tmp_path / "dest").chmod(0o755)


def test_each_class_of_failure_has_words_that_fit_the_column() -> None:
    words = [human.failure(kind) for kind in FailureClass]
    assert len(set(words)) == len(FailureClass)
    assert all(len(word) <= 14 and "_" not in word for word in words)


def local(tmp_path: Path) -> Store:
    (tmp_path / "root").mkdir()
    return LocalStore(str(tmp_path / "root"))


def memory(tmp_path: Path) -> Store:
    return MemoryStore(MemoryBucket())


@pytest.mark.parametrize("make", [local, memory])
def test_every_call_that_fails_tells_its_end_and_place(tmp_path: Path, make: Callable[[Path], Store]) -> None:
    inner = make(tmp_path)
    store = NamedStore(inner, "source", "/the/place")
    raised: list[StoreError] = []

    def must_fail(call: Callable[[], object]) -> None:
        with pytest.raises(StoreError) as caught:
            call()
        raised.append(caught.value)

    must_fail(lambda: store.open("gone", "1:1:1:1", Token()))
    must_fail(lambda: store.put("a//b", b"", Meta(), None, Token()) if make is local else store.open("x", "v", Token()))
    commit = store.put("f", b"one", Meta(), None, Token())
    must_fail(lambda: store.put("f", b"two", Meta(), None, Token()))
    reader = store.open("f", commit.version, Token())
    if make is local:
        (tmp_path / "root" / "f").write_bytes(b"longer than it was")
        must_fail(lambda: list(reader))
    batch = store.batch()
    batch.put("f", b"three", Meta(), None, Token())
    (answer,) = batch.finish(Token()).values()
    assert isinstance(answer, StoreError)
    for error in (*raised, answer):
        assert (error.side, error.place) == ("source", "/the/place")
        assert failed(error).message.startswith("at the source: ")


def test_a_listing_that_fails_midway_tells_its_end_too() -> None:
    class Broken(MemoryStore):
        def list(self, *_: object, **__: object) -> Iterator[object]:  # type: ignore[override]
            yield from ()
            raise AccessDenied("cannot list: access denied")

    with pytest.raises(AccessDenied) as caught:
        list(NamedStore(Broken(MemoryBucket()), "destination", "s3://b/p/").list(Token()))
    assert caught.value.told() == "the destination s3://b/p/: cannot list: access denied"


def test_a_message_does_not_repeat_the_key_that_stands_before_it() -> None:
    denied = store_error(OSError(errno.EACCES, "x"), "a/b")
    assert str(denied) == "a/b: permission denied"
    assert denied.words == denied.of_file() == "permission denied"
    assert NotFound("'a b': bad name", "a b").words == "bad name"
    denied.side, denied.place = "source", "/data"
    assert denied.told() == "the source /data: a/b: permission denied"
    assert Refused("as it is").told() == "as it is"


def test_an_error_of_ours_that_fails_a_file_is_no_internal_error() -> None:
    assert failed(UsageError("this worker has no such profile")).message == "this worker has no such profile"
    assert failed(ZeroDivisionError("oops")).message.startswith("internal error: ")


# --- places ---------------------------------------------------------------------------------------------------------------


def test_a_root_that_cannot_be_listed_is_named(tmp_path: Path, source: Path, hs: Submit) -> None:
    source.chmod(0)
    said = sentence(hs(source, tmp_path / "dest", weak=True))
    source.chmod(0o755)
    assert said == f"the source {source}: permission denied"


def test_a_bucket_that_is_not_there_is_named_once(tmp_path: Path, source: Path, s3_bucket: Bucket, hs: Submit) -> None:
    hs.env |= s3_bucket.env
    for ends in ((source, "s3://no-such-bucket/x"), ("s3://no-such-bucket/x/", tmp_path / "dest")):
        said = sentence(hs(*ends))
        assert said.count("no-such-bucket") == 1
        assert "there is no such bucket" in said


def test_overlapping_ends_are_told_in_grammar(tmp_path: Path, source: Path, hs: Submit) -> None:
    assert sentence(hs(source, source / "x")).startswith(f"{source} contains {source}/x: ")
    assert sentence(hs(source, tmp_path)).startswith(f"{source} lies inside {tmp_path}: ")
    assert sentence(hs(source, source)).startswith(f"{source} is the same place as {source}: ")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("s3:/bucket/x", "s3://bucket/x"),
        ("s3:bucket", "s3://bucket"),
        ("S3:/bucket", "S3://bucket"),
        ("gs:/bucket", "gs://bucket"),
        ("file:/data", "file:///data"),
        ("me@host:/data", "another host"),
        ("me@host:data", "another host"),
        ("host:/data", "another host"),
        ("s3x:/bucket", "another host"),
    ],
)
def test_a_location_that_was_hardly_meant_as_a_path_is_refused_and_can_be_written_as_one(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_location(text)
    assert meant in str(caught.value)
    assert f"./{text}" in str(caught.value)
    assert parse_location(f"./{text}").local == os.path.abspath(text)


@pytest.mark.parametrize(
    "text", ["a:b", "s3", "s3:", "dir/s3:/x", "a 1:/x", "a@b", "s3x:y", "dir/me@host:x", "dir/host:/x"]
)
def test_other_paths_with_a_colon_stay_paths(text: str) -> None:
    assert parse_location(text).scheme == "file"


# --- settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("memory", "1MiB", "must be at least 128MiB"),
        ("part_size", "6GiB", "must be at most 5GiB"),
        ("stall_timeout", "0", "must be more than 0"),
        ("jobs", "many", "must be a whole number"),
        ("jobs", "1.5", "must be a whole number"),
        ("jobs", "20000", "must be at most 10000"),
        ("log_format", "xml", "must be 'text' or 'json'"),
        ("queue_prefix", "a b", "must be 1 to 32 letters, digits, - or _"),
    ],
)
def test_a_bad_value_is_told_in_the_units_that_people_write(key: str, value: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({key: value})
    assert str(caught.value) == f"bad value {value!r} of {key} (command line): {said}"


def test_a_runtime_folder_that_was_asked_for_and_cannot_be_used_is_named(
    tmp_path: Path, source: Path, hs: Submit
) -> None:
    missing = tmp_path / "missing"
    hs.env["HUGESYNC_RUNTIME_DIR"] = str(missing)
    ran = hs(source, tmp_path / "dest")
    assert ran.code == 2
    assert sentence(ran) == f"runtime_dir (HUGESYNC_RUNTIME_DIR) {missing} cannot be used: no such file or directory"
    assert not (tmp_path / "dest").exists()


def test_each_reason_why_a_runtime_folder_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("private")
    (tmp_path / ("x" * 100)).mkdir(mode=0o700)
    for name, why in (("file", "not a directory"), ("open", "chmod 700"), ("link", "symlink"), ("x" * 100, "bytes")):
        with pytest.raises(UsageError, match=why):
            refuse_unusable(tmp_path / name)


def test_an_advised_memory_lets_a_worker_hold_what_it_was_asked_for() -> None:
    small = Process(Settings(memory=128 << 20), RedisLedger.from_url("redis://127.0.0.1:1/0"), {})
    advised = small.memory_for(400 << 20)
    assert advised % (64 << 20) == 0
    large = Process(Settings(memory=advised), RedisLedger.from_url("redis://127.0.0.1:1/0"), {})
    assert large.budget.total >= 400 << 20 > small.budget.total
    assert advised < (1 << 30) + psutil.Process().memory_info().rss  # this process' own share is no worker's


def test_only_the_command_that_has_fresh_offers_it() -> None:
    assert "--fresh" in resuming("job7", "hugesync-submit")
    assert resuming("job7", "hugesync") == "going on with job job7, which did not finish"


def test_one_is_not_said_in_the_plural() -> None:
    assert [human.counted(n, "file") for n in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]


def test_an_endpoint_that_cannot_be_reached_is_named_with_the_place(source: Path, hs: Submit) -> None:
    hs.env |= {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    hs.env["AWS_REGION"] = "us-east-1"
    ran = hs(source, "s3://bucket/x")
    assert ran.code == 5
    assert sentence(ran).startswith("s3://bucket/x/ at http://127.0.0.1:1: cannot list: the store could not be reached")
