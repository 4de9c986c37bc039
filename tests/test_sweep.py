"""What a killed run left on a filesystem is removed after the job was resumed; nothing else is."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hugesync_producer.sweep import sweep
from hugesync_tasks.model import Meta
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.token import Token


def job_to(dest: object) -> JobContext:
    spec = Spec("j", Location("memory"), Location("file"))
    return JobContext(spec, MemoryStore(), dest)  # type: ignore[arg-type]


def test_old_temporaries_go_and_everything_else_stays(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.create_upload("a/big", 100, 16, Meta(generation="ab" * 16), Token())
    (tmp_path / ".hugesync-0123456789abcdef.part").write_bytes(b"the old file of an exchange")
    (tmp_path / "a" / "big").write_bytes(b"a user's file")
    (tmp_path / ".hugesync-mine").write_bytes(b"not of our form")
    sweep(job_to(store), time.time() + 10, Token())
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".hugesync-mine", "a", "big"]


def test_temporaries_of_somebody_at_work_stay(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    upload = store.create_upload("a/big", 100, 16, Meta(generation="ab" * 16), Token())
    sweep(job_to(store), time.time() - 60, Token())
    assert os.path.exists(tmp_path / "a" / upload.id)


def test_uploads_of_a_store_are_left_alone_they_may_be_another_tools() -> None:
    store = MemoryStore()
    store.create_upload("k", 100, 16, Meta(), Token())
    sweep(job_to(store), time.time() + 10, Token())
    assert len(list(store.list_uploads(Token()))) == 1
