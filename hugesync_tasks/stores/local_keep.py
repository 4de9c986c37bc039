"""``Store.keep`` on a filesystem: a second link to the file, so that nothing is copied and nothing can be lost on the way.

A link changes the file's ctime, which is part of its version: the answer is the version after it. What was linked is looked
at afterwards: where somebody else's file had taken the name, its link goes and the caller hears of a mismatch.
"""

from __future__ import annotations

import os
import stat

from hugesync_tasks import identity
from hugesync_tasks.errors import Permanent, VersionMismatch
from hugesync_tasks.stores.beneath import Beneath
from hugesync_tasks.stores.keeping import places
from hugesync_tasks.stores.local_errors import translated
from hugesync_tasks.stores.local_names import Name, parse, same_content, version_of
from hugesync_tasks.stores.local_sync import sync_folder


def device_of(root: bytes) -> str:
    """The filesystem that ``root`` lies on, by its id where it has one (which survives a reboot; a device's number need not),
    and after a space the folder's inode; "" where nothing is there."""
    try:
        st, filesystem = os.stat(root), os.statvfs(root).f_fsid
    except OSError:
        return ""
    return f"{f'fs-{filesystem:x}' if filesystem else f'dev-{st.st_dev:x}'} {st.st_ino}"


def keep(place: Beneath, key: str, version: str, to: str) -> str:
    """See ``Store.keep``. Raises StoreError; where the filesystem has no links nothing is kept, and so nothing overwritten."""
    name = parse(key)
    with translated(key), place.folder(name.parent) as folder:
        st = os.stat(name.name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(st.st_mode):
            return version
        ours = version_of(st) == version
        if not ours and _but_ctime(version_of(st)) != _but_ctime(version):
            raise VersionMismatch(f"{key}: another version is there now", key)
        for target in places(to, identity.backup_mark(key, version)):
            linked = _linked(place, folder, name, st, parse(target), ours)
            if linked is not None:
                return version_of(linked)
    if not ours:  # not an earlier attempt's link, which would have changed the ctime as well
        raise VersionMismatch(f"{key}: another version is there now", key)
    raise Permanent(f"{key}: cannot keep it: {to} is taken", key)


def _linked(
    place: Beneath, folder: int, name: Name, st: os.stat_result, target: Name, make: bool
) -> os.stat_result | None:
    """The stat of the link, None where ``target`` is another file (or, without ``make``, nothing)."""
    made: set[bytes] = set()
    with place.folder(target.parent, made) as below:
        try:
            if make:
                os.link(name.name, target.name, src_dir_fd=folder, dst_dir_fd=below, follow_symlinks=False)
            now = os.stat(target.name, dir_fd=below, follow_symlinks=False)
        except FileExistsError:
            now, make = os.stat(target.name, dir_fd=below, follow_symlinks=False), False
        except FileNotFoundError:
            return None
        if not same_content(now, st):
            if make:
                os.unlink(target.name, dir_fd=below)
                raise VersionMismatch(f"{name.key}: changed while it was being kept", name.key)
            return None
    for path in sorted(made | {target.parent}):  # it must outlive a power cut that the new version outlives
        sync_folder(place, path)
    return now


def _but_ctime(version: str) -> str:
    return version.rpartition(":")[0]
