"""The S3 adapter against a real SeaweedFS; ``test_s3_wire`` has what SeaweedFS never does."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from awscrt import checksums
from botocore.exceptions import ConnectionClosedError

from conftest import Bucket
from hugesync_tasks import errors
from hugesync_tasks.model import Kind, Meta, Part
from hugesync_tasks.stores.base import ANY, MIB, Limits
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.stores.s3_dialects import SEAWEEDFS, with_dialect
from hugesync_tasks.stores.s3_probe import probe
from hugesync_tasks.token import Token

MEASURED = with_dialect(Limits("s3", full_crc64=True, etag_is_md5=True, intents=True, probed=True), SEAWEEDFS)
META = Meta(
    mtime_ns=1_700_000_000_123_456_789,
    mode=0o640,
    uid=1000,
    gid=100,
    content_type="text/x-python",
    generation="0123456789abcdef0123456789abcdef",
)
STAMPED = Meta(generation="f" * 32)


@pytest.fixture
def store(s3_bucket: Bucket) -> Iterator[S3Store]:
    it = S3Store(s3_bucket.bucket, "data/", limits=MEASURED)
    yield it
    it.close()


@pytest.fixture
def by_boto(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """The same store with every small call through boto3."""
    monkeypatch.setattr("hugesync_tasks.stores.s3_small.S3Small.usable", lambda self, key: False)
    return store


def read(store: S3Store, key: str, version: str = "", start: int = 0, length: int | None = None) -> bytes:
    with store.open(key, version, Token(), start, length) as reader:
        return b"".join(reader)


def counted(token: Token) -> dict[str, int]:
    return token.meter.take()


def crc(body: bytes) -> int:
    return int(checksums.crc64nvme(body))


# --- small objects, by both ways ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["store", "by_boto"])
def test_an_object_comes_back_with_its_bytes_and_metadata(way: str, request: pytest.FixtureRequest) -> None:
    store: S3Store = request.getfixturevalue(way)
    token = Token()
    commit = store.put("a/b.py", b"hello", META, None, token)
    assert commit.proven == "crc64nvme"
    assert commit.version == hashlib.md5(b"hello").hexdigest()
    assert counted(token) == {"requests.put": 1, "bytes.sent": 5}
    head = store.head("a/b.py", token)
    assert head is not None
    assert dataclasses.replace(head.meta, storage_class=None) == META
    assert (head.entry.size, head.entry.mtime_ns, head.entry.mode) == (5, META.mtime_ns, 0o640)
    assert (head.entry.version, head.md5) == (commit.version, commit.version)
    assert counted(token) == {"requests.head": 1}
    with store.open("a/b.py", commit.version, token) as reader:
        assert b"".join(reader) == b"hello"
        assert reader.head.meta.generation == META.generation
    assert counted(token) == {"requests.get": 1, "bytes.received": 5}


def test_rclone_reads_the_mtime_that_is_written(store: S3Store, s3_bucket: Bucket) -> None:
    store.put("t", b"", META, None, Token())
    raw = s3_bucket.client.head_object(Bucket=s3_bucket.bucket, Key="data/t")["Metadata"]
    assert raw["mtime"] == "1700000000.123456789"
    assert raw["hugesync-mode"] == "640"


@pytest.mark.parametrize("way", ["store", "by_boto"])
def test_a_put_is_refused_when_something_else_is_there(way: str, request: pytest.FixtureRequest) -> None:
    store: S3Store = request.getfixturevalue(way)
    first = store.put("k", b"one", STAMPED, None, Token())
    with pytest.raises(errors.VersionMismatch):
        store.put("k", b"two", STAMPED, None, Token())
    with pytest.raises(errors.VersionMismatch):
        store.put("k", b"two", STAMPED, "0" * 32, Token())
    with pytest.raises(errors.VersionMismatch):
        store.put("absent", b"two", STAMPED, first.version, Token())
    assert read(store, "k") == b"one"
    second = store.put("k", b"two", STAMPED, first.version, Token())
    assert read(store, "k", second.version) == b"two"
    store.put("k", b"three", STAMPED, ANY, Token())
    assert read(store, "k") == b"three"


@pytest.mark.parametrize("way", ["store", "by_boto"])
def test_a_read_is_pinned_to_its_version(way: str, request: pytest.FixtureRequest) -> None:
    store: S3Store = request.getfixturevalue(way)
    old = store.put("k", b"one", STAMPED, None, Token())
    store.put("k", b"two", STAMPED, ANY, Token())
    with pytest.raises(errors.VersionMismatch):
        store.open("k", old.version, Token())
    with pytest.raises(errors.VersionMismatch):
        store.open("k", old.version, Token(), 0, 0)
    with pytest.raises(errors.NotFound):
        store.open("nothing", "", Token())
    assert store.head("nothing", Token()) is None


@pytest.mark.parametrize("way", ["store", "by_boto"])
def test_ranges_give_exactly_what_was_asked_for(way: str, request: pytest.FixtureRequest) -> None:
    store: S3Store = request.getfixturevalue(way)
    store.put("k", b"0123456789", STAMPED, None, Token())
    assert read(store, "k", start=3, length=4) == b"3456"
    assert read(store, "k", start=8) == b"89"
    assert read(store, "k", start=10, length=0) == b""
    with store.open("k", "", Token(), 3, 4) as reader:
        assert reader.head.entry.size == 10
    for start, length in [(5, 6), (10, 1), (11, None), (11, 0)]:
        with pytest.raises(errors.Permanent):
            read(store, "k", start=start, length=length)


@pytest.mark.parametrize("way", ["store", "by_boto"])
def test_an_empty_object_is_an_object(way: str, request: pytest.FixtureRequest) -> None:
    store: S3Store = request.getfixturevalue(way)
    store.put("empty", b"", META, None, Token())
    assert read(store, "empty") == b""
    assert [(e.key, e.size) for e in store.list(Token())] == [("empty", 0)]


WEIRD = [
    "with space", " lead", "new\nline", "tab\t", "ctl\x01", "del\x7f", "cr\rx", "ünïcödé", "per%cent", "a%20b", "plus+plus",
    "q?a=b&c", "#hash", "~tilde", "emoji \U0001f600", "quote'\"", "<tag>&amp;", "star*", "semi;colon:eq=", "trailing.",
    "...", "deep/er/and deeper/x", "\uff5e", "[br]{ace}|^`", "\u2028sep", "\u0085nel", "n" * 255,
]  # fmt: skip


def test_every_weird_key_is_stored_read_listed_and_removed_under_its_own_name(
    store: S3Store, s3_bucket: Bucket
) -> None:
    for key in WEIRD:
        commit = store.put(key, key.encode(), STAMPED, None, Token())
        assert read(store, key, commit.version) == key.encode()
        head = store.head(key, Token())
        assert head is not None
        assert head.entry.key == key
        raw = s3_bucket.client.get_object(Bucket=s3_bucket.bucket, Key="data/" + key)["Body"].read()
        assert raw == key.encode()
    assert [e.key for e in store.list(Token())] == sorted(WEIRD)
    for key in WEIRD:
        store.delete(key, hashlib.md5(key.encode()).hexdigest(), Token())
    assert list(store.list(Token())) == []


@pytest.mark.parametrize(
    "key", ["a//b", "a\\b", "../x", "a/./b", "/lead", "nul\0", "s" * 256, "k/" * 600, "", "\udcff"]
)
def test_a_key_that_seaweedfs_cannot_hold_or_would_fold_is_refused_before_it_is_sent(store: S3Store, key: str) -> None:
    token = Token()
    with pytest.raises(errors.BadName):
        store.put(key, b"x", STAMPED, None, token)
    assert counted(token) == {}


def test_a_prefix_does_not_match_its_longer_neighbour(s3_bucket: Bucket) -> None:
    client = s3_bucket.client
    for key in ("data/x", "data2/x", "data", "other"):
        if key != "data":
            client.put_object(Bucket=s3_bucket.bucket, Key=key, Body=b"x")
    store = S3Store(s3_bucket.bucket, "data/", limits=MEASURED)
    assert [e.key for e in store.list(Token())] == ["x"]
    with pytest.raises(ValueError, match="prefix"):
        S3Store(s3_bucket.bucket, "data")


def test_delete_needs_the_expected_version_and_takes_absence_for_success(store: S3Store) -> None:
    commit = store.put("k", b"one", STAMPED, None, Token())
    with pytest.raises(errors.VersionMismatch):
        store.delete("k", "0" * 32, Token())
    store.delete("k", commit.version, Token())
    store.delete("k", commit.version, Token())
    store.delete("k", ANY, Token())
    assert store.head("k", Token()) is None


def test_delete_compares_first_where_the_store_cannot(store: S3Store) -> None:
    store.limits = dataclasses.replace(MEASURED, delete_conditional=False)
    commit = store.put("k", b"one", STAMPED, None, Token())
    token = Token()
    with pytest.raises(errors.VersionMismatch):
        store.delete("k", "0" * 32, token)
    assert counted(token) == {"requests.head": 1}
    store.delete("k", commit.version, token)
    assert counted(token) == {"requests.head": 1, "requests.delete": 1}
    store.delete("k", commit.version, token)
    assert counted(token) == {"requests.head": 1}


def test_a_batch_answers_for_each_key(store: S3Store) -> None:
    store.put("b", b"theirs", STAMPED, None, Token())
    batch = store.batch()
    for key in "abc":
        batch.put(key, b"ours", STAMPED, None, Token())
    answers = batch.finish(Token())
    assert sorted(answers) == ["a", "b", "c"]
    assert isinstance(answers["b"], errors.VersionMismatch)
    assert read(store, "b") == b"theirs"
    assert read(store, "c") == b"ours"


def test_folders_and_links_are_listed_as_such(store: S3Store) -> None:
    store.put("empty/", b"", Meta(mode=0o755), None, Token())
    store.put("l.rclonelink", b"../target", Meta(link=True, generation="a" * 32), None, Token())
    assert [(e.key, e.kind, e.size) for e in store.list(Token())] == [
        ("empty/", Kind.DIR, 0),
        ("l.rclonelink", Kind.LINK, 9),
    ]
    head = store.head("l.rclonelink", Token())
    assert head is not None
    assert head.meta.link
    assert head.entry.kind is Kind.LINK
    assert store.finish_folder("empty/", Meta(mode=0o700), Token()) == ()


# --- listing ---------------------------------------------------------------------------------------------------------

ORDER = ["a-b", "a.txt", "a/x", "a0", "b!/q", "b/q", "\uff5e", "\U0001f600"]


@pytest.fixture
def paged(s3_bucket: Bucket) -> S3Store:
    store = S3Store(s3_bucket.bucket, "", limits=MEASURED, page_size=2)
    for key in reversed(ORDER):
        store.put(key, b"x", STAMPED, None, Token())
    return store


def test_a_listing_by_segments_is_brought_into_byte_order(paged: S3Store, s3_bucket: Bucket) -> None:
    token = Token()
    assert [e.key for e in paged.list(token)] == ORDER
    assert counted(token)["requests.list"] >= 4
    raw = s3_bucket.client.list_objects_v2(Bucket=paged.bucket)["Contents"]
    assert [o["Key"] for o in raw] != ORDER, "the server lists in byte order: this test shows nothing"


@pytest.mark.parametrize("after", ["", "a", "a-b", "a/", "a/x", "b", "b!/q", "\uff5e", "\U0001f600"])
def test_a_listing_starts_after_any_key(paged: S3Store, after: str) -> None:
    assert [e.key for e in paged.list(Token(), after)] == [k for k in ORDER if k > after]


def test_a_folder_that_is_not_entered_is_not_listed_and_asked_about_once(paged: S3Store) -> None:
    asked: list[str] = []

    def enter(folder: str) -> bool:
        asked.append(folder)
        return folder != "b/"

    assert [e.key for e in paged.list(Token(), "", enter)] == [k for k in ORDER if k != "b/q"]
    assert sorted(asked) == ["a/", "b!/", "b/"]


def test_what_is_ours_is_not_listed(store: S3Store) -> None:
    for key in ("a", ".hugesync/x", "d/.hugesync-0.part", "d/.hugesyncx/y", "d/x.hugesync"):
        store.put(key, b"x", STAMPED, None, Token())
    assert [e.key for e in store.list(Token())] == ["a", "d/x.hugesync"]


def test_the_order_of_an_unprobed_server_is_known_by_its_name(paged: S3Store) -> None:
    unprobed = S3Store(paged.bucket, "", page_size=3)
    assert unprobed.limits.list_order == "none"
    assert [e.key for e in unprobed.list(Token())] == ORDER


def test_a_server_that_does_not_keep_its_order_ends_the_listing(paged: S3Store) -> None:
    paged.limits = dataclasses.replace(MEASURED, list_order="utf8")
    with pytest.raises(errors.Permanent, match="out of order"):
        list(paged.list(Token()))


def test_listed_times_and_versions_are_those_of_head(store: S3Store) -> None:
    store.put("k", b"abc", STAMPED, None, Token())
    (listed,) = store.list(Token())
    head = store.head("k", Token())
    assert head is not None
    assert listed.version == head.entry.version
    assert listed.modified_ns is not None
    assert head.entry.modified_ns is not None
    assert abs(listed.modified_ns - head.entry.modified_ns) < 10**9
    assert listed.mtime_ns is None


def test_a_missing_bucket_is_said_so(s3_bucket: Bucket) -> None:
    store = S3Store("no-such-bucket-here", "", limits=MEASURED)
    with pytest.raises(errors.NoSuchBucket):
        list(store.list(Token()))
    with pytest.raises(errors.NoSuchBucket):
        store.put("k", b"x", STAMPED, None, Token())
    with pytest.raises(errors.NoSuchBucket):
        probe(store, Token())


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_for_a_person_and_not_shown(
    s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "WRONGWRONG")
    store = S3Store(s3_bucket.bucket, "", limits=MEASURED)
    for call in (
        lambda: list(store.list(Token())),
        lambda: store.put("k", b"x", STAMPED, None, Token()),
        lambda: store.open("k", "", Token()),
        lambda: store.create_upload("k", 1, 5 * MIB, STAMPED, Token()),
        lambda: probe(store, Token()),
    ):
        with pytest.raises(errors.BadCredentials) as caught:
            call()
        assert "WRONG" not in str(caught.value)
        assert s3_bucket.server.secret_key not in str(caught.value)


def test_absent_credentials_are_said_so(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = S3Store(s3_bucket.bucket, "", limits=MEASURED)
    with pytest.raises(errors.BadCredentials):
        list(store.list(Token()))
    with pytest.raises(errors.BadCredentials):
        store.put("k", b"x", STAMPED, None, Token())


def test_an_unknown_profile_is_named(s3_bucket: Bucket) -> None:
    with pytest.raises(errors.BadCredentials, match="nobody"):
        list(S3Store(s3_bucket.bucket, "", profile="nobody").list(Token()))


def test_who_may_only_read_is_denied_writing(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "readaccess")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "readsecret0123456789")
    store = S3Store(s3_bucket.bucket, "", limits=MEASURED)
    assert list(store.list(Token())) == []
    with pytest.raises(errors.AccessDenied):
        store.put("k", b"x", STAMPED, None, Token())
    with pytest.raises(errors.AccessDenied):
        probe(store, Token())
    assert probe(store, Token(), writes=False).list_order == "segments"


def test_an_unreachable_endpoint_is_transient(s3_bucket: Bucket) -> None:
    store = S3Store(s3_bucket.bucket, "", endpoint="http://127.0.0.1:9", limits=MEASURED)
    with pytest.raises(errors.Transient):
        list(store.list(Token()))
    with pytest.raises(errors.Transient):
        store.put("k", b"x", STAMPED, None, Token())


# --- multipart ---------------------------------------------------------------------------------------------------------

PART = 5 * MIB
BODY = bytes(range(256)) * (2 * PART // 256) + b"the end"
PIECES = [BODY[:PART], BODY[PART : 2 * PART], BODY[2 * PART :]]


def listed_as(listed: list[Part], put: list[Part]) -> bool:
    """SeaweedFS keeps no checksum with a part it lists; where a store does, it must be the right one."""
    return [p.crc64 for p in listed if p.crc64 is not None] in ([], [p.crc64 for p in put]) and [
        dataclasses.replace(p, crc64=None) for p in listed
    ] == [dataclasses.replace(p, crc64=None) for p in put]


def test_parts_in_any_order_make_one_proven_object(store: S3Store, s3_bucket: Bucket) -> None:
    token = Token()
    upload = store.create_upload("big file+1", len(BODY), PART, META, token)
    parts = {n: store.put_part(upload, n, PIECES[n - 1], token) for n in (3, 1, 2)}
    assert [p.crc64 for p in sorted(parts.values(), key=lambda p: p.number)] == [crc(p) for p in PIECES]
    assert listed_as(store.list_parts(upload, token), [parts[1], parts[2], parts[3]])
    assert store.head("big file+1", token) is None
    assert [(k, i) for k, i, _ in store.list_uploads(token)] == [("big file+1", upload.id)]
    commit = store.complete(upload, [parts[1], parts[2], parts[3]], META, None, crc(BODY), token)
    assert (commit.size, commit.proven) == (len(BODY), "crc64nvme")
    assert counted(token) == {
        "requests.create": 1, "requests.part": 3, "requests.list": 2, "requests.head": 1, "requests.complete": 1,
        "bytes.sent": len(BODY),
    }  # fmt: skip
    assert s3_bucket.client.get_object(Bucket=s3_bucket.bucket, Key="data/big file+1")["Body"].read() == BODY
    head = store.head("big file+1", Token(), digest=True)
    assert head is not None
    assert head.crc64 == crc(BODY)
    assert head.md5 is None
    assert head.meta.generation == META.generation
    assert list(store.list_uploads(Token())) == []


def test_a_large_object_is_read_whole_and_in_ranges(store: S3Store) -> None:
    upload = store.create_upload("k", len(BODY), PART, STAMPED, Token())
    commit = store.complete(
        upload, [store.put_part(upload, n, p, Token()) for n, p in enumerate(PIECES, 1)], STAMPED, None, None, Token()
    )
    assert read(store, "k", commit.version) == BODY
    assert read(store, "k", commit.version, PART - 1, 9 * MIB // 2) == BODY[PART - 1 : PART - 1 + 9 * MIB // 2]
    with store.open("k", commit.version, Token(), 1, 9 * MIB) as reader:
        chunks = list(reader)
    assert b"".join(chunks) == BODY[1 : 1 + 9 * MIB]
    assert max(len(c) for c in chunks) <= MIB


def test_a_wrong_checksum_is_refused_by_the_store(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = store.create_upload("k", 5, PART, STAMPED, Token())
    with monkeypatch.context() as m:
        m.setattr("hugesync_tasks.stores.s3_uploads.crc64_of", lambda body: crc(body) ^ 1)
        with pytest.raises(errors.Corrupted):
            store.put_part(upload, 1, b"hello", Token())
    part = store.put_part(upload, 1, b"hello", Token())
    with pytest.raises(errors.Corrupted):
        store.complete(upload, [part], STAMPED, None, crc(b"hello") ^ 1, Token())
    assert store.head("k", Token()) is None
    store.complete(upload, [part], STAMPED, None, crc(b"hello"), Token())


def test_complete_is_conditional_and_leaves_the_upload_when_refused(store: S3Store) -> None:
    theirs = store.put("k", b"theirs", STAMPED, None, Token())
    upload = store.create_upload("k", 5, PART, STAMPED, Token())
    part = store.put_part(upload, 1, b"hello", Token())
    for expected in (None, "0" * 32):
        with pytest.raises(errors.VersionMismatch):
            store.complete(upload, [part], STAMPED, expected, crc(b"hello"), Token())
    assert read(store, "k") == b"theirs"
    assert listed_as(store.list_parts(upload, Token()), [part])
    store.complete(upload, [part], STAMPED, theirs.version, crc(b"hello"), Token())
    assert read(store, "k") == b"hello"


def test_parts_that_do_not_cover_the_file_are_never_completed(store: S3Store) -> None:
    upload = store.create_upload("k", 6, PART, STAMPED, Token())
    part = store.put_part(upload, 1, b"hello", Token())
    for parts in ([part], [], [dataclasses.replace(part, number=2, size=6)]):
        token = Token()
        with pytest.raises(errors.Permanent, match="cannot complete"):
            store.complete(upload, parts, STAMPED, None, None, token)
        assert counted(token) == {}


def test_an_aborted_upload_is_gone_and_may_be_aborted_again(store: S3Store) -> None:
    upload = store.create_upload("k", 5, PART, STAMPED, Token())
    part = store.put_part(upload, 1, b"hello", Token())
    store.abort(upload, Token())
    store.abort(upload, Token())
    with pytest.raises(errors.NoSuchUpload):
        store.put_part(upload, 1, b"hello", Token())
    with pytest.raises(errors.NoSuchUpload):
        store.list_parts(upload, Token())
    with pytest.raises(errors.NoSuchUpload):
        store.complete(upload, [part], STAMPED, None, None, Token())


@pytest.mark.parametrize("lost", ["create_multipart_upload", "abort_multipart_upload"])
def test_a_probe_whose_connection_breaks_leaves_no_upload(
    store: S3Store, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The reply of its create is lost, or the store is away as its first part is sent and its abort as well."""
    control, broken = store.clients.control, ConnectionClosedError(endpoint_url="http://store")
    once = [1]
    call = getattr(control, lost)

    def breaks(**how: Any) -> Any:
        if not once:
            return call(**how)
        if lost.startswith("create"):
            call(**how)
        once.pop()
        raise broken

    def no_part(**how: Any) -> Any:
        raise broken

    monkeypatch.setattr(control, lost, breaks)
    monkeypatch.setattr(control, "upload_part", no_part)
    with pytest.raises(errors.Transient):
        probe(store, Token())
    assert once == []
    assert s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.bucket).get("Uploads", []) == []


def test_no_request_is_made_for_an_upload_that_was_never_begun(store: S3Store) -> None:
    """Without its id Ceph takes a part for a whole object, and an abort for a delete."""
    unbegun = dataclasses.replace(store.create_upload("k", 5, PART, STAMPED, Token()), id="")
    token = Token()
    for call in (
        lambda: store.put_part(unbegun, 1, b"hello", token),
        lambda: store.list_parts(unbegun, token),
        lambda: store.complete(unbegun, [Part(1, 5, "e")], STAMPED, None, None, token),
    ):
        with pytest.raises(errors.NoSuchUpload):
            call()
    store.abort(unbegun, token)
    assert token.meter.take().get("requests.abort", 0) == 0


def test_copies_stay_within_the_service_and_are_pinned_and_conditional(store: S3Store, s3_bucket: Bucket) -> None:
    token = Token()
    source = S3Store(s3_bucket.bucket, "from/", limits=MEASURED)
    assert store.can_copy_from(source)
    original = source.put("s p+c", b"copied", STAMPED, None, Token())
    commit = store.copy(source, "k", "s p+c", original.version, META, None, token)
    assert commit.size == 6
    assert counted(token) == {"requests.put": 1, "requests.head": 1, "bytes.copied_server_side": 6}
    head = store.head("k", Token())
    assert head is not None
    assert (head.meta.mode, head.meta.generation) == (META.mode, META.generation)
    with pytest.raises(errors.VersionMismatch):
        store.copy(source, "k", "s p+c", original.version, META, None, token)
    with pytest.raises(errors.VersionMismatch):
        store.copy(source, "k2", "s p+c", "0" * 32, META, None, token)
    with pytest.raises(errors.NotFound):
        store.copy(source, "k2", "nothing", "", META, None, token)


def test_a_copied_range_answers_with_its_checksum(store: S3Store) -> None:
    original = store.put("src", b"0123456789", STAMPED, None, Token())
    upload = store.create_upload("k", 4, PART, STAMPED, Token())
    token = Token()
    part = store.copy_part(upload, 1, store, "src", original.version, 3, 4, token)
    assert part.crc64 == crc(b"3456")
    assert counted(token) == {"requests.part_copy": 1, "bytes.copied_server_side": 4}
    with pytest.raises(errors.VersionMismatch):
        store.copy_part(upload, 1, store, "src", "0" * 32, 3, 4, Token())
    store.complete(upload, [part], STAMPED, None, crc(b"3456"), Token())
    assert read(store, "k") == b"3456"


def test_in_a_bucket_of_versions_a_copy_is_pinned_by_the_version_itself(store: S3Store, s3_bucket: Bucket) -> None:
    keeps_versions(s3_bucket)
    first = store.create_upload("src", PART, PART, STAMPED, Token())
    made = store.complete(first, [store.put_part(first, 1, b"a" * PART, Token())], STAMPED, None, None, Token())
    looked = [store.head("src", Token()), store.head("src", Token(), digest=True)]
    assert made.version_id
    assert [head and head.version_id for head in looked] == [made.version_id] * 2, "by either library"
    store.put("src", b"b" * PART, STAMPED, made.version, Token())
    upload = store.create_upload("k", 4, PART, STAMPED, Token())
    part = store.copy_part(upload, 1, store, "src", "", 3, 4, Token(), made.version_id)
    assert part.crc64 == crc(b"aaaa"), "no condition was sent: the id alone kept the rival's bytes out"
    with pytest.raises(errors.StoreError):
        store.copy_part(upload, 1, store, "src", "", 3, 4, Token(), "0" * 32)


def test_an_object_of_no_version_of_its_own_has_no_id(store: S3Store, s3_bucket: Bucket) -> None:
    store.put("src", b"before", STAMPED, None, Token())
    for _ in range(2):
        looked = [store.head("src", Token()), store.head("src", Token(), digest=True)]
        assert [head and head.version_id for head in looked] == ["", ""]
        keeps_versions(
            s3_bucket
        )  # what was there before is the version "null", which the next write may take the place of


def keeps_versions(s3_bucket: Bucket) -> None:
    s3_bucket.client.put_bucket_versioning(Bucket=s3_bucket.bucket, VersioningConfiguration={"Status": "Enabled"})


def test_another_profile_or_endpoint_is_no_source_of_server_side_copies(store: S3Store, s3_bucket: Bucket) -> None:
    elsewhere = S3Store(s3_bucket.bucket, "", endpoint="http://127.0.0.1:9", limits=MEASURED)
    assert not store.can_copy_from(elsewhere)


# --- cancel, fork, exit --------------------------------------------------------------------------------------------


def test_a_cancel_ends_a_part_within_a_slice(store: S3Store) -> None:
    upload = store.create_upload("k", 3 * PART, 3 * PART, STAMPED, Token())
    token = Token(pulse=lambda n: token.cancel())
    with pytest.raises(errors.Cancelled):
        store.put_part(upload, 1, b"x" * (3 * PART), token)
    assert 0 < counted(token)["bytes.sent"] <= 2 * MIB
    assert store.list_parts(upload, Token()) == []


def test_a_passed_deadline_ends_a_read(store: S3Store) -> None:
    now = 0.0
    store.put("k", b"x" * (6 * MIB), STAMPED, None, Token())
    token = Token(deadline=10.0, clock=lambda: now)
    with pytest.raises(errors.DeadlineExceeded), store.open("k", "", token) as reader:
        for _ in reader:
            now = 11.0


def test_a_forked_child_builds_clients_of_its_own(store: S3Store) -> None:
    """boto3 only: obstore must never have run in a process that forks."""
    parent = store.clients.control
    pid = os.fork()
    if pid == 0:
        os._exit(0 if store.clients.control is not parent else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert store.clients.control is parent


AT_EXIT = """
import sys, threading, time
from hugesync_tasks.model import Meta
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.token import Token
store = S3Store(sys.argv[1], "exit/")
began = threading.Semaphore(0)
def loop(n):
    while True:
        store.put(f"k{n}", b"x" * 100_000, Meta(), "*", Token())
        began.release()
for n in range(8):
    threading.Thread(target=loop, args=(n,), daemon=True).start()
for _ in range(16):
    began.acquire()
sys.exit(7)
"""


def test_the_interpreter_ends_cleanly_while_daemon_threads_write(s3_bucket: Bucket) -> None:
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", AT_EXIT, s3_bucket.bucket], capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 7, done.stderr.decode()


def test_building_a_store_loads_no_sdk() -> None:
    code = (
        "import sys; from hugesync_tasks.stores.s3 import S3Store; S3Store('b'); "
        "sys.exit(any(m in sys.modules for m in ('boto3', 'botocore', 'obstore', 'awscrt')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- probe -----------------------------------------------------------------------------------------------------------


def test_the_probe_measures_seaweedfs_and_leaves_nothing(s3_bucket: Bucket) -> None:
    store = S3Store(s3_bucket.bucket, "p/")
    token = Token()
    limits = probe(store, token)
    assert limits == MEASURED
    assert sum(n for name, n in counted(token).items() if name.startswith("requests.")) <= 8
    client = s3_bucket.client
    assert client.list_objects_v2(Bucket=s3_bucket.bucket)["KeyCount"] == 0
    assert not client.list_multipart_uploads(Bucket=s3_bucket.bucket).get("Uploads")
