"""What failed for a reason that may pass is tried again at the end, and no more often than is said."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conftest import Bucket
from hugesync_producer.failedfirst import failed_first
from hugesync_producer.lasttries import AT_ONCE, PAUSES, LastTries
from hugesync_producer.window import Counters, Failed, OpenSegment, Window
from hugesync_tasks.errors import Transient
from hugesync_tasks.model import Outcome
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.token import Meter
from midway import SMALL, many_small_files
from mirror import Mirror
from processes import Place, wait_until
from slowproxy import SlowProxy

OUTAGE = 5.0  # seconds: longer than the five attempts at one request last together


@dataclass
class Tried:
    """``planned``: the keys of each look, in order."""

    planned: list[list[str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def tries(
        self, retries: int, *failures: Failed, wants: Callable[[Failed], bool] = lambda failure: True
    ) -> LastTries:
        window = Window()
        window.base.failures.extend(failures)

        def plan(wanted: Callable[[Failed], bool]) -> None:
            self.planned.append([f.key for f in failures if wanted(f)])

        return LastTries(window, retries, plan, wants, self.said.append)


AWAY = Failed("a", "transient", "the store could not be reached", 7, True)


@pytest.mark.parametrize(("retries", "expected"), [(1, 0), (2, 1), (3, 2), (4, 3), (9, 3)])
def test_each_pass_waits_longer_and_there_are_as_many_as_retries_allow(retries: int, expected: int) -> None:
    tried = Tried()
    it = tried.tries(retries, AWAY)
    began = []
    now = 0.0
    while it.go_on(now):
        if len(tried.planned) > len(began):
            began.append(now)
        now += 0.5

    assert len(began) == len(tried.said) == expected
    assert began == [sum(PAUSES[:n]) + 0.5 * (2 * n - 1) for n in range(1, expected + 1)]
    assert not it.go_on(now + 1000), "deleting has begun"


@pytest.mark.parametrize(
    "failed",
    [AWAY._replace(reason="permanent"), AWAY._replace(reason="conflict"), AWAY._replace(again=False)],
)
def test_what_would_fail_again_is_left_alone(failed: Failed) -> None:
    tried = Tried()

    assert not tried.tries(5, failed).go_on(0.0)
    assert (tried.said, tried.planned) == ([], [])


def test_of_hugesync_retry_no_other_file_is_tried_again() -> None:
    tried, other = Tried(), AWAY._replace(key="b")
    it = tried.tries(2, AWAY, other, wants=lambda failure: failure.key == "b")

    for now in range(4):
        it.go_on(float(now))

    assert tried.planned == [["b"]]


def test_a_pass_over_many_files_lets_the_coordinator_look_up_now_and_then() -> None:
    tried = Tried()
    many = [AWAY._replace(key=f"{n:03}") for n in range(2 * AT_ONCE + 1)]
    it = tried.tries(2, *many)

    for now in range(8):
        it.go_on(float(now))

    assert [len(keys) for keys in tried.planned] == [AT_ONCE, AT_ONCE, 1]
    assert [key for keys in tried.planned for key in keys] == [f.key for f in many]


def test_an_outage_that_outlasts_every_attempt_costs_no_file(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    source = many_small_files(tmp_path / "src")
    proxy.hold_after(requests=SMALL // 2)
    run = place.submit(source, f"s3://{s3_bucket.bucket}/t")
    proxy.held()
    proxy.cut(off=True)
    proxy.release()
    threading.Timer(OUTAGE, proxy.mend).start()

    ended = run.finish()

    assert ended.code == 0, ended.err
    assert re.search(r"\d+ files? failed for a reason that may pass; trying again in 2 s", ended.err)
    files = ended.summary["files"]
    assert files["found"] == files["done"] + files["skipped"] == SMALL
    assert wait_until(lambda: place.left() == [], what="the end of all processes")


def test_nothing_is_deleted_before_the_last_tries_are_over() -> None:
    it = Mirror({"a": b"new"}, {"gone": b"old"})
    failing = [2]
    stack = it.stack

    def flaky(store: Any, faults: bool) -> Any:
        made = stack(store, faults)
        if store is it.dest:
            put = made.put

            def refuse(key: str, *args: Any, **more: Any) -> Any:
                if key == "a" and failing[0]:
                    failing[0] -= 1
                    raise Transient("away")
                return put(key, *args, **more)

            made.put = refuse
        return made

    it.stack = flaky  # type: ignore[method-assign]

    summary = it.go()

    assert str(summary.state) == "done", summary
    assert (summary.files["done"], summary.files["failed"], summary.files["deleted"]) == (1, 0, 1)
    assert failing == [0]
    assert it.left() == ["a"]


@pytest.mark.full
def test_under_a_map_the_file_that_is_tried_again_is_the_stored_one(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    """A map that gives each two files each other's names: what is read under the wrong one is there, and wrong."""
    source, files = tmp_path / "src", 600
    source.mkdir()
    for n in range(files):
        (source / f"f{n:03}").write_bytes(b"of %d" % n)
    rows = "".join(f"f{n:03},f{n ^ 1:03}\n" for n in range(files))
    (tmp_path / "map.csv").write_text("stored,logical\n" + rows)
    at = f"s3://{s3_bucket.bucket}/from"
    assert place.submit(source, at).finish().code == 0
    proxy.hold_after(requests=files // 2)
    run = place.submit("--map", tmp_path / "map.csv", at, tmp_path / "out")
    proxy.held()
    proxy.cut(off=True)
    proxy.release()
    threading.Timer(OUTAGE, proxy.mend).start()

    ended = run.finish()

    assert ended.code == 0, ended.err
    assert "failed for a reason that may pass" in ended.err
    assert {n: (tmp_path / "out" / f"f{n ^ 1:03}").read_bytes() for n in range(files)} == {
        n: b"of %d" % n for n in range(files)
    }


def test_the_folders_that_a_late_file_comes_into_are_finished_again(tmp_path: Path) -> None:
    path = tmp_path / "src" / "a" / "b" / "f"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"now it can be read")
    job = JobContext(
        Spec("j", Location("file"), Location("file")), LocalStore(tmp_path / "src"), LocalStore(tmp_path / "dst")
    )
    counters = Counters()
    counters.found("pending", 3)
    counters.settle("a/b/f", 3, Outcome("failed", "transient", "away"))
    planned: list[Any] = []

    class Units:
        def add(self, segment: Any) -> OpenSegment:
            planned.append(segment)
            return OpenSegment("", Counters())

    failed_first(job, Window("a/b/f", counters), Units(), Meter(), lambda: None)  # type: ignore[arg-type]

    assert [entry.key for entry in planned[0].finishes] == ["a/b/", "a/"]
