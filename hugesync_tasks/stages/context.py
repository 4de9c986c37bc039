"""What every stage is given: both ends of one job, its rules, and how an entry's metadata are made from its source."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass, replace

from hugesync_tasks import identity
from hugesync_tasks.model import Entry, Head, Kind, Meta
from hugesync_tasks.spec import RULES_VERSION, Options, Spec
from hugesync_tasks.stores.base import ANY, Store
from hugesync_tasks.token import Token

KINDS = {Kind.FILE: "a file", Kind.LINK: "a symlink", Kind.DIR: "a folder", Kind.SPECIAL: "a special file"}


@dataclass(frozen=True)
class JobContext:
    """One job as a worker process sees it. ``source`` and ``dest`` are complete stacks (adapter and wrappers)."""

    spec: Spec
    source: Store
    dest: Store

    @property
    def options(self) -> Options:
        return self.spec.options

    @property
    def copies_parts(self) -> bool:
        """Whether any range can go from end to end without passing through a worker's memory."""
        return self.dest.limits.part_copy == "ranges" and self._copies

    @property
    def in_place(self) -> bool:
        """Whether a delta is written into the file that is there, instead of a new one being put in its place."""
        return self.options.inplace and self.dest.limits.in_place

    @property
    def server_copy(self) -> bool:
        """Whether whole objects of up to ``limits.max_copy`` are copied by the store itself. Between folders a batch is cheaper:
        it pays once for the durability of all its files."""
        return self.dest.limits.remote and self.dest.limits.part_copy != "none" and self._copies

    @property
    def between_folders(self) -> bool:
        """Whether no network is passed: bytes that move are counted, and kept to the job's bandwidth, as they are read."""
        return not self.source.limits.remote and not self.dest.limits.remote

    @property
    def _copies(self) -> bool:
        """A store that copies whatever the condition would overwrite a rival's version unseen: there everything passes through
        workers."""
        safe = self.dest.limits.copy_conditional or self.options.unsafe_no_conflict_check
        return safe and self.dest.can_copy_from(self.source)

    @property
    def whole_up_to(self) -> int:
        """Bytes of the largest file that goes in one piece. Above the delta's threshold a file goes in parts: their hashes make
        its signature."""
        if self.server_copy:
            return self.dest.limits.max_copy
        return min(self.options.part_size, self.options.delta_threshold)

    def source_key(self, source: Entry) -> str:
        """Where it lies at the source. Keys are those of the destination; a single file, and what a map names, may be called
        otherwise there."""
        if source.stored:
            return source.stored
        return self.spec.single_source if self.spec.single_file else source.key

    def expect(self, version: str | None) -> str | None:
        """The condition of a commit; unconditional only where the user said so."""
        return ANY if self.options.unsafe_no_conflict_check else version

    def close(self) -> None:
        self.source.close()
        self.dest.close()


def called(head: Head, source: Entry) -> Head:
    """What was just read of ``source``, under its names: a store tells of an object under the source's own key."""
    return replace(head, entry=replace(head.entry, key=source.key, stored=source.stored))


def describe(source: Head, expected: str | None, options: Options) -> Meta:
    """The metadata to write for an object read from ``source``, with the generation they imply.

    mtime: the source's own, else what it was stored with, else when the store wrote it.
    """
    entry, stored = source.entry, source.meta
    bare = Meta(
        content_type=stored.content_type or content_type(entry),
        link=entry.kind is Kind.LINK,
        storage_class=options.storage_class,
        sse_kms_key=options.sse_kms_key,
    )
    if options.metadata:
        mtime = entry.mtime_ns if entry.mtime_ns is not None else stored.mtime_ns
        bare = Meta(
            mtime_ns=mtime if mtime is not None else entry.modified_ns,
            mode=entry.mode if entry.mode is not None else stored.mode,
            uid=_first(entry.uid, stored.uid) if options.owner else None,
            gid=_first(entry.gid, stored.gid) if options.owner else None,
            content_type=bare.content_type,
            link=bare.link,
            owner=options.owner,
            storage_class=bare.storage_class,
            sse_kms_key=bare.sse_kms_key,
        )
    generation = identity.generation(identity.fingerprint(entry), expected, bare, RULES_VERSION)
    return Meta(**{**{f: getattr(bare, f) for f in bare.__slots__}, "generation": generation})


def folder_head(job: JobContext, folder: Entry, token: Token) -> Head:
    """A folder with what its source knows of it: a store's listing shows neither mode nor time, its object may hold both."""
    found = None if folder.modified_ns is None else job.source.head(folder.key, token)
    return Head(folder, found.meta if found is not None else Meta())


def finishing(job: JobContext, folder: Entry, token: Token) -> Meta:
    """What a folder gets when everything in it is there. Its object at a source store is asked only with
    ``--dir-metadata``: a request per folder."""
    options = job.options
    stored = folder_head(job, folder, token).meta if options.dir_metadata else Meta()
    return Meta(
        mtime_ns=_first(folder.mtime_ns, stored.mtime_ns) if options.metadata else None,
        mode=_first(folder.mode, stored.mode) if options.metadata else None,
        uid=_first(folder.uid, stored.uid) if options.owner else None,
        gid=_first(folder.gid, stored.gid) if options.owner else None,
        owner=options.owner,
    )


def content_type(entry: Entry) -> str | None:
    """By extension, as every uploader does; None for folders and unknown extensions."""
    return mimetypes.guess_type(entry.key, strict=False)[0] if entry.kind is Kind.FILE else None


def _first(a: int | None, b: int | None) -> int | None:
    return a if a is not None else b
