"""The metrics of one worker: what its children counted, its processes, its health."""

from __future__ import annotations

import glob
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil

from hugesync_tasks import __version__
from hugesync_tasks.job_figures import family
from hugesync_tasks.metric_names import MOST_STATS
from hugesync_tasks.vitals import Child, Vitals

log = logging.getLogger(__name__)


class WorkerFigures:
    """A collector of prometheus-client. ``health``: check -> whether it passes; ``canary``: seconds of the last that came back."""

    def __init__(
        self,
        vitals: Vitals,
        parent: int,
        memory: int,
        slots: Callable[[], int | None],
        health: Callable[[], Mapping[str, bool]],
        canary: Callable[[], float],
    ) -> None:
        self._vitals, self._parent, self._memory = vitals, parent, memory
        self._slots, self._health, self._canary = slots, health, canary

    def children(self) -> dict[int, Child]:
        """By their place in the pool, those that live. Raises OSError where the folder is gone."""
        return {
            place: child
            for place, child in enumerate(self._vitals.read())
            if child.pid and _parent_of(int(child.pid)) == self._parent
        }

    def collect(self) -> Iterator[Any]:
        children, now = self.children(), time.time()
        yield from self._counted()
        yield family("worker_info", [((__version__,), 1.0)])
        if (slots := self._slots()) is not None:
            yield family("worker_slots", [((), float(slots))])
        yield family("worker_children", [((), float(len(children)))])
        yield family("worker_busy_children", [((), float(sum(child.until > now for child in children.values())))])
        yield family(
            "child_lease_timestamp_seconds", (((str(place),), child.until) for place, child in children.items())
        )
        yield family(
            "canary_timestamp_seconds", [((), max((child.canary for child in children.values()), default=0.0))]
        )
        if took := self._canary():
            yield family("worker_canary_seconds", [((), took)])
        resident = [_resident(int(child.pid)) for child in children.values()]
        memory = {"main": _resident(self._parent), "children": sum(resident), "largest_child": max(resident, default=0)}
        yield family("worker_memory_bytes", (((process,), float(n)) for process, n in memory.items()))
        yield family("worker_memory_limit_bytes", [((), float(self._memory))])
        buffers = list(self._vitals.buffers().items())[:MOST_STATS]
        if buffers:
            yield family("worker_buffers", (((name,), n) for name, n in buffers))
        yield family("worker_health", (((check,), float(passes)) for check, passes in self._health().items()))

    def _counted(self) -> Iterator[Any]:
        files = [f for f in glob.glob(os.path.join(self._vitals.folder, "*.db")) if os.path.getsize(f)]
        try:
            merged = _merge(files)
        except Exception:  # a child was killed in the middle of a word: the others' still count
            merged = _merge([file for file in files if _whole(file)])
        yield from merged


def _merge(files: list[str]) -> list[Any]:
    from prometheus_client.multiprocess import MultiProcessCollector

    return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def _whole(file: str) -> bool:
    try:
        _merge([file])
    except Exception as error:
        log.warning("the metrics of one child cannot be read: %s", error)
        return False
    return True


def _parent_of(pid: int) -> int:
    try:
        process = psutil.Process(pid)
        return 0 if process.status() == psutil.STATUS_ZOMBIE else process.ppid()
    except psutil.Error:
        return 0


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
