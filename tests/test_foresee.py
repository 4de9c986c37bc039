"""A dry run tells what deltas would save: computed, it is what the run then does; guessed, it says so."""

from __future__ import annotations

import os
import shutil
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
    told = hs(source, there, "-n", "-v", *LOW, json=False)
    assert "would have sent 5.0 MiB, reused 35.0 MiB, saved 87.5 %" in told.out
    assert "block_size=65536" in told.err
    assert "conditional_commit" not in told.err.partition("role=destination")[2], (
        "nothing was written that would show it"
    )
    guessed = hs(source, there, "-n", "--estimate", *LOW, json=False)
    assert "1 × guessed from up to 64 blocks of the file" in guessed.out
    assert "would have sent" in guessed.out
    assert "would have sent 0 B" not in guessed.out, "it differs somewhere, or it would not be sent"

    ran = hs(source, there, *LOW, "-v")
    assert "block_size=65536" in ran.err, "the choice"
    assert ran.json["transfers"]["delta"] == 1
    assert ran.bytes["reused"] == foreseen.bytes["reused"] == 35 * MIB
    assert ran.bytes["sent"] == 5 * MIB


def test_a_dry_run_says_why_a_file_would_go_whole_and_calls_nothing_a_guess_that_was_computed(
    tmp_path: Path, s3_bucket: Bucket
) -> None:
    hs = Submit(tmp_path / "us", s3_bucket.env)
    source, there, beside = tmp_path / "source", f"s3://{s3_bucket.bucket}/there", tmp_path / "beside"
    source.mkdir()
    file = source / "image"
    file.write_bytes(os.urandom(20 * MIB))
    shutil.copytree(source, beside)
    assert hs(source, there, *LOW, "--no-sidecar").files["done"] == 1
    with file.open("r+b") as image:
        image.write(os.urandom(4096))

    whole = hs(source, there, "-n", "--estimate", *LOW, json=False)
    assert "1 × would be sent whole: no usable signature at the destination: there is none" in whole.out
    assert "guessed" not in whole.out

    folders = hs(source, beside, "-n", "--estimate", "--no-whole-file", *LOW, json=False)
    assert "would have sent 64.0 KiB, reused 19.9 MiB" in folders.out
    assert "guessed" not in folders.out, "without a signature there is no less to read"
