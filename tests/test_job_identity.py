"""Which runs are the same job, and so may go on from one checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hugesync_producer import sync as module
from hugesync_producer.namelist import NameList, made
from hugesync_producer.selecting import identity_of, refuse_unfit
from hugesync_tasks.config import load
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Location, Options, Rules, Selection, Spec
from hugesync_tasks.summary import State, Summary


@pytest.fixture
def job_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    specs: list[Spec] = []

    def caught(spec: Spec, *_: object, **__: object) -> Summary:
        specs.append(spec)
        return Summary(State.DONE)

    monkeypatch.setattr(module, "run_job", caught)
    (tmp_path / "source").mkdir()

    def job(**more: Any) -> str:
        module.sync(str(tmp_path / "source"), str(tmp_path / "dest"), settings=load({}), **more)
        return specs[-1].job

    return job


@pytest.mark.parametrize(
    "other",
    [
        {"rules": Rules(existing=True)},
        {"rules": Rules(ignore_existing=True)},
        {"rules": Rules(update=True)},
        {"rules": Rules(size_only=True)},
        {"rules": Rules(checksum=True)},
        {"rules": Rules(modify_window_ns=1)},
        {"options": Options(metadata=False)},
        {"options": Options(owner=True)},
        {"selection": Selection(filters=(("-", "*.tmp"),))},
        {"selection": Selection(links="follow")},
    ],
)
def test_other_rules_are_another_job_and_never_go_on_from_its_checkpoint(
    job_of: Callable[..., str], other: dict[str, Any]
) -> None:
    assert job_of(**other) != job_of()


@pytest.mark.parametrize("same", [{"options": Options(jobs=3)}, {"options": Options(retries=9)}, {"fresh": True}])
def test_how_the_work_is_done_does_not_change_the_job(job_of: Callable[..., str], same: dict[str, Any]) -> None:
    assert job_of(**same) == job_of()


def test_equal_buckets_of_two_endpoints_are_two_places() -> None:
    one = Location("s3", bucket="b", prefix="p/", endpoint="https://one.example")
    assert one.identity() != replace(one, endpoint="https://two.example").identity()
    assert one.display() == "s3://b/p/"


def test_a_part_size_that_the_memory_cannot_hold_is_refused(job_of: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match="--memory"):
        job_of(options=Options(part_size=400 << 20, memory=512 << 20))


def test_what_only_a_store_can_keep_is_refused_by_name_for_a_folder(job_of: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match="--storage-class"):
        job_of(options=Options(storage_class="GLACIER"))


def test_a_rule_of_the_absolute_path_means_nothing_at_a_store(job_of: Callable[..., str], tmp_path: Path) -> None:
    rules, end = Selection(filters=(("-/r", "/x"),)), Location("s3", bucket="b", prefix="p/")
    refuse_unfit(rules, end, end, Options())
    with pytest.raises(UsageError, match=r"-/r /x.*s3://b/p/"):
        refuse_unfit(rules, end, end, Options(delete=True))
    with pytest.raises(UsageError, match="-/ /x"):
        refuse_unfit(Selection(filters=(("-/", "/x"),)), end, Location("file", local="/d"), Options())
    assert job_of(selection=Selection(filters=(("-/", "/x"),))) != job_of()


@pytest.mark.parametrize(
    ("end", "shown"),
    [(Location("file", local="/data"), "/data/z.txt"), (Location("s3", bucket="b", prefix="p/"), "s3://b/p/z.txt")],
    ids=["local", "a store"],
)
def test_a_single_file_for_which_a_list_is_refused_is_named_as_it_was_given(end: Location, shown: str) -> None:
    with pytest.raises(UsageError, match=f" {shown} is a single file"):
        refuse_unfit(Selection(listed="0" * 64), end, end, Options(), "z.txt")


def test_another_list_of_names_is_another_job_and_equal_lists_are_one(
    job_of: Callable[..., str], tmp_path: Path
) -> None:
    def listed(*names: str) -> NameList:
        return made(iter(names), tmp_path)

    plain = job_of()
    assert job_of(files_from=listed("a", "b")) == job_of(files_from=listed("b", "a", "b")) != plain
    assert job_of(files_from=listed("a")) != job_of(files_from=listed("a", "b"))
    assert identity_of(Selection()) == {"filters": (), "min_size": None, "max_size": None, "links": "keep"}


def test_a_list_of_names_goes_neither_with_a_delete_nor_with_a_single_file(
    job_of: Callable[..., str], tmp_path: Path
) -> None:
    names = made(iter(["a"]), tmp_path)
    with pytest.raises(UsageError, match="--delete cannot be meant with --files-from"):
        job_of(files_from=names, options=Options(delete=True))
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a single file"):
        module.sync(str(tmp_path / "file"), str(tmp_path / "dest"), settings=load({}), files_from=names)
