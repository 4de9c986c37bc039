"""``hugesync preflight`` and ``--preflight``, ``--auto``: measured for real, SRC untouched, nothing left at DST, truly told."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Bucket, azure_environment
from hugesync_producer import cli_jobs
from hugesync_producer.cli import invoke, submit_command
from hugesync_producer.preflight import removal, run
from hugesync_producer.preflight.disks import disk_of
from hugesync_producer.preflight.host import Host, host_facts
from hugesync_producer.preflight.removal import MARKER, remove_all
from hugesync_producer.preflight.report import Report
from hugesync_producer.preflight.traces import LOCAL_MARKER
from hugesync_producer.preflight.wording import lines
from hugesync_tasks.config import load
from hugesync_tasks.errors import AccessDenied, UsageError
from hugesync_tasks.model import Meta
from hugesync_tasks.spec import Location, Options, Selection
from hugesync_tasks.stores import opening
from hugesync_tasks.stores.base import ABSENT
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.memory_objects import S3_LIKE
from hugesync_tasks.stores.opening import open_store
from hugesync_tasks.summary import State, Summary
from hugesync_tasks.token import Token
from hugesync_tasks.uri import parse_location
from processes import Place, wait_until
from slowproxy import SlowProxy
from strict_azure import StrictAzure
from submit import Submit

KIB, MIB = 1 << 10, 1 << 20
BRIEF = {"max_seconds": 5.0, "max_bytes": 16 * MIB}
COMMAND = "import sys; sys.argv[0:1] = ['hugesync', 'preflight']; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"
ABOUT = "import sys; sys.argv[0] = 'hugesync'; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No interpreter is started to see how long that takes, but where a test wants it."""
    monkeypatch.setattr(run, "start_seconds", lambda: 0.8)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "below").mkdir(parents=True)
    for i in range(20):
        (folder / "below" / f"small{i}").write_bytes(os.urandom(3000 + i))
    (folder / "large").write_bytes(os.urandom(3 * MIB))
    (folder / "none").write_bytes(b"")
    (folder / "left out.o").write_bytes(b"x" * 100)
    return folder


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryBucket]:
    """What ``s3://bucket/`` is in this process; the watchdog does not see it."""
    it = MemoryBucket(S3_LIKE)
    monkeypatch.setitem(opening._OPENERS, "s3", lambda at: MemoryStore(it, at.location.prefix))
    yield it


def measure(source: object, dest: object, **more: Any) -> Report:
    return run.preflight(str(source), str(dest), settings=load({}), **{**BRIEF, **more})


def everything(folder: Path) -> dict[str, tuple[int, ...]]:
    """Each name below ``folder`` with its times and size."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        st = path.lstat()
        found[str(path)] = (st.st_mtime_ns, st.st_ctime_ns, st.st_atime_ns, st.st_size)
    return found


def hugesync(*args: object) -> int:
    return invoke(cli_jobs.hugesync_commands, "hugesync", [str(a) for a in args])


# --- what is measured ------------------------------------------------------------------------------------------------


def test_folders_are_measured_and_left_as_they_were(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    before = everything(source)
    report = measure(source, dest, selection=None)
    for path in source.rglob("*"):
        os.stat(path)
    files = {p: t for p, t in everything(source).items() if Path(p).is_file()}
    assert files == {p: t for p, t in before.items() if Path(p).is_file()}  # the times of access, too
    assert list(dest.iterdir()) == []

    m = report.measured
    assert (m.sizes.files, m.sizes.complete, m.sizes.largest) == (23, True, 3 * MIB)
    assert m.sizes.bytes == 3 * MIB + sum(3000 + i for i in range(20)) + 100
    assert [(b.up_to, b.files) for b in m.sizes.buckets if b.files] == [(0, 1), (4 * KIB, 21), (8 * MIB, 1)]
    assert m.source.small and m.source.read and m.dest.small and m.dest.write and m.dest.read  # noqa: PT018
    assert all(r.rate > 0 and 0 < r.p50 <= r.p99 for r in (*m.source.read, *m.dest.write, *m.dest.small))
    assert not m.source.write
    assert 0 < m.moved <= BRIEF["max_bytes"]
    assert m.dest.space is not None
    assert report.blockers == report.left == ()


def test_a_destination_that_is_not_there_yet_is_not_made(source: Path, tmp_path: Path) -> None:
    report = measure(source, tmp_path / "not" / "there")
    assert report.measured.dest.write
    assert not (tmp_path / "not").exists()


def test_what_filters_leave_out_is_not_in_the_sizes(source: Path, tmp_path: Path) -> None:
    report = measure(source, tmp_path / "dest", selection=Selection(filters=(("-", "*.o"), ("-", "/below/"))))
    assert (report.measured.sizes.files, report.measured.sizes.bytes) == (2, 3 * MIB)


def test_a_single_file_is_measured_as_one(source: Path, tmp_path: Path, bucket: MemoryBucket) -> None:
    report = measure(source / "large", "s3://bucket/copy")
    assert (report.measured.sizes.files, report.measured.sizes.bytes) == (1, 3 * MIB)
    assert report.measured.source.place == str(source / "large")


def test_a_store_is_measured_by_parts_that_nobody_sees_and_that_are_gone(source: Path, bucket: MemoryBucket) -> None:
    there = MemoryStore(bucket, "data/")
    there.put("kept", b"x", Meta(), ABSENT, Token())
    before = len(bucket.log)
    report = measure(source, "s3://bucket/data")
    made = {op for op, _ in bucket.log[before:]}
    m = report.measured
    assert m.dest.request is not None
    assert {len(m.dest.small), len(m.dest.write)} <= {1, 2, 3, 4}
    assert m.dest.listing is not None
    assert (m.dest.listing.entries, m.dest.listing.complete) == (1, True)
    assert list(there.list_uploads(Token())) == list(there.list_ours(Token())) == []
    assert [e.key for e in there.list(Token())] == ["kept"]
    assert not {"put", "complete", "delete"} & made  # no object was ever there, and no right to delete is needed
    assert report.left == ()


def test_where_an_abort_frees_nothing_small_objects_are_written_and_deleted(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    bucket = MemoryBucket(replace(S3_LIKE, abort_frees=False))
    monkeypatch.setitem(opening._OPENERS, "s3", lambda at: MemoryStore(bucket, at.location.prefix))
    report = measure(source, "s3://bucket/data")
    there = MemoryStore(bucket, "data/")
    assert report.measured.dest.small
    made = {op for op, _ in bucket.log}
    assert {"put", "delete"} <= made
    assert "create" not in made
    assert list(there.list_uploads(Token())) == list(there.list_ours(Token())) == []


def test_a_store_as_source_is_only_read(bucket: MemoryBucket, tmp_path: Path) -> None:
    there = MemoryStore(bucket, "data/")
    for i in range(5):
        there.put(f"f{i}", os.urandom(100 * KIB), Meta(), ABSENT, Token())
    there.put("large", os.urandom(2 * MIB), Meta(), ABSENT, Token())
    before = list(bucket.log)
    report = measure("s3://bucket/data/", tmp_path / "dest")
    assert report.measured.source.small
    assert report.measured.source.read
    assert report.measured.source.request is not None
    assert bucket.log == before


def test_an_endless_listing_is_cut_and_called_a_sample(
    bucket: MemoryBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore(bucket, "data/")
    store.put("f", b"x" * 50, Meta(), ABSENT, Token())
    (one,) = store.list(Token())

    def endless(self: MemoryStore, token: Token, *_: object) -> Iterator[Any]:
        while True:
            token.check()
            yield one

    monkeypatch.setattr(MemoryStore, "list", endless)
    report = measure("s3://bucket/data/", tmp_path / "dest")
    assert not report.measured.sizes.complete
    assert report.estimated.sample
    text = "\n".join(lines(report))
    assert "a SAMPLE: there are more" in text
    assert "for all of them it is longer" in text


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="nobody else tells what is in the page cache")
def test_nothing_that_is_read_to_measure_comes_from_the_page_cache(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if disk_of(str(tmp_path)).kind == "memory":
        pytest.skip("what lies in memory cannot be dropped")
    os.sync()
    for path in source.rglob("*"):
        if path.is_file():
            path.read_bytes()
    real, cached = os.pread, []

    def pread(fd: int, n: int, at: int) -> bytes:
        if n:
            try:
                cached.append(os.preadv(fd, [bytearray(min(n, 4 * KIB))], at, os.RWF_NOWAIT))
            except BlockingIOError:
                cached.append(0)
        return real(fd, n, at)

    monkeypatch.setattr(os, "pread", pread)
    report = measure(source, tmp_path / "dest")
    assert report.measured.source.small
    assert len(cached) > 20
    assert sum(n > 0 for n in cached) <= len(cached) // 20  # the same file may be in two streams


# --- what is told ---------------------------------------------------------------------------------------------------------


def test_the_object_of_json_is_whole_and_its_page_names_all_of_it(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hugesync("preflight", source, tmp_path / "dest", "--json", "--max-seconds", "5", "--max-bytes", "8MiB") == 0
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    found = json.loads(line)
    assert err == ""
    assert found["format"] == 1
    assert found["sizes"]["files"] == 23
    assert found["measured_bytes"] <= 8 * MIB
    assert found["estimate"]["best"] <= found["estimate"]["likely"] <= found["estimate"]["worst"]
    assert set(found["recommended"]) == {"jobs", "part_size", "batch_files", "batch_bytes", "memory", "buffers_budget"}
    page = (Path(__file__).parents[1] / "docs" / "preflight.md").read_text()
    for key in [
        *found,
        *found["host"],
        *found["dest"],
        *found["sizes"],
        *found["estimate"],
        *found["recommended"]["jobs"],
    ]:
        assert f"`{key}`" in page, key
    for key in found["dest"]["write"][0]:
        assert f"`{key}`" in page, key


def test_a_person_reads_every_part_of_it(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hugesync("preflight", source, tmp_path / "dest", "--max-seconds", "5", "--max-bytes", "8MiB") == 0
    out, err = capsys.readouterr()
    for part in (
        "Machine",
        "Source",
        "Destination",
        "Recommended",
        "Estimate",
        "likely",
        "limited by",
        "4 KiB written",
        "free",
    ):
        assert part in out
    assert "preflight: writing to" in err
    assert hugesync("preflight", source, tmp_path / "dest", "--max-seconds", "5", "-q") == 0
    assert capsys.readouterr().err == ""


def test_options_of_the_command_have_their_effect(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(*args: str) -> dict[str, Any]:
        assert (
            hugesync(
                "preflight", source, tmp_path / "dest", "--json", "--max-seconds", "5", "--max-bytes", "8MiB", *args
            )
            == 0
        )
        return dict(json.loads(capsys.readouterr().out))

    assert found("--exclude", "*.o", "--max-size", "1MiB")["sizes"]["files"] == 21
    fleet = found("--broker", "redis://127.0.0.1:1/0")  # nobody is there; what is measured is measured all the same
    assert set(fleet["recommended"]) == {"part_size", "batch_files", "batch_bytes"}
    assert "the fleet cannot be asked" in fleet["notes"][0]


@pytest.mark.parametrize(
    ("args", "name", "expected"),
    [
        (["--max-seconds", "7"], "max_seconds", 7.0),
        (["--max-seconds", "2m"], "max_seconds", 120.0),
        (["--max-bytes", "5MiB"], "max_bytes", 5 * MIB),
        (["--source-profile", "here"], "source_profile", "here"),
        (["--dest-profile", "there"], "dest_profile", "there"),
        (["-L"], "selection", Selection(links="follow")),
        (["--filter", "- *.o"], "selection", Selection(filters=(("-", "*.o"),))),
    ],
)
def test_an_option_changes_its_value_and_nothing_else(
    args: list[str], name: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def heard(source: str, dest: str, **given: Any) -> Report:
        calls.append({name: value for name, value in given.items() if name not in ("say", "settings")})
        raise UsageError("no more is asked of it")

    monkeypatch.setattr(run, "preflight", heard)
    assert hugesync("preflight", "/a", "/b") == hugesync("preflight", *args, "/a", "/b") == 2
    plain, given = calls
    assert given == {**plain, name: expected} != plain
    assert (plain["max_seconds"], plain["max_bytes"]) == (run.MAX_SECONDS, run.MAX_BYTES), "as --help says"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--max-seconds", "4"], "--max-seconds"),
        (["--max-seconds", "3h"], "--max-seconds"),
        (["--max-seconds", "soon"], "--max-seconds"),
        (["--max-bytes", "1MiB"], "--max-bytes"),
        (["--max-bytes", "much"], "--max-bytes"),
        (["--source-profile", "here"], "profile (here)"),
        (["--dest-profile", "there"], "profile (there)"),
        (["--min-size", "2K", "--max-size", "1K"], "--min-size"),
    ],
)
def test_bad_usage_is_named(
    args: list[str], why: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hugesync("preflight", source, tmp_path / "dest", *args) == 2
    assert why in capsys.readouterr().err


def test_a_missing_source_and_ends_that_overlap_are_refused_as_a_job_would_be(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hugesync("preflight", tmp_path / "nothing", tmp_path / "dest") == 2
    assert hugesync("preflight", source, source / "inside") == 4
    assert "lie apart" in capsys.readouterr().err


# --- blockers ---------------------------------------------------------------------------------------------------------------


def test_no_right_to_write_is_a_blocker(
    source: Path, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(*_: object) -> None:
        raise AccessDenied("cannot begin an upload: access denied")

    monkeypatch.setattr(MemoryStore, "create_upload", denied)
    assert hugesync("preflight", source, "s3://bucket/data", "--json", "--max-seconds", "5") == 4
    out, err = capsys.readouterr()
    assert json.loads(out)["blockers"] == ["writing: cannot begin an upload: access denied"]
    assert "blocked: writing: cannot begin an upload: access denied" in err


def test_files_that_cannot_be_read_are_told_and_block_only_where_all_are(
    bucket: MemoryBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, opened = MemoryStore(bucket, "data/"), MemoryStore.open
    for i in range(3):
        there.put(f"f{i}", b"x" * 100, Meta(), ABSENT, Token())
    closed = {"f0", "f1"}

    def some(self: MemoryStore, key: str, *more: Any) -> Any:
        if key in closed:
            raise AccessDenied("access denied", key)
        return opened(self, key, *more)

    monkeypatch.setattr(MemoryStore, "open", some)
    report = measure("s3://bucket/data/", tmp_path / "dest")
    assert report.blockers == ()
    assert any("2 files of those that were tried cannot be read" in note for note in report.measured.source.notes)
    closed.add("f2")
    assert measure("s3://bucket/data/", tmp_path / "dest").blockers == ("reading: access denied",)


@pytest.mark.full
def test_a_folder_that_may_not_be_written_blocks(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir(0o555)
    program = Submit(tmp_path / "us", program=COMMAND)
    process = program.start(source, dest, "--json", "--max-seconds", "5", weak=True)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    assert json.loads(out)["blockers"] == [f"writing: {dest}: permission denied"]


def test_no_space_is_a_blocker_unless_the_files_are_there_already(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hugesync_producer.preflight import measure as measuring
    from hugesync_producer.preflight.values import Space

    monkeypatch.setattr(measuring, "space_of", lambda _: Space(MIB, 10 * MIB, None))
    dest = tmp_path / "dest"
    dest.mkdir()
    (why,) = measure(source, dest).blockers
    assert why.startswith("no space")
    (dest / "large").write_bytes(os.urandom(3 * MIB))
    assert measure(source, dest).blockers == ()


def test_what_could_not_be_removed_is_named(
    source: Path, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(*_: object) -> None:
        raise AccessDenied("cannot abort the upload: access denied")

    monkeypatch.setattr(MemoryStore, "abort", denied)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # the watchdog has no credentials either
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert hugesync("preflight", source, "s3://bucket/data", "--json", "--max-seconds", "5") == 1
    out, err = capsys.readouterr()
    (left,) = json.loads(out)["left"]
    assert left.startswith(f"s3://bucket/data/{MARKER}")
    assert f"could not be removed: {left}" in err


# --- nothing is left, however it ends ---------------------------------------------------------------------------------------

_LEAVES = """
import sys
from hugesync_producer.preflight.traces import Traces
from hugesync_tasks.spec import Location, Options, Selection
with Traces() as traces, traces.at(Location("file", local=sys.argv[1])) as tag:
    open(f"{sys.argv[1]}/{tag}-7", "w").close()
    print(tag, flush=True)
    sys.stdin.read()
"""


def test_after_kill_9_the_watchdog_removes_what_had_a_name_for_a_moment(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / ".hugesync-preflight").write_bytes(b"not ours")
    process = Submit(tmp_path / "us", program=_LEAVES).start(dest, stdin=-1)
    assert process.stdout is not None
    tag = process.stdout.readline().decode().strip()
    assert tag.startswith(LOCAL_MARKER)
    assert len(list(dest.iterdir())) == 2
    process.kill()
    process.communicate()
    wait_until(lambda: [p.name for p in dest.iterdir()] == [".hugesync-preflight"], 60, "the watchdog")


def test_an_upload_that_arrives_after_the_death_of_its_process_is_removed_too(
    bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, tag = MemoryStore(bucket), f"{MARKER}0123456789abcdef/"
    looks: list[float] = []

    def late(_: float) -> None:
        looks.append(time.monotonic())
        if len(looks) == 1:
            there.create_upload(f"{tag}late", MIB, MIB, Meta(), Token())

    there.create_upload(f"{tag}early", MIB, MIB, Meta(), Token())
    others = there.create_upload("another's", MIB, MIB, Meta(), Token())
    monkeypatch.setattr(removal.time, "sleep", late)
    assert remove_all(Location("s3", "bucket"), tag, again=True)
    assert len(looks) >= 2  # it was waited for
    assert [id for _, id, _ in there.list_uploads(Token())] == [others.id]


def test_what_an_abandoned_preflight_left_goes_with_the_next_and_a_running_ones_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [time.time_ns() - 7200 * 10**9]
    bucket = MemoryBucket(S3_LIKE, lambda: now[0])
    monkeypatch.setitem(opening._OPENERS, "s3", lambda at: MemoryStore(bucket, at.location.prefix))
    there = MemoryStore(bucket)
    there.create_upload(f"{MARKER}old/1", MIB, MIB, Meta(), Token())
    there.put(f"{MARKER}old/2", b"x", Meta(), ABSENT, Token())
    mine = there.create_upload("mine", MIB, MIB, Meta(), Token())
    now[0] = time.time_ns()
    running = there.create_upload(f"{MARKER}running/1", MIB, MIB, Meta(), Token())
    assert remove_all(Location("s3", "bucket"), f"{MARKER}new/", again=False)
    assert {id for _, id, _ in there.list_uploads(Token())} == {mine.id, running.id}
    assert list(there.list_ours(Token(), MARKER)) == []


def left_in(bucket: Bucket) -> list[str]:
    """Uploads and objects that are there."""
    uploads = bucket.client.list_multipart_uploads(Bucket=bucket.bucket).get("Uploads", [])
    objects = bucket.client.list_objects_v2(Bucket=bucket.bucket).get("Contents", [])
    return [u["Key"] for u in uploads] + [o["Key"] for o in objects]


@pytest.mark.parametrize(
    "strikes", [pytest.param("kill", id="SIGKILL"), pytest.param("stop", marks=pytest.mark.full, id="SIGTERM")]
)
def test_struck_in_the_middle_of_an_upload_nothing_stays_at_the_store(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, source: Path, strikes: str
) -> None:
    proxy.hold_at("PUT", "partNumber=", nth=6)
    running = place.start([sys.executable, "-c", ABOUT, "preflight", str(source), f"s3://{s3_bucket.bucket}/x", "-q"])
    proxy.held(120)
    assert len(left_in(s3_bucket)) >= 1
    if strikes == "kill":
        running.kill()
        proxy.release()
    else:
        running.process.send_signal(signal.SIGTERM)
        proxy.release()
        assert running.finish(60).code == 130
    wait_until(lambda: not place.living(), 120, "the watchdog")
    assert left_in(s3_bucket) == []


@pytest.fixture
def strict_azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictAzure]:
    with StrictAzure() as it:
        it.create_container("box")
        azure_environment(monkeypatch, it.env)
        yield it


@pytest.mark.full
@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_every_kind_of_store_is_measured_as_either_end_and_left_as_it_was(
    scheme: str, request: pytest.FixtureRequest, source: Path, tmp_path: Path
) -> None:
    place = request.getfixturevalue({"s3": "s3_bucket", "gs": "gcs_bucket", "az": "strict_azure"}[scheme])
    url = f"{scheme}://{'box' if scheme == 'az' else place.bucket}/data"
    up = measure(source, url, max_seconds=15.0, max_bytes=32 * MIB)
    m = up.measured
    assert (m.dest.notes, up.blockers, up.left) == ((), (), ())
    assert m.dest.request and m.dest.small and m.dest.write  # noqa: PT018
    there = open_store(parse_location(url), None, Options(), role="place")
    assert [*there.list_ours(Token()), *there.list_uploads(Token())] == []
    assert list(there.list(Token())) == []
    if scheme == "az":
        assert not place.staged("box")
    there.put("small", b"x" * 5000, Meta(), ABSENT, Token())
    there.put("large", os.urandom(3 * MIB), Meta(), ABSENT, Token())
    down = measure(f"{url}/", tmp_path / "dest", max_seconds=15.0, max_bytes=32 * MIB)
    assert (down.measured.source.notes, down.blockers, down.measured.sizes.files) == ((), (), 2)
    assert down.measured.source.request and down.measured.source.small and down.measured.source.read  # noqa: PT018
    there.close()


@pytest.mark.full
def test_what_a_store_copies_by_itself_is_measured_without_a_trace(s3_bucket: Bucket) -> None:
    for i in range(3):
        s3_bucket.client.put_object(Bucket=s3_bucket.bucket, Key=f"from/{i}", Body=os.urandom(7 * MIB))
    root = f"s3://{s3_bucket.bucket}"
    report = measure(f"{root}/from/", f"{root}/to/", max_seconds=15.0, max_bytes=64 * MIB)
    assert report.measured.server_copy
    assert report.measured.dest.copy
    assert left_in(s3_bucket) == [f"from/{i}" for i in range(3)]


@pytest.mark.full
def test_measuring_a_slow_store_ends_little_later_than_it_was_told_to(
    s3_bucket: Bucket, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun is finished, and a probe has some requests that nobody can leave out: no more than forty."""
    with SlowProxy(s3_bucket.endpoint, rate=500_000, latency=0.5) as proxy:
        for name, value in {**s3_bucket.env, "AWS_ENDPOINT_URL": proxy.endpoint}.items():
            monkeypatch.setenv(name, value)
        began = time.monotonic()
        report = measure(source, f"s3://{s3_bucket.bucket}/data", max_seconds=10.0, max_bytes=64 * MIB)
        took = time.monotonic() - began
    assert not report.blockers
    assert report.measured.dest.request
    assert took < 10 + 40 * 0.5


# --- before a job ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ``sync`` was called with; no job is done."""
    calls: list[dict[str, Any]] = []

    def sync(source: str, dest: str, **given: Any) -> Summary:
        calls.append(given)
        return Summary(State.DONE, "job1", scan_complete=True)

    stand_in = types.ModuleType("hugesync_producer.sync")
    stand_in.sync = sync  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    monkeypatch.setattr(run, "MAX_SECONDS", 5.0)
    monkeypatch.setattr(run, "MAX_BYTES", 8 * MIB)
    return calls


def test_preflight_before_a_job_prints_and_changes_nothing_and_auto_changes_what_nobody_set(
    source: Path, tmp_path: Path, asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    args = [str(source), str(tmp_path / "dest"), "-q"]
    assert invoke(submit_command, "hugesync-submit", ["--preflight", *args]) == 0
    assert "Recommended (--auto applies it)" in capsys.readouterr().err
    assert asked[-1]["options"] == Options()

    assert invoke(submit_command, "hugesync-submit", ["--auto", "-j", "7", *args]) == 0
    assert "Recommended" not in capsys.readouterr().err
    options, settings = asked[-1]["options"], asked[-1]["settings"]
    assert options.jobs == settings.jobs == 7
    assert options.batch_files == 16  # 23 files, shared by all
    assert Options().batch_files != 16


@pytest.mark.parametrize("option", ["--preflight", "--auto"])
def test_a_dry_run_does_not_measure_by_writing(
    option: str, source: Path, tmp_path: Path, asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(submit_command, "hugesync-submit", ["-n", option, str(source), str(tmp_path / "dest")]) == 2
    assert option in capsys.readouterr().err
    assert not asked


@pytest.mark.full
def test_a_job_with_preflight_prints_it_goes_on_and_auto_reaches_the_specification(
    tmp_path: Path, source: Path
) -> None:
    submit = Submit(tmp_path / "us", {"HUGESYNC_PART_SIZE": "9MiB"})
    ran = submit(source, tmp_path / "dest", "--preflight", "--auto")
    assert ran.code == 0, ran.err
    assert ran.files["done"] == 23
    assert "Recommended" in ran.err
    (job,) = (tmp_path / "us" / "state").rglob("job.json")
    options = json.loads(job.read_text())["spec"]["options"]
    said = dict(
        pair.rsplit(" ", 1) for pair in ran.err.partition("hugesync-submit: --auto: ")[2].splitlines()[0].split(", ")
    )
    del said["buffers_budget"]  # no option of the job: its worker is started with it (test_embedded.py)
    assert set(said) == {"jobs", "batch_files", "batch_bytes", "memory"}
    assert {key: str(options[key]) for key in said} == said
    assert options["part_size"] == 9 * MIB  # set by the user, and kept


@pytest.mark.full
def test_the_start_of_a_workers_interpreter_is_measured() -> None:
    from hugesync_producer.preflight.host import start_seconds

    seconds = start_seconds()
    assert seconds is not None
    assert 0.05 < seconds < 20
    assert isinstance(host_facts(), Host)
