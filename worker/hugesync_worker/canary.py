"""Canaries: real messages through the broker to a child of one worker, on a queue of that worker alone. One is out at a time, and
none outlives its minute, whoever dies."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from hugesync_tasks.celery import publishing
from hugesync_tasks.config import Settings
from hugesync_tasks.exporting import CANARIES, CANARY
from hugesync_tasks.redact import redact
from hugesync_tasks.state.redis_connect import Server
from hugesync_tasks.vitals import Vitals

SEND_EVERY = 10.0  # seconds after one came back
GIVE_UP = 60.0  # seconds; then it is taken back, and another is sent


class Canaries:
    """``look`` about once a second. Times are the wall clock's: sender and child are on one host."""

    def __init__(self, settings: Settings, worker: str, vitals: Vitals, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._vitals, self._clock = settings, vitals, clock
        self._queue = CANARIES + worker
        self._key = f"{settings.queue_prefix}:q:{self._queue}"
        self._server = Server(settings.broker_url, retries=0)
        self._stack = ExitStack()
        self._app: Any = None
        self._reached: float | None = None  # since when the broker took every one
        self._sent = 0.0  # of the one that is out; 0 = none
        self._next = 0.0
        self.back = 0.0  # when the last one that came back was seen
        self.took = 0.0  # seconds, from its sending to that
        self.why = ""

    @property
    def waits(self) -> float:
        """Seconds that the one which is out has been out."""
        return self._clock() - self._sent if self._sent else 0.0

    @property
    def broker_for(self) -> float:
        """Seconds for which the broker has taken every canary; 0 where it did not take the last one."""
        return 0.0 if self._reached is None else self._clock() - self._reached

    def look(self) -> None:
        """Raises nothing: what hinders is in ``why``."""
        now = self._clock()
        if self._sent:
            if any(child.canary == self._sent for child in self._vitals.read()):
                self.back, self.took, self._sent, self._next = now, now - self._sent, 0.0, now + SEND_EVERY
            elif now - self._sent < GIVE_UP:
                return
        if now < self._next:
            return
        try:
            self._send(now)
            self._sent, self.why = now, ""
            self._reached = now if self._reached is None else self._reached
        except Exception as error:  # kombu's, redis-py's, ours: whatever it is, no canary flies
            self._sent, self._next, self._reached = 0.0, now + SEND_EVERY, None
            self.why = redact(f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Take back the one that is out."""
        try:
            self._server.call(lambda r: r.unlink(self._key))
        except Exception:
            pass  # it goes after its minute
        self._server.close()
        self._stack.close()

    def _send(self, now: float) -> None:
        self._server.call(lambda r: r.unlink(self._key))
        self._app = self._app or self._stack.enter_context(publishing(self._settings))
        message: Any = self._app.amqp.create_task_message(str(uuid.uuid4()), CANARY, (now,), {})
        with self._app.connection_for_write() as connection:
            connection.Producer().publish(
                message.body, exchange="", routing_key=self._queue, headers=message.headers, serializer="json",
                retry=False, **message.properties,
            )  # fmt: skip
        self._server.call(lambda r: _expire(r, self._key))


def _expire(r: Any, key: str) -> None:
    r.pexpire(key, int(GIVE_UP * 1000))
