"""When the children of a worker that was told to end must let go of what they have in hand.

One number in memory that the worker's main process shares with its children, from before they are forked: no signal has to reach
them, and a main process that hangs cannot keep it from them. Times are of ``time.monotonic``, which all processes of a host share.
"""

from __future__ import annotations

import mmap
import struct
import time

FINISH = 4.0  # seconds that small files and short requests which were begun have beyond the rest

_page = mmap.mmap(-1, mmap.PAGESIZE)


def leave_at(when: float) -> None:
    """Let this process and its children give back at ``when`` what they have not finished; 0 = not at all."""
    struct.pack_into("d", _page, 0, when)


def told() -> bool:
    """Whether this worker was told to end: nothing more is begun."""
    return bool(struct.unpack_from("d", _page, 0)[0])


def leaving(after: float = 0.0) -> bool:
    """Whether that time has come, and ``after`` seconds more."""
    (when,) = struct.unpack_from("d", _page, 0)
    return bool(when) and time.monotonic() >= when + after
