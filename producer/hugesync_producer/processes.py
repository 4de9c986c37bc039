"""A process by a name that no other process ever has, so that one can be known to be dead."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def this_process() -> str:
    """``boot:pid namespace:pid:start``, or "" where the system does not tell (then nobody can say that it is dead)."""
    here = _here()
    return f"{here}:{os.getpid()}:{psutil.Process().create_time()!r}" if here else ""


def is_dead(name: str) -> bool:
    """Whether ``name`` was a process of this very system and is not there any more; False where that cannot be known."""
    here = _here()
    if not here or not name.startswith(f"{here}:"):
        return False
    pid, _, start = name[len(here) + 1 :].partition(":")
    try:
        found = psutil.Process(int(pid))
        return repr(found.create_time()) != start or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (ValueError, psutil.Error):
        return False


def _here() -> str:
    """This boot of this kernel, and within it this namespace of process ids: a container has its own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
