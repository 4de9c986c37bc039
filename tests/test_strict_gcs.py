"""The strict fake of Google Cloud Storage is strict: conditions, checksums and limits bite, lost replies are lost."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected
from typing import Any
from urllib.parse import quote, urlencode

import google_crc32c
import pytest

from strict_gcs import StrictGcs

QUANTUM = 256 << 10
O = "/storage/v1/b/bucket/o"  # noqa: E741 - as the API calls it
UP = f"/upload{O}"


class Client:
    """Plain HTTP over one kept connection: (status, headers in lower case, body; JSON where it is JSON)."""

    def __init__(self, gcs: StrictGcs) -> None:
        self.gcs = gcs
        self.connection = HTTPConnection(gcs.endpoint.removeprefix("http://"), timeout=10)

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] = b"",
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> tuple[int, dict[str, str], Any]:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self.connection.request(method, path + (f"?{urlencode(query)}" if query else ""), data, headers or {})
        reply = self.connection.getresponse()
        found = reply.read()
        head = {name.lower(): value for name, value in reply.getheaders()}
        return (
            reply.status,
            head,
            json.loads(found) if head.get("content-type", "").startswith("application/json") else found,
        )

    def insert(self, name: str, data: bytes = b"data", **query: Any) -> tuple[int, Any]:
        status, _, body = self("POST", UP, data, uploadType="media", name=name, **query)
        return status, body

    def begin(self, name: str, resource: dict[str, Any] | None = None, **query: Any) -> str:
        status, head, _ = self("POST", UP, {"name": name, **(resource or {})}, uploadType="resumable", **query)
        assert status == 200
        return head["location"].removeprefix(self.gcs.endpoint)

    def status(self, method: str, path: str, **query: Any) -> int:
        return self(method, path, **query)[0]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def gcs() -> Iterator[StrictGcs]:
    with StrictGcs(rewrite_bytes_per_call=1 << 20) as it:
        yield it


@pytest.fixture
def ask(gcs: StrictGcs) -> Client:
    return Client(gcs)


def crc(data: bytes) -> str:
    return b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def reason(body: Any) -> str:
    return body["error"]["errors"][0]["reason"]


def compose(
    ask: Client, name: str, *sources: str | dict[str, Any], body: dict[str, Any] | None = None, **query: Any
) -> Any:
    listed = [{"name": source} if isinstance(source, str) else source for source in sources]
    return ask("POST", f"{O}/{name}/compose", {"sourceObjects": listed, **(body or {})}, **query)


# ---- conditions


def test_an_insert_keeps_to_every_condition_and_a_refused_one_changes_nothing(ask: Client, gcs: StrictGcs) -> None:
    assert ask.insert("k", ifGenerationMatch=5)[0] == 412  # nothing there
    assert ask.insert("k", ifGenerationNotMatch=0)[0] == 304  # "only if there is a live one"
    assert ask.insert("k", ifMetagenerationMatch=1)[0] == 412
    status, first = ask.insert("k", b"one", ifGenerationMatch=0)
    assert status == 200
    g = int(first["generation"])
    status, refused = ask.insert("k", b"two", ifGenerationMatch=0)
    assert (status, reason(refused)) == (412, "conditionNotMet")
    assert refused["error"]["errors"][0]["location"] == "If-Match"
    assert ask.insert("k", b"two", ifGenerationMatch=g + 1)[0] == 412
    assert ask.insert("k", b"two", ifGenerationNotMatch=g)[0] == 304
    assert ask.insert("k", b"two", ifMetagenerationMatch=2)[0] == 412
    assert ask.insert("k", b"two", ifMetagenerationNotMatch=1)[0] == 304
    assert gcs.objects("bucket")["k"].data == b"one"
    assert ask.insert("k", b"two", ifGenerationMatch=g, ifMetagenerationMatch=1)[0] == 200
    assert gcs.objects("bucket")["k"].generation > g


def test_a_condition_misspelt_or_not_a_number_is_refused(ask: Client) -> None:
    assert ask.insert("k", ifGenerationMatched=0)[0] == 400
    assert ask.insert("k", ifGenerationMatch="x")[0] == 400
    assert ask("POST", f"{O}/k/compose", {"sourceObjects": [{"name": "a"}], "deleteSources": True})[0] == 400


@pytest.mark.parametrize(("method", "body"), [("GET", {}), ("DELETE", {}), ("PATCH", {"contentType": "text/a"})])
def test_reading_patching_and_deleting_keep_to_conditions_and_to_the_generation(
    ask: Client, method: str, body: dict[str, Any]
) -> None:
    def status(**query: Any) -> int:
        return ask(method, f"{O}/k", body, **query)[0]

    assert status() == 404
    g = int(ask.insert("k")[1]["generation"])
    assert status(generation=g + 1) == 404
    assert status(ifGenerationMatch=g - 1) == 412
    assert status(ifGenerationNotMatch=g) == 304
    assert status(ifMetagenerationMatch=2) == 412
    assert status(ifMetagenerationNotMatch=1) == 304
    assert ask(method, f"{O}/k", body, {"If-Match": "other"})[0] == 412
    assert status(generation=g, ifGenerationMatch=g, ifMetagenerationMatch=1) == (204 if method == "DELETE" else 200)
    assert ask.status("GET", f"{O}/k") == (404 if method == "DELETE" else 200)


def test_generations_grow_strictly_even_when_the_clock_stands_still_or_goes_back() -> None:
    clock = Clock()
    with StrictGcs(clock=clock) as gcs:
        found = []
        for _ in range(3):
            found.append(gcs.put("bucket", "k", b"").generation)
            clock.now -= 1
        assert found == sorted(set(found))


# ---- uploads


def test_claimed_checksums_are_held_against_the_bytes_in_every_way_to_upload(ask: Client, gcs: StrictGcs) -> None:
    wrong = {"x-goog-hash": f"crc32c={crc(b'other')}"}
    status, _, body = ask("POST", UP, b"data", wrong, uploadType="media", name="k")
    assert status == 400
    assert "doesn't match calculated CRC32C" in body["error"]["message"]
    md5 = {"md5Hash": b64encode(bytes(16)).decode()}
    for resource in ({"crc32c": crc(b"other")}, md5):
        related = (
            b"--X\r\n\r\n%s\r\n--X\r\ncontent-type: text/a\r\n\r\ndata\r\n--X--"
            % json.dumps({"name": "k", **resource}).encode()
        )
        kind = {"Content-Type": 'multipart/related; boundary="X"'}
        assert ask("POST", UP, related, kind, uploadType="multipart")[0] == 400
        assert ask("PUT", ask.begin("k", resource), b"data")[0] == 400
    assert ask("PUT", ask.begin("k"), b"data", wrong)[0] == 400
    assert ask("PUT", "/bucket/k", b"data", wrong)[0] == 400
    assert gcs.objects("bucket") == {}


def test_a_resumable_upload_tells_what_is_safe_and_keeps_multiples_of_256_kib(ask: Client, gcs: StrictGcs) -> None:
    data = bytes(range(256)) * 4096 + b"tail"  # 4 quanta and a rest
    where = ask.begin("k", {"contentType": "text/a", "metadata": {"a": "b"}}, ifGenerationMatch=0)

    def send(first: int, last: int, total: int | str = "*") -> tuple[int, str | None]:
        status, head, _ = ask("PUT", where, data[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{total}"})
        return status, head.get("range")

    asking = {"Content-Range": "bytes */*"}
    status, head, _ = ask("PUT", where, b"", asking)
    assert (status, head.get("range")) == (308, None)
    assert send(0, 99) == (400, None)  # too little for a chunk that is not the last
    assert send(0, QUANTUM + 99) == (308, f"bytes=0-{QUANTUM - 1}")  # the rest is not kept
    assert send(2 * QUANTUM, 3 * QUANTUM - 1)[0] == 503  # a hole
    assert send(0, 2 * QUANTUM - 1) == (308, f"bytes=0-{2 * QUANTUM - 1}")  # an overlap is skipped
    assert ask("PUT", where, b"", asking)[1]["range"] == f"bytes=0-{2 * QUANTUM - 1}"
    assert gcs.objects("bucket") == {}
    assert send(2 * QUANTUM, len(data) - 1, len(data) + 1)[0] == 308
    assert send(4 * QUANTUM, len(data) - 1, len(data) + 1)[0] == 400  # still no end, and too little
    assert send(4 * QUANTUM, len(data) - 1, len(data))[0] == 400  # another total than before


def test_a_finished_resumable_upload_answers_again_and_a_conflict_at_its_end_is_seen(
    ask: Client, gcs: StrictGcs
) -> None:
    where, late = ask.begin("k", ifGenerationMatch=0), ask.begin("k", ifGenerationMatch=0)
    first = ask("PUT", where, b"data", {"Content-Range": "bytes 0-3/4"})[2]
    assert ask("PUT", where, b"", {"Content-Range": "bytes */4"})[2] == first
    assert ask("PUT", late, b"else")[0] == 412
    assert ask("PUT", late, b"else")[0] == 404  # the session is gone with it
    assert gcs.objects("bucket")["k"].data == b"data"
    assert ask("POST", UP, {"name": "k"}, uploadType="resumable", ifGenerationMatch=0)[0] == 412  # at once
    cancelled = ask.begin("other")
    assert ask("DELETE", cancelled)[0] == 499
    assert ask("PUT", cancelled, b"data")[0] == 404


def test_an_overlap_of_a_resumable_upload_is_not_compared(ask: Client, gcs: StrictGcs) -> None:
    where = ask.begin("k")
    ask("PUT", where, b"a" * QUANTUM, {"Content-Range": f"bytes 0-{QUANTUM - 1}/*"})
    ask("PUT", where, b"b" * (QUANTUM + 1), {"Content-Range": f"bytes 0-{QUANTUM}/{QUANTUM + 1}"})
    assert gcs.objects("bucket")["k"].data == b"a" * QUANTUM + b"b"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("x" * 1024, 200),
        ("é" * 512, 200),
        ("x" * 1025, 400),
        ("é" * 513, 400),
        ("a\nb", 400),
        ("a\rb", 400),
        ("..", 400),
    ],
)
def test_names_are_at_most_1024_bytes_of_utf_8_on_one_line(ask: Client, name: str, status: int) -> None:
    assert ask.insert(name)[0] == status


def test_custom_metadata_is_at_most_8_kib_together(ask: Client) -> None:
    def status(size: int) -> int:
        return ask("POST", UP, {"name": "k", "metadata": {"k": "v" * (size - 1)}}, uploadType="resumable")[0]

    assert (status(8192), status(8193)) == (200, 400)
    assert ask.insert("k")[0] == 200
    assert ask("PATCH", f"{O}/k", {"metadata": {"a": "v" * 8192}})[0] == 400


def test_sizes_past_5_tib_are_refused_before_a_byte_is_sent(ask: Client) -> None:
    for size, status in ((5 << 40, 200), ((5 << 40) + 1, 413)):
        length = {"X-Upload-Content-Length": str(size)}
        assert ask("POST", UP, {"name": "k"}, length, uploadType="resumable")[0] == status
    with StrictGcs(max_object_bytes=7) as small:
        own = Client(small)
        assert own.insert("a", b"1234")[0] == 200
        assert own.insert("b", b"12345678")[0] == 413
        assert compose(own, "c", "a", "a")[0] == 413


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


# ---- limits of rate, faults, the log


def test_one_name_takes_one_write_a_second_and_others_are_not_held_up() -> None:
    clock = Clock()
    with StrictGcs(clock=clock, writes_per_second=1) as gcs:
        ask = Client(gcs)
        assert ask.insert("k")[0] == 200
        clock.now += 0.9
        status, body = ask.insert("k", ifGenerationMatch=0)
        assert (status, reason(body), body["error"]["errors"][0]["domain"]) == (429, "rateLimitExceeded", "usageLimits")
        assert [ask.status("DELETE", f"{O}/k"), ask("PATCH", f"{O}/k", {})[0], compose(ask, "k", "k")[0]] == [429] * 3
        assert ask("PUT", "/bucket/k", b"")[0] == 429
        assert ask.insert("other")[0] == 200
        clock.now += 0.1
        assert ask.insert("k")[0] == 200


def test_a_fault_before_leaves_nothing_and_one_after_loses_only_the_reply(ask: Client, gcs: StrictGcs) -> None:
    gcs.faults = lambda method, path, query: ("before", 503) if query.get("name") == "k" else None
    status, body = ask.insert("k")
    assert (status, reason(body)) == (503, "backendError")
    assert gcs.objects("bucket") == {}
    gcs.faults = lambda method, path, query: ("after", 0)
    with pytest.raises(RemoteDisconnected):
        ask.insert("k")
    gcs.faults = lambda method, path, query: ("before", 0)
    with pytest.raises(RemoteDisconnected):
        ask.insert("other")
    assert gcs.objects("bucket").keys() == {"k"}
    gcs.faults = lambda method, path, query: ("after", 500)
    assert ask.insert("third")[0] == 500
    assert gcs.objects("bucket").keys() == {"k", "third"}


def test_every_request_is_remembered_as_it_was_sent(ask: Client, gcs: StrictGcs) -> None:
    ask.insert("a b", ifGenerationMatch=0)
    ask("GET", f"{O}/{quote('é/%', safe='')}", b"", {"X-Mine": "1"}, alt="media")
    first, second = gcs.requests
    assert (first.method, first.path, first.length) == ("POST", UP, 4)
    assert first.query == {"uploadType": "media", "name": "a b", "ifGenerationMatch": "0"}
    assert (second.path, second.headers["x-mine"]) == (f"{O}/%C3%A9%2F%25", "1")
