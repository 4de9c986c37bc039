"""The frozen values that flow between stages. Each arrow of the pipeline is one type of this module.

scan ─Entry▶ plan ─Transfer▶ enqueue ─id▶ execute ─Receipt▶ commit ─Commit▶ verify ─Verdict▶ report
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hugesync_tasks.errors import FailureClass, HugeSyncError, StoreError

LINK_SUFFIX = ".rclonelink"
RESERVED_SEGMENT = ".hugesync"
SIDECAR_SUFFIX = ".hssig"


class Kind(StrEnum):
    """What a key names. Single letters, because they travel in every listing run and batch."""

    FILE = "f"
    LINK = "l"  # the key ends in ``.rclonelink`` on every store, local ones included
    DIR = "d"  # the key ends in ``/``
    SPECIAL = "s"  # FIFO, socket, device: never transferred, always reported
    MISSING = "m"  # named by whoever wants it, and not at the source: never transferred, counted apart, no failure
    ERROR = "e"  # could not be looked at; ``note`` says why; the run goes on, exit 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as a listing (or a HEAD) shows it.

    ``key`` is the key form of design §3: relative to the root, encoded as rclone encodes, so it is always valid UTF-8
    and Python's string order is the byte order every listing must have.
    """

    key: str
    kind: Kind
    size: int = 0  # bytes; of a link, the length of its target; of a folder, 0
    mtime_ns: int | None = None  # the source's own mtime where it is known; a store's listing has none
    modified_ns: int | None = None  # when the store last wrote the object (LastModified); None on local filesystems
    version: str = ""  # opaque: pins reads and commits. ETag without quotes; local: "ino:size:mtime_ns:ctime_ns"
    mode: int | None = None  # permission bits (0o7777), where known
    uid: int | None = None
    gid: int | None = None
    empty: bool = False  # of a folder: nothing selected lies in it
    note: str = ""  # of Kind.ERROR: the reason; of Kind.SPECIAL: "fifo", "socket", "device"
    stored: str = ""  # of a source that ``--map`` gives other names: its key there, where ``key`` is the destination's

    def wire(self) -> list[object]:
        """A compact JSON form; ``Entry.unwire`` is its inverse."""
        out = [
            self.key, str(self.kind), self.size, self.mtime_ns, self.modified_ns, self.version,
            self.mode, self.uid, self.gid, int(self.empty), self.note,
        ]  # fmt: skip
        return [*out, self.stored] if self.stored else out

    @classmethod
    def unwire(cls, w: list) -> Entry:  # type: ignore[type-arg]
        return cls(
            w[0], Kind(w[1]), w[2], w[3], w[4], w[5], w[6], w[7], w[8], bool(w[9]), w[10], w[11] if len(w) > 11 else ""
        )


@dataclass(frozen=True, slots=True)
class Meta:
    """What is written with an object or file besides its bytes. ``None`` = leave it out."""

    mtime_ns: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    content_type: str | None = None
    generation: str = ""  # 32 hex digits: our marker on everything we write (design §2, Identity)
    link: bool = False  # the body is a symlink's target (``hugesync-type: symlink``)
    sidecar: bool = False  # the body is a signature of ours (``hugesync-type: signature``)
    owner: bool = False  # apply uid and gid locally (``-a`` or ``-o -g``); what is not permitted is counted
    storage_class: str | None = None
    sse_kms_key: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """Everything a HEAD (or an opened local file) tells about one object."""

    entry: Entry
    meta: Meta
    # CRC64NVME of the whole object, where the store holds it as a FULL_OBJECT checksum, or we noted it with the object when the
    # store's own checksum had shown that these are the bytes
    crc64: int | None = None
    md5: str | None = None  # hex, only where the ETag is known to be the MD5 of the whole object
    version_id: str = ""  # in a bucket that keeps versions: the one that this is
    crc32c: int | None = None  # of the whole object, only where the store holds it


@dataclass(frozen=True, slots=True)
class Commit:
    """An object became visible under its final name."""

    key: str
    version: str
    size: int
    proven: str = ""  # what the store itself checked: "crc64nvme", "md5", "" (nothing beyond the size)
    notes: tuple[str, ...] = ()  # metadata that could not be applied: "chown not permitted"
    version_id: str = ""  # as ``Head``'s
    litter: bool = False  # something of the upload may be left, which ``abort`` takes away


@dataclass(frozen=True, slots=True)
class Upload:
    """One open multi-part write. A value, not a handle: any worker may continue it."""

    key: str
    id: str
    generation: str
    size: int
    part_size: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the destination has. ``crc64`` is the CRC64NVME of its bytes."""

    number: int  # from 1, without gaps
    size: int
    etag: str
    crc64: int | None = None

    def wire(self) -> list[object]:
        return [self.number, self.size, self.etag, self.crc64]

    @classmethod
    def unwire(cls, w: list) -> Part:  # type: ignore[type-arg]
        return cls(w[0], w[1], w[2], w[3])


@dataclass(frozen=True, slots=True)
class Transfer:
    """One planned entry: bring ``source`` to the same key at the destination, or to ``beside`` where another's version keeps
    that key.

    ``expected`` is the destination version it was planned against; ``None`` = nothing may be there. ``check``: the
    listing could not decide, so the worker HEADs and decides by the same pure function.
    """

    source: Entry
    expected: str | None = None
    dest: Entry | None = None  # what the listing showed there, if anything
    check: bool = False
    beside: str = ""

    @property
    def key(self) -> str:
        return self.source.key

    @property
    def target(self) -> str:
        """The key that is written."""
        return self.beside or self.key

    def wire(self) -> list[object]:
        return [
            self.source.wire(),
            self.expected,
            self.dest.wire() if self.dest else None,
            int(self.check),
            self.beside,
        ]

    @classmethod
    def unwire(cls, w: list) -> Transfer:  # type: ignore[type-arg]
        return cls(
            Entry.unwire(w[0]), w[1], Entry.unwire(w[2]) if w[2] else None, bool(w[3]), w[4] if len(w) > 4 else ""
        )


@dataclass(frozen=True, slots=True)
class Removal:
    """One key of the destination that is to be deleted, if it still is ``version``. ``absent``: and if the source has no such
    key now; not asked of what the selection leaves out."""

    key: str
    version: str
    size: int = 0
    absent: bool = True

    @property
    def counted(self) -> bool:
        """As a file: a folder is none, an object with bytes is one, whatever its key."""
        return self.size > 0 or not self.key.endswith("/")

    def wire(self) -> list[object]:
        return [self.key, self.version, self.size, int(self.absent)]

    @classmethod
    def unwire(cls, w: list) -> Removal:  # type: ignore[type-arg]
        return cls(w[0], w[1], w[2], bool(w[3]))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one planned entry. ``state``: done | skipped | failed; of a removal deleted | kept | failed; or a request
    to the coordinator: ``large`` (a checked file must be sent, in parts, against destination version ``found``) and
    ``replan`` (the source or the destination moved: look at both again)."""

    state: str
    # skipped: same | existing; kept: appeared | not_empty; failed: a FailureClass; replan: conflict | source_changed
    reason: str = ""
    message: str = ""
    how: str = "full"  # full | delta | server_copy
    verified: bool = False
    conflicts: int = 0
    found: str | None = None
    notes: tuple[str, ...] = ()

    def wire(self) -> list[object]:
        return [
            self.state, self.reason, self.message, self.how, int(self.verified), self.conflicts, self.found, list(self.notes),
        ]  # fmt: skip

    @classmethod
    def unwire(cls, w: list) -> Outcome:  # type: ignore[type-arg]
        return cls(w[0], w[1], w[2], w[3], bool(w[4]), w[5], w[6], tuple(w[7]))


def failed(error: Exception, **more: object) -> Outcome:
    """The outcome of a file that met ``error``; the class of the error decides the class of the failure."""
    kind = error.failure_class if isinstance(error, StoreError) else FailureClass.PERMANENT
    if isinstance(error, StoreError):
        message = error.of_file()
    else:
        message = (
            error.told() if isinstance(error, HugeSyncError) else f"internal error: {type(error).__name__}: {error}"
        )
    return Outcome("failed", str(kind), message, **more)  # type: ignore[arg-type]
