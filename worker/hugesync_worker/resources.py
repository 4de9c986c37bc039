"""How large a worker makes itself: from what the machine has, what control groups leave of it, and what is set.

``plan`` is pure: settings and machine in, numbers with their reasons out. ``Machine.read`` looks. What is set explicitly wins,
also where it is too much; then the plan says so.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from hugesync_tasks.amounts import size
from hugesync_tasks.buffers.sizing import budget_of
from hugesync_tasks.config import Settings
from hugesync_tasks.config_units import show_size
from hugesync_tasks.errors import UsageError
from hugesync_tasks.process import roots_of
from hugesync_worker import cgroups
from hugesync_worker.disks import spindles

MAIN = 160 << 20  # bytes: the main process and what it starts beside its children
SHARE = 0.9  # of the memory; page tables, sockets and the kernel's own take the rest
LEAST_MEMORY = 256 << 20  # per child, before there are fewer children instead
FLOOR = 128 << 20  # the least that the setting takes
PER_LINK = 10_000_000  # bytes/s; one child moves more than this, so more children than this a link cannot feed
LEAST_FOR_LINK = 4
PER_SPINDLE = 8  # children that read from one rotating disk before it only seeks
FILES_WANTED = 65_536
FILES_OF_MAIN, FILES_PER_CHILD = 64, 8  # descriptors of the main process: pipes and sentinels of each child
FILES_IN_CHILD = 256  # descriptors of one child: 16 threads, each with a file, a temporary one and connections
THREADS_PER_CHILD = 64


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is. ``link`` in bytes/s and ``spindles`` are 0 where they are unknown, or do not matter."""

    cpus: int  # that this process may be on
    memory: int  # bytes
    available: int  # bytes of it that nobody uses now
    open_files: int  # most descriptors that a process may have (the hard limit)
    link: int = 0  # of the fastest network interface that is up
    link_name: str = ""
    spindles: int = 0  # rotating disks, where every root lies on one
    limits: cgroups.Limits = cgroups.NO_LIMITS

    @classmethod
    def read(cls, settings: Settings, root: Path = Path("/")) -> Machine:
        memory = psutil.virtual_memory()
        name, link = _fastest()
        return cls(
            cpus=len(os.sched_getaffinity(0)) if sys.platform == "linux" else psutil.cpu_count() or 1,
            memory=memory.total,
            available=memory.available,
            open_files=_most_files(),
            link=link,
            link_name=name,
            spindles=spindles(roots_of(settings).values(), root),
            limits=cgroups.read(root),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """``lines`` say why each number is what it is; ``warnings`` what of it will not do."""

    slots: int  # child processes, each with one task at a time, at the start
    most: int  # to which autoscaling may go
    memory: int  # bytes, most resident of each
    buffers: int  # bytes, of all children together
    open_files: int  # of each process
    usable: int  # bytes, of all children together
    lines: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def plan(settings: Settings, machine: Machine) -> Plan:
    """The numbers of a worker with these settings on this machine. Raises UsageError where they contradict each other."""
    low, high = settings.autoscale_min, settings.autoscale_max
    if 0 < high < low:
        raise UsageError(f"autoscale_min is {low} and autoscale_max {high}: the least is more than the most")
    usable, why_usable = _usable(machine)
    slots, why_slots = _slots(settings, machine)
    free = "memory" not in settings.model_fields_set  # the default may be lowered
    least = min(settings.memory, LEAST_MEMORY) if free else settings.memory
    if not settings.worker_concurrency and slots * least > usable:
        slots, why_slots = max(1, usable // least), f"{why_usable}, at {show_size(least)} each"
    memory, why_memory = settings.memory, "the default" if free else "as it is set"
    if free and max(slots, high) * memory > usable:
        memory, why_memory = max(FLOOR, least, usable // max(slots, high)) >> 20 << 20, why_usable
        memory = max(FLOOR, min(memory, usable >> 20 << 20))
    most, scales = slots, list[str]()
    if high:
        most = max(low, min(high, usable // memory))
        slots = min(max(slots, low), most)
        scales.append(f"autoscale: {low} to {most} ({'as it is set' if most == high else why_usable})")
    limit = machine.limits.memory
    total = min(machine.memory, int(limit.value)) if limit is not None else machine.memory
    buffers = budget_of(settings.buffers_budget, memory, most, total)
    why_buffers = "as it is set" if settings.buffers_budget else "half of the memory, at most that of all children"
    files = min(machine.open_files, max(FILES_WANTED, FILES_OF_MAIN + FILES_PER_CHILD * most))
    warnings = []
    if slots * memory > usable:
        warnings.append(
            f"{slots} children of {show_size(memory)} may need more memory than there is for them: {why_usable}"
        )
    if files < FILES_IN_CHILD:
        warnings.append(
            f"a process may have {files} open files, and one child may need {FILES_IN_CHILD}: raise ulimit -n"
        )
    return Plan(
        slots,
        most,
        memory,
        buffers,
        files,
        usable,
        (
            f"children: {slots} ({why_slots})",
            *scales,
            f"memory: {show_size(memory)} each ({why_memory})",
            f"buffers: {show_size(buffers >> 20 << 20)} together ({why_buffers})",
            f"open files: {files} a process ({'the hard limit' if files == machine.open_files else 'what is asked for'})",
        ),
        tuple(warnings),
    )


def raise_open_files(plan: Plan) -> None:
    """Let this process and its children have as many open files as planned."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= plan.open_files:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (plan.open_files, hard))
    except (OSError, ValueError):  # macOS has a lower one that it does not tell
        pass


def _usable(machine: Machine) -> tuple[int, str]:
    limit = machine.limits.memory
    bounds = [(machine.memory, f"the machine has {size(machine.memory)}")]
    bounds.append((machine.available, f"{size(machine.available)} of memory are free"))
    if limit is not None:
        bounds.append((int(limit.value), f"{limit.where} allows {size(int(limit.value))} of memory"))
    memory, why = min(bounds, key=lambda bound: bound[0])
    return max(0, int(SHARE * memory) - MAIN), why


def _slots(settings: Settings, machine: Machine) -> tuple[int, str]:
    """Children before memory is looked at."""
    if settings.worker_concurrency:
        return settings.worker_concurrency, "as it is set"
    limits = machine.limits
    bounds = [(machine.cpus, f"one for each of {machine.cpus} CPUs")]
    if limits.cpuset is not None:
        bounds.append((int(limits.cpuset.value), f"{limits.cpuset.where} gives {limits.cpuset.value:.0f} CPUs"))
    if limits.quota is not None:
        bounds.append(
            (math.ceil(limits.quota.value), f"{limits.quota.where} gives the time of {limits.quota.value:g} CPUs")
        )
    if limits.pids is not None:
        of_pids = int(limits.pids.value) // THREADS_PER_CHILD
        bounds.append((of_pids, f"{limits.pids.where} allows {limits.pids.value:.0f} threads"))
    of_files = (machine.open_files - FILES_OF_MAIN) // FILES_PER_CHILD
    bounds.append((of_files, f"a process may have {machine.open_files} open files"))
    if machine.link:
        of_link = max(LEAST_FOR_LINK, machine.link // PER_LINK)
        bounds.append((of_link, f"{machine.link_name} carries {machine.link * 8 // 10**6} Mbit/s"))
    if machine.spindles:
        bounds.append((PER_SPINDLE * machine.spindles, f"the roots lie on {machine.spindles} rotating disk(s)"))
    slots, why = min(bounds, key=lambda bound: bound[0])
    return max(1, slots), why


def _most_files() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    known = [limit for limit in (hard, soft) if limit != resource.RLIM_INFINITY]
    return known[0] if known else FILES_WANTED


def _fastest() -> tuple[str, int]:
    """Name and bytes/s of the fastest interface that is up and tells its speed; 0 where one that is up tells none."""
    up = {n: s for n, s in psutil.net_if_stats().items() if s.isup and not n.startswith("lo")}
    if not up or any(s.speed <= 0 for s in up.values()):  # a wireless or a virtual one may be the one that is used
        return "", 0
    name = max(up, key=lambda n: up[n].speed)
    return name, int(up[name].speed) * 10**6 // 8
