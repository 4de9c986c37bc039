"""Jobs in this process, one after another between a folder and a strict fake, and what of a file's bytes passed the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import deltas
import test_delta_exact
from cloud_matrix import CloudMatrix
from clouds import BUCKETS, Azure, Gcs
from flows import DELTA, Flow
from hugesync_tasks.signature.blocks import LEAF, MIN_BLOCK
from hugesync_tasks.spec import Location
from hugesync_tasks.stores.base import Store
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.summary import Summary
from matrix import temporary_root
from simulated import one_core

BLOCK = MIN_BLOCK
UPLOADED = LEAF  # bytes of a part that is sent whole


@dataclass
class Job(CloudMatrix):
    """A job of a flow between ``here`` and ``there``, which outlive it."""

    here: Path = Path()
    there: Azure | Gcs = None  # type: ignore[assignment]

    def build(self, same_bucket: bool) -> None:
        self.environment, self.clouds = pytest.MonkeyPatch(), {}
        super(CloudMatrix, self).build(same_bucket)

    def store(self, kind: str, name: str, bucket: MemoryBucket) -> Store:
        if kind == "file":
            return LocalStore(self.here)
        limits = replace(self.there.limits, max_part=UPLOADED, max_copy=UPLOADED)
        return self.there.open(Location(kind, bucket=BUCKETS[0], prefix="to/"), limits)


def ran(source: str, dest: str, here: Path, there: Azure | Gcs) -> Summary:
    """A job to its end, without faults."""
    flow = Flow(source, dest, lambda sim: {}, "", {**DELTA, "part_size": UPLOADED})
    with temporary_root() as root, pytest.MonkeyPatch.context() as monkeypatch, one_core():
        job = Job(flow=flow, root=Path(root), here=here, there=there)
        try:
            summary = job.play(monkeypatch)
            job.settle_down()
        finally:
            job.close()
    assert (str(summary.state), summary.failures) == ("done", ()), summary
    return summary


def sent(there: Azure | Gcs, since: int) -> list[int]:
    """Bytes of each request that brought some of a file's, signatures apart."""
    asked: list[Any] = there.served.requests[since:]  # type: ignore[assignment]
    found = [a for a in asked if ".hssig" not in a.path and "%2Ehssig" not in a.path]
    return [a.length for a in found if a.length and a.query.get("comp") != "blocklist" and "/compose" not in a.path]


@contextmanager
def small_edits(unit: int, size: int) -> Iterator[None]:
    """The edits of ``test_delta_exact`` at ``size`` bytes, a MiB in them being ``unit``."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(deltas, "SIZE", size)
        monkeypatch.setattr(test_delta_exact, "SIZE", size)
        monkeypatch.setattr(test_delta_exact, "MIB", unit)
        yield
