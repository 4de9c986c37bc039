"""What control groups leave to this process: CPUs, memory, processes. Versions 1 and 2, and both at once.

A limit of any ancestor holds, so every level between the process's own group and the mount is read; the tightest is told with
the file that sets it. Inside a container the path of ``/proc/self/cgroup`` may lie outside of what is mounted: then the mount's
own top is the container's group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

NONE = 1 << 60  # bytes; version 1 writes "no limit" as a number of about 2**63
Reading = Callable[[Path], float | None]


@dataclass(frozen=True, slots=True)
class Limit:
    """``value`` in CPUs, bytes or processes; ``where``: the file that says so."""

    value: float
    where: str


@dataclass(frozen=True, slots=True)
class Limits:
    """None = there is no such limit."""

    quota: Limit | None = None  # CPUs' worth of time, perhaps a fraction
    cpuset: Limit | None = None  # how many CPUs it may be on
    memory: Limit | None = None  # bytes
    pids: Limit | None = None  # processes and threads


NO_LIMITS = Limits()


def read(root: Path = Path("/")) -> Limits:
    """The limits of this process, as the files below ``root`` tell them. What cannot be read counts as not limited."""
    groups = list(_groups(root))
    levels = {name: [level for names, level in groups if name in names] for name in ("cpu", "cpuset", "memory", "pids")}
    return Limits(
        _tightest(root, levels["cpu"], _quota),
        _tightest(root, levels["cpuset"], _cpus),
        _tightest(root, levels["memory"], _memory),
        _tightest(root, levels["pids"], _number("pids.max")),
    )


def _tightest(root: Path, levels: list[Path], reading: Reading) -> Limit | None:
    found = [(value, level) for level in levels if (value := reading(level)) is not None]
    if not found:
        return None
    value, level = min(found, key=lambda one: one[0])
    return Limit(value, f"/{level.relative_to(root)}")


def _groups(root: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Controllers and folder of this process's group and of each of its ancestors, in every hierarchy."""
    own: dict[str, str] = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, named, group = line.split(":", 2)
        own[named] = group
    for kind, controllers, top, mount in _mounts(root):
        names: tuple[str, ...] = ("cpu", "cpuset", "memory", "pids") if kind == "cgroup2" else tuple(controllers)
        of = "" if kind == "cgroup2" else next((c for c in own if c and set(c.split(",")) & set(names)), None)
        path = None if of is None else own.get(of)
        if path is None:
            continue
        level = mount / _below(path, top)
        while True:
            yield names, level
            if level == mount:
                break
            level = level.parent


def _mounts(root: Path) -> Iterator[tuple[str, list[str], str, Path]]:
    """Type, controllers, the group at its top, and mount point of every mounted hierarchy."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) > 4 and rest and rest[0] in ("cgroup", "cgroup2"):
            yield rest[0], rest[-1].split(","), fields[3], root / _unescaped(fields[4]).lstrip("/")


def _below(path: str, top: str) -> str:
    """``path`` of a group relative to the group ``top`` that is mounted; "" where it lies elsewhere."""
    if ".." in path.split("/") or ".." in top.split("/"):
        return ""
    if top == "/":
        return path.lstrip("/")
    return path[len(top) :].lstrip("/") if f"{path}/".startswith(f"{top}/") else ""


def _quota(level: Path) -> float | None:
    words = _text(level / "cpu.max").split() or [
        _text(level / "cpu.cfs_quota_us").strip(),
        _text(level / "cpu.cfs_period_us").strip(),
    ]
    try:
        quota, period = float(words[0]), float(words[1])
    except (ValueError, IndexError):  # "max", or nothing is there
        return None
    return quota / period if quota > 0 and period > 0 else None  # version 1 says -1


def _cpus(level: Path) -> float | None:
    for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
        ranges = [part.partition("-") for part in _text(level / name).strip().split(",") if part]
        try:
            if ranges:
                return float(sum(int(last or first) - int(first) + 1 for first, _, last in ranges))
        except ValueError:
            continue
    return None


def _memory(level: Path) -> float | None:
    """``memory.high`` counts, too: above it a group is slowed down until it is of no use."""
    found = [_number(name)(level) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    return min((value for value in found if value is not None), default=None)


def _number(name: str) -> Reading:
    def reading(level: Path) -> float | None:
        try:
            value = float(_text(level / name))
        except ValueError:
            return None
        return value if math.isfinite(value) and 0 <= value < NONE else None

    return reading


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _unescaped(field: str) -> str:
    """``mountinfo`` writes blank, tab, newline and backslash as octal."""
    for code, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, plain)
    return field
