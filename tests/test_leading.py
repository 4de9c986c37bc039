"""Which worker starts a coordinator for a job that nobody leads, and what becomes of one that no worker can coordinate."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from hugesync_producer.offering import LOOKED_AT, SAMPLES, offer, remove_marks
from hugesync_producer.roots import seen_here
from hugesync_tasks.leading import DECLINES_FOR, LOOK_EVERY, MOST, PATIENCE, START_MS, TRIES, WAIT_MS, Leading
from hugesync_tasks.register import MARK, Register
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.state.memory import MemoryLedger


class Coordinator:
    """A process as its worker sees it."""

    pid = 1

    def __init__(self, job: str, owner: str) -> None:
        self.job, self.owner = job, owner
        self.code: int | None = None
        self.told = False

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.told = True


class Fleet:
    """Workers and a clock; the ledger's is the same."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.ledger = MemoryLedger(lambda: self.now)
        self.started: list[Coordinator] = []
        self.workers: list[tuple[Register, Leading]] = []

    def worker(self, **roots: Path) -> str:
        name = f"w{len(self.workers)}"
        register = Register(self.ledger, name, 1, {n: str(p) for n, p in roots.items()}, embedded=False)
        self.workers.append((register, Leading(register, self._start, lambda: self.now)))
        return name

    def _start(self, job: str, owner: str) -> Coordinator:
        self.started.append(Coordinator(job, owner))
        return self.started[-1]

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now += 1
            for register, leading in self.workers:
                register.tick()
                leading.tick()

    def opened(self, spec: Spec) -> None:
        self.ledger.open_job(spec.job, json.dumps(spec.wire()))
        self.ledger.set_meta(spec.job, state="running")
        offer(self.ledger, spec)

    def state(self, job: str = "job") -> tuple[str, str]:
        meta = self.ledger.meta(job)
        return meta["state"], meta.get("reason", "")


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def job_from(folder: Path, job: str = "job") -> Spec:
    return Spec(job, Location("file", root="data", path=folder.name, local=str(folder)), Location("s3", bucket="b"))


def tree(folder: Path, *names: str) -> Path:
    for name in names or ("a", "b", "c", "d"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_of_two_workers_one_starts_a_coordinator_and_no_second_while_its_lease_stands(
    fleet: Fleet, tmp_path: Path
) -> None:
    for _ in range(2):
        fleet.worker(data=tmp_path)
    fleet.opened(job_from(tree(tmp_path / "tree")))
    fleet.pass_time(START_MS / 1000 - 2)
    (coordinator,) = fleet.started
    assert fleet.ledger.leader("job") == coordinator.owner


def test_a_job_that_is_led_is_left_alone_until_its_lease_lapses(fleet: Fleet, tmp_path: Path) -> None:
    fleet.worker(data=tmp_path)
    fleet.opened(job_from(tree(tmp_path / "tree")))
    fleet.ledger.lead("job", "the producer", 30_000)
    fleet.pass_time(29)
    assert fleet.started == []
    fleet.pass_time(LOOK_EVERY + 2)
    assert len(fleet.started) == 1
    assert not fleet.ledger.keep_lead("job", "the producer", 30_000)


def test_a_coordinator_that_dies_is_followed_with_pauses_that_grow_and_at_last_the_job_is_stalled(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.worker(data=tmp_path)
    fleet.opened(job_from(tree(tmp_path / "tree")))
    at: list[float] = []
    for _ in range(2000):
        fleet.pass_time(1)
        if len(fleet.started) > len(at):
            at.append(fleet.now)
            fleet.started[-1].code = -9
            fleet.ledger.step_down("job", fleet.started[-1].owner)
        if fleet.state()[0] != "running":
            break
    assert len(at) == TRIES
    pauses = [b - a for a, b in pairwise(at)]
    assert pauses[0] <= 2 * WAIT_MS[0] / 1000
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert max(pauses) <= WAIT_MS[1] / 1000 + 2 * LOOK_EVERY
    assert fleet.state() == ("stalled", f"no worker can coordinate it: its coordinator ended {TRIES} times without getting any further")  # fmt: skip
    assert fleet.ledger.leaderless() == {}
    assert fleet.ledger.leader("job") == ""


def test_where_no_worker_has_the_root_the_job_is_stalled_and_says_which_is_missing(
    fleet: Fleet, tmp_path: Path
) -> None:
    names = [fleet.worker(), fleet.worker(other=tmp_path)]
    source = tree(tmp_path / "tree")
    fleet.opened(job_from(source))
    fleet.ledger.announce("hs.data|job", "{}")
    fleet.pass_time(PATIENCE - 2)
    assert fleet.state()[0] == "running"
    fleet.pass_time(2 * LOOK_EVERY + 2)
    state, reason = fleet.state()
    assert state == "stalled"
    assert reason.count(f"it has no root data ({source})") == 2
    assert all(f"{name}: " in reason for name in names)
    assert fleet.ledger.leaderless() == fleet.ledger.announced() == {}
    assert fleet.started == []


def test_a_worker_that_comes_with_the_root_in_time_takes_the_job(fleet: Fleet, tmp_path: Path) -> None:
    fleet.worker()
    fleet.opened(job_from(tree(tmp_path / "tree")))
    fleet.pass_time(PATIENCE - 10)
    fleet.worker(data=tmp_path)
    fleet.pass_time(PATIENCE)
    assert [c.job for c in fleet.started][:1] == ["job"]
    assert fleet.state()[0] == "running"


def test_what_keeps_one_worker_from_beginning_is_no_matter_to_another_and_ends_the_job_where_there_is_none(
    fleet: Fleet, tmp_path: Path
) -> None:
    first, second = fleet.worker(data=tmp_path), fleet.worker(data=tmp_path)
    fleet.opened(job_from(tree(tmp_path / "tree")))
    for number in (1, 2):
        while len(fleet.started) < number:
            fleet.pass_time(1)
        fleet.started[-1].code = 2
        fleet.ledger.set_meta("job", reason=f"the profile is missing {number}")
        fleet.ledger.step_down("job", fleet.started[-1].owner)
    assert {c.owner.split("/")[0] for c in fleet.started} == {first, second}
    fleet.pass_time(PATIENCE / 2)
    state, reason = fleet.state()
    assert (state, reason.count("the profile is missing")) == ("stalled", 2)
    assert len(fleet.started) == 2
    fleet.pass_time(DECLINES_FOR)
    assert fleet.workers[0][0].declines == {}


def test_a_folder_of_the_roots_name_that_is_not_the_submitters_is_no_source_to_go_on_with(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.opened(job_from(tree(tmp_path / "ours" / "tree")))
    tree(tmp_path / "other" / "tree")
    for path in (tmp_path / "other" / "tree").iterdir():
        os.utime(path, ns=(1, 1))
    fleet.worker(data=tmp_path / "other")
    fleet.worker(data=tmp_path / "nothing there")
    fleet.pass_time(PATIENCE + 10)
    assert fleet.started == []
    state, reason = fleet.state()
    assert state == "stalled"
    assert "w0: root data at" in reason
    assert "differs or is missing" in reason
    assert "'tree' is missing" in reason


def test_one_file_found_as_it_was_is_enough(fleet: Fleet, tmp_path: Path) -> None:
    source = tree(tmp_path / "tree")
    fleet.opened(job_from(source))
    samples = json.loads(fleet.ledger.leaderless()["job"])["roots"][0]["samples"]
    assert len(samples) == SAMPLES
    for key, *_ in samples[1:]:
        (source / key).write_text("changed since, and longer")
    fleet.worker(data=tmp_path)
    fleet.pass_time(LOOK_EVERY + 1)
    assert len(fleet.started) == 1


def test_samples_are_sought_in_few_entries_and_a_single_file_is_its_own(fleet: Fleet, tmp_path: Path) -> None:
    for i in range(LOOKED_AT + 5):
        (tmp_path / "deep" / f"d{i}").mkdir(parents=True)
    (tmp_path / "deep" / "d0" / "f").touch()
    fleet.opened(job_from(tmp_path / "deep", "deep"))
    one = Spec("one", Location("file", root="data", local=str(tree(tmp_path / "t"))), Location("s3", bucket="b"), single_file="x", single_source="b")  # fmt: skip
    fleet.opened(one)
    needs = {job: json.loads(text)["roots"][0] for job, text in fleet.ledger.leaderless().items()}
    assert needs["deep"]["samples"] == []
    assert [sample[0] for sample in needs["one"]["samples"]] == ["b"]


def test_a_destination_root_must_hold_the_submitters_mark_where_there_is_one(fleet: Fleet, tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    ours.mkdir()
    other.mkdir()
    spec = Spec("job", Location("s3", bucket="b"), Location("file", root="data", path="x", local=str(ours / "x")))
    fleet.opened(spec)
    assert os.listdir(ours) == [f"{MARK}job"]
    fleet.worker(data=other)
    fleet.pass_time(10)
    assert fleet.started == []
    fleet.worker(data=ours)
    fleet.pass_time(10)
    assert [c.owner.split("/")[0] for c in fleet.started] == ["w1"]
    remove_marks(spec)
    assert not (ours / f"{MARK}job").exists()


def test_store_to_store_needs_no_root(fleet: Fleet) -> None:
    fleet.opened(Spec("job", Location("s3", bucket="a"), Location("s3", bucket="b")))
    fleet.worker()
    fleet.pass_time(LOOK_EVERY + 1)
    assert len(fleet.started) == 1


def test_a_worker_has_so_many_coordinators_and_hands_them_over_when_it_ends(fleet: Fleet, tmp_path: Path) -> None:
    source = tree(tmp_path / "tree")
    for n in range(MOST + 2):
        fleet.opened(job_from(source, f"job{n}"))
    fleet.worker(data=tmp_path)
    fleet.pass_time(5)
    assert len(fleet.started) == MOST
    fleet.started[0].code = 0
    fleet.pass_time(5)
    assert len(fleet.started) == MOST + 1
    fleet.workers[0][1].stop()
    assert [c.told for c in fleet.started] == [False] + [True] * MOST


def test_a_job_that_ended_without_being_withdrawn_is_withdrawn(fleet: Fleet, tmp_path: Path) -> None:
    fleet.opened(job_from(tree(tmp_path / "tree")))
    fleet.ledger.set_meta("job", state="done")
    fleet.worker(data=tmp_path)
    fleet.pass_time(5)
    assert fleet.started == []
    assert fleet.ledger.leaderless() == {}
    assert fleet.state()[0] == "done"


def test_a_job_is_seen_under_this_hosts_folders_and_called_by_the_submitters() -> None:
    spec = job_from(Path("/srv/data/tree"))
    here = seen_here(spec, {"data": "/mnt/x"})
    assert (here.source.local, here.source.display(), here.source.root) == ("/mnt/x/tree", "/srv/data/tree", "data")
    assert here.source.identity() == spec.source.identity()
    assert seen_here(here, {"data": "/mnt/y"}).source.display() == "/srv/data/tree"
    assert seen_here(spec, {}) == spec
    assert seen_here(spec, {"data": "/srv/data"}) == spec
    assert Spec.unwire(json.loads(json.dumps(here.wire()))) == here
