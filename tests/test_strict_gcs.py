"""The strict fake of Google Cloud Storage is strict: conditions, checksums and limits bite, lost replies are lost."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from http.client import RemoteDisconnected
from typing import Any
from urllib.parse import quote

import pytest

from strict_gcs import StrictGcs
from strict_gcs_client import UP, Client, Clock, O, compose, crc, reason

QUANTUM = 256 << 10


@pytest.fixture
def gcs() -> Iterator[StrictGcs]:
    with StrictGcs(rewrite_bytes_per_call=1 << 20) as it:
        yield it


@pytest.fixture
def ask(gcs: StrictGcs) -> Client:
    return Client(gcs)


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
