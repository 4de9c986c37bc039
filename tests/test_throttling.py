"""A store that asks us to slow down is said to a person while it does, and what it refused is sent in the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from busyproxy import BusyProxy
from conftest import Bucket
from hugesync_producer.progress import PLAIN_INTERVAL
from submit import Submit

MIB = 1 << 20


@pytest.fixture
def busy(s3_bucket: Bucket) -> Iterator[BusyProxy]:
    proxy = BusyProxy(s3_bucket.endpoint, PLAIN_INTERVAL + 2, retry_after=3)
    yield proxy
    proxy.close()


def test_a_store_that_says_slow_down_is_shown_as_throttling(tmp_path: Path, s3_bucket: Bucket, busy: BusyProxy) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    body = os.urandom(20 * MIB)
    (tree / "file").write_bytes(body)
    hs = Submit(tmp_path / "us", {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": busy.endpoint})

    ran = hs(tree, f"s3://{s3_bucket.bucket}/tree", "--retries", "9")

    assert ran.code == 0, (ran.err, ran.json)
    assert busy.refused >= 4
    (line, *_) = [line for line in ran.err.splitlines() if " of 1 files" in line]
    assert "throttled: the store asks us to slow down" in line
    assert ran.json["retries"] == busy.refused
    assert s3_bucket.client.get_object(Bucket=s3_bucket.bucket, Key="tree/file")["Body"].read() == body
