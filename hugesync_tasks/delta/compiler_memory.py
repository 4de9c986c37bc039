"""Once the loop is machine code, what made it is of no use: 60 of the 68 MiB that it takes are pages of its
library.

They are clean pages of a file and come back from it by themselves, should anything be compiled after all; until then they would
count against every process's ``--memory``.
"""

from __future__ import annotations

import ctypes
import re
import sys
from functools import cache
from pathlib import Path

_LIBRARY = "libllvmlite"
_MADV_DONTNEED = 4  # asm-generic/mman-common.h
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ +(\S.*)$")


@cache
def give_back() -> int:
    """Drop the compiler's pages from this process, once; returns the bytes of what was dropped (0 where the system has no such call).

    Never a page that was written to: it would come back as it is in the file, without what the loader put there.
    """
    if not sys.platform.startswith("linux"):
        return 0
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    try:
        lines = Path("/proc/self/smaps").read_text(errors="replace").splitlines()
    except OSError:
        return 0
    dropped = 0
    for start, end in untouched(lines):
        if madvise(start, end - start, _MADV_DONTNEED) == 0:
            dropped += end - start
    return dropped


def untouched(smaps: list[str]) -> list[tuple[int, int]]:
    """The mappings of the compiler's library that cannot be written, and have no page of their own."""
    found: list[tuple[int, int]] = []
    mapping: tuple[int, int] | None = None
    for line in smaps:
        if head := _MAPPING.match(line):
            ours = _LIBRARY in head[4] and "w" not in head[3]
            mapping = (int(head[1], 16), int(head[2], 16)) if ours else None
        elif mapping and line.startswith("Anonymous:"):  # pages that were written to, whatever their protection is now
            if line.split()[1] == "0":
                found.append(mapping)
            mapping = None
    return found
