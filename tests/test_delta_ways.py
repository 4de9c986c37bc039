"""Deltas between folders and between stores, at every edge of a size, and what the options do to them."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from compare import differences, tree
from conftest import Bucket
from deltas import (
    MIB,
    assert_same,
    etag,
    inserted,
    keys,
    overwritten,
    passing,
    signature,
    submitting,
    write,
)
from hugesync_tasks.signature.blocks import RECORD
from hugesync_tasks.signature.format import write as written
from meddler import Asked, Meddler
from midway import assert_nothing_is_left, temporaries
from scale import factor, mostly_full
from slowproxy import SlowProxy
from submit import Submit, assert_moved_nothing

LOW = ("--delta-threshold", "6MiB")
LARGE = 40 * MIB + 777
BLOCK = 64 << 10


@pytest.fixture
def submit(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy) -> Submit:
    return submitting(tmp_path / "us", s3_bucket, proxy)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return write(tmp_path / "here/large", LARGE).parent


# ways


@pytest.mark.full
def test_between_folders_only_what_changed_is_read_from_the_source_and_only_where_it_is_asked_for(
    tmp_path: Path, here: Path
) -> None:
    submit, there = Submit(tmp_path / "us"), tmp_path / "there"
    for asked, most in ((("--no-whole-file",), 3 * BLOCK), ((), LARGE)):
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(here, there)
        overwritten(here / "large", 1)
        inserted(here / "large", 20 * MIB, 1000, 1000)
        ran = submit(here, there, *LOW, *asked)
        assert (ran.code, ran.files["done"]) == (0, 1), ran.json
        assert ran.json["transfers"]["delta"] == len(asked)
        moved = ran.bytes["sent"] if asked else ran.bytes["copied_server_side"]  # a whole one by the kernel
        assert 4096 <= moved <= most
        assert ran.bytes["reused"] == (LARGE - moved if asked else 0)
        assert differences(tree(here), tree(there)) == []
        assert temporaries(there) == []
        assert [p.name for p in there.iterdir()] == ["large"], "no signature is kept in a folder"
        assert_moved_nothing(submit(here, there, *LOW, *asked))


@pytest.fixture
def between(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy) -> tuple[Submit, SlowProxy]:
    """Profiles ``here`` behind ``proxy`` and ``there`` behind another one: two endpoints to whoever looks from outside."""
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
        yield Submit(tmp_path / "us", {"AWS_CONFIG_FILE": str(profiles)}), second


def test_between_two_endpoints_what_changed_passes_through_us_once_each_way(
    tmp_path: Path, here: Path, submit: Submit, between: tuple[Submit, SlowProxy], proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    job, second = between
    one, two = f"s3://{s3_bucket.bucket}/one", f"s3://{s3_bucket.bucket}/two"
    ends = ("--source-profile", "here", "--dest-profile", "there", *LOW)
    assert submit(here, one, *LOW).code == 0
    assert job(one, two, *ends).code == 0
    assert signature(s3_bucket, "two/large").header.binding.version == etag(s3_bucket, "two/large")
    overwritten(here / "large", 1)
    assert submit(here, one, *LOW).json["transfers"]["delta"] == 1
    foreseen = job(one, two, *ends, "-n")

    with passing(proxy) as out, passing(second) as into:
        ran = job(one, two, *ends)

    assert ran.json["transfers"]["delta"] == foreseen.json["transfers"]["delta"] == 1
    assert ran.bytes["reused"] == foreseen.bytes["reused"]
    assert ran.json["verified"] == 1
    assert 4096 <= ran.bytes["sent"] == ran.bytes["received"] == out().received == into().sent <= 10 * MIB
    assert (out().sent, into().received) == (0, 0)
    assert_same(here, s3_bucket, "two/")
    assert_nothing_is_left(s3_bucket)
    assert signature(s3_bucket, "two/large").records == signature(s3_bucket, "one/large").records
    assert_moved_nothing(job(one, two, *ends))


@pytest.mark.full
def test_within_an_endpoint_nothing_passes_through_us(
    here: Path, submit: Submit, proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    one, two = f"s3://{s3_bucket.bucket}/one", f"s3://{s3_bucket.bucket}/two"
    assert submit(here, one, *LOW).code == 0
    for _ in range(2):
        with passing(proxy) as passed:
            ran = submit(one, two, *LOW)
        assert (ran.code, ran.json["transfers"]["server_copy"], ran.moved) == (0, 1, (0, 0)), ran.json
        assert (passed().sent, passed().received) == (0, 0)
        assert_same(here, s3_bucket, "two/")
        overwritten(here / "large", 1)
        assert submit(here, one, *LOW).json["transfers"]["delta"] == 1


# sizes

THRESHOLD, LEAST, PART = 6 * MIB, 5 * MIB, 16 * MIB
SIZES = [
    0,
    1,
    BLOCK - 1,
    BLOCK,
    BLOCK + 1,
    LEAST - 1,
    LEAST,
    LEAST + 1,
    THRESHOLD,
    THRESHOLD + 1,
    PART - 1,
    PART,
    PART + 1,
]
ENDS = [0, 1, LEAST, LEAST + 1, 2 * PART + 1]


@pytest.mark.full
def test_a_file_of_any_size_becomes_one_of_any_other_up_and_down(
    tmp_path: Path, submit: Submit, s3_bucket: Bucket
) -> None:
    """Every pair is a file of its own, so that one job does them all."""
    here, back, there = tmp_path / "here", tmp_path / "back", f"s3://{s3_bucket.bucket}/to"
    body = write(tmp_path / "body", 2 * PART + 1).read_bytes()
    ends = ENDS if factor() >= 1 else [ENDS[0], ENDS[-1]]  # each size is an old one and a new one in any case
    sizes = SIZES if factor() >= 1 else SIZES[::2]
    pairs = {(a, b) for a in sizes for b in ends} | {(b, a) for a in sizes for b in ends} | {(a, a) for a in sizes}
    here.mkdir()
    for old, new in pairs:
        (here / f"{old}-{new}").write_bytes(body[:old])
    assert submit(here, there, *LOW).code == 0
    shutil.copytree(here, back)
    for old, new in pairs:
        path = here / f"{old}-{new}"
        if old == new:
            os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
        else:
            path.write_bytes(body[:new])
    could = sum(new > THRESHOLD and old > LEAST for old, new in pairs)

    up = submit(here, there, *LOW)
    assert (up.code, up.files["done"], up.files["failed"]) == (0, len(pairs), 0), up.json
    signed = sum(new > THRESHOLD and old > THRESHOLD for old, new in pairs)
    assert up.json["transfers"]["delta"] == signed, "with a signature, or where one is worth making"
    assert signed < could, "there are some whose old version was too small for one"
    assert_same(here, s3_bucket, "to/")
    assert_nothing_is_left(s3_bucket)
    assert_moved_nothing(submit(here, there, *LOW))

    down = submit(there, back, *LOW)
    assert (down.code, down.files["done"], down.files["failed"]) == (0, len(pairs), 0), down.json
    assert down.json["transfers"]["delta"] >= signed
    assert differences(tree(here, folders="none"), tree(back, folders="none")) == []
    assert_moved_nothing(submit(there, back, *LOW))


UNPROVEN = """
from dataclasses import replace
from hugesync_producer import sync
measured = sync.measured
sync.measured = lambda *args: replace(measured(*args), full_crc64=False)
"""


@pytest.mark.full
def test_where_the_store_proves_nothing_what_it_copied_is_read_back_before_the_file_is_visible(
    tmp_path: Path, here: Path, submit: Submit, proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    """A store whose probe showed no checksums of whole objects; the limits travel to the workers with the job."""
    there = f"s3://{s3_bucket.bucket}/to"
    assert submit(here, there, *LOW).code == 0
    overwritten(here / "large", 1)
    trusting_nothing = replace(submit, program=UNPROVEN + submit.program)

    with passing(proxy) as passed:
        ran = trusting_nothing(here, there, *LOW)

    assert ran.json["transfers"]["delta"] == 1, (ran.json, ran.err)
    assert 4096 <= passed().sent <= 10 * MIB
    assert passed().received == ran.bytes["received"] == LARGE - passed().sent == ran.bytes["reused"]
    assert_same(here, s3_bucket, "to/")
    assert_nothing_is_left(s3_bucket)

    overwritten(here / "large", 1, seed=6)
    found = signature(s3_bucket, "to/large")
    stretch = 8 * MIB // BLOCK * RECORD
    turned = found.records[stretch:] + found.records[:stretch]  # it says of each block that it lies elsewhere
    body = b"".join(written(found.header, [turned]))
    s3_bucket.client.put_object(
        Bucket=s3_bucket.bucket, Key="to/large.hssig", Body=body, Metadata={"hugesync-type": "signature"}
    )
    lied = trusting_nothing(here, there, *LOW, "-v")
    assert (lied.code, lied.json["transfers"]["full"]) == (0, 1), lied.json
    assert "sent whole: the parts do not add up to the source: a signature was wrong" in lied.err
    assert_same(here, s3_bucket, "to/")
    assert_nothing_is_left(s3_bucket)


# options


@pytest.mark.full
def test_whole_file_sends_the_whole_and_keeps_the_signature_fresh(
    here: Path, submit: Submit, s3_bucket: Bucket
) -> None:
    there = f"s3://{s3_bucket.bucket}/to"
    assert submit(here, there, *LOW).code == 0
    overwritten(here / "large", 1)
    ran = submit(here, there, *LOW, "-W")
    assert (ran.json["transfers"]["full"], ran.bytes["sent"], ran.bytes["reused"]) == (1, LARGE, 0)
    assert signature(s3_bucket, "to/large").header.binding.version == etag(s3_bucket, "to/large")
    assert_same(here, s3_bucket, "to/")


@pytest.mark.full
def test_the_threshold_decides_what_goes_as_a_delta(here: Path, submit: Submit, s3_bucket: Bucket) -> None:
    there = f"s3://{s3_bucket.bucket}/to"
    assert submit(here, there).code == 0
    assert keys(s3_bucket) == ["to/large"], "40 MiB are below the default of 50"
    overwritten(here / "large", 1)
    assert submit(here, there, "--delta-threshold", f"{LARGE - 1}").code == 0
    assert keys(s3_bucket) == ["to/large", "to/large.hssig"]
    overwritten(here / "large", 1, seed=6)
    assert submit(here, there, "--delta-threshold", f"{LARGE}").json["transfers"]["full"] == 1
    assert submit(here, there, "--delta-threshold", f"{LARGE}").files["skipped"] == 1


@pytest.mark.parametrize(("missing", "delta"), mostly_full([("auto", 0), ("generate", 1), ("full", 0)], 1))
def test_a_missing_signature_is_generated_by_reading_the_basis_or_the_file_goes_whole(
    missing: str, delta: int, here: Path, submit: Submit, proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    there = f"s3://{s3_bucket.bucket}/to"
    assert submit(here, there, *LOW, "--no-sidecar").code == 0
    overwritten(here / "large", 1)
    with passing(proxy) as passed:
        ran = submit(here, there, *LOW, "--signature-missing", missing, "-v")
    assert ran.json["transfers"]["delta"] == delta, (ran.json, ran.err)
    assert ran.moved == (passed().sent, passed().received)
    if delta:
        assert passed().received == LARGE
        assert 4096 <= passed().sent <= 10 * MIB
        assert "there was no signature: one was made by reading what was at the destination" in ran.err
    else:
        assert ran.moved == (LARGE, 0)
        assert "no usable signature at the destination: there is none" in ran.err
    assert_same(here, s3_bucket, "to/")
    assert_nothing_is_left(s3_bucket)
    overwritten(here / "large", 1, seed=6)
    assert submit(here, there, *LOW).json["transfers"]["delta"] == 1, "a signature is there now"
    assert_same(here, s3_bucket, "to/")


@pytest.mark.parametrize("allowed", [True, False], ids=["may read versions", "may not read versions"])
@pytest.mark.full
def test_in_a_bucket_of_versions_every_copy_names_the_version_planned_against(
    allowed: bool, tmp_path: Path, here: Path, s3_bucket: Bucket
) -> None:
    s3, name = s3_bucket.client, s3_bucket.bucket
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    copies: list[str] = []

    def watch(asked: Asked) -> int | None:
        copies.extend([asked.copies] if asked.copies else [])
        return None if allowed or "versionId" not in asked.copies else 403

    with Meddler(s3_bucket.endpoint, watch) as meddler:
        submit = Submit(tmp_path / "us", {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": meddler.endpoint})
        there = f"s3://{name}/to"
        assert submit(here, there, *LOW).code == 0
        before = s3.head_object(Bucket=name, Key="to/large")["VersionId"]
        assert signature(s3_bucket, "to/large").header.binding.version_id == before
        overwritten(here / "large", 1)
        ran = submit(here, there, *LOW)
    assert ran.json["transfers"]["delta"] == 1, ran.json
    pinned = [copy for copy in copies if copy.endswith(f"?versionId={before}")]
    assert pinned
    assert len(copies) == len(pinned) * (1 if allowed else 2), "without the right, once more by the condition alone"
    assert_same(here, s3_bucket, "to/")
    assert signature(s3_bucket, "to/large").header.binding.version_id not in ("", before)
