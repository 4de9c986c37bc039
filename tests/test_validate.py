"""``hugesync validate-endpoint``: every broken promise is noticed, nothing is left behind, and jobs trust what was measured."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import Bucket
from headerproxy import HeaderProxy
from hugesync_producer import cli, cli_jobs
from hugesync_producer.capability_words import effect, title
from hugesync_producer.endpoints import Measured, every, find, save, trusted
from hugesync_producer.ends import open_end
from hugesync_producer.sync import probed
from hugesync_tasks.errors import AccessDenied, Cancelled, Corrupted, StoreError, Transient, UsageError, VersionMismatch
from hugesync_tasks.model import Meta, Transfer
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.stages.basis import consider
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores import questions
from hugesync_tasks.stores.base import Limits
from hugesync_tasks.stores.findings import (
    CAPABILITIES,
    COMMITS,
    OF_FILESYSTEMS,
    OF_STORES,
    ORDERS,
    Fact,
    Findings,
    applied,
)
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.memory_objects import S3_LIKE
from hugesync_tasks.stores.memory_raw import MemoryRaw
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.stores.s3_providers import find as find_provider
from hugesync_tasks.stores.scratch import validate
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.summary import Unobserved
from hugesync_tasks.token import Meter, Token
from hugesync_tasks.uri import parse_location
from processes import Place, Running
from submit import Submit

COMMANDS = "import sys; sys.argv[0] = 'hugesync'; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"
IGNORABLE = [n for n in OF_STORES if not n.startswith(("list", "etag", "abort", "double", "backslash", "file"))]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> MemoryBucket:
    """A strict bucket, and questions of a size to fit."""
    monkeypatch.setattr(questions, "PART", 1024)
    monkeypatch.setattr(questions, "TAIL", 64)
    return MemoryBucket(replace(S3_LIKE, min_part=1024))


def left_in(bucket: MemoryBucket) -> list[object]:
    return [*bucket.dump(), *bucket.list_uploads("")]


# --- the questions, against a server that ignores what a test says -----------------------------------------------------


def test_a_strict_store_keeps_every_promise_and_nothing_is_left(small: MemoryBucket) -> None:
    raw = MemoryRaw(small, "root/")
    found = validate(raw, raw, "memory")

    assert found.answers() == {**dict.fromkeys(OF_STORES, "yes"), "list_order": "utf8"}
    assert (found.left, left_in(small)) == ((), [])


@pytest.mark.parametrize("promise", IGNORABLE)
def test_each_broken_promise_is_noticed_alone(small: MemoryBucket, promise: str) -> None:
    raw = MemoryRaw(small, "root/", ignores={promise})
    found = validate(raw, raw, "memory")

    also = {"part_copy_range": ["part_copy_crc64"]}.get(promise, [])  # of other bytes the checksum is another too
    assert [fact.name for fact in found.facts if fact.answer not in ("yes", "utf8")] == [promise, *also]
    assert left_in(small) == []


def test_a_refusal_after_which_the_bytes_are_written_all_the_same_is_none(small: MemoryBucket) -> None:
    class Lying(MemoryRaw):
        def put(self, key: str, body: bytes, **how: Any) -> str:
            try:
                return super().put(key, body, **how)
            except (VersionMismatch, Corrupted):
                super().put(key, body)
                raise

    raw = Lying(small, "root/")
    found = validate(raw, raw, "memory")
    refused_and_written = [f.name for f in found.facts if f.note == "refused, and written all the same"]
    assert refused_and_written == ["put_if_none_match", "put_if_match", "put_crc64", "put_md5"]
    assert applied(TRUSTED, found.answers()).conditional_commit == "none"


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_listings_is_told(monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    monkeypatch.setattr(questions, "PART", 1024)
    bucket = MemoryBucket(replace(S3_LIKE, min_part=1024, list_order=order))
    raw = MemoryRaw(bucket)
    assert validate(raw, raw, "memory").answers()["list_order"] == order


class Failing(MemoryRaw):
    """Fails its ``n``-th request, ``after`` its effect or before it; ``what`` is the error."""

    def __init__(
        self, bucket: MemoryBucket, n: int, after: bool, what: Callable[[], Exception], lasts: int = 1
    ) -> None:
        super().__init__(bucket, "root/")
        self.made, self._n, self._after, self._what, self._lasts = 0, n, after, what, lasts

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self.made += 1
            strikes = self._n <= self.made < self._n + self._lasts
            if strikes and not self._after:
                raise self._what()
            answer = found(*args, **kwargs)
            if strikes:
                raise self._what()
            return answer

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after it, the reply lost"])
@pytest.mark.parametrize(
    "what", [lambda: Transient("lost"), lambda: AccessDenied("no"), lambda: Cancelled("stop")], ids=["lost", "denied", "cancelled"]
)  # fmt: skip
def test_whichever_request_fails_nothing_is_left_and_nothing_false_is_said(
    small: MemoryBucket, after: bool, what: Callable[[], Exception]
) -> None:
    counting = Failing(small, 10**6, False, what)
    validate(counting, MemoryRaw(small, "root/"), "memory")
    assert counting.made > 60
    for n in range(1, counting.made + 1):
        failing = Failing(small, n, after, what, lasts=2)
        try:
            found = validate(failing, MemoryRaw(small, "root/"), "memory")
        except (StoreError, Cancelled):
            pass
        else:
            wrong = [f for f in found.facts if f.answer not in ("yes", "unknown", "utf8")]
            assert [f.name for f in wrong if not after and not f.note.startswith("none in")] == [], n
        assert left_in(small) == [], n


@pytest.mark.parametrize("n", [1, 5])
def test_a_cleaner_that_loses_a_reply_cleans_again(small: MemoryBucket, n: int) -> None:
    found = validate(MemoryRaw(small, "root/"), Failing(small, n, True, lambda: Transient("lost"), lasts=40), "memory")
    assert (found.left, left_in(small)) == ((), [])


def test_what_cannot_be_removed_is_named(small: MemoryBucket) -> None:
    class Kept(MemoryRaw):
        def delete(self, key: str, *, if_match: str = "") -> None:
            if key.endswith("/put0"):
                raise AccessDenied("access denied", key)
            super().delete(key, if_match=if_match)

    found = validate(MemoryRaw(small), Kept(small), "memory")
    (left,) = found.left
    assert "/put0 (access denied)" in left
    assert [key.rpartition("/")[2] for key in small.dump()] == ["put0"]


def test_what_was_never_there_is_not_said_to_be_left(small: MemoryBucket) -> None:
    class Closed(MemoryRaw):
        def delete(self, key: str, *, if_match: str = "") -> None:
            raise AccessDenied("access denied", key)

    found = validate(MemoryRaw(small), Closed(small), "memory")
    assert sorted(what.removesuffix(" (access denied)") for what in found.left) == sorted(small.dump()) != []


# --- what answers make of limits ---------------------------------------------------------------------------------------

TRUSTED = Limits("x", full_crc64=True, etag_is_md5=True, probed=True, folds=True, list_order="none")
ALL = {**dict.fromkeys(OF_STORES, "yes"), "list_order": "utf8"}


@pytest.mark.parametrize(
    ("answers", "changes"),
    [
        ({}, {}),
        (dict.fromkeys(CAPABILITIES, "unknown"), {}),
        *[({name: "no"}, {"conditional_commit": "none"}) for name in COMMITS],
        *[({name: "no"}, {"copy_conditional": False}) for name in ("copy_if_none_match", "copy_if_match")],
        ({"copy_source_if_match": "no"}, {"copy_conditional": False, "part_conditional": False}),
        ({"part_copy_source_if_match": "no"}, {"part_conditional": False}),
        ({"part_copy_range": "no"}, {"part_copy": "none"}),
        ({"delete_if_match": "yes"}, {"delete_conditional": True}),
        *[({name: "no"}, {"full_crc64": False}) for name in ("put_crc64", "part_crc64", "complete_crc64")],
        ({"etag_is_md5": "no"}, {"etag_is_md5": False}),
        ({"file_beside_folder": "no"}, {"file_and_folder": False}),
        ({"list_order": "utf8", "list_start_after": "yes"}, {"list_order": "utf8"}),
        ({"list_order": "utf8", "list_start_after": "no"}, {"list_order": "none"}),
        ({"list_order": "utf8"}, {"list_order": "none"}),
        ({"double_slash_kept": "yes"}, {}),
        ({"double_slash_kept": "yes", "backslash_kept": "yes"}, {"folds": False}),
        ({"rename_noreplace": "no"}, {"conditional_commit": "best effort"}),
        ({"rename_exchange": "no"}, {"conditional_commit": "best effort"}),
        ({"case_sensitive": "no"}, {"case_sensitive": False}),
        (ALL, {"part_conditional": True, "delete_conditional": True, "list_order": "utf8", "folds": False}),
    ],
)  # fmt: skip
def test_limits_become_what_was_measured(answers: dict[str, str], changes: dict[str, Any]) -> None:
    assert applied(TRUSTED, answers) == replace(TRUSTED, **changes)


def test_a_good_word_never_raises_what_the_jobs_own_probe_denied() -> None:
    denied = Limits("x", conditional_commit="none", full_crc64=False, etag_is_md5=False, file_and_folder=False)
    found = applied(denied, ALL)
    assert found.conditional_commit == "none"
    assert (found.full_crc64, found.etag_is_md5, found.file_and_folder) == (False, False, False)


def test_every_answer_has_its_words() -> None:
    for name in CAPABILITIES:
        assert title(name)
        for answer in (*ORDERS, "unknown") if name == "list_order" else ("yes", "no", "unknown"):
            assert effect(Fact(name, answer))


def test_a_store_that_breaks_its_word_on_copies_has_everything_pass_through_workers() -> None:
    bucket = MemoryBucket()
    source, dest = MemoryStore(bucket, "a/"), MemoryStore(bucket, "b/")
    spec = Spec("j", Location("s3"), Location("s3"))
    for change, copies in (({}, True), ({"copy_conditional": False}, False), ({"part_copy": "none"}, False)):
        dest.limits = replace(S3_LIKE, **change)
        assert JobContext(spec, source, dest).server_copy is copies
        assert JobContext(spec, source, dest).copies_parts is copies
    dest.limits = replace(S3_LIKE, copy_conditional=False)
    unsafe = replace(spec, options=Options(unsafe_no_conflict_check=True))
    assert JobContext(unsafe, source, dest).server_copy


def test_a_copied_range_that_was_seen_makes_no_store_copy_more_than_it_is_known_to() -> None:
    for known in ("ranges", "blocks", "whole", "none"):
        limits = replace(S3_LIKE, part_copy=known)
        assert applied(limits, {"part_copy_range": "yes"}).part_copy == known
        assert applied(limits, {"part_copy_range": "no"}).part_copy == "none"


def test_a_store_that_copies_other_ranges_gets_no_delta() -> None:
    source, dest = MemoryStore(), MemoryStore(limits=replace(S3_LIKE, part_copy="none"))
    body = bytes(6 << 20)
    token = Token()
    made = [store.put("f", body, Meta(), None, token) for store in (source, dest)]
    head = source.head("f", token)
    assert head is not None
    job = JobContext(Spec("j", Location("s3"), Location("s3"), options=Options(delta_threshold=0)), source, dest)
    delta, why = consider(job, Transfer(head.entry, made[1].version), head, token)
    assert (delta, why) == (None, "the store does not copy the ranges that it is told")


# --- the command, against real stores ----------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [n for n in os.environ if n.startswith("HUGESYNC_") and not n.startswith("HUGESYNC_TEST_")]:
        monkeypatch.delenv(name)
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home" / variable[4:-5].lower()))
    return tmp_path / "home" / "state" / "hugesync"


@pytest.fixture
def hugesync(state: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*args: object) -> tuple[int, str, str]:
        code = cli.invoke(cli_jobs.hugesync_commands, "hugesync", [str(a) for a in args])
        return code, *capsys.readouterr()

    return run


Run = Callable[..., tuple[int, str, str]]


def in_bucket(s3: Bucket) -> list[str]:
    client = s3.client
    versions = client.list_object_versions(Bucket=s3.bucket)
    return [
        *(o["Key"] for o in client.list_objects_v2(Bucket=s3.bucket).get("Contents", [])),
        *(u["Key"] for u in client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", [])),
        *(v["Key"] for kind in ("Versions", "DeleteMarkers") for v in versions.get(kind, [])),
    ]


# What `hugesync providers` says of it: this is the measurement that its row stands on.
SEAWEEDFS = {
    name: {"yes": True, "no": False}.get(said, said) for name, said in find_provider("seaweedfs").answers.items()
}


def test_seaweedfs_is_measured_said_to_be_written_to_kept_and_left_empty(
    s3_bucket: Bucket, state: Path, hugesync: Run
) -> None:
    code, out, err = hugesync("validate-endpoint", f"s3://{s3_bucket.bucket}/a/b", "--json")
    assert (code, in_bucket(s3_bucket)) == (0, [])
    found = json.loads(out)
    assert {name: about["answer"] for name, about in found["capabilities"].items()} == SEAWEEDFS
    assert (found["server"], found["left"]) == ("s3 (SeaweedFS)", [])
    assert "writing below" in err

    (kept,) = (state / "endpoints").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    for url in ([f"s3://{s3_bucket.bucket}/elsewhere"], []):
        code, again, err = hugesync("validate-endpoint", "--cached", *url, "--json")
        assert (code, err) == (0, "")
        one = json.loads(again) if url else json.loads(again)["endpoints"][0]
        assert one == found

    code, out, err = hugesync("validate-endpoint", "--cached")
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("Order of listings"))
    assert line.split("  ")[-1].strip() == "by path segments: sorted on disk first"


def test_a_bucket_that_keeps_versions_is_left_empty_too(s3_bucket: Bucket, hugesync: Run) -> None:
    on = {"Status": "Enabled"}
    s3_bucket.client.put_bucket_versioning(Bucket=s3_bucket.bucket, VersioningConfiguration=on)

    code, out, _ = hugesync("validate-endpoint", f"s3://{s3_bucket.bucket}", "--json")

    assert (code, in_bucket(s3_bucket)) == (0, [])
    answers = {name: about["answer"] for name, about in json.loads(out)["capabilities"].items()}
    assert answers["list_order"] in ORDERS
    assert all(answers[name] for name in COMMITS)


def test_stopped_in_the_middle_it_takes_away_what_it_wrote(s3_bucket: Bucket) -> None:
    class Ending(Token):
        left = 40

        def requested(self, name: str) -> None:
            self.left -= 1
            if self.left < 0:
                self.cancel()
            super().requested(name)

    store = S3Store(s3_bucket.bucket, "p/")
    with pytest.raises(Cancelled):
        store.validate(Ending())
    assert in_bucket(s3_bucket) == []


def test_no_right_no_bucket_and_nobody_there_are_2_2_and_5_and_nothing_is_kept(
    s3_bucket: Bucket, state: Path, hugesync: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"s3://{s3_bucket.bucket}/x"
    code, out, err = hugesync("validate-endpoint", "s3://no-such-bucket-here", "--json")
    assert (code, json.loads(out)["state"]) == (2, "usage")
    assert "no such bucket" in err
    assert hugesync("validate-endpoint", tmp_path / "nothing")[0] == 2
    assert hugesync("validate-endpoint")[0] == 2
    assert hugesync("validate-endpoint", "--cached", url)[0] == 2
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "readaccess")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "readsecret0123456789")
    code, _, err = hugesync("validate-endpoint", url)
    assert code == 2
    assert "access denied" in err
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert hugesync("validate-endpoint", url)[0] == 5
    assert every(state) == []
    assert in_bucket(s3_bucket) == []


@pytest.fixture
def forgetful(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeaderProxy]:
    """SeaweedFS behind a proxy that tests make forget things; it is this process's endpoint."""
    with HeaderProxy(s3_bucket.server) as it:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", it.endpoint)
        yield it


CONDITIONS = ("if-match", "if-none-match")


def drops_at_complete(method: str, path: str, name: str) -> bool:
    """What Ceph RGW 16 does; yet the probe before each job, which asks on a key where nothing is, sees it honoured."""
    return name in CONDITIONS and method == "POST" and "uploadId=" in path and "/probe-" not in path


def test_a_store_that_forgets_if_match_at_complete_is_noticed_and_jobs_are_refused_until_told_otherwise(
    s3_bucket: Bucket, forgetful: HeaderProxy, hugesync: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forgetful.drops = drops_at_complete
    url, source = f"s3://{s3_bucket.bucket}/to", tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"content")
    assert S3Store(s3_bucket.bucket).probe(Token()).conditional_commit == "enforced", "nobody has looked closely yet"

    code, out, _ = hugesync("validate-endpoint", url, "--json")
    assert (code, in_bucket(s3_bucket)) == (0, [])
    found = json.loads(out)["capabilities"]
    assert [n for n in SEAWEEDFS if found[n]["answer"] != SEAWEEDFS[n]] == [
        "complete_if_none_match",
        "complete_if_match",
    ]
    assert "refused without --unsafe-no-conflict-check" in found["complete_if_match"]["effect"]

    assert cli.invoke(cli.submit_command, "hugesync-submit", [str(source), url, "--json"]) == 4
    said = capsys.readouterr()
    assert json.loads(said.out)["state"] == "refused"
    assert "Complete honours If-Match" in said.err
    assert "validate-endpoint of 20" in said.err
    assert in_bucket(s3_bucket) == []

    submit = Submit(tmp_path / "home", {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": forgetful.endpoint})
    ran = submit(source, url, "--unsafe-no-conflict-check", "-v", json=False)
    assert ran.code == 0
    assert "conflict guard: off" in ran.out
    assert "validate-endpoint on 20" in ran.err
    assert in_bucket(s3_bucket)[0] == "to/file"


def test_a_store_that_forgets_conditions_of_copies_and_sources_and_deletes_is_noticed(
    s3_bucket: Bucket, forgetful: HeaderProxy, hugesync: Run
) -> None:
    def drops(method: str, path: str, name: str) -> bool:
        copies = name == "x-amz-copy-source-if-match" or (name in CONDITIONS and "/copy" in path)
        return copies or (name in CONDITIONS and method == "DELETE") or name == "content-md5"

    forgetful.drops = drops
    code, out, _ = hugesync("validate-endpoint", f"s3://{s3_bucket.bucket}", "--json")
    found = json.loads(out)["capabilities"]
    assert sorted(n for n in SEAWEEDFS if found[n]["answer"] != SEAWEEDFS[n]) == sorted(
        [
            "copy_if_none_match", "copy_if_match", "copy_source_if_match", "part_copy_source_if_match",
            "delete_if_match", "put_md5",
        ]
    )  # fmt: skip
    assert (code, in_bucket(s3_bucket)) == (0, [])


def test_what_may_not_be_deleted_is_told_and_ends_with_1(
    s3_bucket: Bucket, forgetful: HeaderProxy, hugesync: Run
) -> None:
    forgetful.refuses = lambda method, path: (
        (403, "AccessDenied") if method == "DELETE" and "uploadId" not in path else None
    )
    code, out, err = hugesync("validate-endpoint", f"s3://{s3_bucket.bucket}", "--json")
    assert code == 1
    left = json.loads(out)["left"]
    there = s3_bucket.client.list_objects_v2(Bucket=s3_bucket.bucket)["Contents"]
    assert sorted(what.removesuffix(" (cannot delete: access denied (AccessDenied))") for what in left) == sorted(
        o["Key"] for o in there
    )
    assert all(f"could not be removed: {what}" in err for what in left)
    assert json.loads(out)["capabilities"]["delete_if_match"]["answer"] is None


def test_a_store_that_falls_silent_in_the_middle_is_unreachable_and_what_may_be_left_is_named(
    s3_bucket: Bucket, forgetful: HeaderProxy, hugesync: Run, state: Path
) -> None:
    forgetful.refuses = lambda method, path: (500, "InternalError") if len(forgetful.asked) > 30 else None
    code, _, err = hugesync("validate-endpoint", f"s3://{s3_bucket.bucket}")
    assert code == 5
    assert "could not be removed: " in err
    assert ".hugesync/validate-" in err
    assert every(state) == []


def test_a_server_without_a_name_is_trusted_as_far_as_it_was_measured(
    s3_bucket: Bucket, forgetful: HeaderProxy, hugesync: Run, state: Path, tmp_path: Path
) -> None:
    forgetful.nameless = True
    place = parse_location(f"s3://{s3_bucket.bucket}/x")
    spec = Spec("j", place, replace(place, prefix="y/"))
    names = ("list_order", "delete_conditional", "part_conditional", "copy_conditional", "folds")

    def believed() -> dict[str, Any]:
        limits = probed(spec, Meter(), SharedRates(), state, Unobserved()).dest_limits
        return {name: limits[name] for name in names}

    assert believed() == {**dict.fromkeys(names, False), "list_order": "none"}
    assert hugesync("validate-endpoint", place.display())[0] == 0
    assert believed() == {**dict.fromkeys(names, True), "list_order": "segments"}


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_ended_by_a_signal_it_removes_what_it_wrote(
    s3_bucket: Bucket, forgetful: HeaderProxy, tmp_path: Path, ended_by: signal.Signals
) -> None:
    running: list[Running] = []

    def strike(method: str, path: str) -> None:
        if len(forgetful.asked) == 25 and running:
            running.pop().process.send_signal(ended_by)

    forgetful.refuses = strike
    place = Place(tmp_path / "place", {**s3_bucket.env, "AWS_ENDPOINT_URL_S3": forgetful.endpoint})
    run = place.start([sys.executable, "-c", COMMANDS, "validate-endpoint", f"s3://{s3_bucket.bucket}/x"])
    running.append(run)
    ended = run.finish(60)
    assert (ended.code, ended.out) == (130, "")
    assert "removing what was written" in ended.err
    assert len(forgetful.asked) > 25
    assert in_bucket(s3_bucket) == []


def test_a_profile_that_does_not_exist_is_named(s3_bucket: Bucket, hugesync: Run) -> None:
    url = f"s3://{s3_bucket.bucket}/x"
    for command in (["validate-endpoint", url], ["uploads", "list", url], ["validate-endpoint", "--cached", url]):
        code, _, err = hugesync(*command, "--profile", "nowhere")
        assert (code, "nowhere" in err) == (2, True)


# --- local paths -------------------------------------------------------------------------------------------------------


def test_a_filesystem_is_measured_and_left_as_it_was(tmp_path: Path, hugesync: Run, state: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for url in (root, f"file://{root}"):
        code, out, _ = hugesync("validate-endpoint", url, "--json")
        assert (code, list(root.iterdir())) == (0, [])
        found = json.loads(out)
        answers = {name: about["answer"] for name, about in found["capabilities"].items()}
        assert set(answers) == set(OF_FILESYSTEMS)
        assert answers["rename_noreplace"] is answers["rename_exchange"] is answers["fsync"] is True
    kept = find(state, LocalStore(root / "not" / "there").domain)
    assert kept is not None
    assert kept.location == str(root)


def test_under_a_json_log_what_is_said_is_an_event_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    ended = Place(tmp_path / "place").command("validate-endpoint", tmp_path / "root", HUGESYNC_LOG_FORMAT="json")
    assert ended.code == 0
    (event,) = map(json.loads, ended.err.splitlines())
    assert (event["event"], event["level"]) == ("notice", "warning")
    assert "writing below" in event["message"]


def test_a_filesystem_without_conditional_renames_is_said_to_be_best_effort_from_the_start(
    tmp_path: Path, hugesync: Run, monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    root = tmp_path / "root"
    root.mkdir()
    (root / ".hugesync").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("hugesync_tasks.stores.local_kernel.renameat2", unsupported)
        _, out, _ = hugesync("validate-endpoint", root, "--json")
    assert json.loads(out)["capabilities"]["rename_noreplace"]["answer"] is False
    assert os.listdir(root) == [".hugesync"], "a folder that was there stays"

    (tmp_path / "source").mkdir()
    source, dest = parse_location(str(tmp_path / "source")), parse_location(str(root))
    spec = probed(Spec("j", source, dest), Meter(), SharedRates(), state, Unobserved())
    opened = open_end(dest, spec.dest_limits, spec.options, "destination")
    assert opened.limits.conditional_commit == "best effort"  # what the summary says


# --- the file that keeps it --------------------------------------------------------------------------------------------

GOOD = Measured("s3 http://e b", 1_700_000_000, Findings("s3 (X)", (Fact("put_if_match", "no", "ignored"),)), "s3://b/")


def test_what_is_kept_is_found_again_and_only_for_its_own_place(tmp_path: Path) -> None:
    save(tmp_path, GOOD)
    assert find(tmp_path, GOOD.domain) == GOOD
    assert find(tmp_path, "s3 http://e other") is None
    assert every(tmp_path) == [GOOD]
    save(tmp_path, replace(GOOD, at=1_800_000_000 - 10**8))
    assert len(every(tmp_path)) == len(list((tmp_path / "endpoints").iterdir())) == 1


def with_(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def other_place(path: Path) -> None:
    """Somebody gives one bucket's good name to another."""
    save(path.parent.parent, replace(GOOD, domain="s3 http://e other"))
    (other,) = [p for p in path.parent.iterdir() if p != path]
    os.replace(other, path)


def linked(path: Path) -> None:
    os.replace(path, path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [
        with_(format=2), with_(format=True), with_(format="1"), with_(domain="s3 http://e other"), with_(domain=None),
        with_(at=10**12), with_(at=-1), with_(at=1.5), with_(at=True), with_(server=None), with_(location=7),
        with_(facts=[]), with_(facts={"x": ["yes", ""]}), with_(facts={"put_if_match": ["maybe", ""]}),
        with_(facts={"put_if_match": "yes"}), with_(facts={"put_if_match": ["yes", "", ""]}), with_(facts=None),
        with_(facts={"put_if_match": [["yes"], ""]}), with_(facts={"list_order": ["yes", ""]}),
        with_(facts={"put_if_match": ["yes", 3]}), with_(much="x" * (64 << 10)),
        lambda p: p.write_bytes(p.read_bytes()[:-9]), lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"[1]"),
        lambda p: p.write_bytes(b"[" * 60000), lambda p: p.write_bytes(b"\xff\xfe"), lambda p: p.write_bytes(b"null"),
        lambda p: p.chmod(0o620), lambda p: p.chmod(0o602), other_place, linked, a_pipe,
    ],
)  # fmt: skip
def test_a_file_that_is_damaged_or_could_be_anybodys_counts_as_none(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    save(tmp_path, GOOD)
    (path,) = (tmp_path / "endpoints").iterdir()
    spoil(path)
    assert find(tmp_path, GOOD.domain) is None
    assert every(tmp_path) == []


def test_what_was_found_of_another_server_is_not_believed(tmp_path: Path) -> None:
    limits = Limits("s3 (X)")
    assert trusted(limits, GOOD).conditional_commit == "none"
    assert trusted(replace(limits, name="s3 (Y)"), GOOD) == replace(limits, name="s3 (Y)")
    assert trusted(limits, None) == limits


def test_a_state_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "endpoints").write_text("a file")
    with pytest.raises(UsageError, match="HUGESYNC_STATE_DIR"):
        save(tmp_path, GOOD)
