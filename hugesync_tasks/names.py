"""Names: bytes on a filesystem <-> the key form of design §3, and what no key may contain.

A key is valid UTF-8 and maps one to one to the bytes of a POSIX name, as rclone maps them (its S3 encoding
``Slash,InvalidUtf8,Dot``):

====================================  =============================================  ==================
on disk                               key                                            why
====================================  =============================================  ==================
valid UTF-8                           the same                                       the rule
a byte that is no UTF-8, e.g. FF      U+201B ``FF``: two upper-case hex digits       as rclone
n x U+201B before a quoted byte,      2n x U+201B                                    rclone's own quote
n x U+201B before two hex digits      2n x U+201B                                    rclone's own quote
U+201B before anything else           the same                                       see below
====================================  =============================================  ==================

UTF-8 is read strictly: the three bytes of a surrogate, an overlong form, and what lies above U+10FFFF are invalid
bytes, each quoted by itself. rclone takes a name on disk for one that it has quoted already, and so leaves a doubled
U+201B on disk doubled in the key; quoting U+201B where nothing is ambiguous would make ``rclone check`` see other
names than it does. Where rclone maps two names to one key (``U+201B U+201B FF`` and ``U+201B FF``) we keep two.

Some keys are not the encoding of any name (U+201B ``C3`` U+201B ``A9`` is an e-acute quoted for no reason): they are
*not canonical*, two of them could meet in one file, and so they must never be written to a filesystem.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hugesync_tasks.errors import BadName
from hugesync_tasks.model import LINK_SUFFIX, RESERVED_SEGMENT, Kind

QUOTE = "\u201b"
_ESCAPED = re.compile("[\udc80-\udcff]")  # Python's own mark for an undecodable byte
_AMBIGUOUS = re.compile(f"{QUOTE}+(?=[\udc80-\udcff]|[0-9A-Fa-f]{{2}})")
_QUOTED = re.compile(f"({QUOTE}+)([0-9A-Fa-f]{{2}})")
_CONFLICT = re.compile(r"\.conflict-\d{8}T\d{6}Z(?:-\d+)?(?:\.[^./]{0,16})?\Z", re.ASCII)
_BYTE = re.compile("[89A-F][0-9A-F]")


def encode_name(raw: bytes) -> str:
    """The key form of a name, or of a relative path (``/`` stays). Never raises; ``decode_name`` is its inverse."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        name = _AMBIGUOUS.sub(lambda m: m[0] * 2, raw.decode(errors="surrogateescape"))
        return _ESCAPED.sub(lambda m: f"{QUOTE}{ord(m[0]) - 0xDC00:02X}", name)
    return _AMBIGUOUS.sub(lambda m: m[0] * 2, name) if QUOTE in name else name


def decode_name(key: str) -> bytes:
    """The bytes that ``key`` names. Ask ``is_canonical`` before writing to them. Raises BadName for lone surrogates."""
    try:
        if QUOTE not in key:
            return key.encode()
        return _QUOTED.sub(_unquote, key).encode(errors="surrogateescape")
    except UnicodeEncodeError as e:
        raise BadName("the name is not valid Unicode", key.encode(errors="replace").decode()) from e


def _unquote(m: re.Match[str]) -> str:
    quotes, digits = m[1], m[2]
    half = QUOTE * (len(quotes) // 2)
    if len(quotes) % 2 == 0:
        return half + digits
    return half + chr(0xDC00 + int(digits, 16)) if _BYTE.fullmatch(digits) else m[0]


def is_canonical(key: str) -> bool:
    """Whether ``key`` is the key form of some name, so that no other key means the same file."""
    try:
        return encode_name(decode_name(key)) == key  # a lone surrogate comes back quoted
    except BadName:
        return False


def is_ours(key: str) -> bool:
    """Whether a path segment begins with ``.hugesync``: our own intents, catalogue and temporaries."""
    return RESERVED_SEGMENT in key and any(s.startswith(RESERVED_SEGMENT) for s in key.split("/"))


def reserved(key: str, kind: Kind) -> str | None:
    """Why a user's entry may not have this name, or None. ``.hssig`` is not reserved: the user's file wins."""
    if is_ours(key):
        return f"reserved name: a segment beginning with {RESERVED_SEGMENT} is HugeSync's own"
    if kind is Kind.FILE and key.endswith(LINK_SUFFIX):
        return f"reserved name: {LINK_SUFFIX} marks a symbolic link"
    return None


def not_on_filesystem(key: str) -> str | None:
    """Why no filesystem can hold ``key`` (of a file, link or folder) below a root, or None.

    What passes is relative and stays below the root by its text alone; symlinks on the way are the store's matter.
    """
    if "\0" in key:
        return "bad name: it contains a NUL"
    if key.startswith("/"):
        return "bad name: it begins with a slash"
    segments = (key[:-1] if key.endswith("/") else key).split("/")
    if "" in segments:
        return "bad name: it has an empty segment"
    if "." in segments or ".." in segments:
        return "bad name: it has a segment . or .."
    if not is_canonical(key):
        return "bad name: its quoting means the same file as another name"
    return None


def folded(key: str) -> str | None:
    """Why a store that takes keys for paths (``Limits.folds``) would keep the whole ``key`` under another, or None."""
    if "\\" in key:
        return "bad name: it contains a backslash"
    if "\0" in key:
        return "bad name: it contains a NUL"
    segments = key.removesuffix("/").split("/")
    if "" in segments:
        return "bad name: it has an empty segment"
    if "." in segments or ".." in segments:
        return "bad name: it has a segment . or .."
    return None


def conflict_key(key: str, when_ns: int, number: int = 1, max_segment: int = 255) -> str:
    """Beside ``key``, before its extension: ``NAME.conflict-20261125T231500Z.EXT``; from the second ``number`` on ``Z-2``. A name
    that would be too long (bytes) loses the end of its stem."""
    link = LINK_SUFFIX if key.endswith(LINK_SUFFIX) else ""
    folder, slash, name = key.removesuffix(LINK_SUFFIX).rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem.strip(".") or QUOTE in extension or len(extension) > 16:
        stem, dot, extension = name, "", ""
    when = datetime.fromtimestamp(max(0, when_ns) // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    tail = f".conflict-{when}{f'-{number}' if number > 1 else ''}{dot}{extension}"
    room = max_segment - len(tail.encode()) - len(link)
    stem = stem.encode()[: max(1, room)].decode(errors="ignore").rstrip(QUOTE) if len(stem.encode()) > room else stem
    return f"{folder}{slash}{stem}{tail}{link}"


def is_conflict_key(key: str) -> bool:
    """Whether ``key``, of a file or link, has the form that ``conflict_key`` gives."""
    return _CONFLICT.search(key.removesuffix(LINK_SUFFIX)) is not None


def display_name(key: str) -> str:
    """``key`` for people: a link without its suffix."""
    return key.removesuffix(LINK_SUFFIX)
