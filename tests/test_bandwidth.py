"""``--bwlimit`` inside: one token bucket for a fleet, the same on a real server, what one process does with it, and who pays."""

from __future__ import annotations

import heapq
import http.server
import random
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from importlib import resources
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import servers
from hugesync_producer import dryrun
from hugesync_producer.foresee import Foreseen
from hugesync_tasks import bucket
from hugesync_tasks.bandwidth import ALONE, LEAST, LOOK, Bandwidth
from hugesync_tasks.bucket import LEAST_RATE, Grant, Taken, draw
from hugesync_tasks.config import Settings
from hugesync_tasks.config_units import parse_rate, show_rate
from hugesync_tasks.errors import Cancelled, Unreachable
from hugesync_tasks.model import Meta, Upload
from hugesync_tasks.process import Process
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.reading import whole
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.state.redis import RedisLedger
from hugesync_tasks.stores.base import ANY, Store
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.object_reader import AHEAD, ObjectReader, pay_ahead
from hugesync_tasks.stores.obstore_calls import SMALL, is_small
from hugesync_tasks.stores.paced_body import SLICE, PacedBody
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.summary import Unobserved
from hugesync_tasks.token import Meter, Token

T0 = 1_700_000_000.0
KIB, MIB = 1 << 10, 1 << 20


# rates as people write them


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10M", 10 * MIB), ("1.5MiB", 3 * MIB // 2), ("10MB/s", 10_000_000), ("10 MiB/s", 10 * MIB), ("2g", 2 << 30),
        ("100", 100 * KIB), (100, 100 * KIB), ("64K", 64 * KIB), ("65536B", 64 * KIB), ("1.5", None), ("80.5", 82432),
        ("0", 0), ("off", 0), ("OFF", 0), (0, 0), ("10MBps", 10_000_000),
    ],
)  # fmt: skip
def test_a_rate_is_read_as_rsync_and_rclone_read_it(text: str | int, rate: int | None) -> None:
    if rate is None:
        with pytest.raises(ValueError, match="the lowest rate is 64KiB/s"):
            parse_rate(text)
        return
    assert parse_rate(text) == rate
    assert parse_rate(show_rate(rate)) == rate


@pytest.mark.parametrize("text", ["fast", "", "10M:5M", "08:00,512k", "-1", "-5M", "1 2", "10M/min", "nan", "/s"])
def test_what_is_no_rate_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate; write 10M"):
        parse_rate(text)


# the arithmetic

draws = st.tuples(st.integers(1, 4 * MIB), st.booleans(), st.integers(0, 40), st.sampled_from("abc"))


@given(st.lists(draws, min_size=1, max_size=60), st.sampled_from([LEAST_RATE, MIB, 50 * MIB]))
def test_no_stretch_of_time_is_given_away_twice_and_a_pause_becomes_no_burst(
    history: list[tuple[int, bool, int, str]], rate: int
) -> None:
    taken, now, given_away = Taken(), T0, []
    for need, busy, passed, _ in history:
        now += passed / 64
        taken, grant = draw(taken, rate, need, busy, 3, now)
        assert grant.n >= need
        begins = now + grant.wait
        assert begins >= now - bucket.BURST - 1e-6
        given_away.append((begins, begins + grant.n / rate))
    for (_, end), (begin, _) in pairwise(given_away):
        assert begin >= end - 1e-5


def test_a_change_of_the_rate_keeps_the_bytes_that_are_given_away_and_nothing_else() -> None:
    taken, _ = draw(Taken(), MIB, 4 * MIB, False, 1, T0)
    _, slower = draw(taken, MIB / 2, 1, False, 1, T0)
    _, faster = draw(taken, 4 * MIB, 1, False, 1, T0)
    ahead = taken.until - T0
    assert slower.wait == pytest.approx(2 * ahead)
    assert faster.wait == pytest.approx(ahead / 4)


def test_a_servers_clock_that_jumped_back_stops_nobody() -> None:
    taken, _ = draw(Taken(), MIB, 1, False, 1, T0 + 10 * bucket.LONGEST)
    assert draw(taken, MIB, 1, False, 1, T0)[1].wait <= 0


@pytest.fixture(scope="module")
def told_the_time(valkey: servers.ValkeyServer) -> Iterator[Callable[..., Grant]]:
    """``draw`` of a real server whose clock is an argument."""
    ledger = RedisLedger.from_url(valkey.url, prefix=f"t{uuid.uuid4().hex}:")
    server = ledger._server
    text = resources.files("hugesync_tasks.state").joinpath("draw.lua").read_text()
    told = text.replace("redis.call('TIME')", "{ARGV[#ARGV], '0'}")
    assert told != text
    run = server.call(lambda r: r.register_script(told))

    class Scripted:
        now = 0.0

        def run(self, name: str, keys: list[str], args: list[Any]) -> Any:
            return run(keys=keys, args=[*args, f"{self.now:.6f}"])

    scripted, rates = Scripted(), ledger._rates
    ledger._rates = scripted  # type: ignore[assignment]

    def ask(job: str, rate: int | None, now: float, *drawn: Any) -> Grant:
        scripted.now = now
        if rate is not None:
            ledger.set_meta(job, bwlimit=str(rate))
        return ledger.draw(job, *drawn)

    yield ask
    ledger._rates = rates
    ledger.close()


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(st.tuples(draws, st.none() | st.sampled_from([0, LEAST_RATE, MIB, 9 * MIB])), max_size=25))
def test_the_script_and_the_memory_twin_answer_alike(
    told_the_time: Callable[..., Grant], history: list[tuple[tuple[int, bool, int, str], int | None]]
) -> None:
    now = [T0]
    twin, job = MemoryLedger(lambda: now[0]), uuid.uuid4().hex
    for (need, busy, passed, sharer), rate in history:
        now[0] += passed / 64
        if rate is not None:
            twin.set_meta(job, bwlimit=str(rate))
        ours, theirs = twin.draw(job, sharer, need, busy), told_the_time(job, rate, now[0], sharer, need, busy)
        assert (theirs.rate, theirs.sharers, theirs.n) == (ours.rate, ours.sharers, ours.n)
        assert theirs.wait == pytest.approx(ours.wait, abs=1e-4)


def test_nothing_of_the_bandwidth_stays_in_redis_when_a_job_is_forgotten(valkey: servers.ValkeyServer) -> None:
    prefix = f"t{uuid.uuid4().hex}:"
    ledger = RedisLedger.from_url(valkey.url, prefix=prefix)
    assert ledger.draw("j", "a", 5, True).rate is None, "a ledger that lost its data knows no limit, and says so"
    ledger.set_meta("j", bwlimit="0")
    assert ledger.draw("j", "a", 5, True).rate == 0.0
    ledger.set_meta("j", bwlimit=str(MIB))
    assert ledger.draw("j", "a", 5, False) == Grant(MIB, 1, 5, pytest.approx(-bucket.BURST))
    assert ledger.draw("j", "b", 5, True).sharers == 2
    ledger.forget_job("j", history=False)
    assert ledger._server.call(lambda r: list(r.scan_iter(f"{prefix}*"))) == []
    ledger.close()


# a process, and a fleet of them, on a clock of the test's own


class World:
    """A clock that a sleep moves on, and a ledger by it."""

    def __init__(self, rate: int = 0) -> None:
        self.now = 1000.0
        self.ledger = MemoryLedger(lambda: self.now)
        self.away = False
        self.asked = 0
        self.limit(rate)

    def limit(self, rate: int) -> None:
        self.ledger.set_meta("j", bwlimit=str(rate))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def draw(self, sharer: str, need: int, busy: bool) -> Grant:
        self.asked += 1
        if self.away:
            raise Unreachable("away")
        return self.ledger.draw("j", sharer, need, busy)

    def process(self, name: str = "a") -> Bandwidth:
        return Bandwidth(partial(self.draw, name), clock=lambda: self.now, sleep=self.sleep)


def flow(world: World, crews: list[int], seconds: float, pause: Callable[[], float]) -> list[tuple[float, int]]:
    """When how many bytes go, of processes with so many threads each, which send without end; ``pause``: between two slices."""
    processes = [world.process(str(i)) for i in range(len(crews))]
    turns = [(world.now, n, i) for n, i in enumerate(i for i, crew in enumerate(crews) for _ in range(crew))]
    heapq.heapify(turns)
    went, until = [], world.now + seconds
    while turns[0][0] < until:
        world.now, n, i = heapq.heappop(turns)
        piece = processes[i].slice(SLICE)
        at = world.now + max(0.0, processes[i]._turn(world.now, piece))
        went.append((at, piece))
        heapq.heappush(turns, (at + pause(), n, i))
    return sorted(went)


def over_windows(went: list[tuple[float, int]], seconds: float, settle: float = 1.0) -> list[float]:
    """Bytes per second over each window, a quarter second apart."""
    times, sums = [at for at, _ in went], [0, *accumulate(n for _, n in went)]
    begins = times[0] + settle
    rates = []
    while begins + seconds < times[-1] - settle:
        n = sums[bisect_right(times, begins + seconds)] - sums[bisect_right(times, begins)]
        rates.append(n / seconds)
        begins += 0.25
    return rates


@pytest.mark.parametrize("rate", [LEAST_RATE, MIB, 10 * MIB, 200 * MIB])
@pytest.mark.parametrize("crews", [[1], [16], [1, 1], [1, 1, 1], [16, 16, 16], [1, 16], [1] * 12], ids=str)
def test_a_fleet_keeps_to_the_rate_over_any_ten_seconds_whatever_its_size(rate: int, crews: list[int]) -> None:
    rng = random.Random(7)
    went = flow(World(rate), crews, 26.0, lambda: rng.uniform(0.0002, 0.004))
    rates = over_windows(went, 10.0)
    assert len(rates) > 30
    assert 0.95 * rate < min(rates)
    assert max(rates) < 1.05 * rate


def test_short_pauses_of_all_processes_cost_nothing_and_no_pause_becomes_a_burst() -> None:
    rng, rate = random.Random(8), 10 * MIB
    went = flow(World(rate), [1], 30.0, lambda: rng.choice([0.0005] * 30 + [bucket.BURST * 0.8]))
    assert min(over_windows(went, 10.0)) > 0.95 * rate
    went = flow(World(rate), [4, 4], 30.0, lambda: rng.choice([0.0005] * 30 + [2.0]))
    assert max(over_windows(went, 1.0)) < 1.3 * rate
    assert max(over_windows(went, 0.05)) * 0.05 < rate * (0.25 + 2 * 0.05)


def test_what_a_process_drew_at_once_goes_evenly() -> None:
    world, went = World(MIB), []
    process, token = world.process(), Token()
    for _ in range(3000):
        process.pay(KIB, token)
        went.append((world.now, KIB))
    lease = MIB * bucket.LEASE
    assert world.asked < 3000 * KIB / lease + 300, "the ledger is not asked for each"
    assert max(over_windows(went, 0.01)) * 0.01 < lease / 2


def test_a_small_job_waits_for_nothing() -> None:
    world = World(LEAST_RATE)
    world.process().pay(KIB, Token())
    world.process("b").pay(10 * KIB, Token())
    assert world.now == 1000.0


def test_without_a_limit_a_process_asks_once_a_second_and_hears_of_one_by_then() -> None:
    world = World()
    process, token = world.process(), Token()
    for _ in range(5000):
        process.pay(MIB, token)
        world.now += 0.001
    assert world.asked <= 6
    assert process.slice(SLICE) == SLICE
    world.limit(MIB)
    world.now += LOOK
    assert process.slice(SLICE) < SLICE
    began = world.now
    process.pay(10 * MIB, token)
    assert world.now - began == pytest.approx(10, abs=0.5)
    world.limit(0)
    process.pay(MIB, token)
    assert process.rate == 0
    began = world.now
    process.pay(100 * MIB, token)
    assert world.now == began


def test_a_limit_changes_while_bytes_move() -> None:
    world = World(MIB)
    process, token = world.process(), Token()
    process.pay(5 * MIB, token)
    world.limit(5 * MIB)
    began = world.now
    process.pay(50 * MIB, token)
    assert world.now - began == pytest.approx(10, rel=0.05)


def test_a_process_keeps_its_last_share_while_the_ledger_is_away_or_has_lost_its_data() -> None:
    world = World(2 * MIB)
    process, other, token = world.process(), world.process("b"), Token()
    other.pay(MIB // 8, token)
    process.pay(MIB, token)
    for lost in (False, True):
        if lost:
            world.ledger.flush()
        world.away = not lost
        asked, began = world.asked, world.now
        process.pay(20 * MIB, token)
        assert world.now - began == pytest.approx(20, rel=0.05), "half of it is ours"
        assert lost or world.asked - asked <= 20 / ALONE + 1, "the ledger is left alone for a while"
        world.now += ALONE


def test_a_wait_keeps_the_lease_and_ends_when_the_task_does() -> None:
    world, beats = World(LEAST_RATE), []
    token = Token(pulse=lambda n: beats.append(world.now))
    process = world.process()
    process.pay(4 * MIB, token)
    assert len(beats) > 60
    assert max(b - a for a, b in pairwise(beats)) <= 1.0
    token.cancel()
    began = world.now
    with pytest.raises(Cancelled):
        process.pay(4 * MIB, token)
    assert world.now - began < 1.0


def test_a_slice_is_small_at_a_low_rate_and_large_without_one() -> None:
    assert World(LEAST_RATE).process().slice(SLICE) == LEAST
    assert World(MIB).process().slice(SLICE) == int(MIB * 0.05)
    assert World(1 << 30).process().slice(SLICE) == SLICE
    assert World().process().slice(SLICE) == SLICE


def test_what_stands_alone_keeps_to_its_rate_by_itself() -> None:
    """A dry run has no ledger."""
    world = World()
    alone = Bandwidth(None, MIB, clock=lambda: world.now, sleep=world.sleep)
    began = world.now
    alone.pay(10 * MIB, Token())
    assert world.now - began == pytest.approx(10, rel=0.05)
    Bandwidth(None, 0, clock=lambda: world.now, sleep=world.sleep).pay(MIB, Token())


# who pays


class Till:
    """A pace that lets everything pass, and counts."""

    def __init__(self, slice: int = 64 * KIB) -> None:
        self.paid: list[int] = []
        self._slice = slice

    def slice(self, most: int) -> int:
        return min(most, self._slice)

    def pay(self, n: int, token: Token) -> None:
        self.paid.append(n)


def test_a_body_is_paid_for_slice_by_slice_before_it_goes_and_not_when_it_is_read_to_be_signed() -> None:
    till, body = Till(), bytes(MIB)
    token = Token(pace=till)
    paced = PacedBody(body, token, signed=True)
    assert b"".join(iter(lambda: bytes(paced.read(4096)), b"")) == body
    assert till.paid == []
    assert token.meter.take() == {}
    paced.seek(0)
    while paced.read(4096):
        pass
    assert till.paid == [64 * KIB] * 16 + [0]
    assert token.meter.take() == {"bytes.sent": MIB}


def test_an_answer_is_paid_for_once_its_beginning_before_it_is_asked_for() -> None:
    till = Till()
    token = Token(pace=till)
    body = bytes(AHEAD + 300 * KIB)
    paid = pay_ahead(len(body), token)
    assert till.paid == [AHEAD]
    chunks = (body[at : at + 100 * KIB] for at in range(0, len(body), 100 * KIB))
    reader = ObjectReader(None, chunks, len(body), token, False, paid)  # type: ignore[arg-type]
    assert sum(map(len, reader)) == len(body)
    assert sum(till.paid) == len(body)
    assert pay_ahead(None, token) == 0


def test_obstore_takes_only_what_may_go_at_once() -> None:
    assert is_small(SMALL, Token())
    assert is_small(None, Token())
    limited = Token(pace=Till())
    assert is_small(64 * KIB, limited)
    assert not is_small(64 * KIB + 1, limited)
    assert not is_small(None, limited), "nobody knows how much will come"


def test_copies_between_folders_are_paid_for_and_those_within_a_store_are_not(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    here.mkdir()
    there.mkdir()
    (here / "f").write_bytes(b"x" * MIB)
    source, dest = LocalStore(str(here)), LocalStore(str(there))
    till = Till()
    token = Token(pace=till)
    head = source.head("f", token)
    assert head is not None

    def copied(store: Store, frm: Store, version: str) -> int:
        before = sum(till.paid)
        upload = store.create_upload("copy", MIB, MIB, Meta(generation=uuid.uuid4().hex), token)
        store.copy_part(upload, 1, frm, "f", version, 0, MIB, token)
        store.abort(upload, token)
        return sum(till.paid) - before

    assert copied(dest, source, head.entry.version) == MIB
    assert copied(source, source, head.entry.version) == 0
    with source.open("f", "", token) as reader:
        whole(reader, token)
    assert sum(till.paid) == 2 * MIB, "read to be written elsewhere"
    with source.open("f", "", token) as reader:
        whole(reader)
    assert sum(till.paid) == 2 * MIB, "a store pays for what it is sent"


def test_a_dry_run_keeps_to_it_by_itself_and_a_task_by_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    source, dest = (MemoryStore(MemoryBucket(), f"{name}/") for name in "sd")
    source.put("image", bytes(3 * MIB), Meta(mtime_ns=1), None, Token())
    dest.put("image", bytes(2 * MIB), Meta(mtime_ns=1), None, Token())
    ends = (Location("s3", bucket="b", prefix=f"{name}/") for name in "sd")
    options = Options(bwlimit=5 * MIB, delta_threshold=MIB, whole_file=False)
    job = JobContext(Spec("j", *ends, options=options, dry_run=True), source, dest)
    rates = []

    def foreseen(_: JobContext, __: object, token: Token, ___: bool) -> Foreseen:
        assert isinstance(token.pace, Bandwidth)
        rates.append(token.pace.rate)
        return Foreseen()

    monkeypatch.setattr(dryrun, "foresee", foreseen)
    assert dryrun.dry_run(job, Meter(), Unobserved(), 0.0).files["pending"] == 1
    assert rates == [5 * MIB]

    ledger = MemoryLedger()
    ledger.set_meta("j", bwlimit=str(5 * MIB))
    process = Process(Settings(), ledger, {})  # type: ignore[arg-type]
    pace = process.pace("j")
    assert process.pace("j") is pace, "its threads and tasks share one"
    assert pace.slice(SLICE) < SLICE
    assert pace.rate == 5 * MIB


class _Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        got = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append(got)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_a_store_without_tls_and_checksums_gets_a_part_that_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the body is read for its signature first."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    server.got = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store = S3Store("b", endpoint=f"http://127.0.0.1:{server.server_port}")
    assert not store.limits.full_crc64
    till = Till()
    token = Token(pace=till)
    store.put_part(Upload("k", "id", "g", MIB, MIB), 1, bytes(MIB), token)
    store.put("k", bytes(MIB), Meta(), ANY, token)  # more than may go at once: not by obstore
    store.put("k", bytes(10 * KIB), Meta(), ANY, token)
    store.close()
    server.shutdown()
    assert server.got == [MIB, MIB, 10 * KIB]  # type: ignore[attr-defined]
    assert sum(till.paid) == 2 * MIB + 10 * KIB
    assert token.meter.take()["bytes.sent"] == 2 * MIB + 10 * KIB
