"""How the ledger meets a server: addresses, errors in our words, passwords that stay unseen, servers it must refuse."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis
from celery import Celery

import servers
from hugesync_producer.sending import publisher
from hugesync_tasks.celery import configure
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import HugeSyncError, Refused, Unreachable, UsageError
from hugesync_tasks.state import redis_connect
from hugesync_tasks.state.base import Task
from hugesync_tasks.state.redis import RedisLedger
from hugesync_tasks.state.redis_connect import Address, refuse_unfit

SECRET = "hunter2horse"


@pytest.fixture(scope="module")
def guarded(server_dir: Path) -> Iterator[servers.ValkeyServer]:
    """A server of its own, with a password, that tests may reconfigure."""
    server = servers.start_valkey(server_dir / "guarded")
    server_as(server, "").call(lambda r: r.config_set("requirepass", SECRET))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def without_auth(server_dir: Path) -> Iterator[servers.ValkeyServer]:
    rename = ("--rename-command", "AUTH", "", "--rename-command", "HELLO", "")
    server = servers.start_valkey(server_dir / "renamed", *rename)
    yield server
    server.stop()


def server_as(server: servers.ValkeyServer, credentials: str = f":{SECRET}@") -> redis_connect.Server:
    return redis_connect.Server(f"redis://{credentials}127.0.0.1:{server.port}/0")


def everything_shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(error) + repr(error.__cause__)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("redis://", "redis://localhost:6379/0"),
        (f"redis://me:{SECRET}@h:1/2", "redis://h:1/2"),
        (f"rediss://:{SECRET}%2F%23%40@[::1]:7/0?ssl_cert_reqs=none", "rediss://[::1]:7/0"),
        ("unix:///run/x.sock", "unix:///run/x.sock"),
        (f"unix:///run/x.sock?db=3&password={SECRET}", "unix:///run/x.sock?db=3"),
        ("redis+socket:///run/x.sock?virtual_host=3", "unix:///run/x.sock?db=3"),
        ("redis+socket:///run/x.sock", "unix:///run/x.sock"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, name: str) -> None:
    address = Address.parse(url)
    assert address.name == name
    assert SECRET not in repr(address)


def test_celerys_word_for_a_socket_reaches_the_same_database(valkey: servers.ValkeyServer) -> None:
    ours, celerys = (
        RedisLedger.from_url(url)
        for url in (f"unix://{valkey.socket}?db=3", f"redis+socket://{valkey.socket}?virtual_host=3")
    )
    ours.open_job("j", "same")
    assert celerys.spec("j") == "same"
    assert RedisLedger.from_url(valkey.url).spec("j") is None
    ours.forget_job("j", history=False)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}/x@host/0",
        f"redis://:12/{SECRET}@host/0",
        f"redis://:{SECRET}#x@host/0",
        f"redis://:{SECRET}?x@host/0",
        f"redis://:[{SECRET}@host/0",
        f"redis://:{SECRET}@host:port/0",
        f"redis://host/{SECRET}",
        f"unix://:{SECRET}/x@/run/x.sock",
        f"redis://:{SECRET}\u2100@host/0",
        f"redis://:{SECRET}@h/0?no_such_option=1",
        f"redis://:{SECRET}@h/0?socket_timeout={SECRET}",
        f"amqp://me:{SECRET}@h//",
        SECRET,
        "",
    ],
)
def test_a_url_that_cannot_be_read_is_a_usage_error_that_shows_nothing_of_it(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        RedisLedger.from_url(url)
    assert SECRET not in everything_shown(caught.value)


def test_nobody_listening_is_unreachable_by_name(tmp_path: Path) -> None:
    (port,) = servers.free_ports(1)
    for url, name in ((f"redis://:{SECRET}@127.0.0.1:{port}/0", f"127.0.0.1:{port}"), (f"unix://{tmp_path}/x", "/x")):
        ledger = RedisLedger.from_url(url)
        for call in (ledger.check_server, partial(ledger.put_tasks, "j", [Task("t", "batch", "q", 1, "{}")])):
            with pytest.raises(Unreachable, match=name) as caught:
                call()
            assert SECRET not in everything_shown(caught.value)


def test_a_server_that_accepts_and_is_silent_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connect, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ledger = RedisLedger.from_url(f"redis://:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/0")
        with pytest.raises(Unreachable, match="does not answer") as caught:
            ledger.check_server()
    assert SECRET not in everything_shown(caught.value)


def test_a_wrong_password_is_a_usage_error(guarded: servers.ValkeyServer) -> None:
    for credentials in ("", f":{SECRET}x@", f"nobody:{SECRET}x@"):
        ledger = RedisLedger.from_url(f"redis://{credentials}127.0.0.1:{guarded.port}/0")
        for call in (ledger.check_server, partial(ledger.claim, "j", "t", "w", 1, 1)):
            with pytest.raises(UsageError, match="credentials") as caught:
                call()
            assert SECRET not in everything_shown(caught.value)


@pytest.mark.parametrize("password", [SECRET, SECRET * 20], ids=["whole", "cut short"])
@pytest.mark.parametrize("protocol", ["2", "3"])
def test_a_server_that_echoes_what_it_does_not_understand_does_not_betray_the_password(
    without_auth: servers.ValkeyServer, password: str, protocol: str
) -> None:
    with pytest.raises(HugeSyncError, match="unknown command") as caught:
        RedisLedger.from_url(f"redis://:{password}@127.0.0.1:{without_auth.port}/0?protocol={protocol}").announced()
    assert SECRET not in everything_shown(caught.value)


def test_a_password_in_any_error_is_struck_out() -> None:
    server = redis_connect.Server(f"redis://:{SECRET}@h/0")

    def fail(_: object) -> None:
        raise redis.ConnectionError(f"the proxy says {SECRET} is wrong")

    with pytest.raises(Unreachable, match=r"the proxy says \*\*\* is wrong") as caught:
        server.call(fail)
    assert SECRET not in everything_shown(caught.value)


@pytest.mark.parametrize(
    ("policy", "memory", "refused"),
    [
        ("noeviction", "0", False),
        ("noeviction", "100mb", False),
        ("volatile-lru", "0", False),
        ("volatile-lru", "100mb", True),
        ("allkeys-lru", "0", True),
        ("allkeys-random", "100mb", True),
    ],
)
def test_a_server_that_evicts_is_refused_with_the_cure(
    guarded: servers.ValkeyServer, policy: str, memory: str, refused: bool
) -> None:
    server_as(guarded).call(lambda r: r.config_set("maxmemory-policy", policy))
    server_as(guarded).call(lambda r: r.config_set("maxmemory", memory))
    url = f"redis://:{SECRET}@127.0.0.1:{guarded.port}/0"
    try:
        if refused:
            with pytest.raises(Refused, match=f"{policy}.*CONFIG SET maxmemory-policy noeviction") as caught:
                RedisLedger.from_url(url).check_server()
            assert SECRET not in everything_shown(caught.value)
        else:
            RedisLedger.from_url(url).check_server()
    finally:
        server_as(guarded).call(lambda r: r.config_set("maxmemory-policy", "noeviction", "maxmemory", "0"))


def test_the_brokers_server_is_checked_too(guarded: servers.ValkeyServer, valkey: servers.ValkeyServer) -> None:
    broker = f"redis://:{SECRET}@127.0.0.1:{guarded.port}/0"
    server_as(guarded).call(lambda r: r.config_set("maxmemory-policy", "allkeys-lfu"))
    try:
        with pytest.raises(Refused, match="allkeys-lfu"):
            RedisLedger.from_url(valkey.url, broker_url=broker).check_server()
    finally:
        server_as(guarded).call(lambda r: r.config_set("maxmemory-policy", "noeviction"))
    RedisLedger.from_url(valkey.url, broker_url=broker).check_server()


def test_a_user_without_config_is_judged_all_the_same(guarded: servers.ValkeyServer) -> None:
    admin = server_as(guarded)
    admin.call(
        lambda r: r.acl_setuser("plain", True, passwords=[f"+{SECRET}"], keys=["*"], commands=["+@all", "-config"])
    )
    url = f"redis://plain:{SECRET}@127.0.0.1:{guarded.port}/0"
    RedisLedger.from_url(url).check_server()
    admin.call(lambda r: r.config_set("maxmemory-policy", "allkeys-lru"))
    try:
        with pytest.raises(Refused):
            RedisLedger.from_url(url).check_server()
    finally:
        admin.call(lambda r: r.config_set("maxmemory-policy", "noeviction"))


@pytest.mark.parametrize(
    ("info", "fit"),
    [
        ({"redis_version": "6.2.0", "maxmemory_policy": "noeviction", "maxmemory": 0}, True),
        ({"redis_version": "10.0.1", "maxmemory_policy": "noeviction", "maxmemory": 5}, True),
        ({"redis_version": "6.0.16", "maxmemory_policy": "noeviction", "maxmemory": 0}, False),
        ({"redis_version": "7.2.4"}, False),
        ({}, False),
    ],
)
def test_old_and_tight_lipped_servers_are_refused(info: dict[str, Any], fit: bool) -> None:
    if fit:
        refuse_unfit("redis://h:1/0", info)
    else:
        with pytest.raises(Refused, match="redis://h:1/0"):
            refuse_unfit("redis://h:1/0", info)


def test_a_full_server_takes_no_writes_and_is_resumable(
    guarded: servers.ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = server_as(guarded)
    full = Celery("full")
    configure(full, Settings(broker_url=f"redis://:{SECRET}@127.0.0.1:{guarded.port}/0"))
    publish = publisher(full, {})
    admin.call(lambda r: r.config_set("maxmemory", "1"))
    try:
        ledger = RedisLedger.from_url(f"redis://:{SECRET}@127.0.0.1:{guarded.port}/0")
        with pytest.raises(Unreachable, match="takes no writes"):
            ledger.cancel("j")
        with pytest.raises(
            Unreachable, match="takes no writes now: command not allowed"
        ):  # several commands in one: told otherwise
            ledger.open_job("j", "{}")
        with pytest.raises(Unreachable, match="broker"):
            publish("hugesync.batch", "hs.any", "j", "t")
    finally:
        admin.call(lambda r: r.config_set("maxmemory", "0"))


def test_another_applications_keys_are_an_error_of_ours(guarded: servers.ValkeyServer) -> None:
    admin = server_as(guarded)
    admin.call(lambda r: r.set("hs:announce", "not a hash"))
    with pytest.raises(HugeSyncError, match="WRONGTYPE"):
        RedisLedger.from_url(f"redis://:{SECRET}@127.0.0.1:{guarded.port}/0").announced()


def test_a_server_that_forgot_our_scripts_is_sent_them_again(valkey: servers.ValkeyServer) -> None:
    ledger = RedisLedger.from_url(valkey.url, prefix="forgot:")
    assert ledger.lead("j", "me", 60_000)
    ledger._server.call(lambda r: r.script_flush())
    assert not ledger.lead("j", "you", 60_000)
    ledger.forget_job("j", history=False)


def test_a_claim_whose_reply_was_lost_is_answered_again_with_the_same_attempt(
    valkey: servers.ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = RedisLedger.from_url(valkey.url, prefix="lost:")
    ledger.put_tasks("j", [Task("t", "batch", "q", 1, "{}")])
    run = ledger._server.run

    def twice(*call: Any) -> Any:
        run(*call)
        return run(*call)

    monkeypatch.setattr(ledger._server, "run", twice)
    assert [ledger.claim("j", "t", "w", 60_000, 1).attempt, ledger.claim("j", "t", "w", 60_000, 1).attempt] == [1, 0]
    monkeypatch.undo()
    ledger.forget_job("j", history=False)


def test_a_connection_that_was_cut_is_made_again(valkey: servers.ValkeyServer) -> None:
    ledger, other = RedisLedger.from_url(valkey.url), RedisLedger.from_url(valkey.url)
    assert ledger.announced() == {}
    other._server.call(lambda r: r.client_kill_filter(_type="normal", skipme=True))
    assert ledger.announced() == {}


def test_a_queues_length_is_read_where_celery_keeps_it(valkey: servers.ValkeyServer) -> None:
    ledger = RedisLedger.from_url(valkey.url, broker_url=f"redis://127.0.0.1:{valkey.port}/5", queue_prefix="app:")
    broker = redis_connect.Server(f"redis://127.0.0.1:{valkey.port}/5")
    broker.call(lambda r: r.rpush("app:hs.any", "1", "2"))
    assert ledger.queue_length("hs.any") == 2
    assert ledger.queue_length("hs.other") == 0
    broker.call(lambda r: r.delete("app:hs.any"))
    ledger.close()


def test_a_server_that_is_no_redis_is_a_usage_error_and_no_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:

        def answer() -> None:
            for _ in range(2):
                client, _ = web.accept()
                with client:
                    client.recv(1000)
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        Thread(target=answer, daemon=True).start()
        with pytest.raises(UsageError, match="does not answer as a Redis server does"):
            redis_connect.check(f"redis://127.0.0.1:{web.getsockname()[1]}/0")
