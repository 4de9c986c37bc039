"""Real processes on Google Cloud Storage and Azure Blob as the strict fakes keep their conditions: two hosts that know nothing of
each other write one object, and everything is killed in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clouds import BUCKETS, CLOUDS, Azure, Gcs
from deltas import write
from processes import Ended, Place
from scale import mostly_full
from slowproxy import SlowProxy

PART = 5 << 20
SIZES = {"large": 4 * PART + 12_345, "small": 2_000}
COMMITS = {
    ("gs", "large"): ("POST", "to%2Ff/compose"),
    ("az", "large"): ("PUT", "to/f?comp=blocklist"),
    ("gs", "small"): ("PUT", "to%2Ff"),
    ("az", "small"): ("PUT", "to/f"),
}


@dataclass
class Service:
    """One service, the way to it by a proxy, and ``hosts`` that share nothing else."""

    kind: str
    cloud: Gcs | Azure
    proxy: SlowProxy
    folder: Path

    @property
    def url(self) -> str:
        return f"{self.kind}://{BUCKETS[0]}/to"

    def host(self, name: str, slow: bool = False) -> Place:
        """Its own state, Redis and workers; ``slow``: behind the proxy."""
        straight = self.cloud.served.endpoint.removesuffix("/devstoreaccount1")
        env = {**self.cloud.served.env, "HUGESYNC_PART_SIZE": str(PART), "HUGESYNC_WORKER_CONCURRENCY": "2"}
        by = {k: v.replace(straight, self.proxy.endpoint) for k, v in env.items()} if slow else env
        return Place(self.folder / name, by)

    def held_commit(self, what: str) -> None:
        self.proxy.hold_at(*COMMITS[self.kind, what])

    def holds(self) -> bytes:
        return self.cloud.found(BUCKETS[0])["to/f"].body

    def left(self) -> list[str]:
        return [k for k in self.cloud.found(BUCKETS[0]) if ".hugesync" in k] + self.cloud.staged()


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    cloud = CLOUDS[request.param](monkeypatch)
    straight = cloud.served.endpoint.removesuffix("/devstoreaccount1")
    with SlowProxy(straight) as proxy:
        yield Service(request.param, cloud, proxy, tmp_path)
    cloud.close()


def tallied(ended: Ended) -> tuple[int, int, int, int]:
    files = ended.summary["files"]
    return ended.code, files["done"], files["failed"], ended.summary["conflicts"]


CONTESTS = [
    ("az", "large", "skip"), ("gs", "large", "skip"), ("az", "small", "skip"), ("gs", "small", "skip"),
    ("az", "large", "retry"), ("gs", "large", "retry"),
]  # fmt: skip


@pytest.mark.parametrize(("service", "what", "policy"), mostly_full(CONTESTS, 1), indirect=["service"])
def test_of_two_hosts_on_one_object_one_wins_and_the_other_counts_a_conflict(
    service: Service, what: str, policy: str, tmp_path: Path
) -> None:
    ours, theirs = (write(tmp_path / n / "f", SIZES[what], seed) for seed, n in enumerate(("ours", "theirs"), 1))
    slow, quick = service.host("slow", slow=True), service.host("quick")
    try:
        service.held_commit(what)
        first = slow.submit("--on-conflict", policy, ours.parent, service.url)
        service.proxy.held()
        won = quick.submit("--on-conflict", policy, theirs.parent, service.url).finish()
        assert tallied(won) == (0, 1, 0, 0), won.err
        assert service.holds() == theirs.read_bytes()
        service.proxy.release()
        lost = first.finish()
    finally:
        slow.end()
        quick.end()
    if policy == "skip":
        assert tallied(lost) == (1, 0, 1, 1), lost.err
        assert [f["class"] for f in lost.summary["failures"]] == ["conflict"]
        assert service.holds() == theirs.read_bytes(), "the winner's bytes stay"
    else:
        assert tallied(lost) == (0, 1, 0, 1), lost.err
        assert service.holds() == ours.read_bytes(), "compared afresh, and written over what it then knew"
    assert service.left() == []


KILLS = [("az", "part"), ("gs", "part"), ("az", "commit"), ("gs", "commit")]


@pytest.mark.parametrize(("service", "step"), mostly_full(KILLS, 0), indirect=["service"])
def test_everything_killed_midway_and_the_same_command_again_sends_the_rest_and_leaves_nothing(
    service: Service, step: str, tmp_path: Path
) -> None:
    source = write(tmp_path / "here" / "f", SIZES["large"])
    place, size = service.host("place", slow=True), SIZES["large"]
    try:
        if step == "part":
            service.proxy.hold_after(up=3 * PART)
        else:
            service.held_commit("large")
        place.submit(source.parent, service.url)
        service.proxy.held()
        place.kill_all()
        service.proxy.cut()  # else what it holds would still arrive
        service.proxy.release()
        ended = place.submit(source.parent, service.url).finish()
    finally:
        place.end()
    assert "going on with job" in ended.err
    assert tallied(ended) == (0, 1, 0, 0), ended.err
    assert ended.summary["bytes"]["sent"] <= (0 if step == "commit" else size - PART), ended.summary
    assert service.holds() == source.read_bytes()
    assert service.left() == []
    assert place.left() == []
