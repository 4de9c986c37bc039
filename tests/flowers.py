"""Flower on a port of 127.0.0.1, watching a fleet of the tests."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
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
def watching(place: Place, broker: redis.Redis, *args: str) -> Iterator[Flower]:
    """Flower as an operator starts it, hearing events, before any worker is there. ``broker``: with the right to look at
    everything; Flower's own URL comes from ``place``."""
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
    started = place.start([*command, *args], FLOWER_UNAUTHENTICATED_API="true")
    flower = Flower(port)

    def hears() -> bool:
        assert started.process.poll() is None, started.said()
        heard = broker.pubsub_numpat() > 0  # no worker is there yet, which would listen for commands
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


@contextmanager
def heard(broker: redis.Redis, prefix: str) -> Iterator[Callable[[], str]]:
    """Every task event that any worker sends meanwhile, decoded, as one text."""
    said: list[str] = []
    with broker.pubsub() as listening:
        listening.psubscribe(f"{prefix}:q:/0.celeryev/*")
        listening.get_message(timeout=5)

        def text() -> str:
            while (message := listening.get_message(timeout=0.1)) is not None:
                event = b64decode(json.loads(message["data"])["body"]).decode()
                said.extend(json.dumps(e, ensure_ascii=False) for e in _each(json.loads(event)))
            return "\n".join(line for line in said if '"type": "task-' in line)

        yield text


def _each(event: Any) -> list[Any]:
    return event if isinstance(event, list) else [event]
