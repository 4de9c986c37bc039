"""A store that fails on command: for the crash matrix and for rehearsals of bad networks. Unarmed it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple, TypeVar

from hugesync_tasks.errors import Transient
from hugesync_tasks.model import Entry
from hugesync_tasks.stores.base import Reader, Store
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token

T = TypeVar("T")
_STREAM_MODES = {"cut": ("open", "list"), "short": ("open", "list"), "flip": ("open",)}


class Call(NamedTuple):
    """One call as it was made: its number (from 1), the method, the key."""

    n: int
    op: str
    key: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at call number ``call``, or at the next ``times`` calls of ``op``.

    ``mode``: ``before`` fails without effect; ``after`` takes effect and loses the reply (a listing: its end);
    ``cut`` breaks a stream or listing after ``at`` bytes or entries; ``short`` ends it there in silence; ``flip``
    changes one bit of byte ``at``. ``error`` is raised where the mode raises; by default a Transient.
    """

    call: int | None = None
    op: str | None = None
    mode: str = "before"
    error: BaseException | None = None
    at: int = 0
    times: int = 1

    def __post_init__(self) -> None:
        if (self.call is None) == (self.op is None):
            raise ValueError("a fault strikes either a call's number or a method")
        if self.mode not in ("before", "after", *_STREAM_MODES):
            raise ValueError(f"unknown mode of a fault: {self.mode}")
        if self.op is not None and self.op not in _STREAM_MODES.get(self.mode, (self.op,)):
            raise ValueError(f"{self.mode} has no meaning for {self.op}")


class FaultyStore(Wrapper):
    """Numbers every call in ``log`` and fails those that ``faults`` say. Thread-safe."""

    def __init__(self, inner: Store, faults: Iterable[Fault] = ()) -> None:
        super().__init__(inner)
        self.log: list[Call] = []
        self._lock = Lock()
        self._left: list[tuple[Fault, int]] = [(fault, fault.times) for fault in faults]

    def arm(self, fault: Fault) -> None:
        """One more fault; a call's number still counts from the first call of all."""
        with self._lock:
            self._left.append((fault, fault.times))

    def _do(self, op: str, key: str, token: Token, call: Callable[[], T], size: int = 0) -> T:
        fault = self._strike(op, key)
        if fault is not None and fault.mode not in ("before", "after"):
            raise ValueError(f"{fault.mode} has no meaning for {op}")
        if fault is not None and fault.mode == "before":
            raise _error(fault, key)
        result = call()
        if fault is not None:
            raise _error(fault, key)
        return result

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        fault = self._strike("list", start_after)
        if fault is not None and fault.mode == "before":
            raise _error(fault, start_after)
        for n, entry in enumerate(self.inner.list(token, start_after, enter)):
            if fault is not None and fault.mode == "cut" and n >= fault.at:
                break
            if fault is not None and fault.mode == "short" and n >= fault.at:
                return
            yield entry
        if fault is not None and fault.mode != "short":
            raise _error(fault, start_after)

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        fault = self._strike("open", key)
        if fault is not None and fault.mode == "before":
            raise _error(fault, key)
        reader = self.inner.open(key, version, token, start, length, overhead)
        if fault is not None and fault.mode == "after":
            reader.__exit__(None, None, None)
            raise _error(fault, key)
        return reader if fault is None else DamagedReader(reader, fault, key)

    def _strike(self, op: str, key: str) -> Fault | None:
        with self._lock:
            call = Call(len(self.log) + 1, op, key)
            self.log.append(call)
            for i, (fault, left) in enumerate(self._left):
                if fault.call == call.n or fault.op == op:
                    self._left[i : i + 1] = [(fault, left - 1)] if left > 1 else []
                    return fault
        return None


class DamagedReader:
    """A stream with one fault in it."""

    def __init__(self, inner: Reader, fault: Fault, key: str) -> None:
        self.head = inner.head
        self._inner = inner
        self._fault = fault
        self._key = key

    def __iter__(self) -> Iterator[bytes]:
        done, at = 0, self._fault.at
        for chunk in self._inner:
            here = at - done  # where in this chunk the fault lies
            done += len(chunk)
            if here >= len(chunk):
                yield chunk
            elif self._fault.mode == "flip":
                yield chunk if here < 0 else chunk[:here] + bytes([chunk[here] ^ 1]) + chunk[here + 1 :]
            else:
                if here > 0:
                    yield chunk[:here]
                break
        if self._fault.mode == "cut":
            raise _error(self._fault, self._key)

    def __enter__(self) -> DamagedReader:
        self._inner.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._inner.__exit__(*exc)


def _error(fault: Fault, key: str) -> BaseException:
    return fault.error if fault.error is not None else Transient(f"fault {fault.mode} the effect", key)
