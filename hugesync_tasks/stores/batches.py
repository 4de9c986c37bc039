"""The batch of a store whose put is durable at once: nothing is saved up, every key has its answer."""

from __future__ import annotations

from threading import Lock
from typing import Protocol

from hugesync_tasks.errors import StoreError
from hugesync_tasks.model import Commit, Meta
from hugesync_tasks.token import Token


class Putter(Protocol):
    """What a prompt batch needs of a store."""

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit: ...


class PromptBatch:
    """Puts as they come; a StoreError becomes the answer for its key, a ``Stopped`` ends the batch."""

    def __init__(self, store: Putter) -> None:
        self._store = store
        self._lock = Lock()
        self._answers: dict[str, Commit | Exception] = {}

    def put(self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token) -> None:
        answer: Commit | Exception
        try:
            answer = self._store.put(key, body, meta, expected, token)
        except StoreError as refused:
            answer = refused
        with self._lock:
            self._answers[key] = answer

    def finish(self, token: Token) -> dict[str, Commit | Exception]:
        with self._lock:
            answers, self._answers = self._answers, {}
        return answers

    def discard(self) -> None:
        with self._lock:
            self._answers = {}
