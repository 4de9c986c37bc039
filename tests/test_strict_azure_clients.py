"""The strict fake of Azure Blob Storage serves the clients there are: azure-storage-blob and obstore."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

import obstore
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import (
    AccountSasPermissions,
    BlobBlock,
    BlobServiceClient,
    ContainerClient,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
)
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import AzureStore

from strict_azure import ACCOUNT, KEY, StrictAzure

ODD = "a b/ü%+&='~"


@pytest.fixture
def azure() -> Iterator[StrictAzure]:
    with StrictAzure() as azure:
        azure.create_container("box")
        yield azure


@pytest.fixture
def box(azure: StrictAzure) -> Iterator[ContainerClient]:
    with BlobServiceClient.from_connection_string(azure.connection_string, retry_total=0) as service:
        yield service.get_container_client("box")


@pytest.fixture
def store(azure: StrictAzure) -> AzureStore:
    return AzureStore(
        "box",
        account_name=ACCOUNT,
        account_key=KEY,
        endpoint=azure.endpoint,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def _readable(name: str) -> str:
    expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
    return generate_blob_sas(ACCOUNT, "box", name, account_key=KEY, permission="r", expiry=expiry)


@contextmanager
def _source_condition_not_met() -> Iterator[None]:
    """The SDK has no exception of its own for it, as it has ResourceModifiedError for ConditionNotMet."""
    with pytest.raises(HttpResponseError) as refused:
        yield
    assert (refused.value.status_code, refused.value.error_code) == (412, "SourceConditionNotMet")


def test_the_sdk_writes_reads_lists_and_deletes(box: ContainerClient) -> None:
    blob = box.get_blob_client(ODD)
    metadata = {"k": "v", "a_b": "1", "ab": "2", "a1": "3"}  # names that are signed in an order of their own
    blob.upload_blob(b"hello", metadata=metadata, validate_content=True)
    properties = blob.get_blob_properties()
    assert (properties.size, properties.metadata) == (5, metadata)
    assert blob.download_blob(offset=1, length=3, validate_content=True).readall() == b"ell"
    assert [b.name for b in box.list_blobs(include=["metadata", "copy", "uncommittedblobs"])] == [ODD]
    assert [b.metadata for b in box.list_blobs(include=["metadata"])] == [metadata]
    with pytest.raises(ResourceExistsError):
        blob.upload_blob(b"hello")
    gone: dict[str, Any] = {"etag": '"0x0"', "match_condition": MatchConditions.IfNotModified}
    for write in (
        blob.set_blob_metadata,
        blob.delete_blob,
        lambda **more: blob.upload_blob(b"", overwrite=True, **more),
    ):
        with pytest.raises(ResourceModifiedError):
            write(**gone)
    blob.delete_blob()
    with pytest.raises(ResourceNotFoundError):
        blob.get_blob_properties()
    assert [r.status_code for r in box.delete_blobs(ODD, raise_on_any_failure=False)] == [404]  # type: ignore[attr-defined]


def test_the_sdk_stages_commits_and_copies(azure: StrictAzure, box: ContainerClient) -> None:
    blob = box.get_blob_client(ODD)
    blob.stage_block("1", b"abc", validate_content=True)
    assert [b.size for b in blob.get_block_list("all")[1]] == [3]
    etag = blob.commit_block_list([BlobBlock("1")])["etag"]
    url = f"{blob.url}?{_readable(ODD)}"
    other = box.get_blob_client("other")
    with _source_condition_not_met():
        other.stage_block_from_url("1", url, 1, 2, headers={"x-ms-source-if-match": '"0x0"'})
    other.stage_block_from_url("1", url, 1, 2, headers={"x-ms-source-if-match": etag})
    other.commit_block_list([BlobBlock("1")])
    assert azure.contents("box")["other"] == b"bc"
    held = {"source_etag": etag, "source_match_condition": MatchConditions.IfNotModified}
    assert other.start_copy_from_url(url, requires_sync=True, **held)["copy_status"] == "success"
    assert other.upload_blob_from_url(url, overwrite=True, **held)["etag"]
    blob.set_blob_metadata({})
    with _source_condition_not_met():
        other.start_copy_from_url(url, requires_sync=True, **held)
    with _source_condition_not_met():
        other.upload_blob_from_url(url, overwrite=True, **held)
    with pytest.raises(HttpResponseError) as refused:
        other.stage_block_from_url("2", blob.url, 0, 1)
    assert refused.value.error_code == "CannotVerifyCopySource"


def test_the_sdk_with_an_account_sas_may_what_it_says(azure: StrictAzure, box: ContainerClient) -> None:
    box.upload_blob("a", b"hello")
    expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
    may = AccountSasPermissions(read=True)
    sas = generate_account_sas(ACCOUNT, KEY, ResourceTypes(object=True), may, expiry)
    with BlobServiceClient(azure.endpoint, credential=sas, retry_total=0) as service:
        blob = service.get_blob_client("box", "a")
        assert blob.download_blob().readall() == b"hello"
        with pytest.raises(HttpResponseError) as refused:
            blob.delete_blob()
        assert refused.value.error_code == "AuthorizationPermissionMismatch"


def test_obstore_writes_reads_lists_copies_and_deletes(azure: StrictAzure, store: AzureStore) -> None:
    first = obstore.put(store, ODD, b"hello", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, ODD, b"hello", mode="create")
    with pytest.raises(PreconditionError):
        obstore.put(store, ODD, b"hello", mode={"e_tag": '"0x0"'})
    assert obstore.head(store, ODD)["e_tag"] == first["e_tag"]
    assert bytes(obstore.get_range(store, ODD, start=1, end=3)) == b"el"
    obstore.put(store, "big", b"x" * (6 << 20), use_multipart=True)
    obstore.copy(store, "big", "copy", overwrite=False)
    assert [m["path"] for page in obstore.list(store) for m in page] == [ODD, "big", "copy"]
    assert len(urlopen(obstore.sign(store, "GET", "big", datetime.timedelta(minutes=1))).read()) == 6 << 20
    obstore.delete(store, [ODD, "big"])
    assert list(azure.contents("box")) == ["copy"]
    assert azure.staged("box") == {}
