"""One small write: the body into a temporary beside its target, then the name; and folders, and removal."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from hugesync_tasks.errors import Permanent, VersionMismatch
from hugesync_tasks.model import Commit, Meta
from hugesync_tasks.stores import local_meta, local_temporary
from hugesync_tasks.stores.base import ABSENT
from hugesync_tasks.stores.beneath import Beneath
from hugesync_tasks.stores.local_commit import Publisher, compare
from hugesync_tasks.stores.local_copy import HOLE, write_at, write_sparse
from hugesync_tasks.stores.local_names import Name, same_content, version_of
from hugesync_tasks.stores.local_temporary import Temporary


@dataclass(frozen=True, slots=True)
class Written:
    """A temporary that holds the whole body and awaits its name."""

    name: Name
    temporary: Temporary
    st: os.stat_result
    expected: str | None
    notes: tuple[str, ...]


def write(place: Beneath, name: Name, body: bytes, meta: Meta, expected: str | None, made: set[bytes]) -> Written:
    """Body and metadata into a temporary beside the target. Nothing stays behind a failure. Raises OSError."""
    with place.folder(name.parent, made) as folder:
        if meta.link:
            temporary = local_temporary.create_link(folder, name.name, body)
            try:
                notes = local_meta.apply_to_link(folder, temporary.name, meta)
                st = os.stat(temporary.name, dir_fd=folder, follow_symlinks=False)
            except BaseException:
                local_temporary.remove(folder, temporary.name)
                raise
            return Written(name, temporary, st, expected, notes)
        temporary, fd = local_temporary.create(folder, name.name, creation_mode(meta))
        try:
            if len(body) < HOLE:
                write_at(fd, body, 0)
            else:
                os.ftruncate(fd, len(body))  # a hole can only be left inside the file
                write_sparse(fd, body, 0)
            notes = local_meta.apply(fd, meta)
            st = os.fstat(fd)
            closing, fd = fd, -1  # closed even where it fails; a second close could hit another thread's file
            os.close(closing)  # may report what a network filesystem could not keep
        except BaseException:
            if fd >= 0:
                os.close(fd)
            local_temporary.remove(folder, temporary.name)
            raise
    return Written(name, temporary, st, expected, notes)


def creation_mode(meta: Meta) -> int:
    """Never more open than the mode it will get; without one, as the umask says."""
    return 0o666 if meta.mode is None else 0o600


def publish(place: Beneath, publisher: Publisher, item: Written) -> Commit:
    """Give a written temporary its name; on failure it is removed. Raises StoreError, OSError."""
    name, temporary = item.name, item.temporary
    with place.folder(name.parent) as folder:
        try:
            st = publisher.publish(folder, temporary.name, name.name, item.expected, item.st.st_ino, name.key)
        except BaseException:
            local_temporary.remove_same(folder, temporary.name, item.st.st_ino)
            raise
        finally:
            local_temporary.remove_stale(folder, temporary)
    return Commit(name.key, version_of(st), item.st.st_size, notes=(*item.notes, *publisher.notes))


def make_folder(place: Beneath, name: Name, expected: str | None, made: set[bytes]) -> Commit:
    """A folder we can write into; one that is there is fine. What else is there goes only if it is ``expected``.
    Raises VersionMismatch, OSError."""
    with place.folder(name.parent, made) as folder:
        try:
            os.mkdir(name.name, dir_fd=folder)
        except FileExistsError:
            there = os.stat(name.name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(there.st_mode):
                if expected is ABSENT:
                    raise VersionMismatch(f"{name.key}: something is there now", name.key) from None
                remove_file(folder, name, expected)
                os.mkdir(name.name, dir_fd=folder)
        made.add(name.parent)
    with place.folder(name.path) as below:
        st = os.fstat(below)
        if st.st_mode & 0o700 != 0o700 and st.st_uid == os.geteuid():
            # read-only by an earlier finish_folder, or by the umask; the coming one gives the final mode
            os.chmod(below, stat.S_IMODE(st.st_mode) | 0o700)
    return Commit(name.key, version_of(st), 0)


def remove_file(folder: int, name: Name, expected: str) -> None:
    """Remove a file or link that is ``expected``; nothing there is success. It is taken aside before it is looked at for
    the last time, so that a version that arrives in between goes back and is not lost."""
    before = compare(folder, name.name, expected, name.key)
    if before is None:
        return
    if stat.S_ISDIR(before.st_mode):
        raise Permanent(f"{name.key}: a folder is in the way", name.key)
    aside = local_temporary.spare_name()
    try:
        os.rename(name.name, aside, src_dir_fd=folder, dst_dir_fd=folder)
    except FileNotFoundError:
        return
    if not same_content(os.stat(aside, dir_fd=folder, follow_symlinks=False), before):
        try:
            os.link(aside, name.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            pass  # a still newer one has taken its place
        os.unlink(aside, dir_fd=folder)
        raise VersionMismatch(f"{name.key}: changed while it was being removed", name.key)
    os.unlink(aside, dir_fd=folder)
