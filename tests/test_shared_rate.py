"""One rate for a fleet: its arithmetic, the same on a real server, and what one process does with it."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import servers
from hugesync_tasks import aimd
from hugesync_tasks.aimd import (
    AHEAD,
    COOL,
    CUT,
    FLOOR,
    LEASE,
    QUIET,
    SILENT,
    WINDOW,
    Grant,
    Limit,
    Rate,
    Report,
    exchange,
)
from hugesync_tasks.errors import Cancelled, Throttled, Unreachable
from hugesync_tasks.model import Meta
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.state.redis import RedisLedger
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.faults import Fault, FaultyStore
from hugesync_tasks.stores.limited import LimitedStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.stores.shared_rate import ALONE, SharedRate, SharedRates
from hugesync_tasks.token import Token

T0 = 1_700_000_000.0
THROTTLED = Rate(T0, rate=100.0, knee=200.0, cut=T0, calm=T0, taken=T0, until=T0 + QUIET)


def exactly(least: float, most: float) -> st.SearchStrategy[float]:
    """Numbers that a double and a text of six digits both hold: no two sides of an edge by rounding alone."""
    return st.integers(int(least * 64), int(most * 64)).map(lambda n: n / 64)


reports = st.builds(
    Report,
    used=st.integers(0, 500),
    seconds=exactly(0, 5),
    need=st.booleans(),
    age=st.none() | exactly(0, 10),
    believed=st.none() | st.builds(Limit, exactly(0.1, 1000), exactly(0.1, 1000), exactly(-1, 60)),
)
steps = st.lists(st.tuples(reports, exactly(0, 5), st.integers(1, 20)), max_size=40)


def played(history: list[tuple[Report, float, int]]) -> Iterator[tuple[Rate, Rate, Report, Grant, float]]:
    """State before and after, report, grant and time of each step."""
    state, now = Rate(T0), T0
    for report, passed, sharers in history:
        now += passed
        after, grant = exchange(state, report, sharers, now)
        yield state, after, report, grant, now
        state = after


# the arithmetic


@given(steps)
def test_there_is_no_limit_until_somebody_complains(history: list[tuple[Report, float, int]]) -> None:
    calm = [(replace(report, age=None, believed=None), *rest) for report, *rest in history]
    assert all(grant.limit is None for *_, grant, _ in played(calm))  # type: ignore[arg-type]


@given(steps)
def test_a_rate_is_cut_by_half_and_never_below_the_floor(history: list[tuple[Report, float, int]]) -> None:
    for before, after, report, _, now in played(history):
        if before.rate and now < before.until and after.rate < before.rate:
            assert report.age is not None
            assert after.rate == max(FLOOR, CUT * before.rate)
        assert after.rate == 0 or after.rate >= FLOOR


@given(steps)
def test_a_rate_is_cut_at_most_once_per_cool_down_and_round_trip(history: list[tuple[Report, float, int]]) -> None:
    for before, after, report, _, now in played(history):
        if before.rate and now < before.until and after.cut != before.cut:
            assert now - before.cut >= COOL
            assert report.age is not None
            assert now - report.age > before.cut, "the refused request was sent at the old rate"


@given(steps)
def test_a_rate_grows_by_one_step_at_most_and_only_after_a_window_of_use_without_complaint(
    history: list[tuple[Report, float, int]],
) -> None:
    for before, after, report, _, now in played(history):
        if before.rate and after.rate > before.rate and now < before.until:
            assert report.age is None
            assert report.used or report.need
            assert now - before.calm >= WINDOW
            assert after.rate == before.rate + max(aimd.LEAST_GROWTH, aimd.GROWTH * before.knee)


@given(steps)
def test_the_limit_is_lifted_when_nobody_complained_for_a_while_and_not_before(
    history: list[tuple[Report, float, int]],
) -> None:
    complained: float | None = None
    for _, _, report, grant, now in played([(replace(r, believed=None), *rest) for r, *rest in history]):  # type: ignore[misc]
        complained = now if report.age is not None else complained
        assert (grant.limit is not None) == (complained is not None and now - complained < QUIET)


@given(st.floats(1, 5000), st.integers(1, 50), st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_never_more_is_given_than_the_rate_allows(rate: float, sharers: int, pauses: list[float]) -> None:
    state = Rate(T0, rate=rate, knee=rate, cut=T0, calm=T0 + 1e6, taken=T0, until=T0 + 1e6)
    now, given_away = T0, 0
    for pause in pauses:
        now += pause
        state, grant = exchange(state, Report(1, need=True), sharers, now)
        given_away += grant.tokens
        assert grant.wait <= AHEAD
        assert grant.tokens <= max(1, rate * LEASE / sharers)
        assert grant.tokens or grant.wait >= AHEAD / 2 - 1e-6
    assert given_away <= rate * (now - T0 + AHEAD + LEASE) + 1


def test_the_first_complaint_halves_what_was_measured() -> None:
    state = Rate(T0)
    for second in range(1, 4):  # two processes, 100 requests/s each
        for _ in range(2):
            state, _ = exchange(state, Report(100), 2, T0 + second)
    state, grant = exchange(state, Report(50, seconds=0.5, age=0.1), 2, T0 + 3.5)
    assert grant.limit is not None
    assert grant.limit.rate == pytest.approx(100, rel=0.25)
    assert grant.share is not None
    assert grant.share.rate == grant.limit.rate / 2


def test_under_a_steady_capacity_the_rate_saws_around_it() -> None:
    """A store that takes 50 requests/s and refuses what is more; asked by one process as fast as it may."""
    state, now, seen = THROTTLED, T0, []
    for _ in range(1200):
        now += 0.1
        refused = state.rate > 50
        state, grant = exchange(
            state, Report(max(1, int(state.rate / 10)), 0.1, True, 0.01 if refused else None), 1, now
        )
        assert grant.limit is not None
        seen.append(grant.limit.rate)
    settled = seen[300:]
    assert min(settled) > 20
    assert max(settled) < 60
    assert sum(settled) / len(settled) > 33


def test_from_the_floor_a_rate_comes_back() -> None:
    state, now = replace(THROTTLED, rate=FLOOR, knee=FLOOR), T0
    for _ in range(int(QUIET) - 1):
        now += 1.05
        if now < state.until:
            state, grant = exchange(state, Report(1, need=True), 1, now)
    assert state.rate > 5 * FLOOR
    state, grant = exchange(state, Report(1, need=True), 1, T0 + QUIET)
    assert grant.limit is None


def test_a_server_that_lost_it_hears_the_limit_from_any_process_and_does_not_prolong_it() -> None:
    state, grant = exchange(Rate(T0), Report(1, need=True, believed=Limit(40.0, 80.0, 7.0)), 1, T0)
    assert grant.limit == Limit(40.0, 80.0, 7.0)
    assert exchange(state, Report(1, need=True), 1, T0 + 7.001)[1].limit is None


# the same arithmetic on a server


@pytest.fixture(scope="module")
def told_the_time(valkey: servers.ValkeyServer) -> Callable[[str, float, Report], Grant]:
    """``rate.lua`` with a clock that is an argument in place of the server's."""
    ledger = RedisLedger.from_url(valkey.url, prefix=f"t{uuid.uuid4().hex}:")
    source = resources.files("hugesync_tasks.state").joinpath("rate.lua").read_text()
    assert source.count("redis.call('TIME')") == 1
    clocked = source.replace("redis.call('TIME')", "{math.floor(ARGV[#ARGV]), (ARGV[#ARGV] % 1) * 1000000}")
    run = ledger._rates._client.register_script(clocked)

    class Scripted:
        def __init__(self, now: float) -> None:
            self.now = now

        def run(self, name: str, keys: list[str], args: list[Any]) -> Any:
            return run(keys=keys, args=[*args, f"{self.now:.6f}"])

    def ask(place: str, now: float, report: Report, sharer: str = "a") -> Grant:
        ledger._rates = Scripted(now)  # type: ignore[assignment]
        return ledger.share_rate(place, sharer, report)

    return ask


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])  # to shrink takes minutes here
@given(st.lists(st.tuples(reports, exactly(0, 5), st.sampled_from("abc")), max_size=25))
def test_the_script_and_the_memory_twin_answer_alike(
    told_the_time: Any, history: list[tuple[Report, float, str]]
) -> None:
    now = [T0]
    twin, place = MemoryLedger(lambda: now[0]), uuid.uuid4().hex
    for report, passed, sharer in history:
        now[0] += passed
        ours, theirs = twin.share_rate(place, sharer, report), told_the_time(place, now[0], report, sharer)
        assert (theirs.limit is None) == (ours.limit is None)
        assert theirs.sharers == ours.sharers
        assert abs(theirs.tokens - ours.tokens) <= 1  # at the edge of a whole number
        assert theirs.wait == pytest.approx(ours.wait, abs=0.02)
        if ours.limit and theirs.limit:
            for a, b in zip(
                (ours.limit.rate, ours.limit.knee, ours.limit.left),
                (theirs.limit.rate, theirs.limit.knee, theirs.limit.left),
            ):
                assert b == pytest.approx(a, rel=1e-3, abs=1e-3)


def test_nothing_of_a_rate_stays_in_redis_and_no_key_shows_the_endpoint(valkey: servers.ValkeyServer) -> None:
    prefix = f"t{uuid.uuid4().hex}:"
    ledger = RedisLedger.from_url(valkey.url, prefix=prefix)
    ledger.share_rate("https://user:secret@host/b/p", "a", Report(10))
    assert keys(ledger, prefix)
    assert max(lasting(ledger, prefix)) <= 1000 * max(2 * WINDOW, SILENT)
    grant = ledger.share_rate("https://user:secret@host/b/p", "a", Report(10, age=0.0))
    assert grant.limit is not None
    assert 0 < min(lasting(ledger, prefix)) <= max(lasting(ledger, prefix)) <= 1000 * QUIET
    assert not any("secret" in key or "host" in key for key in keys(ledger, prefix))
    ledger.close()


def keys(ledger: RedisLedger, prefix: str) -> list[str]:
    return list(ledger._server.call(lambda r: list(r.scan_iter(prefix + "*"))))


def lasting(ledger: RedisLedger, prefix: str) -> list[int]:
    """Milliseconds left of each key; -1 would be for ever."""
    return [int(str(ledger._server.call(lambda r, k=key: r.pttl(k)))) for key in keys(ledger, prefix)]  # type: ignore[misc]


# one process


class World:
    """Processes on one clock; ``away``: Redis is."""

    def __init__(self) -> None:
        self.now, self.away, self.asked = 100.0, False, 0
        self.ledger = MemoryLedger(lambda: T0 + self.now)

    def exchange(self, place: str, sharer: str, report: Report) -> Grant:
        self.asked += 1
        if self.away:
            raise Unreachable("the broker cannot be reached")
        return self.ledger.share_rate(place, sharer, report)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def process(self) -> SharedRates:
        return SharedRates(self.exchange, lambda: self.now, self.sleep)

    def rate_of(self, process: SharedRates) -> SharedRate:
        return process.of("http://s3", "b", "p/q/")

    def used_within(self, seconds: float, *rates: SharedRate, token: Token | None = None) -> int:
        """How many requests processes that want more than they get send, one after another, within so many seconds."""
        until, n = self.now + seconds, 0
        while self.now < until:
            for rate in rates:
                rate.take(token or Token())
                n += 1
            self.now += 0.001
        return n


@pytest.fixture
def world() -> World:
    return World()


def test_while_nobody_complains_a_thousand_requests_cost_one_exchange_a_second(world: World) -> None:
    rate = world.rate_of(world.process())
    before = world.now
    world.used_within(10.0, rate)
    assert world.now - before == pytest.approx(10.0, abs=0.01), "nothing waited"
    assert world.asked <= 11


def test_a_complaint_to_one_process_slows_the_other_within_a_second(world: World) -> None:
    a, b = world.rate_of(world.process()), world.rate_of(world.process())
    free = world.used_within(3.0, b)
    a.complained(a.take(Token()))
    world.used_within(1.1, b)
    token = Token()
    limited = world.used_within(1.0, b, token=token)
    assert limited <= 0.75 * free / 3
    assert token.meter.count("held") > 0


def test_under_a_limit_a_process_asks_redis_a_few_times_a_second_and_not_for_each_request(world: World) -> None:
    a = world.rate_of(world.process())
    world.used_within(3.0, a)
    a.complained(a.take(Token()))
    asked = world.asked
    sent = world.used_within(2.0, a)
    assert sent > 500
    assert world.asked - asked <= 2.0 / LEASE + 4


def test_two_processes_share_a_rate_between_them(world: World) -> None:
    a, b = world.rate_of(world.process()), world.rate_of(world.process())
    world.used_within(3.0, a, b)
    grant = world.ledger.share_rate(a.place, a._sharer, Report(1, age=0.0))
    assert grant.limit is not None
    world.used_within(1.1, a, b)
    both = world.used_within(4.0, a, b) / 4.0
    assert 0.7 * grant.limit.rate < both < 1.4 * grant.limit.rate


def test_a_rate_recovers_when_the_store_stops_complaining(world: World) -> None:
    a = world.rate_of(world.process())
    free = world.used_within(2.0, a) / 2
    a.complained(a.take(Token()))
    slow = world.used_within(2.0, a) / 2
    later = world.used_within(10.0, a) and world.used_within(2.0, a) / 2
    assert slow < 0.7 * free
    assert later > 1.2 * slow
    world.now += QUIET
    assert world.used_within(2.0, a) / 2 == pytest.approx(free, rel=0.05)


def test_when_redis_is_away_each_keeps_its_last_share(world: World) -> None:
    a, b = world.rate_of(world.process()), world.rate_of(world.process())
    world.used_within(3.0, a, b)
    a.complained(a.take(Token()))
    world.used_within(1.1, a, b)
    together = world.used_within(1.0, a, b)
    world.away = True
    asked = world.asked
    alone = world.used_within(4.0, a) / 4
    assert 0.3 * together < alone < 0.8 * together
    assert world.asked - asked <= 4 / ALONE + 1, "a dead server is not asked for each lease"


def test_alone_a_process_still_slows_down_and_tells_the_others_when_redis_is_back(world: World) -> None:
    world.away = True
    a = world.rate_of(world.process())
    free = world.used_within(2.0, a) / 2
    a.complained(a.take(Token()))
    assert world.used_within(2.0, a) / 2 < 0.7 * free
    world.away = False
    world.used_within(ALONE + 0.1, a)
    b = world.rate_of(world.process())
    b.take(Token())
    assert b.look(), "the server heard of the limit from the process that knew it"


def test_a_flushed_server_does_not_set_the_fleet_free(world: World) -> None:
    a = world.rate_of(world.process())
    world.used_within(2.0, a)
    a.complained(a.take(Token()))
    before = world.used_within(1.0, a)
    world.ledger.flush()
    assert world.used_within(1.0, a) < 1.3 * before
    assert a.look()


def test_places_that_share_no_rate_do_not_slow_each_other(world: World) -> None:
    process = world.process()
    rates = [
        process.of(*at)
        for at in (
            ("http://s3", "b", "p/"),
            ("http://s3", "b", "q/"),
            ("http://s3", "c", "p/"),
            ("http://t3", "b", "p/"),
        )
    ]
    assert len({r.place for r in rates}) == 4
    assert process.of("http://s3", "b", "p/deeper/") is rates[0]
    rates[0].take(Token())
    rates[0].complained(world.now)
    assert [r.look() for r in rates] == [True, False, False, False]


def test_a_wait_for_the_rate_keeps_the_lease_and_ends_with_a_cancel(world: World) -> None:
    beats: list[int] = []
    token = Token(pulse=beats.append)
    a = world.rate_of(world.process())
    world.ledger._rates[a.place] = replace(THROTTLED, rate=FLOOR, knee=FLOOR, calm=T0 + 1e6, until=T0 + 1e6)
    for _ in range(4):
        a.take(token)
    assert len(beats) >= 8
    token.cancel(Cancelled("the job was cancelled"))
    before = world.now
    with pytest.raises(Cancelled):
        a.take(token)
        a.take(token)
    assert world.now - before <= 0.5


# the wrapper


def stack(world: World, *faults: Fault) -> tuple[RetryingStore, FaultyStore, SharedRates]:
    rates = world.process()
    faulty = FaultyStore(MemoryStore(), list(faults))
    return RetryingStore(LimitedStore(faulty, rates, "b", "p/"), sleep=world.sleep, random=lambda: 0.0), faulty, rates


def limited_now(rates: SharedRates) -> bool:
    return rates.look()


def test_a_refusal_of_any_call_is_a_complaint_and_its_repeat_waits_its_turn(world: World) -> None:
    store, faulty, rates = stack(world, Fault(op="put", error=Throttled("slow down", "f")))
    store.put("f", b"x", Meta(), ANY, Token())
    assert [c.op for c in faulty.log] == ["put", "put"]
    assert limited_now(rates)


def test_a_refused_page_of_a_listing_is_a_complaint(world: World) -> None:
    store, _, rates = stack(world, Fault(op="list", mode="cut", at=1, error=Throttled("slow down", "")))
    for key in "abc":
        store.put(key, b"x", Meta(), ANY, Token())
    assert not limited_now(rates)
    assert [e.key for e in store.list(Token())] == ["a", "b", "c"]
    assert limited_now(rates)


@pytest.mark.parametrize("error", ["transient", "not found"])
def test_what_is_no_request_to_slow_down_slows_nothing(world: World, error: str) -> None:
    faults = [Fault(op="head")] if error == "transient" else []
    store, _, rates = stack(world, *faults)
    assert store.head("missing", Token()) is None
    assert not limited_now(rates)
    assert math.isfinite(world.now)
