"""What a worker says of itself when it starts."""

from __future__ import annotations

import logging
import os
import sys

import psutil

from hugesync_tasks import __version__, process
from hugesync_tasks.amounts import size
from hugesync_tasks.config import Settings
from hugesync_tasks.state.redis_connect import Address

log = logging.getLogger("hugesync_tasks.consumer")  # which ``hugesync-worker`` lets be heard without -v


def default_slots(settings: Settings) -> int:
    """Child processes: as configured, else one for each CPU this process may use."""
    return settings.worker_concurrency or len(
        os.sched_getaffinity(0) if sys.platform == "linux" else range(psutil.cpu_count() or 1)
    )


def introduce(settings: Settings, slots: int, memory: int) -> None:
    """Say once who this worker is and what it can serve."""
    roots = [
        f"{name}={path}{'' if os.path.isdir(path) else ' (no folder is there now)'}"
        for name, path in process.roots_of(settings).items()
    ]
    log.info(
        "HugeSync %s, broker %s, %d children of at most %s each",
        __version__, Address.parse(settings.broker_url).name, slots, size(memory),
    )  # fmt: skip
    log.info("serves queue hs.any; roots, as soon as a job needs them: %s", ", ".join(roots) or "none (--root)")
