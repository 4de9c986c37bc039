"""System calls that ``os`` does not offer: openat2, renameat2, syncfs, fallocate's holes, FICLONERANGE.

Every function raises OSError as ``os`` does; where the platform lacks the call, with ENOSYS, so that the caller's
fallback for an old kernel and for another system is one and the same.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_LINUX = sys.platform == "linux"
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}.get(platform.machine()) if _LINUX else None
_OPENAT2 = 437 if _LINUX else None  # one number on every architecture since Linux 5.6

RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
_FALLOC_KEEP_SIZE, _FALLOC_PUNCH_HOLE = 1, 2
_FICLONERANGE = 0x4020940D

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _checked(result: int, name: bytes = b"") -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    return result


def _missing() -> OSError:
    return OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def openat2(dir_fd: int, path: bytes, flags: int, resolve: int) -> int:
    """Open ``path`` below ``dir_fd`` under ``resolve``: ELOOP at a symlink, EXDEV where it would leave."""
    if _OPENAT2 is None:
        raise _missing()
    how = _OpenHow(flags, 0, resolve)
    for _ in range(8):  # EAGAIN: a rename elsewhere raced with the walk
        try:
            return _checked(_libc.syscall(_OPENAT2, dir_fd, path, ctypes.byref(how), ctypes.sizeof(how)), path)
        except BlockingIOError:
            continue
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def renameat2(dir_fd: int, old: bytes, new: bytes, flags: int) -> None:
    """Rename within one folder. EINVAL or ENOSYS: this filesystem or system cannot honour ``flags``."""
    if _RENAMEAT2 is None:
        raise _missing()
    _checked(_libc.syscall(_RENAMEAT2, dir_fd, old, dir_fd, new, flags), new)


def syncfs(fd: int) -> None:
    """Make the whole filesystem of ``fd`` durable. ENOSYS also on kernels before 5.8, which hide write errors here."""
    if not _LINUX or _kernel() < (5, 8) or not hasattr(_libc, "syncfs"):
        raise _missing()
    _checked(_libc.syncfs(fd))


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Make a range read as zeros and take no space; the size stays."""
    if not _LINUX or not hasattr(_libc, "fallocate"):
        raise _missing()
    flags = _FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE
    _checked(_libc.fallocate(fd, flags, ctypes.c_int64(offset), ctypes.c_int64(length)))


def clone_range(source: int, start: int, length: int, dest: int, offset: int) -> None:
    """Share ``length`` bytes of ``source`` with ``dest`` (reflink); raises where the filesystem cannot."""
    if not _LINUX:
        raise _missing()
    import fcntl

    fcntl.ioctl(dest, _FICLONERANGE, struct.pack("=qQQQ", source, start, length, offset))


def _kernel() -> tuple[int, int]:
    major, minor = platform.release().split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)
