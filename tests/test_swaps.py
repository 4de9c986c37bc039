"""Somebody exchanges a folder of ours for a symlink, over and over, while a job reads and writes below it: nothing of what lies
behind the link is written to or read. (Small files: ``test_local_store``.)"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hugesync_tasks.errors import StoreError
from hugesync_tasks.model import Meta
from hugesync_tasks.stores import local_kernel as kernel
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.token import Token

ENOUGH, MOST = 30, 20_000  # of either outcome; tries
OURS, THEIRS = b"ours" * 500, b"not ours" * 250


@pytest.fixture(params=["openat2", "dirfd walk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalStore]:
    (tmp_path / "root").mkdir()
    made = LocalStore(tmp_path / "root", use_openat2=None if request.param == "openat2" else False)
    yield made
    made.close()


@contextmanager
def swapped(root: Path, outside: Path, pause: float) -> Iterator[None]:
    """``d`` is by turns a folder and a link to ``outside``."""
    (root / "d").mkdir(exist_ok=True)
    (root / "link").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        fd = os.open(root, os.O_RDONLY)
        while not stop.is_set():
            kernel.renameat2(fd, b"d", b"link", kernel.RENAME_EXCHANGE)
            stop.wait(pause)
        os.close(fd)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_an_upload_in_parts_never_leaves_the_root(store: LocalStore, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    done = refused = 0
    with swapped(root, outside, 0.002):
        for n in range(MOST):
            if done > ENOUGH and refused > ENOUGH:
                break
            try:
                upload = store.create_upload("d/f", len(OURS), len(OURS), Meta(generation=f"{n:032x}"), Token())
                part = store.put_part(upload, 1, OURS, Token())
                store.complete(upload, [part], Meta(), ANY, part.crc64, Token())
                done += 1
            except StoreError:
                refused += 1
    assert os.listdir(outside) == []
    assert done > 0
    assert refused > 0


def test_a_read_never_leaves_the_root(store: LocalStore, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder, body in ((outside, THEIRS), (root / "d", OURS)):
        folder.mkdir()
        (folder / "f").write_bytes(body)
    done = refused = 0
    with swapped(root, outside, 0.0003):
        for _ in range(MOST):
            if done > ENOUGH and refused > ENOUGH:
                break
            try:
                with store.open("d/f", "", Token()) as reader:
                    assert b"".join(reader) == OURS
                done += 1
            except StoreError:
                refused += 1
    assert done > 0
    assert refused > 0


def test_a_delete_never_leaves_the_root(store: LocalStore, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(THEIRS)
    done = refused = 0
    with swapped(root, outside, 0.0005):
        for _ in range(MOST):
            if done > ENOUGH and refused > ENOUGH:
                break
            try:
                store.put("d/f", OURS, Meta(), ANY, Token())  # one that could not be deleted may stand there
                store.delete("d/f", ANY, Token())
                done += 1
            except StoreError:
                refused += 1
    assert (outside / "f").read_bytes() == THEIRS
    assert done > 0
    assert refused > 0
