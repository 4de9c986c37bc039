"""The machine, as this process may use it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

import psutil

from hugesync_producer.preflight.cgroup import CgroupLimits, cgroup_limits
from hugesync_producer.preflight.values import Host, Interface

_WORKER = "import hugesync_tasks.celery, hugesync_tasks.tasks, hugesync_tasks.process"
_START_PATIENCE = 20.0


def host_facts(limits: CgroupLimits | None = None) -> Host:
    """Never raises: what the system does not tell is None."""
    limits = limits or cgroup_limits()
    memory = psutil.virtual_memory()
    available, total = int(memory.available), int(memory.total)
    if limits.memory is not None and limits.memory < total:
        total = limits.memory
        available = max(0, min(available, limits.memory - (limits.memory_used or 0)))
    return Host(
        cpus=_cpus(),
        cpu_quota=limits.cpus,
        memory_total=total,
        memory_available=available,
        memory_limit=limits.memory,
        open_files=_open_files(),
        interfaces=interfaces(),
        load=_load(),
    )


def interfaces() -> tuple[Interface, ...]:
    """Those that are up, without the loopback."""
    found = [
        Interface(name, stats.speed * 1_000_000 if stats.speed > 0 else None)
        for name, stats in psutil.net_if_stats().items()
        if stats.isup and "loopback" not in getattr(stats, "flags", "") and name != "lo"
    ]
    return tuple(sorted(found, key=lambda i: i.name))


def start_seconds() -> float | None:
    """How long an interpreter takes that loads what a worker loads; None where it does not end. A job starts three."""
    paths = os.pathsep.join(p for p in sys.path if p)
    began = time.perf_counter()
    try:
        subprocess.run(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
            timeout=_START_PATIENCE, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return time.perf_counter() - began


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
