"""The vendor's SDK and obstore's client against the strict fake of Google Cloud Storage."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

import obstore
import pytest
from google.api_core.exceptions import BadRequest, NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import GCSStore

from strict_gcs import StrictGcs

NAME = "a b/é!?#%.txt"


@pytest.fixture
def gcs() -> Iterator[StrictGcs]:
    with StrictGcs(rewrite_bytes_per_call=1 << 20) as it:
        yield it


@pytest.fixture
def sdk(gcs: StrictGcs, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in gcs.env.items():
        monkeypatch.setenv(name, value)
    return storage.Client(project="p", credentials=AnonymousCredentials()).bucket("bucket")


@pytest.fixture
def obs(gcs: StrictGcs) -> GCSStore:
    key = gcs.service_account_key
    return GCSStore("bucket", config={"service_account_key": key}, client_options={"allow_http": True})


def test_the_sdk_uploads_reads_patches_lists_and_deletes(gcs: StrictGcs, sdk: Any) -> None:
    blob = sdk.blob(NAME)
    blob.metadata = {"a": "é"}
    blob.upload_from_string(b"hello", content_type="text/a", if_generation_match=0, checksum="crc32c")
    with pytest.raises(PreconditionFailed):
        sdk.blob(NAME).upload_from_string(b"other", if_generation_match=0)
    assert gcs.objects("bucket")[NAME].fields["contentType"] == "text/a"
    found = sdk.get_blob(NAME)
    assert (found.size, found.metadata, found.metageneration) == (5, {"a": "é"}, 1)
    assert found.download_as_bytes(start=1, end=3, if_generation_match=found.generation) == b"ell"
    assert found.download_as_bytes(checksum="crc32c") == b"hello"
    found.metadata = {"b": "1"}
    found.patch(if_metageneration_match=1)
    with pytest.raises(PreconditionFailed):
        found.patch(if_metageneration_match=1)
    sdk.blob("k").upload_from_string(b"")
    pages = list(sdk.list_blobs(page_size=1, fields="items(name,size),nextPageToken").pages)
    assert [[blob.name for blob in page] for page in pages] == [[NAME], ["k"]]
    with pytest.raises(PreconditionFailed):
        found.delete(if_generation_match=1)
    found.delete(if_generation_match=found.generation)
    with pytest.raises(NotFound):
        found.reload()


def test_a_lost_reply_makes_the_sdk_retry_into_its_own_precondition(gcs: StrictGcs, sdk: Any) -> None:
    lost = iter([("after", 0)])
    gcs.faults = lambda method, path, query: next(lost, None) if "uploadType" in query else None
    with pytest.raises(PreconditionFailed):
        sdk.blob("k").upload_from_string(b"hello", if_generation_match=0)
    assert gcs.objects("bucket")["k"].data == b"hello"


def test_the_sdk_uploads_in_chunks_over_a_broken_one_and_a_wrong_checksum_is_refused(gcs: StrictGcs, sdk: Any) -> None:
    data = os.urandom((1 << 20) + 5)
    broken = iter([None, ("after", 503)])
    gcs.faults = lambda method, path, query: next(broken, None) if method == "PUT" else None
    sdk.blob("k", chunk_size=256 << 10).upload_from_file(io.BytesIO(data), if_generation_match=0)
    assert gcs.objects("bucket")["k"].data == data
    wrong = sdk.blob("k")
    wrong.crc32c = "AAAAAA=="
    with pytest.raises(BadRequest, match="doesn't match calculated CRC32C"):
        wrong.upload_from_string(b"hello", checksum=None)


def test_the_sdk_composes_and_rewrites(gcs: StrictGcs, sdk: Any) -> None:
    for name in ("a", "b"):
        gcs.put("bucket", name, name.encode() * (1 << 20))
    a, b, made = sdk.get_blob("a"), sdk.get_blob("b"), sdk.blob("made")
    generations = [a.generation, b.generation]
    with pytest.raises(PreconditionFailed):
        made.compose([a, b], if_generation_match=1, if_source_generation_match=generations)
    made.compose([a, b], if_generation_match=0, if_source_generation_match=generations, delete_source_objects=True)
    assert (made.component_count, made.md5_hash) == (2, None)
    assert gcs.objects("bucket").keys() == {"made"}
    copy, calls = sdk.blob("copy"), 1
    token, done, _ = copy.rewrite(made, if_generation_match=0, if_source_generation_match=made.generation)
    while token is not None:
        calls += 1
        token, done, _ = copy.rewrite(
            made, token=token, if_generation_match=0, if_source_generation_match=made.generation
        )
    assert (calls, done) == (2, 2 << 20)
    assert copy.crc32c == made.crc32c


def test_obstore_puts_gets_lists_copies_and_deletes_under_conditions(gcs: StrictGcs, obs: GCSStore) -> None:
    put = obstore.put(obs, NAME, b"hello", mode="create", attributes={"Content-Type": "text/a", "mine": "v"})
    version = gcs.objects("bucket")[NAME]
    assert (dict(version.metadata), version.fields["contentType"]) == ({"mine": "v"}, "text/a")
    assert put["version"] == str(version.generation)
    with pytest.raises(AlreadyExistsError):
        obstore.put(obs, NAME, b"other", mode="create")
    with pytest.raises(PreconditionError):
        obstore.put(obs, NAME, b"other", mode={"version": "1"})
    assert obstore.get_ranges(obs, NAME, starts=[0, 4], ends=[2, 5]) == [b"he", b"o"]
    head = obstore.head(obs, NAME)
    assert (head["size"], head["e_tag"]) == (5, put["e_tag"])
    with pytest.raises(PreconditionError):
        obstore.get(obs, NAME, options={"if_match": '"other"'})
    with pytest.raises(FileNotFoundError):
        obstore.get(obs, NAME, options={"version": "1"})
    obstore.copy(obs, NAME, "a b/copy", overwrite=False)
    with pytest.raises(AlreadyExistsError):
        obstore.copy(obs, NAME, "a b/copy", overwrite=False)
    assert [meta["path"] for batch in obstore.list(obs, "a b") for meta in batch] == ["a b/copy", NAME]
    assert [meta["path"] for batch in obstore.list(obs, offset="a b/copy") for meta in batch] == [NAME]
    assert obstore.list_with_delimiter(obs)["common_prefixes"] == ["a b"]
    obstore.delete(obs, NAME)
    assert gcs.objects("bucket").keys() == {"a b/copy"}


def test_obstore_uploads_in_parts_without_md5_and_over_whatever_is_there(gcs: StrictGcs, obs: GCSStore) -> None:
    data = os.urandom((5 << 20) + 1)
    gcs.put("bucket", "k", b"there")
    obstore.put(obs, "k", data, use_multipart=True)
    version = gcs.objects("bucket")["k"]
    assert (version.data, version.md5) == (data, None)
