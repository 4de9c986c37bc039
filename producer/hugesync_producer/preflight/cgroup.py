"""What a cgroup, of version 1 or 2, lets this process have. Reads files below ``root`` alone, which a test may choose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NO_BOUND = 1 << 60  # version 1 says "none" by a number of pages near 2⁶³


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """None: no bound. ``memory_used`` belongs to the group with the tightest ``memory``."""

    cpus: float | None = None
    memory: int | None = None
    memory_used: int | None = None


def cgroup_limits(root: Path = Path("/")) -> CgroupLimits:
    """The tightest of the groups that this process lies in, from the innermost to the root. Never raises."""
    cpus: list[float] = []
    memory: list[tuple[int, int | None]] = []
    for controllers, folder in _folders(root):
        if "cpu" in controllers and (quota := _cpu_v1(folder)) is not None:
            cpus.append(quota)
        if "memory" in controllers and (limit := _number(folder / "memory.limit_in_bytes")) is not None:
            memory.append((limit, _number(folder / "memory.usage_in_bytes")))
        if not controllers:
            if (quota := _cpu_v2(folder)) is not None:
                cpus.append(quota)
            if (limit := _number(folder / "memory.max")) is not None:
                memory.append((limit, _number(folder / "memory.current")))
    tightest = min((m for m in memory if m[0] < _NO_BOUND), default=(None, None), key=lambda m: m[0])
    return CgroupLimits(min(cpus, default=None), tightest[0], tightest[1])


def _folders(root: Path) -> Iterator[tuple[set[str], Path]]:
    """(controllers, folder) of each group, inner ones first; no controllers: version 2."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        controllers = {n for n in names.split(",") if n and not n.startswith("name=")}
        if names and not controllers:
            continue  # systemd's own tree bounds nothing
        base = root / "sys/fs/cgroup"
        places = [base / names, *(base / one for one in controllers)] if controllers else [base, base / "unified"]
        for place in places:
            if place.is_dir():
                yield from ((controllers, folder) for folder in _upwards(place, path.strip("/")))
                break


def _upwards(base: Path, path: str) -> Iterator[Path]:
    inner = base / path
    while inner != base:
        if inner.is_dir():  # in a container the path may be the host's
            yield inner
        inner = inner.parent
    yield base


def _cpu_v1(folder: Path) -> float | None:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota is not None and quota > 0 and period else None


def _cpu_v2(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.strip().isdigit() and int(period) else None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
