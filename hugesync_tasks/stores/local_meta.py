"""Owner, mode and times onto an open file, folder or link; what is not permitted becomes a note, not a failure."""

from __future__ import annotations

import errno
import os
import time

from hugesync_tasks.model import Meta

_REFUSED = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def apply(fd: int, meta: Meta) -> tuple[str, ...]:
    """In this order: chown clears set-id bits that chmod must set, and both change no mtime. Raises OSError."""
    notes = []
    if meta.owner and not _chown(fd, meta):
        notes.append("chown not permitted")
    if meta.mode is not None:
        try:
            os.fchmod(fd, meta.mode & 0o7777)
        except OSError as e:
            if e.errno not in _REFUSED:
                raise
            notes.append("chmod not permitted")
    if meta.mtime_ns is not None:
        try:
            os.utime(fd, ns=(time.time_ns(), meta.mtime_ns))
        except OSError as e:
            if e.errno not in _REFUSED:
                raise
            notes.append("mtime not permitted")
    return tuple(notes)


def apply_to_link(folder: int, name: bytes, meta: Meta) -> tuple[str, ...]:
    """A link has no mode of its own. Raises OSError."""
    notes = []
    if meta.owner and (meta.uid is not None or meta.gid is not None):
        try:
            os.chown(name, _or_keep(meta.uid), _or_keep(meta.gid), dir_fd=folder, follow_symlinks=False)
        except OSError as e:
            if e.errno not in _REFUSED:
                raise
            notes.append("chown not permitted")
    if meta.mtime_ns is not None:
        try:
            os.utime(name, ns=(time.time_ns(), meta.mtime_ns), dir_fd=folder, follow_symlinks=False)
        except OSError as e:
            if e.errno not in _REFUSED:
                raise
            notes.append("mtime not permitted")
    return tuple(notes)


def _or_keep(number: int | None) -> int:
    return -1 if number is None else number


def _chown(fd: int, meta: Meta) -> bool:
    st = os.fstat(fd)
    permitted = True
    if meta.gid not in (None, st.st_gid):  # alone and first: one's own groups are permitted to everybody
        permitted = _try_chown(fd, -1, _or_keep(meta.gid))
    if meta.uid not in (None, st.st_uid):
        permitted = _try_chown(fd, _or_keep(meta.uid), -1) and permitted
    return permitted


def _try_chown(fd: int, uid: int, gid: int) -> bool:
    try:
        os.fchown(fd, uid, gid)
    except OSError as e:
        if e.errno not in _REFUSED:
            raise
        return False
    return True
