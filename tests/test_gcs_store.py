"""What only the Google Cloud Storage adapter has: trees of composes, parts that are objects, and what leaves on the wire."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from awscrt.checksums import crc32c, crc64nvme

from conftest import GcsBucket, only_google_of
from hugesync_tasks.errors import (
    AccessDenied,
    BadCredentials,
    Corrupted,
    NoSuchBucket,
    NoSuchUpload,
    NotFound,
    StoreError,
    Throttled,
    Transient,
    Unsupported,
    VersionMismatch,
)
from hugesync_tasks.model import Meta, Part, Upload
from hugesync_tasks.stores import gcs_root
from hugesync_tasks.stores.base import ABSENT, ANY
from hugesync_tasks.stores.findings import COMMITS, COPIES, applied
from hugesync_tasks.stores.gcs import GcsStore
from hugesync_tasks.stores.gcs_client import GcsClients, Place
from hugesync_tasks.stores.gcs_errors import error_of
from hugesync_tasks.stores.gcs_lifecycle import worded
from hugesync_tasks.stores.gcs_meta import meta_of
from hugesync_tasks.stores.gcs_parts import about
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
            made = strict.put("bucket", name, chunk, **about(upload, crc64nvme(chunk)))
            parts.append(Part(n, len(chunk), str(made.generation), crc64nvme(chunk)))
    return parts


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
    assert (commit.proven, commit.notes) == ("crc32c", ())
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
        now = strict.put("bucket", f"{folder}{part.number:05d}", was.data, **about(upload, part.crc64))
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
    version = store.head("d/big", Token())
    assert version is not None
    with pytest.raises(Unsupported):  # parts are of the standard class, and one compose takes one class
        store.copy_part(upload, 1, store, "d/big", version.entry.version, 0, len(body), Token())


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
        notes = _completed(store, upload, parts, crc)
        strict.faults = lambda m, p, q: None
        head = store.head("d/big", Token())
        assert head is not None, step
        assert head.meta.generation == GENERATION
        assert read(store, "d/big") == body, step
        left = [n for n in names(strict) if n != "root/d/big"]
        assert bool(notes) or not left, (step, left)
        store.abort(upload, Token())
        assert names(strict) == ["root/d/big"]
        store.delete("d/big", head.entry.version, Token())


def _completed(store: GcsStore, upload: Upload, parts: list[Part], crc: int) -> tuple[str, ...]:
    """As the callers do: repeat what is transient; a conflict, or no upload, may be our own success."""
    for _ in range(3):
        try:
            return store.complete(upload, parts, META, ABSENT, crc, Token()).notes
        except Transient:
            continue
        except (VersionMismatch, NoSuchUpload):
            return ("the reply was lost",)
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
    strict.put("bucket", name, b"y" * 10, **about(upload, crc64nvme(b"y" * 10)))
    with pytest.raises(Corrupted):
        store.complete(upload, parts, META, ABSENT, None, Token())
    strict.put("bucket", name, body[10:20], **about(upload, crc64nvme(body[10:20])))  # the same bytes, sent again
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
            strict.put("bucket", name, b"y" * 10, **about(upload, crc64nvme(b"y" * 10)))

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


def test_an_id_that_is_none_of_ours_reaches_nothing(store: GcsStore, strict: StrictGcs) -> None:
    strict.put("bucket", "root/victim", b"x")
    for id in ("", "..", "../..", "x" * 32, "0" * 31):
        bad = Upload("f", id, GENERATION, 1, 1)
        store.abort(bad, Token())
        for call in (store.list_parts, store.held):
            with pytest.raises(NoSuchUpload):
                list(call(bad, Token()) or [])  # type: ignore[call-overload]
    assert names(strict) == ["root/victim"]


def test_a_temporary_that_cannot_be_removed_is_a_note_and_no_failure(store: GcsStore, strict: StrictGcs) -> None:
    body = body_of(40)
    upload = begin(store, body)
    parts = send(store, strict, upload, body)
    strict.faults = lambda method, path, query: ("before", 403) if method == "DELETE" else None
    commit = store.complete(upload, parts, META, ABSENT, None, Token())
    strict.faults = lambda method, path, query: None
    assert read(store, "d/big") == body
    assert len(commit.notes) == 1
    assert "temporary parts were not removed" in commit.notes[0]
    assert [key for key, _, _ in store.list_uploads(Token())] == ["d/big"]


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
