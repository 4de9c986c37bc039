"""SOURCE and DEST as the user writes them -> ``Location``; and whether two locations overlap."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from urllib.parse import unquote_to_bytes

from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Location

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_NEARLY = re.compile(r"(s3|gs|az|file):/?([^/].*)", re.DOTALL | re.IGNORECASE)
_OTHER_HOST = re.compile(
    r"[^/:@\s]+@[^/:@\s]+:.*|[^/:@\s]+:/.*", re.DOTALL
)  # host:name alone is too often a file's name
_BUCKETS = {  # what names a bucket or container, by scheme
    "s3": ("bucket", re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")),
    "gs": ("bucket", re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")),
    "az": ("container", re.compile(r"\$root|\$web|[a-z0-9](-?[a-z0-9]){2,62}")),
}
_KNOWN = "a path, file://, s3://, gs:// or az://"


class Overlap(StrEnum):
    """How the first location lies to the second."""

    NONE = "apart from"
    EQUAL = "equal to"
    INSIDE = "inside"
    CONTAINS = "containing"


def parse_location(text: str, profile: str = "") -> Location:
    """A path, ``file://PATH``, or ``s3://``, ``gs://`` or ``az://`` and ``BUCKET[/PREFIX]``. Local paths become absolute, symlinks kept; ``root`` and
    ``path`` are the producer's to fill in. A prefix becomes "" or ends in "/" (whether the user wrote that slash says
    ``names_folder``). A store's is taken literally, ``file://`` is percent-decoded. Raises UsageError."""
    if not text:
        raise UsageError("an empty location: give a path, file://PATH or s3://, gs:// or az:// and BUCKET/PREFIX")
    if "\0" in text:
        raise UsageError(f"{text!r} contains a NUL")
    match = _SCHEME.fullmatch(text)
    if match is None:
        _refuse_mistyped(text)
        return _local(text, text, profile)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost") or not slash:
            raise UsageError(f"{text!r}: file:// needs an absolute path, as in file:///data/x")
        return _local(os.fsdecode(unquote_to_bytes("/" + path)), text, profile)
    if scheme in _BUCKETS:
        return _object_store(scheme, rest, text, profile)
    raise UsageError(f"{text!r}: {scheme}:// is not known; use {_KNOWN}")


def _refuse_mistyped(text: str) -> None:
    """What was hardly meant as a path: it would quietly become a folder called ``s3:`` or ``host:`` here."""
    if nearly := _NEARLY.fullmatch(text):
        slashes = ":///" if nearly[1].lower() == "file" else "://"
        raise UsageError(
            f"{text!r} looks like {nearly[1]}{slashes}{nearly[2]} with a slash missing; if it is a path, write ./{text}"
        )
    if _OTHER_HOST.fullmatch(text):
        raise UsageError(f"{text!r} looks like a path on another host, which is not known here; a path is ./{text}")


def _local(path: str, text: str, profile: str) -> Location:
    if "\0" in path:
        raise UsageError(f"{text!r} contains a NUL")
    if profile:
        raise UsageError(f"a profile ({profile}) was given for {text!r}, which is a local path")
    return Location("file", local=os.path.normpath("/" + os.path.abspath(path).lstrip("/")))


def _object_store(scheme: str, rest: str, text: str, profile: str) -> Location:
    bucket, _, prefix = rest.partition("/")
    called, possible = _BUCKETS[scheme]
    if not possible.fullmatch(bucket):
        raise UsageError(
            f"{text!r}: {bucket!r} cannot be a {called}'s name" if bucket else f"{text!r} names no {called}"
        )
    try:
        prefix.encode()
    except UnicodeEncodeError as e:
        raise UsageError(f"{text!r}: the prefix is not valid UTF-8") from e
    prefix = prefix.removesuffix("/")
    if prefix.startswith("/") or prefix.endswith("/") or "//" in prefix or (prefix == "" and rest.count("/") > 1):
        raise UsageError(
            f"{text!r}: two slashes in a row, or one at the beginning, make an empty folder name in the prefix"
        )
    return Location(scheme, bucket=bucket, prefix=prefix + "/" if prefix else "", profile=profile)


def names_folder(text: str) -> bool:
    """Whether the user's text can only mean a folder or prefix: a single file goes *into* it."""
    match = _SCHEME.fullmatch(text)
    if match is not None and match[1].lower() != "file":
        return text.endswith("/") or "/" not in match[2]
    return text.endswith("/") or os.path.basename(text) in (".", "..")


def overlap(a: Location, b: Location) -> Overlap:
    """How ``a`` lies to ``b``. Local paths are compared as they really are (symlinks, bind mounts, letter case: looked up
    now); stores by endpoint, bucket and prefix, where ``endpoint`` must have been filled in on both or neither."""
    if a.scheme != b.scheme:
        return Overlap.NONE
    if a.scheme == "file":
        return _local_overlap(a.local, b.local)
    if (a.endpoint, a.bucket) != (b.endpoint, b.bucket):
        return Overlap.NONE
    if a.prefix == b.prefix:
        return Overlap.EQUAL
    if a.prefix.startswith(b.prefix):
        return Overlap.INSIDE
    return Overlap.CONTAINS if b.prefix.startswith(a.prefix) else Overlap.NONE


def lock_name(location: Location) -> str:
    """What a lock on this place is taken by. A local path as it really is (looked up now): a symlink to a folder is no second
    place. A store's as it is called, whatever the endpoint: two endpoints may be two ways to one bucket, and to refuse
    is the safer error."""
    return os.path.realpath(location.local) if location.scheme == "file" else location.display()


def _local_overlap(a: str, b: str) -> Overlap:
    a, b = os.path.realpath(a), os.path.realpath(b)
    if a == b or _identity(a) == _identity(b) is not None:
        return Overlap.EQUAL
    if _is_below(a, b):
        return Overlap.INSIDE
    return Overlap.CONTAINS if _is_below(b, a) else Overlap.NONE


def _is_below(inner: str, outer: str) -> bool:
    """Whether a parent of ``inner`` is ``outer``, by name or by inode."""
    wanted = _identity(outer)
    while (parent := os.path.dirname(inner)) != inner:
        if parent == outer or _identity(parent) == wanted is not None:
            return True
        inner = parent
    return False


def _identity(path: str) -> tuple[int, int] | None:
    try:
        st = os.stat(path)
    except OSError:
        return None
    return st.st_dev, st.st_ino
