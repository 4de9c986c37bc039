"""Jobs of a fleet whose coordinator ends without a word, or that never had one: a worker starts another, one at a time."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

import servers
from compare import differences, tree
from conftest import Bucket
from processes import Place, Running, alive, wait_until

FILES = 300
WATCH = (
    "import sys; sys.argv[:1] = ['hugesync', 'watch']; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"
)
MIB = 1 << 20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The root as the producer sees it; ``mounts/data`` is where the workers have it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "mounts").mkdir()
    (tmp_path / "mounts" / "data").symlink_to(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, data: Path) -> Iterator[Place]:
    it = Place(tmp_path / "place", {"HUGESYNC_WORKER_ROOTS": f"data={data}", "HUGESYNC_PART_SIZE": str(5 * MIB)})
    yield it
    it.end()


def tree_of(folder: Path) -> Path:
    for i in range(FILES):
        path = folder / f"d{i % 10}" / f"f{i:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(500))
    with open(folder / "large", "wb") as out:
        out.write(os.urandom(12 * MIB))
    return folder


class Fleet:
    """A broker, and what a test does to it and sees of it."""

    def __init__(self, place: Place, broker: servers.ValkeyServer, mount: Path) -> None:
        self.place, self.broker, self.mount = place, broker, mount
        self.redis: Any = redis.Redis.from_url(broker.url, decode_responses=True)

    def worker(self, root: Path | None = None, **env: str) -> Running:
        at = self.mount if root is None else root
        args = ("--root", f"data={at}", "--concurrency", "1")
        return self.place.worker(self.broker.url, *args, HUGESYNC_WORKER_ROOTS="", **env)

    def submit(self, *args: object, **env: str) -> Running:
        return self.place.submit("--broker", self.broker.url, *args, **env)

    def status(self, job: str) -> dict[str, Any]:
        return self.place.command("status", job, "--json", "--broker", self.broker.url).summary

    @property
    def job(self) -> str:
        return str(wait_until(lambda: self.redis.zrange("hs:jobs", 0, -1), what="a job")[0])

    def meta(self, name: str) -> str:
        return str(self.redis.hget(f"hs:job:{{{self.job}}}:meta", name) or "")

    def lapse(self) -> None:
        """The lease of a coordinator that is gone or stands still runs out now instead of within 30 s."""
        self.redis.delete(f"hs:job:{{{self.job}}}:lease")

    @property
    def epoch(self) -> int:
        """How many coordinators have begun."""
        jobs = self.redis.zrange("hs:jobs", 0, -1)
        return int(self.redis.hget(f"hs:job:{{{jobs[0]}}}:meta", "epoch") or 0) if jobs else 0

    def until(self, state: str, timeout: float = 40) -> None:
        wait_until(lambda: self.meta("state") == state, timeout, f"the state {state}, it is {self.meta('state')}")

    def standins(self) -> list[psutil.Process]:
        return [p for p in self.place.living() if "hugesync_producer.standin" in _line(p)]


def _line(p: psutil.Process) -> list[str]:
    try:
        return p.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def fleet(place: Place, broker: servers.ValkeyServer, tmp_path: Path) -> Fleet:
    return Fleet(place, broker, tmp_path / "mounts" / "data")


@pytest.fixture
def still(fleet: Fleet) -> Iterator[Running]:
    """A worker that takes part in everything but work: the process that would do it stands still."""
    worker = fleet.worker()
    (child,) = wait_until(worker.children, what="the worker's child")
    wait_until(lambda: fleet.redis.keys("hs:{workers}:*"), what="the worker")
    child.suspend()
    yield worker


def go_on(worker: Running) -> None:
    for child in worker.children():
        child.resume()


def standin(fleet: Fleet, *before: psutil.Process) -> psutil.Process:
    """A coordinator that a worker started and that leads the job now."""
    epoch = fleet.epoch

    def leads() -> psutil.Process | None:
        return next((p for p in fleet.standins() if p not in before and fleet.epoch > epoch), None)

    found: psutil.Process = wait_until(leads, 60, "a coordinator")
    return found


def all_done(fleet: Fleet, source: Path, dest: Path) -> dict[str, Any]:
    """What the job tells of itself when everything arrived, each file counted once, and nothing of ours is left."""
    ended = fleet.status(fleet.job)
    files = ended["files"]
    assert (ended["state"], files["failed"], files["pending"]) == ("done", 0, 0)
    assert files["done"] + files["skipped"] == files["found"] == FILES + 1
    assert ended["dest"] == str(dest), "as it was submitted, wherever the worker has it"
    assert differences(tree(source), tree(dest)) == []
    assert fleet.redis.hgetall("hs:offers") == fleet.redis.hgetall("hs:announce") == {}
    assert [p.name for p in dest.parent.rglob(".hugesync-job*")] == []
    wait_until(lambda: not fleet.standins(), what="the coordinator's end")
    return ended


@pytest.mark.parametrize("when", ["in the middle", pytest.param("after its end", marks=pytest.mark.full)])
def test_a_producer_that_stood_still_finds_its_job_taken_over_and_harms_nothing(
    when: str, fleet: Fleet, still: Running, data: Path
) -> None:
    source, dest = tree_of(data / "src"), data / "dst"
    run = fleet.submit(source, dest)
    wait_until(lambda: fleet.redis.llen("hs:q:hs.data"), what="work in the queue")
    run.process.send_signal(signal.SIGSTOP)
    fleet.lapse()
    standin(fleet)
    if when == "in the middle":
        run.process.send_signal(signal.SIGCONT)
        ended = run.finish(20)
        assert fleet.meta("state") == "running"
        assert fleet.redis.hkeys("hs:offers") == [fleet.job]
        go_on(still)
        fleet.until("done")
    else:
        go_on(still)
        fleet.until("done")
        before = fleet.redis.hgetall(f"hs:job:{{{fleet.job}}}:meta")
        run.process.send_signal(signal.SIGCONT)
        ended = run.finish(20)
        assert fleet.redis.hgetall(f"hs:job:{{{fleet.job}}}:meta") == before

    assert (ended.code, ended.summary["state"]) == (5, "stalled"), ended.err
    assert f"job {fleet.job} was taken over by another process" in ended.err
    assert "To go on" not in ended.out
    all_done(fleet, source, dest)


def test_a_detached_job_is_begun_by_a_worker_and_followed_to_its_end(fleet: Fleet, data: Path) -> None:
    source, dest = tree_of(data / "src"), data / "dst"
    fleet.worker()
    handed = fleet.submit("--detach", source, dest).finish()
    assert (handed.code, handed.summary["state"], handed.summary["job_id"]) == (0, "running", fleet.job), handed.err
    watched = fleet.place.command("watch", fleet.job, "--json", "--broker", fleet.broker.url)
    assert (watched.code, watched.summary["files"]["done"]) == (0, FILES + 1), watched.err
    assert watched.summary == {**watched.summary, **{k: v for k, v in all_done(fleet, source, dest).items() if k in watched.summary}}  # fmt: skip


def test_the_same_command_again_follows_a_job_that_a_worker_has_taken_up(
    fleet: Fleet, still: Running, data: Path
) -> None:
    """As a Job of Kubernetes does it whose pod was killed; refused, it would count as failed while the fleet goes on."""
    source, dest = tree_of(data / "src"), data / "dst"
    first = fleet.submit(source, dest)
    wait_until(lambda: fleet.redis.llen("hs:q:hs.data"), what="work in the queue")
    first.process.kill()
    first.process.wait()
    fleet.lapse()
    standin(fleet)
    again = fleet.submit(source, dest)
    wait_until(
        lambda: "followed here" in again.said() or again.process.poll() is not None, 90, "a second run that follows"
    )
    go_on(still)
    ended = again.finish()
    assert (ended.code, ended.summary["state"], ended.summary["job_id"]) == (0, "done", fleet.job), ended.err
    assert ended.summary["files"]["found"] == FILES + 1
    all_done(fleet, source, dest)


@pytest.mark.full
def test_a_job_with_a_map_goes_on_only_where_the_map_lies(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    source, dest = tree_of(data / "src"), data / "dst"
    stored = [str(p.relative_to(source)) for p in source.rglob("*") if p.is_file()]
    (tmp_path / "map").write_text("stored,logical\n" + "".join(f"{s},out/{n}\n" for n, s in enumerate(stored)))
    worker = fleet.worker(XDG_STATE_HOME=str(tmp_path / "another host"))
    (child,) = wait_until(worker.children, what="the worker's child")
    wait_until(lambda: fleet.redis.keys("hs:{workers}:*"), what="the worker")
    child.suspend()
    run = fleet.submit("--map", tmp_path / "map", source, dest)
    wait_until(lambda: fleet.redis.llen("hs:q:hs.data"), what="work in the queue")
    run.process.kill()
    run.process.wait()
    fleet.lapse()
    wait_until(lambda: "the map of job" in fleet.meta("reason"), 60, "why nobody goes on")
    go_on(worker)
    ended = fleet.place.resume(fleet.job, "--broker", fleet.broker.url).finish()
    assert (ended.code, ended.summary["files"]["found"]) == (0, FILES + 1), ended.err
    assert ended.summary["files"]["pending"] == ended.summary["files"]["failed"] == 0
    for n, name in enumerate(stored):
        assert (dest / "out" / str(n)).read_bytes() == (source / name).read_bytes(), name


@pytest.mark.full
def test_deletes_and_comparisons_are_handed_over_like_any_job(fleet: Fleet, data: Path) -> None:
    source, dest = data / "src", data / "dst"
    for n in range(4):
        for folder, name in ((source, f"f{n}"), (dest, f"gone{n}")):
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(os.urandom(100))
    fleet.worker()

    def handed(*options: str, verify: bool = False) -> tuple[int, dict[str, Any], str]:
        if verify:
            ran = fleet.place.command("verify", "--detach", "--json", "--broker", fleet.broker.url, source, dest)
        else:
            ran = fleet.submit("--detach", *options, source, dest).finish()
        assert (ran.code, ran.summary["state"]) == (0, "running"), ran.err
        job = ran.summary["job_id"]
        watched = fleet.place.command("watch", job, "--json", "--broker", fleet.broker.url)
        shown = fleet.redis.hgetall(f"hs:job:{{{job}}}:meta")
        return watched.code, watched.summary, shown["reason"]

    code, summary, reason = handed("--delete")
    assert (code, summary["files"]["done"], summary["files"]["deleted"]) == (4, 4, 0)
    assert "--max-delete" in reason
    code, summary, reason = handed("--delete", "--max-delete", "100%")  # at once: no worker stands aside
    assert (code, summary["files"]["deleted"], reason) == (0, 4, "")
    assert differences(tree(source), tree(dest)) == []

    assert handed(verify=True)[0] == 0
    (dest / "f0").write_bytes(b"-" * 100)
    code, summary, _ = handed(verify=True)
    assert (code, [f["path"] for f in summary["failures"]], summary["verified"]) == (1, ["f0"], 3)
    assert fleet.redis.hgetall("hs:offers") == fleet.redis.hgetall("hs:announce") == {}


@pytest.mark.full
def test_a_list_of_names_is_handed_over_with_the_job(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    source, dest = tree_of(data / "src"), data / "dst"
    fleet.worker()
    (tmp_path / "list").write_text("d1/\nlarge\ngone\nd2/gone\n")
    handed = fleet.submit("--detach", "--files-from", tmp_path / "list", source, dest).finish()
    (tmp_path / "list").unlink()
    assert (handed.code, handed.summary["state"]) == (0, "running"), handed.err
    watched = fleet.place.command("watch", fleet.job, "--json", "--broker", fleet.broker.url)
    files = watched.summary["files"]
    assert (watched.code, files["done"], files["missing"]) == (0, FILES // 10 + 1, 2), watched.err
    assert sorted(p.name for p in dest.iterdir()) == ["d1", "large"]
    assert not fleet.redis.exists(f"hs:job:{{{fleet.job}}}:names")


@pytest.mark.full
def test_a_detached_job_outlives_its_coordinators_and_its_workers(fleet: Fleet, still: Running, data: Path) -> None:
    source, dest = tree_of(data / "src"), data / "dst"
    began = time.monotonic()
    handed = fleet.submit("--detach", source, dest).finish()
    assert time.monotonic() - began < 15
    assert (handed.code, handed.summary["state"], handed.summary["job_id"]) == (0, "running", fleet.job), handed.err
    watch = fleet.place.start([sys.executable, "-c", WATCH, fleet.job, "--json", "--broker", fleet.broker.url])

    first = standin(fleet)
    again = fleet.submit("--detach", source, dest).finish()
    assert (again.code, again.summary["state"]) == (4, "refused"), "it is led"
    first.kill()
    fleet.lapse()
    second = standin(fleet, first)
    other = fleet.worker()
    wait_until(lambda: len(fleet.redis.keys("hs:{workers}:*")) == 2, what="the other worker")
    still.kill()  # its coordinator hands the job over, and no lease need lapse
    third = standin(fleet, first, second)
    assert not alive(second)
    assert third.ppid() == other.pid
    fleet.until("done")

    ended = all_done(fleet, source, dest)
    watched = watch.finish(20)
    assert watched.code == 0, watched.err
    assert watched.summary["files"] == ended["files"]
    told = fleet.place.command("watch", fleet.job, "--json", "--broker", fleet.broker.url)
    assert (told.code, told.summary["files"]) == (0, ended["files"])


@pytest.mark.full
def test_a_detached_job_can_be_cancelled_and_resumed(fleet: Fleet, still: Running, data: Path) -> None:
    source, dest = tree_of(data / "src"), data / "dst"
    assert fleet.submit("--detach", source, dest).finish().code == 0
    standin(fleet)
    assert fleet.place.command("cancel", fleet.job, "--broker", fleet.broker.url).code == 0
    fleet.until("cancelled", 20)
    watched = fleet.place.command("watch", fleet.job, "--json", "--broker", fleet.broker.url)
    assert (watched.code, watched.summary["state"]) == (130, "cancelled")
    go_on(still)
    ended = fleet.place.resume(fleet.job, "--broker", fleet.broker.url).finish()
    assert ended.code == 0, ended.err
    all_done(fleet, source, dest)


@pytest.mark.full
def test_what_no_worker_has_is_said_in_the_status(fleet: Fleet, s3_bucket: Bucket, tmp_path: Path, data: Path) -> None:
    config = tmp_path / "aws"
    server = s3_bucket.server
    keys = f"aws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n"
    config.write_text(f"[profile here]\nregion = {server.region}\n{keys}")
    s3_bucket.client.put_object(Bucket=s3_bucket.bucket, Key="f", Body=b"x")
    worker = fleet.worker(**s3_bucket.env)
    wait_until(lambda: fleet.redis.keys("hs:{workers}:*"), what="the worker")
    ends = (f"s3://{s3_bucket.bucket}", data / "dst")
    handed = fleet.submit(
        "--detach", "--source-profile", "here", *ends, AWS_CONFIG_FILE=str(config), **s3_bucket.env
    ).finish()
    assert handed.code == 0, handed.err
    fleet.until("stalled")

    found = fleet.status(fleet.job)
    assert (found["state"], found["resumable"]) == ("stalled", True)
    assert "here" in found["reason"]
    assert f"-{worker.pid}: " in found["reason"]
    shown = fleet.place.command("status", fleet.job, "--broker", fleet.broker.url)
    assert "Why: no worker can coordinate it" in shown.out
    assert worker.stop() == 0


@pytest.mark.full
def test_a_killed_producers_lease_lapses_by_itself_and_a_worker_follows(fleet: Fleet, data: Path) -> None:
    source, dest = tree_of(data / "src"), data / "dst"
    worker = fleet.worker()
    wait_until(lambda: fleet.redis.keys("hs:{workers}:*"), what="the worker")
    for child in worker.children():
        child.suspend()
    run = fleet.submit(source, dest)
    wait_until(lambda: fleet.redis.llen("hs:q:hs.data"), what="work in the queue")
    run.kill()
    killed = time.monotonic()
    go_on(worker)
    standin(fleet)
    assert time.monotonic() - killed < 45
    fleet.until("done")
    all_done(fleet, source, dest)
