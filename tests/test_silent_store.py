"""A store that accepts and never answers holds nobody: Ctrl-C and cancel end a run at once, a time-out ends a wait."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from conftest import Bucket
from processes import Place, Running
from slowproxy import SlowProxy

PROMPT = 3.0  # seconds from the signal to the end


@pytest.fixture
def proxy(s3_bucket: Bucket) -> Iterator[SlowProxy]:
    with SlowProxy(s3_bucket.endpoint) as it:
        yield it


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy) -> Iterator[Place]:
    it = Place(tmp_path / "place", {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": proxy.endpoint})
    yield it
    it.end()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    for i in range(5):
        (folder / f"f{i}").write_text("x" * (i + 1))
    (folder / "large").write_bytes(os.urandom(20 << 20))
    return folder


def interrupted(run: Running) -> None:
    """Ctrl-C, and what must come of it."""
    began = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    ended = run.finish(90)
    took = time.monotonic() - began
    assert (ended.code, ended.summary.get("state")) == (130, "interrupted"), ended.err
    assert took < PROMPT, f"{took:.1f} s"
    assert ended.err.strip().splitlines()[-1] == "hugesync-submit: interrupted"


UP = {
    "the first listing": ("GET", "max-keys=1&"),
    "the probe": ("PUT", "/.hugesync/probe"),
    "the listing": ("GET", "max-keys=1000"),
    "a small file": ("PUT", "/up/f3"),
    "beginning a large file": ("POST", "/up/large?uploads"),
    "a part": ("PUT", "/up/large?uploadId"),
    "the completion": ("POST", "/up/large?uploadId"),
}


@pytest.mark.parametrize("at", UP)
def test_ctrl_c_ends_an_upload_to_a_silent_store_at_once(
    at: str, place: Place, proxy: SlowProxy, s3_bucket: Bucket, source: Path
) -> None:
    proxy.hold_at(*UP[at])
    run = place.submit(source, f"s3://{s3_bucket.bucket}/up")
    proxy.held()
    interrupted(run)
    assert place.left() == []


DOWN = {
    "what a prefix is": ("HEAD", "/up", 1, ""),
    "the listing": ("GET", "max-keys=1000", 1, ""),
    "reading a small file": ("GET", "/up/f3", 1, ""),
    "reading a large file": ("GET", "/up/large", 1, ""),
    "what a file is": ("HEAD", "/up/f3", 1, "/f3"),
    "what a file is, once more": ("HEAD", "/up/f3", 2, "/f3"),
}


@pytest.mark.parametrize("at", DOWN)
def test_ctrl_c_ends_a_download_from_a_silent_store_at_once(
    at: str, place: Place, proxy: SlowProxy, s3_bucket: Bucket, source: Path, tmp_path: Path
) -> None:
    there = f"s3://{s3_bucket.bucket}/up"
    assert place.submit(source, there).finish().code == 0
    method, part, nth, below = DOWN[at]
    proxy.hold_at(method, part, nth)
    run = place.submit(there + below, tmp_path / "out")
    proxy.held()
    interrupted(run)
    assert place.left() == []


def test_ctrl_c_ends_a_dry_run_that_looks_at_a_silent_stores_objects(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, source: Path
) -> None:
    there = f"s3://{s3_bucket.bucket}/up"
    assert place.submit(source, there).finish().code == 0
    proxy.hold_at("HEAD", "/up/f")
    run = place.submit("--dry-run", source, there)
    proxy.held()
    interrupted(run)
