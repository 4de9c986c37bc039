"""Live, ready, consuming: what each check says of what was seen; and the small server that answers."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import servers
from hugesync_producer.exposing import Exposing
from hugesync_tasks import endpoint
from hugesync_tasks.endpoint import AT_ONCE, CannotServe, Endpoint, Page
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.job_figures import of_jobs
from hugesync_tasks.metric_names import METRICS, MOST_JOBS, MOST_QUEUES
from hugesync_tasks.state.base import Ledger
from hugesync_tasks.state.load import JobLoad, Load
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.summary import Snapshot, State, Summary
from hugesync_worker import figures, health
from hugesync_worker.exporter import work
from hugesync_worker.figures import STALE, LedgerFigures
from hugesync_worker.health import BACK_WITHIN, DEAF, STUCK, Seen, consuming, live, ready
from scrape import get as get_page
from scrape import samples as scraped

WELL = Seen(
    ledger_for=10_000.0, ledger_why="", broker_for=10_000.0, registered=True, ending=False, since_turned=1.0, slots=4, children=4, busy=1,
    consumed=True, since_consumed=5.0, canary_waits=0.0,
)  # fmt: skip
DOWN = replace(
    WELL,
    ledger_for=0.0,
    broker_for=0.0,
    ledger_why="redis://r cannot be reached",
    registered=False,
    canary_why="no broker",
)


def test_a_worker_that_is_well_passes_everything() -> None:
    assert [check(WELL) for check in (live, ready, consuming)] == [(True, "live"), (True, "ready"), (True, "consuming")]


def test_a_redis_that_is_away_is_nobodys_death_but_nobody_is_ready() -> None:
    long_away = replace(DOWN, since_turned=9_000.0, since_consumed=9_000.0)
    assert live(long_away)[0]
    assert ready(long_away) == (False, "the ledger does not answer: redis://r cannot be reached")
    assert consuming(long_away) == (False, "no canary could be sent: no broker")
    just_back = replace(WELL, ledger_for=STUCK - 1, since_turned=9_000.0, since_consumed=9_000.0)
    assert live(just_back)[0], "it has not had the time to find its way back"
    for lost in (0.0, STUCK):
        broker_alone = replace(
            WELL, broker_for=lost, since_turned=9_000.0, since_consumed=9_000.0, canary_why="no broker"
        )
        assert live(broker_alone)[0], "the broker may be another server than the ledger's"


def test_a_main_process_that_stands_still_is_dead_where_the_ledger_answers() -> None:
    assert live(replace(WELL, since_turned=STUCK))[0]
    assert live(replace(WELL, since_turned=STUCK + 1)) == (False, "the main process has stood still for 181 s")


def test_a_worker_that_is_deaf_for_long_while_the_broker_is_there_is_dead() -> None:
    assert live(replace(WELL, since_consumed=DEAF))[0]
    assert not live(replace(WELL, since_consumed=DEAF + 1))[0]
    assert live(replace(WELL, since_consumed=DEAF + 1, slots=0))[0], "scaled to 0"
    assert live(replace(WELL, since_consumed=DEAF + 1, ledger_for=DEAF))[0]


def test_a_worker_that_was_told_to_end_lives_until_its_parts_are_done_and_takes_no_more() -> None:
    ending = replace(WELL, ending=True, since_turned=9_000.0, since_consumed=9_000.0)
    assert live(ending) == (True, "ending")
    assert ready(ending) == (False, "ending")
    assert consuming(ending) == (False, "ending")


def test_a_worker_that_is_not_registered_is_not_ready() -> None:
    assert ready(replace(WELL, registered=False)) == (False, "not registered in the ledger")


def test_no_canary_for_long_is_deaf_unless_all_children_are_busy_or_there_should_be_none() -> None:
    late = replace(WELL, since_consumed=BACK_WITHIN + 1, canary_waits=44.0)
    assert consuming(late) == (False, "a canary has not come back for 44 s")
    assert consuming(replace(late, canary_waits=0.0)) == (False, "no canary has come back yet")
    assert consuming(replace(WELL, consumed=False)) == (False, "no canary has come back yet"), "it has just begun"
    assert consuming(replace(late, busy=4)) == (True, "all 4 children are busy")
    assert consuming(replace(late, busy=3))[0] is False
    assert consuming(replace(late, children=0, busy=0))[0] is False
    assert consuming(replace(late, slots=0, children=0, busy=0))[0]


# ---- the ledger's figures


class Away(MemoryLedger):
    away = False

    def load(self) -> Load:
        if self.away:
            raise Unreachable("redis://r cannot be reached")
        return super().load()


def text_of(collector: object) -> dict[str, dict[str, float]]:
    """Metric -> its labels' values -> value, as a scrape has them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)  # type: ignore[arg-type]
    page = endpoint.metrics(registry, "text/plain")
    return {
        family.name: {" ".join(s.labels.values()): s.value for s in family.samples}
        for family in text_string_to_metric_families(page.body.decode())
    }


def test_figures_that_are_stale_are_not_told_and_keda_gets_an_error_never_a_zero() -> None:
    now, ledger = [100.0], Away()
    ledger.open_job("j", "{}")
    ledger.set_meta("j", state="running")
    ledger.offer("j", "{}")
    seen = LedgerFigures(ledger, lambda: now[0])
    assert work(seen, "").status == 503, "nothing is known yet"
    assert text_of(seen) == {"hugesync_ledger_up": {"": 0.0}}
    seen.look()
    answer = work(seen, "")
    assert (answer.status, json.loads(answer.body)) == (200, {"unsettled": 1, "running": 0, "slots": 0, "jobs": 1})
    assert text_of(seen)["hugesync_unsettled_tasks"] == {"": 1.0}
    ledger.away = True
    now[0] += STALE - 1
    seen.look()
    assert (work(seen, "").status, seen.answers_for()) == (200, 0.0)
    now[0] += 1
    gone = work(seen, "")
    assert (gone.status, json.loads(gone.body)) == (503, {"error": "redis://r cannot be reached"})
    assert text_of(seen) == {"hugesync_ledger_up": {"": 0.0}}
    ledger.away = False
    seen.look()
    now[0] += 7
    assert (work(seen, "").status, seen.answers_for()) == (200, 7.0)


def test_labels_stay_bounded_and_nothing_is_lost_in_the_sum() -> None:
    told = {"files": {"done": 1}, "bytes": {}, "traffic": {"requests.put": 2, "retries": 3}, "conflicts": 1}
    jobs = tuple(JobLoad(f"j{n:03}", "running", False, True, True, 2, told=told) for n in range(50))
    queues = {f"hs.root{n}": 1 for n in range(50)}

    class Many(MemoryLedger):
        def load(self) -> Load:
            return Load(jobs, {}, {}, queues)

    seen = LedgerFigures(Many())
    seen.look()
    shown = text_of(seen)
    assert len(shown["hugesync_queue_messages"]) == MOST_QUEUES + 1
    assert shown["hugesync_queue_messages"]["other"] == 50 - MOST_QUEUES
    assert len(shown["hugesync_job_unsettled_tasks"]) == MOST_JOBS + 1
    assert sum(shown["hugesync_job_unsettled_tasks"].values()) == 100
    assert sum(n for labels, n in shown["hugesync_job_files"].items() if labels.endswith(" done")) == 50
    assert sum(n for labels, n in shown["hugesync_job_requests"].items() if labels.endswith(" put")) == 100
    assert shown["hugesync_job_retries"]["other"] == 3 * (50 - MOST_JOBS)
    assert len(shown["hugesync_job_told_age_seconds"]) == MOST_JOBS


def test_each_sample_has_labels_of_the_table() -> None:
    seen = LedgerFigures(MemoryLedger())
    seen.look()
    families = [*seen.collect(), *of_jobs({"j": {}})]
    for family in families:
        for sample in family.samples:
            table = METRICS[family.name].labels
            assert set(sample.labels) == set(table)
            assert all(not table[label] or value in table[label] for label, value in sample.labels.items())


def test_the_ledgers_figures_are_looked_up_in_the_background_by_whatever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape answers at once while Redis hangs."""
    inside, go = threading.Event(), threading.Event()

    class Hanging(MemoryLedger):
        def load(self) -> Load:
            inside.set()
            assert go.wait(10)
            return Load()

    ledger: Ledger = Hanging()
    seen = LedgerFigures(ledger)
    looking = threading.Thread(target=seen.look)
    looking.start()
    assert inside.wait(10)
    assert text_of(seen) == {"hugesync_ledger_up": {"": 0.0}}
    go.set()
    looking.join()
    assert text_of(seen)["hugesync_ledger_up"] == {"": 1.0}
    assert figures.LOOK_EVERY < STALE


# ---- the server


@pytest.fixture
def served() -> Iterator[Endpoint]:
    def fail(accept: str) -> Page:
        raise ValueError("no secret of this shall be seen")

    it = Endpoint(
        "127.0.0.1",
        servers.free_ports(1)[0],
        {"/well": lambda accept: Page.verdict(True, "well"), "/ill": fail, "/no": lambda a: Page.verdict(False, "no")},
    )
    yield it
    it.close()


def get(served: Endpoint, path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{served.port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_it_answers_what_it_has_and_says_what_that_is(served: Endpoint) -> None:
    assert get(served, "/well?x=1") == (200, "well\n")
    assert get(served, "/well", "HEAD") == (200, "")
    assert get(served, "/no") == (503, "no\n")
    assert get(served, "/etc/passwd") == (404, "there is /well, /ill, /no\n")
    assert get(served, "/ill") == (500, "ValueError\n")
    assert get(served, "/well", "POST")[0] == 501


def test_a_port_that_is_taken_is_named(served: Endpoint) -> None:
    with pytest.raises(
        CannotServe,
        match=rf"metrics are not served: port {served.port} of 127.0.0.1 \(metrics_port\): another process has it",
    ):
        Endpoint("127.0.0.1", served.port, {})
    with pytest.raises(CannotServe, match="of 192"):
        Endpoint("192.0.2.7", served.port, {})


def test_clients_that_say_nothing_fill_no_more_than_their_share(served: Endpoint) -> None:
    idle = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(AT_ONCE)]
    refused = socket.create_connection(("127.0.0.1", served.port))
    refused.settimeout(10)
    assert refused.recv(1) == b"", "closed at once"
    for connection in [*idle, refused]:
        connection.close()


def test_health_constants_fit_each_other() -> None:
    assert health.BACK_WITHIN < health.STUCK < health.DEAF


TOLD = {
    "files": {"found": 15, "done": 1, "skipped": 2, "failed": 4, "pending": 8, "deleted": 16, "missing": 32},
    "bytes": {"found": 150, "done": 10, "skipped": 20, "failed": 40, "pending": 80},
    "traffic": {"bytes.sent": 64, "bytes.received": 128, "bytes.overhead": 256, "requests.part": 512, "retries": 1024},
    "conflicts": 3, "scan_complete": True, "throttled": True, "elapsed": 2.5,
}  # fmt: skip


def test_each_figure_of_the_ledger_is_what_the_ledger_says() -> None:
    jobs = (
        JobLoad("a", "running", False, True, True, 15, 1, 2, 4, 8, told=TOLD, told_age=1.5),
        JobLoad("b", "running", True, True, True, 9, running=5),
        JobLoad("c", "running", False, False, True, 0),
    )

    class Some(MemoryLedger):
        def load(self) -> Load:
            return Load(jobs, {"done": 7, "stalled": 1}, {"w": 3, "v": 0}, {"hs.any": 11})

    seen = LedgerFigures(Some())
    seen.look()
    shown = text_of(seen)
    assert shown["hugesync_unsettled_tasks"] == {"": 15 + 5 + 1}
    assert json.loads(work(seen, "").body) == {"unsettled": 21, "running": 7, "slots": 3, "jobs": 3}
    assert shown["hugesync_ledger_tasks"] == {"queued": 1, "running": 7, "expired": 4, "recalled": 8}
    assert shown["hugesync_jobs"] == {"running": 1, "paused": 1, "uncoordinated": 1}
    assert {state: n for state, n in shown["hugesync_jobs_ended"].items() if n} == {"done": 7, "stalled": 1}
    assert (shown["hugesync_workers"], shown["hugesync_slots"]) == ({"": 2}, {"": 3})
    assert shown["hugesync_queue_messages"] == {"hs.any": 11}
    assert shown["hugesync_job_unsettled_tasks"] == {"a": 15, "b": 9, "c": 0}
    assert shown["hugesync_job_told_age_seconds"] == {"a": 1.5}
    assert shown["hugesync_job_files"] == {f"a {outcome}": n for outcome, n in TOLD["files"].items()}  # type: ignore[attr-defined]
    assert shown["hugesync_job_bytes"] == {f"a {outcome}": n for outcome, n in TOLD["bytes"].items()}  # type: ignore[attr-defined]
    moved = {labels: n for labels, n in shown["hugesync_job_traffic_bytes"].items() if n}
    assert moved == {"a sent": 64, "a received": 128, "a overhead": 256}
    assert {labels: n for labels, n in shown["hugesync_job_requests"].items() if n} == {"a part": 512}
    assert (shown["hugesync_job_retries"], shown["hugesync_job_conflicts"]) == ({"a": 1024}, {"a": 3})
    assert (shown["hugesync_job_scan_complete"], shown["hugesync_job_throttled"]) == ({"a": 1}, {"a": 1})
    assert shown["hugesync_job_elapsed_seconds"] == {"a": 2.5}


def test_a_coordinator_tells_of_its_job_as_it_stands_and_at_the_end_what_the_summary_says() -> None:
    port = servers.free_ports(1)[0]
    exposing = Exposing("127.0.0.1", port)
    assert exposing.begin() == ""
    assert "another process has it" in Exposing("127.0.0.1", port).begin()
    assert all(not samples for samples in text_of(exposing).values()), "nothing is known yet"
    exposing.on_start("j", False)
    counted = {"bytes.sent": 5, "requests.put": 2, "retries": 1, "conflicts": 1, "worked": 9}
    exposing.on_progress(
        Snapshot({"found": 3, "done": 1, "pending": 2}, {"found": 30}, throttled=True, counted=counted)
    )
    shown = scraped(get_page(port, "/metrics")[1])
    assert shown["hugesync_job_files"]["j pending"] == 2
    assert (shown["hugesync_job_traffic_bytes"]["j sent"], shown["hugesync_job_requests"]["j put"]) == (5, 2)
    assert (shown["hugesync_job_retries"]["j"], shown["hugesync_job_conflicts"]["j"]) == (1, 1)
    assert (shown["hugesync_job_throttled"]["j"], shown["hugesync_job_scan_complete"]["j"]) == (1, 0)
    exposing.end(
        Summary(State.DONE, "j", files={"found": 3, "done": 3}, bytes={"sent": 6}, scan_complete=True, retries=4), True
    )
    last = text_of(exposing)
    assert (last["hugesync_job_files"]["j done"], last["hugesync_job_traffic_bytes"]["j sent"]) == (3, 6)
    assert (last["hugesync_job_retries"], last["hugesync_job_scan_complete"]) == ({"j": 4}, {"j": 1})
    assert get_page(port, "/metrics")[0] == 0, "it serves no more"
