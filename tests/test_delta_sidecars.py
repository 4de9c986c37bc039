"""Signatures beside large objects: written with every commit, never mistaken for files, and never trusted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import blake3
import pytest
from awscrt.checksums import crc32c

from compare import differences, tree
from conftest import Bucket
from deltas import (
    KIB,
    MIB,
    assert_delta,
    assert_same,
    etag,
    keys,
    overwritten,
    passing,
    signature,
    submitting,
    write,
)
from midway import assert_nothing_is_left
from processes import Place, pool_children, wait_until
from scale import mostly_full
from slowproxy import SlowProxy
from submit import Submit, assert_moved_nothing

LOW = ("--delta-threshold", "6MiB")
LARGE = 24 * MIB + 777
USERS = b"a user's own file"


@pytest.fixture
def submit(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy) -> Submit:
    return submitting(tmp_path / "us", s3_bucket, proxy)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return write(tmp_path / "here/large", LARGE).parent


def records(path: Path, block: int) -> bytes:
    """By the words of docs/hssig.md."""
    body = path.read_bytes()
    pieces = [body[at : at + block] for at in range(0, len(body), block)]
    return b"".join(crc32c(p).to_bytes(4, "little") + blake3.blake3(p).digest() for p in pieces)


def test_a_signature_is_written_with_the_first_upload_and_anew_with_each_commit_and_bound_to_its_version(
    here: Path, submit: Submit, s3_bucket: Bucket
) -> None:
    versions = []
    for change in (None, lambda: overwritten(here / "large", 2), lambda: write(here / "large", LARGE + 5, seed=4)):
        if change is not None:
            change()
        assert submit(here, f"s3://{s3_bucket.bucket}/to", *LOW).files["done"] == 1
        found = signature(s3_bucket, "to/large")
        bound = found.header.binding
        assert (bound.version, bound.size) == (etag(s3_bucket, "to/large"), (here / "large").stat().st_size)
        assert bound.mtime_ns == (here / "large").stat().st_mtime_ns
        assert found.records == records(here / "large", found.header.block)
        versions.append(bound.version)
    assert len(set(versions)) == 3
    assert keys(s3_bucket) == ["to/large", "to/large.hssig"]


def test_what_is_not_above_the_threshold_gets_no_signature(here: Path, submit: Submit, s3_bucket: Bucket) -> None:
    write(here / "equal", 6 * MIB)
    write(here / "above", 6 * MIB + 1)
    assert submit(here, f"s3://{s3_bucket.bucket}/to", *LOW).files["done"] == 3
    assert keys(s3_bucket) == ["to/above", "to/above.hssig", "to/equal", "to/large", "to/large.hssig"]


@pytest.mark.full
def test_a_signature_is_no_file_whichever_way_a_job_goes(
    tmp_path: Path, here: Path, submit: Submit, s3_bucket: Bucket
) -> None:
    one, two, back = f"s3://{s3_bucket.bucket}/one", f"s3://{s3_bucket.bucket}/two", tmp_path / "back"
    (here / "small").write_bytes(b"x")
    for source, dest in ((here, one), (one, two), (two, back)):
        ran = submit(source, dest, *LOW)
        assert (ran.files["found"], ran.files["done"]) == (2, 2), ran.json
        assert ran.bytes["found"] == LARGE + 1
        again = submit(source, dest, *LOW)
        assert_moved_nothing(again)
        assert again.files["found"] == 2
    assert differences(tree(here, folders="none"), tree(back, folders="none")) == []
    assert signature(s3_bucket, "two/large").header.binding.version == etag(s3_bucket, "two/large")
    assert signature(s3_bucket, "two/large").records == signature(s3_bucket, "one/large").records


@pytest.mark.full
def test_a_users_file_of_a_signatures_name_travels_and_the_large_file_has_none(
    tmp_path: Path, here: Path, submit: Submit, s3_bucket: Bucket
) -> None:
    one, two, back = f"s3://{s3_bucket.bucket}/one", f"s3://{s3_bucket.bucket}/two", tmp_path / "back"
    (here / "large.hssig").write_bytes(USERS)
    write(here / "big.hssig", LARGE)
    for source, dest in ((here, one), (one, two), (two, back)):
        ran = submit(source, dest, *LOW, "-v")
        assert (ran.files["found"], ran.files["done"]) == (3, 3), ran.json
    assert_same(here, s3_bucket, "one/")
    assert_same(here, s3_bucket, "two/")
    assert differences(tree(here, folders="none"), tree(back, folders="none")) == []
    overwritten(here / "large", 1)
    ran = submit(here, one, *LOW, "-v")
    assert ran.json["transfers"]["full"] == 1
    assert "sent whole: no usable signature at the destination: it is no signature" in ran.err
    assert "no signature was written: the source has a file of that name" in ran.err
    assert_same(here, s3_bucket, "one/")
    assert keys(s3_bucket)[:4] == ["one/big.hssig", "one/big.hssig.hssig", "one/large", "one/large.hssig"]


def test_a_users_file_that_only_the_destination_has_is_not_written_over_by_a_signature(
    here: Path, submit: Submit, s3_bucket: Bucket
) -> None:
    s3_bucket.client.put_object(Bucket=s3_bucket.bucket, Key="to/large.hssig", Body=USERS)
    ran = submit(here, f"s3://{s3_bucket.bucket}/to", *LOW, "-v")
    assert (ran.code, ran.files["done"]) == (0, 1)
    assert "no signature was written: a file of that name is there" in ran.err
    assert s3_bucket.client.get_object(Bucket=s3_bucket.bucket, Key="to/large.hssig")["Body"].read() == USERS


@pytest.mark.parametrize("policy", mostly_full(["retry", "skip"], 1))
def test_a_users_new_file_takes_the_place_of_a_signature_and_that_is_no_conflict(
    policy: str, here: Path, submit: Submit, s3_bucket: Bucket
) -> None:
    there = f"s3://{s3_bucket.bucket}/to"
    assert submit(here, there, *LOW).code == 0
    (here / "large.hssig").write_bytes(USERS)
    ran = submit(here, there, *LOW, "--on-conflict", policy)
    assert (ran.code, ran.files["done"], ran.files["skipped"], ran.json["conflicts"]) == (0, 1, 1, 0), ran.json
    assert_same(here, s3_bucket, "to/")
    assert_moved_nothing(submit(here, there, *LOW))


def test_without_sidecars_none_is_written_and_a_changed_file_says_why_it_goes_whole(
    here: Path, submit: Submit, s3_bucket: Bucket
) -> None:
    there = f"s3://{s3_bucket.bucket}/to"
    assert submit(here, there, *LOW, "--no-sidecar").code == 0
    assert keys(s3_bucket) == ["to/large"]
    overwritten(here / "large", 1)
    ran = submit(here, there, *LOW, "--no-sidecar", "-v")
    assert (ran.json["transfers"]["full"], ran.bytes["sent"]) == (1, LARGE)
    assert "sent whole: no usable signature at the destination: there is none" in ran.err
    assert keys(s3_bucket) == ["to/large"]


@pytest.mark.full
def test_signatures_below_a_prefix_serve_both_ways(
    tmp_path: Path, here: Path, submit: Submit, proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    there, elsewhere = f"s3://{s3_bucket.bucket}/to", (*LOW, "--sidecar-prefix", "sig/")
    (here / "large.hssig").write_bytes(USERS)  # nothing to do with it now
    assert submit(here, there, *elsewhere).code == 0
    assert keys(s3_bucket) == ["to/large", "to/large.hssig", "to/sig/large.hssig"]
    shutil.copytree(here, tmp_path / "back")
    overwritten(here / "large", 1)
    for source, dest in ((here, there), (there, tmp_path / "back")):
        with passing(proxy) as passed:
            ran = submit(source, dest, *elsewhere)
        assert_delta(ran, passed())
        assert 0 < passed().sent + passed().received <= 10 * MIB
        assert ran.files["found"] == 2
    assert differences(tree(here, folders="none"), tree(tmp_path / "back", folders="none")) == []


@pytest.mark.full
def test_after_another_tools_overwrite_the_stale_signature_is_seen_and_the_file_goes_whole_both_ways(
    tmp_path: Path, here: Path, submit: Submit, s3_bucket: Bucket
) -> None:
    there = f"s3://{s3_bucket.bucket}/to"
    assert submit(here, there, *LOW).code == 0
    shutil.copytree(here, tmp_path / "back")
    theirs = os.urandom(LARGE)
    s3_bucket.client.put_object(Bucket=s3_bucket.bucket, Key="to/large", Body=theirs)

    down = submit(there, tmp_path / "back", *LOW, "-v")
    assert (down.json["transfers"]["full"], down.bytes["received"]) == (1, LARGE)
    assert "sent whole: no usable signature at the source: it is of another version of the object" in down.err
    assert (tmp_path / "back/large").read_bytes() == theirs

    overwritten(here / "large", 1)
    up = submit(here, there, *LOW, "-v")
    assert (up.json["transfers"]["full"], up.bytes["sent"]) == (1, LARGE)
    assert "sent whole: no usable signature at the destination: it is of another version of the object" in up.err
    assert_same(here, s3_bucket, "to/")
    assert signature(s3_bucket, "to/large").header.binding.version == etag(s3_bucket, "to/large")


@pytest.mark.full
def test_everything_killed_between_commit_and_signature_leaves_a_whole_file_and_a_stale_signature_that_is_seen(
    tmp_path: Path, here: Path, place: Place, proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    there = f"s3://{s3_bucket.bucket}/to"
    assert place.submit(*LOW, here, there).finish().code == 0
    before = signature(s3_bucket, "to/large")
    overwritten(here / "large", 1)
    proxy.hold_at("PUT", "large.hssig")
    place.submit(*LOW, here, there)
    proxy.held()
    place.kill_all()
    proxy.cut()  # else what it holds would still arrive
    proxy.release()
    assert_same(here, s3_bucket, "to/")
    assert signature(s3_bucket, "to/large") == before, "the new one was never written"

    assert place.submit(*LOW, here, there).finish().code == 0
    assert_same(here, s3_bucket, "to/")
    assert_nothing_is_left(s3_bucket)
    overwritten(here / "large", 1, seed=6)
    ended = place.submit(*LOW, "-v", here, there).finish()
    assert ended.summary["transfers"]["full"] == 1, "the binding gave it away"
    assert_same(here, s3_bucket, "to/")
    overwritten(here / "large", 1, seed=7)
    assert place.submit(*LOW, here, there).finish().summary["transfers"]["delta"] == 1
    assert_same(here, s3_bucket, "to/")


def test_a_worker_killed_between_commit_and_signature_is_replaced_by_one_that_writes_the_signature(
    here: Path, place: Place, proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    proxy.hold_at("PUT", "large.hssig")
    run = place.submit(*LOW, here, f"s3://{s3_bucket.bucket}/to")
    proxy.held()
    children = pool_children(place)
    assert children
    for child in children:
        child.kill()
    wait_until(lambda: not any(c.is_running() and c.status() != "zombie" for c in children), what="their end")
    proxy.release()
    ended = run.finish(1_200)
    assert (ended.code, ended.summary["files"]["done"], ended.summary["conflicts"]) == (0, 1, 0), ended.err
    assert_same(here, s3_bucket, "to/")
    assert signature(s3_bucket, "to/large").header.binding.version == etag(s3_bucket, "to/large")


@pytest.mark.parametrize("block", mostly_full([5 * MIB, 64 * KIB], 1))
@pytest.mark.full
def test_the_block_size_asked_for_is_the_signatures_and_serves_both_ways(
    block: int, tmp_path: Path, here: Path, submit: Submit, proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    there, blocks = f"s3://{s3_bucket.bucket}/to", (*LOW, "--block-size", f"{block // KIB}KiB")
    assert submit(here, there, *blocks).code == 0
    assert signature(s3_bucket, "to/large").header.block == block
    shutil.copytree(here, tmp_path / "back")
    overwritten(here / "large", 1)
    with passing(proxy) as passed:
        assert_delta(submit(here, there, *LOW), passed())
    assert 0 < passed().sent <= 10 * MIB
    assert signature(s3_bucket, "to/large").header.block == block, "the block of what it was matched against"
    with passing(proxy) as passed:
        assert_delta(submit(there, tmp_path / "back", *LOW), passed())
    assert 4 * KIB <= passed().received <= 2 * block
    assert differences(tree(here, folders="none"), tree(tmp_path / "back", folders="none")) == []
