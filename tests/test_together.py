"""Features that meet in one job: a second version beside a rival's with ``--backup-dir``, ``--verify`` and ``--delete``; jobs with
deletes, and comparisons, whose coordinator was started by a worker."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comparison import PLAIN
from hugesync_producer import detach, sync
from hugesync_producer.offering import remove_marks
from hugesync_producer.replan import Replan
from hugesync_tasks.config import load
from hugesync_tasks.errors import Refused
from hugesync_tasks.model import Outcome, Transfer
from hugesync_tasks.names import conflict_key, is_conflict_key
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.faults import FaultyStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.summary import State, Summary, Unobserved
from hugesync_tasks.token import Token
from mirror import Mirror
from simulation import JOB
from test_backup_dir import LARGE, OLD_LARGE, holds
from test_coordinator import fleet_of_one, raised
from test_keep_both import replanned
from test_leading import Fleet
from test_stages import PART, Bench, listed, send

RIVAL = b"a rival's"
SOURCE = {"k.txt": b"ours", "large": LARGE, "l.rclonelink": b"our target"}
DEST = {"k.txt": b"old", "large": OLD_LARGE, "l.rclonelink": b"old", "gone": b"extra"}


@pytest.fixture(params=["a store", "a folder"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "dest" if request.param == "a folder" else None


def contested(at: Path | None, **options: Any) -> Mirror:
    """A rival writes each file just before its old version would be kept."""
    sim = Mirror(SOURCE, DEST, at=at, limits=PLAIN, on_conflict="keep-both", backup_dir="old/", **options)
    keep, met = type(sim.dest).keep, set()

    class Meddled(type(sim.dest)):  # type: ignore[misc]
        def keep(self, key: str, *args: Any) -> str:
            if key in SOURCE and key not in met:
                met.add(key)
                sim.write(sim.dest, key, RIVAL)
            return str(keep(self, key, *args))

    sim.dest.__class__ = Meddled
    return sim


def test_what_went_beside_is_read_back_kept_by_no_backup_and_no_extra_of_the_same_job(at: Path | None) -> None:
    sim = contested(at, verify="transferred")
    summary = sim.go()
    assert (str(summary.state), summary.files["done"], summary.conflicts) == ("done", 3, 3), summary
    assert summary.verified == 3
    held = holds(sim)
    assert {key: held[key] for key in SOURCE} == dict.fromkeys(SOURCE, RIVAL)
    beside = {key: body for key, body in held.items() if is_conflict_key(key)}
    assert sorted(beside.values()) == sorted(SOURCE.values())
    assert holds(sim, "old/") == {"gone": b"extra"}, "nothing was overwritten, and one was deleted"
    assert set(held) == {*SOURCE, *beside, "old/gone"}
    assert sum("somebody else's version stays" in note for note in summary.notes) == 3


def test_what_went_beside_and_is_damaged_there_is_not_done() -> None:
    sim = contested(None, verify="transferred")
    sim.dest_bucket.wire = lambda body: body.replace(b"ours", b"0urs")
    summary = sim.go()
    assert (str(summary.state), summary.files["failed"], summary.files["done"]) == ("done_with_errors", 1, 2)
    (failure,) = summary.failures
    assert (failure.path, "does not hold what was sent" in failure.message) == ("k.txt", True)
    assert holds(sim)["k.txt"] == RIVAL


def unproven(verify: str = "transferred") -> Bench:
    bench = Bench(on_conflict="keep-both", verify=verify)
    bench.bucket = MemoryBucket(PLAIN)
    bench.dest = MemoryStore(bench.bucket, "d/")
    bench.faulty = FaultyStore(bench.dest)
    return bench


def tampered(bench: Bench, key: str) -> None:
    """The bytes are others, and all that is said of them is the same."""
    there = bench.bucket.get("d/" + key)
    bench.dest.put(key, there.body.replace(b"ours", b"0urs"), there.meta, ANY, Token())


@pytest.mark.parametrize("damaged", [False, True])
def test_a_second_version_that_an_earlier_attempt_wrote_is_read_back_before_it_counts(damaged: bool) -> None:
    bench = unproven()
    transfer = listed(bench.put("f.txt", b"ours"))
    rival = bench.put("f.txt", b"theirs", bench.dest, mtime=5)
    first = bench.one(transfer)
    assert (first.state, first.verified) == ("done", True)
    if damaged:
        tampered(bench, conflict_key("f.txt", rival.modified_ns or 0))
    for again in (bench.one(transfer), replanned(bench, transfer, "")):
        assert isinstance(again, Outcome)
        assert (again.state, again.notes) == ("failed" if damaged else "done", first.notes)
        assert again.verified is not damaged


@pytest.mark.parametrize("damaged", [False, True])
def test_a_large_second_version_whose_reply_was_lost_is_read_back_under_its_own_key(damaged: bool) -> None:
    bench = unproven()
    entry = bench.put("big", b"ours" * PART)
    bench.put("big", b"theirs", bench.dest, mtime=5)
    planned = replanned(bench, listed(entry), "")
    assert isinstance(planned, Transfer)
    assert planned.beside
    large, parts = send(bench, planned)
    bench.dest.complete(large.upload, parts, large.meta, None, None, Token())
    if damaged:
        tampered(bench, planned.target)
    heard = replanned(bench, planned, large.upload.generation)
    assert isinstance(heard, Outcome)
    assert (heard.state, heard.verified) == (("failed", False) if damaged else ("done", True)), heard


@pytest.mark.parametrize("key", ["a/name.ext", ".bashrc", "name.", "a.tar.gz", "l.rclonelink", "x" * 300, "b c.d e"])
def test_the_name_of_a_second_version_is_known_by_its_form(key: str) -> None:
    for number in (1, 2, 99):
        assert is_conflict_key(conflict_key(key, 10**18, number))
    assert not is_conflict_key(key)
    assert not is_conflict_key("a.conflict-20261125T231500Z/b")


def test_without_keep_both_a_second_version_is_an_extra_like_any_other() -> None:
    beside = conflict_key("k", 10**18)
    for option, left in (("retry", ["k"]), ("keep-both", ["k", beside])):
        sim = Mirror({"k": b"1"}, {"k": b"1", beside: b"2"}, on_conflict=option)
        assert str(sim.go().state) == "done"
        assert sim.left() == left


# under a lease that a worker took


def test_a_coordinator_that_a_worker_started_deletes_and_remembers_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "device", "fs1 7")
    sim = Mirror({"a": b"1", "b": b"2"}, {"a": b"1", "gone": b"x"})
    sim.folder = None
    sim.ledger.open_job(JOB, json.dumps(sim.spec.wire()))
    sim.ledger.set_meta(JOB, state="running", devices=json.dumps({"elsewhere": "fs9 9"}))
    sim.ledger.lead(JOB, "mine", 30_000)
    sim.given["owner"] = "mine"
    summary = sim.go()
    assert (str(summary.state), summary.files["deleted"], sim.left()) == ("done", 1, ["a", "b"])
    assert json.loads(sim.ledger.meta(JOB)["devices"]) == {"elsewhere": "fs9 9", socket.gethostname(): "fs1 7"}
    assert sim.ledger.leaderless() == sim.ledger.announced() == {}


@pytest.mark.parametrize("owner", ["", "mine"])
def test_a_source_on_another_device_is_refused_whoever_begins(owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "device", "fs1 7")
    sim = fleet_of_one(2)
    sim.spec = replace(sim.spec, options=replace(sim.spec.options, delete=True))
    devices = json.dumps({socket.gethostname(): "fs0 7"})
    sim.ledger.set_meta(JOB, devices=devices)
    if owner:
        sim.ledger.lead(JOB, owner, 30_000)
    error = raised(sim, monkeypatch, owner)
    assert isinstance(error, Refused)
    assert "another device" in str(error)
    assert (sim.ledger.leader(JOB), sim.ledger.meta(JOB)["devices"]) == (owner, devices)
    assert sim.ledger.meta(JOB)["state"] == "running"
    assert not list(sim.ledger.announced())


def test_a_job_with_deletes_is_handed_over_only_from_the_device_it_was_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ledger = MemoryLedger()
    monkeypatch.setattr(detach, "open_ledger", lambda _: ledger)
    monkeypatch.setattr(MemoryLedger, "close", lambda self: None, raising=False)
    spec = Spec("job", Location("file", root="data", local=str(tmp_path)), Location("s3", bucket="b"))
    hand = lambda s: detach.hand_to_fleet(s, load({}), Unobserved(), fresh=False, began=0.0)  # noqa: E731
    ledger.set_meta("job", devices=json.dumps({socket.gethostname(): "another 1"}))
    deleting = replace(spec, options=replace(spec.options, delete=True))
    with pytest.raises(Refused, match="another device"):
        hand(deleting)
    assert ledger.leaderless() == {}
    assert ledger.leader("job") == ""
    assert hand(spec).state is State.RUNNING
    assert json.loads(ledger.meta("job")["devices"]) == {socket.gethostname(): "another 1"}, "until a run ends well"


def test_what_is_noticed_of_the_destination_is_told_before_the_job_is_handed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[str] = []

    class Hearing(Unobserved):
        def on_notice(self, message: str) -> None:
            told.append(message)

    class Nothing:
        share_rate = None

        def close(self) -> None: ...

    def handed(spec: Spec, *_: object, **__: object) -> Summary:
        told.append("handed over")
        return Summary(State.RUNNING, spec.job)

    monkeypatch.setattr(sync, "open_ledger", lambda _: Nothing())
    monkeypatch.setattr(sync, "placed", lambda spec, *_: spec)
    monkeypatch.setattr(sync, "hand_to_fleet", handed)
    monkeypatch.setattr(sync, "_look_ahead", lambda store, where, meter, observer: observer.on_notice("a hazard"))
    (tmp_path / "src").mkdir()
    settings = load({"broker_url": "redis://nowhere:1"})
    summary = sync.sync(
        str(tmp_path / "src"), str(tmp_path / "dst"), settings=settings, detach=True, observer=Hearing()
    )
    assert (summary.state, told) == (State.RUNNING, ["a hazard", "handed over"])


# comparisons that a worker may take up


def test_a_comparison_is_offered_without_a_mark_and_both_its_roots_are_looked_at(tmp_path: Path) -> None:
    fleet = Fleet()
    roots = {}
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(b"x")
        os.utime(tmp_path / name / "f", ns=(10**18, 10**18))
        roots[name] = tmp_path / name
    before = os.stat(roots["there"]).st_mtime_ns
    ends = [Location("file", root=name, local=str(path)) for name, path in roots.items()]
    spec = Spec("job", ends[0], ends[1], sample=100.0)
    fleet.opened(spec)
    (tmp_path / "empty").mkdir()
    fleet.worker(here=roots["here"], there=tmp_path / "empty")
    fleet.pass_time(5)
    assert fleet.started == []
    fleet.worker(**roots)
    fleet.pass_time(5)
    assert [c.owner.split("/")[0] for c in fleet.started] == ["w1"]
    remove_marks(spec)
    assert (os.listdir(roots["there"]), os.stat(roots["there"]).st_mtime_ns) == (["f"], before)


def test_a_comparison_planned_anew_asks_for_no_success_of_an_upload() -> None:
    """What lies there may bear the generation of the sync that wrote it, which says nothing of its contents now."""
    bench = Bench()
    entry = bench.put("f", b"1" * 10)
    there = bench.put("f", b"2" * 10, bench.dest)
    job = bench.job()
    replan: Replan[str] = Replan(replace(job, spec=replace(job.spec, sample=100.0)))
    generation = bench.bucket.get("d/f").meta.generation or "g"
    answer = replan._look(listed(entry, there), generation, False)
    assert isinstance(answer, Transfer)
    assert (answer.check, answer.expected) == (True, there.version)
