"""A dry run and the run itself give the same verdict on every entry; only what would be sent is called otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import nasty
from conftest import Bucket
from submit import Ran, Submit


@pytest.fixture
def hs(tmp_path: Path, s3_bucket: Bucket) -> Submit:
    return Submit(tmp_path / "home", dict(s3_bucket.env))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Everything a source can hold that some destination cannot, beside what all can."""
    source = tmp_path / "source"
    nasty.plant(source, strict=True)
    os.mkfifo(source / "fifo")
    (source / "link.rclonelink").write_bytes(b"reserved")
    (source / ".hugesync-mine").write_bytes(b"reserved")
    (source / "folder\\").mkdir()
    long = source
    for n in range(10):  # of a key of more than 1,024 bytes, and of one for which only its intent would be too long
        long = long / f"{n:0100}"
        long.mkdir()
    (long / "too long for a store").write_bytes(b"x")
    (long.parent / "x").write_bytes(bytes(17 << 20))
    return source


def verdicts(ran: Ran) -> dict[str, object]:
    """What a dry run and the run itself must say alike."""
    files, sizes = ran.files, ran.bytes
    counted = {f"files.{name}": files[name] for name in ("found", "skipped", "failed")}
    counted |= {f"bytes.{name}": sizes[name] for name in ("found", "skipped", "failed")}
    sent = {"files.sent": files["pending"] + files["done"], "bytes.sent": sizes["pending"] + sizes["done"]}
    failures = sorted((f["path"], f["class"], f["message"]) for f in ran.json["failures"])
    return {**counted, **sent, "skipped_by": ran.json["skipped_by"], "failures": failures, "state": ran.json["state"]}


def assert_alike(hs: Submit, source: str, dest: str) -> Ran:
    """The dry run and the run; returns what the run said."""
    dry, real = hs(source, dest, "-n"), hs(source, dest)
    assert verdicts(dry) == verdicts(real)
    assert dry.files["done"] == real.files["pending"] == 0
    return real


def test_what_a_store_cannot_hold_fails_in_the_dry_run_for_the_same_reason(
    tmp_path: Path, tree: Path, hs: Submit, s3_bucket: Bucket
) -> None:
    first = assert_alike(hs, str(tree), f"s3://{s3_bucket.bucket}/nasty")
    assert {"back\\slash", "folder\\/", "link.rclonelink", ".hugesync-mine"} <= first.failures.keys()
    assert sum("too long" in why for why in first.failures.values()) >= 3
    assert first.files["done"] > 100
    again = assert_alike(hs, str(tree), f"s3://{s3_bucket.bucket}/nasty")  # a HEAD for each decides this time
    assert (again.files["done"], again.files["failed"]) == (0, first.files["failed"])
    nasty.writable(tree)


def test_what_a_filesystem_cannot_hold_fails_in_the_dry_run_for_the_same_reason(
    tmp_path: Path, tree: Path, hs: Submit, s3_bucket: Bucket
) -> None:
    first = assert_alike(hs, str(tree), str(tmp_path / "copy"))
    assert first.failures.keys() == {"link.rclonelink", ".hugesync-mine"}
    assert_alike(hs, str(tree), str(tmp_path / "copy"))
    nasty.writable(tree)
    nasty.writable(tmp_path / "copy")


def test_hostile_keys_fail_in_the_dry_run_for_the_same_reason(tmp_path: Path, hs: Submit, s3_bucket: Bucket) -> None:
    keys = ("plain", "a/.rclonelink", ".rclonelink", "..rclonelink", "twice", "twice.rclonelink", "\u201bC3\u201bA9")
    for key in keys:
        link = {"Metadata": {"hugesync-type": "symlink"}} if key.endswith(".rclonelink") else {}
        s3_bucket.client.put_object(Bucket=s3_bucket.bucket, Key=f"hostile/{key}", Body=b"x", **link)
    ran = assert_alike(hs, f"s3://{s3_bucket.bucket}/hostile", str(tmp_path / "down"))
    assert ran.failures.keys() == {*keys} - {"plain", "twice"}
    assert sorted(p.name for p in (tmp_path / "down").iterdir()) == ["plain", "twice"]


def test_a_prefix_that_the_store_would_fold_is_told_by_both(tree: Path, hs: Submit, s3_bucket: Bucket) -> None:
    ran = assert_alike(hs, str(tree / "order"), f"s3://{s3_bucket.bucket}/back\\slash")
    assert ran.files["failed"] == ran.files["found"] == 8
