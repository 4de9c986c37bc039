"""In which order a local write becomes durable: bytes before what speaks of them, and both before anybody hears of it.

What a failing disk does to a whole job is in ``test_disk_faults``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from awscrt.checksums import crc64nvme

from hugesync_tasks.model import Meta, Part, Upload
from hugesync_tasks.stores import local_kernel as kernel
from hugesync_tasks.stores.base import ABSENT
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.token import Token

BODY = os.urandom(70_000)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order: "sync .part", "write .ranges", "rename .part", "sync /" (a folder)."""
    done: list[str] = []

    def of(fd: int) -> str:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        return "/" if path.is_dir() else path.suffix

    def logged(name: str, what: Callable[..., str]) -> None:
        real: Callable[..., Any] = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a: (done.append(what(*a)), real(*a))[1])

    logged("fsync", lambda fd: f"sync {of(fd)}")
    logged("fdatasync", lambda fd: f"sync {of(fd)}")
    logged("pwrite", lambda fd, *_: f"write {of(fd)}")
    rename = kernel.renameat2
    monkeypatch.setattr(
        kernel,
        "renameat2",
        lambda fd, old, *a: (done.append(f"rename {Path(os.fsdecode(old)).suffix}"), rename(fd, old, *a))[1],
    )
    return done


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    it = LocalStore(tmp_path)
    yield it
    it.close()


def uploaded(store: LocalStore) -> tuple[Upload, Part]:
    upload = store.create_upload("f", len(BODY), len(BODY), Meta(generation="a" * 32), Token())
    return upload, store.put_part(upload, 1, BODY, Token())


def test_a_parts_bytes_are_on_the_disk_before_its_receipt_is_written_and_that_before_it_is_given(
    store: LocalStore, log: list[str]
) -> None:
    upload = store.create_upload("f", len(BODY), len(BODY), Meta(generation="a" * 32), Token())
    log.clear()
    store.put_part(upload, 1, BODY, Token())
    assert log == ["write .part", "sync .part", "write .ranges", "sync .ranges"]


def test_the_whole_is_on_the_disk_before_its_commit_and_the_name_after_it(store: LocalStore, log: list[str]) -> None:
    upload, part = uploaded(store)
    log.clear()
    store.complete(upload, [part], Meta(mtime_ns=5), ABSENT, crc64nvme(BODY), Token())
    assert log == ["sync .part", "rename .part", "sync /"]


def test_a_small_file_is_on_the_disk_before_it_has_its_name(store: LocalStore, log: list[str]) -> None:
    store.put("f", b"x", Meta(), ABSENT, Token())
    assert log == ["write .part", "sync .part", "rename .part", "sync /"]
