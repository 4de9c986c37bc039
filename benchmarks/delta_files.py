"""Files of random bytes, and what is made of them for the benchmarks of the delta engine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

KIB, MIB = 1 << 10, 1 << 20


def noise(path: Path, size: int, seed: int) -> None:
    """Random bytes; the same for the same seed."""
    rng = np.random.default_rng(seed)
    with path.open("wb") as out:
        for at in range(0, size, 64 * MIB):
            out.write(rng.bytes(min(64 * MIB, size - at)))


def variant(kind: str, basis: Path, path: Path) -> None:
    """The file that is compared with ``basis``."""
    size = basis.stat().st_size
    if kind == "foreign":
        noise(path, size, 2)
        return
    if kind == "overwritten":
        shutil.copyfile(basis, path)
        rng = np.random.default_rng(3)
        with path.open("r+b") as out:
            for _ in range(20):
                out.seek(int(rng.integers(0, size - 4 * KIB)))
                out.write(rng.bytes(4 * KIB))
        return
    with basis.open("rb") as old, path.open("wb") as new:
        _copy(old, new, size // 10)
        new.write(os.urandom(1000))
        _copy(old, new, size * 6 // 10 - size // 10)
        old.seek(777, os.SEEK_CUR)
        shutil.copyfileobj(old, new, 16 * MIB)


def _copy(old: object, new: object, count: int) -> None:
    while count:
        piece = old.read(min(count, 16 * MIB))  # type: ignore[attr-defined]
        new.write(piece)  # type: ignore[attr-defined]
        count -= len(piece)


# in process
