"""What only the local adapter promises: confinement, the commit rule, durability, holes, and what a kill leaves behind."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from hugesync_tasks.errors import (
    AccessDenied,
    BadName,
    Cancelled,
    Corrupted,
    NeedsPerson,
    NoSpace,
    NoSuchUpload,
    NotFound,
    Permanent,
    SourceChanged,
    Transient,
    VersionMismatch,
)
from hugesync_tasks.model import Commit, Entry, Kind, Meta, Upload
from hugesync_tasks.names import encode_name
from hugesync_tasks.stores import local_commit, local_folder, local_walk
from hugesync_tasks.stores import local_kernel as kernel
from hugesync_tasks.stores.base import ABSENT, ANY, Store
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.local_errors import store_error
from hugesync_tasks.stores.local_walk import RESERVED_NAME
from hugesync_tasks.token import Token

GENERATION = "0123456789abcdef" * 2
MIB = 1 << 20


@pytest.fixture(params=["openat2", "dirfd walk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalStore]:
    made = LocalStore(tmp_path / "root", use_openat2=None if request.param == "openat2" else False)
    yield made
    made.close()


@pytest.fixture
def root(store: LocalStore) -> Path:
    path = Path(os.fsdecode(store.place.root))
    path.mkdir()
    return path


def keys(store: Store, **options: object) -> list[str]:
    return [e.key for e in store.list(Token(), **options)]  # type: ignore[arg-type]


def entries(store: Store) -> dict[str, Entry]:
    return {e.key: e for e in store.list(Token())}


def read(store: Store, key: str, version: str = "") -> bytes:
    with store.open(key, version, Token()) as reader:
        return b"".join(reader)


def version(store: Store, key: str) -> str:
    head = store.head(key, Token())
    assert head is not None
    return head.entry.version


def everything(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


# ---- listing


def test_a_missing_root_cannot_be_listed_and_is_made_by_the_first_write(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        keys(store)
    assert store.head("a", Token()) is None
    store.put("a/b", b"x", Meta(), ABSENT, Token())
    assert (tmp_path / "root/a/b").read_bytes() == b"x"
    assert keys(store) == ["a/", "a/b"]


def test_a_root_removed_and_made_again_is_found_again(store: LocalStore, root: Path) -> None:
    store.put("a/b", b"1", Meta(), ABSENT, Token())
    subprocess.run(["rm", "-rf", str(root)], check=True)
    store.put("a/b", b"2", Meta(), ABSENT, Token())
    assert (root / "a/b").read_bytes() == b"2"


def test_order_is_by_encoded_name_with_slash_and_suffix(store: LocalStore, root: Path) -> None:
    raw = [
        b"a!",
        b"a",
        b"a0",
        b"A",
        b"\xff",
        b"\xe2\x80\x9bFF",
        "\uff5e".encode(),
        "\U0001f600".encode(),
        b"n\nl",
        b" s ",
    ]
    for name in raw:
        (root / os.fsdecode(name)).mkdir() if name == b"a" else (root / os.fsdecode(name)).write_bytes(b"")
    (root / "a" / "z").write_bytes(b"")
    (root / "a.link").symlink_to("nowhere")
    expected = sorted([encode_name(n) + ("/" if n == b"a" else "") for n in raw] + ["a/z", "a.link.rclonelink"])
    assert keys(store) == expected
    for key in expected:
        if not key.endswith("/"):
            assert store.head(key, Token()) is not None, key


def test_a_folder_over_the_run_size_is_sorted_through_disk(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_folder, "AHEAD_NAMES", 10)
    monkeypatch.setattr(local_folder, "RUN", 50)
    names = [f"f{(i * 7919) % 1000:04}" for i in range(1000)]
    for name in names:
        (root / name).write_bytes(b"")
    (root / "f0500x").mkdir()
    (root / "f0500x" / "in").write_bytes(b"")
    assert keys(store) == sorted([*names, "f0500x/", "f0500x/in"])
    assert keys(store, start_after="f0998") == ["f0999"]


@pytest.mark.parametrize("slow", [False, True])
def test_start_after_any_key_yields_exactly_the_rest(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    monkeypatch.setattr(local_walk, "SLOW", -1.0 if slow else 1e9)
    for folder in ("a", "a/b", "a/b/c", "a!", "d", "e", "e/f"):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / "x").write_bytes(b"")
        (root / folder / "x.txt").write_bytes(b"")
    whole = keys(store)
    assert whole == sorted(whole)
    assert len(whole) == 21
    for at in [*whole, "", "a", "a/b/", "a/b/c0", "a0", "zzz", "e/f/x\0"]:
        assert keys(store, start_after=at) == [k for k in whole if k > at], at


def test_a_folder_not_entered_is_never_opened(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_walk, "SLOW", -1.0)  # read-ahead must not open it either
    for folder in ("a", "no", "z", "z/no", "z/w"):
        (root / folder).mkdir()
        (root / folder / "f").write_bytes(b"")
    opened: list[bytes] = []
    real = local_walk.read_folder

    def spy(place: object, path: bytes) -> local_folder.Folder:
        opened.append(path)
        return real(place, path)  # type: ignore[arg-type]

    monkeypatch.setattr(local_walk, "read_folder", spy)
    asked: list[str] = []

    def enter(key: str) -> bool:
        asked.append(key)
        return not key.endswith("no/")

    assert keys(store, enter=enter) == ["a/", "a/f", "z/", "z/f", "z/w/", "z/w/f"]
    assert sorted(opened) == [b"", b"a", b"z", b"z/w"]
    assert sorted(asked) == ["a/", "no/", "z/", "z/no/", "z/w/"]


def test_reading_ahead_leaves_no_thread_and_no_descriptor(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_walk, "SLOW", -1.0)
    monkeypatch.setattr(local_folder, "AHEAD_NAMES", 2)
    for i in range(30):
        (root / f"d{i:02}").mkdir()
        for name in "abc":
            (root / f"d{i:02}" / name).write_bytes(b"")
    keys(store)
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for stop in (1, 5, 40):
        it = store.list(Token())
        for _ in range(stop):
            next(it)
        it.close()  # type: ignore[attr-defined]
        assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


def test_folders_that_are_slow_to_read_are_read_ahead_by_a_few_threads_and_come_in_order(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_walk, "SLOW", -1.0)
    for i in range(30):
        (root / f"d{i:02}").mkdir()
        (root / f"d{i:02}" / "f").write_bytes(b"")
    readers: dict[bytes, str] = {}
    real = local_walk.read_folder

    def spy(place: object, path: bytes) -> local_folder.Folder:
        readers[path] = threading.current_thread().name
        return real(place, path)  # type: ignore[arg-type]

    monkeypatch.setattr(local_walk, "read_folder", spy)
    assert keys(store) == sorted(name for i in range(30) for name in (f"d{i:02}/", f"d{i:02}/f"))
    ahead = [name for name in readers.values() if name.startswith("read-ahead")]
    assert len(ahead) >= 28, "all but the first ones, which showed that it is slow"
    assert len(set(ahead)) <= local_walk.THREADS


def test_a_deep_tree_needs_few_descriptors(store: LocalStore, root: Path) -> None:
    depth = 300
    store.put("/".join(["d"] * depth) + "/f", b"x", Meta(), ABSENT, Token())
    peak = 0
    for _ in store.list(Token()):
        peak = max(peak, len(os.listdir("/proc/self/fd")))
    assert len(keys(store)) == depth + 1
    assert peak < 32 + 40


def test_folders_carry_metadata_and_whether_they_are_empty(store: LocalStore, root: Path) -> None:
    (root / "empty").mkdir(0o700)
    (root / "full").mkdir()
    (root / "full" / "f").write_bytes(b"abc")
    (root / "ours").mkdir()
    (root / "ours" / ".hugesync-0123456789abcdef.part").write_bytes(b"")
    os.utime(root / "empty", ns=(1, 1_234_567_890_123_456_789))
    found = entries(store)
    empty = found["empty/"]
    assert (empty.kind, empty.empty, empty.mode, empty.mtime_ns) == (Kind.DIR, True, 0o700, 1_234_567_890_123_456_789)
    assert (empty.uid, empty.gid) == (os.getuid(), (root / "empty").stat().st_gid)
    assert not found["full/"].empty
    assert found["ours/"].empty
    st = (root / "full/f").stat()
    assert found["full/f"].version == f"{st.st_ino}:3:{st.st_mtime_ns}:{st.st_ctime_ns}"


def test_ours_is_passed_over_and_a_users_reserved_name_is_reported(store: LocalStore, root: Path) -> None:
    for name in (".hugesync-0123456789abcdef.part", ".hugesync-0123456789abcdef.ranges", ".hugesync-token-host-1"):
        (root / name).write_bytes(b"")
    (root / ".hugesync").mkdir()
    (root / ".hugesync/x").write_bytes(b"")
    (root / "d").mkdir()
    (root / "d/.hugesync").write_bytes(b"a file")
    (root / ".hugesync-mine").write_bytes(b"")
    (root / ".hugesyncdir").mkdir()
    (root / ".hugesyncdir/f").write_bytes(b"")
    (root / "a.rclonelink").write_bytes(b"")
    found = entries(store)
    assert {k: (e.kind, e.note) for k, e in found.items() if e.kind is not Kind.DIR} == dict.fromkeys(
        (".hugesync-mine", ".hugesyncdir/", "a.rclonelink", "d/.hugesync"), (Kind.ERROR, RESERVED_NAME)
    )


def test_a_link_and_a_file_that_need_one_key_are_one_error_and_not_twice_the_key(store: LocalStore, root: Path) -> None:
    (root / "a").symlink_to("x")
    (root / "a.rclonelink").write_bytes(b"")
    (root / "b").write_bytes(b"")
    found = list(store.list(Token()))
    assert [(e.key, e.kind) for e in found] == [("a.rclonelink", Kind.ERROR), ("b", Kind.FILE)]


def test_special_files_are_named_and_never_opened(store: LocalStore, root: Path) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(root / "socket"))
        assert {k: (e.kind, e.note) for k, e in entries(store).items()} == {
            "fifo": (Kind.SPECIAL, "fifo"),
            "socket": (Kind.SPECIAL, "socket"),
        }
        for key in ("fifo", "socket"):
            with pytest.raises(VersionMismatch):
                store.open(key, "", Token())


def test_an_unreadable_folder_is_one_error_and_the_listing_goes_on(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b", "c"):
        (root / folder).mkdir()
        (root / folder / "f").write_bytes(b"")
    real = local_walk.read_folder

    def denied(place: object, path: bytes) -> local_folder.Folder:
        if path == b"b":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(place, path)  # type: ignore[arg-type]

    monkeypatch.setattr(local_walk, "read_folder", denied)
    found = entries(store)
    assert list(found) == ["a/", "a/f", "b/", "c/", "c/f"]
    assert (found["b/"].kind, found["b/"].note) == (Kind.ERROR, "permission denied")


def test_followed_links_appear_as_what_they_point_to(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub" / "f").write_bytes(b"far")
    root.mkdir()
    (root / "file").symlink_to(outside / "sub" / "f")
    (root / "folder").symlink_to(outside)
    (root / "dangling").symlink_to("nothing")
    (root / "self").symlink_to("self")
    (root / "loop").mkdir()
    (root / "loop" / "up").symlink_to("..")
    store = LocalStore(root, follow_links=True)
    found = entries(store)
    assert {k: (e.kind, e.note) for k, e in found.items()} == {
        "dangling": (Kind.ERROR, "a link to nothing"),
        "file": (Kind.FILE, ""),
        "folder/": (Kind.DIR, ""),
        "folder/sub/": (Kind.DIR, ""),
        "folder/sub/f": (Kind.FILE, ""),
        "loop/": (Kind.DIR, ""),
        "loop/up/": (Kind.ERROR, "a loop of links"),
        "self": (Kind.ERROR, "a loop of links"),
    }
    assert read(store, "folder/sub/f", found["folder/sub/f"].version) == b"far"
    with pytest.raises(BadName):
        store.put("folder/new", b"", Meta(), ABSENT, Token())
    assert everything(outside) == ["sub", "sub/f"]


# ---- names and confinement


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a//b", "../x", "a/../x", ".", "a/.", "..", "a\0b", "..rclonelink", "...rclonelink", ".rclonelink", "a/.rclonelink",
     "é" * 128, "/".join(["d" * 200] * 21)],
)  # fmt: skip
def test_a_key_that_no_path_can_carry_is_a_bad_name_everywhere(store: LocalStore, root: Path, key: str) -> None:
    upload = Upload(key, ".hugesync-0123456789abcdef.part", GENERATION, 1, 1)
    calls: list[Callable[[], object]] = [
        lambda: store.head(key, Token()),
        lambda: store.open(key, "", Token()),
        lambda: store.put(key, b"", Meta(), ANY, Token()),
        lambda: store.delete(key, ANY, Token()),
        lambda: store.create_upload(key, 1, 1, Meta(), Token()),
        lambda: store.abort(upload, Token()),
        lambda: store.list_parts(upload, Token()),
    ]
    for call in calls:
        with pytest.raises(BadName):
            call()
    assert everything(root) == []


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe", b"new\nline", b"n" * 255, "é".encode() * 127, b" ", b"\\", b"*", b"...", "‛FF".encode()]
)
def test_nasty_names_go_in_and_come_out(store: LocalStore, root: Path, raw: bytes) -> None:
    key = encode_name(raw)
    commit = store.put(f"d/{key}", b"body", Meta(mtime_ns=5), ABSENT, Token())
    assert (root / "d" / os.fsdecode(raw)).read_bytes() == b"body"
    assert keys(store) == ["d/", f"d/{key}"]
    assert read(store, f"d/{key}", commit.version) == b"body"
    upload = store.create_upload(f"{key}", 3, 3, Meta(generation=GENERATION), Token())
    assert [k for k, _, _ in store.list_uploads(Token())] == [key]
    part = store.put_part(upload, 1, b"abc", Token())
    store.complete(upload, [part], Meta(), ABSENT, None, Token())
    assert read(store, key) == b"abc"
    store.delete(f"d/{key}", commit.version, Token())
    assert keys(store) == [key, "d/"] if key < "d/" else keys(store) == ["d/", key]


def test_nothing_passes_through_a_symlink_wherever_it_points(store: LocalStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "in").mkdir()
    (root / "away").symlink_to(outside)
    (root / "inside").symlink_to("in")
    upload = Upload("away/secret", ".hugesync-0123456789abcdef.part", GENERATION, 1, 1)
    for folder in ("away", "inside"):
        calls: list[Callable[[], object]] = [
            lambda f=folder: store.head(f"{f}/secret", Token()),
            lambda f=folder: store.open(f"{f}/secret", "", Token()),
            lambda f=folder: store.put(f"{f}/new", b"", Meta(), ANY, Token()),
            lambda f=folder: store.put(f"{f}/sub/new", b"", Meta(), ABSENT, Token()),
            lambda f=folder: store.put(f"{f}/sub/", b"", Meta(), ABSENT, Token()),
            lambda f=folder: store.delete(f"{f}/secret", ANY, Token()),
            lambda f=folder: store.finish_folder(f"{f}/", Meta(mode=0), Token()),
            lambda f=folder: store.create_upload(f"{f}/new", 1, 1, Meta(), Token()),
            lambda: store.abort(upload, Token()),
        ]
        for n, call in enumerate(calls):
            with pytest.raises(BadName):
                call()
                pytest.fail(f"call {n} went through {folder}")
    assert everything(outside) == ["secret"]
    assert everything(root) == ["away", "in", "inside"]


def test_a_folder_swapped_for_a_symlink_between_put_and_finish_leads_nowhere(
    store: LocalStore, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    batch = store.batch()
    batch.put("d/f", b"x", Meta(), ABSENT, Token())
    batch.put("e/f", b"x", Meta(), ABSENT, Token())
    (root / "d").rename(root / "moved")
    (root / "d").symlink_to(outside)
    answers = batch.finish(Token())
    assert isinstance(answers["d/f"], BadName)
    assert isinstance(answers["e/f"], Commit)
    assert everything(outside) == []


def test_a_swapper_never_gets_a_write_outside_the_root(store: LocalStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "real").mkdir()
    (root / "link").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        fd = os.open(root, os.O_RDONLY)
        while not stop.is_set():
            kernel.renameat2(fd, b"real", b"link", kernel.RENAME_EXCHANGE)
            stop.wait(0.0007)  # about as long as a put takes, so that both outcomes occur
        os.close(fd)

    thread = threading.Thread(target=swap)
    thread.start()
    refused = done = 0
    try:
        for i in range(20_000):
            if refused > 50 and done > 50:
                break
            try:
                store.put(f"real/f{i}", b"x", Meta(), ABSENT, Token())
                done += 1
            except (BadName, Transient, NotFound, Permanent):  # as the walk met it
                refused += 1
    finally:
        stop.set()
        thread.join()
    assert everything(outside) == []
    assert refused > 0
    assert done > 0


def test_openat2_and_the_walk_are_really_both_in_use(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[bytes] = []
    real = store.place._walk
    monkeypatch.setattr(store.place, "_walk", lambda path, made: walks.append(path) or real(path, made))
    (root / "a").write_bytes(b"1")
    read(store, "a")
    if store.place._use_openat2 is False:
        assert walks
    else:
        assert store.place._use_openat2 is True, "this kernel has openat2"
        assert not walks


# ---- reading


def test_a_file_is_read_in_chunks_of_at_most_a_mebibyte_and_ranges_are_exact(store: LocalStore, root: Path) -> None:
    body = os.urandom(2 * MIB + 5)
    (root / "f.txt").write_bytes(body)
    moved: list[int] = []
    with store.open("f.txt", "", Token(pulse=moved.append)) as reader:
        chunks = list(reader)
        assert reader.head.meta.content_type == "text/plain"
    assert b"".join(chunks) == body
    assert max(map(len, chunks)) <= MIB
    assert sum(moved) == len(body)
    with store.open("f.txt", "", Token(), 7, MIB) as reader:
        assert b"".join(reader) == body[7 : 7 + MIB]
    for start, length in ((-1, 1), (0, len(body) + 1), (len(body), 1)):
        with pytest.raises(Permanent):
            store.open("f.txt", "", Token(), start, length)


def test_what_changes_while_it_is_read_is_never_whole(store: LocalStore, root: Path) -> None:
    path = root / "f"

    def grow() -> None:
        with path.open("ab") as f:
            f.write(b"x")

    def touch() -> None:
        os.utime(path, ns=(1, 1))

    def rewrite() -> None:
        with path.open("r+b") as f:
            f.write(b"y")

    for change in (grow, touch, rewrite, lambda: os.truncate(path, 10), lambda: os.truncate(path, MIB)):
        path.write_bytes(bytes(2 * MIB))
        with store.open("f", version(store, "f"), Token()) as reader:
            it = iter(reader)
            got = len(next(it))
            change()
            with pytest.raises(SourceChanged):
                got += sum(map(len, it))
            assert got < 2 * MIB


def test_another_version_or_kind_in_the_files_place_is_a_mismatch(store: LocalStore, root: Path) -> None:
    path = root / "f"
    path.write_bytes(b"one")
    planned = version(store, "f")
    path.write_bytes(b"two")
    with pytest.raises(VersionMismatch):
        store.open("f", planned, Token())
    for make in (os.mkfifo, os.mkdir, lambda p: os.symlink("/etc/passwd", p)):
        os.unlink(path) if path.exists() else None
        make(path)
        with pytest.raises(VersionMismatch):
            store.open("f", planned, Token())
        os.rmdir(path) if path.is_dir() else os.unlink(path)
    with pytest.raises(NotFound):
        store.open("f", planned, Token())


def test_a_cancelled_read_ends_within_a_chunk(store: LocalStore, root: Path) -> None:
    (root / "f").write_bytes(bytes(3 * MIB))
    token = Token()
    with store.open("f", "", token) as reader:
        it = iter(reader)
        next(it)
        token.cancel()
        with pytest.raises(Cancelled):
            next(it)


def test_links_are_read_and_written_as_their_target(store: LocalStore, root: Path) -> None:
    meta = Meta(mtime_ns=1_500_000_000_000_000_001, link=True)
    commit = store.put("d/l.rclonelink", b"../no\xff/where", meta, ABSENT, Token())
    assert os.readlink(os.fsencode(root / "d/l")) == b"../no\xff/where"
    found = entries(store)["d/l.rclonelink"]
    assert (found.kind, found.size, found.mtime_ns) == (Kind.LINK, 12, meta.mtime_ns)
    assert found.version == commit.version
    assert read(store, "d/l.rclonelink", commit.version) == b"../no\xff/where"
    with pytest.raises(VersionMismatch):
        store.put("d/l.rclonelink", b"other", meta, ABSENT, Token())
    store.put("d/l.rclonelink", b"other", meta, commit.version, Token())
    head = store.head("d/l", Token())
    assert head is not None
    assert head.entry.kind is Kind.LINK
    assert everything(root) == ["d", "d/l"]


# ---- the commit rule


def test_metadata_is_exact_to_the_nanosecond_and_the_umask_rules_otherwise(store: LocalStore, root: Path) -> None:
    old = os.umask(0o027)
    try:
        store.put("plain", b"x", Meta(), ABSENT, Token())
        store.put("set", b"x", Meta(mtime_ns=1_234_567_890_123_456_789, mode=0o4755), ABSENT, Token())
        os.umask(0o777)
        store.put("new/deep/f", b"x", Meta(mode=0o600), ABSENT, Token())
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "plain").stat().st_mode) == 0o640
    st = (root / "set").stat()
    assert (stat.S_IMODE(st.st_mode), st.st_mtime_ns) == (0o4755, 1_234_567_890_123_456_789)
    assert stat.S_IMODE((root / "new/deep").stat().st_mode) == 0o700


def test_an_owner_that_is_not_permitted_is_a_note(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    meta = Meta(uid=os.getuid() + 1, gid=os.getgid() + 1, owner=True, mode=0o600)
    assert store.put("f", b"x", meta, ABSENT, Token()).notes == ("chown not permitted",)
    assert store.put("g", b"x", replace(meta, owner=False), ABSENT, Token()).notes == ()
    store.put("d/", b"", Meta(), ABSENT, Token())
    assert store.finish_folder("d/", meta, Token()) == ("chown not permitted",)
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o600


def rival(path: Path, body: bytes) -> None:
    other = path.with_name("rival")
    other.write_bytes(body)
    other.rename(path)


@pytest.mark.parametrize("expected", ["absent", "version"])
def test_a_rival_between_plan_and_commit_keeps_its_bytes(store: LocalStore, root: Path, expected: str) -> None:
    planned = None
    if expected == "version":
        planned = store.put("f", b"old", Meta(), ABSENT, Token()).version
    rival(root / "f", b"rival")
    with pytest.raises(VersionMismatch):
        store.put("f", b"mine", Meta(), planned, Token())
    assert (root / "f").read_bytes() == b"rival"
    assert everything(root) == ["f"]


def test_a_rival_between_compare_and_exchange_gets_its_file_back(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = store.put("f", b"old", Meta(), ABSENT, Token()).version
    real = local_commit.compare

    def late(*args: object) -> object:
        st = real(*args)  # type: ignore[arg-type]
        rival(root / "f", b"rival")
        return st

    monkeypatch.setattr(local_commit, "compare", late)
    with pytest.raises(VersionMismatch):
        store.put("f", b"mine", Meta(), planned, Token())
    assert (root / "f").read_bytes() == b"rival"
    assert everything(root) == ["f"]


def test_a_second_rival_during_the_exchange_back_wins(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = store.put("f", b"old", Meta(), ABSENT, Token()).version
    real_compare, real_back = local_commit.compare, local_commit._exchange_back

    def late(*args: object) -> object:
        st = real_compare(*args)  # type: ignore[arg-type]
        rival(root / "f", b"first rival")
        return st

    def back(*args: object) -> None:
        rival(root / "f", b"second rival")
        real_back(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(local_commit, "compare", late)
    monkeypatch.setattr(local_commit, "_exchange_back", back)
    with pytest.raises(VersionMismatch):
        store.put("f", b"mine", Meta(), planned, Token())
    assert (root / "f").read_bytes() == b"second rival"


def test_a_target_that_vanished_is_a_mismatch_and_stays_gone(store: LocalStore, root: Path) -> None:
    planned = store.put("f", b"old", Meta(), ABSENT, Token()).version
    (root / "f").unlink()
    with pytest.raises(VersionMismatch):
        store.put("f", b"mine", Meta(), planned, Token())
    assert everything(root) == []


def test_the_committed_version_is_the_one_a_listing_shows(store: LocalStore, root: Path) -> None:
    first = store.put("f", b"one", Meta(mtime_ns=7), ABSENT, Token())
    assert entries(store)["f"].version == first.version
    second = store.put("f", b"two", Meta(mtime_ns=7), first.version, Token())
    assert entries(store)["f"].version == second.version != first.version


def test_where_renames_know_no_conditions_the_limits_say_so(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    assert store.limits.conditional_commit == "enforced"
    monkeypatch.setattr(kernel, "renameat2", unsupported)
    first = store.put("f", b"one", Meta(), ABSENT, Token())
    planned = first.version
    assert store.limits.conditional_commit == "best effort"
    assert first.notes == ("conflict guard was best effort: the filesystem has no conditional rename",)
    with pytest.raises(VersionMismatch):
        store.put("f", b"two", Meta(), ABSENT, Token())
    replaced = store.put("f", b"two", Meta(), planned, Token()).version
    with pytest.raises(VersionMismatch):
        store.put("f", b"three", Meta(), planned, Token())
    store.put("l.rclonelink", b"f", Meta(link=True), ABSENT, Token())
    store.delete("f", replaced, Token())
    assert everything(root) == ["l"]


def test_a_folder_or_file_in_the_way_is_said_and_left_alone(store: LocalStore, root: Path) -> None:
    (root / "d").mkdir()
    (root / "f").write_bytes(b"x")
    with pytest.raises(VersionMismatch):
        store.put("d", b"", Meta(), ABSENT, Token())
    with pytest.raises(Permanent, match="folder is in the way"):
        store.put("d", b"", Meta(), version(store, "d/"), Token())
    with pytest.raises(Permanent, match="file is in the way"):
        store.put("f/x", b"", Meta(), ABSENT, Token())
    with pytest.raises(VersionMismatch):
        store.put("f/", b"", Meta(), ABSENT, Token())
    assert everything(root) == ["d", "f"]
    store.put("f/", b"", Meta(), version(store, "f"), Token())
    store.put("f/", b"", Meta(), ABSENT, Token())
    assert (root / "f").is_dir()


def test_a_folder_finished_read_only_can_be_filled_again(store: LocalStore, root: Path) -> None:
    store.put("d/", b"", Meta(), ABSENT, Token())
    assert store.finish_folder("d/", Meta(mode=0o555, mtime_ns=123_456_789_012_345_678), Token()) == ()
    st = (root / "d").stat()
    assert (stat.S_IMODE(st.st_mode), st.st_mtime_ns) == (0o555, 123_456_789_012_345_678)
    store.put("d/", b"", Meta(), ABSENT, Token())
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o755


def test_delete_is_conditional_and_idempotent(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = store.put("d/f", b"x", Meta(), ABSENT, Token()).version
    with pytest.raises(Permanent, match="not empty"):
        store.delete("d/", ANY, Token())
    rival(root / "d/f", b"rival")
    with pytest.raises(VersionMismatch):
        store.delete("d/f", planned, Token())
    from hugesync_tasks.stores import local_write

    real = local_write.compare

    def late(*args: object) -> object:
        st = real(*args)  # type: ignore[arg-type]
        rival(root / "d/f", b"second")
        return st

    with monkeypatch.context() as patch:
        patch.setattr(local_write, "compare", late)
        with pytest.raises(VersionMismatch):
            store.delete("d/f", ANY, Token())
    assert (root / "d/f").read_bytes() == b"second"
    store.delete("d/f", version(store, "d/f"), Token())
    store.delete("d/f", planned, Token())
    store.delete("d/", ANY, Token())
    store.delete("d/", ANY, Token())
    store.delete("d/gone/x", ANY, Token())
    assert everything(root) == []


# ---- batches


@pytest.mark.parametrize("count", [3, 40])
def test_nothing_is_visible_before_finish_and_everything_after(store: LocalStore, root: Path, count: int) -> None:
    batch = store.batch()
    wanted = {f"d{i % 20}/f{i}": bytes([i]) for i in range(count)}
    threads = [
        threading.Thread(target=batch.put, args=(k, v, Meta(mtime_ns=9), ABSENT, Token())) for k, v in wanted.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [e.key for e in store.list(Token()) if e.kind is Kind.FILE] == []
    answers = batch.finish(Token())
    found = entries(store)
    assert {k: found[k].version for k in wanted} == {k: c.version for k, c in answers.items() if isinstance(c, Commit)}
    assert {k: read(store, k) for k in wanted} == wanted
    assert not [p for p in everything(root) if "hugesync" in p]


def test_discard_and_a_cancel_leave_no_temporary(store: LocalStore, root: Path) -> None:
    for end in ("discard", "cancel"):
        batch = store.batch()
        for i in range(12):
            batch.put(f"{end}{i}", b"x", Meta(), ABSENT, Token())
        if end == "discard":
            batch.discard()
        else:
            token = Token()
            token.cancel()
            with pytest.raises(Cancelled):
                batch.finish(token)
            batch.discard()
    assert everything(root) == []


def test_one_failure_fails_one_file(store: LocalStore, root: Path) -> None:
    (root / "taken").write_bytes(b"t")
    batch = store.batch()
    for key in ("a", "../b", "taken", "c/", "d"):
        batch.put(key, b"", Meta(), ABSENT, Token())
    answers = batch.finish(Token())
    assert {k: type(a) for k, a in answers.items()} == {
        "a": Commit, "../b": BadName, "taken": VersionMismatch, "c/": Commit, "d": Commit,
    }  # fmt: skip
    assert everything(root) == ["a", "c", "d", "taken"]


@pytest.mark.parametrize("count", [3, 40])
def test_a_failed_sync_publishes_nothing_and_is_not_repeated(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    calls = 0

    def broken(*_: object) -> None:
        nonlocal calls
        calls += 1
        raise OSError(errno.EIO, "Input/output error")

    batch = store.batch()
    for i in range(count):
        batch.put(f"f{i}", b"x", Meta(), ABSENT, Token())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        patch.setattr(kernel, "syncfs", broken)
        answers = batch.finish(Token())
    assert len(answers) == count
    assert all(isinstance(a, Permanent) for a in answers.values())
    assert calls <= count + 1
    assert everything(root) == []


def test_without_syncfs_every_file_is_synced_by_itself(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(kernel, "syncfs", missing)
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino) or real(fd))
    batch = store.batch()
    for i in range(20):
        batch.put(f"d{i % 10}/f{i}", b"x", Meta(), ABSENT, Token())
    answers = batch.finish(Token())
    assert all(isinstance(a, Commit) for a in answers.values())
    inodes = {p.stat().st_ino for p in root.rglob("*")} | {root.stat().st_ino}
    assert inodes <= set(synced)


def test_a_full_disk_is_no_space_and_leaves_nothing(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NoSpace):
        store.put("f", b"x", Meta(), ABSENT, Token())
    with pytest.raises(NoSpace):
        store.create_upload("f", 10, 10, Meta(generation=GENERATION), Token())
    assert everything(root) == []


def test_a_stale_temporary_of_a_killed_put_is_not_written_to_and_goes_with_the_next(
    store: LocalStore, root: Path
) -> None:
    killed = store.batch()
    killed.put("f", b"half", Meta(), ABSENT, Token())  # and never finished
    (left,) = everything(root)
    inode = (root / left).stat().st_ino
    batch = store.batch()
    batch.put("f", b"whole", Meta(), ABSENT, Token())
    assert (root / left).stat().st_ino == inode
    assert (root / left).read_bytes() == b"half"
    assert isinstance(batch.finish(Token())["f"], Commit)
    assert everything(root) == ["f"]
    assert isinstance(killed.finish(Token())["f"], Transient)  # it was only believed dead
    assert read(store, "f") == b"whole"
    assert everything(root) == ["f"]


KILLED = """
import os, signal, sys
from hugesync_tasks.stores import local_batch, local_commit
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.model import Meta
from hugesync_tasks.token import Token
die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
phase = sys.argv[2]
store = LocalStore(sys.argv[1])
if phase == "before sync": local_batch.sync_filesystems = die
if phase == "before rename": local_batch.publish = die
if phase == "before folder sync": local_batch.LocalBatch._sync_folders = die
batch = store.batch()
for i in range(12): batch.put(f"d/f{i}", b"whole body", Meta(), None, Token())
batch.finish(Token())
"""


@pytest.mark.parametrize("phase", ["before sync", "before rename", "before folder sync"])
def test_killed_between_phases_there_are_only_whole_files_and_temporaries(tmp_path: Path, phase: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), phase], cwd=Path(__file__).parents[1], check=False
    )
    assert done.returncode == -signal.SIGKILL
    store = LocalStore(tmp_path)
    visible = [k for k in keys(store) if not k.endswith("/")]
    assert len(visible) == (12 if phase == "before folder sync" else 0)
    assert all(read(store, k) == b"whole body" for k in visible)
    assert len(list(store.list_uploads(Token()))) == 12 - len(visible)
    batch = store.batch()
    for i in range(12):
        batch.put(f"d/f{i}", b"whole body", Meta(), ANY, Token())
    assert all(isinstance(a, Commit) for a in batch.finish(Token()).values())
    assert len(os.listdir(tmp_path / "d")) == 12


# ---- uploads and copies


def begin(store: LocalStore, key: str, size: int, part_size: int, generation: str = GENERATION) -> Upload:
    return store.create_upload(key, size, part_size, Meta(generation=generation), Token())


def test_any_worker_continues_an_upload_and_the_file_appears_at_once(store: LocalStore, root: Path) -> None:
    body = os.urandom(2 * MIB + 77)
    upload = begin(store, "d/big", len(body), MIB)
    first = store.put_part(upload, 2, body[MIB : 2 * MIB], Token())
    assert first.crc64 == crc64nvme(body[MIB : 2 * MIB])
    other = LocalStore(root)
    again = begin(other, "d/big", len(body), MIB)
    assert again == upload
    assert other.list_parts(again, Token()) == [first]
    parts = [first, *(other.put_part(again, n, body[(n - 1) * MIB : n * MIB], Token()) for n in (1, 3))]
    assert keys(store) == ["d/"]
    commit = store.complete(upload, parts, Meta(mtime_ns=5, mode=0o640), ABSENT, crc64nvme(body), Token())
    assert read(store, "d/big", commit.version) == body
    assert everything(root) == ["d", "d/big"]
    for repeat in (
        lambda: store.complete(upload, parts, Meta(), ABSENT, None, Token()),
        lambda: store.list_parts(upload, Token()),
    ):
        with pytest.raises(NoSuchUpload):
            repeat()
    with pytest.raises(NoSuchUpload):
        store.put_part(upload, 1, body[:MIB], Token())


def test_a_private_files_temporary_is_private_from_its_first_byte(store: LocalStore, root: Path) -> None:
    upload = store.create_upload("f", 3, 3, Meta(mode=0o600, generation=GENERATION), Token())
    assert stat.S_IMODE((root / upload.id).stat().st_mode) == 0o600
    batch = store.batch()
    batch.put("g", b"x", Meta(mode=0o400), ABSENT, Token())
    assert all(stat.S_IMODE(p.stat().st_mode) & 0o077 == 0 for p in root.iterdir())
    batch.discard()


def test_two_files_with_one_generation_in_one_folder_do_not_share_a_temporary(store: LocalStore, root: Path) -> None:
    a, b = begin(store, "a", 3, 3), begin(store, "b", 3, 3)
    assert a.id != b.id
    store.put_part(a, 1, b"aaa", Token())
    assert store.list_parts(b, Token()) == []
    assert [k for k, _, _ in store.list_uploads(Token())] in (["a", "b"], ["b", "a"])


def test_a_torn_or_foreign_slot_is_no_part(store: LocalStore, root: Path) -> None:
    upload = begin(store, "f", 6, 2)
    for n, body in enumerate((b"ab", b"cd", b"ef"), 1):
        store.put_part(upload, n, body, Token())
    ranges = root / upload.id.replace(".part", ".ranges")
    raw = bytearray(ranges.read_bytes())
    size = (len(raw) - 512) // 3
    raw[512 + 20] ^= 1  # a flipped bit in the first slot
    raw[512 + 2 * size :] = raw[512 + size : 512 + 2 * size]  # the second slot where the third belongs
    ranges.write_bytes(raw)
    assert [p.number for p in store.list_parts(upload, Token())] == [2]
    ranges.write_bytes(raw[: 512 + size + 5])
    assert store.list_parts(upload, Token()) == []
    other = replace(upload, generation="f" * 32)
    assert store.list_parts(other, Token()) == []


def test_complete_refuses_what_is_not_all_there(store: LocalStore, root: Path) -> None:
    upload = begin(store, "f", 5, 2)
    one, two = store.put_part(upload, 1, b"ab", Token()), store.put_part(upload, 2, b"cd", Token())
    with pytest.raises(Permanent, match="cover"):
        store.complete(upload, [one, two], Meta(), ABSENT, None, Token())
    with pytest.raises(Permanent, match="not on disk"):
        store.complete(upload, [one, two, replace(two, number=3, size=1)], Meta(), ABSENT, None, Token())
    three = store.put_part(upload, 3, b"e", Token())
    with pytest.raises(Corrupted):
        store.complete(upload, [one, replace(two, crc64=1), three], Meta(), ABSENT, None, Token())
    with pytest.raises(Corrupted):
        store.complete(upload, [one, two, three], Meta(), ABSENT, 1, Token())
    for number, body in ((0, b"ab"), (1, b"a"), (3, b"ee"), (4, b"")):
        with pytest.raises(Permanent):
            store.put_part(upload, number, body, Token())
    assert keys(store) == []
    store.complete(upload, [three, one, two], Meta(), ABSENT, crc64nvme(b"abcde"), Token())
    assert read(store, "f") == b"abcde"


def test_a_refused_complete_keeps_the_upload_and_the_rivals_bytes(store: LocalStore, root: Path) -> None:
    planned = store.put("f", b"old", Meta(), ABSENT, Token()).version
    upload = begin(store, "f", 3, 3)
    part = store.put_part(upload, 1, b"new", Token())
    rival(root / "f", b"rival")
    with pytest.raises(VersionMismatch):
        store.complete(upload, [part], Meta(), planned, None, Token())
    assert (root / "f").read_bytes() == b"rival"
    assert store.list_parts(upload, Token()) == [part]
    store.abort(upload, Token())
    store.abort(upload, Token())
    assert everything(root) == ["f"]


def test_an_id_that_is_no_temporary_of_ours_is_never_opened_or_removed(store: LocalStore, root: Path) -> None:
    (root / "precious").write_bytes(b"p")
    for id in ("precious", "../x.part", ".hugesync-0123456789abcdef.ranges", ""):
        upload = Upload("f", id, GENERATION, 1, 1)
        for call in (
            lambda u=upload: store.abort(u, Token()),
            lambda u=upload: store.put_part(u, 1, b"x", Token()),
            lambda u=upload: store.complete(u, [], Meta(), ANY, None, Token()),
        ):
            with pytest.raises((NoSuchUpload, Permanent)):
                call()
    assert (root / "precious").read_bytes() == b"p"


def test_zeros_stay_holes_and_a_part_sent_again_leaves_no_older_bytes(store: LocalStore, root: Path) -> None:
    upload = begin(store, "f", 2 * MIB, MIB)
    store.put_part(upload, 1, os.urandom(MIB), Token())
    sparse = bytes(MIB - 10) + b"0123456789"
    parts = [store.put_part(upload, 1, sparse, Token()), store.put_part(upload, 2, bytes(MIB), Token())]
    store.complete(upload, parts, Meta(), ABSENT, crc64nvme(sparse + bytes(MIB)), Token())
    assert read(store, "f") == sparse + bytes(MIB)
    assert allocated(root / "f") <= 128 << 10


def test_zeros_are_written_where_holes_cannot_be_punched(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(kernel, "punch_hole", unsupported)
    upload = begin(store, "f", MIB, MIB)
    store.put_part(upload, 1, os.urandom(MIB), Token())
    part = store.put_part(upload, 1, bytes(MIB), Token())
    store.complete(upload, [part], Meta(), ABSENT, None, Token())
    assert read(store, "f") == bytes(MIB)


def unsupported_copy(*_: object) -> int:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def test_a_local_copy_counts_as_it_goes_so_that_progress_is_seen_inside_a_part(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "clone_range", unsupported_copy)  # it would be one step
    source = LocalStore(root / "s")
    (root / "s").mkdir()
    (root / "s/f").write_bytes(os.urandom(24 * MIB))
    seen: list[int] = []
    token = Token(pulse=lambda _: seen.append(token.meter.count("bytes.copied_server_side")))
    upload = begin(store, "f", 24 * MIB, 24 * MIB)
    store.copy_part(upload, 1, source, "f", version(source, "f"), 0, 24 * MIB, token)
    assert len(seen) >= 3
    assert seen == sorted(set(seen))
    assert seen[-1] == token.meter.take()["bytes.copied_server_side"] == 24 * MIB


def test_where_the_filesystem_can_share_blocks_nothing_is_copied(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few filesystems can; the call is answered here as they would, by its layout in linux/fs.h."""
    asked: list[tuple[int, int, int]] = []

    def share(dest: int, request: int, packed: bytes) -> int:
        assert request == 0x4020940D  # FICLONERANGE
        source, start, length, offset = struct.unpack("=qQQQ", packed)
        os.pwrite(dest, os.pread(source, length, start), offset)
        asked.append((start, length, offset))
        return 0

    def copied(*_: object) -> int:
        raise AssertionError("the kernel was asked to copy")

    monkeypatch.setattr(fcntl, "ioctl", share)
    monkeypatch.setattr(os, "copy_file_range", copied)
    source, token = LocalStore(root / "s"), Token()
    (root / "s").mkdir()
    body = os.urandom(2 * MIB + 77)
    (root / "s/f").write_bytes(body)
    planned = version(source, "f")
    store.copy(source, "whole", "f", planned, Meta(), ABSENT, token)
    upload = begin(store, "parts", len(body), MIB)
    spans = [(at, min(MIB, len(body) - at)) for at in range(0, len(body), MIB)]
    parts = [store.copy_part(upload, n, source, "f", planned, at, size, token) for n, (at, size) in enumerate(spans, 1)]
    store.complete(upload, parts, Meta(), ABSENT, None, Token())
    assert read(store, "whole") == read(store, "parts") == body
    assert asked == [(0, len(body), 0), *((at, size, at) for at, size in spans)]
    assert token.meter.take() == {"bytes.copied_server_side": 2 * len(body)}


@pytest.mark.parametrize("by_kernel", [True, False])
def test_local_copies_keep_holes_and_every_byte(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, by_kernel: bool
) -> None:
    if not by_kernel:
        monkeypatch.setattr(os, "copy_file_range", unsupported_copy)
    source = LocalStore(root / "s")
    (root / "s").mkdir()
    path = root / "s/f"
    with path.open("wb") as f:
        f.truncate(8 * MIB)
        for at in (0, 3 * MIB + 17, 8 * MIB - 5):
            f.seek(at)
            f.write(b"12345")
    planned = version(source, "f")
    token = Token()
    assert store.can_copy_from(source)
    commit = store.copy(source, "whole", "f", planned, Meta(mtime_ns=3, mode=0o600), ABSENT, token)
    assert token.meter.take() == {"bytes.copied_server_side": 8 * MIB}
    upload = begin(store, "parts", 8 * MIB, 3 * MIB)
    step = 3 * MIB
    parts = [
        store.copy_part(upload, n, source, "f", planned, (n - 1) * step, min(step, 8 * MIB - (n - 1) * step), Token())
        for n in (1, 2, 3)
    ]
    assert [p.crc64 for p in parts] == [None] * 3
    assert store.list_parts(upload, Token()) == parts
    store.complete(upload, parts, Meta(), ABSENT, None, Token())
    for name in ("whole", "parts"):
        assert (root / name).read_bytes() == path.read_bytes()
        assert allocated(root / name) <= MIB
    assert version(store, "whole") == commit.version


def test_a_copy_of_a_changing_source_is_not_published(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = LocalStore(root)
    (root / "s").write_bytes(os.urandom(MIB))
    planned = version(source, "s")
    upload = begin(store, "p", MIB, MIB)
    real = os.copy_file_range

    def change(*args: int) -> int:
        os.utime(root / "s", ns=(1, 1))
        return real(*args)

    monkeypatch.setattr(os, "copy_file_range", change)
    with pytest.raises(SourceChanged):
        store.copy(source, "d", "s", planned, Meta(), ABSENT, Token())
    os.utime(root / "s", ns=(2, 2))
    before_the_part = version(source, "s")
    with pytest.raises(SourceChanged):
        store.copy_part(upload, 1, source, "s", before_the_part, 0, MIB, Token())
    with pytest.raises(VersionMismatch):
        store.copy(source, "d", "s", planned, Meta(), ABSENT, Token())
    assert store.list_parts(upload, Token()) == []
    store.abort(upload, Token())
    assert everything(root) == ["s"]


# ---- errors


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOENT, NotFound, "not found"),
        (errno.EACCES, AccessDenied, "permission"),
        (errno.EDQUOT, NoSpace, "quota"),
        (errno.EROFS, NeedsPerson, "read-only"),
        (errno.EIO, Permanent, "input/output"),
        (errno.ENAMETOOLONG, BadName, "too long"),
        (errno.EXDEV, BadName, "leave the root"),
        (errno.ESTALE, Transient, "stale"),
        (errno.EMLINK, Permanent, "links"),
    ],
)
def test_every_errno_has_its_class(number: int, kind: type[Exception], words: str) -> None:
    error = store_error(OSError(number, "x"), "key")
    assert type(error) is kind
    assert words in error.message
    assert error.key == "key"
