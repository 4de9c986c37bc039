"""``hugesync errors`` and ``hugesync retry``: what failed is told, and tried again, by itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaos import CALM
from hugesync_producer.again import Retry
from hugesync_producer.failures import lines
from hugesync_producer.jobfolder import JobFolder
from hugesync_producer.retrying import _stood, retry
from hugesync_producer.window import Counters, Failed
from hugesync_tasks.config import load
from hugesync_tasks.errors import AccessDenied, Transient, UsageError
from hugesync_tasks.model import Meta
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.summary import State, Unobserved
from hugesync_tasks.token import Token
from processes import _COMMANDS, Place
from simulated import SimStore
from simulation import JOB, Simulation
from test_coordinator import once


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    it = Place(tmp_path / "place")
    yield it
    it.end()


def test_what_failed_is_listed_by_class_and_tried_again_alone_until_all_of_it_is_done(
    place: Place, tmp_path: Path
) -> None:
    source, dest = tmp_path / "src", tmp_path / "dst"
    source.mkdir()
    for name in ("a", "b", "c", "d"):
        (source / name).write_text(name * 100)
    for name in ("b", "c"):
        (source / name).chmod(0)

    def command(*args: str) -> Any:
        return place.start([sys.executable, "-c", _COMMANDS, *args], bound_by_modes=True).finish()

    ended = place.submit(source, dest, bound_by_modes=True).finish()
    assert (ended.code, ended.summary["files"]["failed"]) == (1, 2), ended.err
    job = ended.summary["job_id"]
    told = command("errors", job, "--json").summary
    assert [(f["path"], f["class"]) for f in told["failures"]] == [("b", "needs_person"), ("c", "needs_person")]
    assert (told["failures_omitted"], told["failures_kept"]) == (0, 1000)

    (source / "b").chmod(0o644)
    (source / "new").write_text("of the next run")
    once_more = command("retry", job, "--class", "needs_person", "--class", "transient", "--json")
    assert once_more.code == 1, once_more.err
    assert "trying 2 files again" in once_more.err
    files = once_more.summary["files"]
    assert [files[n] for n in ("found", "done", "failed", "pending")] == [4, 3, 1, 0]
    assert [f["path"] for f in once_more.summary["failures"]] == ["c"]
    assert once_more.summary["bytes"]["found"] == 400
    assert sorted(p.name for p in dest.iterdir()) == ["a", "b", "d"]

    (source / "c").chmod(0o644)
    last = command("retry", job, "--json")
    assert (last.code, last.summary["state"], last.summary["files"]["done"]) == (0, "done", 4), last.err
    assert (dest / "c").read_text() == "c" * 100


# without processes


class Closed(Wrapper):
    """Raises what ``errors`` says of a key, when it is written."""

    def __init__(self, inner: Any, errors: dict[str, Exception]) -> None:
        super().__init__(inner)
        self._errors = errors

    def _do(self, op: str, key: str, token: Token, call: Any, size: int = 0) -> Any:
        if op == "put" and key in self._errors:
            raise self._errors[key]
        return call()


def again(sim: Simulation, monkeypatch: pytest.MonkeyPatch, wanted: Retry) -> Any:
    """One run that only retries."""
    with monkeypatch.context() as patch:
        patch.setitem(sim.given, "retry", wanted)
        return once(sim, patch)


def kept(sim: Simulation, classes: frozenset[str] = frozenset()) -> Retry:
    meta = sim.ledger.meta(JOB)
    saved = json.loads(meta["left"])
    return Retry(classes, State(meta["state"]), saved["key"], Counters.unwire(saved["counters"]))


def test_only_failures_of_the_class_asked_for_are_tried_and_the_law_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(4, CALM)
    errors: dict[str, Exception] = {"y": AccessDenied("closed"), "z": Transient("away")}
    for key in errors:
        sim.source.put(key, b"new", Meta(), ANY, Token())
    monkeypatch.setattr(
        sim, "stack", lambda store, faults: Closed(SimStore(store, sim, False), errors if store is sim.dest else {})
    )
    with monkeypatch.context() as patch:
        first = once(sim, patch)
    assert (first.state, first.files["failed"]) == ("done_with_errors", 2), first.failures
    transient = kept(sim, frozenset({"transient"}))
    errors.clear()
    second = again(sim, monkeypatch, transient)
    assert second.falsehood() == ""
    assert (second.state, second.files["failed"], second.files["found"]) == (
        "done_with_errors",
        1,
        first.files["found"],
    )
    assert second.files["done"] == first.files["done"] + 1
    assert [str(f.failure_class) for f in second.failures] == ["needs_person"]
    third = again(sim, monkeypatch, kept(sim))
    assert (third.state, third.files["failed"], third.scan_complete) == ("done", 0, True)
    assert third.bytes["found"] == first.bytes["found"]
    sim.end()


def small(sim: Simulation) -> list[str]:
    """The keys of some small files of the source."""
    return [e.key for e in sim.source.list(Token()) if 0 < e.size < sim.spec.options.small_file][:2]


def test_nothing_is_deleted_where_only_what_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(4, CALM)
    sim.spec = replace(sim.spec, options=replace(sim.spec.options, delete=True, max_delete="100%"))
    sim.source.put("y", b"new", Meta(), ANY, Token())
    sim.dest.put("extra", b"of the destination alone", Meta(), ANY, Token())
    errors: dict[str, Exception] = {"y": AccessDenied("closed")}
    monkeypatch.setattr(
        sim, "stack", lambda store, faults: Closed(SimStore(store, sim, False), errors if store is sim.dest else {})
    )
    with monkeypatch.context() as patch:
        first = once(sim, patch)
    assert (first.state, first.files["failed"], first.files["deleted"]) == ("done_with_errors", 1, 0)
    errors.clear()
    second = again(sim, monkeypatch, kept(sim))
    assert (second.state, second.files["deleted"]) == ("done", 0)
    assert "nothing was deleted: only what had failed was tried again" in second.notes
    assert sim.dest.head("extra", Token()) is not None
    sim.end()


def test_a_job_that_had_stopped_stays_stopped_and_goes_on_with_the_rest_later(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(4, CALM)
    (key, *_) = small(sim)
    counters = Counters()
    counters.found("pending", 7)
    counters.tally.settle("failed", 7)
    counters.failures.append(Failed(key, "transient", "away", 7, True))
    sim.ledger.set_meta(JOB, state="interrupted")
    summary = again(sim, monkeypatch, Retry(frozenset(), State.INTERRUPTED, key, counters))
    assert (summary.state, summary.scan_complete, summary.resumable) == ("interrupted", False, True)
    assert (summary.files["found"], summary.files["failed"]) == (1, 0)
    assert summary.reason == f"only what had failed was tried again; the rest waits for: hugesync resume {JOB}"
    resumed = sim.play(monkeypatch)
    assert resumed.state == "done"
    sim.end()


@pytest.mark.parametrize(
    ("state", "why"),
    [("done", "job j is done: there is nothing to try again"), ("refused", "nothing to try again")],
)
def test_what_left_nothing_is_not_tried(state: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why):
        _stood("j", state, None, load({"state_dir": str(tmp_path)}))


def test_where_no_failure_is_of_the_class_or_all_would_be_met_again_that_is_said(tmp_path: Path) -> None:
    settings = load({"state_dir": str(tmp_path)})
    spec = Spec("j", Location("file", local="/a"), Location("file", local="/b"))
    counters = Counters()
    counters.found("failed", 7)
    counters.failed("a/.hugesync", "permanent", "reserved name", 7)
    folder = JobFolder(settings.state_dir, "j")
    folder.open()
    folder.save(
        job="j", spec=spec.wire(), state="done_with_errors", left={"key": "k", "counters": counters.wire()}, started=1.0
    )
    with pytest.raises(UsageError, match="no failure of class transient is recorded that could be tried again"):
        retry("j", settings, Unobserved(), ["transient"])
    with pytest.raises(UsageError, match="its 1 failure would be met again: the plan refuses those files"):
        retry("j", settings, Unobserved())


def test_errors_are_worded_one_a_line_and_what_was_only_counted_is_said() -> None:
    found = {
        "job_id": "j",
        "failures": [
            {"path": "a\n", "class": "transient", "message": "timed\nout redis://:hunter2@h"},
            {"path": "b", "class": "conflict", "message": "theirs"},
        ],
        "failures_omitted": 1234,
        "failures_kept": 1000,
    }
    assert list(lines(found)) == [
        "try again      $'a\\n': timed out redis://***@h",
        "conflict       b: theirs",
        "2 failures (conflict 1, transient 1)",
        "1,234 more were counted and not recorded: a job keeps 1,000",
    ]
    none = {**found, "failures": [], "failures_omitted": 0}
    assert list(lines(none, ["permanent"])) == ["job j has recorded no failure of class permanent"]
