"""A call that took effect and whose answer was lost, on a real server behind a proxy that cuts: the repeat finds our own work by
marker, size and checksum, and nothing is there twice. (Every such call in every kind of job: ``test_crash_matrix``.)"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from awscrt.checksums import crc64nvme

from conftest import Bucket
from hugesync_tasks.errors import VersionMismatch
from hugesync_tasks.model import Meta, Part, Upload
from hugesync_tasks.stores.base import ANY, MIB
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.token import Token
from slowproxy import SlowProxy
from test_s3_store import MEASURED

META = Meta(mtime_ns=10**18, generation="c" * 32)
BODY = os.urandom(5 * MIB)


@pytest.fixture
def store(s3_bucket: Bucket, proxy: SlowProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[RetryingStore]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    it = RetryingStore(S3Store(s3_bucket.bucket, "data/", limits=MEASURED), 5, base=0.01)
    yield it
    it.close()


def repeated(proxy: SlowProxy, method: str, part: str) -> int:
    """How often the server did it: answered with success, whoever heard of it."""
    return sum(e.method == method and part in e.path and 200 <= e.status < 300 for e in proxy.exchanges)


def upload(store: RetryingStore) -> tuple[Upload, list[Part]]:
    it = store.create_upload("big", len(BODY) + 7, 5 * MIB, META, Token())
    return it, [store.put_part(it, 1, BODY, Token()), store.put_part(it, 2, b"the end", Token())]


def bytes_of(s3: Bucket, key: str) -> bytes:
    body: bytes = s3.client.get_object(Bucket=s3.bucket, Key=f"data/{key}")["Body"].read()
    return body


@pytest.mark.parametrize("key", ["plain", "control\x7f"])  # by obstore, and by boto3
def test_a_put_is_found_to_be_ours(store: RetryingStore, proxy: SlowProxy, key: str) -> None:
    token = Token()
    proxy.lose_answer("PUT", key[:5])
    done = store.put(key, b"body", META, None, token)
    assert token.meter.count("retries") == 1
    assert (done.size, store.inner.head(key, Token()).entry.version) == (4, done.version)  # type: ignore[union-attr]
    with pytest.raises(VersionMismatch):
        store.put(key, b"body", META, None, Token())


def test_an_upload_that_nobody_heard_of_is_left_empty_and_another_is_used(
    store: RetryingStore, proxy: SlowProxy
) -> None:
    """S3 lists neither mark nor metadata of an upload, so one whose id was lost cannot be told from another tool's, and is never
    aborted on suspicion. It has no parts, so nobody pays for it."""
    proxy.lose_answer("POST", "uploads")
    it, parts = upload(store)
    done = store.complete(it, parts, META, None, None, Token())
    assert done.size == len(BODY) + 7
    left = list(store.list_uploads(Token()))
    assert len(left) <= 1
    for key, id, _ in left:
        assert id != it.id
        assert store.list_parts(Upload(key, id, "", 0, 5 * MIB), Token()) == []


def test_a_part_is_sent_again_and_counts_once(store: RetryingStore, proxy: SlowProxy, s3_bucket: Bucket) -> None:
    proxy.lose_answer("PUT", "partNumber=1")
    it, parts = upload(store)
    assert repeated(proxy, "PUT", "partNumber=1") == 2
    assert {p.number for p in store.list_parts(it, Token())} == {1, 2}  # SeaweedFS lists a part that came twice twice
    store.complete(it, parts, META, None, crc64nvme(BODY + b"the end"), Token())
    assert bytes_of(s3_bucket, "big") == BODY + b"the end"


def test_a_completed_upload_is_found_to_be_ours(store: RetryingStore, proxy: SlowProxy, s3_bucket: Bucket) -> None:
    it, parts = upload(store)
    proxy.lose_answer("POST", "uploadId")
    token = Token()
    done = store.complete(it, parts, META, None, crc64nvme(BODY + b"the end"), token)
    assert token.meter.count("retries") == 1
    assert bytes_of(s3_bucket, "big") == BODY + b"the end"
    assert done.version == store.head("big", Token()).entry.version  # type: ignore[union-attr]
    assert list(store.list_uploads(Token())) == []


def test_a_copy_is_found_to_be_ours(store: RetryingStore, proxy: SlowProxy, s3_bucket: Bucket) -> None:
    there = store.put("from", b"body", Meta(), None, Token())
    proxy.lose_answer("PUT", "copied")
    token = Token()
    done = store.copy(store, "copied", "from", there.version, META, None, token)
    assert token.meter.count("retries") == 1
    assert (done.size, bytes_of(s3_bucket, "copied")) == (4, b"body")


@pytest.mark.parametrize("conditional", [True, False])
def test_a_delete_is_over_when_the_object_is_gone(store: RetryingStore, proxy: SlowProxy, conditional: bool) -> None:
    there = store.put("gone", b"body", META, None, Token())
    proxy.lose_answer("DELETE", "gone")
    token = Token()
    store.delete("gone", there.version if conditional else ANY, token)
    assert token.meter.count("retries") == 1
    assert store.head("gone", Token()) is None


def test_a_rival_who_came_between_is_not_taken_for_us(
    store: RetryingStore, proxy: SlowProxy, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.lose_answer("PUT", "mine")

    def rival(_: float) -> None:
        s3_bucket.client.put_object(Bucket=s3_bucket.bucket, Key="data/mine", Body=b"rival")

    monkeypatch.setattr(store, "_sleep", rival)
    with pytest.raises(VersionMismatch):
        store.put("mine", b"body!", META, None, Token())
    assert bytes_of(s3_bucket, "mine") == b"rival"
