"""The crash matrix over the adapters of Google Cloud Storage and Azure Blob, which speak HTTP with the strict fakes: a fault
strikes a call, as in ``matrix``, or one request of the many that a call may make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from clouds import CLOUDS, Azure, Gcs
from hugesync_tasks.stores.base import Store
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.summary import Summary
from matrix import AFTER, BEFORE, DIES, DIES_BARE, Matrix


@dataclass
class CloudMatrix(Matrix):
    """``requests``: what came on the wire while the job ran, in order."""

    requests: list[str] = field(default_factory=list)
    unplugged: bool = False  # everything died: no request of it arrives any more

    def build(self, same_bucket: bool) -> None:
        self.environment = pytest.MonkeyPatch()
        kinds = {self.flow.source, self.flow.dest} & set(CLOUDS)
        self.clouds: dict[str, Gcs | Azure] = {kind: CLOUDS[kind](self.environment) for kind in kinds}
        super().build(same_bucket)

    def store(self, kind: str, name: str, bucket: MemoryBucket) -> Store:
        if kind not in self.clouds:
            return super().store(kind, name, bucket)
        return self.clouds[kind].open(self.flow.location(kind, self.root, name))

    def play(self, monkeypatch: pytest.MonkeyPatch) -> Summary:
        for cloud in self.clouds.values():
            cloud.fail(self.arrived)
        try:
            return super().play(monkeypatch)
        finally:
            for cloud in self.clouds.values():
                cloud.fail(lambda method, path, query: None)

    def close(self) -> None:
        super().close()
        for cloud in self.clouds.values():
            cloud.close()
        self.environment.undo()

    # what goes wrong
    def arrived(self, method: str, path: str, query: Mapping[str, str]) -> tuple[str, int] | None:
        """The fakes ask this of each request."""
        if self.unplugged:
            return "before", 0
        self.requests.append(f"{method} {path} {query.get('comp', '')}")
        if not self.strike.wire or len(self.requests) != self.strike.call:
            return None
        if self.strike.mode == BEFORE:
            return "before", 503
        self.unplugged = self.strike.mode in (DIES, DIES_BARE)
        return "after", 0

    def struck(self, what: str, call: Callable[[], Any], error: type[Exception]) -> Any:
        try:
            return super().struck(what, call, error)
        finally:
            if self.unplugged and not self.dead:
                self.die()

    def bury(self) -> None:
        super().bury()
        self.unplugged = False

    @property
    def struck_at(self) -> str:
        at = self.strike.call - 1
        if not self.strike.wire:
            return super().struck_at
        return self.requests[at] if 0 <= at < len(self.requests) else ""

    # what must be true at the end
    def check_bucket(self) -> None:
        bucket = self.flow.location(self.flow.dest, self.root, "dest").bucket
        found = self.clouds[self.flow.dest].found(bucket)
        there = {k.removeprefix("dest/"): v for k, v in found.items() if k.startswith("dest/")}
        sidecars = {key for key in there if key.endswith(".hssig")}
        ours = [key for key in there if ".hugesync" in key]
        assert {k: v.body for k, v in there.items() if k not in sidecars and k not in ours} == self.flow.wanted
        for key in sidecars:
            self.check_sidecar(there[key].body, there[key.removesuffix(".hssig")])
        if not self.forgot:
            assert ours == [], "parts were left behind"
        assert self.clouds[self.flow.dest].staged() == [], "blocks were left behind"


WIRE = (BEFORE, AFTER, DIES, DIES_BARE)
