"""The local adapter: a folder and what lies below it, under the contract of ``base``.

Nothing here is traffic (``limits.remote`` is False): requests and bytes are not counted, except what the kernel copies
from file to file. Symlinks are never passed through, the root itself excepted; ``follow_links`` reads what links point
to and still never writes through one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace

from hugesync_tasks.errors import Permanent, Unsupported, VersionMismatch
from hugesync_tasks.model import Commit, Entry, Head, Kind, Meta, Part, Upload
from hugesync_tasks.stores import local_meta, local_temporary
from hugesync_tasks.stores.base import Limits, NoBlocks, PutBatch, Reader, Store
from hugesync_tasks.stores.beneath import Beneath
from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.stores.local_batch import LocalBatch
from hugesync_tasks.stores.local_commit import Publisher, compare
from hugesync_tasks.stores.local_copy import copy_range
from hugesync_tasks.stores.local_errors import translated
from hugesync_tasks.stores.local_keep import device_of, keep
from hugesync_tasks.stores.local_names import MAX_PATH, MAX_SEGMENT, parse
from hugesync_tasks.stores.local_read import FileReader, LinkReader, head_of, open_regular, read_link, unchanged
from hugesync_tasks.stores.local_sync import sync_folder
from hugesync_tasks.stores.local_upload import LocalUploads
from hugesync_tasks.stores.local_walk import Walk
from hugesync_tasks.stores.local_write import Written, creation_mode, publish, remove_file
from hugesync_tasks.token import Token

_MOST = 2**63 - 1
LOCAL = Limits(
    name="the local filesystem",
    min_part=1,
    max_part=_MOST,
    max_parts=1_000_000,
    max_size=_MOST,
    max_put=_MOST,
    max_copy=_MOST,
    max_key=MAX_PATH - 1,  # the kernel counts a NUL at the end
    max_segment=MAX_SEGMENT,
    listing_has_mtime=True,
    part_conditional=True,
    folders=True,
    file_and_folder=False,
    posix_metadata=True,
    delete_conditional=True,
    in_place=True,
    finish_every=512,
    remote=False,
)


class LocalStore(LocalUploads, NoBlocks):
    """The tree below ``root``, which need not exist before the first write.

    ``follow_links``: links are listed and read as what they point to. ``use_openat2``: None = where the kernel has it.
    """

    def __init__(
        self, root: bytes | str | os.PathLike[str], *, follow_links: bool = False, use_openat2: bool | None = None
    ) -> None:
        path = os.fsencode(root)
        self.limits = replace(LOCAL, case_sensitive=_case_sensitive(path))
        self.place = Beneath(path, use_openat2=use_openat2)
        self.reading = Beneath(path, follow=True) if follow_links else self.place
        self.publisher = Publisher(self._best_effort)

    def _best_effort(self) -> None:
        self.limits = replace(self.limits, conditional_commit="best effort")

    @property
    def endpoint(self) -> str:
        return ""

    @property
    def device(self) -> str:
        return device_of(self.place.root)

    def probe(self, token: Token, writes: bool = True) -> Limits:
        return self.limits

    @property
    def domain(self) -> str:
        return domain_of(self.place.root)

    def validate(self, token: Token) -> Findings:
        from hugesync_tasks.stores.local_validate import validate

        return validate(self, token)

    def hazards(self, token: Token) -> tuple[str, ...]:
        return ()

    def list_ours(self, token: Token, below: str = "") -> Iterator[Entry]:
        return iter(())  # an upload is known by its temporary; there are no intents

    def within(self, folder: str) -> LocalStore:
        root = os.path.join(self.place.root, parse(folder).path)
        return LocalStore(root, follow_links=self.reading is not self.place)

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        return Walk(self.reading, token, start_after, enter).entries()

    def head(self, key: str, token: Token, digest: bool = False) -> Head | None:
        token.check()
        return head_of(self.reading, parse(key))

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        token.check()
        name = parse(key)
        if name.kind is Kind.DIR:
            raise Permanent(f"{key}: a folder has no bytes", key)
        if name.kind is Kind.LINK:
            entry, target = read_link(self.place, name, version)
            end = len(target) if length is None else start + length
            if not 0 <= start <= end <= len(target):
                raise Permanent(f"{key}: the range {start}-{end} is not inside {len(target)} bytes", key)
            return LinkReader(entry, target[start:end], token)
        fd, st = open_regular(self.reading, name, version)
        return FileReader(fd, st, name, start, length, token)

    def batch(self) -> PutBatch:
        return LocalBatch(self.place, self.publisher)

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        batch = self.batch()
        try:
            batch.put(key, body, meta, expected, token)
            answer = batch.finish(token)[key]
        except BaseException:
            batch.discard()
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    def finish_folder(self, key: str, meta: Meta, token: Token) -> tuple[str, ...]:
        token.check()
        name = parse(key)
        if name.kind is not Kind.DIR:
            raise Permanent(f"{key}: not a folder", key)
        with translated(key), self.place.folder(name.path) as fd:
            return local_meta.apply(fd, meta)

    def delete(self, key: str, expected: str, token: Token) -> None:
        token.check()
        name = parse(key)
        with translated(key):
            try:
                with self.place.folder(name.parent) as folder:
                    if name.kind is not Kind.DIR:
                        remove_file(folder, name, expected)
                    elif (st := compare(folder, name.name, expected, key)) is not None:
                        if not stat.S_ISDIR(st.st_mode):
                            raise VersionMismatch(f"{key}: not a folder now", key)
                        os.rmdir(name.name, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError):
                return

    def keep(self, key: str, version: str, to: str, token: Token) -> str:
        token.check()
        return keep(self.place, key, version, to)

    def can_copy_from(self, source: Store) -> bool:
        return isinstance(source, LocalStore)

    def copy(
        self,
        source: Store,
        key: str,
        source_key: str,
        source_version: str,
        meta: Meta,
        expected: str | None,
        token: Token,
    ) -> Commit:
        """Shared or copied by the kernel, holes kept; durable on return."""
        token.check()
        if not isinstance(source, LocalStore):
            raise Unsupported(f"{key}: cannot copy from another kind of store", key)
        name, source_name = parse(key), parse(source_key)
        if source_name.kind is Kind.LINK:
            target = read_link(source.place, source_name, source_version)[1]
            token.copied_server_side(len(target))
            return self.put(key, target, replace(meta, link=True), expected, token)
        fd, st = open_regular(source.reading, source_name, source_version)
        made: set[bytes] = set()
        try:
            with translated(key):
                with self.place.folder(name.parent, made) as folder:
                    temporary, temp = local_temporary.create(folder, name.name, creation_mode(meta))
                    try:
                        os.ftruncate(temp, st.st_size)
                        copy_range(fd, 0, st.st_size, temp, 0, token, source_key, source is not self)
                        unchanged(fd, st, source_key)
                        notes = local_meta.apply(temp, meta)
                        os.fsync(temp)
                        written = os.fstat(temp)
                    except BaseException:
                        local_temporary.remove(folder, temporary.name)
                        raise
                    finally:
                        os.close(temp)
                commit = publish(self.place, self.publisher, Written(name, temporary, written, expected, notes))
                for path in sorted(made | {name.parent}):
                    sync_folder(self.place, path)
        finally:
            os.close(fd)
        return commit

    def copy_part(
        self, upload: Upload, number: int, source: Store, source_key: str, source_version: str, start: int, length: int,
        token: Token, source_id: str = "", checksum: int | None = None,
    ) -> Part:  # fmt: skip
        """The part's CRC64NVME is not known: its bytes pass through nobody."""
        if not isinstance(source, LocalStore):
            raise Unsupported(f"{upload.key}: cannot copy from another kind of store", upload.key)
        return self.copy_range_into(
            upload,
            number,
            source.reading,
            parse(source_key),
            source_version,
            start,
            length,
            token,
            source is not self,
        )

    def close(self) -> None:
        self.place.close()
        if self.reading is not self.place:
            self.reading.close()


def domain_of(root: bytes) -> str:
    """The mounted filesystem that ``root`` lies on, or would lie on: mount point and device."""
    path = os.path.realpath(root)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    device = os.stat(path).st_dev
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return f"file {os.fsdecode(path)} {device}"


def _case_sensitive(root: bytes) -> bool:
    """Whether names that differ by case are two files, told without writing: an existing name is looked up in the other
    case. Unknown (an empty or missing root) counts as what its own folder says."""
    try:
        with os.scandir(root) as children:
            for _, child in zip(range(100), children, strict=False):
                if child.name.swapcase() != child.name:
                    return not _same(os.path.join(root, child.name), os.path.join(root, child.name.swapcase()))
    except OSError:
        pass
    path = os.path.abspath(root)
    above, name = os.path.split(path)
    return name.swapcase() == name or not _same(path, os.path.join(above, name.swapcase()))


def _same(a: bytes, b: bytes) -> bool:
    try:
        return os.path.samestat(os.lstat(a), os.lstat(b))
    except OSError:
        return False
