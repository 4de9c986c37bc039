"""What a key names on a local filesystem, what there is ours, and how a stat becomes an Entry."""

from __future__ import annotations

import mimetypes
import os
import re
import stat
from hashlib import blake2b
from typing import NamedTuple

from hugesync_tasks.errors import BadName
from hugesync_tasks.model import LINK_SUFFIX, RESERVED_SEGMENT, Entry, Kind, Meta
from hugesync_tasks.names import decode_name, not_on_filesystem

MAX_PATH, MAX_SEGMENT = 4096, 255
PART, RANGES = ".part", ".ranges"
_TEMPORARY = re.compile(r"\.hugesync-[0-9a-f]{16}\.(part|ranges)")
_TOKEN = re.compile(r"\.hugesync-(token-[^/]+|job-[0-9a-f]{20})", re.DOTALL)


class Name(NamedTuple):
    """A key taken apart: ``path`` = ``parent/name`` in bytes relative to the root; ``kind`` as the key's form says."""

    key: str
    path: bytes
    parent: bytes
    name: bytes
    kind: Kind


def parse(key: str) -> Name:
    """Raises BadName for a key that no path below the root can carry."""
    if key == "" or (why := not_on_filesystem(key)) is not None:
        raise BadName(f"{key!r}: {why if key else 'bad name: it is empty'}", key)
    plain, kind = key, Kind.FILE
    if key.endswith("/"):
        plain, kind = key[:-1], Kind.DIR
    elif key.endswith(LINK_SUFFIX):
        plain, kind = key[: -len(LINK_SUFFIX)], Kind.LINK
    path = decode_name(plain)
    parent, _, name = path.rpartition(b"/")
    if name == b"":
        raise BadName(f"{key!r}: bad name: nothing but {LINK_SUFFIX}", key)
    if name in (b".", b".."):  # "..rclonelink" and "...rclonelink" name links that cannot be
        raise BadName(f"{key!r}: bad name: it has a segment . or ..", key)
    if len(path) > MAX_PATH - 1:
        raise BadName(f"{key!r}: bad name: longer than {MAX_PATH - 1} bytes", key)
    if any(len(segment) > MAX_SEGMENT for segment in path.split(b"/")):
        raise BadName(f"{key!r}: bad name: a segment is longer than {MAX_SEGMENT} bytes", key)
    return Name(key, path, parent, name, kind)


def is_ours(name: str, folder: bool) -> bool:
    """Whether a name found on disk has exactly the form of what we write: a listing passes over it in silence."""
    if folder:
        return name == RESERVED_SEGMENT
    return _TEMPORARY.fullmatch(name) is not None or _TOKEN.fullmatch(name) is not None


def is_temporary(name: str) -> bool:
    return _TEMPORARY.fullmatch(name) is not None


def ranges_of(id: str) -> str:
    """The name of the ``.ranges`` beside an upload's temporary."""
    return id.removesuffix(PART) + RANGES


def upload_name(name: bytes, generation: str) -> str:
    """The temporary of a multi-part write: every host finds the same. Of name and generation, because two files with
    equal bytes and times may have equal generations and lie in one folder."""
    digest = blake2b(name, digest_size=8, key=generation.encode()[:64], person=b"hugesync upload")
    return f".hugesync-{digest.hexdigest()}{PART}"


def put_name(name: bytes, attempt: int) -> bytes:
    """The temporary of a small put: a later put of the same file finds what a killed one left (``local_temporary``)."""
    digest = blake2b(name, digest_size=8, salt=attempt.to_bytes(2, "big"), person=b"hugesync put")
    return f".hugesync-{digest.hexdigest()}{PART}".encode()


def version_of(st: os.stat_result) -> str:
    """The version of what ``st`` shows. A folder's is its inode alone: its times change as children are written."""
    mode = st.st_mode & 0o170000
    if mode == 0o100000:
        return f"{st.st_ino}:{st.st_size}:{st.st_mtime_ns}:{st.st_ctime_ns}"
    if mode == 0o040000:
        return f"d:{st.st_ino}"
    if mode == 0o120000:
        return f"l:{st.st_ino}:{st.st_mtime_ns}:{st.st_ctime_ns}"
    return f"s:{st.st_ino}:{st.st_mtime_ns}:{st.st_ctime_ns}"


def same_content(a: os.stat_result, b: os.stat_result) -> bool:
    """Whether nothing but a rename, which changes the ctime, can lie between two stats."""
    return (a.st_ino, a.st_dev, a.st_size, a.st_mtime_ns) == (b.st_ino, b.st_dev, b.st_size, b.st_mtime_ns)


def entry_of(key: str, st: os.stat_result, empty: bool = False) -> Entry:
    """The entry of what ``st`` shows, under ``key`` whatever the key's form says."""
    mode = st.st_mode & 0o170000
    if mode == 0o100000:
        version = f"{st.st_ino}:{st.st_size}:{st.st_mtime_ns}:{st.st_ctime_ns}"
        bits = st.st_mode & 0o7777
        return Entry(key, Kind.FILE, st.st_size, st.st_mtime_ns, None, version, bits, st.st_uid, st.st_gid)
    if mode == 0o040000:
        bits = st.st_mode & 0o7777
        return Entry(key, Kind.DIR, 0, st.st_mtime_ns, None, version_of(st), bits, st.st_uid, st.st_gid, empty)
    if mode == 0o120000:
        return Entry(key, Kind.LINK, st.st_size, st.st_mtime_ns, None, version_of(st), None, st.st_uid, st.st_gid)
    note = {stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}.get(mode, "device")
    return Entry(key, Kind.SPECIAL, 0, st.st_mtime_ns, None, version_of(st), None, st.st_uid, st.st_gid, note=note)


def meta_of(entry: Entry) -> Meta:
    """What a file tells of itself, Content-Type by its extension."""
    guess = mimetypes.guess_type(entry.key, strict=False)[0] if entry.kind is Kind.FILE else None
    return Meta(entry.mtime_ns, entry.mode, entry.uid, entry.gid, guess, link=entry.kind is Kind.LINK)
