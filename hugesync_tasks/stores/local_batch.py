"""Small puts whose durability is paid for once: write all temporaries, one syncfs, renames, folders synced."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from threading import Lock

from hugesync_tasks.errors import StoreError, Transient
from hugesync_tasks.model import Commit, Kind, Meta
from hugesync_tasks.stores import local_temporary
from hugesync_tasks.stores.beneath import Beneath
from hugesync_tasks.stores.local_commit import Publisher
from hugesync_tasks.stores.local_errors import store_error, translated
from hugesync_tasks.stores.local_names import parse
from hugesync_tasks.stores.local_sync import FEW, sync_filesystems, sync_folder
from hugesync_tasks.stores.local_write import Written, make_folder, publish, write
from hugesync_tasks.token import Token


class LocalBatch:
    def __init__(self, place: Beneath, publisher: Publisher) -> None:
        self._place, self._publisher = place, publisher
        self._lock = Lock()
        self._written: list[Written] = []
        self._folders: set[bytes] = set()  # that have new children
        self._answers: dict[str, Commit | Exception] = {}

    def put(self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token) -> None:
        """A folder is made at once: it holds nothing that could be half there."""
        token.check()
        try:
            name = parse(key)
            made: set[bytes] = set()
            with translated(key):
                if name.kind is Kind.DIR:
                    commit = make_folder(self._place, name, expected, made)
                    with self._lock:
                        self._answers[key] = commit
                        self._folders |= made
                    return
                written = write(self._place, name, body, meta, expected, made)
        except StoreError as e:
            with self._lock:
                self._answers[key] = e
            return
        with self._lock:
            self._written.append(written)
            self._folders |= made
            self._folders.add(name.parent)
        token.moved(len(body))

    def finish(self, token: Token) -> dict[str, Commit | Exception]:
        token.check()
        with self._lock:
            written, self._written = self._written, []
            folders, self._folders = self._folders, set()
            answers, self._answers = self._answers, {}
        todo = self._make_durable(written, answers)[::-1]
        try:
            while todo:
                token.check()
                answers[todo[-1].name.key] = self._publish(todo[-1])
                todo.pop()
        finally:
            self._remove(todo)
        self._sync_folders(sorted(folders), answers)
        return answers

    def discard(self) -> None:
        with self._lock:
            written, self._written = self._written, []
            self._folders, self._answers = set(), {}
        self._remove(written)

    def _make_durable(self, written: list[Written], answers: dict[str, Commit | Exception]) -> list[Written]:
        """The items whose bytes are on disk. A failed sync fails its items; it is never repeated."""
        if len(written) > FEW:
            try:
                if sync_filesystems(self._place, list({w.st.st_dev: w.name.parent for w in written}.values())):
                    return written
            except OSError as e:
                answers.update((w.name.key, store_error(e, w.name.key)) for w in written)
                self._remove(written)
                return []
        durable = []
        for item in written:
            try:
                self._fsync(item)
                durable.append(item)
            except FileNotFoundError as e:
                answers[item.name.key] = taken = Transient(
                    f"{item.name.key}: another attempt removed the temporary file", item.name.key
                )
                taken.__cause__ = e
            except OSError as e:
                answers[item.name.key] = store_error(e, item.name.key)
                self._remove([item])
        return durable

    def _fsync(self, item: Written) -> None:
        if stat.S_ISLNK(item.st.st_mode):
            return  # a link's target lies in its folder's or its own inode, written with the folder
        path = item.name.parent + b"/" + item.temporary.name if item.name.parent else item.temporary.name
        fd = self._place.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _publish(self, item: Written) -> Commit | Exception:
        try:
            return publish(self._place, self._publisher, item)
        except StoreError as e:
            return e
        except OSError as e:
            return store_error(e, item.name.key)

    def _remove(self, items: Iterable[Written]) -> None:
        for item in items:
            try:
                with self._place.folder(item.name.parent) as folder:
                    local_temporary.remove_same(folder, item.temporary.name, item.st.st_ino)
            except OSError:
                pass  # the folder is gone, and the temporary with it

    def _sync_folders(self, folders: list[bytes], answers: dict[str, Commit | Exception]) -> None:
        """What cannot be made durable is visible, perhaps not for ever: its answer becomes the error."""
        at_once = self._one_per_filesystem(folders) if len(folders) > FEW else []
        try:
            if at_once and sync_filesystems(self._place, at_once):
                return
        except OSError as e:
            _fail_below(b"", e, answers)
            return
        for path in folders:
            try:
                sync_folder(self._place, path)
            except OSError as e:
                _fail_below(path, e, answers)

    def _one_per_filesystem(self, folders: list[bytes]) -> list[bytes]:
        """Nothing where a folder is not what it was: then each is synced, and fails, by itself."""
        devices: dict[int, bytes] = {}
        try:
            for path in folders:
                with self._place.folder(path) as fd:
                    devices[os.fstat(fd).st_dev] = path
        except OSError:
            return []
        return list(devices.values())


def _fail_below(folder: bytes, e: OSError, answers: dict[str, Commit | Exception]) -> None:
    for key, answer in answers.items():
        if isinstance(answer, Commit) and (folder == b"" or parse(key).path.startswith(folder + b"/")):
            answers[key] = store_error(e, key)
