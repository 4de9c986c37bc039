"""The three-stream merge join: source, destination and hints, each in strictly increasing key order (design §3).

An input out of order would pair the wrong entries: the job ends with the side's name, and never in a copy or a delete.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hugesync_producer.scan import Signal
from hugesync_tasks.errors import Permanent
from hugesync_tasks.model import Entry


@dataclass(frozen=True, slots=True)
class Hint:
    """What our runs left at a key (from the catalogue). It counts only where ``version`` is the listed one."""

    key: str
    version: str
    size: int
    mtime_ns: int | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a list names and the source does not have: how much, and the first names."""

    count: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JoinItem:
    """Everything known of one key; at least one of source and dest is there, unless something is ``missing``: then the key is
    the last of its names."""

    key: str
    source: Entry | None
    dest: Entry | None
    hint: Hint | None = None
    missing: Lacking | None = None


E = TypeVar("E", bound=Entry | Hint)
C = TypeVar("C", bound=Entry | Hint, covariant=True)


class Side(Protocol[C]):
    """What can be joined: ``scan.Feed``, or anything that answers like it."""

    @property
    def name(self) -> str: ...
    @property
    def start_after(self) -> str: ...
    def poll(self, timeout: float) -> C | Signal | None: ...


class _Head(Generic[E]):
    """The next of one side, held until its key's turn comes."""

    def __init__(self, side: Side[E] | None) -> None:
        self._side = side
        self._last = side.start_after if side is not None else ""
        self._held: E | None = None
        self.ended = side is None

    def fill(self, timeout: float) -> bool:
        """Whether the head is known: an entry, or the end."""
        if self._held is not None or self.ended or self._side is None:
            return True
        came = self._side.poll(timeout)
        if came is None:
            return False
        if isinstance(came, Signal):
            self.ended = True
        elif came.key <= self._last:
            raise Permanent(
                f"the listing of the {self._side.name} is out of order: {came.key!r} came after {self._last!r}; "
                "nothing is compared with such a listing",
                came.key,
            )
        else:
            self._held, self._last = came, came.key
        return True

    @property
    def key(self) -> str | None:
        return self._held.key if self._held is not None else None

    def take(self, key: str) -> E | None:
        if self._held is None or self._held.key != key:
            return None
        taken, self._held = self._held, None
        return taken


def join(
    source: Side[Entry],
    dest: Side[Entry],
    hints: Side[Hint] | None = None,
    *,
    timeout: float = 0.1,
    extras: bool = True,
) -> Iterator[JoinItem | None]:
    """Pair the sides key by key, in order. Yields None where no entry came within ``timeout`` s, so that the caller's
    loop can do other work. ``extras`` false: ends with the source, and what only the destination has beyond it is not
    read. A hint without an entry is dropped. Raises Permanent on an input out of order, and what the sides raise.
    """
    left, right, aside = _Head(source), _Head(dest), _Head(hints)
    while True:
        # every head must be known before the smallest may go: a late one could be smaller
        if not left.fill(timeout):
            yield None
            continue
        if left.ended and not extras:
            return
        if not right.fill(timeout):
            yield None
            continue
        keys = [head.key for head in (left, right) if head.key is not None]
        if not keys:
            return
        key = min(keys)
        while not (known := aside.fill(timeout)) or (aside.key is not None and aside.key < key):
            if not known:
                yield None
            elif aside.key is not None:
                aside.take(aside.key)
        yield JoinItem(key, left.take(key), right.take(key), aside.take(key))
