"""OSError → StoreError: the one place where an errno gets its class."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from hugesync_tasks.errors import (
    AccessDenied,
    BadName,
    NeedsPerson,
    NoSpace,
    NotEmpty,
    NotFound,
    Permanent,
    StoreError,
    TooLarge,
    Transient,
)

_CLASSES: dict[int, tuple[type[StoreError], str]] = {
    errno.ENOENT: (NotFound, "not found"),
    errno.EACCES: (AccessDenied, "permission denied"),
    errno.EPERM: (AccessDenied, "operation not permitted"),
    errno.ENOSPC: (NoSpace, "no space left on the device"),
    errno.EDQUOT: (NoSpace, "disk quota exceeded"),
    errno.EROFS: (NeedsPerson, "the filesystem is read-only"),
    errno.EMFILE: (NeedsPerson, "too many open files (ulimit -n)"),
    errno.EFBIG: (TooLarge, "the file is larger than the filesystem or a limit allows"),
    errno.EIO: (Permanent, "input/output error"),
    errno.ENAMETOOLONG: (BadName, "the name is too long for the filesystem"),
    errno.EILSEQ: (BadName, "the filesystem cannot hold this name"),
    errno.ELOOP: (BadName, "would pass through a symlink"),
    errno.EXDEV: (BadName, "would leave the root"),
    errno.EISDIR: (Permanent, "a folder is in the way"),
    errno.ENOTDIR: (Permanent, "a file is in the way of a folder"),
    errno.ENOTEMPTY: (NotEmpty, "the folder is not empty"),
    errno.EEXIST: (Permanent, "something is in the way"),
    errno.ETIMEDOUT: (Transient, "timed out"),
    errno.ESTALE: (Transient, "stale file handle"),
    errno.EINTR: (Transient, "interrupted"),
    errno.EAGAIN: (Transient, "temporarily unavailable"),
    errno.ENFILE: (Transient, "the system has too many open files"),
    errno.ENOMEM: (Transient, "the system has no memory left"),
    errno.EBUSY: (Transient, "busy"),
}


def store_error(e: OSError, key: str) -> StoreError:
    """The StoreError that ``e`` means for ``key``; unknown numbers are Permanent and say what the system says."""
    kind, words = _CLASSES.get(e.errno or 0, (Permanent, os.strerror(e.errno) if e.errno else str(e)))
    return kind(f"{key}: {words}" if key else words, key)


@contextmanager
def translated(key: str) -> Iterator[None]:
    """OSErrors of the block leave it as StoreErrors about ``key``, the original as ``__cause__``."""
    try:
        yield
    except OSError as e:
        raise store_error(e, key) from e
