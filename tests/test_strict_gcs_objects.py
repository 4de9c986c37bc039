"""The strict fake of Google Cloud Storage joins, copies, reads and lists as the vendor documents it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest

from strict_gcs import StrictGcs
from strict_gcs_client import Client, O, compose, crc


@pytest.fixture
def gcs() -> Iterator[StrictGcs]:
    with StrictGcs(rewrite_bytes_per_call=1 << 20) as it:
        yield it


@pytest.fixture
def ask(gcs: StrictGcs) -> Client:
    return Client(gcs)


# ---- compose and rewrite


def test_compose_joins_in_order_with_the_crc_of_the_whole_and_without_md5(ask: Client, gcs: StrictGcs) -> None:
    for name, data in (("a", b"one"), ("b", b"two")):
        ask.insert(name, data)
    status, _, made = compose(ask, "c", "a", "b", "a", body={"destination": {"contentType": "text/a"}})
    assert (status, made["crc32c"], made["componentCount"]) == (200, crc(b"onetwoone"), 3)
    assert "md5Hash" not in made
    assert gcs.objects("bucket")["c"].data == b"onetwoone"
    assert compose(ask, "c", "c", "b")[2]["componentCount"] == 4  # onto itself
    assert gcs.objects("bucket").keys() == {"a", "b", "c"}
    assert compose(ask, "c", "c", "b", body={"deleteSourceObjects": True})[0] == 200
    assert gcs.objects("bucket").keys() == {"a", "c"}


def test_compose_takes_1_to_32_sources_that_must_be_as_meant_or_nothing_happens(ask: Client, gcs: StrictGcs) -> None:
    g = int(ask.insert("a")[1]["generation"])
    h = int(ask.insert("c", b"there")[1]["generation"])

    def status(*sources: str | dict[str, Any], **query: Any) -> int:
        return compose(ask, "c", *sources, body={"deleteSourceObjects": True}, **query)[0]

    assert status() == 400
    assert status(*["a"] * 33) == 400
    assert status("a", "missing") == 404
    assert status({"name": "a", "generation": g + 1}) == 404
    assert status({"name": "a", "objectPreconditions": {"ifGenerationMatch": g + 1}}) == 412
    assert status({"name": "a", "generation": g, "objectPreconditions": {"ifGenerationMatch": g + 1}}) == 400
    assert status("a", ifGenerationMatch=0) == 412
    assert status("a", ifMetagenerationMatch=2) == 412
    assert {name: version.data for name, version in gcs.objects("bucket").items()} == {"a": b"data", "c": b"there"}
    exact = {"name": "a", "generation": g, "objectPreconditions": {"ifGenerationMatch": g}}
    assert status(*[exact] * 32, ifGenerationMatch=h) == 200


def test_rewrite_takes_several_calls_and_notices_whatever_changes_between_them(ask: Client, gcs: StrictGcs) -> None:
    data = bytes(5 << 19)
    g = int(ask.insert("a", data)[1]["generation"])
    path = f"{O}/a/rewriteTo/b/bucket/o/c"
    asked = {"ifGenerationMatch": 0, "ifSourceGenerationMatch": g, "sourceGeneration": g}
    first = ask("POST", path, **asked)[2]
    assert (first["done"], first["totalBytesRewritten"], first["objectSize"]) == (False, str(1 << 20), str(len(data)))
    token = first["rewriteToken"]
    assert ask("POST", path, ifGenerationMatch=0, rewriteToken=token)[0] == 400  # not the same request
    second = ask("POST", path, rewriteToken=token, **asked)[2]
    assert second["totalBytesRewritten"] == str(2 << 20)
    last = ask("POST", path, rewriteToken=second["rewriteToken"], **asked)[2]
    assert (last["done"], last["resource"]["size"]) == (True, str(len(data)))
    assert ask("POST", path, rewriteToken=token, **asked)[0] == 412  # there now
    assert ask("POST", path, sourceGeneration=g + 1)[0] == 404
    assert ask("POST", path, ifSourceGenerationMatch=g + 1)[0] == 412
    assert ask("POST", path, ifSourceMetagenerationMatch=2)[0] == 412
    assert ask("POST", path, maxBytesRewrittenPerCall=1000)[0] == 400
    token = ask("POST", path)[2]["rewriteToken"]
    gcs.put("bucket", "a", data)
    assert ask("POST", path, rewriteToken=token)[0] == 400  # another source than it began with


def test_rewrite_inherits_the_metadata_or_replaces_all_of_it_and_a_composite_stays_one(
    ask: Client, gcs: StrictGcs
) -> None:
    gcs.put("bucket", "a", b"a", contentType="text/a", metadata={"x": "y"})
    kept = ask("POST", f"{O}/a/rewriteTo/b/bucket/o/c")[2]["resource"]
    assert (kept["contentType"], kept["metadata"]) == ("text/a", {"x": "y"})
    replaced = ask("POST", f"{O}/a/rewriteTo/b/bucket/o/c", {"metadata": {"z": "1"}})[2]["resource"]
    assert (replaced.get("contentType"), replaced["metadata"]) == (None, {"z": "1"})
    compose(ask, "d", "a", "c")
    copied = ask("POST", f"{O}/d/rewriteTo/b/bucket/o/e")[2]["resource"]
    assert (copied["componentCount"], copied.get("md5Hash")) == (2, None)


# ---- reading and listing


def test_ranges_are_cut_and_past_the_end_refused(ask: Client) -> None:
    ask.insert("k", b"0123456789")
    for asked, wanted in (("0-3", b"0123"), ("8-", b"89"), ("-2", b"89"), ("8-99", b"89")):
        status, head, body = ask("GET", f"/download{O}/k", b"", {"Range": f"bytes={asked}"}, alt="media")
        assert (status, body, head["content-length"]) == (206, wanted, str(len(wanted)))
        assert head["x-goog-hash"].startswith(f"crc32c={crc(b'0123456789')},md5=")
    assert ask("GET", f"{O}/k", b"", {"Range": "bytes=10-"}, alt="media")[0] == 416
    status, head, body = ask("GET", f"{O}/none", alt="media")
    assert (status, body) == (404, b"No such object: bucket/none")


def test_a_gzip_object_is_unpacked_whole_for_whoever_does_not_take_gzip(ask: Client, gcs: StrictGcs) -> None:
    packed = gzip.compress(b"text")
    gcs.put("bucket", "k", packed, contentEncoding="gzip")
    assert ask("GET", f"{O}/k", b"", {"Range": "bytes=0-1"}, alt="media")[2] == b"text"
    taking = {"Range": "bytes=0-1", "Accept-Encoding": "gzip"}
    assert ask("GET", f"{O}/k", b"", taking, alt="media")[2] == packed[:2]


def test_a_listing_pages_in_the_order_of_bytes_and_folds_at_the_delimiter(ask: Client, gcs: StrictGcs) -> None:
    names = ["a", "a!", "a/x", "a/y", "a//z", "a0", "b/c/d", "e", "\ue000", "\U0001f600", "é"]
    for name in reversed(names):
        gcs.put("bucket", name, name.encode())

    def pages(size: int, **query: Any) -> list[str]:
        told: list[str] = []
        while True:
            body = ask("GET", O, maxResults=size, **query)[2]
            both = [item["name"] for item in body.get("items", [])] + body.get("prefixes", [])
            assert len(both) <= size
            told += sorted(both, key=str.encode)
            if "nextPageToken" not in body:
                return told
            query["pageToken"] = body["nextPageToken"]

    ordered = sorted(names, key=str.encode)
    for size in (1, 2, 3, 1000):
        assert pages(size) == ordered
        assert pages(size, delimiter="/") == ["a", "a!", "a/", "a0", "b/", "e", "é", "\ue000", "\U0001f600"]
        assert pages(size, prefix="a/", delimiter="/") == ["a//", "a/x", "a/y"]
        assert pages(size, startOffset="a0", endOffset="é") == ["a0", "b/c/d", "e"]
    assert ask("GET", O, pageToken="nonsense")[0] == 400
    assert ask("GET", O, prefix="none")[2] == {"kind": "storage#objects"}
    with StrictGcs(page_size=2) as small:
        for name in "abc":
            small.put("bucket", name, b"")
        assert len(Client(small)("GET", O)[2]["items"]) == 2


def test_a_field_selection_leaves_only_what_it_names(ask: Client) -> None:
    ask.insert("a/b")
    body = ask("GET", O, fields="items(name,size),nextPageToken")[2]
    assert body == {"items": [{"name": "a/b", "size": "4"}]}
    assert ask("GET", O, fields="items/name,kind")[2] == {"items": [{"name": "a/b"}], "kind": "storage#objects"}
    assert ask("GET", f"{O}/a%2Fb", fields="name")[2] == {"name": "a/b"}
    assert ask("GET", O, fields="items(name")[0] == 400


def test_missing_buckets_and_buckets_are_told_apart_from_missing_objects(ask: Client) -> None:
    status, _, body = ask("GET", "/storage/v1/b/none/o/k")
    assert (status, body["error"]["message"]) == (404, "The specified bucket does not exist.")
    assert ask("GET", f"{O}/k")[2]["error"]["message"] == "No such object: bucket/k"
    assert ask("GET", "/storage/v1/b/bucket")[2]["name"] == "bucket"
    assert ask("GET", "/storage/v1/b/none/o")[0] == 404
    assert ask("POST", "/upload/storage/v1/b/none/o", b"", uploadType="media", name="k")[0] == 404


def test_multipart_uploads_of_the_xml_api_take_no_conditions_and_no_small_or_copied_parts(
    ask: Client, gcs: StrictGcs
) -> None:
    condition = {"x-goog-if-generation-match": "0"}
    assert ask("POST", "/bucket/k?uploads", b"", condition)[0] == 400
    upload_id = ask("POST", "/bucket/k?uploads")[2].partition(b"<UploadId>")[2].partition(b"<")[0].decode()
    tags = [ask("PUT", "/bucket/k", b"part", partNumber=number, uploadId=upload_id)[1]["etag"] for number in (1, 2)]
    copied = {"x-goog-copy-source": "bucket/k"}
    assert ask("PUT", "/bucket/k", b"", copied, partNumber=3, uploadId=upload_id)[0] == 501

    def complete(*numbers: int, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tags[n - 1]}</ETag></Part>" for n in numbers)
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        status, _, answer = ask("POST", "/bucket/k", body, headers, uploadId=upload_id)
        return status, answer

    assert b"EntityTooSmall" in complete(1, 2)[1]
    assert b"InvalidPartOrder" in complete(2, 1)[1]
    assert complete(2, headers=condition)[0] == 400
    assert gcs.objects("bucket") == {}
    assert complete(2)[0] == 200
    assert b"NoSuchUpload" in complete(2)[1]
    assert gcs.objects("bucket")["k"].data == b"part"
