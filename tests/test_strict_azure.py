"""The strict fake of Azure Blob Storage does what the service documents, asked by plain HTTP with a signature made here.

What real clients make of it is in test_strict_azure_clients.py."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.client import HTTPConnection, RemoteDisconnected
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from strict_azure import ACCOUNT, KEY, AzureLimits, StrictAzure
from strict_azure_checks import crc64, md5
from strict_azure_state import WEEK

SMALL = AzureLimits(block=100, put_blob=200, copy_from_url=50, blocks=4, uncommitted=3, page=3)
BLOB = {"x-ms-blob-type": "BlockBlob"}


class Reply:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.code = headers.get("x-ms-error-code", "")
        self.etag = headers.get("etag", "")

    @property
    def refused(self) -> tuple[int, str]:
        """Status and code, which an error's body says as well."""
        assert not self.body or f"<Code>{self.code}</Code>".encode() in self.body
        return self.status, self.code

    def texts(self, element: str) -> list[str]:
        return [found.text or "" for found in ElementTree.fromstring(self.body).iter(element)]


class Plain:
    """Asks with a SharedKey signature, over one connection; every name is one of container ``box``."""

    def __init__(self, azure: StrictAzure) -> None:
        self.azure = azure
        self.connection = HTTPConnection(azure.netloc, timeout=20)

    def __call__(
        self, method: str, path: str, query: str = "", body: bytes = b"", *, key: str = KEY, **more: str
    ) -> Reply:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        return self.ask(method, quote(path), query, body, headers, key=key)

    def ask(self, method: str, path: str, query: str, body: bytes, headers: dict[str, str], *, key: str = KEY) -> Reply:
        path = f"/{ACCOUNT}/box" + (f"/{path}" if path else "")
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2026-10-06"} | headers
        if method in ("PUT", "POST"):
            headers.setdefault("Content-Length", str(len(body)))
        low = {name.lower(): value for name, value in headers.items()}
        lines = [method, low.get("content-encoding", ""), low.get("content-language", "")]
        lines += [
            low.get("content-length", "").replace("0", "", 1)
            if low.get("content-length") == "0"
            else low.get("content-length", "")
        ]
        lines += [low.get(n, "") for n in ("content-md5", "content-type")] + [""]
        lines += [
            low.get(n, "") for n in ("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range")
        ]
        lines += [f"{n}:{low[n]}" for n in sorted(low) if n.startswith("x-ms-")]
        lines += [f"/{ACCOUNT}{path}"]
        parts = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
        lines += [f"{n}:{parts[n]}" for n in sorted(parts)]
        signature = hmac.new(base64.b64decode(key), "\n".join(lines).encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
        self.connection.request(method, f"{path}?{query.replace('+', '%2B')}" if query else path, body or None, headers)
        answer = self.connection.getresponse()
        read = answer.read()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, read)

    def put(self, name: str, data: bytes = b"hello", **more: str) -> Reply:
        return self("PUT", name, body=data, x_ms_blob_type="BlockBlob", **more)

    def stage(self, name: str, block: str, data: bytes = b"block", **more: str) -> Reply:
        return self("PUT", name, f"comp=block&blockid={_b64(block)}", data, **more)

    def commit(self, name: str, *blocks: str, which: str = "Latest", **more: str) -> Reply:
        """``blocks``: ids, each maybe with its list before a colon."""
        items = [block.split(":") if ":" in block else (which, block) for block in blocks]
        inner = "".join(f"<{tag}>{_b64(block)}</{tag}>" for tag, block in items)
        return self("PUT", name, "comp=blocklist", f"<BlockList>{inner}</BlockList>".encode(), **more)

    def blocks(self, name: str) -> tuple[list[str], list[str]]:
        root = ElementTree.fromstring(self("GET", name, "comp=blocklist&blocklisttype=all").body)
        return tuple(
            [base64.b64decode(b.text or "").decode() for b in root.iterfind(f"{k}/Block/Name")]
            for k in ("CommittedBlocks", "UncommittedBlocks")
        )  # type: ignore[return-value]

    def source(self, name: str, *, permissions: str = "r", seconds: float = 300, key: str = KEY, sr: str = "b") -> str:
        """A URL with a service SAS as "Create a service SAS" has it for 2020-12-06 and later."""
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        resource = f"/blob/{ACCOUNT}/box" + (f"/{name}" if sr == "b" else "")
        text = "\n".join([permissions, "", expiry, resource, "", "", "", "2022-11-02", sr, "", "", "", "", "", "", ""])
        signature = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
        sas = f"sp={permissions}&se={quote(expiry)}&sv=2022-11-02&sr={sr}&sig={quote(signature, safe='')}"
        return f"{self.azure.endpoint}/box/{quote(name)}?{sas}"

    def stage_from(self, name: str, block: str, url: str, **more: str) -> Reply:
        return self("PUT", name, f"comp=block&blockid={_b64(block)}", x_ms_copy_source=url, **more)


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def azure(clock: Clock) -> Iterator[StrictAzure]:
    with StrictAzure(clock=clock, limits=SMALL) as azure:
        azure.create_container("box")
        yield azure


@pytest.fixture
def ask(azure: StrictAzure) -> Plain:
    return Plain(azure)


def test_the_crc64_is_the_one_the_service_calculated() -> None:
    assert crc64(b"Hello World!") == "peH8Xsgc5QI="  # the live service's word, in azure-sdk-for-js' recordings
    assert crc64(b"Hello World") == "YeJLfssylmU="


def test_a_request_is_refused_without_the_right_signature_version_and_date(ask: Plain) -> None:
    other = base64.b64encode(b"another key").decode()
    assert ask.put("a", key=other).refused == (403, "AuthenticationFailed")
    assert ask.put("a", x_ms_date="Thu, 01 Jan 2015 00:00:00 GMT").refused == (403, "AuthenticationFailed")
    assert ask.put("a", x_ms_version="").status == 400
    assert ask.azure.contents("box") == {}
    ask.connection.request("GET", f"/{ACCOUNT}/box/a")
    answer = ask.connection.getresponse()
    assert (answer.status, answer.getheader("x-ms-error-code")) == (401, "NoAuthenticationInformation")


def test_a_blob_comes_back_with_what_it_was_given(ask: Plain) -> None:
    put = ask.put("a b/ü%+", b"hello", x_ms_meta_Key="v", x_ms_blob_content_type="text/x")
    assert (put.status, put.headers["content-md5"], put.headers["x-ms-content-crc64"]) == (
        201,
        md5(b"hello"),
        crc64(b"hello"),
    )
    got = ask("GET", "a b/ü%+")
    assert (got.status, got.body, got.etag) == (200, b"hello", put.etag)
    assert (got.headers["x-ms-meta-key"], got.headers["content-type"]) == ("v", "text/x")
    head = ask("HEAD", "a b/ü%+")
    assert (head.status, head.headers["content-length"], head.headers["content-md5"]) == (200, "5", md5(b"hello"))


def test_ranges_are_those_azure_knows(ask: Plain) -> None:
    ask.put("a", b"0123456789")
    part = ask("GET", "a", x_ms_range="bytes=2-4", x_ms_range_get_content_crc64="true")
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert part.headers["x-ms-content-crc64"] == crc64(b"234")
    assert "content-md5" not in part.headers, "the blob's own MD5 is not that of a range"
    assert ask("GET", "a", Range="bytes=8-99").body == b"89"
    assert ask("GET", "a", Range="bytes=10-").refused == (416, "InvalidRange")
    assert ask("GET", "a", Range="bytes=-3").status == 400
    ask.put("empty", b"")
    assert ask("GET", "empty", Range="bytes=0-0").refused == (416, "InvalidRange")


@pytest.mark.parametrize("write", ["put", "commit", "metadata", "copy", "delete", "from url"])
def test_a_write_keeps_its_conditions(ask: Plain, write: str) -> None:
    def do(**more: str) -> Reply:
        if write == "put":
            return ask.put("a", b"new", **more)
        if write == "commit":
            return ask.commit("a", **more)
        if write == "metadata":
            return ask("PUT", "a", "comp=metadata", x_ms_meta_m="1", **more)
        if write == "copy":
            return ask("PUT", "a", x_ms_copy_source=ask.source("s"), x_ms_requires_sync="true", **more)
        if write == "from url":
            return ask("PUT", "a", x_ms_copy_source=ask.source("s"), x_ms_blob_type="BlockBlob", **more)
        return ask("DELETE", "a", **more)

    ask.put("s", b"source")
    old = ask.put("a").etag
    now = ask.put("a").etag
    before = ask("HEAD", "a").headers | {"date": ""}
    creates = write not in ("metadata", "delete")
    failed = "TargetConditionNotMet" if write in ("copy", "from url") else "ConditionNotMet"
    assert do(If_Match=old).refused == (412, failed)
    assert do(If_Match='"0x0"').refused == (412, failed)
    assert do(If_None_Match=now).refused == (412, failed)
    assert do(If_None_Match="*").refused == ((409, "BlobAlreadyExists") if creates else (412, failed))
    assert do(If_Match=now, If_None_Match="*").refused == (400, "MultipleConditionHeadersNotSupported")
    assert do(If_Match=f"{old}, {now}").refused == (400, "InvalidHeaderValue")
    after = ask("HEAD", "a").headers | {"date": "", "x-ms-request-id": before["x-ms-request-id"]}
    assert after == before, "a refused write changes nothing"
    assert do(If_Match=now).status in (200, 201, 202)
    ask("DELETE", "a")
    if creates:
        assert do(If_Match="*").refused == (412, failed)
        assert do(If_None_Match="*").status in (201, 202)
    else:
        assert do(If_Match=now).refused == (404, "BlobNotFound")


def test_a_read_keeps_its_conditions(ask: Plain) -> None:
    old, now = ask.put("a").etag, ask.put("a").etag
    for method in ("GET", "HEAD"):
        assert ask(method, "a", If_Match=old).refused == (412, "ConditionNotMet")
        assert ask(method, "a", If_None_Match=now).status == 304
        assert ask(method, "a", If_None_Match="*").refused == (400, "UnsatisfiableCondition")
        assert ask(method, "a", If_Match=f"{old}, {now}").status == 200
        assert ask(method, "a", If_Match=now.strip('"'), If_None_Match=old).status == 200
        assert ask(method, "missing", If_None_Match=old).refused == (404, "BlobNotFound")


def test_every_write_changes_the_etag_and_staging_does_not(ask: Plain) -> None:
    etags = [ask.put("a").etag, ask.put("a").etag, ask("PUT", "a", "comp=metadata").etag]
    ask.stage("a", "1")
    assert ask("HEAD", "a").etag == etags[-1]
    etags += [ask.commit("a", "1").etag, ask.commit("a", "1").etag]
    assert len(set(etags)) == 5


def test_operations_without_conditions_say_so(ask: Plain) -> None:
    assert ask.stage("a", "1", If_None_Match="*").refused == (400, "ConditionHeadersNotSupported")
    assert ask("GET", "a", "comp=blocklist", If_Match="*").refused == (400, "ConditionHeadersNotSupported")


@pytest.mark.parametrize("way", ["put", "stage", "commit", "from url"])
def test_wrong_checksums_are_refused(ask: Plain, way: str) -> None:
    ask.put("s", b"hello")
    body = b"<BlockList></BlockList>" if way == "commit" else b"hello"
    prefix = "x-ms-source-content-md5" if way == "from url" else "Content-MD5"
    crc_name = "x-ms-source-content-crc64" if way == "from url" else "x-ms-content-crc64"

    def do(**headers: str) -> Reply:
        given = {{"md5": prefix, "crc": crc_name}[name]: value for name, value in headers.items()}
        if way == "put":
            return ask.ask("PUT", "a", "", body, BLOB | given)
        if way == "from url":
            url = {"x-ms-copy-source": ask.source("s")}
            return ask.ask("PUT", "a", f"comp=block&blockid={_b64('1')}", b"", url | given)
        query = "comp=blocklist" if way == "commit" else f"comp=block&blockid={_b64('1')}"
        return ask.ask("PUT", "a", query, body, given)

    assert do(md5=md5(b"x")).refused == (400, "Md5Mismatch")
    assert do(crc=crc64(b"x")).refused == (400, "Crc64Mismatch")
    big_endian = base64.b64encode(base64.b64decode(crc64(body))[::-1]).decode()
    assert do(crc=big_endian).refused == (400, "Crc64Mismatch")
    assert do(md5="short").refused == (400, "InvalidMd5")
    assert do(md5=md5(body), crc=crc64(body)).status == 400, "one of the two only"
    assert "a" not in ask.azure.contents("box")
    assert ask.azure.staged("box") == {}
    assert do(md5=md5(body)).headers["content-md5"] == md5(body)
    assert do(crc=crc64(body)).headers["x-ms-content-crc64"] == crc64(body)


def test_block_ids_are_base64_of_64_bytes_at_most_and_of_one_length(ask: Plain) -> None:
    assert ask("PUT", "a", "comp=block&blockid=a", b"x").refused == (400, "InvalidQueryParameterValue")
    assert ask("PUT", "a", "comp=block", b"x").status == 400
    assert ask.stage("a", "x" * 65).refused == (400, "OutOfRangeInput")
    assert ask.stage("b", "x" * 64).status == 201
    assert ask.stage("a", "1", b"").refused == (400, "InvalidHeaderValue"), "a block holds something"
    ask.stage("a", "0001")
    assert ask.stage("a", "1").refused == (400, "InvalidBlobOrBlock")
    ask.commit("a", "0001")
    assert ask.stage("a", "1").refused == (400, "InvalidBlobOrBlock"), "committed blocks count too"
    ask.put("a")
    assert ask.stage("a", "1").status == 201, "Put Blob leaves no blocks"


def test_a_block_list_takes_each_block_from_the_list_it_names(ask: Plain) -> None:
    for block in "12":
        ask.stage("a", block, b"old" + block.encode())
    assert ask.commit("a", "1", "2", "1").status == 201
    assert ask.azure.contents("box") == {"a": b"old1old2old1"}
    ask.stage("a", "1", b"new1")
    assert ask.commit("a", "Committed:1", "Uncommitted:1").refused == (400, "InvalidBlockList"), "one id, one list"
    assert ask.commit("a", "Uncommitted:2").refused == (400, "InvalidBlockList")
    assert ask.commit("a", "3").refused == (400, "InvalidBlockList")
    assert ask.blocks("a") == (["1", "2", "1"], ["1"])
    assert ask.commit("a", "Committed:2", "Latest:1").status == 201
    assert ask.azure.contents("box") == {"a": b"old2new1"}
    ask.stage("a", "3")
    ask.stage("a", "4")
    assert ask.commit("a", "Committed:1", "4").status == 201
    assert ask.blocks("a") == (["1", "4"], []), "block 3 was staged and not named: collected"
    assert ask.commit("a", "2").refused == (400, "InvalidBlockList"), "no longer committed"
    assert ask("PUT", "a", "comp=blocklist", b"<BlockList><Newest>MQ==</Newest></BlockList>").refused[0] == 400


def test_a_commit_replaces_metadata_and_properties(ask: Plain) -> None:
    ask.put("a", x_ms_meta_old="1", x_ms_blob_content_type="text/x")
    ask.stage("a", "1")
    ask.commit("a", "1", x_ms_meta_new="2")
    headers = ask("HEAD", "a").headers
    assert (headers["x-ms-meta-new"], headers["content-type"]) == ("2", "application/octet-stream")
    assert "x-ms-meta-old" not in headers
    assert "content-md5" not in headers, "nobody computes the MD5 of a block list"


def test_put_blob_discards_staged_blocks_and_leaves_no_block_list(ask: Plain) -> None:
    ask.stage("a", "1")
    ask.put("a")
    assert ask.blocks("a") == ([], [])
    assert ask.commit("a", "1").refused == (400, "InvalidBlockList")


def test_staged_blocks_go_a_week_after_the_last_one(ask: Plain, clock: Clock) -> None:
    ask.put("kept")
    for name in ("a", "kept"):
        ask.stage(name, "1")
    clock.now += WEEK - 1
    ask.stage("a", "2")
    clock.now += WEEK - 1
    assert ask.blocks("a") == ([], ["1", "2"]), "the last Put Block counts for all"
    assert ask.blocks("kept") == ([], [])
    clock.now += 2
    assert ask("GET", "a", "comp=blocklist").refused == (404, "BlobNotFound")
    assert ask("GET", "kept").body == b"hello"


def test_counts_and_sizes_have_limits(ask: Plain) -> None:
    for block in "123":
        ask.stage("a", block)
    assert ask.stage("a", "4").refused == (409, "BlockCountExceedsLimit")
    assert ask.stage("a", "3", b"again").status == 201
    assert ask.commit("a", "1", "1", "1", "1", "1").refused == (400, "BlockListTooLong")
    assert ask.stage("b", "1", b"x" * 101).refused == (413, "RequestBodyTooLarge")
    assert ask.put("b", b"x" * 201).refused == (413, "RequestBodyTooLarge")
    assert ask.put("b", b"x" * 200).status == 201
    copy = ask("PUT", "d", x_ms_copy_source=ask.source("b"), x_ms_requires_sync="true")
    assert copy.refused == (409, "CannotVerifyCopySource"), "as in azure-sdk-for-go issue 19880"
    assert ask.stage_from("d", "1", ask.source("b")).refused == (413, "RequestBodyTooLarge")
    assert ask.stage_from("d", "1", ask.source("b"), x_ms_source_range="bytes=100-199").status == 201


def test_a_blob_of_staged_blocks_alone_does_not_exist_for_readers(ask: Plain) -> None:
    ask.stage("a", "1")
    assert ask("GET", "a").refused == (404, "BlobNotFound")
    assert ask("HEAD", "a").refused == (404, "BlobNotFound")
    assert ask("DELETE", "a").refused == (404, "BlobNotFound")
    assert ask("PUT", "a", "comp=metadata").refused == (404, "BlobNotFound")
    assert ask("GET", "", "restype=container&comp=list").texts("Name") == []
    listed = ask("GET", "", "restype=container&comp=list&include=uncommittedblobs")
    assert (listed.texts("Name"), listed.texts("Etag")) == (["a"], [])
    assert ask.commit("a", "1", If_None_Match="*").status == 201


def test_metadata_names_are_identifiers_and_eight_kib_in_all(ask: Plain) -> None:
    assert ask.put("a", x_ms_meta_1a="v").refused == (400, "InvalidMetadata")
    assert ask.ask("PUT", "a", "", b"", BLOB | {"x-ms-meta-a-b": "v"}).refused == (400, "InvalidMetadata")
    assert ask.ask("PUT", "a", "", b"", BLOB | {"x-ms-meta-": "v"}).refused == (400, "EmptyMetadataKey")
    assert ask.put("a", x_ms_meta_a="v" * 8192).refused == (400, "MetadataTooLarge")
    assert ask.put("a", x_ms_meta_a="v" * 8191).status == 201
    assert ask.ask("PUT", "a", "", b"", BLOB | {"x-ms-meta-_Ab1": "v"}).status == 201


def test_names_have_1024_characters_at_most(ask: Plain) -> None:
    assert ask.put("ü" * 1024).status == 201
    assert ask.put("ü" * 1025).refused == (400, "InvalidResourceName")
    assert ask.put("🙂" * 513).refused == (400, "InvalidResourceName"), "characters are UTF-16 units"
    for odd in ("a/../b", "./a", "a\\b", "a.", "a./b", "a\x01b"):
        assert ask.put(odd).refused == (400, "InvalidUri")


def test_a_listing_is_in_utf16_order_and_in_pages(ask: Plain) -> None:
    names = ["Z", "a", "a!", "a/x", "a/y", "ü", "🙂", "\uff5e"]  # by code points the last two stand the other way round
    for name in reversed(names):
        ask.put(name, x_ms_meta_k="v<&")
    found: list[str] = []
    query = "restype=container&comp=list&include=metadata"
    marker, pages = "", 0
    while marker or not pages:
        page = ask("GET", "", f"{query}&marker={marker}" if marker else query)
        assert len(page.texts("Name")) <= SMALL.page
        assert set(page.texts("k")) == {"v<&"}
        found += page.texts("Name")
        marker, pages = page.texts("NextMarker")[0], pages + 1
    assert (found, pages) == (names, 3)
    folded = ask("GET", "", "restype=container&comp=list&delimiter=/&prefix=a&maxresults=9")
    assert folded.texts("Name") == ["a", "a!", "a/"]
    assert ask("GET", "", f"{query}&marker=a").refused == (400, "OutOfRangeInput"), "a marker is the service's own"
    assert ask("GET", "", f"{query}&maxresults=0").refused[0] == 400


def test_a_first_page_may_be_empty_and_have_a_marker(ask: Plain) -> None:
    ask.azure.empty_pages = True
    ask.put("a")
    page = ask("GET", "", "restype=container&comp=list")
    assert page.texts("Name") == []
    marker = page.texts("NextMarker")[0]
    assert ask("GET", "", f"restype=container&comp=list&marker={marker}").texts("Name") == ["a"]


@pytest.mark.parametrize("way", ["block", "copy", "from url"])
def test_a_source_is_read_only_with_a_good_sas_and_under_its_conditions(ask: Plain, way: str, clock: Clock) -> None:
    old = ask.put("s", b"0123456789").etag
    now = ask.put("s", b"0123456789").etag

    def do(url: str, **more: str) -> Reply:
        if way == "block":
            return ask.stage_from("d", "1", url, **more)
        kind = {"x_ms_requires_sync": "true"} if way == "copy" else {"x_ms_blob_type": "BlockBlob"}
        return ask("PUT", "d", x_ms_copy_source=url, **kind, **more)

    denied = (403, "CannotVerifyCopySource")
    assert do(ask.source("s", permissions="w")).refused == denied
    assert do(ask.source("s", key=base64.b64encode(b"other").decode())).refused == denied
    assert do(ask.source("t").replace("/t?", "/s?")).refused == denied, "signed for another blob"
    assert do(ask.source("s", seconds=-1)).refused == denied
    short = ask.source("s", seconds=60)
    clock.now += 61
    assert do(short).refused == denied
    assert do(ask.source("s").partition("?")[0]).refused == (409, "CannotVerifyCopySource")
    assert do(ask.source("missing")).refused == (404, "CannotVerifyCopySource")
    url = ask.source("s", sr="c")
    assert do(url, x_ms_source_if_match=old).refused == (412, "SourceConditionNotMet")
    assert do(url, x_ms_source_if_none_match=now).refused == (412, "SourceConditionNotMet")
    assert "d" not in ask.azure.contents("box")
    assert ask.azure.staged("box") == {}
    assert do(url, x_ms_source_if_match=now).status in (201, 202)


def test_a_block_from_a_range_of_a_blob(ask: Plain) -> None:
    ask.put("s", b"0123456789")
    url = ask.source("s")
    staged = ask.stage_from("d", "1", url, x_ms_source_range="bytes=2-4", x_ms_source_content_crc64=crc64(b"234"))
    assert (staged.status, staged.headers["x-ms-content-crc64"]) == (201, crc64(b"234"))
    assert ask.stage_from("d", "2", url, x_ms_source_range="bytes=10-12").refused == (416, "CannotVerifyCopySource")
    wrong = ask.stage_from("d", "2", url, x_ms_source_range="bytes=2-4", x_ms_source_content_md5=md5(b"x"))
    assert wrong.refused == (400, "Md5Mismatch")
    ask.commit("d", "1")
    assert ask.azure.contents("box")["d"] == b"234"


def test_copies_take_metadata_along_unless_given_their_own(ask: Plain) -> None:
    ask.stage("s", "1")
    ask.commit("s", "1", x_ms_meta_m="source")
    url = ask.source("s")
    copied = ask("PUT", "d", x_ms_copy_source=url, x_ms_requires_sync="true")
    assert (copied.status, copied.headers["x-ms-copy-status"]) == (202, "success")
    assert ask("HEAD", "d").headers["x-ms-meta-m"] == "source"
    assert ask.blocks("d") == (["1"], []), "a copy has the source's block list"
    ask("PUT", "d", x_ms_copy_source=url, x_ms_blob_type="BlockBlob", x_ms_meta_m="own")
    assert ask("HEAD", "d").headers["x-ms-meta-m"] == "own"
    assert ask.blocks("d") == ([], []), "Put Blob From URL makes one without"
    assert ask("PUT", "d", x_ms_copy_source=url.partition("?")[0]).status == 202, "Copy Blob: the account's own blobs"
    listed = ask("GET", "", "restype=container&comp=list&include=copy")
    assert listed.texts("CopyStatus") == ["success"]


def test_containers(ask: Plain, clock: Clock) -> None:
    assert ask("GET", "", "restype=container").status == 200
    assert ask("PUT", "", "restype=container").refused == (409, "ContainerAlreadyExists")
    assert ask("DELETE", "", "restype=container").status == 202
    assert ask("GET", "", "restype=container").refused == (404, "ContainerNotFound")
    assert ask.put("a").refused == (404, "ContainerNotFound")
    assert ask("PUT", "", "restype=container").refused == (409, "ContainerBeingDeleted")
    clock.now += 31
    assert ask("PUT", "", "restype=container").status == 201


def test_faults_strike_before_or_after_the_effect(ask: Plain) -> None:
    fault: list[tuple[str, int]] = [("before", 503)]
    asked: list[tuple[str, str, dict[str, str]]] = []

    def faults(method: str, path: str, query: dict[str, str]) -> tuple[str, int] | None:
        asked.append((method, path, query))
        return fault.pop() if fault else None

    ask.azure.faults = faults
    assert ask.stage("a b", "1").refused == (503, "ServerBusy")
    assert ask.azure.staged("box") == {}
    assert asked == [("PUT", f"/{ACCOUNT}/box/a b", {"comp": "block", "blockid": "MQ=="})]
    for when, staged in (("before", {}), ("after", {"a": ["MQ=="]})):
        fault.append((when, 0))
        with pytest.raises(RemoteDisconnected):
            ask.stage("a", "1")
        assert ask.azure.staged("box") == staged
    assert ask.commit("a", "1").status == 201, "the next connection works"


def test_requests_are_kept_as_they_came(ask: Plain) -> None:
    ask.commit("a b", x_ms_meta_Key="v")
    (last,) = ask.azure.requests
    assert (last.method, last.path, last.query) == ("PUT", f"/{ACCOUNT}/box/a b", {"comp": "blocklist"})
    assert (last.xml, last.headers["x-ms-meta-key"]) == (b"<BlockList></BlockList>", "v")
    ask.put("a", b"12345")
    assert (ask.azure.requests[-1].length, ask.azure.requests[-1].xml) == (5, b"")


def test_what_is_not_known_is_refused_loudly(ask: Plain) -> None:
    for query in ("comp=lease", "comp=snapshot", "comp=tier", "comp=appendblock"):
        assert ask("PUT", "a", query).refused == (501, "NotImplemented")
    assert ask("PUT", "a", x_ms_blob_type="PageBlob").refused == (501, "NotImplemented")
