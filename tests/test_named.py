"""What a list of names makes of two ends: the items of a join over what was named, and of nothing else."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hugesync_producer.filters import Filter
from hugesync_producer.folders import folders_of
from hugesync_producer.join import JoinItem
from hugesync_producer.named import Named
from hugesync_producer.namelist import made
from hugesync_tasks.errors import AccessDenied, Transient
from hugesync_tasks.model import Kind, Meta
from hugesync_tasks.spec import Location, Options, Selection, Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import ANY, Store
from hugesync_tasks.stores.faults import Fault, FaultyStore
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.token import Meter, Token
from scale import scaled


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("hugesync_producer.filelog")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


def put(store: Store, *keys: str) -> Store:
    for key in keys:
        store.put(
            key,
            b"" if key.endswith("/") else b"body",
            Meta(mtime_ns=10**18, link=key.endswith(".rclonelink")),
            ANY,
            Token(),
        )
    return store


def items(
    source: Store, dest: Store, names: Iterable[str], tmp_path: Path, after: str = "", filters: Any = (), **options: Any
) -> list[JoinItem]:
    end = Location("s3", bucket="b")
    spec = Spec("j", end, end, selection=Selection(listed="x", filters=filters), options=Options(**options))
    named = Named(JobContext(spec, source, dest), made(names, tmp_path), Meter(), Filter.of_job(spec), after)
    return [item for item in named.items() if item is not None]


def told(found: list[JoinItem]) -> dict[str, str]:
    """key -> s, d, sd (who has it) or missing."""
    out: dict[str, str] = {}
    for i in found:
        if i.missing is not None:
            assert i.missing.count == len(i.missing.names)
            assert i.key == i.missing.names[-1]
            out |= dict.fromkeys(i.missing.names, "missing")
        else:
            out[i.key] = "s" * (i.source is not None) + "d" * (i.dest is not None)
    return out


TREE = ["a", "b/c", "b/d/e", "b/d/f", "b-", "l.rclonelink", "n/"]


@pytest.fixture(params=["local", "store"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Store]:
    if request.param == "local":
        return put(LocalStore(tmp_path / "s"), *TREE), LocalStore(tmp_path / "d")
    return put(MemoryStore(prefix="s/"), *TREE), MemoryStore(prefix="d/")


def test_each_kind_of_name_stands_for_what_the_source_has_there(ends: tuple[Store, Store], tmp_path: Path) -> None:
    source, dest = ends
    put(dest, "a", "b/d/e", "b/d/other", "z")
    found = told(items(source, dest, ["l", "a", "n", "b/d/", "gone", "b/gone", "x/y/gone", "b/c/d", "gone/"], tmp_path))
    folders = {"b/": "s" if source.limits.folders else None, "b/d/": "s", "n/": "s"}
    if source.limits.folders:
        folders |= {"b/": "sd", "b/d/": "sd"}
    else:
        folders |= {"b/d/": None}
    assert found == {
        "a": "sd", "l.rclonelink": "s", "b/d/e": "sd", "b/d/f": "s", "b/d/other": "d",
        "gone": "missing", "gone/": "missing", "b/gone": "missing", "x/y/gone": "missing", "b/c/d": "missing",
        **{k: v for k, v in folders.items() if v},
    }  # fmt: skip


def test_a_folder_without_a_slash_is_only_itself(ends: tuple[Store, Store], tmp_path: Path) -> None:
    source, dest = ends
    found = items(source, dest, ["b", "n"], tmp_path)
    assert told(found) == {"b/": "s", "n/": "s"}
    real = source.limits.folders
    assert [i.source.empty for i in found if i.source] == [real, real or found[1].source is None]
    found = items(source, dest, ["b", "b/c", "b-"], tmp_path)
    assert [i.key for i in found] == ["b-", "b/", "b/c"]
    assert found[1].source is not None
    assert not found[1].source.empty
    assert [i.key for i in items(source, dest, ["b", "b/"], tmp_path)] == ["b/"] * real + ["b/c"] + ["b/d/"] * real + [
        "b/d/e", "b/d/f"
    ]  # fmt: skip


@pytest.mark.parametrize(("names", "bare"), [(["b", "n"], 2), (["b", "b/c"], 0), (["b/d", "b/c"], 1), (["b/", "a"], 0)])
def test_a_folder_of_which_nothing_else_is_named_is_told_of(
    names: list[str], bare: int, ends: tuple[Store, Store], tmp_path: Path
) -> None:
    end = Location("s3", bucket="b")
    spec = Spec("j", end, end, selection=Selection(listed="x"))
    named = Named(JobContext(spec, *ends), made(names, tmp_path), Meter(), Filter.of_job(spec))
    assert [*named.items()]
    assert named.bare == bare


def test_the_whole_source_may_be_named(ends: tuple[Store, Store], tmp_path: Path) -> None:
    source, dest = ends
    everything = [e.key for e in source.list(Token())]
    assert [i.key for i in items(source, dest, ["/", "gone"], tmp_path)] == everything


def test_a_link_is_named_with_or_without_its_suffix_and_once(ends: tuple[Store, Store], tmp_path: Path) -> None:
    source, dest = ends
    assert told(items(source, dest, ["l", "l.rclonelink", "a.rclonelink"], tmp_path)) == {
        "l.rclonelink": "s", "a.rclonelink": "missing"
    }  # fmt: skip


def test_names_that_are_reserved_or_cannot_be_are_never_passed_over(ends: tuple[Store, Store], tmp_path: Path) -> None:
    source, dest = ends
    found = items(source, dest, [".hugesync/x", "a" * 300, "a"], tmp_path)
    kinds = {i.key[:9]: i.source.kind if i.source else "missing" for i in found}
    assert kinds == {".hugesync": Kind.ERROR, "aaaaaaaaa": "missing", "a": Kind.FILE}


def test_nothing_is_looked_at_through_a_link(tmp_path: Path) -> None:
    source = put(LocalStore(tmp_path / "s"), "d/x")
    os.symlink("d", tmp_path / "s" / "way")
    (found,) = items(source, LocalStore(tmp_path / "d"), ["way/x"], tmp_path)
    assert (found.key, found.source.kind if found.source else None) == ("way/x", Kind.ERROR)
    assert told(items(source, LocalStore(tmp_path / "d"), ["way/"], tmp_path)) == {"way/": "missing"}


def test_what_lies_in_a_folder_that_a_filter_leaves_out_is_looked_at_and_left_out(
    ends: tuple[Store, Store], tmp_path: Path
) -> None:
    source, dest = ends
    rules = (("-", "d/"),)
    select = Filter(rules, named=True)
    for names in (["b/d/e", "b/c"], ["b/d/", "b/c"]):
        found = items(source, dest, names, tmp_path, filters=rules)
        files = [i.key for i in found if i.source is not None and i.source.kind is Kind.FILE]
        assert files == (["b/c", "b/d/e"] if "b/d/e" in names else ["b/c"])
        assert [i.key for i in found if i.source is not None and select.selects(i.source) and i.key in files] == ["b/c"]
        assert "b/d/" not in told(found)


def test_a_few_names_cost_a_few_requests_however_much_there_is(tmp_path: Path) -> None:
    source, dest = MemoryStore(prefix="s/", page_size=10), MemoryStore(prefix="d/", page_size=10)
    put(source, *(f"d{n}/f" for n in range(300)))
    put(dest, *(f"d{n}/f" for n in range(300)))
    meter = Meter()
    spec = Spec("j", Location("s3", bucket="b"), Location("s3", bucket="b"), selection=Selection(listed="x"))
    named = Named(JobContext(spec, source, dest), made(["d7/f", "d8/f", "d9/"], tmp_path), meter, Filter.of_job(spec))
    assert [i.key for i in named.items() if i] == ["d7/f", "d8/f", "d9/f"]
    assert (meter.count("requests.head"), meter.count("requests.list")) == (5, 2)


def test_a_store_that_does_not_answer_ends_the_job_and_one_denied_name_does_not(tmp_path: Path) -> None:
    source = put(LocalStore(tmp_path / "s"), "a")
    silent = FaultyStore(source, [Fault(op="head", error=Transient("nobody"))])
    with pytest.raises(Transient):
        items(silent, LocalStore(tmp_path / "d"), ["a"], tmp_path)
    denied = FaultyStore(source, [Fault(op="head", error=AccessDenied("permission denied"))])
    (found,) = items(denied, LocalStore(tmp_path / "d"), ["a"], tmp_path)
    assert found.source is not None
    assert (found.source.kind, found.source.note) == (Kind.ERROR, "permission denied")


_names = st.sampled_from(["a", "b", "a.x", "a-", "ab"])
_paths = st.lists(_names, min_size=1, max_size=3).map("/".join)


@given(
    st.sets(_paths, max_size=10),
    st.sets(_paths.flatmap(lambda p: st.sampled_from([p, p + "/"])), max_size=6),
    st.booleans(),
    st.data(),
)
@settings(max_examples=scaled(2000, 60), deadline=None, suppress_health_check=list(HealthCheck))
def test_a_list_gives_the_listing_of_what_it_names_and_goes_on_after_any_key(
    tmp_path_factory: pytest.TempPathFactory, files: set[str], names: set[str], local: bool, data: st.DataObject
) -> None:
    tmp_path = tmp_path_factory.mktemp("named")
    files = {f for f in files if not any(g.startswith(f + "/") for g in files)}
    source: Store = LocalStore(tmp_path / "s") if local else MemoryStore(prefix="s/")
    (tmp_path / "s").mkdir()
    put(source, *sorted(files))
    dest = LocalStore(tmp_path / "d")
    listed = {e.key for e in source.list(Token())}
    folders = {f for key in files for f in folders_of(key)}

    wanted: set[str] = set()
    for name in names:
        below = {k for k in listed if name.endswith("/") and k.startswith(name)}
        within = any(n.endswith("/") and f"{name}/".startswith(n) for n in names)
        alone = not name.endswith("/") and not within  # else a store lists no such folder
        itself = {k for k in (name, name + "/") if k in listed or (alone and k in folders)}
        wanted |= below | itself
        covered = not alone and any(k.startswith(name + "/") for k in listed)
        if (
            not below | itself
            and not covered
            and not any(n.endswith("/") and name.startswith(n) and n != name for n in names)
        ):
            wanted.add(name)  # missing
        elif local:
            wanted |= {f for k in below | itself for f in folders_of(k)}
    found = items(source, dest, names, tmp_path)
    assert set(told(found)) == wanted
    assert [i.key for i in found] == sorted(i.key for i in found)
    assert {i.key for i in found if not i.missing} <= listed | folders
    if found:
        after = data.draw(st.sampled_from([i.key for i in found]))
        settled = told([i for i in found if i.key <= after])
        rest = told(items(source, dest, names, tmp_path, after=after))
        assert not settled.keys() & rest.keys()
        assert settled.keys() | rest.keys() == wanted
