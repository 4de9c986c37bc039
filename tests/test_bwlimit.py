"""``--bwlimit``: the bytes of a whole job, counted between it and the store, over all of its processes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import servers
from conftest import Bucket
from flowmeter import Flowmeter
from hugesync_producer import jobs, latest, limiting
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import UsageError
from processes import Place, Running, wait_until
from slowproxy import SlowProxy

KIB, MIB = 1 << 10, 1 << 20
BUFFERS = 32 * KIB  # of the proxy's sockets: what it has counted is soon with the client


@pytest.fixture
def proxy(s3_bucket: Bucket) -> Iterator[SlowProxy]:
    with SlowProxy(s3_bucket.endpoint, buffers=BUFFERS) as proxy:
        yield proxy


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy) -> Iterator[Place]:
    env = {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "HUGESYNC_QUEUE_PREFIX": f"t{uuid.uuid4().hex[:8]}"}
    place = Place(tmp_path / "place", {**s3_bucket.env, **env})
    yield place
    place.end()


def filled(folder: Path, sizes: list[int]) -> Path:
    folder.mkdir()
    for i, size in enumerate(sizes):
        (folder / f"{i:04}").write_bytes(os.urandom(size))
    return folder


def same(a: Path, b: Path) -> bool:
    return {p.name: p.read_bytes() for p in a.iterdir()} == {p.name: p.read_bytes() for p in b.iterdir()}


def moved(proxy: SlowProxy) -> int:
    return sum(proxy.bodies())


def one_job(place: Place, *fleet: object) -> str:
    rows = wait_until(lambda: place.command("jobs", *fleet).out.splitlines()[1:], what="the job to be listed")
    return str(rows[0].split()[0])


def test_a_job_keeps_to_its_bandwidth_until_somebody_changes_it(
    tmp_path: Path, place: Place, proxy: SlowProxy, s3_bucket: Bucket
) -> None:
    """Bounds of a machine that does other things, too; the exact ones are in make test-full."""
    tree, rate = filled(tmp_path / "tree", [10 * MIB] * 2 + [100 * KIB] * 100), MIB
    with Flowmeter(lambda: moved(proxy)) as meter:
        run = place.submit(tree, f"s3://{s3_bucket.bucket}/to", "--bwlimit", "1M", HUGESYNC_PART_SIZE="5MiB")
        wait_until(lambda: moved(proxy) > 5.5 * rate, what="five seconds' worth")
        here = Settings(state_dir=place.folder / "state" / "hugesync", queue_prefix=place.env["HUGESYNC_QUEUE_PREFIX"])
        (line,) = jobs.list_jobs(here)
        as_of = jobs.status(line.job_id, here)["as_of"]
        assert as_of["bwlimit"] == rate
        assert "Limited to 1.0 MiB/s (--bwlimit)" in list(latest.lines(as_of))
        slow = meter.samples[-1][0]
        limiting.limit(line.job_id, here, {"bwlimit": "0"})
        ended = run.finish(60)
    assert ended.code == 0, ended.err
    assert "the bandwidth limit is off now" in ended.err
    assert ended.summary["files"]["done"] == 102
    assert ended.summary["retries"] == 0
    rates = list(meter.rates(4.0, beyond=rate // 2, settle=0.25, until=slow))
    assert rates
    assert 0.8 * rate < min(rates)
    assert max(rates) < 1.15 * rate
    with pytest.raises(UsageError, match="there is nothing to limit"):
        limiting.limit(line.job_id, here, {})


def within_five_percent(meter: Flowmeter, rate: int, **more: float) -> None:
    rates = meter.rates(10.0, beyond=rate, settle=1.0, **more)
    assert len(rates) > 50, "the job was too short to be judged"
    assert (min(rates) / rate, max(rates) / rate) == (pytest.approx(1, abs=0.05), pytest.approx(1, abs=0.05))


def sized(large: int, small: int) -> list[int]:
    return [40 * MIB] * large + [100 * KIB] * small


@pytest.mark.full
@pytest.mark.parametrize("sizes", [sized(3, 0), sized(0, 1200), sized(2, 400)], ids=["large", "small", "both"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_two_processes_keep_within_five_percent_over_any_ten_seconds(
    tmp_path: Path, place: Place, proxy: SlowProxy, s3_bucket: Bucket, way: str, sizes: list[int]
) -> None:
    tree, store, rate = filled(tmp_path / "tree", sizes), f"s3://{s3_bucket.bucket}/to", 4 * MIB
    source, dest = (tree, store) if way == "up" else (store, tmp_path / "back")
    if way == "down":
        assert place.submit(tree, store).finish().code == 0
    with Flowmeter(lambda: moved(proxy)) as meter:
        ended = place.submit(source, dest, "--bwlimit", "4M").finish(300)
    assert ended.code == 0, ended.err
    assert ended.summary["retries"] == 0
    if way == "down":
        assert same(tree, tmp_path / "back")
    within_five_percent(meter, rate)


@pytest.mark.full
@pytest.mark.parametrize("sizes", [sized(6, 0), sized(3, 1200)], ids=["large", "both"])
def test_three_workers_of_a_fleet_keep_within_five_percent_over_any_ten_seconds_also_after_a_change(
    tmp_path: Path, place: Place, proxy: SlowProxy, s3_bucket: Bucket, valkey: servers.ValkeyServer, sizes: list[int]
) -> None:
    tree, rate = filled(tmp_path / "tree", sizes), 3 * MIB
    fleet = ("--broker", valkey.url)
    for _ in range(3):
        place.worker(valkey.url, "--root", tmp_path, "--concurrency", 1)
    with Flowmeter(lambda: moved(proxy)) as meter:
        run = place.submit(
            tree, f"s3://{s3_bucket.bucket}/to", *fleet, "--bwlimit", "3M", HUGESYNC_WORKER_ROOTS=str(tmp_path)
        )
        wait_until(lambda: moved(proxy) > 16 * rate, timeout=90, what="sixteen seconds' worth")
        job, before = one_job(place, *fleet), meter.samples[-1][0]
        assert place.command("limit", job, "--bwlimit", "6MiB/s", *fleet).code == 0
        after = meter.samples[-1][0] + 2.0
        ended = run.finish(300)
    assert ended.code == 0, ended.err
    assert ended.summary["retries"] == 0
    within_five_percent(meter, rate, until=before)
    within_five_percent(meter, 6 * MIB, since=after)


@pytest.mark.full
def test_between_folders_what_is_read_counts_once(
    tmp_path: Path, place: Place, submitted: Callable[..., Running]
) -> None:
    tree, dest, rate = filled(tmp_path / "tree", [40 * MIB] * 3), tmp_path / "out", 6 * MIB

    def written() -> int:
        return sum(p.lstat().st_blocks * 512 for p in dest.iterdir()) if dest.exists() else 0

    with Flowmeter(written) as meter:
        ended = submitted(tree, dest, "--bwlimit", "6M").finish(120)
    assert ended.code == 0, ended.err
    assert same(tree, dest)
    within_five_percent(meter, rate)


@pytest.fixture
def submitted(place: Place) -> Callable[..., Running]:
    return place.submit


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", ["up", "down"])
def test_the_lowest_rate_moves_a_part_of_sixteen_mib_without_a_time_out_a_repeat_or_a_stall(
    tmp_path: Path, place: Place, proxy: SlowProxy, s3_bucket: Bucket, way: str
) -> None:
    tree, store = filled(tmp_path / "tree", [32 * MIB]), f"s3://{s3_bucket.bucket}/to"
    source, dest = (tree, store) if way == "up" else (store, tmp_path / "back")
    if way == "down":
        assert place.submit(tree, store).finish().code == 0
    proxy.exchanges.clear()
    ended = place.submit(source, dest, "-v", "--bwlimit", "64K").finish(900)
    assert ended.code == 0, ended.err
    assert ended.summary["retries"] == 0
    assert ended.summary["elapsed_seconds"] > 500
    assert moved(proxy) < 33 * MIB, "nothing went twice"
    assert "again" not in ended.err
