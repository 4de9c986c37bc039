"""Under which names the workers have a job's local ends, and that a worker which comes later is waited for."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import servers
from compare import differences, tree
from hugesync_producer import roots
from hugesync_producer.fleet import live
from hugesync_producer.logobserver import LogObserver
from hugesync_producer.pool import Pool, Stalled
from hugesync_producer.roots import under_roots
from hugesync_tasks.config import load
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.state.redis import RedisLedger
from processes import Place, wait_until

STORE = Location("s3", bucket="b")


def local(path: str, root: str = "", below: str = "") -> Location:
    return Location("file", local=path, root=root, path=below)


def named(ends: tuple[Location, Location] | None) -> list[tuple[str, str]] | None:
    return None if ends is None else [(end.root, end.path) for end in ends]


@pytest.mark.parametrize(
    ("ends", "ours", "workers", "expected"),
    [
        ((local("/d/a"), STORE), {}, [], None),
        ((local("/d/a"), STORE), {}, [{"other": "/data"}], None),
        ((local("/data2/a"), STORE), {}, [{"data": "/data"}], None),
        ((local("/d/a"), STORE), {"data": "/d"}, [], [("data", "a"), ("", "")]),
        ((local("/d/a"), STORE), {}, [{"data": "/d"}], [("data", "a"), ("", "")]),
        ((local("/d"), STORE), {}, [{"data": "/d"}], [("data", ""), ("", "")]),
        ((local("/d/a/b"), STORE), {}, [{"all": "/d", "a": "/d/a"}], [("a", "b"), ("", "")]),
        # one worker must have both ends
        ((local("/d/a"), local("/o/a")), {}, [{"in": "/d"}, {"out": "/o"}], None),
        ((local("/d/a"), local("/o/a")), {}, [{"in": "/d"}, {"i": "/d", "o": "/o"}], [("i", "a"), ("o", "a")]),
        # of several names the one that most workers share
        ((local("/d/a"), STORE), {}, [{"z": "/d"}, {"a": "/d"}, {"a": "/d"}], [("a", "a"), ("", "")]),
        # this host names one end, a worker that has that name the other
        ((local("/d/a"), local("/o/a")), {"data": "/d"}, [{"out": "/o"}], None),
        ((local("/d/a"), local("/o")), {"data": "/d"}, [{"data": "/mnt", "out": "/o"}], [("data", "a"), ("out", "")]),
        # a name that stands goes before a path, as long as somebody has it
        ((local("/d/a", "old", "a"), STORE), {}, [{"old": "/mnt"}], [("old", "a"), ("", "")]),
        ((local("/d/a", "old", "a"), STORE), {}, [{"new": "/d"}], [("new", "a"), ("", "")]),
    ],
)
def test_local_ends_are_named_as_a_worker_that_has_them_all_names_them(
    ends: tuple[Location, Location],
    ours: dict[str, str],
    workers: list[dict[str, str]],
    expected: list[tuple[str, str]] | None,
) -> None:
    assert named(under_roots(ends, ours, workers)) == expected


def test_what_a_killed_run_announced_under_another_name_is_taken_back() -> None:
    ledger = MemoryLedger()
    for root in ("old", "new"):
        Pool(ledger, Spec("j", local("/d/a", root, "a"), STORE), embedded=False).announce()
    Pool(ledger, Spec("jj", local("/d/a", "old", "a"), STORE), embedded=False).announce()
    assert sorted(ledger.announced()) == ["hs.new|j", "hs.old|jj"]


def test_a_worker_with_the_roots_is_waited_for_as_long_as_start_timeout_says(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(roots, "open_ledger", lambda _: MemoryLedger())
    monkeypatch.setattr(roots.time, "monotonic", lambda: sum(slept))
    monkeypatch.setattr(roots.time, "sleep", slept.append)
    spec = Spec("j", local("/d/a"), STORE, options=Options(start_timeout=90.0))
    with pytest.raises(Stalled, match="no worker has a root that holds"):
        roots.placed(spec, load({}), LogObserver(progress=False))
    assert 90 <= sum(slept) < 91


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    it = Place(tmp_path / "place")
    yield it
    it.end()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(30):
        path = tmp_path / "data" / "src" / f"d{i % 3}" / f"f{i}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(i))
    return tmp_path / "data"


def rows(broker: servers.ValkeyServer) -> list[dict[str, object]]:
    with redis.Redis.from_url(broker.url) as r:
        return [json.loads(row) for key in r.keys("hs:{workers}:*") if (row := r.get(key))]


def test_a_worker_that_comes_after_the_job_is_waited_for_whatever_its_root_is_called(
    place: Place, broker: servers.ValkeyServer, data: Path
) -> None:
    run = place.submit("--broker", broker.url, data / "src", data / "out")
    wait_until(lambda: "waiting for a worker that has a root that holds" in run.said(), what="the notice")
    place.worker(broker.url, "--root", f"stuff={data}", "-c", 1)

    ended = run.finish(40)

    assert ended.code == 0, ended.err
    assert differences(tree(data / "src", folders="none"), tree(data / "out", folders="none")) == []


@pytest.mark.full
def test_a_job_that_no_worker_has_a_root_for_ends_after_fifteen_seconds_and_names_folders_and_living_workers(
    place: Place, broker: servers.ValkeyServer, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "else").mkdir()
    killed = place.worker(broker.url, "--root", f"stuff={tmp_path / 'else'}", "-c", 1)
    lives = place.worker(broker.url, "--root", f"other={tmp_path / 'else'}", "-c", 1)
    wait_until(lambda: len(rows(broker)) == 2, what="two workers")
    killed.kill()

    ended = place.submit("--broker", broker.url, data / "src", data / "out").finish(40)

    assert (ended.code, ended.summary["state"]) == (5, "stalled"), ended.err
    last = ended.err.strip().splitlines()[-1]
    assert f"holds {data / 'src'} and {data / 'out'};" in last
    assert f"-{lives.pid} (roots other={tmp_path / 'else'})" in last
    assert f"-{killed.pid} " not in last


@pytest.mark.full
def test_a_job_goes_on_with_a_worker_that_came_back_under_another_root_name(
    place: Place, broker: servers.ValkeyServer, data: Path
) -> None:
    with open(data / "src" / "large", "wb") as out:
        out.truncate(400 << 20)
    worker = place.worker(broker.url, "--root", f"before={data}", "-c", 1)
    wait_until(lambda: rows(broker), what="the worker")
    run = place.submit("--broker", broker.url, data / "src", data / "out")
    wait_until(lambda: "hs.before" in str(rows(broker)), what="the worker at the queue")
    wait_until(lambda: list((data / "out").glob(".hugesync-*.part")), what="the large file begun")
    worker.process.send_signal(signal.SIGSTOP)
    run.interrupt()
    assert run.finish().code == 130
    worker.kill()
    (job,) = [line.split()[0] for line in place.command("jobs", "--broker", broker.url).out.splitlines()[1:]]
    place.worker(broker.url, "--root", f"after={data}", "-c", 1)
    wait_until(lambda: "after" in str(rows(broker)), what="the worker")
    wait_until(lambda: "before" not in str(live(RedisLedger.from_url(broker.url))), what="the killed one silent")
    assert "before" in str(rows(broker)), "its heartbeat stands"

    ended = place.resume(job, "--broker", broker.url).finish()

    assert ended.code == 0, ended.err
    assert differences(tree(data / "src", folders="none"), tree(data / "out", folders="none")) == []
