"""Flower on a port of 127.0.0.1, watching a fleet of the tests."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

import servers
from processes import Place, wait_until


class Flower:
    """``tasks``: what its HTTP API tells."""

    def __init__(self, port: int, credentials: str = "") -> None:
        self.address = f"127.0.0.1:{port}"
        self.credentials = credentials

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def tasks(self) -> list[dict[str, Any]]:
        return [*self.get("/api/tasks").values()]


@contextmanager
def watching(place: Place, broker: servers.ValkeyServer, *args: str, url: str = "") -> Iterator[Flower]:
    """Flower as an operator starts it, hearing events, before any worker is there; ``url``: the broker's, where it is not as everybody sees it."""
    (port,) = servers.free_ports(1)
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "hugesync_tasks",
        "flower",
        "--address=127.0.0.1",
        f"--port={port}",
    ]
    started = place.start([*command, *args], HUGESYNC_BROKER_URL=url or broker.url, FLOWER_UNAUTHENTICATED_API="true")
    flower = Flower(port)

    def hears() -> bool:
        assert started.process.poll() is None, started.said()
        with redis.Redis(unix_socket_path=str(broker.socket)) as r:
            heard = r.pubsub_numpat() > 0  # no worker is there yet, which would listen for commands
        try:
            urllib.request.urlopen(f"http://{flower.address}/healthcheck", timeout=5).close()
        except (urllib.error.URLError, OSError):
            return False
        return heard

    try:
        wait_until(hears, 60, "Flower")
        yield flower
    finally:
        started.kill()
