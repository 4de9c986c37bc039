"""The wrappers over the strict fake: what is repeated, what is judged, what is waited for, what fails on command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from conftest import Bucket
from hugesync_tasks.errors import (
    Cancelled,
    Corrupted,
    DeadlineExceeded,
    NoSuchUpload,
    NotFound,
    Throttled,
    Transient,
    UsageError,
    VersionMismatch,
)
from hugesync_tasks.model import Commit, Entry, Meta
from hugesync_tasks.spec import Location, Options
from hugesync_tasks.stores.base import ABSENT, ANY, MIB
from hugesync_tasks.stores.faults import Fault, FaultyStore
from hugesync_tasks.stores.limited import LimitedStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.memory_objects import S3_LIKE
from hugesync_tasks.stores.named import NamedStore
from hugesync_tasks.stores.opening import Opening, open_store, register
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.stores.throttle import ThrottledStore
from hugesync_tasks.stores.wrapper import Wrapper, innermost
from hugesync_tasks.token import Token

OURS, RIVALS = "0" * 32, "f" * 32
META = Meta(generation=OURS)


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def stack(
    *faults: Fault, attempts: int = 5, clock: Clock | None = None
) -> tuple[RetryingStore, FaultyStore, MemoryStore]:
    memory = MemoryStore(limits=replace(S3_LIKE, min_part=4), page_size=2)
    faulty = FaultyStore(memory, faults)
    clock = clock or Clock()
    return RetryingStore(faulty, attempts, 1.0, 8.0, clock.sleep, lambda: 1.0), faulty, memory


def ops(faulty: FaultyStore) -> list[str]:
    return [call.op for call in faulty.log]


def seed(memory: MemoryStore, key: str, body: bytes, generation: str = RIVALS) -> str:
    return memory.put(key, body, Meta(generation=generation), ANY, Token()).version


# what is repeated


def test_only_what_is_transient_is_repeated_and_each_repeat_is_counted() -> None:
    store, faulty, memory = stack(Fault(op="head", times=3))
    seed(memory, "f", b"x")
    token = Token()
    assert store.head("f", token) is not None
    assert ops(faulty) == ["head"] * 4
    assert token.meter.take()["retries"] == 3
    with pytest.raises(NotFound):
        store.open("nothing", "", Token())
    assert ops(faulty)[4:] == ["open"]


def test_only_repeats_that_a_store_asked_for_count_as_throttled() -> None:
    asked = Fault(op="head", times=2, error=Throttled("slow down", "f"))
    store, _, _ = stack(Fault(op="delete", times=2), asked)
    token = Token()
    store.head("f", token)
    store.delete("f", ANY, token)
    counted = token.meter.take()
    assert (counted["throttled"], counted["retries"]) == (2, 4)


def test_a_wait_renews_the_lease_and_does_not_push_the_deadline() -> None:
    clock, pulses = Clock(), list[float]()
    token = Token(pulse=lambda _: pulses.append(clock.now), clock=clock, patience=40.0)
    store, faulty, _ = stack(Fault(op="head", times=9, error=Throttled("slow down", "f", 19.0)), clock=clock)
    with pytest.raises(Throttled):
        store.head("f", token)
    assert pulses == pytest.approx([n / 4 for n in range(1, 81)])
    assert len(faulty.log) == 2  # the next wait, of 21 s, would end after the deadline, at 40


def test_after_the_last_attempt_the_stores_own_error_stands() -> None:
    error = Transient("the wire is cut", "f")
    store, faulty, _ = stack(Fault(op="delete", times=9, error=error), attempts=3)
    with pytest.raises(Transient) as caught:
        store.delete("f", ANY, Token())
    assert caught.value is error
    assert len(faulty.log) == 3


def test_waits_double_up_to_the_cap_and_are_scaled_by_chance() -> None:
    clock = Clock()
    store, _, _ = stack(Fault(op="head", times=6), attempts=7, clock=clock)
    store.head("f", Token())
    assert clock.now == 1 + 2 + 4 + 8 + 8 + 8
    lucky = RetryingStore(FaultyStore(MemoryStore(), [Fault(op="head")]), 2, 1.0, 8.0, clock.sleep, lambda: 0.0)
    lucky.head("f", Token())
    assert clock.now == 31


def test_a_throttled_call_waits_at_least_as_long_as_it_was_told() -> None:
    clock = Clock()
    store, _, _ = stack(Fault(op="head", error=Throttled("slow down", "f", retry_after=30.0)), clock=clock)
    store.head("f", Token())
    assert clock.now == 31


def test_no_wait_is_longer_than_the_longest_whatever_the_store_asks() -> None:
    clock = Clock()
    faults = [Fault(op="head", error=Throttled("slow down", "f", retry_after=30.0)), Fault(op="head", times=4)]
    store = RetryingStore(FaultyStore(MemoryStore(), faults), 9, 1.0, 8.0, clock.sleep, lambda: 1.0, longest=3.0)
    store.head("f", Token())
    assert clock.now == 3 + 2 + 3 + 3 + 3


def test_a_wait_longer_than_the_deadline_is_not_begun() -> None:
    clock = Clock()
    store, faulty, _ = stack(Fault(op="head", times=9), clock=clock)
    with pytest.raises(Transient):
        store.head("f", Token(deadline=2.5, clock=clock))
    assert clock.now == 1  # the second wait would have been two seconds
    assert len(faulty.log) == 2


def test_a_cancel_ends_a_wait_within_a_moment() -> None:
    clock, token = Clock(), Token()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now >= 1:
            token.cancel(Cancelled("the job was cancelled"))

    faulty = FaultyStore(MemoryStore(), [Fault(op="head", error=Throttled("slow down", "f", 60.0))])
    with pytest.raises(Cancelled):
        RetryingStore(faulty, 5, 1.0, 8.0, sleep, lambda: 0.0).head("f", token)
    assert clock.now <= 1.25
    assert len(faulty.log) == 1


def test_a_passed_deadline_is_not_retried() -> None:
    clock = Clock()
    store, faulty, _ = stack(clock=clock)
    clock.now = 5
    with pytest.raises(DeadlineExceeded):
        store.head("f", Token(deadline=1, clock=clock))
    assert len(faulty.log) == 1


def test_a_listing_goes_on_after_the_last_key_it_gave() -> None:
    for broken_after in range(6):
        store, faulty, memory = stack(Fault(op="list", mode="cut", at=broken_after, times=2))
        keys = [f"k{i}" for i in range(6)]
        for key in keys:
            seed(memory, key, b"x")
        assert [e.key for e in store.list(Token())] == keys
        assert [c.key for c in faulty.log] == sorted(c.key for c in faulty.log)


def test_a_listing_that_makes_progress_is_never_given_up() -> None:
    store, _, memory = stack(Fault(op="list", mode="cut", at=1, times=20), attempts=2)
    keys = [f"k{i:02}" for i in range(20)]
    for key in keys:
        seed(memory, key, b"x")
    assert [e.key for e in store.list(Token())] == keys


def test_a_listing_without_progress_ends() -> None:
    store, faulty, memory = stack(Fault(op="list", times=99), attempts=3)
    seed(memory, "f", b"x")
    with pytest.raises(Transient):
        list(store.list(Token()))
    assert len(faulty.log) == 3


class FirstPageAtOnce(Wrapper):
    """Asks for the first page when ``list`` is called, as the S3 adapter does; the first call finds nobody."""

    calls = 0

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        self.calls += 1
        if self.calls == 1:
            raise Transient("nobody answered")
        return self.inner.list(token, start_after, enter)


def test_a_listings_first_page_is_asked_for_again_too() -> None:
    _, _, memory = stack()
    seed(memory, "a", b"x")
    seed(memory, "b", b"x")
    listing = RetryingStore(FirstPageAtOnce(memory), sleep=lambda _: None).list(Token(), "a")
    assert [e.key for e in listing] == ["b"]


BODY = bytes(range(256)) * 4096 * 3  # three chunks


@pytest.mark.parametrize("mode", ["cut", "short"])
@pytest.mark.parametrize("at", [0, 1, MIB - 1, MIB, MIB + 5, 3 * MIB - 1])
def test_a_broken_stream_goes_on_at_the_byte_it_had_reached(mode: str, at: int) -> None:
    store, faulty, memory = stack(Fault(op="open", mode=mode, at=at))
    version = seed(memory, "f", BODY)
    with store.open("f", version, Token()) as reader:
        assert b"".join(reader) == BODY
    assert ops(faulty) == ["open", "open"]


def test_a_range_is_resumed_within_the_range() -> None:
    store, _, memory = stack(Fault(op="open", mode="cut", at=10, times=2))
    seed(memory, "f", BODY)
    with store.open("f", "", Token(), 1000, MIB) as reader:
        assert b"".join(reader) == BODY[1000 : 1000 + MIB]


def test_a_resumed_stream_never_mixes_two_versions() -> None:
    store, _, memory = stack(Fault(op="open", mode="cut", at=MIB))
    seed(memory, "f", BODY)
    with store.open("f", "", Token()) as reader:  # not pinned by the caller, but by what was opened
        seed(memory, "f", BODY[::-1])
        with pytest.raises(VersionMismatch):
            b"".join(reader)


def test_a_stream_that_was_found_corrupted_is_not_resumed() -> None:
    store, faulty, memory = stack(Fault(op="open", mode="cut", at=MIB, error=Corrupted("bad checksum", "f")))
    seed(memory, "f", BODY)
    with store.open("f", "", Token()) as reader, pytest.raises(Corrupted):
        b"".join(reader)
    assert ops(faulty) == ["open"]


def test_a_reply_lost_at_opening_is_repeated() -> None:
    store, _, memory = stack(Fault(op="open"), Fault(op="open", mode="after"))
    seed(memory, "f", b"bytes")
    with store.open("f", "", Token()) as reader:
        assert b"".join(reader) == b"bytes"


def test_each_put_of_a_batch_is_repeated_for_itself() -> None:
    store, faulty, memory = stack(Fault(op="put", times=2))
    seed(memory, "taken", b"x")
    batch = store.batch()
    for key in ("a", "taken", "b"):
        batch.put(key, b"body", META, ABSENT, Token())
    answers = batch.finish(Token())
    assert {k: type(a) for k, a in answers.items()} == {"a": Commit, "taken": VersionMismatch, "b": Commit}
    assert len(faulty.log) == 5


# a lost reply


def test_a_put_whose_reply_was_lost_is_found_to_be_ours() -> None:
    store, faulty, memory = stack(Fault(op="put", mode="after"))
    token = Token()
    commit = store.put("f", b"body", META, ABSENT, token)
    head = memory.head("f", Token())
    assert head is not None
    assert (commit.key, commit.version, commit.size) == ("f", head.entry.version, 4)
    assert ops(faulty) == ["put", "put", "head"]
    assert [op for op, _ in memory.bucket.log] == ["put"]


def test_a_refusal_without_an_unknown_outcome_is_a_conflict_even_if_the_marker_is_ours() -> None:
    store, faulty, memory = stack()
    seed(memory, "f", b"body", OURS)
    with pytest.raises(VersionMismatch):
        store.put("f", b"body", META, ABSENT, Token())
    assert ops(faulty) == ["put"]


@pytest.mark.parametrize(("body", "generation"), [(b"body", RIVALS), (b"other body", OURS), (b"body", "")])
def test_after_an_unknown_outcome_a_rivals_object_is_still_a_conflict(body: bytes, generation: str) -> None:
    store, _, memory = stack(Fault(op="put"))
    seed(memory, "f", body, generation)
    with pytest.raises(VersionMismatch):
        store.put("f", b"body", Meta(generation=generation and OURS), ABSENT, Token())
    assert memory.bucket.get("f").body == body


def test_a_lost_reply_and_a_failing_look_are_both_repeated() -> None:
    store, _, memory = stack(Fault(op="put", mode="after"), Fault(op="head"))
    assert store.put("f", b"body", META, ABSENT, Token()).size == 4
    assert [op for op, _ in memory.bucket.log] == ["put"]


def upload_of(store: RetryingStore, body: bytes) -> tuple[object, ...]:
    upload = store.create_upload("f", len(body), 4, META, Token())
    parts = [store.put_part(upload, i // 4 + 1, body[i : i + 4], Token()) for i in range(0, len(body), 4)]
    return upload, parts


def test_a_complete_whose_reply_was_lost_is_found_to_be_ours() -> None:
    store, _, memory = stack(Fault(op="complete", mode="after"))
    upload, parts = upload_of(store, b"abcdefg")
    crc = crc64nvme(b"abcdefg")
    commit = store.complete(upload, parts, META, ABSENT, crc, Token())  # type: ignore[arg-type]
    assert (commit.size, commit.proven, commit.litter) == (7, "crc64nvme", True)
    assert [op for op, _ in memory.bucket.log].count("complete") == 1


def test_an_upload_that_vanished_under_an_unknown_outcome_is_not_called_done_for_a_rivals_object() -> None:
    store, _, memory = stack(Fault(op="complete"))
    upload, parts = upload_of(store, b"abcdefg")
    memory.abort(upload, Token())  # type: ignore[arg-type]
    seed(memory, "f", b"abcdefg", RIVALS)
    with pytest.raises(NoSuchUpload):
        store.complete(upload, parts, META, ABSENT, None, Token())  # type: ignore[arg-type]


def test_the_same_generation_with_another_checksum_is_not_ours() -> None:
    store, _, memory = stack(Fault(op="complete"))
    upload, parts = upload_of(store, b"abcdefg")
    seed(memory, "f", b"gfedcba", OURS)
    with pytest.raises(VersionMismatch):
        store.complete(upload, parts, META, ABSENT, crc64nvme(b"abcdefg"), Token())  # type: ignore[arg-type]


def test_a_copy_whose_reply_was_lost_is_found_to_be_ours() -> None:
    store, _, memory = stack(Fault(op="copy", mode="after"))
    version = seed(memory, "from", b"bytes")
    commit = store.copy(store, "to", "from", version, META, ABSENT, Token())
    assert commit.size == 5
    assert [op for op, _ in memory.bucket.log] == ["put", "copy"]


@pytest.mark.parametrize("mode", ["before", "after"])
def test_every_call_of_an_upload_may_be_lost_once(mode: str) -> None:
    """Each (call, mode) ends with the same bytes, one commit and no upload of ours besides those whose id was lost."""

    def work(store: RetryingStore) -> Commit:
        upload = store.create_upload("f", 7, 4, META, Token())
        parts = [store.put_part(upload, n, body, Token()) for n, body in ((1, b"abcd"), (2, b"efg"))]
        assert [p.number for p in store.list_parts(upload, Token())] == [1, 2]
        commit = store.complete(upload, parts, META, ABSENT, crc64nvme(b"abcdefg"), Token())
        store.abort(upload, Token())
        store.delete("other", ANY, Token())
        return commit

    clean, log, _ = stack()
    work(clean)
    for n in range(1, len(log.log) + 1):
        store, faulty, memory = stack(Fault(call=n, mode=mode))
        commit = work(store)
        assert memory.bucket.get("f").body == b"abcdefg"
        assert commit.version == memory.bucket.get("f").etag
        assert [op for op, _ in memory.bucket.log].count("complete") == 1
        lost = faulty.log[n - 1].op == "create_upload" and mode == "after"
        assert len(list(memory.list_uploads(Token()))) == (1 if lost else 0)


# the throttle


def test_bytes_go_at_the_rate_given_in_both_directions() -> None:
    clock = Clock()
    memory = MemoryStore()
    store = ThrottledStore(memory, bytes_per_second=MIB, clock=clock, sleep=clock.sleep)
    store.put("f", bytes(5 * MIB), META, ABSENT, Token())
    assert clock.now == pytest.approx(4)  # one second's worth was there at the start
    with store.open("f", "", Token()) as reader:
        assert sum(len(c) for c in reader) == 5 * MIB
    assert clock.now == pytest.approx(9)
    version = memory.bucket.get("f").etag
    store.copy(store, "g", "f", version, META, ABSENT, Token())
    assert clock.now == pytest.approx(9)


def test_requests_go_at_the_rate_given_and_a_pause_saves_up_one_second() -> None:
    clock = Clock()
    store = ThrottledStore(MemoryStore(), requests_per_second=10, clock=clock, sleep=clock.sleep)
    for _ in range(30):
        store.head("f", Token())
    assert clock.now == pytest.approx(2)
    clock.now += 100
    started = clock.now
    for _ in range(20):
        store.head("f", Token())
    assert clock.now - started == pytest.approx(1)


def test_a_cancel_ends_the_wait_for_the_throttle() -> None:
    clock, token = Clock(), Token()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        token.cancel(Cancelled("the job was cancelled"))

    memory = MemoryStore()
    store = ThrottledStore(memory, bytes_per_second=1, clock=clock, sleep=sleep)
    with pytest.raises(Cancelled):
        store.put("f", bytes(1000), META, ABSENT, token)
    assert clock.now <= 0.25
    assert memory.bucket.dump() == {}


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError):
        ThrottledStore(MemoryStore(), bytes_per_second=0)


# faults


def test_a_fault_before_has_no_effect_and_one_after_has_it() -> None:
    memory = MemoryStore()
    store = FaultyStore(memory, [Fault(call=1), Fault(call=2, mode="after", error=Throttled("slow down"))])
    with pytest.raises(Transient):
        store.put("f", b"x", META, ABSENT, Token())
    assert memory.bucket.dump() == {}
    with pytest.raises(Throttled):
        store.put("f", b"x", META, ABSENT, Token())
    assert list(memory.bucket.dump()) == ["f"]
    store.delete("f", ANY, Token())
    assert [tuple(c) for c in store.log] == [(1, "put", "f"), (2, "put", "f"), (3, "delete", "f")]


def test_a_flipped_bit_is_the_only_difference() -> None:
    memory = MemoryStore()
    seed(memory, "f", BODY)
    store = FaultyStore(memory)
    store.arm(Fault(op="open", mode="flip", at=MIB + 3))
    with store.open("f", "", Token()) as reader:
        damaged = b"".join(reader)
    assert [i for i in range(len(BODY)) if damaged[i] != BODY[i]] == [MIB + 3]
    with store.open("f", "", Token()) as reader:
        assert b"".join(reader) == BODY


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fault(),
        lambda: Fault(call=1, op="put"),
        lambda: Fault(op="put", mode="flip"),
        lambda: Fault(op="list", mode="flip"),
        lambda: Fault(op="put", mode="sideways"),
    ],
)
def test_a_fault_that_could_never_strike_is_refused(make: Callable[[], Fault]) -> None:
    with pytest.raises(ValueError):
        make()


# opening


def test_a_stack_is_names_over_retry_over_throttle_over_the_adapter() -> None:
    bucket = MemoryBucket()
    seen: list[Opening] = []

    def opener(opening: Opening) -> MemoryStore:
        seen.append(opening)
        return MemoryStore(bucket, opening.location.prefix, opening.limits)

    register("memory", opener)
    location = Location("memory", "bucket", "p/", profile="there")
    limits = {**S3_LIKE.wire(), "name": "probed", "from a later version": 1}
    store = open_store(location, limits, Options(retries=3), role="source", bytes_per_second=1e9)
    assert isinstance(store, NamedStore)
    assert isinstance(store.inner, RetryingStore)
    assert isinstance(store.inner.inner, ThrottledStore)
    assert isinstance(innermost(store), MemoryStore)
    assert store.limits.name == "probed"
    assert (seen[0].location.profile, seen[0].role) == ("there", "source")
    plain = open_store(location, None, Options(), role="destination")
    assert isinstance(plain, NamedStore)
    assert isinstance(plain.inner, RetryingStore)
    assert isinstance(plain.inner.inner, MemoryStore)
    rated = open_store(location, None, Options(), role="destination", rates=SharedRates())
    assert isinstance(rated, NamedStore)
    assert isinstance(rated.inner, RetryingStore)
    assert isinstance(rated.inner.inner, LimitedStore), "inside the retries: a repeat waits its turn"
    assert plain.can_copy_from(store)
    store.put("f", b"x", META, ABSENT, Token())
    assert [e.key for e in plain.list(Token())] == ["f"]


def test_a_store_tells_its_own_checksums_only_where_they_are_asked_for(s3_bucket: Bucket) -> None:
    location = Location("s3", s3_bucket.bucket, "p/", endpoint=s3_bucket.endpoint)
    store = open_store(location, {"name": "s3", "full_crc64": True}, Options(), role="dest")
    store.put("f", b"bytes", META, ANY, Token())
    heads = [store.head("f", Token(), digest=digest) for digest in (False, True)]
    assert [head and head.crc64 for head in heads] == [None, crc64nvme(b"bytes")]
    store.close()


def test_a_scheme_nobody_serves_is_a_usage_error_that_names_it() -> None:
    with pytest.raises(UsageError, match="ftp"):
        open_store(Location("ftp", "host"), None, Options(), role="source")


def test_a_local_location_is_opened_where_it_lies_on_this_host(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "l").symlink_to("f")
    location = Location("file", root="data", local=str(tmp_path))
    kept = open_store(location, None, Options(), role="source", rates=SharedRates())
    assert isinstance(kept, NamedStore)
    assert not isinstance(kept.inner.inner, LimitedStore), "a folder never asks to slow down"  # type: ignore[attr-defined]
    assert [e.key for e in kept.list(Token())] == ["f", "l.rclonelink"]
    followed = open_store(location, None, Options(), role="source", links="follow")
    assert [e.key for e in followed.list(Token())] == ["f", "l"]
    with pytest.raises(UsageError, match="data"):
        open_store(replace(location, local=""), None, Options(), role="source")
