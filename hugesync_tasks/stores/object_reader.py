"""Reading one pinned object of a store, from whatever fetches its chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hugesync_tasks.errors import Permanent, SourceChanged, VersionMismatch
from hugesync_tasks.model import Head
from hugesync_tasks.stores.base import KIB
from hugesync_tasks.token import Token

CHUNK = 256 * KIB  # bytes read from the socket between two looks at the token
AHEAD = 256 * KIB  # bytes of an answer that are here before anybody reads them: what the system's buffers take at once


class ObjectReader:
    """A Reader over chunks that the adapter fetches. ``length``: what must come, no more and no less. ``paid``: bytes of it that
    are paid for (``pay_ahead``)."""

    def __init__(
        self, head: Head, chunks: Iterator[bytes], length: int, token: Token, overhead: bool, paid: int = 0
    ) -> None:
        self.head = head
        self._chunks = chunks
        self._length = length
        self._token = token
        self._overhead = overhead
        self._paid = paid

    def __iter__(self) -> Iterator[bytes]:
        came = 0
        for chunk in self._chunks:
            came += len(chunk)
            self._token.received(len(chunk), self._overhead)
            self._token.moved(len(chunk))
            if came > self._paid:
                self._token.pay(came - self._paid)
                self._paid = came
            if came > self._length:
                break
            if chunk:
                yield chunk
        if came != self._length:
            key = self.head.entry.key
            raise SourceChanged(f"{key!r} gave {came} bytes of the {self._length} that were announced", key)

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *exc: object) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


def pieces(
    read: Callable[[int], bytes],
    close: Callable[[], None],
    broken: Callable[[Exception], Exception],
    token: Token | None,
) -> Iterator[bytes]:
    """What ``read`` gives until it gives nothing, in pieces as the bandwidth of ``token``'s job allows; ``close`` is called
    however iteration ends. ``broken``: what is raised of an error of ``read``."""
    try:
        while True:
            try:
                piece = read(CHUNK if token is None else token.slice(CHUNK))
            except Exception as exc:
                raise broken(exc) from exc
            if not piece:
                return
            yield piece
    finally:
        close()


def pay_ahead(length: int | None, token: Token) -> int:
    """Before an answer with a body of ``length`` is asked for (None: nobody knows): wait until as much of it may come as comes
    at once. How much that is."""
    n = min(length or 0, AHEAD)
    token.pay(n)
    return n


def checked_span(key: str, size: int, start: int, length: int | None) -> int:
    """How many bytes a read of ``length`` from ``start`` must give. Raises Permanent when it goes past the end."""
    wanted = size - start if length is None else length
    if start < 0 or wanted < 0 or start + wanted > size:
        raise Permanent(f"cannot read: bytes {start} to {start + wanted} of {key!r}, which has {size}", key)
    return wanted


def checked_version(key: str, version: str, etag: str) -> None:
    """Some servers do not know If-Match on GET: what came must be what was asked for."""
    if version and etag != version:
        raise VersionMismatch("cannot read: the object is another version now", key)
