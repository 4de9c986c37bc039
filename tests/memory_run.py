"""Run one sync in this process and write what its memory was as the number of files found grew.

``memory_run.py '{"source": ..., "dest": ..., "dry_run": true, "keys": 0, "run_size": 0}'`` prints one JSON object:
``samples`` (files found, RSS in bytes) of this process, which is the producer, ``workers`` (the highest RSS of each process
of the worker) and the summary's ``files``. With ``keys`` every ``s3://`` location is a fake of so many keys that its server
lists by path segment.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count

import psutil

from hugesync_producer import coordinator
from hugesync_producer.sync import sync
from hugesync_tasks.config import load
from hugesync_tasks.logs import configure
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.stores import opening
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_objects import S3_LIKE
from hugesync_tasks.summary import Snapshot
from hugesync_tasks.token import Token

SAMPLE_EVERY = 0.02  # seconds
LOOK_EVERY = 25  # samples: to find the worker's processes costs as much as a sample


class Watch:
    """An observer that keeps what was found, and a thread that writes down the memory beside it."""

    def __init__(self) -> None:
        self.found = 0
        self.samples: list[tuple[int, int]] = []
        self.workers: dict[int, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def on_start(self, job_id: str, resumed: bool) -> None: ...

    def on_progress(self, snapshot: Snapshot) -> None:
        self.found = snapshot.files["found"]

    def on_notice(self, message: str) -> None: ...

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        process = psutil.Process()
        highest: dict[int, int] = {}  # of what was found so far: a sample for each step, and not for each instant
        workers: list[psutil.Process] = []
        for n in count():
            if self._over.wait(SAMPLE_EVERY):
                break
            highest[self.found] = max(highest.get(self.found, 0), process.memory_info().rss)
            if n % LOOK_EVERY == 0:
                workers = workers_of(process)
            for worker in workers:
                with suppress(psutil.Error):
                    self.workers[worker.pid] = max(self.workers.get(worker.pid, 0), worker.memory_info().rss)
        self.samples = sorted(highest.items())


def workers_of(producer: psutil.Process) -> list[psutil.Process]:
    """The worker's main process and its children."""
    try:
        return [p for p in producer.children(recursive=True) if "hugesync_worker" in p.cmdline()]
    except psutil.Error:
        return []


class Segmented(MemoryStore):
    """A server that lists ``keys`` objects by path segment: ``a/x`` before ``a!``. It holds none of them."""

    keys = 0
    run_size = 100_000

    def __init__(self) -> None:
        super().__init__(limits=replace(S3_LIKE, list_order="segments"), run_size=self.run_size)

    def _listed(self, token: Token, after: str | None) -> Iterator[Entry]:
        for i in range(self.keys):
            token.moved(0)
            folder, below = f"folder-{i // 10:09d}", i % 10
            key = (
                f"{folder}!/a name of ordinary length" if below == 9 else f"{folder}/a name of ordinary length {below}"
            )
            yield Entry(key, Kind.FILE, i, modified_ns=1, version=f"{i:032x}")


def main() -> None:
    asked = json.loads(sys.argv[1])
    configure("WARNING", "text")  # on stderr, as the commands do
    coordinator.OBSERVE_EVERY = SAMPLE_EVERY  # or a fast machine is through before there is enough to compare
    if asked["keys"]:
        Segmented.keys, Segmented.run_size = asked["keys"], asked["run_size"]
        opening.register("s3", lambda _: Segmented())
    watch = Watch()
    summary = sync(asked["source"], asked["dest"], settings=load({}), dry_run=asked["dry_run"], observer=watch)
    watch.stop()
    found = {"samples": watch.samples, "workers": list(watch.workers.values())}
    print(json.dumps({**found, "files": dict(summary.files), "state": str(summary.state)}))


if __name__ == "__main__":
    main()
