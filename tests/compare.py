"""What a tree or a bucket holds, and how two of them differ. Written without a line of the product: it judges it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Facts:
    """One name. ``content``: of a file its sha256, of a link its target, of a folder nothing."""

    kind: str  # file | link | folder | special | signature
    content: bytes | str = ""
    size: int = 0
    mtime_ns: int | None = None
    mode: int | None = None


Tree = dict[bytes, Facts]


def tree(root: str | Path, folders: str = "all") -> Tree:
    """Everything below ``root``, by relative name. ``folders``: all (with mode and mtime) | names | empty (names) | none."""
    found: Tree = {}
    top = os.fsencode(root)
    for folder, dirs, files in os.walk(top, onerror=_raise):
        below = os.path.relpath(folder, top)
        for name in dirs + files:
            path = os.path.join(folder, name)
            facts = _facts(path, folders)
            if facts is not None:
                found[os.path.normpath(os.path.join(below, name))] = facts
    return found


def _facts(path: bytes, folders: str) -> Facts | None:
    st = os.lstat(path)
    mode = stat.S_IMODE(st.st_mode)
    if stat.S_ISLNK(st.st_mode):
        return Facts("link", os.readlink(path), 0, st.st_mtime_ns)  # a link has no mode of its own
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as file:
            return Facts("file", hashlib.file_digest(file, "sha256").hexdigest(), st.st_size, st.st_mtime_ns, mode)
    if not stat.S_ISDIR(st.st_mode):
        return Facts("special")
    if folders == "none" or (folders == "empty" and os.listdir(path)):
        return None
    return Facts("folder", mtime_ns=st.st_mtime_ns, mode=mode) if folders == "all" else Facts("folder")


def bucket(client: Any, name: str, prefix: str = "") -> Tree:
    """Every object below ``prefix``, read whole; names as their key says, ``NAME.rclonelink`` as the link NAME. A signature
    that the product keeps beside an object is no file; one without its object is shown, as is a user's ``*.hssig``."""
    keys = [
        (o["Key"])
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=prefix)
        for o in page.get("Contents", ())
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda key: _object(client, name, key), keys))
    return {
        _named(key.removeprefix(prefix), facts): facts
        for key, facts in zip(keys, found)
        if facts.kind != "signature" or key.removesuffix(".hssig") not in keys
    }


def _object(client: Any, name: str, key: str) -> Facts:
    got = client.get_object(Bucket=name, Key=key)
    body, meta = got["Body"].read(), got["Metadata"]
    mtime = int(Decimal(meta["mtime"]) * 10**9) if "mtime" in meta else None
    if key.endswith(".rclonelink"):
        assert meta["hugesync-type"] == "symlink", (key, meta)
        return Facts("link", body, 0, mtime)
    if key.endswith("/"):
        assert body == b"", key
        return Facts("folder")
    if key.endswith(".hssig") and meta.get("hugesync-type") == "signature":
        return Facts("signature")
    mode = int(meta["hugesync-mode"], 8) if "hugesync-mode" in meta else None
    return Facts("file", hashlib.sha256(body).hexdigest(), len(body), mtime, mode)


def _named(key: str, facts: Facts) -> bytes:
    return decoded(key.removesuffix("/").removesuffix(".rclonelink") if facts.kind == "link" else key.removesuffix("/"))


def decoded(key: str) -> bytes:
    """The bytes of a name from its key, by rclone's rule: U+201B and two hex digits stand for a byte that is no UTF-8."""
    return re.sub("\u201b([89A-F][0-9A-F])", lambda m: chr(0xDC00 + int(m[1], 16)), key).encode(
        errors="surrogateescape"
    )


def differences(a: Tree, b: Tree, ignoring: Iterable[str] = ()) -> list[str]:
    """A line per difference, the first 20. ``ignoring``: names of fields that need not agree (mtime_ns, mode)."""
    lines = []
    for name in sorted(a.keys() | b.keys()):
        one, other = a.get(name), b.get(name)
        if one is None or other is None:
            lines.append(f"{name!r}: only in the {'second' if one is None else 'first'}")
            continue
        lines += [
            f"{name!r}: {f} {getattr(one, f)!r} is not {getattr(other, f)!r}"
            for f in ("kind", "content", "size", "mtime_ns", "mode")
            if f not in ignoring and getattr(one, f) != getattr(other, f)
        ]
    return lines[:20]


def _raise(error: OSError) -> None:
    raise error
