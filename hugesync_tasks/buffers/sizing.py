"""How large a worker's budget is, where nobody says: pure, but for one look at what the system allows this process."""

from __future__ import annotations

from pathlib import Path

import psutil

from hugesync_tasks.budget import LEAST

OF_LIMIT = (
    0.5  # of the memory that the worker may have; the other half is for what processes are before they hold a byte
)
_NO_BOUND = 1 << 60  # cgroup v1 says "none" as a huge number


def budget_of(asked: int, memory: int, slots: int, limit: int) -> int:
    """Bytes for ``slots`` children of at most ``memory`` each, where all processes may have ``limit``. ``asked``: what was
    configured, 0 = nothing."""
    return min(memory * slots, asked or max(LEAST, int(limit * OF_LIMIT)))


def memory_limit() -> int:
    """The memory that this process's cgroups leave it, or the machine's where that is less."""
    found = [int(psutil.virtual_memory().total)]
    try:
        groups = Path("/proc/self/cgroup").read_text("ascii", "replace").splitlines()
    except OSError:  # no Linux
        return found[0]
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup", "memory" if controllers else "")
        folder = root / path.lstrip("/")
        while folder.is_relative_to(root):  # a limit above holds as well; in a container the path may not be there
            found += _read(folder / ("memory.limit_in_bytes" if controllers else "memory.max"))
            folder = folder.parent
    return min(found)


def _read(file: Path) -> list[int]:
    try:
        text = file.read_text("ascii").strip()
    except OSError:
        return []
    return [int(text)] if text.isdecimal() and int(text) < _NO_BOUND else []
