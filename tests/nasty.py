"""Trees that nobody would call clean: names, links, folders and times that break careless programs."""

from __future__ import annotations

import os
import random
from pathlib import Path

# every store can hold these, SeaweedFS included
NAMES: tuple[bytes, ...] = (
    b" leading space", b"trailing space ", b"  ", b"new\nline", b"tab\there", b"-n", b"--delete", b"-", b"'quoted'",
    b'"double"', b"`id`", b"$(id)", b"${HOME}", b"a;b|c&d", b"per%cent", b"per%2Fcent", b"%00", b"plus+plus", b"hash#tag",
    b"question?mark", b"star*", b"[brackets]", b"{braces}", b"tilde~", b"~", b".hidden", b"..two dots", b"...", b"dot.",
    b"equals=sign", b"am&amp;persand", b"<xml>", b"colon:colon", b"at@sign", b"comma,comma", b"caret^", b"a!b",
    "\u00e9 composed".encode(), "e\u0301 decomposed".encode(), "\U0001f600 emoji".encode(), "\u202e right to left".encode(),
    "\uff5e fullwidth".encode(), "\u65e5\u672c\u8a9e".encode(), "\u200b".encode(), "\ufeffbom".encode(),
    b"bad \xff\xfe utf-8", b"\xc3\x28", b"latin \xe9", b"\xed\xa0\x80 surrogate",
    b"x" * 255, "\U0001f600".encode() * 63 + b"abc", b"NUL", b"con.txt", b"Thumbs.db", b"file.rclonelink.not",
)  # fmt: skip

# only the strict fake and filesystems: SeaweedFS turns a backslash into a slash, XML holds no such control character,
# bytes that are no UTF-8 are five times as long in a key, and rclone cannot open what has a U+201B of its own
STRICT_NAMES: tuple[bytes, ...] = (
    b"back\\slash",
    b"\x01\x02",
    b"bell\a",
    b"esc\x1b[31m",
    b"del\x7f",
    b"\xff" * 80,
    "\u201b quote alone".encode(),
    "\u201bFF quoted \u201b\u201bFE".encode(),
)


def plant(root: Path, strict: bool = False, seed: int = 1) -> None:
    """Nasty files, folders and links below ``root``, times with nanoseconds, all modes a user could still read."""
    chance = random.Random(seed)
    top = os.fsencode(root)
    os.makedirs(top, exist_ok=True)
    modes = (0o644, 0o600, 0o755, 0o444, 0o640, 0o777)
    for n, name in enumerate(NAMES + (STRICT_NAMES if strict else ())):
        _file(os.path.join(top, name), chance.randbytes(n * 37 % 300), modes[n % len(modes)], chance)
        folder = os.path.join(top, b"folders", name)
        os.makedirs(folder)
        if n % 3:
            _file(os.path.join(folder, name), chance.randbytes(n), 0o644, chance)
    for n, order in enumerate(
        (b"a-b", b"a.txt", b"a/x", b"a0", b"b!/q", b"b/q", "\uff5e".encode(), "\U0001f600".encode())
    ):
        path = os.path.join(top, b"order", order)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _file(path, b"%d" % n, 0o644, chance)
    _links(os.path.join(top, b"links"), chance)
    _folders(os.path.join(top, b"odd folders"), chance)
    deep = os.path.join(top, *[b"deep%d" % n for n in range(20)])
    os.makedirs(deep)
    _file(os.path.join(deep, b"leaf"), b"leaf", 0o644, chance)
    _file(os.path.join(top, b"empty file"), b"", 0o644, chance)
    _file(os.path.join(top, b"before 1970"), b"old", 0o644, chance, -86_400_123_456_789)
    _file(os.path.join(top, b"after 2106"), b"new", 0o644, chance, 4_300_000_000_000_000_001)


def _links(folder: bytes, chance: random.Random) -> None:
    os.makedirs(folder)
    _file(os.path.join(folder, b"target"), b"pointed at", 0o644, chance)
    targets = {
        b"to file": b"target", b"to folder": b"../odd folders", b"dangling": b"nowhere at all", b"absolute": b"/etc/passwd",
        b"up and out": b"../../../../../../etc", b"to itself": b"to itself", b"to bytes": b"bad \xff\xfe utf-8",
        b"spaces and\nnewline": b"new\nline ", b"l\xffink": b"target", b"long": b"y" * 1000,
    }  # fmt: skip
    for name, target in targets.items():
        path = os.path.join(folder, name)
        os.symlink(target, path)
        os.utime(path, ns=(0, _time(chance)), follow_symlinks=False)


def _folders(folder: bytes, chance: random.Random) -> None:
    for name in (b"empty", b".hidden/empty", b"one/two/three", b"read-only/nested/read-only"):
        os.makedirs(os.path.join(folder, name))
    _file(os.path.join(folder, b"read-only/nested/file"), b"inside", 0o444, chance)
    _file(os.path.join(folder, b"read-only/nested/read-only/file"), b"inside", 0o444, chance)
    for name, mode in (
        (b"read-only/nested/read-only", 0o555), (b"read-only/nested", 0o555), (b"read-only", 0o555), (b"empty", 0o711),
        (b"one/two", 0o700),
    ):  # fmt: skip
        os.utime(os.path.join(folder, name), ns=(0, _time(chance)))
        os.chmod(os.path.join(folder, name), mode)


def _file(path: bytes, body: bytes, mode: int, chance: random.Random, mtime_ns: int | None = None) -> None:
    with open(path, "wb") as file:
        file.write(body)
    os.utime(path, ns=(0, _time(chance) if mtime_ns is None else mtime_ns))
    os.chmod(path, mode)


def _time(chance: random.Random) -> int:
    return chance.randrange(10**18, 1_700_000_000 * 10**9)


def writable(root: Path) -> None:
    """Let everything below be removed again by whoever made it."""
    for folder, _, _ in os.walk(os.fsencode(root), topdown=True):
        os.chmod(folder, 0o700)
