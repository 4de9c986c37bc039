"""The temporaries of ours that lie below a root, each as the upload it belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hugesync_tasks.names import encode_name
from hugesync_tasks.stores import local_ranges
from hugesync_tasks.stores.beneath import Beneath
from hugesync_tasks.stores.local_errors import translated
from hugesync_tasks.stores.local_names import PART, RANGES, is_temporary, ranges_of
from hugesync_tasks.token import Token


def temporaries(place: Beneath, token: Token) -> Iterator[tuple[str, str, int]]:
    """(key, id, last written at, ns) of every temporary of ours. One without ranges is a small put's, which lives for
    seconds; its key is its own path. A ``.ranges`` whose ``.part`` is gone is listed like an upload."""
    folders = [b""]
    while folders:
        token.check()
        path = folders.pop()
        found: dict[str, tuple[str, int]] = {}  # id → (name of the target, ns)
        try:
            fd = place.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as e:
            if path == b"":
                with translated(""):
                    raise e
            continue  # the listing reports it
        try:
            with os.scandir(fd) as children:
                for child in children:
                    below = os.fsencode(child.name)
                    if child.is_dir(follow_symlinks=False):
                        folders.append(path + b"/" + below if path else below)
                    elif is_temporary(child.name):
                        id = child.name.removesuffix(RANGES).removesuffix(PART) + PART
                        found[id] = _target(id, fd), _written_at(id, fd)
        finally:
            os.close(fd)
        parent = encode_name(path) + "/" if path else ""
        yield from ((parent + name, id, at) for id, (name, at) in sorted(found.items()))


def _target(id: str, folder: int) -> str:
    """The name of the file an upload is for, as its ranges tell; without them the temporary's own."""
    try:
        fd = os.open(ranges_of(id), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return id
    try:
        name = local_ranges.target_name(fd)
    except OSError:
        name = None
    finally:
        os.close(fd)
    return id if name is None else encode_name(name)


def _written_at(id: str, folder: int) -> int:
    for name in (id, ranges_of(id)):
        try:
            return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns
        except FileNotFoundError:
            continue
    return 0
