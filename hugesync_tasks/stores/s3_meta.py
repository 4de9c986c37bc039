"""What we write with an object besides its bytes, as S3 carries it: user metadata to ``Meta`` and back.

``mtime`` is rclone's key and form (decimal seconds), so that rclone sees our times and we see its.
"""

from __future__ import annotations

from collections.abc import Mapping

from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind, Meta

MTIME, MODE, UID, GID = "mtime", "hugesync-mode", "hugesync-uid", "hugesync-gid"
GENERATION, TYPE = "hugesync-generation", "hugesync-type"
SYMLINK, SIGNATURE = "symlink", "signature"


def user_metadata(meta: Meta) -> dict[str, str]:
    """The ``x-amz-meta-*`` pairs of ``meta``; what is None or empty is left out."""
    pairs = {
        MTIME: seconds(meta.mtime_ns) if meta.mtime_ns is not None else "",
        MODE: format(meta.mode, "o") if meta.mode is not None else "",
        UID: str(meta.uid) if meta.uid is not None else "",
        GID: str(meta.gid) if meta.gid is not None else "",
        GENERATION: meta.generation,
        TYPE: SYMLINK if meta.link else SIGNATURE if meta.sidecar else "",
    }
    return {name: value for name, value in pairs.items() if value}


def meta_of(pairs: Mapping[str, str], content_type: str | None = None, storage_class: str | None = None) -> Meta:
    """The inverse. Metadata is written by anyone: what cannot be read counts as absent, never as an error."""
    low = {name.lower(): value for name, value in pairs.items()}
    return Meta(
        mtime_ns=nanoseconds(low.get(MTIME, "")),
        mode=_number(low.get(MODE, ""), 8, 0o7777),
        uid=_number(low.get(UID, ""), 10, 2**32 - 1),
        gid=_number(low.get(GID, ""), 10, 2**32 - 1),
        content_type=content_type,
        generation=low.get(GENERATION, ""),
        link=low.get(TYPE) == SYMLINK,
        sidecar=low.get(TYPE) == SIGNATURE,
        storage_class=storage_class,
    )


def seconds(ns: int) -> str:
    """Nanoseconds as exact decimal seconds with nine digits; before 1970 the sign leads, as rclone has it."""
    whole, rest = divmod(abs(ns), 10**9)
    return f"{'-' if ns < 0 else ''}{whole}.{rest:09d}"


def nanoseconds(text: str) -> int | None:
    """The inverse of ``seconds``, for any number of decimals; None where it is no time."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    whole, _, rest = digits.partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 12) or (
        rest and not (rest.isascii() and rest.isdigit())
    ):
        return None
    return sign * (int(whole) * 10**9 + int(rest[:9].ljust(9, "0")))


def kind_of(key: str, size: int) -> tuple[Kind, str]:
    """What a key names, and the note of one that cannot be brought to a filesystem."""
    if key.endswith(LINK_SUFFIX):
        return Kind.LINK, ""
    if key.endswith("/"):
        if size:
            return Kind.ERROR, f"the key names a folder, but the object holds {size} bytes"
        return Kind.DIR, ""
    return Kind.FILE, ""


def entry_of(key: str, size: int, modified_ns: int | None, etag: str, meta: Meta | None = None) -> Entry:
    """The entry of one object; a listing knows no ``meta``."""
    kind, note = kind_of(key, size)
    if meta is None:
        return Entry(key, kind, size, None, modified_ns, etag, note=note)
    return Entry(key, kind, size, meta.mtime_ns, modified_ns, etag, meta.mode, meta.uid, meta.gid, note=note)


def unquoted(etag: str | None) -> str:
    return (etag or "").strip('"')


def version_id_of(text: str | None) -> str:
    """The id of an object's version, "" where it has none of its own: ``null`` is what was written without versions, and what is
    written next takes its place."""
    return text if text and text != "null" else ""


def quoted(version: str) -> str:
    return f'"{version}"'


def _number(text: str, base: int, most: int) -> int | None:
    try:
        value = int(text, base)
    except ValueError:
        return None
    return value if 0 <= value <= most else None
