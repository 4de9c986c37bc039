"""A dry run tells what deltas would save: computed, it is what the run then does; guessed, it says so."""

from __future__ import annotations

import os
from pathlib import Path

from conftest import Bucket
from submit import Submit

MIB = 1 << 20
LOW = ("--delta-threshold", "6MiB")


def test_a_dry_run_computes_what_the_run_then_sends_and_an_estimate_says_that_it_is_one(
    tmp_path: Path, s3_bucket: Bucket
) -> None:
    hs = Submit(tmp_path / "us", s3_bucket.env)
    source, there = tmp_path / "source", f"s3://{s3_bucket.bucket}/there"
    source.mkdir()
    file = source / "image"
    file.write_bytes(os.urandom(40 * MIB))
    assert hs(source, there, *LOW).files["done"] == 1
    with file.open("r+b") as image:
        image.seek(21 * MIB)
        image.write(os.urandom(4096))

    foreseen = hs(source, there, "-n", *LOW)
    assert foreseen.json["transfers"]["delta"] == 1
    assert foreseen.moved == (0, 0)
    guessed = hs(source, there, "-n", "--estimate", *LOW, json=False)
    assert "guessed from up to 64 blocks" in guessed.out
    assert "would have sent" in guessed.out

    ran = hs(source, there, *LOW)
    assert ran.json["transfers"]["delta"] == 1
    assert ran.bytes["reused"] == foreseen.bytes["reused"] == 35 * MIB
    assert ran.bytes["sent"] == 5 * MIB
