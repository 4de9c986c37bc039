"""``rediss://`` for broker and ledger: the server's certificate is verified, and a CA of one's own can be named."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

import servers
from hugesync_tasks.celery import app, options
from hugesync_tasks.config import load
from hugesync_tasks.errors import Unreachable
from hugesync_tasks.state.redis_connect import check
from tlsproxy import TlsProxy


@pytest.fixture
def tls(valkey: servers.ValkeyServer) -> Iterator[TlsProxy]:
    with tempfile.TemporaryDirectory() as folder:
        it = TlsProxy(valkey.port, Path(folder))
        yield it
        it.close()


def test_the_ledger_refuses_a_server_whose_certificate_nobody_it_trusts_has_signed(tls: TlsProxy) -> None:
    with pytest.raises(Unreachable, match="certificate"):
        check(f"rediss://127.0.0.1:{tls.port}/0")
    check(f"rediss://127.0.0.1:{tls.port}/0?ssl_ca_certs={tls.ca}")


@pytest.mark.parametrize("required", ["", "&ssl_cert_reqs=required"])
def test_the_broker_refuses_a_server_whose_certificate_nobody_it_trusts_has_signed(
    tls: TlsProxy, required: str
) -> None:
    def reach(query: str) -> None:
        url = f"rediss://127.0.0.1:{tls.port}/0?{query}"
        settings = options(load({"broker_url": url}))
        with app.connection_for_write(
            settings["broker_url"], transport_options=settings["broker_transport_options"]
        ) as c:
            c.ensure_connection(max_retries=1, timeout=5)
            c.default_channel.client.ping()

    with pytest.raises(OperationalError, match="certificate"):
        reach(required.lstrip("&"))
    reach(f"ssl_ca_certs={tls.ca}{required}")
