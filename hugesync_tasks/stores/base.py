"""The contract of a store, in prose. One suite (``tests/test_store_contract.py``) holds every adapter and wrapper to it.

A store is a root (a folder, or a bucket and prefix) and the keys below it. Adapters keep no state between calls but
their client: upload ids, part numbers and versions travel as arguments, so any worker may continue what another
began. Every call takes a ``Token``: the adapter counts its requests and body bytes on it, calls ``token.moved(n)`` as
bytes move and so ends within a chunk of a cancel or a passed deadline. Errors are those of ``errors.StoreError`` and
nothing else; adapters never retry (the wrapper does) and never swallow.

Lost replies. Any call may take effect and raise ``Transient``. What a repeat then does is said at each method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from hugesync_tasks.errors import Unsupported
from hugesync_tasks.model import Commit, Entry, Head, Meta, Part, Upload
from hugesync_tasks.stores.limits import GIB, KIB, MIB, TIB, Limits
from hugesync_tasks.token import Token

if TYPE_CHECKING:
    from hugesync_tasks.stores.findings import Findings

__all__ = [
    "ABSENT", "ANY", "Body", "GIB", "KIB", "MIB", "TIB",
    "Limits", "NotInPlace", "Parts", "PutBatch", "Reader", "Store", "Stretch", "NoBlocks", "filling",
]  # fmt: skip

ABSENT = None  # ``expected=ABSENT``: the call succeeds only where nothing is
ANY = "*"  # ``expected=ANY``: unconditional; only where the user chose ``--unsafe-no-conflict-check``

Body = bytes | memoryview  # a view may be of memory that is lent: nobody keeps it after the call
Parts = list[Part]  # inside a Store, ``list`` is its method
Stretch = tuple[int, int]  # offset and length in bytes


def filling(reader: Reader, room: memoryview) -> Iterator[int] | None:
    """Read all of ``reader`` straight into ``room``, which must be exactly as long: how many bytes came, piece by piece, under the
    rules of iteration. None where it gives only chunks. A reader that can has the method ``fill``, with the same arguments."""
    fill = getattr(reader, "fill", None)
    return None if fill is None else cast("Iterator[int] | None", fill(room))


@runtime_checkable
class Reader(Protocol):
    """An opened, pinned object: iterate for chunks (``bytes``, at most 1 MiB each), then close (context manager).

    ``head`` is known before the first chunk. Iteration raises SourceChanged where the bytes could no longer be those
    of the pinned version (locally: fstat before and after the last byte; short or long reads), never ends early in
    silence: the chunks' lengths add up to what was asked for or an error is raised.
    """

    head: Head

    def __iter__(self) -> Iterator[bytes]: ...
    def __enter__(self) -> Reader: ...
    def __exit__(self, *exc: object) -> None: ...


class PutBatch(Protocol):
    """Many small puts whose durability is paid for once.

    ``put`` may be called from several threads. Nothing counts as done before ``finish``, which makes all puts durable
    (locally: data written to temporaries, one ``syncfs``, renames, folders synced; elsewhere a put is durable at once)
    and says per key what became of it: a Commit or the StoreError. One failure fails one key. ``discard`` forgets what
    is not yet visible and leaves nothing behind.
    """

    def put(self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token) -> None: ...
    def finish(self, token: Token) -> dict[str, Commit | Exception]: ...
    def discard(self) -> None: ...


class NotInPlace:
    """For adapters whose objects are only ever replaced whole."""

    def put_pieces(self, upload: Upload, number: int, pieces: Sequence[tuple[int, Body]], token: Token) -> Part:
        raise Unsupported("this store writes nothing in place", upload.key)

    def overwrite(
        self, upload: Upload, kept: Sequence[Stretch], meta: Meta, expected: str, crc64: int, token: Token
    ) -> Commit:
        raise Unsupported("this store writes nothing in place", upload.key)


class NoBlocks:
    """For adapters whose objects cannot be taken apart again."""

    def blocks(self, key: str, version: str, token: Token) -> Sequence[Stretch]:
        return ()


class Store(Protocol):
    """One root. Thread-safe; not to be shared across ``fork``."""

    limits: Limits

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        """All keys > ``start_after`` in strictly increasing byte order, whatever the server's own order.

        ``enter(dir_key)`` false: that folder is neither read nor yielded, nor anything below it. What is ours
        (segments beginning ``.hugesync``) is never yielded. A folder or file that cannot be looked at is one entry of
        Kind.ERROR and the listing goes on; a root that cannot be listed raises (NotFound, AccessDenied, ...).
        ``start_after`` inside a folder still yields that folder's later children, but not the folder itself.
        """
        ...

    def within(self, folder: str) -> Store:
        """The same store with ``folder`` (ends in ``/``, a folder that is no link) as its root, to be listed and then closed."""
        ...

    def head(self, key: str, token: Token, digest: bool = False) -> Head | None:
        """The object now, or None where nothing is. ``digest``: with the digest that the store holds of it, where it holds
        one; that may cost more CPU. Locally a key without ``.rclonelink`` that names a symlink, or a
        file key that names a folder, is returned with that kind, so that callers see what is in the way."""
        ...

    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        """Read ``length`` bytes from ``start``, pinned to ``version`` ("" = whatever is there).

        Raises NotFound; VersionMismatch when it is another version now (also: no longer a regular file). A link's bytes
        are its target. A range past the end is Permanent. ``overhead``: count as overhead (intents, sidecars).
        """
        ...

    def batch(self) -> PutBatch:
        """A new batch of small puts."""
        ...

    def put(
        self, key: str, body: bytes, meta: Meta, expected: str | None, token: Token, overhead: bool = False
    ) -> Commit:
        """Write a whole small object, durable on return; a key ending in ``/`` is a folder (body empty), a ``meta.link``
        body is a symlink's target. ``expected``: the version that must be there, ABSENT, or ANY.

        Raises VersionMismatch when something else is there, leaving it untouched. Never leaves a part of the body
        visible. After a lost reply a repeat raises VersionMismatch if the first took effect: the caller then HEADs and
        compares ``meta.generation``.
        """
        ...

    def finish_folder(self, key: str, meta: Meta, token: Token) -> tuple[str, ...]:
        """Give a folder its final mode, owner and mtime (``limits.folders``; elsewhere put the folder object again).
        Returns notes on what was not permitted. Idempotent."""
        ...

    def delete(self, key: str, expected: str, token: Token) -> None:
        """Remove one object if it still is ``expected`` (ANY: whatever is there). Gone already is success.
        A folder key removes the empty folder; raises NotEmpty where it is not."""
        ...

    def keep(self, key: str, version: str, to: str, token: Token) -> str:
        """Keep ``version`` of an object below another key too, before it is overwritten or deleted; the version that is the
        condition of that: locally a second link changes it. Where ``to`` holds another one already, beside that under a
        name of its own. Folders and signatures of ours are not kept. Idempotent. Raises NotFound; VersionMismatch when
        it is another version now."""
        ...

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
        """Copy within the service, at most ``limits.max_copy`` bytes; nothing passes through the caller. Only where
        ``can_copy_from(source)``. Conditional like ``put``, pinned to ``source_version``."""
        ...

    def can_copy_from(self, source: Store) -> bool:
        """Whether copy and copy_part work from ``source`` without bytes through the caller."""
        ...

    def create_upload(self, key: str, size: int, part_size: int, meta: Meta, token: Token) -> Upload:
        """Begin a multi-part write; nothing is visible under ``key``. Where the store is local the id follows from
        ``meta.generation`` and a repeat finds the same; elsewhere every call opens a new one."""
        ...

    def put_part(self, upload: Upload, number: int, body: Body, token: Token) -> Part:
        """Write part ``number`` (offset ``(number-1) * part_size``), with its CRC64NVME sent and checked where the store
        can. Durable on return. A repeat with the same bytes replaces it. Raises NoSuchUpload."""
        ...

    def copy_part(
        self, upload: Upload, number: int, source: Store, source_key: str, source_version: str, start: int, length: int,
        token: Token, source_id: str = "", checksum: int | None = None,
    ) -> Part:  # fmt: skip
        """Like put_part, the bytes copied within the service from a range of another object (which ranges says
        ``limits.part_copy``), pinned to its version, and to its ``source_id`` (``Head.version_id``) where the store gave
        one. ``checksum``: by ``limits.copy_proof``, of the bytes as they ought to be; raises Corrupted where they are others."""
        ...

    def blocks(self, key: str, version: str, token: Token) -> Sequence[Stretch]:
        """The pieces that an object was put together from by us and that ``copy_part`` takes over as they are, without
        copying, in order. Empty where it has none, or is another version."""
        ...

    def list_parts(self, upload: Upload, token: Token) -> Parts:
        """Parts the store holds of this upload. Raises NoSuchUpload."""
        ...

    def complete(
        self, upload: Upload, parts: Parts, meta: Meta, expected: str | None, crc64: int | None, token: Token
    ) -> Commit:
        """Make the upload visible as ``upload.key`` in one step, conditional like ``put``. The parts must cover
        ``upload.size`` exactly. ``crc64``: of the whole object, proven by the store where ``limits.full_crc64``.

        Raises VersionMismatch (the upload stays and may be aborted), NoSuchUpload, Corrupted. After a lost reply a
        repeat raises NoSuchUpload or VersionMismatch: HEAD and compare the generation. May take minutes: 900 s.
        """
        ...

    def put_pieces(self, upload: Upload, number: int, pieces: Sequence[tuple[int, Body]], token: Token) -> Part:
        """Write of part ``number`` only some pieces (offset in the file, bytes), for ``overwrite``; durable on return. Nobody
        lists such a part: it is proven with the whole. Only where ``limits.in_place``, else Unsupported."""
        ...

    def overwrite(
        self, upload: Upload, kept: Sequence[Stretch], meta: Meta, expected: str, crc64: int, token: Token
    ) -> Commit:
        """Like ``complete``, into the file that is there instead of in its place: all but the ``kept`` stretches (in order)
        comes from the upload. Not atomic once begun, but begun only when file and upload together have ``crc64``, and a
        repeat after any interruption goes on. Only where ``limits.in_place``, else Unsupported."""
        ...

    def abort(self, upload: Upload, token: Token) -> None:
        """Forget an upload and all its parts. Gone already is success. Never touches ``upload.key``."""
        ...

    def list_uploads(self, token: Token) -> Iterator[tuple[str, str, int]]:
        """(key, upload id, begun at, ns) of every open upload below the root."""
        ...

    @property
    def endpoint(self) -> str:
        """Where requests go, as a URL; "" for what is mounted. Two stores of one endpoint may hold the same object."""
        ...

    @property
    def domain(self) -> str:
        """What the answers of ``validate`` hold for and a cache of them is named by: one bucket of an endpoint, one mounted
        filesystem. Asks nobody."""
        ...

    def list_ours(self, token: Token, below: str = "") -> Iterator[Entry]:
        """The objects of ours (segments beginning ``.hugesync``) whose keys begin with ``below``, in the server's order: what
        ``list`` keeps to itself. An adapter without intents may yield nothing."""
        ...

    def held(self, upload: Upload, token: Token) -> int | None:
        """Bytes that an open upload takes at the store, None where nobody can say. Of ``upload`` only key and id count.
        Raises NoSuchUpload."""
        ...

    def hazards(self, token: Token) -> tuple[str, ...]:
        """What the store itself will soon do to uploads or objects below this root (lifecycle rules), a sentence each. One
        request. Raises StoreError where that is not told."""
        ...

    def validate(self, token: Token) -> Findings:
        """What this place really honours, found out by WRITING below ``.hugesync/validate-<random>/``, which is removed
        afterwards even when a question fails or ``token`` is cancelled; ``Findings.left`` is what could not be.
        Raises NeedsPerson where nothing may be written, Transient where nobody answers."""
        ...

    @property
    def device(self) -> str:
        """What a mounted root is, looked up now: what it lies on, which changes when another filesystem is mounted there or
        none is, a space, and which folder there it is. "" for what is not mounted, and where no root is."""
        ...

    def probe(self, token: Token, writes: bool = True) -> Limits:
        """What this endpoint really honours, measured without leaving anything; the caller sets it as ``limits``.
        ``writes`` false (a source): nothing that needs the right to write is asked, or believed. Raises Transient where
        nobody answers, NeedsPerson where a person must act."""
        ...

    def close(self) -> None: ...
