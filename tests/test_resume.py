"""Ended in the middle, by whatever means: the same command, or ``hugesync resume``, goes on and does not begin again."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from compare import bucket as bucket_tree
from compare import differences, tree
from conftest import Bucket
from midway import (
    LARGE,
    PART,
    SMALL,
    SMALL_SIZE,
    STORE_TO_STORE,
    Way,
    assert_nothing_is_left,
    bytes_in_the_open_upload,
    many_small_files,
    midway_between_folders,
    one_large_file,
    profiles,
    temporaries,
)
from processes import Place, wait_until
from scale import mostly_full
from slowproxy import SlowProxy


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return one_large_file(tmp_path / "src")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return many_small_files(tmp_path / "src")


def assert_same(source: Path, s3: Bucket, prefix: str) -> None:
    assert differences(tree(source, folders="none"), bucket_tree(s3.client, s3.bucket, prefix)) == []
    assert_nothing_is_left(s3)


def test_everything_killed_in_an_upload_and_the_same_command_again_sends_only_what_is_missing(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, large: Path
) -> None:
    to = f"s3://{s3_bucket.bucket}/to"
    proxy.hold_after(up=LARGE // 2)
    place.submit(large, to)
    proxy.held()
    place.kill_all()
    proxy.release()
    there = bytes_in_the_open_upload(s3_bucket)
    assert 0 < there < LARGE

    ended = place.submit(large, to).finish()

    assert ended.code == 0, ended.err
    assert "going on with job" in ended.err
    assert ended.summary["bytes"]["sent"] <= LARGE - there
    assert_same(large, s3_bucket, "to/")
    assert place.left() == []


def test_everything_killed_in_a_download_and_the_same_command_again_fetches_only_what_is_missing(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, large: Path, tmp_path: Path
) -> None:
    at = f"s3://{s3_bucket.bucket}/from"
    assert place.submit(large, at).finish().code == 0
    out = tmp_path / "out"
    proxy.hold_after(down=LARGE // 2)
    place.submit(at, out)
    proxy.held()
    place.kill_all()
    proxy.release()
    assert not (out / "large").exists()

    ended = place.submit(at, out).finish()

    assert ended.code == 0, ended.err
    assert "going on with job" in ended.err
    in_flight = 4 * PART  # two children, each with a part read and one being read
    assert ended.summary["bytes"]["received"] <= LARGE - LARGE // 2 + in_flight
    assert differences(tree(large, folders="none"), tree(out, folders="none")) == []
    assert temporaries(out) == []


@pytest.mark.parametrize("way", mostly_full(STORE_TO_STORE, 1), ids=str)
@pytest.mark.full
def test_everything_killed_between_two_stores_and_the_same_command_again_sends_only_what_is_missing(
    way: Way, place: Place, proxy: SlowProxy, s3_bucket: Bucket, large: Path, tmp_path: Path
) -> None:
    at, to = f"s3://{s3_bucket.bucket}/from", f"s3://{s3_bucket.bucket}/to"
    env = profiles(tmp_path, s3_bucket)
    assert place.submit(large, at).finish().code == 0
    way.hold(proxy)
    way.submit(place, at, to, **env)
    proxy.held()
    place.kill_all()
    proxy.release()
    there = bytes_in_the_open_upload(s3_bucket)
    assert 0 < there < LARGE

    ended = way.submit(place, at, to, **env).finish()

    assert ended.code == 0, ended.err
    assert "going on with job" in ended.err
    counts = ended.summary["bytes"]
    moved, other = ("copied_server_side", "sent") if way.entry else ("sent", "copied_server_side")
    unreceipted = 2 * PART  # one per task process: in the store, but killed before its receipt
    assert 0 < counts[moved] <= LARGE - there + unreceipted < LARGE
    assert counts[other] == 0
    assert_same(large, s3_bucket, "to/")
    assert place.left() == []


def test_everything_killed_between_two_folders_and_the_same_command_again_copies_only_what_is_missing(
    place: Place, large: Path, tmp_path: Path
) -> None:
    _, out = midway_between_folders(place, large, tmp_path)
    place.kill_all()
    assert temporaries(out) != []
    assert not (out / "large").exists()

    ended = place.submit(large, out).finish()

    assert ended.code == 0, ended.err
    assert "going on with job" in ended.err
    assert differences(tree(large, folders="none"), tree(out, folders="none")) == []
    assert temporaries(out) == []
    assert place.left() == []


@pytest.mark.parametrize("way", mostly_full(["up", "down"], 1))
def test_everything_killed_among_small_files_and_the_same_command_again_sends_the_rest(
    way: str, place: Place, proxy: SlowProxy, s3_bucket: Bucket, small: Path, tmp_path: Path
) -> None:
    store, out = f"s3://{s3_bucket.bucket}/t", tmp_path / "out"
    command = (small, store)
    if way == "down":
        assert place.submit(*command).finish().code == 0
        command = (store, out)
    proxy.hold_after(requests=SMALL * 3 // 4)  # two children, batches of 512: at least one batch has ended
    place.submit(*command)
    proxy.held()
    place.kill_all()
    proxy.release()

    ended = place.submit(*command).finish()

    assert ended.code == 0, ended.err
    assert "going on with job" in ended.err
    files = ended.summary["files"]
    assert files["found"] == files["done"] + files["skipped"] == SMALL
    assert ended.summary["requests"]["put" if way == "up" else "get"] < SMALL
    if way == "up":
        assert_same(small, s3_bucket, "t/")
    else:
        assert differences(tree(small, folders="none"), tree(out, folders="none")) == []
        assert temporaries(out) == []
    assert place.submit(*command).finish().summary["files"]["skipped"] == SMALL


@pytest.mark.full
def test_fresh_begins_anew_and_leaves_no_upload_of_the_killed_run(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, large: Path
) -> None:
    to = f"s3://{s3_bucket.bucket}/to"
    proxy.hold_after(up=LARGE // 2)
    place.submit(large, to)
    proxy.held()
    place.kill_all()
    proxy.release()

    ended = place.submit("--fresh", large, to).finish()

    assert ended.code == 0, ended.err
    assert "going on with job" not in ended.err
    assert_same(large, s3_bucket, "to/")


@pytest.mark.parametrize("how", mostly_full([signal.SIGINT, signal.SIGTERM], 1))
def test_an_interrupted_job_says_so_and_resume_finishes_it(
    how: signal.Signals, place: Place, proxy: SlowProxy, s3_bucket: Bucket, large: Path
) -> None:
    proxy.hold_after(up=LARGE // 2)
    run = place.submit(large, f"s3://{s3_bucket.bucket}/to")
    proxy.held()
    run.interrupt(how)
    ended = run.finish(10)
    assert place.left(within=1.0) == []
    assert (ended.code, ended.summary["state"]) == (130, "interrupted")
    assert ended.summary["files"] | {"pending": 1, "found": 1, "done": 0} == ended.summary["files"]
    proxy.release()
    job = ended.summary["job_id"]
    listed = place.command("jobs")
    assert job in listed.out
    assert "interrupted, resumable" in listed.out

    again = place.resume(job).finish()

    assert again.code == 0, again.err
    assert again.summary["files"]["done"] == 1
    assert again.summary["bytes"]["sent"] < LARGE
    assert_same(large, s3_bucket, "to/")
    assert "done" in place.command("jobs").out
    refused = place.resume(job).finish()
    assert refused.code == 2, "there is nothing to resume"


def test_a_cancelled_job_stops_at_once_and_can_be_resumed(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, large: Path
) -> None:
    proxy.hold_after(up=LARGE // 2)
    run = place.submit(large, f"s3://{s3_bucket.bucket}/to")
    proxy.held()
    (job,) = [line.split()[0] for line in place.command("jobs").out.splitlines()[1:]]
    shown = place.command("status", job, "--json")
    assert shown.summary["state"] == "running"

    assert place.command("cancel", job).code == 0
    told = time.monotonic()
    ended = run.finish(10)

    assert time.monotonic() - told < 2.0
    assert (ended.code, ended.summary["state"]) == (130, "cancelled")
    assert place.left(within=1.0) == []
    assert place.command("status", job, "--json").summary["state"] == "cancelled"
    assert place.command("cancel", job).code == 2, "there is nothing to cancel"
    proxy.release()
    again = place.resume(job).finish()
    assert (again.code, again.summary["state"]) == (0, "done"), again.err
    assert_same(large, s3_bucket, "to/")


@pytest.mark.full
def test_a_second_run_onto_the_same_destination_is_refused_with_the_first_ones_id(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, large: Path, tmp_path: Path
) -> None:
    to = f"s3://{s3_bucket.bucket}/to"
    proxy.hold_after(up=LARGE // 2)
    first = place.submit(large, to)
    proxy.held()
    (job,) = [line.split()[0] for line in place.command("jobs").out.splitlines()[1:]]
    other = tmp_path / "other"
    other.mkdir()

    for source in (large, other):
        second = place.submit(source, to, AWS_ENDPOINT_URL_S3=s3_bucket.endpoint).finish()
        assert second.code == 4, second.err
        assert job in second.err

    proxy.release()
    ended = first.finish()
    assert (ended.code, ended.summary["job_id"]) == (0, job)
    assert_same(large, s3_bucket, "to/")


@pytest.mark.full
def test_a_second_run_by_another_name_of_the_same_folder_is_refused(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, large: Path, tmp_path: Path
) -> None:
    at, out, link = f"s3://{s3_bucket.bucket}/from", tmp_path / "out", tmp_path / "link"
    assert place.submit(large, at).finish().code == 0
    link.symlink_to(out)
    out.mkdir()
    proxy.hold_after(down=LARGE // 2)
    first = place.submit(at, out)
    proxy.held()
    job, other = [line.split()[0] for line in place.command("jobs").out.splitlines()[1:]]

    for command in ((large, link), (large, out)):
        second = place.submit(*command).finish()
        assert second.code == 4, second.err
        assert job in second.err
    assert [line.split()[0] for line in place.command("jobs").out.splitlines()[1:]] == [job, other], "it never began"

    proxy.release()
    assert first.finish().code == 0
    assert differences(tree(large, folders="none"), tree(out, folders="none")) == []


def test_resume_plans_the_failed_first_and_counts_each_once(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, small: Path
) -> None:
    """Files that failed behind the checkpoint: one is mended, one stays unreadable; then the interrupted job is resumed."""
    mended, broken = small / "a", small / "b"  # names before all others, so that they lie behind K
    for path in (mended, broken):
        path.write_bytes(b"x" * 100)
        path.chmod(0)
    to = f"s3://{s3_bucket.bucket}/t"
    proxy.hold_after(requests=SMALL * 3 // 4)
    run = place.submit("-j", "1", small, to, bound_by_modes=True)  # one batch after another: the first is done by then
    proxy.held()
    checkpoint = wait_until(lambda: failures_in_the_checkpoint(place), what="a checkpoint with the failures")
    assert sorted(checkpoint) == ["a", "b"]
    run.interrupt()
    ended = run.finish(10)
    assert ended.code == 130
    assert ended.summary["files"]["failed"] == 2
    proxy.release()
    mended.chmod(0o644)

    again = place.resume(ended.summary["job_id"], bound_by_modes=True).finish()

    assert again.code == 1, again.err
    files = again.summary["files"]
    assert (files["found"], files["failed"], files["pending"]) == (SMALL + 2, 1, 0)
    assert files["done"] + files["skipped"] == SMALL + 1
    assert [f["path"] for f in again.summary["failures"]] == ["b"]
    counts = again.summary["bytes"]
    assert counts["found"] == SMALL * SMALL_SIZE + 200 == counts["done"] + counts["skipped"] + counts["failed"]
    broken.unlink()
    assert_same(small, s3_bucket, "t/")


def failures_in_the_checkpoint(place: Place) -> list[str]:
    (path,) = (place.folder / "state" / "hugesync" / "jobs").glob("*/job.json")
    saved = json.loads(path.read_text()).get("checkpoint")
    return [failure[0] for failure in saved["counters"]["failures"]] if saved else []
