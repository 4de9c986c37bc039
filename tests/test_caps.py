"""What an operator allows: bytes, requests and tasks at once, of a job and of an endpoint, changed while jobs run."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import servers
from fleet_world import MIB, Fleet, Load
from hugesync_producer import limiting
from hugesync_tasks.bandwidth import Bandwidth
from hugesync_tasks.caps import Caps, endpoint_of
from hugesync_tasks.config import Settings
from hugesync_tasks.config_units import parse_requests, show_requests
from hugesync_tasks.errors import Cancelled, UsageError
from hugesync_tasks.model import Meta
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.limited import LimitedStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.token import Meter, Token

URL = "https://s3.example"


@pytest.mark.parametrize(
    ("given", "one"),
    [
        ("https://S3.Example/", URL),
        ("https://s3.example:443", URL),
        ("https://key:secret@s3.example", URL),
        (" http://[::1]:9000/path/ ", "http://[::1]:9000/path"),
        ("http://10.0.0.1:80", "http://10.0.0.1"),
    ],
)
def test_an_endpoint_has_one_spelling_and_no_secret(given: str, one: str) -> None:
    assert endpoint_of(given) == endpoint_of(one) == one


@pytest.mark.parametrize("url", ["s3://bucket/x", "s3.example", "", "https://", "https://h:port"])
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the URL that requests go to"):
        endpoint_of(url)


def test_limits_are_read_as_they_were_written_and_what_is_not_said_stays() -> None:
    caps = Caps(5, 2.5, 3, 4)
    assert Caps().told(caps.wire()) == Caps().told(caps.plain()) == caps
    assert caps.told({"jobs": "0", "summary": "", "weight": None}) == Caps(5, 2.5, 0, 4)
    assert Caps.of(caps.into(Options())) == caps


@pytest.mark.parametrize(("text", "rate"), [("10", 10.0), ("0.5/s", 0.5), ("off", 0.0), ("0", 0.0)])
def test_requests_per_second_are_read_and_shown(text: str, rate: float) -> None:
    assert parse_requests(text) == rate
    assert parse_requests(show_requests(rate)) == rate


@pytest.mark.parametrize("text", ["many", "-1", "nan", "inf", "0.4"])
def test_a_number_of_requests_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="requests per second"):
        parse_requests(text)


class Fleetlike:
    """Processes on a clock that a sleep moves on, one ledger, and stores at one endpoint."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.ledger = MemoryLedger(lambda: self.now)
        monkeypatch.setattr(MemoryStore, "endpoint", URL)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def store(self, job: str, prefix: str) -> LimitedStore:
        """Of one job in a process of its own."""
        clock: Any = {"clock": lambda: self.now, "sleep": self.sleep}
        rates = SharedRates(self.ledger.share_rate, **clock, draw_at=self.ledger.draw_at)
        requests = Bandwidth(partial(self.ledger.draw, job, f"of {job}", of="tpslimit"), **clock)
        return LimitedStore(MemoryStore(MemoryBucket(), prefix), rates.of_job(requests), "b", prefix)

    def takes(self, *calls: Callable[[], object]) -> float:
        """Seconds."""
        began = self.now
        for call in calls:
            call()
        return self.now - began


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleetlike:
    return Fleetlike(monkeypatch)


def heads(store: LimitedStore, n: int) -> list[Callable[[], object]]:
    return [lambda: store.head("f", Token())] * n


def test_a_jobs_requests_keep_to_tpslimit_over_all_its_prefixes_and_a_change_is_heard(fleet: Fleetlike) -> None:
    fleet.ledger.set_meta("j", tpslimit="5.0")
    one, other, free = fleet.store("j", "p/"), fleet.store("j", "q/"), fleet.store("k", "p/")
    assert fleet.takes(*heads(one, 25), *heads(other, 25)) == pytest.approx(10, rel=0.1)
    assert fleet.takes(*heads(free, 50)) == 0, "another job's are not counted"
    fleet.ledger.set_meta("j", tpslimit="50.0")
    assert fleet.takes(*heads(one, 50)) < 1.5
    fleet.ledger.set_meta("j", tpslimit="0.0")
    one.head("f", Token())
    assert fleet.takes(*heads(one, 50)) < 0.1
    fleet.now += 1.5  # it asks once a second whether there is a limit now
    fleet.ledger.set_meta("j", tpslimit="5.0")
    assert fleet.takes(*heads(one, 50)) == pytest.approx(10, rel=0.1)


def test_an_endpoints_requests_are_limited_for_each_prefix_over_all_jobs(fleet: Fleetlike) -> None:
    fleet.ledger.limit_endpoint(URL, {"tpslimit": "5.0"})
    one, same, other = fleet.store("j", "p/x/"), fleet.store("k", "p/y/"), fleet.store("k", "q/")
    assert fleet.takes(*heads(one, 25), *heads(same, 25)) == pytest.approx(10, rel=0.1)
    began = fleet.now
    other.head("f", Token())
    assert fleet.now == began, "its own bucket is full"


def test_a_listing_counts_a_request_for_each_thousand_entries(fleet: Fleetlike) -> None:
    store = fleet.store("j", "p/")
    for n in range(2500):
        store.inner.put(f"{n:05}", b"", Meta(), None, Token())
    fleet.ledger.set_meta("j", tpslimit="1.0")
    assert fleet.takes(lambda: list(store.list(Token()))) == pytest.approx(2, abs=0.3)


def test_an_endpoints_bytes_are_one_bucket_for_all_jobs_both_ways_and_a_change_is_heard(fleet: Fleetlike) -> None:
    one, other = fleet.store("j", "p/"), fleet.store("k", "q/")
    body = bytes(MIB)

    def put(store: LimitedStore) -> Callable[[], object]:
        return lambda: store.put("f", body, Meta(), ANY, Token())

    def get() -> None:
        with other.open("f", "", Token()) as reader:
            assert sum(map(len, reader)) == MIB

    assert fleet.takes(put(one), put(other), get) == 0
    fleet.ledger.limit_endpoint(URL, {"bwlimit": str(MIB)})
    fleet.now += 1.5
    assert fleet.takes(put(one), put(other), get, put(one)) == pytest.approx(4, abs=0.5)
    fleet.ledger.limit_endpoint(URL, {"bwlimit": str(4 * MIB)})
    assert fleet.takes(*[put(one), put(other)] * 4) == pytest.approx(2, abs=0.5)
    fleet.ledger.flush()
    assert fleet.takes(put(one), put(one)) > 0.3, "what a ledger has lost holds until it is told anew"


def test_the_token_toward_an_endpoint_is_the_tasks_own() -> None:
    meter, pulses = Meter(), list[int]()
    token = Token(meter, pulse=pulses.append, patience=60.0)
    toward = token.toward(Bandwidth(None))
    toward.moved(5)
    toward.sent(7)
    toward.requested("put")
    toward.alive()
    assert (pulses, meter.take(), toward.deadline) == ([5, 0], {"bytes.sent": 7, "requests.put": 1}, token.deadline)
    assert toward.slice(9) == 9
    token.cancel()
    for call in (toward.check, toward.alive, lambda: toward.moved(1)):
        with pytest.raises(Cancelled):
            call()
    with pytest.raises(Cancelled):
        Token().toward(Bandwidth(None)).cancel() or toward.check()


# --- a coordinator hears of changes -------------------------------------------------------------------------------------


def test_the_tasks_of_a_job_at_once_and_what_is_said_of_it_follow_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, outs = Fleet([Load("a", MIB, speed=MIB)], slots=8), dict[float, int]()
    said: list[str] = []
    fleet.notice = said.append

    def look(at: float) -> Callable[[], object]:
        return lambda: outs.update({at: len(fleet.coordinators["a"].dispatcher.out)})

    told = {"jobs": "2", "weight": "3", "tpslimit": "4.5", "bwlimit": str(MIB)}
    fleet.events = [(5.0, look(5.0)), (5.0, lambda: fleet.ledger.set_meta("a", **told)), (40.0, look(40.0))]
    fleet.play(monkeypatch, 41)
    assert outs == {5.0: 64, 40.0: 2}
    assert said == [
        "the bandwidth limit is 1MiB/s and the limit of requests is 4.5/s and at most 2 tasks are in flight and the weight is 3 now"
    ]


def test_a_coordinator_writes_an_endpoints_limits_anew_when_the_ledger_has_lost_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = Fleet([Load("a", MIB, ends=(URL,))], slots=2)
    fleet.events = [(1.0, lambda: fleet.ledger.limit_endpoint(URL, {"jobs": "3"})), (5.0, lambda: fleet.ledger.flush())]
    fleet.play(monkeypatch, 15)
    assert fleet.ledger.endpoints() == {URL: {"jobs": "3"}}
    assert len(fleet.coordinators["a"].dispatcher.out) <= 3


# --- hugesync limit -----------------------------------------------------------------------------------------------------


def test_limits_are_told_changed_and_kept_by_the_fleets_ledger(valkey: servers.ValkeyServer) -> None:
    settings = Settings(broker_url=valkey.url, queue_prefix="caps")
    ledger = open_ledger(settings)
    spec = Spec("j", Location("s3", bucket="a"), Location("s3", bucket="b"), options=Options(bwlimit=7 * MIB, weight=3))
    try:
        ledger.open_job("j", json.dumps(spec.wire()))
        ledger.set_meta("j", state="running")  # by a release that wrote no limits there
        assert limiting.limit("j", settings, {}) == Caps(7 * MIB, weight=3)
        assert limiting.limit("j", settings, {"tpslimit": "2.5", "jobs": "9"}) == Caps(7 * MIB, 2.5, 9, 3)
        assert limiting.limit_endpoint("https://S3.example:443/", settings, {}) == Caps()
        assert ledger.endpoints() == {}, "to look leaves nothing"
        assert limiting.limit_endpoint(URL, settings, {"bwlimit": "100000"}) == Caps(100_000)
        assert limiting.limits(settings) == ({"j": Caps(7 * MIB, 2.5, 9, 3)}, {URL: Caps(100_000)})
        with pytest.raises(UsageError, match="the URL that requests go to"):
            limiting.limit_endpoint("s3://a", settings, {})
        for nobodys in (lambda: limiting.limit_endpoint(URL, Settings(), {}), lambda: limiting.limits(Settings())):
            with pytest.raises(UsageError, match="--broker"):
                nobodys()
    finally:
        ledger._server.call(lambda r: [r.delete(key) for key in r.scan_iter("caps*")])
        ledger.close()
