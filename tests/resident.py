"""The memory of workers while a job runs, looked at by a thread a few times a second."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

OWN = 150_000_000  # bytes that a process of a worker may take beside what the budget counts (docs/buffers.md)
EVERY = 0.2  # seconds between two looks


class Watch:
    """Within the context: ``largest``, the most bytes that any process of the workers had; ``together``, that those of one
    worker had; ``beside``, that they had beyond ``OWN`` for each of them, which its buffer budget bounds."""

    def __init__(self, *workers: int) -> None:
        self.largest, self.together, self.beside = 0, 0, 0
        self._workers, self._ended = set(workers), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="resident", daemon=True)

    def also(self, worker: int) -> None:
        """One more worker, by the pid of its main process."""
        self._workers.add(worker)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            for worker in tuple(self._workers):
                sizes = resident(worker)
                self.largest = max(self.largest, *sizes, 0)
                self.together = max(self.together, sum(sizes))
                self.beside = max(self.beside, sum(sizes) - OWN * len(sizes))
            if self._ended.wait(EVERY):
                return


def resident(worker: int) -> list[int]:
    """Bytes of a worker's process and of its children, by one look at each: a walk over all of the host's processes, ten times a
    second, would take a core from whoever is measured. [] where it has ended."""
    sizes = []
    with suppress(psutil.Error, OSError):
        for pid in (worker, *children(worker)):
            with suppress(psutil.Error):
                sizes.append(int(psutil.Process(pid).memory_info().rss))
    return sizes


def children(pid: int) -> list[int]:
    """Of all of its threads, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, (task / "children").read_text().split())
    return found + [below for child in found for below in children(child)]
