"""What is sent and fetched of a changed file, counted by a proxy: the changed bytes, rounded out to what the store allows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from compare import differences, tree
from conftest import Bucket
from deltas import (
    MIB,
    SIZE,
    Edit,
    assert_delta,
    assert_same,
    etag,
    inserted,
    overwritten,
    passing,
    rounded,
    signature,
    submitting,
    touched,
    write,
)
from midway import assert_nothing_is_left
from scale import mostly_full
from slowproxy import SlowProxy
from submit import assert_moved_nothing

PLACES = 8


def inserted_and_removed(path: Path) -> list[tuple[int, int]]:
    at, gone = SIZE // 10, SIZE * 6 // 10
    return [*inserted(path, at, 1000), *inserted(path, gone, 0, 777), (gone, gone + 1)]


def truncated(path: Path) -> list[tuple[int, int]]:
    end = SIZE * 8 // 10 + 1
    os.truncate(path, end)
    return [(end - 1, end)]


def zeros(path: Path) -> None:
    with open(path, "wb") as out:
        out.truncate(SIZE)


def more_zeros(path: Path) -> list[tuple[int, int]]:
    os.truncate(path, SIZE + 7 * MIB)
    return [(SIZE + 7 * MIB - 1, SIZE + 7 * MIB)]


def repeated(path: Path) -> None:
    """One block, over and over, and other bytes behind it."""
    write(path, 64 << 10)
    body = path.read_bytes() * (SIZE // (2 * 64 << 10))
    write(path, SIZE - len(body), seed=3)
    path.write_bytes(body + path.read_bytes())


def more_often(path: Path) -> list[tuple[int, int]]:
    """More of that block, behind 3 MB that are new."""
    block, at = path.read_bytes()[: 64 << 10], 15 * MIB
    inserted(path, at, 20 * MIB)
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(block * (20 * MIB // len(block)))
    return inserted(path, 0, 3_000_000)


EDITS = [
    Edit("random overwrites", lambda path: overwritten(path, PLACES), (PLACES + 1) * 5 * MIB),
    Edit("appended", lambda path: inserted(path, SIZE, 10 * MIB), 15 * MIB),
    Edit("prepended", lambda path: inserted(path, 0, MIB), 7 * MIB),
    Edit("only the time", touched, 0),
    Edit("inserted and removed", inserted_and_removed, 3 * 5 * MIB),
    Edit("repeated blocks", more_often, 15 * MIB, repeated),
    Edit("truncated", truncated, 5 * MIB),
    Edit("zeros", more_zeros, 5 * MIB, zeros),
    Edit("grown inside", lambda path: inserted(path, SIZE // 3, 3 * MIB + 5), 13 * MIB),
]


@pytest.mark.parametrize("edit", mostly_full(EDITS, 2), ids=str)
def test_of_a_changed_file_the_change_is_sent_and_fetched_and_nothing_the_second_time(
    edit: Edit, tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy
) -> None:
    submit, there = submitting(tmp_path / "us", s3_bucket, proxy), f"s3://{s3_bucket.bucket}/to"
    here, back = tmp_path / "here", tmp_path / "back"
    here.mkdir()
    edit.fill(here / "large")
    assert submit(here, there).code == 0
    shutil.copytree(here, back)
    changed = edit.change(here / "large")
    size = (here / "large").stat().st_size

    with passing(proxy) as passed:
        ran = submit(here, there)
    assert_delta(ran, passed())
    assert passed().received == 0
    assert passed().sent <= edit.cost
    assert ran.bytes["reused"] == size - passed().sent
    assert_same(here, s3_bucket, "to/")
    assert_nothing_is_left(s3_bucket)
    assert_moved_nothing(submit(here, there))
    sidecar = signature(s3_bucket, "to/large")
    assert sidecar.header.binding.version == etag(s3_bucket, "to/large")

    with passing(proxy) as passed:
        ran = submit(there, back)
    assert_delta(ran, passed())
    assert passed().sent == 0
    assert passed().received <= 1.05 * rounded(changed, sidecar.header.block, size)
    assert ran.bytes["reused"] == size - passed().received
    assert differences(tree(here, folders="none"), tree(back, folders="none")) == []
    assert_moved_nothing(submit(there, back))


@pytest.mark.full
def test_a_file_written_anew_is_sent_and_fetched_once_and_its_signature_is_the_new_one(
    tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy
) -> None:
    submit, there = submitting(tmp_path / "us", s3_bucket, proxy), f"s3://{s3_bucket.bucket}/to"
    write(tmp_path / "here/large", SIZE)
    assert submit(tmp_path / "here", there).code == 0
    shutil.copytree(tmp_path / "here", tmp_path / "back")
    write(tmp_path / "here/large", SIZE + 1, seed=2)

    with passing(proxy) as passed:
        ran = submit(tmp_path / "here", there, "-v")
    assert ran.json["transfers"]["full"] == 1
    assert "a delta would save nothing" in ran.err
    assert (passed().sent, passed().received, passed().copies) == (SIZE + 1, 0, 0)
    assert ran.moved == (SIZE + 1, 0)
    assert_same(tmp_path / "here", s3_bucket, "to/")
    assert_nothing_is_left(s3_bucket)
    assert signature(s3_bucket, "to/large").header.binding.version == etag(s3_bucket, "to/large")

    with passing(proxy) as passed:
        ran = submit(there, tmp_path / "back")
    assert ran.json["transfers"]["full"] == 1
    assert passed().received == SIZE + 1
    assert differences(tree(tmp_path / "here", folders="none"), tree(tmp_path / "back", folders="none")) == []
