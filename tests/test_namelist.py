"""Lists of names and manifests: what is read of them, what is refused, and what a job keeps."""

from __future__ import annotations

import base64
import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_producer.namelist import NameList, made
from hugesync_producer.namelist_read import key_of, names_in, read_list
from hugesync_tasks.errors import UsageError
from scale import scaled


def read(content: bytes, nul: bool = False) -> list[str]:
    return list(names_in(io.BytesIO(content), nul))


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b"a", "a"),
        (b"a/b", "a/b"),
        (b"/a/b", "a/b"),
        (b"//a", "a"),
        (b"./a", "a"),
        (b"././a/b", "a/b"),
        (b"a//b", "a/b"),
        (b"a/", "a/"),
        (b"a//", "a/"),
        (b"a/.", "a/"),
        (b".", ""),
        (b"./", "/"),
        (b"/", "/"),
        (b" a ", " a "),
        (b".a", ".a"),
        (b"a.", "a."),
        (b"...", "..."),
        (b"caf\xe9", "caf\u201bE9"),
        ("café".encode(), "café"),
    ],
)
def test_a_name_is_a_path_below_the_source(raw: bytes, key: str) -> None:
    assert key_of(raw) == key


@pytest.mark.parametrize(
    ("raw", "why"),
    [(b"..", r"part \.\."), (b"a/../b", r"part \.\."), (b"a/./b", "in the middle"), (b"a\0b", "files-from0")],
)
def test_what_cannot_be_meant_is_refused_with_its_line(raw: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=f"line 3: .*{why}"):
        read(b"x\n\n" + raw + b"\ny\n")


def test_lines_end_in_any_way_and_comments_are_none() -> None:
    assert read(b"a\r\n#no\n;no\n\n./b\rc #\n d;\n#") == ["a", "b", "c #", " d;"]
    assert read(b"") == read(b"\n\n# only\n") == []
    assert read(b"last") == ["last"]


def test_names_that_end_in_nul_may_hold_anything_else() -> None:
    assert read(b"a\nb\0#c\0\0;d\0./e/\0{x\0last", nul=True) == ["a\nb", "#c", ";d", "e/", "{x", "last"]
    with pytest.raises(UsageError, match=r"line 2: .*part"):
        read(b"a\0../b\0", nul=True)


def test_a_line_that_is_no_name_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(UsageError, match="line 2 is longer than any name"):
        read(b"a\n" + b"x" * (200 << 10))


@given(st.lists(st.binary(min_size=1, max_size=12).filter(lambda b: b"\0" not in b)))
def test_any_bytes_are_names_or_refused(names: list[bytes]) -> None:
    try:
        found = read(b"\0".join(names), nul=True)
    except UsageError:
        return
    assert all(key and ".." not in key.split("/") for key in found)


# manifests


def entry(path: str, kind: str, state: str, **more: object) -> dict[str, object]:
    return {"path": path, "type": kind, "size": 1, "mtime": "1.000000000", "state": state, **more}


def manifest(*entries: dict[str, object], end: object = None) -> bytes:
    lines = [{"hugesync_manifest": 1, "source": "/s", "dest": None, "created": "now"}, *entries]
    if end is None:
        lines.append({"hugesync_manifest_end": 1, "entries": len(entries)})
    elif end:
        lines.append({"hugesync_manifest_end": 1, "entries": end})
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


ENTRIES = [
    entry("done", "file", "done"),
    entry("missing", "file", "missing", digest="crc64nvme:0123456789abcdef"),
    entry("differs\n#", "file", "differs"),
    entry("extra", "file", "extra"),
    entry("listed.rclonelink", "link", "listed", mtime=None),
    entry("folder/", "dir", "missing"),
    entry("fifo", "special", "listed"),
    entry("caf\u201bE9", "file", "missing", path_bytes=base64.b64encode(b"caf\xe9").decode()),
    entry("dark/", "unknown", "unknown", error="permission denied"),
    entry("dark", "unknown", "unknown"),
]
WANTED = ["missing", "differs\n#", "listed.rclonelink", "folder", "fifo", "caf\u201bE9", "dark/", "dark"]


def test_of_a_manifest_everything_is_taken_that_is_not_done() -> None:
    assert read(manifest(*ENTRIES)) == WANTED


def test_of_a_csv_manifest_too() -> None:
    rows = [f'"{e["path"]}",{e["type"]},1,,,{e["state"]}' for e in ENTRIES]
    assert read(("path,type,size,mtime,digest,state\n" + "\n".join(rows) + "\n").encode()) == WANTED
    assert read(b"path,type,size,mtime,digest,state\r\na,file,1,,,missing\r\n") == ["a"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (manifest(*ENTRIES, end=False), "not whole: it has 10 entries and no last line"),
        (manifest(*ENTRIES, end=11), "its last line tells of 11"),
        (manifest(*ENTRIES)[:-30], "line 12: no JSON"),
        (manifest() + b'{"path":"x"}\n', "line 3: there is more behind"),
        (b'{"hugesync_manifest": 2}\n', "format 2"),
        (manifest(entry("a", "file", "lost")), "line 2: no line of a manifest"),
        (manifest(entry("a", "pipe", "done")), "line 2: no line of a manifest"),
        (manifest(entry("", "file", "done")), "line 2: no line of a manifest"),
        (manifest(entry("a\0", "file", "missing")), "line 2: .*NUL"),
        (manifest() .replace(b"entries", b"entrees"), "not whole"),
        (b'{"hugesync_manifest": 1}\n{"path": "\\ud800", "type": "file", "state": "missing"}\n', "line 2: .*no UTF-8"),
        (b"path,type,size,mtime,digest,state\na,file\n", "line 2: 2 columns"),
        (b'path,type,size,mtime,digest,state\n"a"b,file,1,,,done\n', "line 2: no line of a CSV"),
        (b"path,type,size,mtime,digest,state\n\xff,file,1,,,missing\n", "line 2: .*no UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_whole_manifest_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        read(content)


def test_a_list_may_begin_with_a_brace_and_a_manifest_with_nuls_is_refused() -> None:
    assert read(b'{"a": 1}\n{b\n') == ['{"a": 1}', "{b"]
    with pytest.raises(UsageError, match="--files-from"):
        read(manifest(), nul=True)


# what a job keeps


def kept(tmp_path: Path, *names: str) -> NameList:
    return made(iter(names), tmp_path)


def test_a_list_is_sorted_and_has_each_name_once_without_what_a_listed_folder_holds(tmp_path: Path) -> None:
    names = ["b", "d/x", "a", "d/", "b", "d-", "d/y/z", "d", "dd", "é", "z\u201bFF"]
    assert list(kept(tmp_path, *names)) == ["a", "b", "d", "d-", "d/", "dd", "z\u201bFF", "é"]
    assert list(kept(tmp_path, "b", "/", "-")) == ["/"]
    assert list(kept(tmp_path)) == []


def test_equal_lists_have_one_digest_whatever_their_order_and_others_another(tmp_path: Path) -> None:
    one = kept(tmp_path, "a", "b").digest
    assert kept(tmp_path, "b", "a", "b").digest == one
    assert len({one, kept(tmp_path, "a", "b/").digest, kept(tmp_path, "ab").digest, kept(tmp_path).digest}) == 4


def test_a_list_that_was_changed_or_lost_is_not_whole(tmp_path: Path) -> None:
    names = kept(tmp_path, *(f"name {n}" for n in range(1000)))
    copy = names.copy_to(tmp_path / "copy.gz")
    assert copy.whole()
    assert list(copy) == list(names)
    content = copy.path.read_bytes()
    for broken in (content[:-9], content[:200] + b"\0" + content[201:], b"", b"text"):
        copy.path.write_bytes(broken)
        assert not copy.whole()
    copy.path.unlink()
    assert not copy.whole()
    with pytest.raises(UsageError, match="cannot be read"):
        list(copy)


def test_a_long_list_is_sorted_in_bounded_memory(tmp_path: Path) -> None:
    number = scaled(2_400_000, 120_000)
    content = b"".join(b"folder %d/file %d\n" % (n * 7919 % 1000, n) for n in range(number))
    tracemalloc.start()
    names = made(names_in(io.BytesIO(content), False), tmp_path)
    seen = sum(1 for _ in names)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == number
    assert peak < 60 << 20
    assert names.path.stat().st_size < len(content) / 4


def test_a_list_is_read_from_a_file_or_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\n#\nb\n")
    with read_list(str(tmp_path / "list")) as names:
        assert list(names) == ["a", "b"]
        path = names.path
    assert not path.exists()
    stdin: Callable[[], io.BytesIO] = lambda: io.BytesIO(b"x\0y")  # noqa: E731
    with read_list("-", nul=True, stdin=stdin) as names:
        assert list(names) == ["x", "y"]
    with pytest.raises(UsageError, match="--files-from /nowhere: No such file"), read_list("/nowhere"):
        pass
    (tmp_path / "list").write_bytes(b"a\n../b\n")
    with pytest.raises(UsageError, match=r"--files-from0? .*list: line \d: "), read_list(str(tmp_path / "list")):
        pass
