"""The process that takes away what a killed preflight left: it waits for the end of a pipe whose other end only the
measuring process holds.

    python -m hugesync_producer.preflight.watchdog        one JSON object per line on stdin

``{"begin": TAG, "location": {...}}``: things whose names begin with TAG may be made there from now on; told before the first of
them is. ``{"end": TAG}``: the teller has removed them itself. At the end of the pipe what was begun and not ended is removed.
Exit code 0: nothing is left; 1: something may be. No secret comes this way: profiles are names.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from hugesync_tasks.errors import HugeSyncError, NeedsPerson, Unsupported
from hugesync_tasks.model import Upload
from hugesync_tasks.spec import Location, Options
from hugesync_tasks.stores.base import ANY, Store
from hugesync_tasks.stores.opening import open_store
from hugesync_tasks.token import Token

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
    """One look: end the uploads and delete the objects below ``tag``; whether there were any. Raises StoreError where
    something stays."""
    found = False
    for key, id, _ in _uploads(store, token):
        if key.startswith(tag):
            found = found or store.limits.abort_frees  # elsewhere it stays listed, whatever we do
            store.abort(Upload(key, id, "", 0, 0), token)
    for entry in list(store.list_ours(token, tag)):
        if entry.key.startswith(tag):
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


def main() -> int:
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)  # who ends the preflight ends it; this one must come after
    begun: dict[str, Location] = {}
    for line in sys.stdin:
        with suppress(ValueError, KeyError, TypeError):  # a line that was cut off by the kill
            said = json.loads(line)
            if "begin" in said:
                begun[said["begin"]] = Location(**said["location"])
            else:
                begun.pop(said["end"], None)
    left = False
    for tag, location in begun.items():
        try:
            left = not remove_all(location, tag, again=True) or left
        except (HugeSyncError, OSError):
            left = True
    return int(left)


if __name__ == "__main__":
    sys.exit(main())
