"""What the strict fake must do beyond the contract: refuse all that S3 refuses and emulators are known to wave through."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from awscrt.checksums import crc64nvme
from hypothesis import given
from hypothesis import strategies as st

from hugesync_tasks.errors import (
    BadName,
    Corrupted,
    NoSuchUpload,
    Permanent,
    TooLarge,
    Unsupported,
    VersionMismatch,
)
from hugesync_tasks.model import Entry, Kind, Meta
from hugesync_tasks.stores.base import ABSENT, ANY
from hugesync_tasks.stores.listing import Doorkeeper, strictly_increasing
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.memory_objects import S3_LIKE
from hugesync_tasks.token import Token

SMALL = replace(S3_LIKE, min_part=4, max_part=16, max_parts=3, max_put=100, max_copy=90, max_size=40)


def small(**limits: object) -> MemoryStore:
    return MemoryStore(limits=replace(SMALL, **limits))  # type: ignore[arg-type]


def put(store: MemoryStore, key: str, body: bytes = b"x") -> str:
    return store.put(key, body, Meta(), ANY, Token()).version


def keys(store: MemoryStore, start_after: str = "") -> list[str]:
    return [e.key for e in store.list(Token(), start_after)]


# what the server refuses


def test_a_part_damaged_on_the_way_is_refused_and_not_kept() -> None:
    store = small()
    upload = store.create_upload("f", 8, 4, Meta(), Token())
    store.bucket.wire = lambda body: bytes([body[0] ^ 1]) + body[1:]
    with pytest.raises(Corrupted):
        store.put_part(upload, 1, b"abcd", Token())
    with pytest.raises(Corrupted):
        store.put("g", b"abcd", Meta(), ABSENT, Token())
    assert store.list_parts(upload, Token()) == []
    assert store.bucket.dump() == {}


def test_without_checksums_damage_arrives_unseen() -> None:
    store = small(full_crc64=False)
    store.bucket.wire = lambda body: b"?" * len(body)
    assert store.put("g", b"abcd", Meta(), ABSENT, Token()).proven == ""
    head = store.head("g", Token())
    assert head is not None
    assert head.crc64 is None
    assert head.md5 == hashlib.md5(b"????").hexdigest()


def test_the_announced_size_must_be_the_size_of_the_parts() -> None:
    store = small()
    upload = store.create_upload("f", 9, 4, Meta(), Token())
    parts = [store.put_part(upload, n, b"abcd", Token()) for n in (1, 2)]
    with pytest.raises(Permanent, match="announced were 9"):
        store.complete(upload, parts, Meta(), ABSENT, None, Token())
    assert store.head("f", Token()) is None


def test_a_second_complete_finds_no_upload() -> None:
    store = small()
    upload = store.create_upload("f", 4, 4, Meta(), Token())
    parts = [store.put_part(upload, 1, b"abcd", Token())]
    store.complete(upload, parts, Meta(), ABSENT, None, Token())
    with pytest.raises(NoSuchUpload):
        store.complete(upload, parts, Meta(), ANY, None, Token())


def test_a_part_that_is_too_small_is_refused_only_before_the_last() -> None:
    store = small()
    upload = store.create_upload("f", 7, 4, Meta(), Token())
    parts = [store.put_part(upload, 1, b"abc", Token()), store.put_part(upload, 2, b"abcd", Token())]
    with pytest.raises(Permanent, match="EntityTooSmall"):
        store.complete(upload, parts, Meta(), ABSENT, None, Token())
    again = [store.put_part(upload, 1, b"abcd", Token()), store.put_part(upload, 2, b"abc", Token())]
    assert store.complete(upload, again, Meta(), ABSENT, None, Token()).size == 7


def test_the_number_and_size_of_parts_are_bounded() -> None:
    store = small()
    upload = store.create_upload("f", 40, 16, Meta(), Token())
    for number in (0, 4):
        with pytest.raises(Permanent):
            store.put_part(upload, number, b"abcd", Token())
    with pytest.raises(TooLarge):
        store.put_part(upload, 1, b"x" * 17, Token())
    with pytest.raises(TooLarge):
        store.create_upload("g", 41, 16, Meta(), Token())
    with pytest.raises(TooLarge):
        store.put("g", b"x" * 101, Meta(), ABSENT, Token())
    put(store, "big", b"x" * 91)
    with pytest.raises(TooLarge):
        store.copy(store, "to", "big", "", Meta(), ABSENT, Token())


def test_parts_must_be_named_in_order_without_gaps_and_exist() -> None:
    store = small()
    upload = store.create_upload("f", 12, 4, Meta(), Token())
    one, two, three = (store.put_part(upload, n, b"%d..." % n, Token()) for n in (1, 2, 3))
    for wrong in ([], [two, one, three], [one, three], [one, one, two], [one, two, replace(three, number=4)]):
        with pytest.raises(Permanent):
            store.complete(upload, wrong, Meta(), ABSENT, None, Token())
    assert store.complete(upload, [one, two, three], Meta(), ABSENT, None, Token()).size == 12


def test_a_range_cannot_be_copied_from_a_source_that_is_too_small() -> None:
    store = small()
    version = put(store, "old", b"abcd")
    upload = store.create_upload("f", 4, 4, Meta(), Token())
    with pytest.raises(Permanent, match="too small"):
        store.copy_part(upload, 1, store, "old", version, 0, 4, Token())


def test_the_etag_of_parts_is_the_md5_of_their_md5s() -> None:
    store = small()
    upload = store.create_upload("f", 7, 4, Meta(), Token())
    parts = [store.put_part(upload, 1, b"abcd", Token()), store.put_part(upload, 2, b"efg", Token())]
    commit = store.complete(upload, parts, Meta(), ABSENT, crc64nvme(b"abcdefg"), Token())
    digests = hashlib.md5(b"abcd").digest() + hashlib.md5(b"efg").digest()
    assert commit.version == f"{hashlib.md5(digests).hexdigest()}-2"
    head = store.head("f", Token())
    assert head is not None
    assert (head.md5, head.crc64) == (None, crc64nvme(b"abcdefg"))
    assert put(store, "g", b"abcd") == hashlib.md5(b"abcd").hexdigest()


# the store that cannot


def test_where_commits_cannot_be_conditional_a_condition_is_refused_and_not_ignored() -> None:
    store = small(conditional_commit="none")
    with pytest.raises(Unsupported):
        store.put("f", b"x", Meta(), ABSENT, Token())
    assert store.bucket.dump() == {}
    store.put("f", b"x", Meta(), ANY, Token())


def test_where_copies_are_not_pinned_the_source_condition_is_ignored_as_ceph_does() -> None:
    store = small(part_conditional=False)
    put(store, "from", b"newer")
    store.copy(store, "to", "from", "0" * 32, Meta(), ABSENT, Token())
    assert store.head("to", Token()) is not None


def test_where_deletes_are_not_conditional_the_store_looks_first() -> None:
    store = small(delete_conditional=False)
    version = put(store, "f")
    with pytest.raises(VersionMismatch):
        store.delete("f", "0" * 32, Token())
    store.delete("f", version, Token())
    store.delete("f", version, Token())
    assert keys(store) == []


# keys


@pytest.mark.parametrize(
    "key", ["../x", "/abs", "a//b", "a/./b", "a/../b", "back\\slash", "n\0ul", "x" * 1024, "a/", "//"]
)
def test_keys_that_s3_allows_are_kept_to_the_byte(key: str) -> None:
    store = MemoryStore(page_size=1)
    put(store, "0")
    put(store, key, b"" if key.endswith("/") else b"body")
    put(store, "\U0010ffff")
    assert key in keys(store)
    head = store.head(key, Token())
    assert head is not None
    assert head.entry.key == key
    store.delete(key, head.entry.version, Token())
    assert keys(store) == ["0", "\U0010ffff"]


@pytest.mark.parametrize("key", ["", "x" * 1025, "é" * 513, "half\ud800"])
def test_keys_that_s3_refuses_are_bad_names(key: str) -> None:
    with pytest.raises(BadName) as caught:
        put(MemoryStore(), key)
    caught.value.key.encode()  # can be shown and sent


def test_a_prefix_counts_towards_the_length_of_a_key() -> None:
    store = MemoryStore(prefix="p/")
    put(store, "x" * 1022)
    with pytest.raises(BadName):
        put(store, "x" * 1023)


def test_a_folders_object_with_bytes_is_reported_and_never_written() -> None:
    store = small()
    store.bucket.put("d/", b"bytes", Meta(), ANY)
    (entry,) = store.list(Token())
    assert (entry.key, entry.kind) == ("d/", Kind.ERROR)
    assert entry.note
    with pytest.raises(Permanent):
        put(store, "d/", b"bytes")


def test_a_folders_object_keeps_its_metadata() -> None:
    store = small()
    meta = Meta(mtime_ns=1_400_000_000_000_000_007, mode=0o750)
    store.put("d/", b"", Meta(), ABSENT, Token())
    assert store.finish_folder("d/", meta, Token()) == ()
    head = store.head("d/", Token())
    assert head is not None
    assert (head.meta.mtime_ns, head.meta.mode) == (meta.mtime_ns, 0o750)


# one bucket, several prefixes


def test_prefixes_do_not_see_each_other_and_copy_within_the_bucket() -> None:
    bucket = MemoryBucket()
    one, two, other = MemoryStore(bucket, "data/"), MemoryStore(bucket, "data2/"), MemoryStore()
    version = put(one, "f", b"bytes")
    put(two, "g")
    assert (keys(one), keys(two)) == (["f"], ["g"])
    assert two.can_copy_from(one)
    assert not two.can_copy_from(other)
    two.copy(one, "copied", "f", version, Meta(), ABSENT, Token())
    assert sorted(bucket.dump()) == ["data/f", "data2/copied", "data2/g"]
    with pytest.raises(Unsupported):
        two.copy(other, "x", "f", version, Meta(), ABSENT, Token())


def test_the_object_of_the_root_itself_is_not_listed() -> None:
    bucket = MemoryBucket()
    bucket.put("root/", b"", Meta(), ANY)
    store = MemoryStore(bucket, "root/")
    put(store, "f")
    assert keys(store) == ["f"]


def test_a_dump_proves_what_was_touched_and_restores_it() -> None:
    store = small()
    put(store, "mine", b"1")
    before = store.bucket.dump()
    put(store, "mine", b"2")
    put(store, "new")
    after = store.bucket.dump()
    assert after.keys() - before.keys() == {"new"}
    assert after["mine"] != before["mine"]
    store.bucket.restore(before)
    assert store.bucket.dump() == before
    assert keys(store) == ["mine"]


def test_the_log_names_every_effect_and_nothing_that_was_refused() -> None:
    store = small()
    put(store, "f")
    with pytest.raises(VersionMismatch):
        store.put("f", b"y", Meta(), ABSENT, Token())
    store.head("f", Token())
    upload = store.create_upload("u", 4, 4, Meta(), Token())
    store.complete(upload, [store.put_part(upload, 1, b"abcd", Token())], Meta(), ABSENT, None, Token())
    store.delete("f", ANY, Token())
    store.delete("f", ANY, Token())
    assert store.bucket.log == [("put", "f"), ("create", "u"), ("part", "u"), ("complete", "u"), ("delete", "f")]


def test_last_modified_is_the_clocks_in_whole_seconds() -> None:
    store = MemoryStore(MemoryBucket(SMALL, clock=lambda: 1_700_000_000_987_654_321))
    put(store, "f")
    (entry,) = store.list(Token())
    assert entry.modified_ns == 1_700_000_000_000_000_000


def test_a_reader_keeps_the_version_it_opened() -> None:
    store = small()
    version = put(store, "f", b"old")
    with store.open("f", version, Token()) as reader:
        put(store, "f", b"new")
        assert b"".join(reader) == b"old"


# listing


@pytest.mark.parametrize("order", ["utf8", "segments", "utf16", "none"])
@given(
    names=st.sets(st.text(st.sampled_from("a/!-0.\uff5e\U0001f600"), min_size=1, max_size=5)),
    start=st.text("ab/!0", max_size=2),
)
def test_any_keys_are_listed_in_byte_order_from_any_start_whatever_the_server_does(
    order: str, names: set[str], start: str
) -> None:
    store = MemoryStore(prefix="p/", limits=replace(S3_LIKE, list_order=order), page_size=2, run_size=3)
    for name in names:
        put(store, name, b"")
    store.bucket.put("other", b"", Meta(), ANY)
    assert [k.encode() for k in keys(store, start)] == sorted(n.encode() for n in names if n > start)


def test_each_server_order_is_the_one_it_claims() -> None:
    def raw(order: str) -> list[str]:
        bucket = MemoryBucket(replace(S3_LIKE, list_order=order))
        for key in ("a!", "a/x", "\uff5e", "\U0001f600"):
            bucket.put(key, b"", Meta(), ANY)
        return [key for key, _ in bucket.page("", None, 10)[0]]

    assert raw("utf8") == ["a!", "a/x", "\uff5e", "\U0001f600"]
    assert raw("segments") == ["a/x", "a!", "\uff5e", "\U0001f600"]
    assert raw("utf16") == ["a!", "a/x", "\U0001f600", "\uff5e"]
    assert sorted(raw("none")) == raw("utf8")


def test_a_page_is_one_request() -> None:
    store = MemoryStore(page_size=2)
    for i in range(5):
        put(store, f"k{i}")
    token = Token()
    assert len(list(store.list(token))) == 5
    assert token.meter.take() == {"requests.list": 3}


def test_a_listing_out_of_order_or_with_a_key_twice_is_refused_by_the_stores_name() -> None:
    def entries(*names: str) -> list[Entry]:
        return [Entry(name, Kind.FILE) for name in names]

    assert list(strictly_increasing(entries("a", "b"), "s3://bucket/")) == entries("a", "b")
    for names in (("a/x", "a!"), ("a", "a"), ("\U0001f600", "\uff5e")):
        with pytest.raises(Permanent, match="s3://bucket/"):
            list(strictly_increasing(entries(*names), "s3://bucket/"))


def test_the_doorkeeper_asks_once_per_folder_and_never_below_a_refused_one() -> None:
    asked: list[str] = []

    def enter(folder: str) -> bool:
        asked.append(folder)
        return folder != "a/no/"

    keeper = Doorkeeper(enter)
    names = ["a/no/", "a/no/deep/x", "a/no/y", "a/x", "a/yes/1", "a/yes/2", "b"]
    assert [n for n in names if keeper.admits(n)] == ["a/x", "a/yes/1", "a/yes/2", "b"]
    assert asked == ["a/", "a/no/", "a/yes/"]
