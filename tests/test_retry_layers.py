"""One layer repeats for each distance (docs/reliability.md): the ledger, the queue, tasks. The stores' are in test_s3_wire.py."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread

import pytest
from celery import Celery

from hugesync_producer.sending import publisher
from hugesync_tasks.aimd import Report
from hugesync_tasks.celery import configure
from hugesync_tasks.config import load
from hugesync_tasks.errors import Unreachable, UsageError
from hugesync_tasks.state import redis_connect
from hugesync_tasks.state.redis import RedisLedger
from hugesync_tasks.tasks import app as with_tasks


class Deaf:
    """Takes connections, answers ``says`` to the first words on each, and closes it. ``taken``: how many there were."""

    def __init__(self, says: bytes = b"") -> None:
        self.taken, self._says = 0, says
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._socket.getsockname()[1]}/0"
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.taken += 1
                with connection, suppress(OSError):
                    if self._says:
                        connection.recv(4096)
                        connection.sendall(self._says)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    it = Deaf()
    yield it
    it.close()


@pytest.mark.parametrize(
    "call",
    [lambda ledger: ledger.meta("j"), lambda ledger: ledger.renew("j", "t", 1, 1, {}), lambda ledger: ledger.jobs()],
    ids=["a read", "a script", "a list"],
)
def test_a_broken_connection_to_the_ledger_is_tried_again_in_one_place(
    call: Callable[[RedisLedger], object], deaf: Deaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connect, "PAUSES", (0.001, 0.001))
    server = redis_connect.Server(deaf.url, retries=2)
    ledger = RedisLedger.from_url(deaf.url)
    ledger._server = server
    with pytest.raises(Unreachable):
        call(ledger)
    assert deaf.taken == 1 + 2
    ledger.close()


def test_what_a_ledger_refuses_for_good_is_asked_for_once() -> None:
    wrong = Deaf(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
    ledger = RedisLedger.from_url(wrong.url.replace("//", "//:secret@"))
    with pytest.raises(UsageError):
        ledger.meta("j")
    assert wrong.taken == 1
    ledger.close()
    wrong.close()


def test_the_rate_is_asked_for_once_because_a_request_waits_for_the_answer(deaf: Deaf) -> None:
    ledger = RedisLedger.from_url(deaf.url)
    with pytest.raises(Unreachable):
        ledger.share_rate("place", "sharer", Report(1))
    assert deaf.taken == 1
    ledger.close()


def test_a_silent_redis_holds_a_request_for_about_a_second() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ledger = RedisLedger.from_url(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began = time.monotonic()
        with pytest.raises(Unreachable):
            ledger.share_rate("place", "sharer", Report(1))
        assert time.monotonic() - began < 3
        ledger.close()


def test_a_message_is_published_once_and_the_coordinator_is_not_held_up(
    deaf: Deaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = Celery("fresh")
    configure(fresh, load({"broker_url": deaf.url}))
    began = time.monotonic()
    with pytest.raises(Unreachable):
        publisher(fresh, {})("hugesync.batch", "hs.any", "j", "t")
    assert deaf.taken == 1
    assert time.monotonic() - began < 1
    fresh.close()


def test_no_task_is_repeated_by_celery() -> None:
    ours = [task for name, task in with_tasks.tasks.items() if name.startswith("hugesync.")]
    assert len(ours) >= 5
    for task in ours:
        assert not getattr(task, "autoretry_for", ())
        assert not task.acks_late
        assert not task.reject_on_worker_lost
