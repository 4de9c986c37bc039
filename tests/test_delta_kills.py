"""Kill anything in any step of a delta, or lose what the ledger knows: the result is identical, and it is still a delta."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis

import servers
from compare import differences, tree
from conftest import Bucket
from deltas import MIB, SIZE, assert_same, etag, inserted, overwritten, passing, signature, write
from midway import assert_nothing_is_left, temporaries
from processes import Ended, Place, Running, pool_children, wait_until, worker_mains
from slowproxy import SlowProxy

pytestmark = pytest.mark.full  # minutes of waiting for leases: `make test-full`

PLACES = 6
MOST = (PLACES + 1) * 5 * MIB
STEPS: dict[str, Callable[[SlowProxy], None]] = {
    "match": lambda proxy: proxy.hold_at("GET", "large.hssig", 2),  # the first is asked for by begin
    "lay": lambda proxy: proxy.hold_at("POST", "large?uploads"),
    "part": lambda proxy: proxy.hold_at("PUT", "to/large?", 3),
    "commit": lambda proxy: proxy.hold_at("POST", "to/large?uploadId"),
}


def kill_children(place: Place) -> None:
    kill(pool_children(place))


def kill_main(place: Place) -> None:
    kill(worker_mains(place))


def kill(victims: list[psutil.Process]) -> None:
    assert victims
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=5)


def up_once(place: Place, proxy: SlowProxy, s3: Bucket, here: Path) -> str:
    """The old version is up, and the new one is at hand."""
    write(here / "large", SIZE)
    there = f"s3://{s3.bucket}/to"
    assert place.submit(here, there).finish().code == 0
    overwritten(here / "large", PLACES)
    return there


def assert_delta_up(ended: Ended, s3: Bucket, here: Path) -> None:
    assert ended.code == 0, ended.err
    assert ended.summary["files"] == {**ended.summary["files"], "found": 1, "done": 1, "failed": 0, "pending": 0}
    assert ended.summary["transfers"]["delta"] == 1, ended.summary
    assert ended.summary["conflicts"] == 0
    assert_same(here, s3, "to/")
    assert_nothing_is_left(s3)
    assert signature(s3, "to/large").header.binding.version == etag(s3, "to/large")


@pytest.mark.parametrize("strike", [kill_children, kill_main])
@pytest.mark.parametrize("step", ["match", "lay", "part"])
def test_a_worker_killed_in_a_delta_costs_nothing_but_time(
    step: str, strike: Callable[[Place], None], place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    there = up_once(place, proxy, s3_bucket, tmp_path / "here")
    STEPS[step](proxy)
    with passing(proxy) as passed:
        run = place.submit(tmp_path / "here", there)
        proxy.held()
        strike(place)
        proxy.cut()  # else what it holds would still arrive
        proxy.release()
        ended = run.finish(200)
    assert_delta_up(ended, s3_bucket, tmp_path / "here")
    assert passed().sent <= MOST + 2 * 16 * MIB, "a part per task process may be sent twice"
    assert place.left() == []


@pytest.mark.parametrize("step", list(STEPS))
def test_everything_killed_in_a_delta_and_the_same_command_again_is_a_delta(
    step: str, place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    there = up_once(place, proxy, s3_bucket, tmp_path / "here")
    STEPS[step](proxy)
    place.submit(tmp_path / "here", there)
    proxy.held()
    place.kill_all()
    proxy.cut()  # else what it holds would still arrive
    proxy.release()
    with passing(proxy) as passed:
        ended = place.submit(tmp_path / "here", there).finish()
    assert "going on with job" in ended.err
    assert_delta_up(ended, s3_bucket, tmp_path / "here")
    assert passed().sent <= MOST
    assert place.left() == []


@pytest.mark.parametrize("everything", [False, True], ids=["the workers", "everything"])
def test_killed_in_a_delta_down_and_gone_on_with_it_is_a_delta(
    everything: bool, place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    here, back = tmp_path / "here", tmp_path / "back"
    there = up_once(place, proxy, s3_bucket, here)
    shutil.copytree(here, back)
    inserted(here / "large", SIZE // 2, 12 * MIB)
    assert place.submit(here, there).finish().code == 0
    proxy.hold_at("GET", "to/large", 5)  # its signature, asked for by begin and in match and lay; then ranges of it
    with passing(proxy) as passed:
        run = place.submit(there, back)
        proxy.held()
        if everything:
            place.kill_all()
        else:
            kill_children(place)
        proxy.cut()
        proxy.release()
        if everything:
            run = place.submit(there, back)
        ended = run.finish(200)
    assert (ended.code, ended.summary["transfers"]["delta"]) == (0, 1), (ended.err, ended.summary)
    assert differences(tree(here, folders="none"), tree(back, folders="none")) == []
    assert temporaries(back) == []
    assert passed().received <= 2 * 13 * MIB
    assert place.left() == []


# a fleet


@pytest.fixture
def fleet(place: Place, broker: servers.ValkeyServer) -> Callable[..., Running]:
    """Starts a worker with one task process for ``root``."""

    def start(root: Path) -> Running:
        root.mkdir(exist_ok=True)
        environment = {"HUGESYNC_WORKER_ROOTS": "", "HUGESYNC_WORKER_CONCURRENCY": "1"}
        return place.worker(broker.url, "--root", f"data={root}", **environment)

    return start


def submit_to(place: Place, broker: servers.ValkeyServer, root: Path, source: object, dest: object) -> Running:
    return place.submit("--broker", broker.url, source, dest, HUGESYNC_WORKER_ROOTS=f"data={root}")


@pytest.mark.parametrize("step", ["match", "part"])
def test_a_ledger_flushed_in_a_delta_is_made_anew_and_nothing_is_left_of_what_it_forgot(
    step: str,
    place: Place,
    broker: servers.ValkeyServer,
    fleet: Callable[..., Running],
    proxy: SlowProxy,
    s3_bucket: Bucket,
    tmp_path: Path,
) -> None:
    root = tmp_path / "data"
    there = up_once(place, proxy, s3_bucket, root / "here")
    fleet(root)
    STEPS[step](proxy)
    with passing(proxy) as passed:
        run = submit_to(place, broker, root, root / "here", there)
        proxy.held()
        with redis.Redis.from_url(broker.url) as r:
            r.flushall()
        proxy.release()
        ended = run.finish(200)
    assert_delta_up(ended, s3_bucket, root / "here")
    assert passed().sent <= 2 * MOST, "what was sent before may be sent again"


def ranges_matched(worker: Running) -> list[int]:
    return [int(n) for n in re.findall(r"range (\d+), \d+ of \d+ bytes are known", worker.said())]


def test_two_workers_match_one_file_each_its_ranges(
    place: Place,
    broker: servers.ValkeyServer,
    fleet: Callable[..., Running],
    proxy: SlowProxy,
    s3_bucket: Bucket,
    tmp_path: Path,
) -> None:
    root = tmp_path / "data"
    there = up_once(place, proxy, s3_bucket, root / "here")
    workers = [fleet(root) for _ in range(2)]
    with redis.Redis.from_url(broker.url) as r:
        wait_until(lambda: len(r.keys("hs:{workers}:*")) == 2, what="two workers")
    STEPS["match"](proxy)
    run = submit_to(place, broker, root, root / "here", there)

    def asked() -> int:
        return sum(e.method == "GET" and e.path.endswith("large.hssig") for e in proxy.exchanges)

    wait_until(lambda: asked() == 3, what="both workers to ask for the signature")
    proxy.release()
    assert_delta_up(run.finish(), s3_bucket, root / "here")
    took = [ranges_matched(w) for w in workers]
    assert all(took), "one worker matched everything"
    assert sorted(took[0] + took[1]) == list(range(-(-SIZE // (64 * MIB)))), "each range once"
