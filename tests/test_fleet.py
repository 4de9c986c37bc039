"""A fleet: a broker, ``hugesync-submit --broker``, and workers that have the roots mounted elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import servers
from compare import bucket as bucket_tree
from compare import differences, tree
from conftest import Bucket
from hugesync_tasks.register import Register
from hugesync_tasks.state.memory import MemoryLedger
from processes import Ended, Place, Running, wait_until
from scale import mostly_full, scaled
from slowproxy import SlowProxy

PART = 5 << 20
LARGE = scaled(2 << 30) // PART * PART + 12_345
SMALL = scaled(20_000, 1_000)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The root as the producer sees it; ``mounts/data`` is where the workers have it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "mounts").mkdir()
    (tmp_path / "mounts" / "data").symlink_to(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy, data: Path) -> Iterator[Place]:
    env = {
        **s3_bucket.env,
        "AWS_ENDPOINT_URL_S3": proxy.endpoint,
        "HUGESYNC_PART_SIZE": str(PART),
        "HUGESYNC_WORKER_ROOTS": f"data={data}",
    }
    it = Place(tmp_path / "place", env)
    yield it
    it.end()


def start_worker(place: Place, broker: servers.ValkeyServer, root: Path, *args: str, slots: int = 1) -> Running:
    return place.worker(broker.url, "--root", f"data={root}", "--concurrency", slots, *args, HUGESYNC_WORKER_ROOTS="")


def registered(broker: servers.ValkeyServer) -> int:
    with redis.Redis.from_url(broker.url) as r:
        return len(r.keys("hs:{workers}:*"))


def queue_length(broker: servers.ValkeyServer) -> int:
    with redis.Redis.from_url(broker.url) as r:
        return int(r.llen("hs:q:hs.data"))


def large_file(folder: Path) -> Path:
    folder.mkdir()
    with open(folder / "large", "wb") as out:
        for _ in range(LARGE // PART):
            out.write(os.urandom(PART))
        out.write(os.urandom(LARGE % PART))
    return folder


def small_files(folder: Path) -> Path:
    for i in range(SMALL):
        path = folder / f"d{i % 20:02}" / f"f{i:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(2_000))
    return folder


def parts_done(worker: Running) -> list[int]:
    """Numbers of the parts that this worker sent, from its log."""
    return [int(n) for n in re.findall(r"part (\d+): (?:more|all)", worker.said())]


def ours(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob(".hugesync*")]


def rclone_check(bucket: Bucket, prefix: str, folder: Path) -> None:
    rclone = Path(sys.prefix) / "bin" / "rclone"
    env = {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_S_TYPE": "s3",
        "RCLONE_CONFIG_S_PROVIDER": "SeaweedFS",
        "RCLONE_CONFIG_S_ENDPOINT": bucket.endpoint,
        "RCLONE_CONFIG_S_ACCESS_KEY_ID": bucket.server.access_key,
        "RCLONE_CONFIG_S_SECRET_ACCESS_KEY": bucket.server.secret_key,
        "RCLONE_CONFIG_S_REGION": bucket.server.region,
    }
    ours = ("--exclude", "*.hssig")  # signatures lie beside large objects
    command = [str(rclone), "check", "--download", *ours, f"s:{bucket.bucket}/{prefix}", str(folder)]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.full
def test_workers_share_a_comparison_and_leave_nothing_at_its_ends(
    place: Place, broker: servers.ValkeyServer, data: Path, tmp_path: Path
) -> None:
    source, dest = large_file(data / "src"), data / "dst"
    for n in range(3):
        (source / f"small{n}").write_bytes(os.urandom(1000))
    shutil.copytree(source, dest)
    workers = [start_worker(place, broker, tmp_path / "mounts" / "data") for _ in range(2)]
    wait_until(lambda: registered(broker) == 2, what="two workers")
    folders = [data, source, dest]
    before = [folder.stat().st_mtime_ns for folder in folders]

    def verify() -> Ended:
        return place.command("verify", "--broker", broker.url, "--json", source, dest)

    same = verify()
    assert (same.code, same.summary["verified"], same.summary["failures"]) == (0, 4, []), same.err
    took = [re.findall(r"'range (\d+)", w.said()) for w in workers]
    ranges = range(-(-LARGE // (4 * PART)))
    assert sorted(int(n) for some in took for n in some) == [*ranges], "each range once"

    with open(dest / "large", "r+b") as out:
        out.seek(LARGE // 2)
        byte = out.read(1)
        out.seek(LARGE // 2)
        out.write(bytes([byte[0] ^ 1]))
    other = verify()
    assert other.code == 1, other.err
    assert [(f["path"], f["message"]) for f in other.summary["failures"]] == [
        ("large", f"the contents differ: at byte {LARGE // 2}")
    ]
    assert [folder.stat().st_mtime_ns for folder in folders] == before, "nothing was ever made in them"
    shown = place.command("status", same.summary["job_id"], "--broker", broker.url)
    assert shown.out.splitlines()[1].startswith("not equal: 1 of 4 files, compared in")
    assert ", verify" in place.command("jobs", "--broker", broker.url).out


def test_two_workers_share_a_large_file_up_and_down(
    place: Place, broker: servers.ValkeyServer, s3_bucket: Bucket, data: Path, tmp_path: Path
) -> None:
    source = large_file(data / "src")
    for name in (
        ".hugesync-token-vm-1",
        f".hugesync-job-{'0' * 20}",
    ):  # another job's, whose destination is this folder
        (source / name).touch()
    workers = [start_worker(place, broker, tmp_path / "mounts" / "data") for _ in range(2)]
    wait_until(lambda: registered(broker) == 2, what="two workers")
    to = f"s3://{s3_bucket.bucket}/up"

    up = place.submit("--broker", broker.url, source, to).finish()

    assert up.code == 0, up.err
    took = [parts_done(w) for w in workers]
    assert all(took), "one worker did everything"
    assert sorted(took[0] + took[1]) == list(range(1, LARGE // PART + 2)), "each part once"
    assert up.summary["bytes"]["sent"] == LARGE
    assert up.summary["files"]["found"] == 1
    assert list(bucket_tree(s3_bucket.client, s3_bucket.bucket, "up/")) == [b"large"]
    for left in ours(source):
        (source / left).unlink()
    rclone_check(s3_bucket, "up", source)

    before = [len(t) for t in took]
    down = place.submit("--broker", broker.url, to, data / "out").finish()

    assert down.code == 0, down.err
    took = [parts_done(w)[n:] for w, n in zip(workers, before)]
    assert all(took), "one worker did everything"
    assert differences(tree(source, folders="none"), tree(data / "out", folders="none")) == []
    again = place.submit("--broker", broker.url, to, data / "out").finish()
    assert (again.summary["bytes"]["received"], again.summary["files"]["done"]) == (0, 0)
    assert [w.stop() for w in workers] == [0, 0]
    assert ours(data) == []
    assert s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.bucket).get("Uploads", []) == []


def test_all_workers_stopped_in_the_middle_nothing_is_sent_again_and_one_worker_finishes_with_every_task_once(
    place: Place, broker: servers.ValkeyServer, proxy: SlowProxy, s3_bucket: Bucket, data: Path, tmp_path: Path
) -> None:
    source = large_file(data / "src")
    mount = tmp_path / "mounts" / "data"
    workers = [start_worker(place, broker, mount) for _ in range(2)]
    proxy.rate = LARGE / 8  # bytes/s: stopped well before its end
    run = place.submit("--broker", broker.url, source, f"s3://{s3_bucket.bucket}/up")
    wait_until(lambda: all(parts_done(w) for w in workers), what="both workers at work")
    for worker in workers:
        worker.process.send_signal(signal.SIGTERM)
    assert [w.process.wait(60) for w in workers] == [0, 0]
    waiting = queue_length(broker)
    assert waiting > 0

    stopped = time.monotonic()
    while time.monotonic() - stopped < scaled(300, 14):  # longer than the 10 s after which a lost message is missed
        assert queue_length(broker) == waiting
        assert run.process.poll() is None
        time.sleep(0.5)
    proxy.rate = None
    last = start_worker(place, broker, mount)
    ended = run.finish()

    assert ended.code == 0, ended.err
    done = Counter(n for w in (*workers, last) for n in parts_done(w))
    assert done == dict.fromkeys(range(1, LARGE // PART + 2), 1)
    assert ended.summary["bytes"]["sent"] == LARGE
    rclone_check(s3_bucket, "up", source)


@pytest.mark.full
def test_without_a_worker_that_serves_the_root_the_job_ends_in_time_and_says_who_is_there(
    place: Place, broker: servers.ValkeyServer, s3_bucket: Bucket, data: Path, tmp_path: Path
) -> None:
    """Three at once, for the 15 s: nobody; a worker whose source root is another folder; one whose destination is."""
    source = small_files(data / "src")
    other = tmp_path / "other"
    (other / "src" / "d00").mkdir(parents=True)
    (other / "src" / "d00" / "f00000").write_bytes(os.urandom(2_000))  # the same name and size, another time
    place.submit(source, f"s3://{s3_bucket.bucket}/there", HUGESYNC_WORKER_ROOTS="").finish()
    folder = tempfile.mkdtemp(prefix="hsf")
    lonely = servers.start_valkey(folder)
    try:
        worker = start_worker(place, broker, other)
        wait_until(lambda: registered(broker) == 1, what="the worker")
        began = time.monotonic()
        nobody = place.submit("--broker", lonely.url, source, f"s3://{s3_bucket.bucket}/a")
        up = place.submit("--broker", broker.url, source, f"s3://{s3_bucket.bucket}/b")
        down = place.submit("--broker", broker.url, f"s3://{s3_bucket.bucket}/there", data / "out")
        ended = [r.finish(60) for r in (nobody, up, down)]
        assert time.monotonic() - began < 25
    finally:
        lonely.stop()
        shutil.rmtree(folder, ignore_errors=True)

    for end in ended:
        assert (end.code, end.summary["state"]) == (5, "stalled"), end.err
        assert f"data ({data}" in end.err
    assert "workers: none" in ended[0].err
    assert f"-{worker.pid} (roots data" in ended[1].err
    assert f"-{worker.pid} (roots data" in ended[2].err
    for said in (worker.said(), ended[1].err, ended[2].err):
        assert "is not the producer's" in said
    assert s3_bucket.client.list_objects_v2(Bucket=s3_bucket.bucket, Prefix="b/")["KeyCount"] == 0
    worker.stop()
    assert ours(data) == []
    assert sorted(p.name for p in other.rglob("*")) == ["d00", "f00000", "src"]


class Host:
    """A worker's register on a host of its own, as its main process keeps it."""

    def __init__(self, ledger: MemoryLedger, name: str, root: Path) -> None:
        self.register = Register(ledger, name, 1, {"data": str(root)}, embedded=False)
        self.serves: set[str] = set()

    def tick(self) -> None:
        fresh, left = self.register.tick()
        self.serves = (self.serves | set(fresh)) - set(left)


def announced(job: str = "j", **root: object) -> tuple[str, str]:
    return f"hs.data|{job}", json.dumps({"roots": [{"name": "data", **root}]})


def test_two_workers_with_one_filesystem_both_serve_it_whoever_comes_later(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    ledger.announce(*announced(dest=True))
    first = Host(ledger, "w1", tmp_path)
    for _ in range(3):
        first.tick()
    assert first.serves == {"hs.data", "hs.data.commit"}
    second = Host(ledger, "w2", tmp_path)
    for _ in range(3):
        second.tick()
        first.tick()
    assert second.serves == first.serves
    for host in (first, second):
        host.register.leave()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_of_two_workers_with_different_folders_of_one_name_only_one_serves(order: str, tmp_path: Path) -> None:
    ledger = MemoryLedger()
    for name in "ab":
        (tmp_path / name).mkdir()
    hosts = [Host(ledger, name, tmp_path / name) for name in order]
    ledger.announce(*announced(dest=True))
    for _ in range(5):
        for host in hosts:
            host.tick()
    assert sorted(len(host.serves) for host in hosts) == [0, 2]
    for host in hosts:
        host.register.leave()
    assert [list((tmp_path / n).iterdir()) for n in "ab"] == [[], []]


def test_a_root_whose_name_is_part_of_anothers_is_another_root(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    ledger.heartbeat("w0", json.dumps({"slots": 1, "queues": ["hs.data-old"], "dest_roots": [], "sees": {}}), 60_000)
    ledger.announce(*announced(dest=True))
    host = Host(ledger, "w1", tmp_path)
    host.tick()
    host.tick()
    assert host.serves == {"hs.data", "hs.data.commit"}


def test_a_token_goes_when_no_job_needs_the_root_and_a_dead_workers_token_is_swept(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    (tmp_path / ".hugesync-token-killed").touch()
    ledger.announce(*announced(dest=True))
    host = Host(ledger, "w1", tmp_path)
    host.tick()
    host.tick()
    assert [p.name for p in tmp_path.iterdir()] == [".hugesync-token-w1"]
    ledger.retract(announced()[0])
    host.tick()
    assert list(tmp_path.iterdir()) == []


def test_the_token_of_a_worker_that_was_killed_as_a_job_ended_goes_when_its_heartbeat_has_lapsed(
    tmp_path: Path,
) -> None:
    ledger = MemoryLedger()
    ledger.announce(*announced(dest=True))
    killed, living = Host(ledger, "w1", tmp_path), Host(ledger, "w2", tmp_path)
    for host in (killed, living, killed, living):
        host.tick()
    ledger.retract(announced()[0])
    living.tick()
    assert [p.name for p in tmp_path.iterdir()] == [".hugesync-token-w1"], "it may still live"
    ledger.heartbeat("w1", "", 1)
    living.tick()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_leaves_takes_no_token_but_its_own(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    ledger.announce(*announced(dest=True))
    stays, leaves = Host(ledger, "w1", tmp_path), Host(ledger, "w2", tmp_path)
    for host in (stays, leaves, stays, leaves):
        host.tick()
    leaves.register.leave()
    assert [p.name for p in tmp_path.iterdir()] == [".hugesync-token-w1"]
    assert host.serves, "the queue is kept for the next job"


def test_a_worker_leaves_a_queue_when_the_next_job_shows_that_its_root_is_another_folder(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    probe = tmp_path / "f"
    probe.write_bytes(b"x")
    found = probe.stat()
    ledger.announce(*announced("j1", probe=["f", found.st_size, found.st_mtime_ns, b"f".hex()]))
    host = Host(ledger, "w1", tmp_path)
    host.tick()
    assert host.serves
    probe.write_bytes(b"changed while the job runs")
    host.tick()
    assert host.serves, "what was proven stays so for that job"
    ledger.announce(*announced("j2", probe=["g", 1, 1, b"g".hex()]))
    host.tick()
    assert not host.serves


def test_celery_itself_serves_a_job_and_flower_shows_it(
    place: Place, broker: servers.ValkeyServer, s3_bucket: Bucket, data: Path
) -> None:
    source = small_files(data / "src")
    env = {"HUGESYNC_BROKER_URL": broker.url}
    celery = [sys.executable, "-m", "celery", "-A", "hugesync_tasks"]
    worker = place.start([*celery, "worker", "--loglevel", "INFO", "--concurrency", "2", "-E"], **env)
    (port,) = servers.free_ports(1)
    flower = [*celery, "flower", f"--port={port}", "--address=127.0.0.1", "--basic-auth=me:secret"]
    place.start(flower, **env)

    up = place.submit("--broker", broker.url, source, f"s3://{s3_bucket.bucket}/up").finish()

    assert up.code == 0, up.err
    assert differences(tree(source, folders="none"), bucket_tree(s3_bucket.client, s3_bucket.bucket, "up/")) == []
    assert "hugesync.batch" in worker.said()
    page = wait_until(lambda: fetched(f"http://127.0.0.1:{port}/workers", "me:secret"), 60, "Flower")
    assert page[0] == 200
    assert fetched(f"http://127.0.0.1:{port}/workers", "")[0] == 401
    wait_until(lambda: b"celery@" in fetched(f"http://127.0.0.1:{port}/workers", "me:secret")[1], 30, "the worker")
    assert worker.stop() == 0


def fetched(url: str, who: str) -> tuple[int, bytes]:
    """(status, body); () while nobody listens."""
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {b64encode(who.encode()).decode()}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
    except OSError:
        return ()


@pytest.mark.full
def test_children_replaced_after_every_task_never_hang(
    place: Place, broker: servers.ValkeyServer, data: Path, tmp_path: Path
) -> None:
    (data / "src").mkdir()
    for i in range(6):
        with open(data / "src" / f"f{i}", "wb") as out:
            out.truncate((9 << 20) + i)  # too large for a batch: a task each
    worker = start_worker(place, broker, tmp_path / "mounts" / "data", "--max-tasks-per-child", "1", slots=2)
    began, runs = time.monotonic(), 0
    while runs == 0 or time.monotonic() - began < scaled(60, 8):
        runs += 1
        ended = place.submit("--broker", broker.url, "-I", data / "src", data / "out").finish()
        assert ended.code == 0, ended.err
        assert ended.summary["files"]["done"] == 6
        assert ended.summary["retries"] == 0
    assert worker.stop() == 0
    ran_in = re.findall(r"Task \S+ succeeded.* process=(\d+)", worker.said())
    assert len(ran_in) == len(set(ran_in)) >= 24 * runs, "a process for each task, and each task once"
    assert differences(tree(data / "src", folders="none"), tree(data / "out", folders="none")) == []


@pytest.mark.parametrize(("prepare", "code"), [("pass", 0), ("import obstore", 70), ("threading.Thread(target=time.sleep, args=(5,), daemon=True).start()", 70)])  # fmt: skip
def test_a_child_refuses_to_start_when_the_parent_made_a_client_or_a_thread(
    prepare: str, code: int, place: Place
) -> None:
    script = f"""
import os, sys, threading, time
from hugesync_tasks import consumer
{prepare}
pid = os.fork()
if pid == 0:
    consumer._child_starts()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert place.start([sys.executable, "-c", script]).finish().code == code


def test_a_flushed_ledger_is_made_anew_from_the_producers_memory(
    place: Place, broker: servers.ValkeyServer, proxy: SlowProxy, s3_bucket: Bucket, data: Path, tmp_path: Path
) -> None:
    small_files(data / "src" / "sub")
    with open(data / "src" / "large", "wb") as out:
        out.write(os.urandom(8 * PART))
    start_worker(place, broker, tmp_path / "mounts" / "data", slots=2)
    proxy.hold_after(up=3 * PART)
    run = place.submit("--broker", broker.url, data / "src", f"s3://{s3_bucket.bucket}/up")
    proxy.held()
    with redis.Redis.from_url(broker.url) as r:
        r.flushall()
    proxy.release()

    ended = run.finish()

    assert ended.code == 0, ended.err
    assert ended.summary["files"]["done"] == SMALL + 1
    expected = tree(data / "src", folders="none")
    assert differences(expected, bucket_tree(s3_bucket.client, s3_bucket.bucket, "up/")) == []
    assert s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.bucket).get("Uploads", []) == []


def test_a_broker_killed_and_started_again_on_its_data_delays_the_job_and_nothing_more(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, data: Path, tmp_path: Path
) -> None:
    folder = tempfile.mkdtemp(prefix="hsf")
    server = servers.start_valkey(folder, "--appendonly", "yes")
    try:
        small_files(data / "src" / "sub")
        with open(data / "src" / "large", "wb") as out:
            out.write(os.urandom(8 * PART))
        start_worker(place, server, tmp_path / "mounts" / "data", slots=2)
        proxy.hold_after(up=3 * PART)
        run = place.submit("--broker", server.url, data / "src", f"s3://{s3_bucket.bucket}/up")
        proxy.held()
        server.process.kill()
        server.process.wait()
        proxy.release()
        wait_until(lambda: "waiting for the ledger" in run.said(), what="the producer's notice")
        server.process, server.log = servers._spawn(list(server.process.args), Path(folder))

        ended = run.finish()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)

    assert ended.code == 0, ended.err
    assert ended.summary["files"]["done"] == SMALL + 1
    expected = tree(data / "src", folders="none")
    assert differences(expected, bucket_tree(s3_bucket.client, s3_bucket.bucket, "up/")) == []
    assert s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.bucket).get("Uploads", []) == []


def test_a_file_that_kills_its_worker_each_time_fails_alone(
    place: Place, broker: servers.ValkeyServer, data: Path
) -> None:
    source = data / "src"
    source.mkdir()
    for name in ("a", "b", "poison", "x", "y"):
        (source / name).write_text(name)
    command = [sys.executable, "-m", "poison_worker", "--broker", broker.url, "--root", f"data={data}", "-c", "1"]
    place.start(command, HUGESYNC_WORKER_ROOTS="")

    ended = place.submit("--broker", broker.url, "--retries", "2", source, data / "out").finish()

    assert (ended.code, ended.summary["state"]) == (1, "done_with_errors"), ended.err
    files = ended.summary["files"]
    assert (files["found"], files["done"], files["failed"], files["pending"]) == (5, 4, 1, 0)
    (failure,) = ended.summary["failures"]
    assert failure["path"] == "poison"
    assert "2 times" in failure["message"]
    assert sorted(p.name for p in (data / "out").iterdir()) == ["a", "b", "x", "y"]


def test_a_second_run_in_the_fleet_is_refused_a_cancelled_one_resumes_and_a_killed_one_goes_on(
    place: Place, broker: servers.ValkeyServer, proxy: SlowProxy, s3_bucket: Bucket, data: Path, tmp_path: Path
) -> None:
    source = large_file(data / "src")
    (data / "other").mkdir()
    start_worker(place, broker, tmp_path / "mounts" / "data", slots=2)
    to, fleet = f"s3://{s3_bucket.bucket}/up", ("--broker", broker.url)
    proxy.hold_after(up=LARGE // 3)
    run = place.submit(*fleet, source, to)
    proxy.held()
    (job,) = [line.split()[0] for line in place.command("jobs", *fleet).out.splitlines()[1:]]
    for source_of_second in (data / "other", source):
        second = place.submit(*fleet, source_of_second, to, AWS_ENDPOINT_URL_S3=s3_bucket.endpoint).finish()
        assert second.code == 4, second.err
        assert job in second.err
    assert place.command("status", job, "--json", *fleet).summary["state"] == "running"

    assert place.command("cancel", job, *fleet).code == 0
    told = time.monotonic()
    ended = run.finish(10)
    assert time.monotonic() - told < 2.0
    assert (ended.code, ended.summary["state"]) == (130, "cancelled")
    assert place.command("status", job, "--json", *fleet).summary["state"] == "cancelled"
    proxy.release()

    proxy.hold_after(up=LARGE // 3)
    run = place.resume(job, *fleet)
    proxy.held()
    run.kill()  # its lease still stands
    proxy.release()
    ended = place.resume(job, *fleet).finish()

    assert (ended.code, ended.summary["state"]) == (0, "done"), ended.err
    assert ended.summary["files"]["done"] == 1
    assert differences(tree(source, folders="none"), bucket_tree(s3_bucket.client, s3_bucket.bucket, "up/")) == []
    assert s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.bucket).get("Uploads", []) == []


def test_a_broker_that_evicts_is_refused_with_the_reason(place: Place, data: Path, tmp_path: Path) -> None:
    folder = tempfile.mkdtemp(prefix="hsf")
    server = servers.start_valkey(folder, "--maxmemory-policy", "allkeys-lru")
    try:
        (data / "src").mkdir()
        ended = place.submit("--broker", server.url, data / "src", data / "out").finish()
        worker = start_worker(place, server, data).finish()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    assert ended.code == worker.code == 4
    assert "allkeys-lru" in ended.err
    assert "allkeys-lru" in worker.err


def test_a_process_that_used_a_store_ends_with_its_own_code(place: Place, s3_bucket: Bucket, tmp_path: Path) -> None:
    """obstore was once seen to abort the interpreter at its exit."""
    script = f"""
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.model import Meta
from hugesync_tasks.token import Token
store = S3Store({s3_bucket.bucket!r}, "x/")
store.put("k", b"1" * 100_000, Meta(), None, Token())
assert [e.key for e in store.list(Token())] == ["k"]
raise SystemExit(7)
"""
    for _ in range(scaled(30, 5)):
        ended = place.start([sys.executable, "-c", script], AWS_ENDPOINT_URL_S3=s3_bucket.endpoint).finish()
        assert ended.code == 7, ended.err
        s3_bucket.client.delete_object(Bucket=s3_bucket.bucket, Key="x/k")


@pytest.mark.full
def test_thirty_short_jobs_with_s3_end_well(place: Place, s3_bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    for i in range(30):
        (tmp_path / "one" / "f").write_text(str(i) * 100)
        ended = place.submit(tmp_path / "one", f"s3://{s3_bucket.bucket}/one", HUGESYNC_WORKER_ROOTS="").finish()
        assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    "marked", mostly_full([True, False], 1), ids=["the producer's folder", "a folder that only workers see"]
)
@pytest.mark.full
def test_a_worker_with_another_folder_of_the_destinations_name_says_why_it_stands_aside_and_the_job_is_done_without_it(
    marked: bool, place: Place, broker: servers.ValkeyServer, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    source = small_files(tmp_path / "src")
    fleet, there = ("--broker", broker.url), f"s3://{s3_bucket.bucket}/there"
    assert place.submit(source, there, HUGESYNC_WORKER_ROOTS="").finish().code == 0
    folders = [tmp_path / name / "data" for name in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
    hidden = tmp_path / "hidden"  # the producer may not write here, so it leaves no mark
    hidden.mkdir(mode=0o555)
    seen = folders[0] if marked else hidden / "data"
    workers = {str(folder): start_worker(place, broker, folder) for folder in folders}
    wait_until(lambda: registered(broker) == 2, what="two workers")
    proxy.hold_after(down=SMALL * 1_000)
    run = place.submit(*fleet, there, seen / "out", bound_by_modes=True, HUGESYNC_WORKER_ROOTS=f"data={seen}")
    proxy.held()
    (job,) = [line.split()[0] for line in place.command("jobs", *fleet).out.splitlines()[1:]]

    def standing() -> list[dict[str, object]]:
        found = place.command("status", job, "--json", *fleet).summary["workers"]
        return sorted(found, key=lambda w: not w["serves"])

    wait_until(lambda: all(w["serves"] or "its roots" not in w["why"] for w in standing()), what="both have decided")
    (serves, aside) = standing()
    assert (serves["serves"], aside["serves"]) == (True, False)
    folder = aside["roots"]["data"]
    expected = f"destination root data at {folder}"
    expected += " is not the producer's" if marked else f": {serves['name']} does not share this worker's filesystem"
    assert expected in aside["why"]
    assert expected in workers[folder].said()
    assert f"worker {aside['name']} does not work for it: {expected}" in place.command("status", job, *fleet).out
    proxy.release()

    ended = run.finish()

    assert ended.code == 0, ended.err
    assert differences(tree(source, folders="none"), tree(Path(serves["roots"]["data"]) / "out", folders="none")) == []
    for worker in workers.values():
        worker.stop()
    assert list(Path(folder).iterdir()) == []
