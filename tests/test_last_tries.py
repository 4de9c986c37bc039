"""What failed for a reason that may pass is tried again at the end, and no more often than is said."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import Bucket
from hugesync_producer import lasttries
from hugesync_producer.lasttries import PAUSES, LastTries
from hugesync_producer.window import Failed, Window
from hugesync_tasks.errors import Transient
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.stages.context import JobContext
from midway import SMALL, many_small_files
from mirror import Mirror
from processes import Place, wait_until
from slowproxy import SlowProxy

OUTAGE = 5.0  # seconds: longer than the five attempts at one request last together


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Failed], bool]]:
    """What each pass was asked to plan."""
    planned: list[Callable[[Failed], bool]] = []
    monkeypatch.setattr(lasttries, "failed_first", lambda *args: planned.append(args[-1]))
    return planned


def tries(retries: int, *failures: Failed) -> tuple[LastTries, list[str]]:
    window, said = Window(), []
    window.base.failures.extend(failures)
    place = Location("file", local="/x")
    job: Any = replace_options(Spec("j", place, place), retries)
    return LastTries(job, window, None, None, lambda: None, said.append), said  # type: ignore[arg-type]


def replace_options(spec: Spec, retries: int) -> JobContext:
    return JobContext(replace(spec, options=Options(retries=retries)), None, None)  # type: ignore[arg-type]


AWAY = Failed("a", "transient", "the store could not be reached", 7, True)


@pytest.mark.parametrize(("retries", "expected"), [(1, 0), (2, 1), (3, 2), (4, 3), (9, 3)])
def test_each_pass_waits_longer_and_there_are_as_many_as_retries_allow(
    retries: int, expected: int, passes: list[Callable[[Failed], bool]]
) -> None:
    it, said = tries(retries, AWAY)
    began = []
    now = 0.0
    while it.go_on(now):
        if len(passes) > len(began):
            began.append(now)
        now += 0.5

    assert len(began) == len(said) == expected
    assert began == [sum(PAUSES[:n]) + 0.5 * (n - 1) for n in range(1, expected + 1)]
    assert not it.go_on(now + 1000), "deleting has begun"


@pytest.mark.parametrize(
    "failed",
    [AWAY._replace(reason="permanent"), AWAY._replace(reason="conflict"), AWAY._replace(again=False)],
)
def test_what_would_fail_again_is_left_alone(failed: Failed, passes: list[Callable[[Failed], bool]]) -> None:
    it, said = tries(5, failed)

    assert not it.go_on(0.0)
    assert (said, passes) == ([], [])


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
