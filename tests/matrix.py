"""Ring 3: one job whose every call of a store, of the ledger and of the queue has a number, and one of them goes wrong.

It is the simulation without chance: the same product code, the same scheduler, one seed. A call fails before its effect, or
takes effect and its reply is lost; a stream breaks or ends early; or everything dies there (every worker, the coordinator, the
messages) and a new run starts from what the ledger, or without it the job's folder, has.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaos import CALM
from hugesync_producer import secondlook
from hugesync_producer.jobfolder import JobFolder
from hugesync_tasks.errors import Transient, Unreachable
from hugesync_tasks.model import Entry
from hugesync_tasks.signature.blocks import MIN_BLOCK
from hugesync_tasks.signature.format import Unusable, read
from hugesync_tasks.stores.base import PutBatch, Reader, Store
from hugesync_tasks.stores.faults import DamagedReader, Fault
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.memory_objects import S3_LIKE
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.stores.wrapper import WrappedBatch
from hugesync_tasks.summary import Summary
from hugesync_tasks.token import Token
from simulated import InlineThread, Killed, SimStore
from simulation import JOB, Simulation

if TYPE_CHECKING:
    from flows import Flow

BEFORE, AFTER, CUT, SHORT = "before its effect", "reply lost", "stream cut", "stream short"
DIES, DIES_BARE = "everything dies", "everything dies, the ledger is lost"
CALLS = (BEFORE, AFTER, DIES, DIES_BARE)
STREAMS = (CUT, SHORT)
OPENS = ("create_upload ", "ledger.renew")  # calls after which an upload may have no name yet
PART = 4 * MIN_BLOCK
LIMITS = replace(S3_LIKE, min_part=MIN_BLOCK, max_part=2 * PART, max_copy=3 * PART)


@dataclass(frozen=True)
class Strike:
    """What goes wrong at call number ``call``, counted from 1 over the first run and all that follow it; ``wire``: at that
    request on the wire."""

    call: int
    mode: str
    wire: bool = False


@dataclass
class Matrix(Simulation):
    """One job of ``flow`` below ``root``. ``calls`` names what was called, in order."""

    seed: int = 1
    chaos: Any = CALM
    flow: Flow = None  # type: ignore[assignment]
    root: Path = Path()
    strike: Strike = Strike(0, "")
    calls: list[str] = field(default_factory=list)
    dead: bool = False
    deaths: int = 0

    # the world
    def build(self, same_bucket: bool) -> None:
        self.now = time.time()  # local files have real times
        self.rivals = self.edits = 0
        self.source_bucket = MemoryBucket(LIMITS, lambda: int(self.now * 1e9))
        self.dest_bucket = MemoryBucket(LIMITS, self.source_bucket._clock)
        flow = self.flow
        self.folder = JobFolder(self.root / "state", JOB)
        self.folder.open()
        if flow.copies:
            self.dest_bucket = self.source_bucket
        self.source = self.store(flow.source, "source", self.source_bucket)  # type: ignore[assignment]
        self.dest = self.store(flow.dest, "dest", self.dest_bucket)  # type: ignore[assignment]
        self.spec = replace(
            self.spec,
            source=flow.location(flow.source, self.root, "source"),
            dest=flow.location(flow.dest, self.root, "dest"),
            options=replace(self.spec.options, **{"on_conflict": "retry", "part_size": PART, **flow.options}),
        )
        flow.fill(self)

    def store(self, kind: str, name: str, bucket: MemoryBucket) -> Store:
        if kind == "s3":
            return MemoryStore(bucket, f"{name}/", page_size=7)
        (self.root / name).mkdir(parents=True)
        return LocalStore(self.root / name)

    # what goes wrong
    def struck(self, what: str, call: Callable[[], Any], error: type[Exception]) -> Any:
        self.calls.append(what)
        mode = self.strike.mode if len(self.calls) == self.strike.call and not self.strike.wire else ""
        if mode == BEFORE:
            raise error("the fault struck before the effect")
        result = call()
        if mode == AFTER:
            raise error("the fault struck after the effect")
        if mode in (DIES, DIES_BARE):
            self.die()
        return result

    def die(self) -> None:
        """Everything is dead from here on. A worker is: the coordinator follows as soon as its turn ends."""
        self.dead = True
        self.deaths += 1
        if self.running is not None:
            self.running.doomed = True
        else:
            self.bury()
        raise Killed

    def bury(self) -> None:
        self.end()
        self.queues.clear()
        if self.strike.mode == DIES_BARE:
            self.ledger.flush()
        assert self.folder is not None
        self.folder.read()  # a new process knows what is on the disk
        self.dead = False

    def close(self) -> None:
        self.end()
        self.source.close()
        self.dest.close()

    def call(
        self,
        what: str,
        call: Callable[[], Any],
        chance: float,
        error: type[Exception],
        away: Callable[[], bool] = lambda: False,
    ) -> Any:
        if self.running is not None:
            self.running.pass_on()
        return self.struck(what, call, error)

    def coordinators_call(self, name: str, call: Callable[[], Any]) -> Any:
        return self.struck(f"coordinator: ledger.{name}", call, Unreachable)

    def publish(self, name: str, queue: str, job: str, task: str) -> None:
        put = super().publish
        self.struck(f"coordinator: publish {task[-8:]}", lambda: put(name, queue, job, task), Unreachable)

    def step(self) -> bool:
        went = super().step()
        if self.dead:
            self.bury()
            raise Killed
        return went

    def stack(self, store: Any, faults: bool) -> Store:
        return RetryingStore(MatrixStore(store, self, faults), 5, sleep=self.sleep, random=self.rng.random)

    def play(self, monkeypatch: pytest.MonkeyPatch) -> Summary:
        """Until the job is done; where the end of a batch failed, its files are listed as failed and the job is run again."""
        monkeypatch.setattr(secondlook, "Thread", InlineThread)
        summary = super().play(monkeypatch)
        if summary.failures and self.struck_at.startswith("batch.finish"):
            assert {f.failure_class for f in summary.failures} == {"transient"}
            summary = super().play(monkeypatch)
        return summary

    @property
    def struck_at(self) -> str:
        """The call that the fault struck; "" for none."""
        at = self.strike.call - 1
        return self.calls[at] if 0 <= at < len(self.calls) else ""

    # what must be true at the end
    def check(self, summary: Summary) -> None:
        self.settle_down()
        assert str(summary.state) == "done", (summary.state, summary.reason, summary.failures)
        files = summary.files
        assert (files["found"], files["pending"], files["failed"]) == (len(self.flow.wanted), 0, 0)
        assert files["done"] + files["skipped"] == len(self.flow.wanted)
        assert self.unseen == []
        assert self.deaths or not self.restarts or self.strike.mode in (BEFORE, AFTER)
        assert files["deleted"] == self.flow.extras or (self.restarts and files["deleted"] < self.flow.extras)
        if self.flow.dest == "file":
            self.check_folder()
        else:
            self.check_bucket()

    def check_bucket(self) -> None:
        there = {
            k.removeprefix("dest/"): found for k, found in self.dest_bucket.dump().items() if k.startswith("dest/")
        }
        sidecars = {key for key in there if there[key].meta.sidecar}
        assert {k: v.body for k, v in there.items() if k not in sidecars and ".hugesync" not in k} == self.flow.wanted
        for key in sidecars:
            self.check_sidecar(there[key].body, there[key.removesuffix(".hssig")])
        intents = [key for key in there if ".hugesync" in key]
        uploads = [u for u in self.dest_bucket.list_uploads("dest/") if u.id in self.named or u.parts]
        if not self.forgot:
            assert intents == [], "an intent was left behind"
        assert uploads == [], "an upload was left behind"
        unnamed = [u for u in self.dest_bucket.list_uploads("dest/") if u.id not in self.named]
        assert len(unnamed) <= int(self.unanswered), "an upload that nobody can know of was left behind"

    @property
    def unanswered(self) -> bool:
        """Whether an upload was opened whose id nobody ever told: S3 lists no mark of an upload, so it cannot be known from
        another tool's, and is left (empty, so it costs nothing) for ``hugesync uploads abort``."""
        return self.strike.mode in (AFTER, DIES, DIES_BARE) and self.struck_at.startswith(OPENS)

    @property
    def forgot(self) -> bool:
        """Whether nobody can know of what a commit had left to do: its process died and so did the ledger. What is left is
        an intent, which ``hugesync uploads`` finds."""
        return self.strike.mode == DIES_BARE

    def check_sidecar(self, body: bytes, of: Any) -> None:
        """Of the version that is there; or, killed between a commit and its signature, of one that no reader takes for it."""
        taken = iter([body])
        try:
            found = read(Taker(taken), None, len(body))
        except Unusable as error:
            raise AssertionError(f"a broken signature was left: {error}") from error
        bound = found.header.binding
        assert self.deaths or (bound.version, bound.size) == (of.etag, len(of.body)), "a signature of another version"

    def check_folder(self) -> None:
        root = self.root / "dest"
        there = {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}
        assert all(any(p.iterdir()) for p in root.rglob("*") if p.is_dir()), "an empty folder was left behind"
        assert sorted(there) == sorted(self.flow.wanted), "something was left behind or is missing"
        for key, body in self.flow.wanted.items():
            assert there[key].read_bytes() == body, f"{key} has other bytes"


class Taker:
    """The reader of a signature takes from this."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._rest = b"".join(chunks)

    def __call__(self, n: int) -> bytes:
        out, self._rest = self._rest[:n], self._rest[n:]
        return out


class MatrixStore(SimStore):
    """A store whose listings and streams have numbers, too."""

    _sim: Matrix

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        sim = self._sim
        if sim.running is not None:
            sim.running.pass_on()
        found = sim.struck("list", lambda: list(self.inner.list(token, start_after, enter)), Transient)
        yield from found

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        yield from self._do("list_uploads", "", token, lambda: list(self.inner.list_uploads(token)))

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        reader = self._do("open", key, token, lambda: self.inner.open(key, version, token, start, length, overhead))
        strike = self._sim.strike
        if strike.mode not in STREAMS or len(self._sim.calls) != strike.call:
            return reader  # type: ignore[no-any-return]
        size = reader.head.entry.size - start if length is None else length
        mode = "cut" if strike.mode == CUT else "short"
        return DamagedReader(reader, Fault(op="open", mode=mode, at=size // 2), key)

    def batch(self) -> PutBatch:
        made = super().batch()
        return DeadBatch(made, self._sim) if isinstance(made, WrappedBatch) else made


class DeadBatch:
    """What a killed process would have tidied up stays where it is."""

    def __init__(self, inner: PutBatch, sim: Matrix) -> None:
        self._inner, self._sim = inner, sim
        self.put, self.finish = inner.put, inner.finish

    def discard(self) -> None:
        if self._sim.running is None or not self._sim.running.doomed:
            self._inner.discard()


def temporary_root() -> tempfile.TemporaryDirectory[str]:
    shm = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="hsm", dir=shm if shm.is_dir() else None)
