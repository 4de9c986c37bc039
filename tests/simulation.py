"""Ring 4: a whole job against a seeded scheduler that delivers, drops, duplicates and reorders messages, kills workers and
coordinators, flushes the ledger and lets stores and ledger fail before or after the effect. Nothing sleeps.

Everything that decides is the product's: the run, the coordinator, the plan, the tasks, the stages, the retrying store. Simulated
are the stores' far side (``MemoryStore``), the ledger (``MemoryLedger``), the queue, and time. Each worker is a thread, but only
one thread runs at a time: at every call of a store or the ledger it hands over to the scheduler, which decides who goes
on. So a seed is a schedule, and replays exactly.
"""

from __future__ import annotations

import copy
import json
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import CALM, DRAINED, Chaos
from hugesync_producer import coordinating, ending, leadership, openjob, planfeed, replan
from hugesync_producer import coordinator as coordinator_module
from hugesync_producer.coordinating import Run, coordinate
from hugesync_producer.coordinator import Coordinator
from hugesync_producer.jobfolder import JobFolder
from hugesync_producer.pool import Pool
from hugesync_tasks import draining, lease
from hugesync_tasks import perform as perform_module
from hugesync_tasks.budget import Budget
from hugesync_tasks.errors import Refused, Unreachable
from hugesync_tasks.perform import perform
from hugesync_tasks.spec import Location, Options, Rules, Spec
from hugesync_tasks.stages import execute, remove
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.state.memory import MemoryLedger
from hugesync_tasks.stores.base import Store
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.summary import Summary, Unobserved
from hugesync_tasks.token import Meter
from simulated import Baton, CoordinatorsLedger, Inline, InlineFeed, InlinePlan, Killed, SimLedger, SimStore, Worker
from world import PART, World

JOB = "sim"
MEMORY = ("_specs", "_jobs", "_leases", "_announced", "_heard")  # what a ledger holds
WORKERS = json.dumps({"slots": 4, "queues": ["hs.any", "hs.any.commit"], "roots": {}})
LIMIT_OF_STEPS = 60_000  # a schedule that takes more hangs


class Queues(defaultdict[str, list[tuple[str, str]]]):
    def __init__(self) -> None:
        super().__init__(list)


@dataclass
class Simulation(World):
    """One seed. ``play`` returns the summary of the last run; ``story`` tells what happened."""

    seed: int
    chaos: Chaos
    folder: JobFolder | None = None
    options: Options = field(default_factory=Options)
    rules: Rules = field(default_factory=Rules)
    same_bucket: bool = False
    observe_every: float = 5.0  # simulated seconds; nobody looks, and summing up is most of an idle coordinator's work
    longest_idle: float = 2.0  # simulated seconds that a coordinator waits where nobody has anything to do
    coordinate: Callable[[Run], Summary] = coordinate
    given: dict[str, Any] = field(default_factory=dict)  # what a run is given that is not as usual

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.chaos_began = self.chaos
        self.now = 1_700_000_000.0
        self.story: list[str] = []
        self.unseen: list[str] = []  # keys that were written without a condition
        self.steps = 0
        self.restarts = 0
        self.crashes = self.flushes = self.lost_events = self.kills = 0
        self.outage_until = self.beat_at = self.replicated = 0.0
        self.failovers = 0
        self.replica: tuple[dict[str, Any], dict[str, list[tuple[str, str]]]] | None = None
        self.running: Baton | None = None
        self.crew: list[Baton] = []
        self.queues = Queues()
        self.ledger = MemoryLedger(lambda: self.now)
        self.named: set[str] = (
            set()
        )  # uploads that an intent told of; of others nobody knows when their maker is killed
        self.spec = Spec(
            JOB,
            Location("s3", bucket="a", prefix="src/"),
            Location("s3", bucket="b", prefix="dst/"),
            rules=self.rules,
            options=replace(
                self.options,
                part_size=PART,
                small_file=PART // 2,
                batch_files=5,
                batch_bytes=3 * PART,
                retries=1 if self.chaos == DRAINED else 20,  # what is given back is no attempt
                stall_timeout=1e9,  # a commit's lease is long, and here many die in one
                on_conflict="skip" if self.seed % 3 == 1 else "retry",
            ),
        )
        self.build(self.same_bucket)

    def note(self, what: str) -> None:
        self.story.append(f"{self.now - 1_700_000_200:9.2f} {self.running.name if self.running else 'main'}: {what}")

    def away(self) -> bool:
        return self.now < self.outage_until

    def sleep(self, seconds: float) -> None:
        if self.running is not None:
            self.running.until = self.now + seconds
            self.running.pass_on()
        else:
            self.everybody_else(seconds)

    # what a process does at each call
    def call(
        self,
        what: str,
        call: Callable[[], Any],
        chance: float,
        error: type[Exception],
        away: Callable[[], bool] = lambda: False,
    ) -> Any:
        me = self.running
        if me is None:  # the coordinator's own look at a store
            return call()
        me.pass_on()  # a killed process makes no further call, whatever its code would do on the way out
        rng = self.rng
        fault, before, kill = rng.random() < chance, rng.random() < 0.5, rng.random() < self.chaos.kill
        if (kill and before) or away() or (fault and before):
            self.note(f"{'killed' if kill and before else 'refused'} before {what}")
            if kill and before:
                self.kills += 1
                me.doomed = True
                raise Killed
            raise error("simulated, before the effect")
        result = call()
        self.note(what)
        if self.chaos.drain and rng.random() < self.chaos.drain:
            me.leaves = min(me.leaves, self.now)
            self.note("its worker ends")
        if kill or fault:
            self.note(f"{'killed' if kill else 'reply lost'} after {what}")
            if kill:
                self.kills += 1
                me.doomed = True
                raise Killed
            raise error("simulated, after the effect")
        if rng.random() < self.chaos.stall:
            me.until = self.now + rng.uniform(1, 60)
            self.note(f"stands still until {me.until - 1_700_000_200:.2f}")
            me.pass_on()
        return result

    def coordinators_call(self, name: str, call: Callable[[], Any]) -> Any:
        """What the coordinator does at each call of the ledger."""
        before = self.rng.random() < 0.5
        crash = self.rng.random() < self.chaos.crash and self.crashes < 4
        lost = self.rng.random() < self.chaos.ledger
        if crash and before:
            self.crash()
        if self.away() or (lost and before):
            raise Unreachable("simulated")
        result = call()
        if crash:
            self.crash()
        if lost:
            self.note(f"coordinator: reply of {name} lost")
            self.lost_events += name == "events" and bool(result)
            raise Unreachable("simulated")
        return result

    def leaving(self, after: float = 0.0) -> bool:
        """``draining.leaving`` of the process that runs."""
        return self.running is not None and self.now >= self.running.leaves + after

    def crash(self) -> None:
        self.crashes += 1
        self.note("the coordinator is killed")
        raise Killed

    # the scheduler
    def everybody_else(self, seconds: float, wake: bool = False) -> None:
        """All but the coordinator go on for so long; ``wake``: or until there is an event."""
        end = self.now + (max(seconds, self.longest_idle) if wake and self.idle() else seconds)
        while self.now < end:
            if wake and self.ledger._job(JOB).events and not self.away():
                return
            self.steps += 1
            if self.steps > LIMIT_OF_STEPS:
                raise AssertionError("the job does not end")
            self.disturb()
            self.now += self.rng.expovariate(200)
            if not self.step():
                self.now = end

    def idle(self) -> bool:
        """Whether time alone can change anything: then it passes in longer steps."""
        return not any(self.queues.values()) and all(b.until > self.now + self.longest_idle for b in self.crew)

    def step(self) -> bool:
        """One process goes on, or an idle worker takes a message; False where nobody can do anything now."""
        ready = [b for b in self.crew if b.until <= self.now]
        if len(self.crew) < 4 and (not ready or self.rng.random() < 0.3):
            waiting = [name for name, messages in self.queues.items() if messages]
            if waiting:
                _, task = self.queues[self.rng.choice(waiting)].pop(0)
                self.crew.append(self.worker(task))
                return True
        if not ready:
            return False
        baton = self.rng.choice(ready)
        self.running = baton
        baton.resume()
        self.running = None
        if baton.ended:
            self.crew.remove(baton)
            if baton.error is not None and not isinstance(baton.error, Unreachable):  # Celery logs it and goes on
                raise baton.error
        return True

    def worker(self, task: str) -> Baton:
        def contexts() -> JobContext:
            return JobContext(self.spec, self.stack(self.source, True), self.stack(self.dest, True))

        process = Worker(SimLedger(self), Budget(1 << 30), contexts, self.spec.options.retries)

        def work() -> None:
            answer = perform(JOB, task, process)  # type: ignore[arg-type]
            self.note(f"{task} → {answer}")

        return Baton(f"w{self.steps} {task[-12:]}", work)

    def stack(self, store: MemoryStore, faults: bool) -> Store:
        return RetryingStore(SimStore(store, self, faults), 5, sleep=self.sleep, random=self.rng.random)

    def publish(self, name: str, queue: str, job: str, task: str) -> None:
        if self.away():
            raise Unreachable("simulated")
        rng, messages = self.rng, self.queues[queue]
        if rng.random() < self.chaos.drop:
            self.note(f"the message of {task} is lost")
            return
        for _ in range(1 + (rng.random() < self.chaos.duplicate)):
            at = rng.randint(0, len(messages)) if rng.random() < self.chaos.reorder else len(messages)
            messages.insert(at, (name, task))

    def disturb(self) -> None:
        rng, chaos = self.rng, self.chaos
        if self.now >= self.beat_at or "w" not in self.ledger._heard:
            self.beat_at = self.now + 1
            self.ledger.heartbeat("w", WORKERS, 20_000)
        if rng.random() < chaos.outage and not self.away():
            self.outage_until = self.now + rng.uniform(0.1, 20)
            self.note("the ledger is away")
        if rng.random() < chaos.flush and self.flushes < 3:
            self.flushes += 1
            self.note("FLUSHALL")
            self.ledger.flush()
            self.queues.clear()
        if chaos.failover:
            self.fail_over(rng.random() < chaos.failover and self.failovers < 3)
        if rng.random() < chaos.rival and self.rivals < 5:
            self.rival()
        if rng.random() < chaos.edit and self.edits < 5:
            self.edit()

    def fail_over(self, now: bool) -> None:
        """Every second a replica has what there is; ``now``: and it takes the server's place."""
        if now and self.replica is not None:
            self.failovers += 1
            self.note("the ledger fails over to a replica")
            state, queues = copy.deepcopy(self.replica)
            vars(self.ledger).update(state)
            self.queues.clear()
            self.queues.update(queues)
        elif self.now >= self.replicated + 1:
            self.replicated = self.now
            state = {name: value for name, value in vars(self.ledger).items() if name in MEMORY}
            self.replica = copy.deepcopy((state, dict(self.queues)))

    @property
    def recorded(self) -> bool:
        """Whether the end of the job is known: with the ledger away at that instant the next run resumes it instead."""
        state = self.folder.data["state"] if self.folder else self.ledger.meta(JOB).get("state")
        return state in ("done", "done_with_errors")

    @property
    def chaotic(self) -> bool:
        c = self.chaos_began
        return bool(c.kill or c.stall or c.store or c.ledger or c.outage or c.flush or c.crash or c.failover)

    # the job, run again until it ends
    def play(self, monkeypatch: pytest.MonkeyPatch) -> Summary:
        clock = SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now, sleep=self.sleep)
        for module in (openjob, ending, leadership, coordinator_module, planfeed):
            monkeypatch.setattr(module, "time", clock)
        for module in (lease, perform_module):
            monkeypatch.setattr(module, "time", clock)
        for module in (lease, execute):
            monkeypatch.setattr(module, "draining", SimpleNamespace(FINISH=draining.FINISH, leaving=self.leaving))
        monkeypatch.setattr(coordinator_module, "OBSERVE_EVERY", self.observe_every)
        for stage in (execute, remove):
            monkeypatch.setattr(stage, "ThreadPoolExecutor", Inline)
        monkeypatch.setattr("hugesync_producer.failedfirst.threads", Inline)
        monkeypatch.setattr(coordinating, "aside", lambda call: call())
        monkeypatch.setattr(replan, "ThreadPoolExecutor", Inline)
        monkeypatch.setattr(planfeed, "Feed", InlineFeed)
        monkeypatch.setattr(coordinating, "PlanFeed", InlinePlan)
        monkeypatch.setattr(coordinating, "Pool", lambda *a, **k: Pool(*a, **k, clock=clock.monotonic))
        monkeypatch.setattr(coordinating, "Coordinator", lambda *a, **k: Coordinator(*a, **k, clock=clock.monotonic))
        job = JobContext(self.spec, self.stack(self.source, False), self.stack(self.dest, False))
        for self.restarts in range(30):
            try:
                run = Run(
                    job=job, ledger=CoordinatorsLedger(self), publish=self.publish, observer=Unobserved(),  # type: ignore[arg-type]
                    meter=Meter(), began=self.now, folder=self.folder,
                )  # fmt: skip
                summary = self.coordinate(replace(run, **self.given))
            except Killed:
                self.everybody_else(self.rng.uniform(0, 40))
                continue
            except (Refused, Unreachable) as error:
                self.note(f"the run ended: {error}")
                self.everybody_else(self.rng.uniform(0, 40))
                continue
            assert summary.falsehood() == ""
            self.note(f"the run ended: {summary.state} {summary.reason}")
            if str(summary.state) in ("done", "done_with_errors"):
                return summary
            assert isinstance(summary.resumable, bool)
            self.everybody_else(self.rng.uniform(0, 40))
        raise AssertionError("no run came to an end")

    def end(self) -> None:
        """Whoever still works is killed; nothing that a test leaves behind may run in the next."""
        for baton in self.crew:
            baton.doomed = True
            baton.resume()
        self.crew.clear()

    def settle_down(self) -> None:
        """Messages left in the queue, and workers that stood still when the job ended, have their turn as well."""
        self.chaos = CALM
        self.outage_until = 0.0
        for _ in range(LIMIT_OF_STEPS):
            if not self.crew and not any(self.queues.values()):
                return
            self.now += 0.01
            if not self.step():
                self.now += 10
        raise AssertionError("workers do not end")
