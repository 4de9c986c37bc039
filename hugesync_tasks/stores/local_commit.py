"""The commit rule: a temporary gets its final name only if what is there is what the write was planned against.

new       renameat2(RENAME_NOREPLACE)
replace   compare, renameat2(RENAME_EXCHANGE), look at what came out; not the expected → exchange back, VersionMismatch
any       rename

The ctime cannot be compared after the exchange, which changes it; so it is compared just before, and inode, size and
mtime after. Where the filesystem cannot do either flag, link() and a compared rename stand in ("best effort").
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from hugesync_tasks.errors import Permanent, Transient, VersionMismatch
from hugesync_tasks.stores import local_kernel as kernel
from hugesync_tasks.stores.base import ABSENT, ANY
from hugesync_tasks.stores.local_names import same_content, version_of

BEST_EFFORT = "conflict guard was best effort: the filesystem has no conditional rename"
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class Publisher:
    """``on_best_effort`` is called once, when the filesystem turns out not to support conditional renames."""

    def __init__(self, on_best_effort: Callable[[], None]) -> None:
        self.enforced = True
        self._on_best_effort = on_best_effort

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of a commit: the summary says where the guard was weaker than promised."""
        return () if self.enforced else (BEST_EFFORT,)

    def publish(
        self, folder: int, temp: bytes, name: bytes, expected: str | None, ours: int, key: str
    ) -> os.stat_result:
        """Give ``temp`` (of inode ``ours``) the name ``name`` in ``folder``; the stat of what is visible then.

        Raises VersionMismatch, leaving the rival's file as it is and the temporary in place; Transient where the
        temporary is no longer ours; OSError.
        """
        try:
            if os.stat(temp, dir_fd=folder, follow_symlinks=False).st_ino != ours:
                raise FileNotFoundError(errno.ENOENT, "it has another inode now", temp)
            if expected is ABSENT:
                self._new(folder, temp, name, key)
            elif expected == ANY:
                os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                self._replace(folder, temp, name, expected, ours, key)
        except FileNotFoundError as e:
            raise Transient(f"{key}: another attempt removed the temporary file", key) from e
        st = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if st.st_ino != ours:
            raise VersionMismatch(f"{key}: replaced right after it was written", key)
        return st

    def _new(self, folder: int, temp: bytes, name: bytes, key: str) -> None:
        try:
            if not self._conditional(folder, temp, name, kernel.RENAME_NOREPLACE):
                os.link(temp, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                os.unlink(temp, dir_fd=folder)
        except FileExistsError as e:
            raise VersionMismatch(f"{key}: something is there now", key) from e

    def _replace(self, folder: int, temp: bytes, name: bytes, expected: str, ours: int, key: str) -> None:
        before = compare(folder, name, expected, key)
        if before is None:
            raise VersionMismatch(f"{key}: it is gone", key)
        if stat.S_ISDIR(before.st_mode):
            raise Permanent(f"{key}: a folder is in the way", key)
        try:
            if not self._conditional(folder, temp, name, kernel.RENAME_EXCHANGE):
                os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
                return
        except FileNotFoundError as e:
            raise VersionMismatch(f"{key}: it is gone", key) from e
        out = os.stat(temp, dir_fd=folder, follow_symlinks=False)
        if not same_content(out, before):
            _exchange_back(folder, temp, name, ours)
            raise VersionMismatch(f"{key}: changed while it was being replaced", key)
        os.unlink(temp, dir_fd=folder)

    def _conditional(self, folder: int, temp: bytes, name: bytes, flags: int) -> bool:
        if self.enforced:
            try:
                kernel.renameat2(folder, temp, name, flags)
                return True
            except OSError as e:
                if e.errno not in _UNSUPPORTED:
                    raise
            self.enforced = False
            self._on_best_effort()
        return False


def compare(folder: int, name: bytes, expected: str, key: str) -> os.stat_result | None:
    """The stat of ``name`` if it is ``expected`` (or ANY), None where nothing is. Raises VersionMismatch."""
    try:
        st = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if expected not in (ANY, version_of(st)):
        raise VersionMismatch(f"{key}: another version is there now", key)
    return st


def _exchange_back(folder: int, temp: bytes, name: bytes, ours: int) -> None:
    """Put the rival's file back under its name. If what comes out is not ours, the rival has written once more in the
    meantime: then that, the newest, goes back, and the temporary is what it replaced."""
    try:
        kernel.renameat2(folder, temp, name, kernel.RENAME_EXCHANGE)
    except FileNotFoundError:
        kernel.renameat2(folder, temp, name, kernel.RENAME_NOREPLACE)  # deleted meanwhile: lose nothing
        return
    if os.stat(temp, dir_fd=folder, follow_symlinks=False).st_ino != ours:
        kernel.renameat2(folder, temp, name, kernel.RENAME_EXCHANGE)
