"""What ``--json`` says of traffic is what a proxy between us and the store counts, request by request and byte by byte.

``bytes`` are payload: bodies of objects and parts on their way, and (``overhead``) of what we put beside them. The XML of
listings and of Complete is no payload; its requests are counted. The issue asks for 2 %.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from conftest import Bucket
from scale import scaled
from slowproxy import Exchange, SlowProxy
from submit import Ran, Submit, assert_moved_nothing

MIB = 1 << 20
TOLERANCE = 0.02
LARGE = max(40 * MIB, scaled(100 * MIB))  # three parts at least


def kind_of(exchange: Exchange) -> str:
    """The request's name in ``--json``."""
    url = urlsplit(exchange.path)
    query = parse_qs(url.query, keep_blank_values=True)
    of_bucket = url.path.strip("/").count("/") == 0
    match exchange.method:
        case "HEAD":
            return "head"
        case "GET":
            return "list" if of_bucket or "uploadId" in query else "get"
        case "PUT" if "partNumber" in query:
            return "part" if exchange.sent else "part_copy"
        case "PUT":
            return "put"
        case "POST":
            return "create" if "uploads" in query else "complete" if "uploadId" in query else "delete"
        case "DELETE":
            return "abort" if "uploadId" in query else "delete"
    raise AssertionError(f"a request of no kind we know: {exchange}")


@dataclass(frozen=True)
class Counted:
    """What passed the proxies during one run."""

    requests: Counter[str]
    sent: int  # bodies of objects and parts
    received: int

    @classmethod
    def of(cls, exchanges: list[Exchange]) -> Counted:
        kinds = [(kind_of(e), e) for e in exchanges]
        return cls(
            Counter(kind for kind, _ in kinds),
            sum(e.sent for kind, e in kinds if kind in ("put", "part")),
            sum(e.received for kind, e in kinds if kind == "get" and e.status in (200, 206)),
        )


@contextmanager
def counting(*proxies: SlowProxy) -> Iterator[Callable[[], Counted]]:
    """The function gives what passed since the block began."""
    before = [len(p.exchanges) for p in proxies]
    yield lambda: Counted.of([e for p, n in zip(proxies, before) for e in p.exchanges[n:]])


def near(said: int, counted: int) -> bool:
    return abs(said - counted) <= TOLERANCE * counted


def assert_told_truly(ran: Ran, counted: Counted) -> None:
    assert ran.code == 0, (ran.json, ran.err)
    said = Counter({k: n for k, n in ran.json["requests"].items() if n})
    total = sum(counted.requests.values())
    assert near(sum(said.values()), total), (said, counted.requests)
    for kind in said | counted.requests:
        # a kind that is rare beside the others may be off by as much as 2 % of all requests, and no more
        assert abs(said[kind] - counted.requests[kind]) <= TOLERANCE * total, (kind, said, counted.requests)
    traffic = ran.json["bytes"]
    assert near(traffic["sent"] + traffic["received"] + traffic["overhead"], counted.sent + counted.received), (
        traffic,
        counted,
    )


@pytest.fixture
def submit(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy) -> Submit:
    return Submit(tmp_path / "us", {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": proxy.endpoint})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of 0 to 20 KB in folders, an empty folder, a link."""
    root = tmp_path / "tree"
    (root / "empty").mkdir(parents=True)
    for i in range(scaled(5000, 300)):
        path = root / f"d{i % 7}" / f"file {i}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(i * 37 % 20_000))
    (root / "link").symlink_to("d1")
    return root


def test_a_tree_up_again_down_and_again(
    tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy, submit: Submit, tree: Path
) -> None:
    there, back = f"s3://{s3_bucket.bucket}/tree", tmp_path / "back"
    for source, dest in ((tree, there), (there, back)):
        with counting(proxy) as counted:
            ran = submit(source, dest)
        assert ran.files["done"] == ran.files["found"] > 0
        assert_told_truly(ran, counted())
        with counting(proxy) as counted:
            again = submit(source, dest)
        assert_moved_nothing(again)
        assert_told_truly(again, counted())
        assert counted().received == 0
        assert counted().sent == again.json["bytes"]["overhead"] < 1000  # the probe of an endpoint nobody knows


def test_a_large_file_up_and_down(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy, submit: Submit) -> None:
    big = tmp_path / "big"
    big.mkdir()
    (big / "file").write_bytes(os.urandom(LARGE))
    there = f"s3://{s3_bucket.bucket}/big"
    with counting(proxy) as counted:
        ran = submit(big, there)
    assert_told_truly(ran, counted())
    assert counted().requests["part"] >= 3
    assert ran.json["bytes"]["sent"] == LARGE
    with counting(proxy) as counted:
        ran = submit(there, tmp_path / "back")
    assert_told_truly(ran, counted())
    assert ran.json["bytes"]["received"] == LARGE
    assert (tmp_path / "back/file").read_bytes() == (big / "file").read_bytes()


@pytest.mark.full
def test_from_bucket_to_bucket_by_the_store_itself(
    tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy, submit: Submit, tree: Path
) -> None:
    one, two = f"s3://{s3_bucket.bucket}/one", f"s3://{s3_bucket.bucket}/two"
    (tree / "large").write_bytes(os.urandom(LARGE))
    assert submit(tree, one).code == 0
    with counting(proxy) as counted:
        ran = submit(one, two)
    assert_told_truly(ran, counted())
    assert ran.json["bytes"]["copied_server_side"] >= LARGE
    # the bodies of links and empty folders are put, not copied, and a large file's signature is read and written; no more passes through us
    listed = s3_bucket.client.list_objects_v2(Bucket=s3_bucket.bucket, Prefix="two/large.hssig").get("Contents", [])
    assert counted().sent + counted().received < 1000 + 2 * sum(item["Size"] for item in listed)
    with counting(proxy) as counted:
        again = submit(one, two)
    assert_moved_nothing(again)
    assert_told_truly(again, counted())


@pytest.mark.full
def test_from_one_endpoint_to_another_through_the_worker(
    tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy, submit: Submit, tree: Path
) -> None:
    (tree / "large").write_bytes(os.urandom(LARGE))
    assert submit(tree, f"s3://{s3_bucket.bucket}/one").code == 0
    with SlowProxy(s3_bucket.endpoint) as second:
        profiles = tmp_path / "aws"
        profiles.write_text(
            "".join(
                f"[profile {name}]\nregion = us-east-1\nendpoint_url = {endpoint}\n"
                f"aws_access_key_id = {s3_bucket.server.access_key}\n"
                f"aws_secret_access_key = {s3_bucket.server.secret_key}\n"
                for name, endpoint in (("here", proxy.endpoint), ("there", second.endpoint))
            )
        )
        between = Submit(tmp_path / "us", {"AWS_CONFIG_FILE": str(profiles)})
        ends = ("--source-profile", "here", "--dest-profile", "there")
        with counting(proxy, second) as counted:
            ran = between(f"s3://{s3_bucket.bucket}/one", f"s3://{s3_bucket.bucket}/two", *ends)
    assert_told_truly(ran, counted())
    assert counted().sent >= LARGE
    assert counted().received >= LARGE
