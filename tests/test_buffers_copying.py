"""One read pass: every destination and sink sees the same bytes, and where nobody looks the kernel copies."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hugesync_tasks.budget import Budget
from hugesync_tasks.buffers import copying
from hugesync_tasks.buffers.classes import KIB, MIB, Sizes
from hugesync_tasks.buffers.copying import Counting, copy, tee, throttle
from hugesync_tasks.buffers.pool import Pool
from hugesync_tasks.buffers.table import Table
from hugesync_tasks.errors import Cancelled
from hugesync_tasks.token import Token

BODY = os.urandom(3 * MIB + 17)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "source").write_bytes(BODY)
    fd = os.open(tmp_path / "source", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def dest(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "dest", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def no_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("the bytes came here")

    monkeypatch.setattr(os, "readv", refused)
    monkeypatch.setattr(os, "preadv", refused)


def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", cannot)
    monkeypatch.setattr(os, "sendfile", cannot)


def test_digest_progress_and_several_destinations_are_fed_in_one_pass(
    source: int, dest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, real = [], os.readv
    monkeypatch.setattr(os, "readv", lambda fd, rooms: reads.append(fd) or real(fd, rooms))
    digest, progress, other = hashlib.blake2b(), [], bytearray()
    done = copy(source, [dest, other.extend], sinks=[digest.update, Counting(progress.append)])
    assert done == len(BODY) == sum(progress)
    assert os.pread(dest, len(BODY) + 1, 0) == bytes(other) == BODY
    assert digest.digest() == hashlib.blake2b(BODY).digest()
    assert len(reads) == 5, "each byte once, and the end"


def test_where_no_sink_needs_the_bytes_the_kernel_copies(
    source: int, dest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress: list[int] = []
    with monkeypatch.context() as patched:
        no_reads(patched)
        assert copy(source, dest, length=len(BODY), at=0, to=10, sinks=[Counting(progress.append)]) == len(BODY)
    assert sum(progress) == len(BODY)
    assert os.pread(dest, len(BODY) + 1, 10) == BODY


@pytest.mark.parametrize(("at", "to"), [(None, None), (0, 0), (5, 10)])
def test_where_the_kernel_cannot_the_result_is_the_same(
    source: int, dest: int, at: int | None, to: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress: list[int] = []
    no_kernel(monkeypatch)
    assert copy(source, dest, at=at, to=to, sinks=[Counting(progress.append)]) == len(BODY) - (at or 0) == sum(progress)
    assert os.pread(dest, len(BODY) + 1, to or 0) == BODY[at or 0 :]


def test_a_socket_is_sent_to_by_the_kernel(source: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    came = bytearray()

    def receive() -> None:
        while chunk := theirs.recv(1 << 16):
            came.extend(chunk)

    thread = threading.Thread(target=receive)
    thread.start()
    with monkeypatch.context() as patched:
        no_reads(patched)
        assert copy(source, ours.fileno(), length=len(BODY)) == len(BODY)
    ours.close()
    thread.join()
    theirs.close()
    assert bytes(came) == BODY


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    at=st.integers(0, len(BODY)), length=st.one_of(st.none(), st.integers(0, len(BODY))), size=st.integers(1, 3 * MIB)
)
def test_any_range_in_any_pieces_is_that_range(
    source: int, tmp_path: Path, at: int, length: int | None, size: int
) -> None:
    want, got = BODY[at:] if length is None else BODY[at : at + length], bytearray()
    assert tee(source, got.extend, at=at, length=length, size=max(size, len(want) // 50)) == len(want)
    assert bytes(got) == want
    fd = os.open(tmp_path / "range", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    assert copy(source, fd, at=at, length=length, to=3) == len(want)
    assert os.pread(fd, len(BODY), 3) == want
    os.close(fd)


def test_chunks_of_anything_are_passed_on(dest: int) -> None:
    seen = bytearray()
    assert copy([b"ab", memoryview(b"cd"), b""], dest, sinks=[seen.extend]) == 4
    assert os.pread(dest, 9, 0) == bytes(seen) == b"abcd"


def test_a_throttle_needs_no_bytes_and_ends_the_copy_with_its_token(source: int, dest: int) -> None:
    class Pace:
        paid = 0

        def slice(self, most: int) -> int:
            return most

        def pay(self, n: int, token: Token) -> None:
            self.paid += n

    pace = Pace()
    assert copy(source, dest, at=0, to=0, sinks=[throttle(Token(pace=pace))]) == len(BODY) == pace.paid
    token = Token()
    token.cancel()
    with pytest.raises(Cancelled):
        copy(source, dest, at=0, to=0, sinks=[throttle(token)])


def test_an_error_of_a_destination_is_raised_and_what_was_held_is_given_back(source: int) -> None:
    table = Table(64 * MIB)
    pool = Pool(64 * MIB, table, Sizes(reuse_from=64 * KIB))
    before = copying._holds, copying._size
    copying.use(pool, MIB)
    try:
        with pytest.raises(OSError, match="Bad file"):
            copy(source, 9999, sinks=[len])
        with pool.lease(64 * MIB, timeout=1):
            pass
        assert tee(source, len, at=0) == len(BODY), "in memory that is lent"
    finally:
        copying.use(*before)
        pool.close()
        table.close()


def test_a_copy_within_a_disabled_pool_is_the_same(source: int, dest: int) -> None:
    assert copy(source, dest, sinks=[len]) == len(BODY)
    assert os.pread(dest, len(BODY), 0) == BODY


def test_a_copy_that_waits_for_room_keeps_its_task_alive_and_hears_of_its_end(
    source: int, dest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_kernel(monkeypatch)
    pulses: list[int] = []

    def pulse(n: int) -> None:
        pulses.append(n)
        token.cancel()

    token = Token(pulse=pulse)
    full = Budget(MIB)
    monkeypatch.setattr(copying, "_holds", full)
    with full.hold(MIB), pytest.raises(Cancelled):
        copy(source, dest, length=MIB, token=token)
    assert pulses


@pytest.mark.parametrize(("length", "held"), [(4096, 4096), (2 * MIB, MIB), (None, MIB)])
def test_no_more_is_held_for_a_copy_than_it_has_bytes(
    length: int | None, held: int, source: int, dest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_kernel(monkeypatch)
    asked: list[int] = []

    class Noted(Budget):
        def hold(self, n: int, token: Token | None = None, memory: bool = False) -> Any:
            asked.append(n)
            return super().hold(n, token, memory)

    monkeypatch.setattr(copying, "_holds", Noted(8 * MIB))
    monkeypatch.setattr(copying, "_size", MIB)
    copy(source, dest, length=length)
    assert asked == [held]
