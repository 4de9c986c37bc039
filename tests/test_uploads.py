"""``hugesync uploads``: what is old is ended, with its intent; what is younger, and every object, is never touched."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Bucket
from hugesync_producer import cli, cli_jobs, uploads
from hugesync_tasks.errors import AccessDenied, UsageError
from hugesync_tasks.model import Meta, Upload
from hugesync_tasks.spec import Location, Options
from hugesync_tasks.stages.intents import intent_key, put_intent
from hugesync_tasks.stores import opening
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.memory_objects import S3_LIKE
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.stores.s3_probe import probe
from hugesync_tasks.token import Token

DAY = 86400.0
GEN = "0123456789abcdef0123456789abcdef"
Run = Callable[..., tuple[int, str, str]]


class Clock:
    now = 1_800_000_000.0

    def ns(self) -> int:
        return int(self.now * 1e9)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """What ``s3://bucket/data/`` is in this test."""
    bucket = MemoryBucket(S3_LIKE, clock.ns)
    monkeypatch.setitem(opening._OPENERS, "s3", lambda it: MemoryStore(bucket, it.location.prefix))
    return MemoryStore(bucket, "data/")


@pytest.fixture
def hugesync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*args: object) -> tuple[int, str, str]:
        code = cli.invoke(cli_jobs.hugesync_commands, "hugesync", [str(a) for a in args])
        return code, *capsys.readouterr()

    return run


def begun(store: MemoryStore | S3Store, key: str, body: bytes = b"12345", intent: bool = True) -> Upload:
    upload = store.create_upload(key, len(body), 5 << 20, Meta(generation=GEN), Token())
    store.put_part(upload, 1, body, Token())
    if intent:
        put_intent(store, upload, Token())
    return upload


def standing(store: MemoryStore | S3Store) -> tuple[list[str], list[str]]:
    """Open uploads by id, and intents by key."""
    return sorted(id for _, id, _ in store.list_uploads(Token())), sorted(e.key for e in store.list_ours(Token()))


URL = "s3://bucket/data"


def test_whose_how_old_and_how_large_each_is_and_what_lies_beside_the_prefix_is_not_listed(
    store: MemoryStore, clock: Clock
) -> None:
    ours = begun(store, "a/deep/file")
    clock.now += 2 * DAY
    foreign = begun(store, "top", b"12", intent=False)
    begun(MemoryStore(store.bucket, "data2/"), "elsewhere")
    clock.now += DAY

    found = uploads.survey(URL, "", None, clock).uploads
    assert [(o.key, o.id, o.age, o.holds, o.ours) for o in found] == [
        ("a/deep/file", ours.id, 3 * DAY, 5, True),
        ("top", foreign.id, DAY, 2, False),
    ]
    assert [o.key for o in uploads.survey(URL, "", 1.5 * DAY, clock).uploads] == ["a/deep/file"]


def test_what_is_older_is_aborted_with_its_intent_and_nothing_else_is_touched(store: MemoryStore, clock: Clock) -> None:
    store.put("file", b"an object", Meta(), None, Token())
    store.put("kept.upload", b"a user's", Meta(), None, Token())
    begun(store, "file")
    begun(store, "b/foreign", intent=False)
    clock.now += 7 * DAY
    just_at_it = begun(store, "b/at the cutoff")
    clock.now += 7 * DAY
    young = begun(store, "young")
    objects = {key for key in store.bucket.dump() if "/.hugesync/" not in key}

    foreseen = uploads.abort(URL, "", 7 * DAY, True, clock)
    assert len(standing(store)[0]) == 4, "a dry run aborts nothing"
    done = uploads.abort(URL, "", 7 * DAY, False, clock)

    assert [o.key for o in done.uploads] == [o.key for o in foreseen.uploads] == ["b/foreign", "file"]
    assert (done.intents, foreseen.intents, done.failed) == (1, 1, [])
    assert done.to_json()["bytes"] == 10
    keys = [intent_key(u.key, GEN, store) for u in (just_at_it, young)]
    assert standing(store) == (sorted([just_at_it.id, young.id]), sorted(keys))
    assert {key for key in store.bucket.dump() if "/.hugesync/" not in key} == objects


def test_an_intent_whose_upload_is_gone_is_swept_when_it_is_old_enough(store: MemoryStore, clock: Clock) -> None:
    for key in ("x/done", "y" * 900):
        store.abort(begun(store, key), Token())
    clock.now += 2 * DAY
    store.abort(begun(store, "young"), Token())

    assert len(standing(store)[1]) == 3
    assert uploads.abort(URL, "", DAY, True, clock).intents == 2
    assert uploads.abort(URL, "", DAY, False, clock).intents == 2
    assert standing(store) == ([], [intent_key("young", GEN, store)])


def test_a_later_upload_that_an_old_intent_names_stands_and_so_does_the_intent(
    store: MemoryStore, clock: Clock
) -> None:
    upload = begun(store, "file", intent=False)
    clock.now -= 9 * DAY  # whatever wrote this one had a clock of its own
    put_intent(store, upload, Token())
    clock.now += 10 * DAY

    assert uploads.abort(URL, "", 7 * DAY, False, clock).lines() == ["0 uploads aborted"]
    assert standing(store) == ([upload.id], [intent_key("file", GEN, store)])


@pytest.mark.parametrize(
    "change",
    [
        {"key": "other/file"}, {"generation": "f" * 32}, {"key": "../file"}, {"upload": ""}, {"size": -1}, {"key": None},
    ],
)  # fmt: skip
def test_an_intent_that_lies_elsewhere_than_it_says_or_is_damaged_claims_nothing_and_stays(
    store: MemoryStore, clock: Clock, change: dict[str, object]
) -> None:
    """It lies where anybody may write: an object of a user, perhaps."""
    upload = begun(store, "file")
    key = intent_key("file", GEN, store)
    with store.open(key, "", Token()) as reader:
        said = json.loads(b"".join(reader))
    store.put(key, json.dumps({**said, **change}).encode(), Meta(), "*", Token())
    clock.now += 9 * DAY

    assert [o.ours for o in uploads.survey(URL, "", None, clock).uploads] == [False]
    assert uploads.abort(URL, "", DAY, False, clock).intents == 0
    assert standing(store) == ([], [key])
    assert upload.id not in standing(store)[0]


def test_an_intent_that_a_job_has_just_put_anew_stays(
    store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = begun(store, "file")
    clock.now += 9 * DAY
    real, newer = MemoryStore.abort, []

    def abort(self: MemoryStore, gone: Upload, token: Token) -> None:
        real(self, gone, token)
        clock.now += 1
        newer.append(replace(begun(store, "file"), key=upload.key))

    monkeypatch.setattr(MemoryStore, "abort", abort)
    done = uploads.abort(URL, "", DAY, False, clock)
    assert (len(done.uploads), done.intents, done.failed) == (1, 0, [])
    assert standing(store) == ([newer[0].id], [intent_key("file", GEN, store)])


def test_one_that_may_not_be_aborted_is_told_and_the_others_are_ended(
    store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, hugesync: Run
) -> None:
    clock.now = time.time() - 9 * DAY
    denied, other = begun(store, "a"), begun(store, "b")
    real = MemoryStore.abort

    def abort(self: MemoryStore, upload: Upload, token: Token) -> None:
        if upload.key == "a":
            raise AccessDenied("access denied", upload.key)
        real(self, upload, token)

    monkeypatch.setattr(MemoryStore, "abort", abort)
    code, out, err = hugesync("uploads", "abort", URL, "--older-than", "7d", "--json")
    found = json.loads(out)
    assert code == 1
    assert [u["id"] for u in found["aborted"]] == [other.id]
    assert found["failures"] == [f"a: upload {denied.id}: access denied"]
    assert "access denied" in err
    assert standing(store) == ([denied.id], [intent_key("a", GEN, store)])


# --- the commands ------------------------------------------------------------------------------------------------------


def test_the_commands_say_it_as_text_and_as_one_object(store: MemoryStore, clock: Clock, hugesync: Run) -> None:
    clock.now = time.time() - 8 * DAY
    upload = begun(store, "dir/fi\nle")

    code, out, _ = hugesync("uploads", "list", URL)
    head, row, total = out.splitlines()
    assert (code, head.split()) == (0, ["KEY", "ID", "AGE", "HOLDS", "OURS"])
    assert [cell.strip() for cell in row.split("  ") if cell] == ["$'dir/fi\\nle'", upload.id, "8 days", "5 B", "yes"]
    assert total == "1 upload open, 5 B in parts"
    (one,) = json.loads(hugesync("uploads", "list", URL, "--older-than", "7d", "--json")[1])["uploads"]
    assert (one["key"], one["id"], one["bytes"], one["ours"]) == ("dir/fi\nle", upload.id, 5, True)
    assert one["age_seconds"] == pytest.approx(8 * DAY, abs=60)
    assert json.loads(hugesync("uploads", "list", URL, "--older-than", "9d", "--json")[1])["uploads"] == []

    code, out, _ = hugesync("uploads", "abort", URL, "--older-than", "7d", "-n")
    assert (code, out.splitlines()[1:]) == (0, ["1 upload would be aborted, 5 B in parts", "1 intent would be deleted"])
    code, out, _ = hugesync("uploads", "abort", URL, "--older-than", "7d")
    assert (code, out.splitlines()[1:]) == (0, ["1 upload aborted, 5 B in parts", "1 intent deleted"])
    assert standing(store) == ([], [])


def test_where_nobody_can_delete_parts_that_is_said_and_nothing_is_called_aborted(
    store: MemoryStore, hugesync: Run, clock: Clock
) -> None:
    begun(store, "a", intent=False)
    clock.now += 9 * DAY
    limits = replace(S3_LIKE, abort_frees=False)
    store.bucket.limits = limits
    code, out, err = hugesync("uploads", "abort", "--older-than", "1d", "s3://bucket/data")
    assert (code, out) == (2, "")
    assert "nobody can delete the parts" in err
    assert len(standing(store)[0]) == 1
    assert hugesync("uploads", "list", "s3://bucket/data")[0] == 0


@pytest.mark.parametrize(
    "args",
    [
        ["abort", URL], ["abort", URL, "--older-than", "soon"], ["abort", URL, "--older-than", "-1d"],
        ["list", URL, "--older-than", "x"], ["list"], ["list", "gs://b/x"], ["list", "/does/not/exist"],
        ["list", "/tmp", "--profile", "p"], ["end", URL], ["abort", "/does/not/exist", "--older-than", "1d"],
    ],
)  # fmt: skip
def test_bad_usage_is_2_and_one_object(hugesync: Run, store: MemoryStore, args: list[str]) -> None:
    code, out, err = hugesync("uploads", *args, "--json")
    assert (code, json.loads(out)["state"]) == (2, "usage")
    assert err.strip()


def test_nobody_there_is_5(hugesync: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ENDPOINT_URL_S3", "http://127.0.0.1:9"), ("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "y")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(uploads, "Options", lambda: Options(retries=1))
    assert hugesync("uploads", "list", "s3://bucket/x")[0] == 5


# --- real stores -------------------------------------------------------------------------------------------------------


def test_at_a_real_store(s3_bucket: Bucket) -> None:
    store = S3Store(s3_bucket.bucket, "data/")
    store.limits = probe(store, Token())
    begun(store, "a/ours")
    begun(store, "foreign", b"123", intent=False)
    store.abort(begun(store, "gone"), Token())
    store.put("object", b"x", Meta(), None, Token())
    url = f"s3://{s3_bucket.bucket}/data"

    found = uploads.survey(url, "", None).uploads
    assert [(o.key, o.holds, o.ours) for o in found] == [("a/ours", 5, True), ("foreign", 3, False)]
    assert uploads.abort(url, "", DAY, False).lines() == ["0 uploads aborted"]
    assert len(standing(store)[0]) == 2

    done = uploads.abort(url, "", DAY, False, lambda: time.time() + 2 * DAY)
    assert done.lines() == ["2 uploads aborted, 8 B in parts", "2 intents deleted"]
    assert standing(store) == ([], [])
    listed = s3_bucket.client.list_objects_v2(Bucket=s3_bucket.bucket)["Contents"]
    assert [o["Key"] for o in listed] == ["data/object"]
    with pytest.raises(UsageError, match="no such bucket"):
        uploads.survey("s3://no-such-bucket-here/x", "", None)


def test_of_a_folder_only_temporaries_of_ours_that_nobody_writes_any_more_go(tmp_path: Path, hugesync: Run) -> None:
    store = LocalStore(tmp_path / "root")
    old, young = (
        store.create_upload(key, 8 << 20, 1 << 20, Meta(generation=GEN), Token()) for key in ("d/old", "d/young")
    )
    for upload in (old, young):
        store.put_part(upload, 1, os.urandom(1 << 20), Token())
    folder = tmp_path / "root" / "d"
    (folder / "notes.part").write_bytes(b"a user's")
    (folder / ".hugesync-old.part").write_bytes(b"not quite our name")
    for path in folder.iterdir():
        if path.name not in (young.id, young.id.replace(".part", ".ranges")):
            os.utime(path, (time.time() - 3 * DAY,) * 2)

    (one, two) = json.loads(hugesync("uploads", "list", tmp_path / "root", "--json")[1])["uploads"]
    assert (one["key"], one["ours"], two["key"]) == ("d/old", True, "d/young")
    assert 1 << 20 <= one["bytes"] < 2 << 20, "what it takes on the disk, not how long it will be"

    code, out, _ = hugesync("uploads", "abort", tmp_path / "root", "--older-than", "1d")
    assert code == 0
    assert "1 upload aborted" in out
    left = {young.id, young.id.replace(".part", ".ranges"), "notes.part", ".hugesync-old.part"}
    assert {p.name for p in folder.iterdir()} == left
    assert Location("file", local=str(folder)).display() == str(folder)
