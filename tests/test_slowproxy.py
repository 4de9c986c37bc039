"""The proxy tells the truth: what it counts is what passed, and what it holds does not pass."""

from __future__ import annotations

import os
import threading

import boto3
import pytest
from botocore.config import Config

from conftest import Bucket
from slowproxy import SlowProxy


def client(proxy: SlowProxy):
    return boto3.client(
        "s3", endpoint_url=proxy.endpoint, config=Config(retries={"total_max_attempts": 1}, read_timeout=20)
    )


def test_requests_and_bodies_are_counted_as_they_pass(proxy: SlowProxy, s3_bucket: Bucket) -> None:
    s3, body = client(proxy), os.urandom(300_000)
    s3.put_object(Bucket=s3_bucket.bucket, Key="k", Body=body)
    assert s3.get_object(Bucket=s3_bucket.bucket, Key="k")["Body"].read() == body
    s3.head_object(Bucket=s3_bucket.bucket, Key="k")
    assert proxy.requests() == {"PUT": 1, "GET": 1, "HEAD": 1}
    put, get, head = proxy.exchanges
    assert put.sent >= len(body)  # the checksum's trailer comes on top
    assert put.sent - len(body) < 2_000
    assert (get.received, head.received) == (len(body), 0)
    assert [e.status for e in proxy.exchanges] == [200, 200, 200]


def test_what_is_held_has_not_arrived_and_goes_on_when_released(proxy: SlowProxy, s3_bucket: Bucket) -> None:
    body = os.urandom(4 << 20)
    proxy.hold_after(up=1 << 20)
    put = threading.Thread(
        target=client(proxy).put_object, kwargs={"Bucket": s3_bucket.bucket, "Key": "k", "Body": body}
    )
    put.start()
    proxy.held()
    assert "Contents" not in s3_bucket.client.list_objects_v2(Bucket=s3_bucket.bucket)
    proxy.release()
    put.join(30)
    assert s3_bucket.client.get_object(Bucket=s3_bucket.bucket, Key="k")["Body"].read() == body


def test_a_cut_connection_fails_and_a_mended_proxy_serves_again(proxy: SlowProxy, s3_bucket: Bucket) -> None:
    s3 = client(proxy)
    s3.put_object(Bucket=s3_bucket.bucket, Key="k", Body=b"1")
    proxy.cut(off=True)
    with pytest.raises(Exception, match=r"(?i)connect"):
        s3.head_object(Bucket=s3_bucket.bucket, Key="k")
    proxy.mend()
    assert s3.head_object(Bucket=s3_bucket.bucket, Key="k")["ContentLength"] == 1
