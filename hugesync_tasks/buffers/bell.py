"""Waking another process that waits: a 32-bit word of shared memory, by futex on Linux, by looking again elsewhere.

A ring is a hint and may be lost (its ringer was killed); whoever waits looks again by itself after a while. Nobody owns a bell,
so no death can leave one locked: a semaphore or a condition of ``multiprocessing`` would be.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
import time
from collections.abc import Callable

_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine()) if sys.platform == "linux" else None
_WAIT, _WAKE, _ALL = 0, 1, 0x7FFFFFFF  # not the private ones: the waiter is another process
_LOOK = 0.005  # seconds between two looks where there is no futex

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Bell:
    """The word at ``offset`` of ``memory``, which must stay mapped."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._word = ctypes.c_uint32.from_buffer(memory, offset)

    @property
    def rung(self) -> int:
        """How often it was rung: to be read before looking whether there is a reason to wait."""
        return self._word.value

    def ring(self) -> None:
        """Wake all that wait here. Two rings at once may count as one, which wakes as well."""
        self._word.value += 1
        if _FUTEX is not None:
            _libc.syscall(_FUTEX, ctypes.byref(self._word), _WAKE, _ALL, None, None, 0)

    def wait(self, rung: int, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Until it was rung again since ``rung`` was read, at most ``seconds``; may return for no reason."""
        if _FUTEX is not None:
            whole = int(seconds)
            spec = _Timespec(whole, int((seconds - whole) * 1e9))
            _libc.syscall(_FUTEX, ctypes.byref(self._word), _WAIT, ctypes.c_uint32(rung), ctypes.byref(spec), None, 0)
            return
        until = time.monotonic() + seconds
        while self._word.value == rung and time.monotonic() < until:
            sleep(_LOOK)
