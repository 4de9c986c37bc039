"""The stand-ins of a simulation: processes that take turns, work without threads, and what lies across a network.

Every call of a store or the ledger is a point where somebody else goes on, or where its caller is killed or left without a
reply.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.scan import END, Signal
from hugesync_tasks.budget import Budget
from hugesync_tasks.errors import Transient, Unreachable
from hugesync_tasks.model import Commit, Entry, Meta, Upload
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Event
from hugesync_tasks.stores.base import ANY, Parts, Store
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token

if TYPE_CHECKING:
    from simulation import Simulation


class Killed(BaseException):
    """The process is gone, in the middle of whatever it did."""


@contextmanager
def one_core() -> Iterator[None]:
    """Processes that take turns are threads here, and a turn costs a third where they share a core."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    here = int(Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()[36])
    os.sched_setaffinity(0, {here})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


class Baton:
    """One simulated process: a thread that runs only between ``resume`` and its next ``pass_on``."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name = name
        self.ended = False
        self.doomed = False
        self.until = 0.0  # on the simulation's clock: stands still so long
        self.leaves = float("inf")  # when it lets go of what it has in hand
        self.error: BaseException | None = None
        self._go, self._back = Lock(), Lock()
        self._go.acquire()
        self._back.acquire()
        self._work = work
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def resume(self) -> None:
        self._go.release()
        self._back.acquire()

    def pass_on(self) -> None:
        """Called in the thread: everybody else may run now."""
        if self.doomed:
            raise Killed
        self._back.release()
        self._go.acquire()
        if self.doomed:
            raise Killed

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self.doomed:
                self._work()
        except Killed:
            pass
        except BaseException as error:  # shown by the scheduler
            self.error = error
        self.ended = True
        self._back.release()


class Inline:
    """A thread pool whose work is done at once, by the caller."""

    def __init__(self, *_: object, **__: object) -> None: ...
    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None: ...
    def map(self, work: Callable[[Any], Any], items: Any) -> Iterator[Any]:
        return iter([work(item) for item in items])

    def submit(self, work: Callable[..., Any], *args: Any) -> Any:
        result = work(*args)
        answer: Future[Any] = Future()
        answer.set_result(result)
        return answer

    def shutdown(self, **_: object) -> None: ...


class InlineFeed:
    """``scan.Feed`` without its thread: it reads as it is asked."""

    def __init__(self, store: Store, token: Token, *, name: str, start_after: str = "", enter: Any = None) -> None:
        self.name, self.start_after = name, start_after
        self._listing = store.list(token, start_after, enter)

    def start(self) -> InlineFeed:
        return self

    def poll(self, timeout: float) -> Entry | Signal:
        return next(self._listing, END)

    def cancel(self) -> None: ...
    def stop(self) -> None: ...


class InlineThread:
    """A thread whose work is done at once, by whoever starts it."""

    def __init__(self, target: Callable[[], None], **_: object) -> None:
        self.start = target

    def join(self, timeout: float | None = None) -> None: ...
    def is_alive(self) -> bool:
        return False


class InlinePlan(PlanFeed):
    """The plan without its thread; a few segments per turn, so that scanning and working overlap."""

    def start(self) -> None:
        self._plan = self._planned()
        self._turns = 0

    def poll(self, timeout: float = 0.0) -> Any:
        self._turns += 1
        if self._turns % 3 == 0:
            return None
        for segment in self._plan:
            if segment is not None:
                return segment
        return END

    def stop(self) -> None: ...


class SimStore(Wrapper):
    """A store across a network: its caller may be stopped, killed or left without a reply at every call."""

    def __init__(self, inner: Store, sim: Simulation, faults: bool) -> None:
        super().__init__(inner)
        self._sim, self._faults = sim, faults

    def _do(self, op: str, key: str, token: Token, call: Callable[[], Any], size: int = 0) -> Any:
        return self._sim.call(f"{op} {key}", call, self._sim.chaos.store if self._faults else 0.0, Transient)

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        if not key.endswith(".upload"):
            self._seen(key, expected)

        def call() -> Commit:
            done = self.inner.put(key, body, meta, expected, token, overhead)
            if key.endswith(".upload"):
                self._sim.named.add(json.loads(body)["upload"])
            return done

        return self._do("put", key, token, call)  # type: ignore[no-any-return]

    def complete(
        self, upload: Upload, parts: Parts, meta: Meta, expected: str | None, crc64: int | None, token: Token
    ) -> Commit:
        self._seen(upload.key, expected)
        return super().complete(upload, parts, meta, expected, crc64, token)

    def copy(
        self, source: Store, key: str, source_key: str, source_version: str, meta: Meta, expected: str | None, token: Token
    ) -> Commit:  # fmt: skip
        self._seen(key, expected)
        return super().copy(source, key, source_key, source_version, meta, expected, token)

    def _seen(self, key: str, expected: str | None) -> None:
        """Nobody's newer data is overwritten unseen."""
        if expected == ANY:
            self._sim.unseen.append(key)

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        yield from self.inner.list(token, start_after, enter)


class SimLedger:
    """A worker's view of the ledger, across the same network."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._sim.ledger, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            sim = self._sim
            return sim.call(f"ledger.{name}", lambda: method(*args, **kwargs), sim.chaos.ledger, Unreachable, sim.away)

        return called


class CoordinatorsLedger:
    """The coordinator's view: waiting for events is when everybody else runs; any call may be its last."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim

    def events(self, job: str, timeout: float, most: int = 1000) -> list[Event]:
        self._sim.everybody_else(timeout, wake=True)
        return self._called("events", job, 0.0, most)  # type: ignore[no-any-return]

    def queue_length(self, queue: str) -> int:
        return len(self._sim.queues[queue])

    def share(self, job: str, row: str, head: str = "") -> dict[str, tuple[str, float]]:
        return self._sim.ledger.share(job, row, head)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self._called(name, *args, **kwargs)

    def _called(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._sim.coordinators_call(name, lambda: getattr(self._sim.ledger, name)(*args, **kwargs))


@dataclass
class Worker:
    """What ``tasks.perform`` needs of a worker child; a new one after each kill."""

    ledger: Any
    budget: Budget
    contexts: Callable[[], JobContext]
    retries: int
    signatures: dict[str, Any] = field(default_factory=dict)
    _known: JobContext | None = None

    def job(self, job_id: str) -> JobContext:
        if self._known is None:
            if self.ledger.spec(job_id) is None:
                raise Unreachable(f"the ledger does not know job {job_id}")
            self._known = self.contexts()
        return self._known

    def max_attempts(self, job_id: str) -> int:
        return self.retries

    def pace(self, job_id: str) -> None:
        """No bandwidth is kept to: the network is not real."""

    def memory_for(self, in_hand: int) -> int:
        return in_hand

    def begin_to_match(self) -> None:
        """The simulated workers share one process, whose compiler is loaded already."""
