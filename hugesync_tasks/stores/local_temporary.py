"""The temporary file beside a small put's target.

Its name follows from the target's, so that the next put of the same file finds what a killed one left. It must never
be opened again for writing: a put that is believed dead may still be about to rename it, and would publish a part of
the new body. So a temporary that is in the way stays until the new put has been published from a name of its own, and is
then removed, if it still is the same.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

from hugesync_tasks.stores.local_names import PART, put_name

_ATTEMPTS = 16
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Temporary:
    """``stale``: (name, inode) of what earlier attempts left."""

    name: bytes
    stale: tuple[tuple[bytes, int], ...]


def create(folder: int, target: bytes, mode: int) -> tuple[Temporary, int]:
    """A new empty file for writing; the descriptor is the caller's. Raises OSError."""
    stale: list[tuple[bytes, int]] = []
    while True:
        name = _next(target, len(stale))
        try:
            return Temporary(name, tuple(stale)), os.open(name, _CREATE, mode, dir_fd=folder)
        except FileExistsError:
            stale.append((name, _inode(name, folder)))


def create_link(folder: int, target: bytes, body: bytes) -> Temporary:
    """A new symlink to ``body``, wherever that leads. Raises OSError."""
    stale: list[tuple[bytes, int]] = []
    while True:
        name = _next(target, len(stale))
        try:
            os.symlink(body, name, dir_fd=folder)
            return Temporary(name, tuple(stale))
        except FileExistsError:
            stale.append((name, _inode(name, folder)))


def remove_stale(folder: int, temporary: Temporary) -> None:
    for name, inode in temporary.stale:
        remove_same(folder, name, inode)


def remove_same(folder: int, name: bytes, inode: int) -> None:
    """Unlink ``name`` if it still is ``inode`` and not another attempt's."""
    if _inode(name, folder) == inode:
        remove(folder, name)


def remove(folder: int, name: bytes) -> None:
    """Unlink; what cannot be removed is for ``list_uploads`` to show."""
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        pass


def spare_name() -> bytes:
    return f".hugesync-{secrets.token_hex(8)}{PART}".encode()


def _next(target: bytes, attempt: int) -> bytes:
    return put_name(target, attempt) if attempt < _ATTEMPTS else spare_name()


def _inode(name: bytes, folder: int) -> int:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return -1
