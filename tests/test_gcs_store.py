"""What only the Google Cloud Storage adapter has: trees of composes, parts that are objects, and what leaves on the wire."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from awscrt.checksums import crc32c, crc64nvme

from conftest import GcsBucket, only_google_of
from hugesync_producer.uploads import abort, survey
from hugesync_tasks.errors import (
    AccessDenied,
    BadCredentials,
    Corrupted,
    NeedsPerson,
    NoSuchBucket,
    NoSuchUpload,
    NotFound,
    StoreError,
    Throttled,
    Transient,
    Unsupported,
    UsageError,
    VersionMismatch,
)
from hugesync_tasks.model import Meta, Part, Upload
from hugesync_tasks.stages.verify import check_read
from hugesync_tasks.stores import gcs_client, gcs_root, opening
from hugesync_tasks.stores.base import ABSENT, ANY
from hugesync_tasks.stores.findings import COMMITS, COPIES, applied
from hugesync_tasks.stores.gcs import GcsStore
from hugesync_tasks.stores.gcs_client import GcsClients
from hugesync_tasks.stores.gcs_errors import error_of
from hugesync_tasks.stores.gcs_lifecycle import worded
from hugesync_tasks.stores.gcs_meta import meta_of, note_of
from hugesync_tasks.stores.gcs_parts import about
from hugesync_tasks.stores.gcs_place import Place, place_of
from hugesync_tasks.stores.gcs_small import GcsSmall
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.stores.rfc3339 import instant_ns, rfc3339
from hugesync_tasks.token import Token
from strict_gcs import Seen, StrictGcs

GENERATION = "0123456789abcdef" * 2
META = Meta(mtime_ns=1_600_000_000_123_456_789, mode=0o640, content_type="text/x-odd", generation=GENERATION)
PART = 10  # bytes


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictGcs]:
    with StrictGcs(buckets=("bucket", "other")) as it:
        only_google_of(it.env, monkeypatch)
        yield it


@pytest.fixture
def store(strict: StrictGcs) -> Iterator[GcsStore]:
    made = GcsStore("bucket", "root/")
    yield made
    made.close()


def body_of(parts: int) -> bytes:
    return b"".join(b"%010d" % n for n in range(parts))


def begin(store: GcsStore, body: bytes, key: str = "d/big") -> Upload:
    return store.create_upload(key, len(body), PART, META, Token())


def send(store: GcsStore, strict: StrictGcs, upload: Upload, body: bytes) -> list[Part]:
    """The parts as if they had been sent, at a hundredth of the time; the first and the last are."""
    step, count = upload.part_size, -(-len(body) // upload.part_size)
    parts = []
    for n in range(1, count + 1):
        chunk = body[(n - 1) * step : n * step]
        if n in (1, count):
            parts.append(store.put_part(upload, n, chunk, Token()))
        else:
            name = f"root/.hugesync/parts/{upload.id}/{n:05d}"
            made = strict.put("bucket", name, chunk, **about(upload, noted(chunk)))
            parts.append(Part(n, len(chunk), str(made.generation), crc64nvme(chunk)))
    return parts


def noted(chunk: bytes) -> str:
    return note_of(crc64nvme(chunk), crc32c(chunk), len(chunk))


def read(store: GcsStore, key: str) -> bytes:
    with store.open(key, "", Token()) as reader:
        return b"".join(reader)


def names(strict: StrictGcs, bucket: str = "bucket") -> list[str]:
    return sorted(strict.objects(bucket))


# trees


@pytest.mark.parametrize(("parts", "composes"), [(1, 1), (32, 1), (33, 2), (64, 3), (1025, 34)])
def test_any_number_of_parts_becomes_one_object_and_leaves_nothing(
    store: GcsStore, strict: StrictGcs, parts: int, composes: int
) -> None:
    body = body_of(parts)
    upload = begin(store, body)
    sent = send(store, strict, upload, body)
    assert len(store.list_parts(upload, Token())) == parts
    strict.requests.clear()
    commit = store.complete(upload, sent, META, ABSENT, crc64nvme(body), Token())
    assert read(store, "d/big") == body
    assert (commit.proven, commit.litter) == ("crc32c", False)
    assert names(strict) == ["root/d/big"]
    asked = [r for r in strict.requests if r.path.endswith("/compose")]
    assert len(asked) == composes
    head = store.head("d/big", Token())
    assert head is not None
    assert (head.meta.content_type, head.meta.mode, head.meta.generation) == ("text/x-odd", 0o640, GENERATION)
    assert head.entry.version == commit.version


def test_an_append_goes_on_from_the_old_object_and_never_composes_it_twice(store: GcsStore, strict: StrictGcs) -> None:
    old, tail = b"what was there" * 100, body_of(100)
    version = store.put("log", old, META, ABSENT, Token()).version
    upload = store.create_upload("log", len(old) + len(tail), PART, META, Token())
    first = store.copy_part(upload, 1, store, "log", version, 0, len(old), Token(), checksum=crc32c(old))
    assert store.list_parts(upload, Token()) == []
    sent = [replace(p, number=p.number + 1) for p in send(store, strict, upload, tail)]
    strict.requests.clear()
    commit = store.complete(upload, [first, *renumbered(store, strict, upload, sent)], META, version, None, Token())
    assert read(store, "log") == old + tail
    assert commit.version != version
    assert names(strict) == ["root/log"]
    final = [r for r in strict.requests if r.path.endswith("log/compose")]
    assert [dict(r.query)["ifGenerationMatch"] for r in final] == [version]


def renumbered(store: GcsStore, strict: StrictGcs, upload: Upload, parts: list[Part]) -> list[Part]:
    """The same temporaries, each under the next number."""
    folder = f"root/.hugesync/parts/{upload.id}/"
    made = []
    for part in reversed(parts):
        was = strict.objects("bucket")[f"{folder}{part.number - 1:05d}"]
        now = strict.put("bucket", f"{folder}{part.number:05d}", was.data, **about(upload, noted(was.data)))
        made.append(replace(part, etag=str(now.generation)))
    return made[::-1]


def test_what_a_receipt_takes_over_is_refused_when_it_is_another_version_by_then(store: GcsStore) -> None:
    version = store.put("log", b"old", META, ABSENT, Token()).version
    upload = store.create_upload("log", 13, PART, META, Token())
    first = store.copy_part(upload, 1, store, "log", version, 0, 3, Token())
    second = store.put_part(upload, 2, b"0123456789", Token())
    rival = store.put("log", b"rival", META, version, Token()).version
    for expected in (version, rival):
        with pytest.raises((VersionMismatch, NoSuchUpload)):
            store.complete(upload, [first, second], META, expected, None, Token())
        assert read(store, "log") == b"rival"


def test_only_a_whole_object_as_the_first_part_is_taken_over(store: GcsStore) -> None:
    version = store.put("f", b"0123456789", META, ABSENT, Token()).version
    upload = store.create_upload("g", 20, PART, META, Token())
    for number, start, length in ((2, 0, 10), (1, 1, 9), (1, 0, 9)):
        with pytest.raises(Unsupported):
            store.copy_part(upload, number, store, "f", version, start, length, Token())
    with pytest.raises(Unsupported):
        store.copy_part(upload, 1, GcsStore("other"), "f", version, 0, 10, Token())
    with pytest.raises(Corrupted):
        store.copy_part(upload, 1, store, "f", version, 0, 10, Token(), checksum=crc32c(b"other"))


def test_what_is_taken_over_into_another_object_stays_where_it_is(store: GcsStore, strict: StrictGcs) -> None:
    version = store.put("f", b"0123456789", META, ABSENT, Token()).version
    upload = store.create_upload("g", 20, PART, META, Token())
    parts = [store.copy_part(upload, 1, store, "f", version, 0, 10, Token())]
    parts.append(store.put_part(upload, 2, b"abcdefghij", Token()))
    store.complete(upload, parts, META, ABSENT, None, Token())
    assert read(store, "g") == b"0123456789abcdefghij"
    assert read(store, "f") == b"0123456789"
    assert names(strict) == ["root/f", "root/g"]


@pytest.mark.parametrize("count", [1, 40])
def test_another_storage_class_is_given_by_a_rewrite_under_the_same_condition(
    store: GcsStore, strict: StrictGcs, count: int
) -> None:
    body, meta = body_of(count), replace(META, storage_class="NEARLINE")
    upload = begin(store, body)
    parts = send(store, strict, upload, body)
    rival = store.put("d/big", b"rival", META, ABSENT, Token()).version
    with pytest.raises(VersionMismatch):
        store.complete(upload, parts, meta, ABSENT, None, Token())
    assert read(store, "d/big") == b"rival"
    store.complete(upload, parts, meta, rival, crc64nvme(body), Token())
    assert read(store, "d/big") == body
    assert {n: v.storage_class for n, v in strict.objects("bucket").items()} == {"root/d/big": "NEARLINE"}


@pytest.mark.parametrize("asked", [None, "STANDARD", "NEARLINE", "COLDLINE"])
@pytest.mark.parametrize("count", [1, 40])
def test_a_large_file_takes_the_buckets_class_or_the_one_that_is_asked_for(
    store: GcsStore, strict: StrictGcs, count: int, asked: str | None
) -> None:
    strict.state.bucket_fields["bucket"]["storageClass"] = "NEARLINE"
    body, meta = body_of(count), replace(META, storage_class=asked)
    upload = begin(store, body)
    store.complete(upload, send(store, strict, upload, body), meta, ABSENT, crc64nvme(body), Token())
    assert read(store, "d/big") == body
    assert {n: v.storage_class for n, v in strict.objects("bucket").items()} == {"root/d/big": asked or "NEARLINE"}


@pytest.mark.parametrize("asked", [None, "STANDARD", "NEARLINE"])
@pytest.mark.parametrize("old_class", ["STANDARD", "NEARLINE", "COLDLINE"])
@pytest.mark.parametrize("count", [1, 40])
def test_an_append_goes_on_from_an_object_of_any_class(
    store: GcsStore, strict: StrictGcs, count: int, old_class: str, asked: str | None
) -> None:
    strict.state.bucket_fields["bucket"]["storageClass"] = "NEARLINE"
    old, tail = b"what was there", body_of(count)
    version = store.put("log", old, replace(META, storage_class=old_class), ABSENT, Token()).version
    upload = store.create_upload("log", len(old) + len(tail), PART, META, Token())
    first = store.copy_part(upload, 1, store, "log", version, 0, len(old), Token(), checksum=crc32c(old))
    sent = [replace(p, number=p.number + 1) for p in send(store, strict, upload, tail)]
    parts, meta = [first, *renumbered(store, strict, upload, sent)], replace(META, storage_class=asked)
    commit = store.complete(upload, parts, meta, version, None, Token())
    assert read(store, "log") == old + tail
    assert commit.notes == ()
    assert {n: v.storage_class for n, v in strict.objects("bucket").items()} == {"root/log": asked or old_class}


def test_parts_whose_class_a_rule_changed_are_composed_all_the_same_and_a_repeat_finds_what_was_made(
    store: GcsStore, strict: StrictGcs
) -> None:
    body = body_of(40)
    upload = begin(store, body)
    parts = send(store, strict, upload, body)
    held = strict.state.buckets["bucket"]
    for number in (2, 3, 40):
        name = f"root/.hugesync/parts/{upload.id}/{number:05d}"
        held[name] = replace(held[name], storage_class="NEARLINE")
    strict.faults = lambda method, path, query: ("before", 503) if path.endswith("d%2Fbig/compose") else None
    with pytest.raises(Transient):
        store.complete(upload, parts, META, ABSENT, crc64nvme(body), Token())
    strict.faults = lambda method, path, query: None
    before = set(names(strict))
    with pytest.raises(VersionMismatch):
        store.complete(upload, parts, META, "5", crc64nvme(body), Token())
    assert set(names(strict)) == before
    store.complete(upload, parts, META, ABSENT, crc64nvme(body), Token())
    assert read(store, "d/big") == body
    assert names(strict) == ["root/d/big"]


# a key of a key service


KMS = "projects/p/locations/eu/keyRings/r/cryptoKeys/a b"


@pytest.mark.parametrize("asked", [None, "NEARLINE"])
def test_every_temporary_of_a_large_file_is_encrypted_with_the_key_that_was_asked_for(
    store: GcsStore, strict: StrictGcs, asked: str | None
) -> None:
    body, meta = body_of(40), replace(META, sse_kms_key=KMS, storage_class=asked)
    upload = store.create_upload("d/big", len(body), PART, meta, Token())
    assert upload == store.create_upload("d/big", len(body), PART, meta, Token())
    assert store.list_parts(begin(store, body), Token()) == []
    parts = [store.put_part(upload, n, body[(n - 1) * PART : n * PART], Token()) for n in range(1, 41)]
    assert store.list_parts(upload, Token()) == parts
    strict.faults = lambda m, path, q: ("before", 503) if "root%2Fd%2Fbig" in path.rpartition("/o/")[2] else None
    with pytest.raises(Transient):
        store.complete(upload, parts, meta, ABSENT, crc64nvme(body), Token())
    strict.faults = lambda method, path, query: None
    there = strict.objects("bucket")
    assert len(there) > 41
    assert {v.kms_key for v in there.values()} == {KMS}
    ((key, id, _),) = store.list_uploads(Token())
    assert key == "d/big"
    assert store.held(Upload(key, id, "", 0, 0), Token()) == sum(len(v.data) for v in there.values())
    store.complete(upload, parts, meta, ABSENT, crc64nvme(body), Token())
    assert {n: v.kms_key for n, v in strict.objects("bucket").items()} == {"root/d/big": KMS}
    store.put("small", b"x", meta, ABSENT, Token())
    store.copy(store, "copy", "small", "", meta, ABSENT, Token())
    assert {v.kms_key for v in strict.objects("bucket").values()} == {KMS}


# what is noted


@pytest.mark.parametrize("key", ["d/big", "d//big"])  # by obstore, and by the session, whose answers show a CRC32C
def test_a_note_is_believed_only_of_the_bytes_that_it_was_written_with(
    store: GcsStore, strict: StrictGcs, key: str
) -> None:
    body = body_of(3)
    upload = begin(store, body, key)
    store.complete(upload, send(store, strict, upload, body), META, ABSENT, crc64nvme(body), Token())

    def shown() -> list[int | None]:
        heads = [store.head(key, Token(), digest=digest) for digest in (True, False)]
        with store.open(key, "", Token()) as reader:
            check_read(reader.head, b"".join(reader))  # raises of a number that is not the bytes'
            return [*(h.crc64 for h in heads if h is not None), reader.head.crc64]

    known = None if key == "d/big" else crc64nvme(body)
    assert shown() == [crc64nvme(body), known, known]
    made = strict.objects("bucket")[f"root/{key}"]
    for other, metadata in (
        (b"rewritten, its metadata kept", made.metadata),
        (body[::-1], made.metadata),
        (body, {"hugesync-crc64": f"{crc64nvme(body):016x}"}),
    ):
        strict.put("bucket", f"root/{key}", other, metadata=metadata)
        assert shown() == [None, None, None]


# lost replies, kills, others


def _steps(store: GcsStore, strict: StrictGcs, upload: Upload, parts: list[Part], crc: int) -> int:
    strict.requests.clear()
    store.complete(upload, parts, META, ABSENT, crc, Token())
    return len(strict.requests)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("count", [3, 40])
def test_a_complete_survives_a_failure_at_every_request(
    store: GcsStore, strict: StrictGcs, when: str, count: int
) -> None:
    body = body_of(count)
    crc = crc64nvme(body)
    upload = begin(store, body)
    steps = _steps(store, strict, upload, send(store, strict, upload, body), crc)
    version = store.head("d/big", Token())
    assert version is not None
    store.delete("d/big", version.entry.version, Token())
    for step in range(min(steps, 8)):  # beyond, one delete is as the other
        parts = send(store, strict, upload, body)
        seen = iter(range(10_000))
        strict.faults = lambda m, p, q, at=step, n=seen: (when, 503) if next(n) == at else None  # type: ignore[misc,return-value]
        litter = _completed(store, upload, parts, crc)
        strict.faults = lambda m, p, q: None
        head = store.head("d/big", Token())
        assert head is not None, step
        assert head.meta.generation == GENERATION
        assert read(store, "d/big") == body, step
        left = [n for n in names(strict) if n != "root/d/big"]
        assert litter or not left, (step, left)
        store.abort(upload, Token())
        assert names(strict) == ["root/d/big"]
        store.delete("d/big", head.entry.version, Token())


def _completed(store: GcsStore, upload: Upload, parts: list[Part], crc: int) -> bool:
    """As the callers do: repeat what is transient; a conflict, or no upload, may be our own success."""
    for _ in range(3):
        try:
            return store.complete(upload, parts, META, ABSENT, crc, Token()).litter
        except Transient:
            continue
        except (VersionMismatch, NoSuchUpload):
            return True
    raise AssertionError("never completed")


def test_a_repeat_after_a_kill_uses_the_intermediates_that_are_there(store: GcsStore, strict: StrictGcs) -> None:
    body = body_of(100)
    upload = begin(store, body)
    parts = send(store, strict, upload, body)
    strict.faults = lambda method, path, query: ("before", 503) if path.endswith("d%2Fbig/compose") else None
    with pytest.raises(Transient):
        store.complete(upload, parts, META, ABSENT, crc64nvme(body), Token())
    strict.faults = lambda method, path, query: None
    before = {n: v.generation for n, v in strict.objects("bucket").items()}
    assert len(before) == 104
    strict.faults = lambda method, path, query: ("before", 503) if path.endswith("d%2Fbig/compose") else None
    with pytest.raises(Transient):
        store.complete(upload, parts, META, ABSENT, crc64nvme(body), Token())
    strict.faults = lambda method, path, query: None
    assert {n: v.generation for n, v in strict.objects("bucket").items()} == before
    assert [p.number for p in store.list_parts(upload, Token())] == list(range(1, 101))
    store.complete(upload, parts, META, ABSENT, crc64nvme(body), Token())
    assert read(store, "d/big") == body


def test_an_intermediate_of_other_bytes_is_never_used_and_makes_way(store: GcsStore, strict: StrictGcs) -> None:
    body = body_of(40)
    upload = begin(store, body)
    parts = send(store, strict, upload, body)
    strict.faults = lambda method, path, query: ("before", 503) if path.endswith("d%2Fbig/compose") else None
    with pytest.raises(Transient):
        store.complete(upload, parts, META, ABSENT, None, Token())
    strict.faults = lambda method, path, query: None
    (between,) = [n for n in names(strict) if "/1-" in n and len(strict.objects("bucket")[n].data) == 320]
    strict.put("bucket", between, b"x" * 320)
    with pytest.raises(Corrupted):
        store.complete(upload, parts, META, ABSENT, None, Token())
    assert store.head("d/big", Token()) is None
    assert between not in names(strict)
    store.complete(upload, parts, META, ABSENT, None, Token())
    assert read(store, "d/big") == body


def test_a_part_that_somebody_replaced_is_not_composed(store: GcsStore, strict: StrictGcs) -> None:
    body = body_of(3)
    upload = begin(store, body)
    parts = send(store, strict, upload, body)
    name = f"root/.hugesync/parts/{upload.id}/00002"
    strict.put("bucket", name, b"y" * 10, **about(upload, noted(b"y" * 10)))
    with pytest.raises(Corrupted):
        store.complete(upload, parts, META, ABSENT, None, Token())
    strict.put("bucket", name, body[10:20], **about(upload, noted(body[10:20])))  # the same bytes, sent again
    with pytest.raises(Corrupted):
        store.complete(upload, [parts[0], replace(parts[1], crc64=None), parts[2]], META, ABSENT, None, Token())
    del strict.state.buckets["bucket"][name]
    with pytest.raises(NoSuchUpload):
        store.complete(upload, parts, META, ABSENT, None, Token())
    assert store.head("d/big", Token()) is None


def test_a_part_that_is_replaced_between_the_look_and_the_compose_is_refused_by_its_generation(
    store: GcsStore, strict: StrictGcs
) -> None:
    body = body_of(3)
    upload = begin(store, body)
    parts = send(store, strict, upload, body)
    name = f"root/.hugesync/parts/{upload.id}/00002"

    def meddle(method: str, path: str, query: object) -> None:
        if path.endswith("/compose"):
            strict.put("bucket", name, b"y" * 10, **about(upload, noted(b"y" * 10)))

    strict.faults = meddle
    with pytest.raises((VersionMismatch, NoSuchUpload)):
        store.complete(upload, parts, META, ABSENT, None, Token())
    assert store.head("d/big", Token()) is None


def test_parts_that_together_are_not_the_file_are_refused(store: GcsStore, strict: StrictGcs) -> None:
    body = body_of(3)
    upload = begin(store, body)
    parts = send(store, strict, upload, body)
    with pytest.raises(Corrupted):
        store.complete(upload, parts, META, ABSENT, crc64nvme(body) ^ 1, Token())
    assert store.head("d/big", Token()) is None
    assert [p.number for p in store.list_parts(upload, Token())] == [1, 2, 3]


def test_a_part_is_sent_once_and_a_repeat_finds_it(store: GcsStore, strict: StrictGcs) -> None:
    upload = begin(store, body_of(1))
    strict.faults = lambda method, path, query: ("after", 503)
    with pytest.raises(Transient):
        store.put_part(upload, 1, body_of(1), Token())
    strict.faults = lambda method, path, query: None
    part = store.put_part(upload, 1, body_of(1), Token())
    assert part == store.put_part(upload, 1, body_of(1), Token()) == store.list_parts(upload, Token())[0]
    other = store.put_part(upload, 1, b"9876543210", Token())
    assert other.etag != part.etag
    assert store.list_parts(upload, Token()) == [other]


def test_an_upload_begun_again_elsewhere_is_the_same_and_finds_its_parts(store: GcsStore, strict: StrictGcs) -> None:
    body = body_of(3)
    upload = begin(store, body)
    send(store, strict, upload, body)
    again = begin(GcsStore("bucket", "root/"), body)
    assert again == upload
    assert [(p.number, p.size, p.crc64) for p in store.list_parts(again, Token())] == [
        (n + 1, PART, crc64nvme(body[n * PART : (n + 1) * PART])) for n in range(3)
    ]
    others = [begin(store, body, "else"), store.create_upload("d/big", len(body), 5, META, Token())]
    assert all(store.list_parts(other, Token()) == [] for other in others)


def test_a_checksum_that_the_store_finds_wrong_is_an_error_and_nothing_is_written(
    store: GcsStore, strict: StrictGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs_root, "crc32c_of", lambda body: crc32c(body) ^ 1)
    with pytest.raises(Corrupted):
        store.put_part(begin(store, body_of(1)), 1, body_of(1), Token())
    assert names(strict) == []
    assert {r.method for r in strict.requests} == {"POST"}  # the store refused it, nothing had to be taken away


def test_what_a_store_keeps_wrongly_is_taken_away_again(gcs_bucket: GcsBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """fake-gcs-server ignores the checksum that is sent; the one in its answer is of what it holds."""
    loose = GcsStore(gcs_bucket.bucket)
    monkeypatch.setattr(gcs_root, "crc32c_of", lambda body: crc32c(body) ^ 1)
    with pytest.raises(Corrupted):
        loose.put("f", b"bytes", META, ABSENT, Token())
    assert loose.head("f", Token()) is None


def test_abandoned_temporaries_are_found_by_whose_they_are_and_swept(store: GcsStore, strict: StrictGcs) -> None:
    body = body_of(40)
    for key in ("d/big", "naïve key?"):
        upload = begin(store, body, key)
        parts = send(store, strict, upload, body)
        strict.faults = lambda method, path, query: (
            ("before", 503) if path.endswith("/compose") and "parts" not in path else None
        )
        with pytest.raises(Transient):
            store.complete(upload, parts, META, ABSENT, None, Token())
        strict.faults = lambda method, path, query: None
    strict.put("bucket", "root/.hugesync/parts/somebody's", b"not ours")
    found = {key: (id, begun) for key, id, begun in store.list_uploads(Token())}
    assert sorted(found) == ["d/big", "naïve key?"]
    assert all(begun > 1_600_000_000 * 10**9 for _, begun in found.values())
    for key, (id, _) in found.items():
        assert store.held(Upload(key, id, "", 0, 0), Token()) == len(body) + 400
        store.abort(Upload(key, id, "", 0, 0), Token())
    assert names(strict) == ["root/.hugesync/parts/somebody's"]


def test_abandoned_temporaries_of_deeper_roots_are_found_from_above_and_swept(strict: StrictGcs) -> None:
    body = body_of(3)
    for root in ("root/sub/", "", "root/"):
        deeper = GcsStore("bucket", root)
        send_few(deeper, body)
        deeper.put("file", b"x", META, ABSENT, Token())
    strict.put("bucket", "rooty/.hugesync/parts/no-id/00001", b"somebody's")
    above = GcsStore("bucket", "")
    found = sorted((key, id) for key, id, _ in above.list_uploads(Token()))
    assert [key for key, _ in found] == ["big", "root/big", "root/sub/big"]
    assert len([e for e in above.list_ours(Token()) if "/parts/" in e.key]) == 10
    assert {e.key.partition(".hugesync")[0] for e in above.list_ours(Token(), "root/")} == {"root/", "root/sub/"}
    for key, id in found:
        assert above.held(Upload(key, id, "", 0, 0), Token()) == len(body)
        above.abort(Upload(key, id, "", 0, 0), Token())
        with pytest.raises(NoSuchUpload):
            above.held(Upload(key, id, "", 0, 0), Token())
    assert names(strict) == ["file", "root/file", "root/sub/file", "rooty/.hugesync/parts/no-id/00001"]


def test_the_command_for_uploads_sees_and_ends_those_of_deeper_roots(strict: StrictGcs) -> None:
    send_few(GcsStore("bucket", "root/sub/"), body_of(3))
    assert [(one.key, one.holds, one.ours) for one in survey("gs://bucket", "", None).uploads] == [
        ("root/sub/big", 30, True)
    ]
    done = abort("gs://bucket", "", -1.0, False)
    assert (len(done.uploads), done.failed) == (1, [])
    assert names(strict) == []


def send_few(store: GcsStore, body: bytes) -> None:
    upload = begin(store, body, "big")
    for n in range(1, len(body) // PART + 1):
        store.put_part(upload, n, body[(n - 1) * PART : n * PART], Token())
    store.close()


def test_an_id_that_is_none_of_ours_reaches_nothing(store: GcsStore, strict: StrictGcs) -> None:
    strict.put("bucket", "root/victim", b"x")
    for id in ("", "..", "../..", "x" * 32, "0" * 31):
        bad = Upload("f", id, GENERATION, 1, 1)
        store.abort(bad, Token())
        for call in (store.list_parts, store.held):
            with pytest.raises(NoSuchUpload):
                list(call(bad, Token()) or [])  # type: ignore[call-overload]
    assert names(strict) == ["root/victim"]


def test_temporaries_that_cannot_be_removed_are_told_and_no_failure(store: GcsStore, strict: StrictGcs) -> None:
    body = body_of(40)
    upload = begin(store, body)
    parts = send(store, strict, upload, body)
    strict.faults = lambda method, path, query: ("before", 403) if method == "DELETE" else None
    commit = store.complete(upload, parts, META, ABSENT, None, Token())
    strict.faults = lambda method, path, query: None
    assert read(store, "d/big") == body
    assert commit.litter
    assert [key for key, _, _ in store.list_uploads(Token())] == ["d/big"]


def test_without_the_right_to_delete_a_large_file_is_made_and_what_stays_is_told(
    store: GcsStore, strict: StrictGcs
) -> None:
    body = body_of(40)
    upload = begin(store, body)
    parts = send(store, strict, upload, body)
    strict.state.may_delete = False
    commit = store.complete(upload, parts, META, ABSENT, crc64nvme(body), Token())
    assert read(store, "d/big") == body
    assert commit.litter
    assert len([r for r in strict.requests if r.method == "DELETE"]) == 1
    with pytest.raises(AccessDenied):  # to replace an object asks for that right too
        store.complete(upload, parts, META, commit.version, crc64nvme(body), Token())
    assert read(store, "d/big") == body


def test_a_small_object_that_is_stored_wrongly_is_an_error_and_taken_away_again(
    store: GcsStore, strict: StrictGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = GcsSmall.put
    monkeypatch.setattr(GcsSmall, "put", lambda self, key, body, *a: right(self, key, b"?" + body[1:], *a))
    with pytest.raises(Corrupted):
        store.put("f", b"bytes", META, ABSENT, Token())
    assert names(strict) == []


def test_an_etag_that_only_looks_like_an_md5_is_no_error_where_the_store_holds_what_was_sent(
    store: GcsStore, strict: StrictGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, tag = GcsSmall.put, "0" * 32

    def put(self: GcsSmall, *args: Any) -> tuple[str, str] | None:
        made = right(self, *args)
        return made and (made[0], tag)

    monkeypatch.setattr(GcsSmall, "put", put)
    assert store.put("f", b"bytes", META, ABSENT, Token()).proven == "crc32c"
    tag = "opaque"
    assert store.put("g", b"bytes", META, ABSENT, Token()).proven == ""
    tag = "0" * 32

    def overtaken(*args: Any) -> tuple[str, str] | None:
        made = put(*args)
        strict.put("bucket", "root/h", b"rival")
        return made

    monkeypatch.setattr(GcsSmall, "put", overtaken)
    with pytest.raises(Corrupted):
        store.put("h", b"bytes", META, ABSENT, Token())
    assert read(store, "h") == b"rival"


def test_a_large_copy_goes_on_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    with StrictGcs(buckets=("bucket", "other"), rewrite_bytes_per_call=1 << 20) as strict:
        only_google_of(strict.env, monkeypatch)
        source, dest = GcsStore("other"), GcsStore("bucket")
        body = bytes(5 << 19)
        version = source.put("a", body, META, ABSENT, Token()).version
        token = Token()
        commit = dest.copy(source, "b", "a", version, replace(META, storage_class="NEARLINE"), ABSENT, token)
        assert (commit.size, token.meter.take()["requests.put"]) == (len(body), 3)
        head = dest.head("b", Token(), digest=True)
        assert head is not None
        assert head.meta.storage_class == "NEARLINE"


# what leaves


def test_every_write_leaves_with_its_condition(store: GcsStore, strict: StrictGcs) -> None:
    big = bytes((8 << 20) + 1)
    small = store.put("small", b"1", META, ABSENT, Token()).version
    store.put("small", b"2", META, small, Token())
    store.put("small", b"3", META, ANY, Token())
    large = store.put("large", big, META, ABSENT, Token()).version
    store.put("dots/../x", b"1", META, ABSENT, Token())
    store.copy(store, "copy", "large", large, META, ABSENT, Token())
    upload = begin(store, body_of(2))
    parts = send(store, strict, upload, body_of(2))
    store.complete(upload, parts, META, ABSENT, None, Token())
    store.delete("large", large, Token())
    assert "root/dots/../x" in names(strict)
    sent = [golden(r) for r in strict.requests if r.method != "GET"]
    id = upload.id
    at = "/storage/v1/b/bucket/o"
    assert sent == [
        ("PUT", "/bucket/root%2Fsmall", "x-goog-if-generation-match: 0"),
        ("PUT", "/bucket/root%2Fsmall", f"x-goog-if-generation-match: {small}"),
        ("PUT", "/bucket/root%2Fsmall", ""),
        ("POST", f"/upload{at}", "ifGenerationMatch=0 uploadType=multipart"),
        ("POST", f"/upload{at}", "ifGenerationMatch=0 uploadType=multipart"),
        (
            "POST",
            f"{at}/root%2Flarge/rewriteTo/b/bucket/o/root%2Fcopy",
            f"ifGenerationMatch=0 ifSourceGenerationMatch={large}",
        ),
        ("POST", f"/upload{at}", "ifGenerationMatch=0 uploadType=multipart"),
        ("POST", f"/upload{at}", "ifGenerationMatch=0 uploadType=multipart"),
        ("POST", f"{at}/root%2Fd%2Fbig/compose", "ifGenerationMatch=0"),
        ("DELETE", f"{at}/root%2Flarge", f"ifGenerationMatch={large}"),
    ], (sent, id)


def golden(request: Seen) -> tuple[str, str, str]:
    said = [f"{k}={v}" for k, v in sorted(request.query.items()) if k != "fields"]
    said += [f"{k}: {v}" for k, v in sorted(request.headers.items()) if k.startswith("x-goog-if")]
    return request.method, request.path, " ".join(said)


def test_metadata_leave_in_rclones_form(store: GcsStore, strict: StrictGcs) -> None:
    store.put("small", b"1", META, ABSENT, Token())
    store.put("large", bytes((8 << 20) + 1), META, ABSENT, Token())
    for name in ("root/small", "root/large"):
        made = strict.objects("bucket")[name]
        assert made.metadata == {
            "mtime": "2020-09-13T12:26:40.123456789Z",
            "hugesync-mode": "640",
            "hugesync-generation": GENERATION,
        }
        assert made.fields["contentType"] == "text/x-odd"


def test_a_read_of_a_large_object_is_of_the_generation_that_is_asked_for(store: GcsStore, strict: StrictGcs) -> None:
    version = store.put("large", bytes(9 << 20), META, ABSENT, Token()).version
    strict.requests.clear()
    with store.open("large", version, Token(), 0, 9 << 20) as reader:
        assert sum(map(len, reader)) == 9 << 20
    assert [r.headers.get("x-goog-if-generation-match") for r in strict.requests] == [version]
    with pytest.raises(VersionMismatch), store.open("large", "5", Token(), 0, 9 << 20):
        pass


# pure


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_600_000_000_123_456_789, "2020-09-13T12:26:40.123456789Z"),
        (253402300799_999_999_999, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_times_are_rfc3339_with_nanoseconds_and_exact(ns: int, text: str) -> None:
    assert rfc3339(ns) == text
    assert instant_ns(text) == ns
    assert meta_of({"mtime": text}).mtime_ns == ns


def test_times_are_read_in_any_form_and_never_an_error() -> None:
    assert meta_of({"mtime": "1600000000.5"}).mtime_ns == 1_600_000_000_500_000_000
    assert meta_of({"mtime": "2020-09-13T14:26:40+02:00"}).mtime_ns == 1_600_000_000_000_000_000
    assert meta_of({"mtime": "2020-09-13 12:26:40.5z"}).mtime_ns == 1_600_000_000_500_000_000
    assert meta_of({"mtime": rfc3339(3 * 10**20)}).mtime_ns == 3 * 10**20
    for text in ("", "yesterday", "2020-13-45T99:00:00Z", "2020-09-13T14:26:40", "2020-09-13T14:26:40+99:00", "-"):
        assert meta_of({"mtime": text}).mtime_ns is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, "", BadCredentials),
        (403, '{"error":{"errors":[{"reason":"forbidden"}]}}', AccessDenied),
        (403, '{"error":{"errors":[{"reason":"rateLimitExceeded"}]}}', Throttled),
        (404, "No such object: b/o", NotFound),
        (404, '{"error":{"message":"The specified bucket does not exist."}}', NoSuchBucket),
        (404, "<Error><Code>NoSuchBucket</Code></Error>", NoSuchBucket),
        (404, "<Error><Code>NoSuchKey</Code></Error>", NotFound),
        (412, "", VersionMismatch),
        (400, '{"error":{"message":"Provided CRC32C \\"AA==\\" doesn\'t match calculated CRC32C"}}', Corrupted),
        (429, "", Throttled),
        (500, "", Transient),
        (503, "[1, 2]", Throttled),
        (418, '{"error":{"message":"Bearer: secret"}}', StoreError),
    ],
)
def test_every_refusal_is_an_error_of_ours_and_shows_no_secret(status: int, body: str, kind: type[StoreError]) -> None:
    error = error_of(status, body, "7", "write", "k")
    assert isinstance(error, kind)
    assert "secret" not in str(error)
    assert error.key == "k"
    if isinstance(error, Throttled):
        assert error.retry_after == 7.0


def test_rules_that_delete_soon_are_told_in_advance() -> None:
    def rule(age: int, kind: str = "Delete", **condition: object) -> dict[str, object]:
        return {"action": {"type": kind}, "condition": {"age": age, **condition}}

    assert worded([rule(30), rule(1, "SetStorageClass"), rule(0, isLive=False)], "data/") == []
    assert "deletes objects 1 day after" in worded([rule(1)], "data/")[0]
    assert "are sent again" in worded([rule(3, matchesPrefix=["data/.hugesync/"])], "data/")[0]
    assert worded([rule(1, matchesPrefix=["elsewhere/"])], "data/") == []


# where and who


def test_an_emulator_is_asked_without_credentials_and_a_place_names_its_own_endpoint(
    strict: StrictGcs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert GcsClients().endpoint == strict.endpoint
    assert GcsClients().bearer() == ""
    with StrictGcs(buckets=("there",)) as other:
        assert GcsClients(Place(endpoint=other.endpoint)).endpoint == other.endpoint
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    with pytest.raises(BadCredentials):
        _ = GcsClients().endpoint
    with pytest.raises(BadCredentials):
        _ = GcsClients(Place(credentials=str(tmp_path / "none.json"))).endpoint


def key_file(folder: Path) -> str:
    """Of a user, whose token would be asked of Google."""
    path = folder / "key.json"
    path.write_text(
        '{"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r", "token_uri": "http://127.0.0.1:9/"}'
    )
    return str(path)


def test_real_credentials_go_only_where_the_last_word_on_the_endpoint_is_a_real_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = key_file(tmp_path)
    for name in ("STORAGE_EMULATOR_HOST", "API_ENDPOINT_OVERRIDE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)

    def anonymous(place: Place) -> bool:
        return type(GcsClients(place)._made().credentials).__name__ == "AnonymousCredentials"

    assert not anonymous(Place(credentials=file))
    assert anonymous(Place("http://127.0.0.1:9", file))
    assert anonymous(Place("HTTP://127.0.0.1:9", file))
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", "http://127.0.0.1:9")
    assert anonymous(Place(credentials=file))
    for emulator in ("http://127.0.0.1:9", "https://127.0.0.1:9"):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
        assert anonymous(Place(credentials=file))
        assert not anonymous(Place("https://storage.example.com", file))


def test_an_endpoint_with_more_than_a_place_in_it_is_refused_by_name_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    config = tmp_path / "hugesync" / "config.toml"
    config.parent.mkdir()
    bad = (
        "https://me:secret@h",
        "https://secret@h",
        "https://h?key=secret",
        "https://h#secret",
        "secret:9",
        "https://[secret",
    )
    for endpoint in bad:
        config.write_text(f'[profiles.cold]\nendpoint = "{endpoint}"\n')
        with pytest.raises(UsageError, match=r"'cold'.*endpoint") as refused:
            place_of("cold")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
        with pytest.raises(NeedsPerson, match="STORAGE_EMULATOR_HOST") as caught:
            GcsStore("b").head("k", Token(), digest=True)
        assert "secret" not in f"{refused.value}{caught.value}"
        monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    config.write_text('[profiles.cold]\nendpoint = "https://h:8443/path"\n')
    assert place_of("cold").endpoint == "https://h:8443/path"


def test_a_process_that_will_fork_loads_what_a_session_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(gcs_client, "preload", lambda: loaded.append("sdk"))
    opening.preload("gs")
    assert loaded == ["sdk"]


def test_a_bucket_that_is_not_there_is_told_at_the_probe(strict: StrictGcs) -> None:
    with pytest.raises(NoSuchBucket):
        GcsStore("nowhere").probe(Token())


def test_the_probe_finds_a_strict_server_strict_and_leaves_nothing(store: GcsStore, strict: StrictGcs) -> None:
    found = store.probe(Token())
    assert found.conditional_commit == "enforced"
    assert (found.part_conditional, found.copy_conditional, found.delete_conditional) == (True, True, True)
    assert names(strict) == []


def test_the_probe_finds_out_what_fake_gcs_server_ignores(gcs_bucket: GcsBucket) -> None:
    loose = GcsStore(gcs_bucket.bucket)
    found = loose.probe(Token())
    assert found.conditional_commit == "best effort"
    assert (found.part_conditional, found.copy_conditional, found.delete_conditional) == (False, False, False)
    assert list(loose.list(Token())) == []
    assert loose._ask("list", "GET", f"/storage/v1/b/{loose.bucket}/o", Token(), "list", "").get("items") is None


def test_a_strict_server_is_found_to_keep_its_promises_and_is_left_empty(store: GcsStore, strict: StrictGcs) -> None:
    found = store.validate(Token())
    answers = found.answers()
    assert found.left == ()
    assert names(strict) == []
    kept = {*COMMITS, *COPIES, "delete_if_match", "put_md5", "list_pages", "list_start_after", "list_uploads", "abort"}
    assert {n: answers[n] for n in kept} == dict.fromkeys(kept, "yes")
    assert answers["list_order"] == "utf8"
    assert applied(store.limits, answers) == store.limits


def test_what_fake_gcs_server_ignores_is_found_out_by_writing_too(gcs_bucket: GcsBucket) -> None:
    loose = GcsStore(gcs_bucket.bucket)
    found = loose.validate(Token())
    answers = found.answers()
    assert found.left == ()
    assert (answers["put_if_match"], answers["complete_if_match"], answers["delete_if_match"]) == ("yes", "no", "no")
    assert applied(loose.limits, answers).conditional_commit == "none"


def test_a_session_is_made_anew_in_a_forked_child(store: GcsStore) -> None:
    clients = store.clients
    mine = clients._made()
    clients._made_in = os.getpid() + 1
    assert clients._made() is not mine


def test_the_checksum_is_spelled_as_the_service_does() -> None:
    assert gcs_root.base64_of(crc32c(b"hello")) == base64.b64encode(crc32c(b"hello").to_bytes(4, "big")).decode()


@pytest.mark.parametrize("small", [True, False])
def test_more_than_one_write_a_second_to_a_name_is_throttled_and_comes_through_by_repeating(
    small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_800_000_000.0]
    with StrictGcs(buckets=("bucket",), clock=lambda: now[0], writes_per_second=1) as it:
        only_google_of(it.env, monkeypatch)
        if not small:
            monkeypatch.setattr(GcsSmall, "puts", lambda self, key: False)
        store = GcsStore("bucket", "root/")
        first = store.put("f", b"one", META, ABSENT, Token())
        with pytest.raises(Throttled):
            store.put("f", b"two", META, first.version, Token())
        token = Token()
        patient = RetryingStore(store, 3, sleep=lambda seconds: now.__setitem__(0, now[0] + 1))
        patient.put("f", b"two", META, first.version, token)
        assert it.objects("bucket")["root/f"].data == b"two"
        assert token.meter.take()["throttled"] >= 1
        store.close()
