"""Several jobs on the same workers, in simulated time: real coordinators, each a thread that takes turns, one ledger, FIFO queues,
and slots that do nothing but take as long as their bytes. Nothing sleeps."""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from hugesync_producer import coordinator as coordinator_module
from hugesync_producer.checkpoint import Checkpoint
from hugesync_producer.coordinator import LEASE_MS, Coordinator
from hugesync_producer.deletes import Deletes
from hugesync_producer.plan import Segment
from hugesync_producer.pool import Pool
from hugesync_producer.scan import END
from hugesync_producer.window import Window
from hugesync_tasks import lending
from hugesync_tasks.caps import Caps
from hugesync_tasks.model import Entry, Kind, Outcome, Part, Transfer
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.base import Claimed, Task
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.tally import Tally
from hugesync_tasks.token import Meter
from simulated import Baton

MIB = 1 << 20
STEP = 0.01  # seconds of simulated time
BEGUN = 1_700_000_000.0


@dataclass
class Load:
    """The work of one job: ``files`` of ``size`` bytes, and how fast a slot does it."""

    job: str
    size: int
    files: int = 1_000_000
    speed: float = 10 * MIB  # bytes per second of a slot
    batch: int = 1  # small files in one task
    part: int = 0  # of a large file; 0 = a small one
    after: float = 0.0  # simulated seconds until the job begins
    weight: int = 1
    bwlimit: int = 0
    jobs: int = 0
    queue: str = "hs.any"
    ends: tuple[str, ...] = ()


class Plan:
    """What a job has to do, one task or large file a segment."""

    throttled = met = 0
    first = first_there = None

    def __init__(self, load: Load) -> None:
        self._files = self._made(load)

    def _made(self, load: Load) -> Iterator[Segment]:
        for n in range(0, load.files, load.batch):
            tally, sent = Tally(), tuple(self._transfer(load, n + i) for i in range(load.batch))
            for transfer in sent:
                tally.find("pending", transfer.source.size)
            yield Segment(sent[-1].key, tally, *(((), sent) if load.part else ((sent,),)))

    def _transfer(self, load: Load, n: int) -> Transfer:
        return Transfer(Entry(f"f{n:07}", Kind.FILE, load.size, 1, 1, "v"))

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def poll(self) -> Any:
        self.met += 1
        return next(self._files, END)


@dataclass
class Slot:
    """One process of a worker. ``lends``: it is in the middle of a lent task, beside its own."""

    task: Any = None
    until: float = 0.0
    since: float = 0.0
    looked: float = 0.0
    lent: Any = None
    lent_until: float = 0.0


@dataclass
class Fleet:
    """``play`` for so many simulated seconds; then ``bytes`` served of each job, and when each job's first task was begun."""

    loads: list[Load]
    slots: int = 2
    seed: int = 1
    lends: bool = True
    queues_served: tuple[str, ...] = ("hs.any",)
    drop: float = 0.0  # messages lost
    served: Counter[str] = field(default_factory=Counter)
    begun: dict[str, float] = field(default_factory=dict)
    put: dict[str, float] = field(default_factory=dict)  # when the first message was sent
    ended: dict[str, float] = field(default_factory=dict)
    idle: float = 0.0  # seconds of slots that did nothing
    sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    killed: set[str] = field(default_factory=set)  # coordinators
    notice: Callable[[str], object] = lambda message: None
    dead: int = 0  # messages that did nothing
    most_out: int = 0
    events: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def play(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> Fleet:
        self.now, self.rng = BEGUN, random.Random(self.seed)
        self.ledger = MemoryLedger(lambda: self.now)
        self.queues: dict[str, deque[tuple[str, str]]] = {}
        self.running: Baton | None = None
        self.pool = [Slot() for _ in range(self.slots)]
        self.sizes = {load.job: load for load in self.loads}
        self.coordinators: dict[str, Coordinator] = {}
        clock = SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now, sleep=lambda s: None)
        monkeypatch.setattr(coordinator_module, "time", clock)
        monkeypatch.setattr(coordinator_module, "OBSERVE_EVERY", 5.0)
        waiting = sorted(self.loads, key=lambda load: load.after)
        batons: list[Baton] = []
        beat = 0.0
        try:
            while self.now < BEGUN + seconds:
                while waiting and self.now >= BEGUN + waiting[0].after:
                    batons.append(self._coordinator(waiting.pop(0)))
                if self.now >= beat:
                    beat = self.now + 1
                    row = {"slots": self.slots, "queues": list(self.queues_served), "roots": {}}
                    self.ledger.heartbeat("w", json.dumps(row), 20_000)
                while self.events and self.now >= BEGUN + self.events[0][0]:
                    self.events.pop(0)[1]()
                for slot in self.pool:
                    self._work(slot)
                for baton in [b for b in batons if b.name not in self.killed]:
                    if baton.until <= self.now or self.ledger._job(baton.name).events:
                        self.running = baton
                        baton.resume()
                        self.running = None
                        if baton.ended:
                            batons.remove(baton)
                            if baton.error is not None:
                                raise baton.error
                out = sum(len(c.dispatcher.out) for c in self.coordinators.values())
                self.most_out = max(self.most_out, out)
                self.now += STEP
        finally:
            for baton in batons:
                baton.doomed = True
                baton.resume()
        return self

    # an observer of all jobs
    def on_start(self, job_id: str, resumed: bool) -> None: ...
    def on_progress(self, snapshot: object) -> None: ...
    def on_notice(self, message: str) -> None:
        self.notice(message)

    def kill(self, job: str) -> None:
        self.killed.add(job)

    def _coordinator(self, load: Load) -> Baton:
        options = Options(jobs=load.jobs, weight=load.weight, bwlimit=load.bwlimit, stall_timeout=1e9)
        ends = Location("s3", bucket="a"), Location("s3", bucket="b")
        spec = Spec(load.job, *ends, options=options)
        job = JobContext(spec, MemoryStore(MemoryBucket(), "s/"), MemoryStore(MemoryBucket(), "d/"))
        ledger = Waiting(self, self.ledger)
        window = Window()
        pool = Pool(ledger, spec, False, lambda: self.now)  # type: ignore[arg-type]
        pool.endpoints.use(load.ends)
        pool.shares.ends = pool.endpoints.ids
        pool.queue, pool.commit_queue = load.queue, f"{load.queue}.commit"
        made = Coordinator(
            job, ledger, self._publish, Plan(load), window, Deletes(job, Meter(), window, False, "", lambda: None), pool,  # type: ignore[arg-type]
            Checkpoint(ledger, load.job, None), self, lambda: "", lambda: None, load.job, lambda: False, lambda: self.now,  # type: ignore[arg-type]
        )  # fmt: skip
        self.coordinators[load.job] = made
        self.ledger.open_job(load.job, json.dumps(spec.wire()))
        self.ledger.lead(load.job, load.job, LEASE_MS)
        self.ledger.set_meta(load.job, state="running", **Caps.of(options).wire())

        def run() -> None:
            made.units.epoch = self.ledger.take_over(load.job, load.job)
            made._loop(SimpleNamespace(check=lambda: None, noted=False), False)  # type: ignore[arg-type]
            pool.shares.leave()
            self.ended[load.job] = self.now - BEGUN

        return Baton(load.job, run)

    def _publish(self, name: str, queue: str, job: str, task: str) -> None:
        self.put.setdefault(job, self.now - BEGUN)
        self.sent[job, task] += 1
        if self.rng.random() >= self.drop:
            self.queues.setdefault(queue, deque()).append((job, task))

    def _work(self, slot: Slot) -> None:
        if slot.task is not None and self.now >= slot.until:
            self._done(*slot.task)
            slot.task = None
        if slot.lent is not None and self.now >= slot.lent_until:
            self._done(*slot.lent)
            slot.lent = None
        if slot.task is None and slot.lent is None:
            self._take(slot)
        if slot.task is None:
            self.idle += STEP * (slot.lent is None)
        elif self.lends and slot.lent is None and self.now - max(slot.since, slot.looked) >= lending.BUSY:
            slot.looked = self.now
            for job, head in self.ledger.heads().items():
                if job != slot.task[0] and (found := self._claimed(job, head.partition(" ")[2])) is not None:
                    slot.lent, slot.lent_until = found[:2], self.now + found[2]
                    break

    def _take(self, slot: Slot) -> None:
        """Celery asks queues in turn."""
        names = [name for name, messages in self.queues.items() if messages]
        while names:
            name = self.rng.choice(names)
            found = self._claimed(*self.queues[name].popleft())
            if found is not None:
                slot.task, slot.since, slot.until = found[:2], self.now, self.now + found[2]
                return
            self.dead += 1
            names = [name for name, messages in self.queues.items() if messages]

    def _claimed(self, job: str, task: str) -> tuple[str, str, float] | None:
        claim = self.ledger.claim(job, task, "w", 3_600_000, 5)
        if claim.answer is not Claimed.OK or claim.task is None:
            return None
        self.begun.setdefault(job, self.now - BEGUN)
        load = self.sizes[job]
        takes = self._size(load, claim.task) / load.speed
        return job, task, 0.005 + takes * self.rng.uniform(0.8, 1.2)

    def _size(self, load: Load, task: Task) -> int:
        files = len(json.loads(task.payload)) if task.kind == "batch" else 0
        return {"part": load.part, "batch": files * load.size}.get(task.kind, 0)

    def _done(self, job: str, task: str) -> None:
        record, load = self.ledger._job(job).tasks.get(task), self.sizes[job]
        if record is None:
            return
        kind = record.task.kind
        self.served[job] += self._size(load, record.task)
        if kind == "batch":
            files = len(json.loads(record.task.payload))
            self.ledger.settle(job, task, {"items": [Outcome("done").wire()] * files}, {})
        elif kind == "begin":
            fields = {"gen": "g", "upload": "u", "total": str(load.size // load.part), "part_size": str(load.part)}
            self.ledger.set_upload(job, record.task.file, fields)
            self.ledger.settle(job, task, {"file": fields, "listed": []}, {})
        elif kind == "part":
            part = Part(int(task.rpartition(":")[2]), load.part, "e", 1)
            self.ledger.part_done(job, task, record.task.file, "g", part, {}, "u")
        else:
            self.ledger.settle(job, task, {"error": Outcome("done").wire()}, {}, close_file=record.task.file)


class Waiting:
    """The ledger as one coordinator has it: while it waits for events the others have their turns."""

    def __init__(self, fleet: Fleet, ledger: MemoryLedger) -> None:
        self._fleet, self._ledger = fleet, ledger

    def events(self, job: str, timeout: float, most: int = 1000) -> Any:
        baton = self._fleet.running
        assert baton is not None
        baton.until = self._fleet.now + timeout
        baton.pass_on()
        return self._ledger.events(job, 0.0, most)

    def queue_length(self, queue: str) -> int:
        return len(self._fleet.queues.get(queue, ()))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)
