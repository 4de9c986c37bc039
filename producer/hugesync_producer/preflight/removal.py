"""Takes away what a preflight made: everything whose name begins with its tag."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from hugesync_tasks.errors import HugeSyncError, NeedsPerson, Unsupported
from hugesync_tasks.model import RESERVED_SEGMENT, Upload
from hugesync_tasks.spec import Location, Options
from hugesync_tasks.stores.base import ANY, Store
from hugesync_tasks.stores.opening import open_store
from hugesync_tasks.token import Token

MARKER = f"{RESERVED_SEGMENT}/preflight-"  # below it lies at a store whatever a preflight made there
ABANDONED = 3600.0  # seconds; no preflight lasts so long: what is older was left by one whose whole host went down
PATIENCE = 120.0  # seconds that cleaning may take
BETWEEN = 1.0  # seconds between two looks: what was on its way when the process died may arrive after the first
CLEAN_LOOKS = 2  # so many looks in a row must find nothing


def remove_all(location: Location, tag: str, again: bool, clock: Callable[[], float] = time.monotonic) -> bool:
    """Remove everything at ``location`` whose name or key begins with ``tag``. ``again``: look once more after a while, because
    a request of a dead process may still arrive. Whether nothing is left."""
    if location.scheme == "file":
        return _remove_files(location.local, tag)
    until, clean = clock() + PATIENCE, 0
    store = open_store(location, None, Options(retries=2), role="place")
    try:
        while clock() < until:
            try:
                found = sweep(store, tag, Token(deadline=until))
            except NeedsPerson:  # without the right to remove it no second look will
                return False
            except HugeSyncError:
                found, clean = True, 0
                time.sleep(BETWEEN)
                continue
            clean = 0 if found else clean + 1
            if clean >= (CLEAN_LOOKS if again else 1):
                return True
            if not found:
                time.sleep(BETWEEN)
        return False
    finally:
        store.close()


def sweep(store: Store, tag: str, token: Token) -> bool:
    """One look: end the uploads and delete the objects below ``tag``, and those of abandoned preflights; whether there were
    any. Raises StoreError where something stays."""
    found, cutoff = False, (time.time() - ABANDONED) * 1e9

    def goes(key: str, since: int | None) -> bool:
        return key.startswith(tag) or (key.startswith(MARKER) and since is not None and since < cutoff)

    for key, id, begun in _uploads(store, token):
        if goes(key, begun):
            found = found or store.limits.abort_frees  # elsewhere it stays listed, whatever we do
            store.abort(Upload(key, id, "", 0, 0), token)
    for entry in list(store.list_ours(token, MARKER)):
        if goes(entry.key, entry.modified_ns):
            found = True
            store.delete(entry.key, ANY, token)
    return found


def _uploads(store: Store, token: Token) -> Iterable[tuple[str, str, int]]:
    try:
        return list(store.list_uploads(token))
    except Unsupported:
        return []


def _remove_files(folder: str, tag: str) -> bool:
    left = False
    try:
        names = [n for n in os.listdir(folder) if n.startswith(tag)]
    except OSError:
        return True
    for name in names:
        try:
            os.unlink(os.path.join(folder, name))
        except FileNotFoundError:
            pass
        except OSError:
            left = True
    return not left
