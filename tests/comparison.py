"""A whole ``hugesync verify`` in this process: two memory stores that refuse every write, and the simulation's workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn

import pytest

from hugesync_tasks.model import Meta
from hugesync_tasks.stages import equality
from hugesync_tasks.stores.base import ANY, Limits
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.summary import Summary
from hugesync_tasks.token import Token
from simulated import Inline
from simulation import Simulation
from world import LIMITS, PART

RANGE = 4 * PART  # what is larger is compared in ranges
T = 10**18
PLAIN = replace(LIMITS, full_crc64=False, etag_is_md5=False)  # a store that holds no digest anybody could compare
WRITES = ("batch", "put", "finish_folder", "delete", "copy", "create_upload", "put_part", "copy_part", "complete", "abort",
          "put_pieces", "overwrite", "keep", "validate")  # fmt: skip


class Sealed(MemoryStore):
    """A store that anybody who writes to it hears of."""


def _refuse(name: str) -> Any:
    def refused(self: Sealed, *args: Any, **kwargs: Any) -> NoReturn:
        raise AssertionError(f"{name} was called: {args}")

    return refused


for _name in WRITES:
    setattr(Sealed, _name, _refuse(_name))


@dataclass
class Comparison(Simulation):
    """Files are put with ``source`` and ``dest`` (or ``both``), then ``run``. ``limits``: of source and destination."""

    limits: tuple[Limits, Limits] = (LIMITS, LIMITS)
    sample: float = 100.0
    one_way: bool = False

    def build(self, same_bucket: bool) -> None:
        self.rivals = self.edits = 0
        self.source_bucket, self.dest_bucket = (MemoryBucket(one, lambda: int(self.now * 1e9)) for one in self.limits)
        self.source = Sealed(self.source_bucket, "src/", page_size=7)
        self.dest = Sealed(self.dest_bucket, "dst/", page_size=7)
        self.spec = replace(self.spec, sample=self.sample, one_way=self.one_way)

    def publish(self, name: str, queue: str, job: str, task: str) -> None:
        """A worker of an earlier release, which would sync, must know no task of it."""
        assert name in {
            f"hugesync.{kind}" for kind in ("compare_files", "compare_begin", "compare", "conclude", "abandon")
        }
        super().publish(name, queue, job, task)

    def put(self, where: str, key: str, body: bytes) -> None:
        """``where``: src or dst."""
        bucket = self.source_bucket if where == "src" else self.dest_bucket
        MemoryStore(bucket, f"{where}/").put(key, body, Meta(mtime_ns=T), ANY, Token())

    def both(self, key: str, body: bytes) -> None:
        self.put("src", key, body)
        self.put("dst", key, body)

    def run(self) -> Summary:
        """To the end; nothing that is there may have changed by it."""
        before = self.source_bucket.dump(), self.dest_bucket.dump(), list(self.dest_bucket.log)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(equality, "ThreadPoolExecutor", Inline)
            try:
                summary = self.play(monkeypatch)
            finally:
                self.end()
        assert (self.source_bucket.dump(), self.dest_bucket.dump(), list(self.dest_bucket.log)) == before
        return summary


def told(summary: Summary) -> dict[str, str]:
    """Path -> message."""
    return {f.path: f.message for f in summary.failures}
