"""A simulated job with ``--delete`` between two given trees, and what others do to them in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaos import CALM, Chaos
from hugesync_producer import coordinating, deletes, secondlook
from hugesync_producer.deletes import Deletes
from hugesync_tasks.model import Kind, Meta
from hugesync_tasks.spec import Selection
from hugesync_tasks.stores.backup import BackingUp
from hugesync_tasks.stores.base import ANY, Limits, Store
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.summary import Summary
from hugesync_tasks.token import Token
from simulated import InlineThread
from simulation import Simulation
from world import LIMITS

Tree = Mapping[str, bytes]


class Mirror(Simulation):
    """``source`` and ``dest`` by key. With ``at`` the destination is a folder of that path, else a bucket of ``limits``.

    ``between`` is called before the second look's listings, ``before_deleting`` when they have ended.
    """

    def __init__(
        self,
        source: Tree,
        dest: Tree,
        chaos: Chaos = CALM,
        seed: int = 1,
        at: Path | None = None,
        limits: Limits = LIMITS,
        select: Selection | None = None,
        batch: int = 512,
        **options: Any,
    ) -> None:
        self.trees, self.at, self.bucket_limits, self.batch = (source, dest), at, limits, batch
        self.between: Callable[[], object] = lambda: None
        self.before_deleting: Callable[[], object] = lambda: None
        self.listed: Callable[[Store], Store] = lambda store: store  # the destination as the second look reads it
        self.lost_to_rivals: set[bytes] = set()  # what a rival, and not the job, wrote over
        self.deletes: list[tuple[str, str]] = []  # every call: key, expected
        super().__init__(seed, chaos)
        wanted = {"delete": True, "max_delete": "100%", "on_conflict": "retry", **options}
        self.spec = replace(
            self.spec,
            selection=select or Selection(),
            options=replace(self.spec.options, **wanted),
        )

    def fill(self) -> None:
        self.dest_bucket = MemoryBucket(self.bucket_limits, self.source_bucket._clock)
        self.dest: Any = MemoryStore(self.dest_bucket, "dst/", page_size=7) if self.at is None else LocalStore(self.at)
        for store, tree in ((self.source, self.trees[0]), (self.dest, self.trees[1])):
            for key, body in tree.items():
                self.write(store, key, body)
        self.keys_found = sorted(self.trees[0])
        self.found = len(self.keys_found)
        self.versions: dict[str, set[bytes]] = {key: set() for key in self.keys_found}
        self.rivals_bytes: dict[str, set[bytes]] = {key: set() for key in self.keys_found}

    def write(self, store: Any, key: str, body: bytes) -> None:
        store.put(key, body, Meta(mtime_ns=10**18, link=key.endswith(".rclonelink")), ANY, Token())

    def rival(self) -> None:
        before = self.dest_bucket.dump()
        super().rival()
        now = self.dest_bucket.dump()
        self.lost_to_rivals |= {was.body for key, was in before.items() if now[key] is not was}

    def stack(self, store: Any, faults: bool) -> Store:
        made = super().stack(store, faults)
        if store is not self.dest:
            return made
        made = _Deletes(made, self) if faults else made
        return BackingUp(made, self.options_in_force.backup_dir) if self.options_in_force.backup_dir else made

    @property
    def options_in_force(self) -> Any:
        return self.spec.options

    def go(self) -> Summary:
        """Run it, again until it ends or is refused."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(secondlook, "Thread", InlineThread)
            patch.setattr(deletes, "BATCH", self.batch)
            listings, task = secondlook.listings, Deletes._task

            def looked(job: Any, *args: Any, **more: Any) -> Any:
                self.between()
                return listings(replace(job, dest=self.listed(job.dest)), *args, **more)

            def made(owner: Deletes, *args: Any) -> Any:
                self.before_deleting()
                return task(owner, *args)

            patch.setattr(secondlook, "listings", looked)
            patch.setattr(Deletes, "_task", made)

            def ended(run: coordinating.Run) -> Summary:
                self.summary = coordinating.coordinate(run)
                if str(self.summary.state) not in ("done", "done_with_errors"):
                    if self.summary.resumable and self.chaotic:
                        return self.summary
                    raise _Ended
                return self.summary

            self.coordinate = ended
            self.summary: Summary
            try:
                self.play(patch)
            except _Ended:
                pass
            finally:
                self.end()
        assert self.summary.falsehood() == ""
        return self.summary

    def left(self) -> list[str]:
        """The keys at the destination, without folders that are not empty."""
        return [e.key for e in self.dest.list(Token()) if e.kind is not Kind.DIR or e.empty or self.at is None]

    def folders(self) -> list[str]:
        return [e.key for e in self.dest.list(Token()) if e.kind is Kind.DIR]


class _Ended(BaseException):
    pass


class _Deletes(Wrapper):
    def __init__(self, inner: Store, sim: Mirror) -> None:
        super().__init__(inner)
        self._sim = sim

    def delete(self, key: str, expected: str, token: Token) -> None:
        self._sim.deletes.append((key, expected))
        super().delete(key, expected, token)
