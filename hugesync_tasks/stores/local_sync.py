"""Durability: one syncfs per filesystem where many things must be durable, fsync where few.

A failed fsync is never repeated: the kernel has marked the pages clean, and a second one would succeed with the data
lost. The caller discards the temporary and the file is written anew.
"""

from __future__ import annotations

import errno
import os

from hugesync_tasks.stores import local_kernel as kernel
from hugesync_tasks.stores.beneath import Beneath

FEW = 8


def sync_filesystems(place: Beneath, folders: list[bytes]) -> bool:
    """Make durable all that was written on the filesystems of ``folders``; False where the system cannot. OSError."""
    for path in folders:
        fd = place.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            kernel.syncfs(fd)
        except OSError as e:
            if e.errno == errno.ENOSYS:
                return False
            raise
        finally:
            os.close(fd)
    return True


def sync_folder(place: Beneath, path: bytes) -> None:
    """Make the names in a folder durable. Raises OSError."""
    try:
        fd = place.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # removed meanwhile: its names with it
    except PermissionError:  # may be written to but not read
        kernel.syncfs(place.root_fd())
        return
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # network filesystems without the notion
            raise
    finally:
        os.close(fd)
