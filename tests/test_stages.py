"""The stages against a strict store: what becomes of a file when the world moves, replies are lost, or bytes are damaged."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from awscrt.checksums import crc64nvme

from flows import noise, sign
from hugesync_producer.foresee import foresee
from hugesync_tasks.budget import Budget
from hugesync_tasks.errors import (
    AccessDenied,
    Cancelled,
    LeaseLost,
    NoSuchUpload,
    SourceChanged,
    Throttled,
    TooLarge,
    Transient,
    VersionMismatch,
)
from hugesync_tasks.model import Commit, Entry, Head, Kind, Meta, Outcome, Part, Transfer, Upload
from hugesync_tasks.spec import Location, Options, Rules, Spec
from hugesync_tasks.stages import intents
from hugesync_tasks.stages.begin import LargeFile, begin
from hugesync_tasks.stages.commit import commit
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.execute import BatchRun
from hugesync_tasks.stages.intents import abandon, intent_key
from hugesync_tasks.stages.parts import send_part
from hugesync_tasks.stages.steady import TRIES
from hugesync_tasks.stores.base import ANY, MIB, Store
from hugesync_tasks.stores.faults import Fault, FaultyStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.memory_objects import S3_LIKE
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.token import Token

PART = 1024
LIMITS = replace(S3_LIKE, min_part=16, max_part=PART, max_parts=50, max_copy=PART)
BODY = bytes(range(256)) * 10  # 2,560 bytes: three parts


class Bench:
    """A source and a destination, the destination's calls numbered and faulty on command."""

    def __init__(self, one_bucket: bool = False, **options: Any) -> None:
        self.source_bucket = MemoryBucket(LIMITS)
        self.bucket = self.source_bucket if one_bucket else MemoryBucket(LIMITS)
        self.source = MemoryStore(self.source_bucket, "s/")
        self.dest = MemoryStore(self.bucket, "d/")
        self.faulty, self.faulty_source = FaultyStore(self.dest), FaultyStore(self.source)
        self.rules = Rules()
        self.options = Options(part_size=PART, **options)
        self.token = Token()
        self.reported: dict[int, Outcome] = {}

    def job(self) -> JobContext:
        spec = Spec("j", Location("s3", bucket="a"), Location("s3", bucket="b"), rules=self.rules, options=self.options)
        return JobContext(spec, self._retrying(self.faulty_source), self._retrying(self.faulty))

    def _retrying(self, store: Store) -> Store:
        return RetryingStore(store, 3, sleep=lambda _: None, random=lambda: 0.0)

    def put(self, key: str, body: bytes, store: MemoryStore | None = None, mtime: int = 10**18) -> Entry:
        """As the source's listing shows it."""
        store = store or self.source
        store.put(key, body, Meta(mtime_ns=mtime), ANY, Token())
        return next(e for e in store.list(Token()) if e.key == key)

    def run(self, *transfers: Transfer) -> list[Outcome]:
        BatchRun(self.job(), self.token, self.reported.update, Budget(1 << 30)).run(dict(enumerate(transfers)))
        return [self.reported[i] for i in range(len(transfers))]

    def one(self, transfer: Transfer) -> Outcome:
        return self.run(transfer)[0]

    def holds(self, key: str) -> bytes:
        return self.bucket.get("d/" + key).body

    def left(self) -> tuple[list[str], int]:
        """Intents and open uploads."""
        return [k for k in self.bucket.dump() if ".hugesync" in k], len(self.bucket.list_uploads("d/"))


def listed(entry: Entry, expected: Entry | None = None, check: bool = False) -> Transfer:
    return Transfer(entry, expected.version if expected else None, expected, check)


def on_call(store: FaultyStore, op: str, act: Callable[[], object], times: int = 1) -> None:
    """Somebody else acts just before the next calls of ``op``."""
    inner, left = store._strike, [times]

    def strike(name: str, key: str) -> Any:
        if name == op and left[0]:
            left[0] -= 1
            act()
        return inner(name, key)

    store._strike = strike  # type: ignore[method-assign]


# execute


def test_a_batch_brings_every_file_and_its_metadata() -> None:
    bench = Bench()
    transfers = [listed(bench.put(f"f{n}", b"x" * n, mtime=n)) for n in range(70)]
    assert {o.state for o in bench.run(*transfers)} == {"done"}
    assert all(bench.holds(f"f{n}") == b"x" * n for n in range(70))
    meta = bench.bucket.get("d/f9").meta
    assert meta.mtime_ns == 9
    assert re.fullmatch("[0-9a-f]{32}", meta.generation)


def test_files_of_a_batch_are_read_many_at_a_time() -> None:
    """Each is given only when eight are asked for, so one after another would never end."""
    bench, together = Bench(), threading.Barrier(8)
    transfers = [listed(bench.put(f"f{n}", b"x" * n)) for n in range(16)]

    def open_(*args: Any, **kwargs: Any) -> Any:
        together.wait(10)
        return MemoryStore.open(bench.source, *args, **kwargs)

    bench.source.open = open_  # type: ignore[method-assign]
    assert {o.state for o in bench.run(*transfers)} == {"done"}
    assert all(bench.holds(f"f{n}") == b"x" * n for n in range(16))


@pytest.mark.parametrize("error", [AccessDenied("no"), Transient("gone"), Throttled("slow"), ValueError("a defect")])
def test_a_failing_put_fails_one_file(error: Exception) -> None:
    bench = Bench()
    transfers = [listed(bench.put(f"f{n}", b"x")) for n in range(5)]

    def put(key: str, *args: Any, **kwargs: Any) -> Commit:
        if key == "f3":
            raise error
        return MemoryStore.put(bench.dest, key, *args, **kwargs)

    bench.dest.put = put  # type: ignore[method-assign]
    outcomes = bench.run(*transfers)
    assert [o.state for o in outcomes] == ["done", "done", "done", "failed", "done"]
    assert outcomes[3].message
    assert sorted(bench.bucket.dump()) == ["d/f0", "d/f1", "d/f2", "d/f4"]


def test_a_batch_whose_end_fails_fails_its_files_and_none_that_ended_before() -> None:
    bench = Bench()
    transfers = [listed(bench.put(f"f{n}", b"x")) for n in range(3)]
    bench.put("f0", b"x", bench.dest)
    transfers[0] = listed(transfers[0].source, bench.put("f0", b"x", bench.dest), check=True)

    class Broken:
        def put(self, *_: object) -> None: ...
        def discard(self) -> None: ...
        def finish(self, token: Token) -> dict[str, Commit | Exception]:
            raise Transient("syncfs failed")

    job = bench.job()
    job.dest.batch = Broken  # type: ignore[assignment, method-assign]
    BatchRun(job, bench.token, bench.reported.update, Budget(1 << 30)).run(dict(enumerate(transfers)))
    assert [bench.reported[i].state for i in range(3)] == ["skipped", "failed", "failed"]
    assert bench.reported[1].reason == "transient"


@pytest.mark.parametrize("stop", [Cancelled("stop"), LeaseLost("another has it")])
def test_a_task_that_must_stop_reports_no_file_as_failed(stop: Exception) -> None:
    bench = Bench()
    entry = bench.put("f", b"x")
    bench.token.cancel(stop)
    with pytest.raises(type(stop)):
        bench.one(listed(entry))
    assert bench.reported == {}


@pytest.mark.parametrize("policy", ["retry", "skip", "fail"])
@pytest.mark.parametrize("one_bucket", [False, True])
def test_a_repeated_attempt_knows_what_its_predecessor_wrote(policy: str, one_bucket: bool) -> None:
    """The worker died after its puts and before its receipts: nobody else was there, so there is no conflict."""
    bench = Bench(one_bucket, on_conflict=policy)
    transfer = listed(bench.put("f", b"abc"))
    assert bench.one(transfer).state == "done"
    before = bench.bucket.dump()
    again = bench.one(transfer)
    assert (again.state, again.conflicts) == ("done", 0)
    assert again.how == ("server_copy" if one_bucket else "full")
    assert bench.bucket.dump() == before


@pytest.mark.parametrize("policy", ["skip", "fail"])
@pytest.mark.parametrize("one_bucket", [False, True])
def test_a_rivals_bytes_stay_where_conflicts_are_not_retried(policy: str, one_bucket: bool) -> None:
    bench = Bench(one_bucket, on_conflict=policy)
    entry = bench.put("f", b"ours")
    bench.put("f", b"theirs", bench.dest)
    outcome = bench.one(listed(entry))
    assert (outcome.state, outcome.reason, outcome.conflicts) == ("failed", "conflict", 1)
    assert bench.holds("f") == b"theirs"


@pytest.mark.parametrize("one_bucket", [False, True])
def test_a_retried_conflict_compares_afresh_and_plans_against_what_is_there(one_bucket: bool) -> None:
    bench = Bench(one_bucket)
    entry = bench.put("f", b"ours")
    bench.put("f", b"theirs", bench.dest, mtime=5)
    outcome = bench.one(listed(entry))
    assert (outcome.state, outcome.conflicts) == ("done", 1)
    assert bench.holds("f") == b"ours"


@pytest.mark.parametrize("on_conflict", ["retry", "skip", "fail"])
def test_an_equal_file_that_was_not_there_when_it_was_listed_is_no_conflict(on_conflict: str) -> None:
    """On a filesystem an attempt of ours that was killed before its receipt looks like this."""
    bench = Bench(on_conflict=on_conflict)
    entry = bench.put("f", b"same")
    bench.put("f", b"same", bench.dest)
    outcome = bench.one(listed(entry))
    assert (outcome.state, outcome.reason, outcome.conflicts) == ("skipped", "same", 0)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_destination_that_keeps_changing_is_given_up_after_so_many_retries(retries: int) -> None:
    bench = Bench(conflict_retries=retries)
    entry = bench.put("f", b"ours")
    rivals = iter(range(100))
    on_call(bench.faulty, "put", lambda: bench.put("f", b"rival %d" % next(rivals), bench.dest, mtime=5), times=99)
    outcome = bench.one(listed(entry))
    assert (outcome.state, outcome.reason) == ("failed", "conflict")
    assert outcome.conflicts == retries + 1
    assert next(rivals) == retries + 1
    assert bench.holds("f") == b"rival %d" % retries


def test_unsafe_overwrites_without_asking() -> None:
    bench = Bench(unsafe_no_conflict_check=True)
    entry = bench.put("f", b"ours")
    bench.put("f", b"theirs", bench.dest)
    assert bench.one(listed(entry)).conflicts == 0
    assert bench.holds("f") == b"ours"


@pytest.mark.parametrize("one_bucket", [False, True])
def test_a_source_that_changed_since_it_was_listed_is_brought_as_it_is_now(one_bucket: bool) -> None:
    bench = Bench(one_bucket)
    entry = bench.put("f", b"old")
    bench.put("f", b"newer")
    outcome = bench.one(listed(entry))
    assert (outcome.state, outcome.conflicts) == ("done", 0)
    assert bench.holds("f") == b"newer"


def test_a_source_that_changes_between_a_copys_head_and_the_copy_is_no_conflict() -> None:
    bench = Bench(one_bucket=True, on_conflict="skip")
    entry = bench.put("f", b"old")
    on_call(bench.faulty, "copy", lambda: bench.put("f", b"newer"))
    outcome = bench.one(listed(entry))
    assert (outcome.state, outcome.conflicts) == ("done", 0)
    assert bench.holds("f") == b"newer"


def test_a_source_that_changes_under_every_reading_is_source_changed_and_never_published() -> None:
    bench = Bench()
    entry = bench.put("f", b"v0")
    versions = iter(range(1, 100))
    on_call(bench.faulty_source, "open", lambda: bench.put("f", b"v%d" % next(versions)), times=99)
    outcome = bench.one(listed(entry))
    assert (outcome.state, outcome.reason) == ("failed", "source_changed")
    assert next(versions) == TRIES + 1
    assert bench.bucket.dump() == {}


@pytest.mark.parametrize("becomes", [None, b"x" * (PART + 1)])
def test_a_source_that_vanishes_or_outgrows_its_batch_is_source_changed(becomes: bytes | None) -> None:
    bench = Bench()
    entry = bench.put("f", b"v0")
    if becomes is None:
        bench.source.delete("f", ANY, Token())
    else:
        bench.put("f", becomes)
    outcome = bench.one(listed(entry))
    assert (outcome.state, outcome.reason) == ("failed", "source_changed")
    assert bench.bucket.dump() == {}


def test_bytes_damaged_on_the_way_are_read_again_and_never_published() -> None:
    bench = Bench()
    entry = bench.put("f", b"precious")
    bench.faulty_source.arm(Fault(op="open", mode="flip", at=3))
    outcome = bench.one(listed(entry))
    assert (outcome.state, outcome.verified) == ("done", True)
    assert bench.holds("f") == b"precious"
    again = bench.put("g", b"precious")
    bench.faulty_source.arm(Fault(op="open", mode="flip", at=3, times=99))
    outcome = bench.one(listed(again))
    assert (outcome.state, outcome.reason) == ("failed", "transient")
    assert "d/g" not in bench.bucket.dump()


@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("op", ["put", "head", "open"])
@pytest.mark.parametrize("policy", ["retry", "fail"])
def test_one_lost_request_or_reply_changes_nothing(op: str, mode: str, policy: str) -> None:
    bench = Bench(on_conflict=policy)
    theirs = bench.put("f", b"old one", bench.dest, mtime=5)
    entry = bench.put("f", b"ours")
    (bench.faulty_source if op == "open" else bench.faulty).arm(Fault(op=op, mode=mode))
    outcome = bench.one(listed(entry, theirs, check=True))
    assert (outcome.state, outcome.conflicts) == ("done", 0)
    assert bench.holds("f") == b"ours"


def test_a_checked_file_that_is_too_large_for_a_batch_asks_to_be_sent_in_parts() -> None:
    bench = Bench()
    entry, theirs = bench.put("f", BODY), bench.put("f", BODY[::-1], bench.dest, mtime=5)
    outcome = bench.one(listed(entry, theirs, check=True))
    assert (outcome.state, outcome.found) == ("large", theirs.version)


# compare


@pytest.mark.parametrize("theirs", [b"same bytes", b"other byte"])
@pytest.mark.parametrize("digests", ["both", "source", "dest", "neither"])
def test_checksum_compares_contents_whatever_the_times_say_and_never_assumes(theirs: bytes, digests: str) -> None:
    bench = Bench()
    bench.rules = Rules(checksum=True)
    none = replace(LIMITS, full_crc64=False, etag_is_md5=False)
    entry, dest = bench.put("f", b"same bytes"), bench.put("f", theirs, bench.dest)
    if digests in ("dest", "neither"):
        bench.source.limits = none
    if digests in ("source", "neither"):
        bench.dest.limits = none
    outcome = bench.one(listed(entry, dest, check=True))
    equal = theirs == b"same bytes"
    assert (outcome.state, outcome.reason) == (("skipped", "same") if equal else ("done", ""))
    assert bench.holds("f") == b"same bytes"


# begin, parts, commit


def planned(bench: Bench, body: bytes = BODY) -> Transfer:
    return listed(bench.put("big", body))


def send(bench: Bench, transfer: Transfer) -> tuple[LargeFile, list[Part]]:
    job = bench.job()
    large, there = begin(job, transfer, bench.token)
    by_number = {p.number: p for p in there}
    total = int(large.fields()["total"])
    return large, [send_part(job, large, n, by_number.get(n), bench.token)[0] for n in range(1, total + 1)]


def parts_sent(bench: Bench) -> int:
    return sum(1 for op, _ in bench.bucket.log if op == "part")


def test_a_file_whose_parts_do_not_fit_into_memory_is_refused_by_name_and_opens_no_upload() -> None:
    bench = Bench()
    transfer = planned(bench)
    with pytest.raises(TooLarge, match="with --memory 7MiB they fit"):
        begin(bench.job(), transfer, bench.token, in_hand=1, memory_for=lambda needed: 7 << 20)
    assert list(bench.dest.list_uploads(bench.token)) == []
    assert begin(bench.job(), transfer, bench.token, in_hand=1 << 30)[0].upload.size == len(BODY)


@pytest.mark.parametrize("one_bucket", [False, True])
def test_a_large_file_arrives_whole_proven_and_with_nothing_left(one_bucket: bool) -> None:
    bench = Bench(one_bucket)
    large, parts = send(bench, planned(bench))
    outcome = commit(bench.job(), large, parts, bench.token)
    assert outcome.state == "done"
    assert outcome.verified
    assert outcome.how == ("server_copy" if one_bucket else "full")
    assert bench.holds("big") == BODY
    assert bench.bucket.get("d/big").meta.generation == large.upload.generation
    assert bench.left() == ([], 0)


def test_a_large_file_goes_over_the_wire_and_back() -> None:
    bench = Bench()
    large, _ = begin(bench.job(), planned(bench), bench.token)
    again = LargeFile.of(json.loads(json.dumps(large.fields())))
    assert again == replace(large, total=3)
    assert again.fields() == large.fields()


def test_a_second_begin_goes_on_with_the_upload_of_its_own_generation_and_compares_its_parts() -> None:
    bench = Bench()
    transfer = planned(bench)
    first, _ = begin(bench.job(), transfer, bench.token)
    send_part(bench.job(), first, 2, None, bench.token)
    second, parts = send(bench, transfer)
    assert second.upload == first.upload
    assert parts_sent(bench) == 3, "part 2 was there"
    assert commit(bench.job(), second, parts, bench.token).state == "done"
    assert bench.holds("big") == BODY
    assert bench.left() == ([], 0)


def test_an_adopted_part_of_equal_size_and_other_bytes_is_sent_again() -> None:
    bench = Bench()
    transfer = planned(bench)
    first, _ = begin(bench.job(), transfer, bench.token)
    bench.dest.put_part(first.upload, 2, bytes(PART), bench.token)
    large, parts = send(bench, transfer)
    assert large.upload == first.upload
    assert parts[1].crc64 == crc64nvme(BODY[PART : 2 * PART])
    assert commit(bench.job(), large, parts, bench.token).state == "done"
    assert bench.holds("big") == BODY


@pytest.mark.parametrize("crc64", [True, False])
@pytest.mark.parametrize("md5", [True, False])
@pytest.mark.parametrize("equal", [True, False])
def test_a_listed_part_counts_only_where_a_checksum_shows_it(crc64: bool, md5: bool, equal: bool) -> None:
    bench = Bench()
    bench.bucket.limits = bench.dest.limits = replace(LIMITS, full_crc64=crc64, etag_is_md5=md5)
    transfer = planned(bench)
    first, _ = begin(bench.job(), transfer, bench.token)
    bench.dest.put_part(first.upload, 1, BODY[:PART] if equal else bytes(PART), bench.token)
    _, there = begin(bench.job(), transfer, bench.token)
    part, _ = send_part(bench.job(), first, 1, there[0], bench.token)
    assert part.crc64 == (crc64nvme(BODY[:PART]) if crc64 or (equal and md5) else None)
    assert parts_sent(bench) == (1 if equal and (crc64 or md5) else 2)
    kept = bench.dest.list_parts(first.upload, bench.token)[0]
    assert bench.bucket._uploads[first.upload.id].bodies[1] == BODY[:PART]
    assert kept.size == PART


def test_another_generations_upload_is_never_written_to() -> None:
    bench = Bench()
    first, _ = begin(bench.job(), planned(bench), bench.token)
    second, there = begin(bench.job(), listed(bench.put("big", BODY[::-1])), bench.token)
    assert second.upload.generation != first.upload.generation
    assert second.upload.id != first.upload.id
    assert there == []


INTENT = {"version": 1, "upload": "stolen", "generation": "", "key": "big", "size": len(BODY), "part_size": PART}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"7", b'"x"', b"null", b"{}", b"\xff\xfe",
        json.dumps({**INTENT, "generation": "f" * 32}).encode(),
        json.dumps({**INTENT, "key": "other"}).encode(),
        json.dumps({**INTENT, "size": 5}).encode(),
        json.dumps({**INTENT, "part_size": 0}).encode(),
        json.dumps({**INTENT, "part_size": 1}).encode(),  # more parts than the store takes
        json.dumps({**INTENT, "part_size": 1 << 40}).encode(),
        json.dumps({**INTENT, "upload": 7}).encode(),
        json.dumps({**INTENT, "part_size": None}).encode(),
        json.dumps({**INTENT, "part_size": True}).encode(),
        json.dumps({**INTENT, "part_size": 1}).encode().replace(b": 1}", b": 1e999}"),  # found by `make fuzz`
        json.dumps({**INTENT, "upload": ""}).encode(),
        b"[" * 15_000,
        json.dumps({**INTENT, "more": "x" * intents.MOST}).encode(),
    ],
)  # fmt: skip
def test_a_foreign_or_damaged_intent_is_never_trusted(body: bytes) -> None:
    bench = Bench()
    transfer = planned(bench)
    first, _ = begin(bench.job(), transfer, bench.token)
    generation, stolen = first.upload.generation, first.upload.id
    text = body.replace(b'"generation": ""', f'"generation": "{generation}"'.encode())
    text = text.replace(b"stolen", stolen.encode())
    name = intent_key("big", generation, bench.dest)
    bench.dest.put(name, text, Meta(), ANY, bench.token)
    large, there = begin(bench.job(), transfer, bench.token)
    assert large.upload.id != stolen
    assert there == []
    assert json.loads(bench.holds(name))["upload"] == large.upload.id


def test_an_intent_whose_upload_is_gone_is_replaced() -> None:
    bench = Bench()
    transfer = planned(bench)
    first, _ = begin(bench.job(), transfer, bench.token)
    bench.dest.abort(first.upload, bench.token)
    large, parts = send(bench, transfer)
    assert commit(bench.job(), large, parts, bench.token).state == "done"
    assert bench.left() == ([], 0)


def test_an_intent_that_cannot_be_put_leaves_no_upload() -> None:
    bench = Bench()
    transfer = planned(bench)
    bench.faulty.arm(Fault(op="put", times=99))
    with pytest.raises(Transient):
        begin(bench.job(), transfer, bench.token)
    assert bench.left() == ([], 0)


def test_a_worker_that_lost_its_task_meanwhile_opens_no_upload() -> None:
    bench = Bench()
    transfer = planned(bench)
    pulses = []

    def pulse(_: int) -> None:
        pulses.append(1)
        raise LeaseLost("another worker has this task now")

    with pytest.raises(LeaseLost):
        begin(bench.job(), transfer, Token(pulse=pulse))
    assert pulses
    assert bench.left() == ([], 0)


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_a_source_that_is_not_what_was_planned_is_planned_anew(what: str) -> None:
    bench = Bench()
    transfer = planned(bench)
    if what == "gone":
        bench.source.delete("big", ANY, Token())
    else:
        bench.put("big", BODY[::-1])
    with pytest.raises(SourceChanged):
        begin(bench.job(), transfer, bench.token)
    assert bench.left() == ([], 0)


@pytest.mark.parametrize("one_bucket", [False, True])
def test_a_part_of_a_source_that_changed_is_never_sent(one_bucket: bool) -> None:
    bench = Bench(one_bucket)
    large, _ = begin(bench.job(), planned(bench), bench.token)
    bench.put("big", BODY[::-1])
    with pytest.raises(SourceChanged):
        send_part(bench.job(), large, 1, None, bench.token)


def test_a_part_for_an_upload_that_is_gone_says_so() -> None:
    bench = Bench()
    large, _ = begin(bench.job(), planned(bench), bench.token)
    abandon(bench.dest, large.upload, bench.token)
    with pytest.raises(NoSuchUpload):
        send_part(bench.job(), large, 1, None, bench.token)
    assert bench.left() == ([], 0)


@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_lost_reply_of_the_commit_is_recognised_by_generation_and_size(mode: str) -> None:
    bench = Bench()
    large, parts = send(bench, planned(bench))
    bench.faulty.arm(Fault(op="complete", mode=mode))
    outcome = commit(bench.job(), large, parts, bench.token)
    assert (outcome.state, outcome.conflicts) == ("done", 0)
    assert bench.left() == ([], 0)


def test_a_commit_repeated_by_another_worker_is_done() -> None:
    bench = Bench()
    large, parts = send(bench, planned(bench))
    assert commit(bench.job(), large, parts, bench.token).state == "done"
    again = commit(bench.job(), large, parts, bench.token)
    assert (again.state, again.conflicts, again.verified) == ("done", 0, True)


@pytest.mark.parametrize(("generation", "size"), [("other", len(BODY)), ("ours", 5)])
def test_neither_generation_nor_size_alone_makes_it_ours(generation: str, size: int) -> None:
    bench = Bench()
    large, parts = send(bench, planned(bench))
    mark = large.upload.generation if generation == "ours" else "f" * 32
    bench.dest.put("big", bytes(size), Meta(generation=mark), None, bench.token)
    outcome = commit(bench.job(), large, parts, bench.token)
    assert (outcome.state, outcome.reason, outcome.conflicts) == ("replan", "conflict", 1)
    assert bench.holds("big") == bytes(size)
    assert bench.left() == ([], 0)


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_a_source_that_changed_by_the_commit_is_never_published(what: str) -> None:
    bench = Bench()
    large, parts = send(bench, planned(bench))
    if what == "gone":
        bench.source.delete("big", ANY, Token())
    else:
        bench.put("big", BODY[::-1])
    outcome = commit(bench.job(), large, parts, bench.token)
    assert (outcome.state, outcome.reason) == ("replan", "source_changed")
    assert bench.bucket.dump() == {}
    assert bench.left() == ([], 0)


def test_an_upload_that_vanished_is_planned_anew() -> None:
    bench = Bench()
    large, parts = send(bench, planned(bench))
    bench.dest.abort(large.upload, bench.token)
    outcome = commit(bench.job(), large, parts, bench.token)
    assert (outcome.state, outcome.reason, outcome.conflicts) == ("replan", "upload_lost", 0)
    assert bench.left() == ([], 0)


def test_parts_that_do_not_add_up_to_the_source_are_never_published() -> None:
    bench = Bench()
    large, parts = send(bench, planned(bench))
    bad = bench.dest.put_part(large.upload, 2, bytes(PART), bench.token)
    with pytest.raises(Transient, match="CRC64NVME"):
        commit(bench.job(), large, [parts[0], bad, parts[2]], bench.token)
    assert "d/big" not in bench.bucket.dump()


def test_an_intent_that_cannot_be_deleted_does_not_make_a_committed_file_failed() -> None:
    bench = Bench()
    large, parts = send(bench, planned(bench))
    bench.faulty.arm(Fault(op="delete", error=AccessDenied("no right to delete"), times=99))
    outcome = commit(bench.job(), large, parts, bench.token)
    assert outcome.state == "done"
    assert "no right to delete" in outcome.notes[0]
    assert bench.holds("big") == BODY


@pytest.mark.parametrize("refused", [False, True])
def test_what_a_commit_left_of_its_upload_is_taken_away_or_told(refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where parts are objects, the process that made the file visible may end before it has removed them."""
    bench, aborted = Bench(), []
    large, parts = send(bench, planned(bench))
    made = replace(bench.dest.complete(large.upload, parts, large.meta, None, None, bench.token), litter=True)

    def abort(upload: Upload, token: Token) -> None:
        aborted.append(upload)
        if refused:
            raise AccessDenied("no right to delete")

    monkeypatch.setattr(bench.dest, "complete", lambda *a: made)
    monkeypatch.setattr(bench.dest, "abort", abort)
    outcome = commit(bench.job(), large, parts, bench.token)
    assert (outcome.state, aborted) == ("done", [large.upload])
    assert ["no right to delete" in note for note in outcome.notes] == [True] * refused


def test_a_name_too_long_for_its_intent_is_hashed() -> None:
    bench = Bench()
    bench.dest.limits = replace(LIMITS, max_segment=255)
    for name in ("n" * 255, "é" * 127):
        key = intent_key(f"a/b/{name}", "g" * 32, bench.dest)
        assert key.startswith("a/b/.hugesync/")
        assert all(len(segment.encode()) <= 255 for segment in key.split("/"))
    assert intent_key("x", "g" * 32, bench.dest) == f".hugesync/x.{'g' * 32}.upload"


def test_the_intent_of_a_long_key_is_no_longer_than_the_store_allows_whatever_the_prefix() -> None:
    bench = Bench()
    bench.dest.limits = replace(LIMITS, max_key=1024)
    for prefix in (0, 100, 500):
        key = "/".join(["f" * 50] * 20)[: 1024 - prefix]
        name = intent_key(key, "g" * 32, bench.dest)
        assert prefix + len(name) <= 1024
        assert name != intent_key(key[:-1] + "x", "g" * 32, bench.dest)


def test_abandoning_twice_is_no_error() -> None:
    bench = Bench()
    upload = Upload("k", "never", "g" * 32, 5, 5)
    abandon(bench.dest, upload, bench.token)
    abandon(bench.dest, upload, bench.token)
    assert bench.left() == ([], 0)


# what is proven


def test_a_commit_that_shows_another_size_is_never_called_done() -> None:
    bench = Bench()
    entry = bench.put("f", b"four")

    def short(key: str, *args: Any, **kwargs: Any) -> Commit:
        return replace(MemoryStore.put(bench.dest, key, *args, **kwargs), size=3)

    bench.dest.put = short  # type: ignore[method-assign]
    outcome = bench.one(listed(entry))
    assert outcome.state == "failed"
    assert "3 bytes" in outcome.message


def test_a_link_and_an_empty_folder_travel_as_objects() -> None:
    bench = Bench()
    bench.source.put("l.rclonelink", b"target", Meta(mtime_ns=1, link=True), None, Token())
    bench.source.put("d/", b"", Meta(mtime_ns=1), None, Token())
    entries = list(bench.source.list(Token()))
    assert {e.kind for e in entries} == {Kind.LINK, Kind.DIR}
    assert {o.state for o in bench.run(*(listed(e) for e in entries))} == {"done"}
    assert bench.holds("l.rclonelink") == b"target"
    head = bench.dest.head("l.rclonelink", Token())
    assert isinstance(head, Head)
    assert head.meta.link
    assert bench.holds("d/") == b""


def test_a_put_is_conditional_on_the_version_it_was_planned_against() -> None:
    bench = Bench()
    with pytest.raises(VersionMismatch):
        bench.dest.put("f", b"x", Meta(), "another", Token())
    theirs = bench.put("f", b"v1", bench.dest, mtime=5)
    assert bench.one(listed(bench.put("f", b"v2!"), theirs)).state == "done"
    assert bench.holds("f") == b"v2!"


@pytest.mark.parametrize(("change", "saved"), [(None, 2 * MIB), (700_000, 0)])
def test_an_estimate_for_a_store_that_takes_over_only_the_whole_is_all_of_it_or_nothing(
    change: int | None, saved: int
) -> None:
    limits = replace(S3_LIKE, min_part=1, part_copy="whole", copy_proof="crc32c")
    source, dest = MemoryStore(prefix="s/"), MemoryStore(limits=limits)
    source.limits = replace(source.limits, remote=False)  # a folder's file, whose bytes can be read
    old, token = noise(3, 2 * MIB), Token()
    new = bytearray(old + b"grown" * 1000)
    if change is not None:
        new[change] ^= 1
    there = dest.put("f", old, Meta(), None, token)
    sign(dest, "f", old, there)
    source.put("f", bytes(new), Meta(), None, token)
    head = source.head("f", token)
    assert head is not None
    options = Options(delta_threshold=MIB)
    job = JobContext(Spec("j", Location("file"), Location("gs"), options=options), source, dest)
    assert foresee(job, Transfer(head.entry, there.version), token, estimate=True).reused == saved
