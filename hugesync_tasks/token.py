"""The token every store call carries: its deadline, its cancel flag, and the meter of what it moved."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from hugesync_tasks.errors import Cancelled, DeadlineExceeded


class Meter:
    """Traffic of one task: request counts by name and body bytes by direction (design §6). Thread-safe.

    Request names: list head get put create part part_copy complete abort delete. Byte names: sent received overhead
    copied_server_side reused. Beside these ``retries``, ``throttled``: those of them that a store asked for, and
    ``held``: requests that waited because a store had asked somebody of the fleet to slow down.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, n: int = 1) -> None:
        with self._lock:
            self._counts[name] += n

    def count(self, name: str) -> int:
        """What came of ``name`` since the last take, which it leaves there."""
        with self._lock:
            return self._counts[name]

    def take(self) -> dict[str, int]:
        """What came since the last take; the meter starts again at nothing."""
        with self._lock:
            out = {k: v for k, v in self._counts.items() if v}
            self._counts.clear()
            return out


class Pace(Protocol):
    """What holds a job to its bandwidth (``bandwidth.Bandwidth``)."""

    def slice(self, most: int) -> int: ...
    def pay(self, n: int, token: Token) -> None: ...


class Token:
    """Deadline, cancel and meter in one value. ``pulse`` is called as bytes move (it renews the task's lease).

    ``patience`` (seconds): the deadline lies so far after the last byte that moved, so that a slow transfer lives and one
    that stands still ends. ``pace``: what the bytes of its calls have to wait for; None = nothing.
    """

    def __init__(
        self,
        meter: Meter | None = None,
        deadline: float | None = None,
        pulse: Callable[[int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        patience: float | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.meter = meter or Meter()
        self.deadline = deadline  # on ``clock``, seconds
        self._pulse = pulse
        self._clock = clock
        self._cancelled: BaseException | None = None
        self._patience = patience
        self.pace = pace
        if patience is not None and deadline is None:
            self.deadline = clock() + patience

    def cancel(self, why: BaseException | None = None) -> None:
        """Every later ``check`` raises ``why`` (by default ``Cancelled``)."""
        self._cancelled = why or Cancelled("cancelled")

    def check(self) -> None:
        """Raise Cancelled, LeaseLost or DeadlineExceeded when this call must end; cheap enough for every chunk."""
        if self._cancelled is not None:
            raise self._cancelled
        if self.deadline is not None and self._clock() > self.deadline:
            raise DeadlineExceeded("the call took longer than its deadline")

    def moved(self, n: int) -> None:
        """``n`` bytes were read, hashed or moved; also a ``check``."""
        self.check()
        if self._patience is not None:
            self.deadline = self._clock() + self._patience
        if self._pulse is not None:
            self._pulse(n)

    def alive(self) -> None:
        """Nothing moves, but the wait is meant: the lease is kept, the deadline is not pushed; also a ``check``."""
        self.check()
        if self._pulse is not None:
            self._pulse(0)

    def remaining(self, default: float) -> float:
        """Seconds left, at most ``default``; for socket time-outs."""
        if self.deadline is None:
            return default
        return max(0.001, min(default, self.deadline - self._clock()))

    def slice(self, most: int) -> int:
        """How many bytes should go in one piece, so that none waits long: ``most`` where there is no limit."""
        return most if self.pace is None else self.pace.slice(most)

    def pay(self, n: int) -> None:
        """Wait until ``n`` bytes may pass between this process and a store (``--bwlimit``); raises what ``check`` raises."""
        if self.pace is not None:
            self.pace.pay(n, self)

    def toward(self, pace: Pace) -> Token:
        """This token for calls to one endpoint, whose bytes wait for ``pace`` as well."""
        return _Toward(self, pace)

    # the meter, in the words of design §6
    def requested(self, name: str) -> None:
        self.check()
        self.meter.add(f"requests.{name}")

    def sent(self, n: int, overhead: bool = False) -> None:
        self.meter.add("bytes.overhead" if overhead else "bytes.sent", n)

    def received(self, n: int, overhead: bool = False) -> None:
        self.meter.add("bytes.overhead" if overhead else "bytes.received", n)

    def copied_server_side(self, n: int) -> None:
        self.meter.add("bytes.copied_server_side", n)

    def reused(self, n: int) -> None:
        self.meter.add("bytes.reused", n)


class _Toward(Token):
    """Another's token in everything but what its bytes wait for."""

    def __init__(self, token: Token, pace: Pace) -> None:
        self.meter, self._token, self._toward = token.meter, token, pace

    @property
    def pace(self) -> Pace | None:  # type: ignore[override]
        return self._token.pace

    @property
    def deadline(self) -> float | None:  # type: ignore[override]
        return self._token.deadline

    def cancel(self, why: BaseException | None = None) -> None:
        self._token.cancel(why)

    def check(self) -> None:
        self._token.check()

    def moved(self, n: int) -> None:
        self._token.moved(n)

    def alive(self) -> None:
        self._token.alive()

    def remaining(self, default: float) -> float:
        return self._token.remaining(default)

    def slice(self, most: int) -> int:
        return self._toward.slice(self._token.slice(most))

    def pay(self, n: int) -> None:
        self._token.pay(n)
        self._toward.pay(n, self._token)
