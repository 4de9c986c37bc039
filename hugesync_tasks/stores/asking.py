"""How a store is asked by writing: a question is put once wrongly, and where that is refused once rightly, on keys that nobody
else has. A refusal counts only if what was there is there still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from awscrt.checksums import crc64nvme

from hugesync_tasks.errors import Corrupted, NeedsPerson, Permanent, StoreError, Transient, Unsupported
from hugesync_tasks.stores.findings import NO, UNKNOWN, YES, Fact
from hugesync_tasks.stores.raw import Raw

BODY = b"hugesync asks what this endpoint honours"
OTHER = b"hugesync asks whether this is refused"
_TROUBLES = 2  # questions in a row without an answer: then nobody is there

Ask = Callable[[], object]
Answer = tuple[str, str]  # the answer and its note


class Asking:
    """Keys lie below ``folder``. ``written`` and ``begun`` are what a cleaner must look for, besides what is listed."""

    def __init__(self, raw: Raw, folder: str) -> None:
        self._raw = raw
        self._folder = folder
        self._troubles = 0
        self.written: set[str] = set()
        self.begun: set[tuple[str, str]] = set()

    def ask(self, name: str, question: Callable[[], Answer]) -> Iterator[Fact]:
        try:
            answer, note = question()
        except (Unsupported, Corrupted, Permanent, NeedsPerson, Transient) as error:
            unanswered = isinstance(error, Transient) and not isinstance(error, Corrupted)
            self._troubles = self._troubles + 1 if unanswered else 0
            if self._troubles >= _TROUBLES:
                raise
            yield Fact(name, NO if isinstance(error, Unsupported) else UNKNOWN, error.message)
        else:
            self._troubles = 0
            yield Fact(name, answer, note)

    def _key(self, name: str) -> str:
        key = self._folder + name
        self.written.add(key)
        return key

    def _made(self, name: str, body: bytes = BODY) -> tuple[str, str]:
        key = self._key(name)
        return key, self._raw.put(key, body)

    def _upload(self, key: str, body: bytes, crc64: bool = False) -> tuple[str, str]:
        id = self._raw.create(key, crc64=crc64)
        self.begun.add((key, id))
        return id, self._raw.part(key, id, 1, body, crc64=crc64nvme(body) if crc64 else None)

    def _complete(self, key: str, if_match: str = "", absent: bool = False) -> None:
        id, etag = self._upload(key, OTHER)
        self._raw.complete(key, id, [etag], if_match=if_match, absent=absent)

    def _honoured(
        self, wrong: Ask, right: Ask, refusals: tuple[type[StoreError], ...], key: str, still: bytes | None = BODY
    ) -> Answer:
        """Whether ``wrong`` is refused and leaves ``still`` under ``key``, and ``right`` is accepted."""
        try:
            wrong()
        except refusals:
            pass
        else:
            return NO, "it was sent, and ignored"
        if self._raw.read(key) != still:
            return NO, "refused, and written all the same"
        try:
            right()
        except refusals as error:
            return NO, f"refused also where it held: {error.message}"
        return YES, ""
