"""On how many rotating disks a worker's roots lie. One that seeks between many readers gets slower with each of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def spindles(paths: Iterable[str], root: Path = Path("/")) -> int:
    """How many disks of their own they are on; 0 where there is no path, or one lies on something else: a network, flash, a
    virtual disk, whose word for itself is not to be believed. Only ``sd*`` counts: it is what a real disk is called."""
    found = set()
    for path in paths:
        try:
            device = os.stat(path).st_dev
        except OSError:
            return 0
        disk = _disk(root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}")
        if disk is None:
            return 0
        found.add(disk)
    return len(found)


def _disk(device: Path) -> str | None:
    """The name of the rotating disk that ``device`` is, or is a part of."""
    try:
        real = device.resolve(strict=True)
        whole = real.parent if (real / "partition").exists() else real
        turns = (whole / "queue/rotational").read_text().strip() == "1"
    except OSError:
        return None
    return whole.name if turns and whole.name.startswith("sd") else None
