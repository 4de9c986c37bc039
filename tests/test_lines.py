"""Lines that are written aside: whatever the file or pipe does, whoever adds one goes on, and what is missing is counted."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hugesync_producer import lines as module
from hugesync_producer.lines import Lines


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def appending(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)


def test_lines_are_written_in_order_and_the_file_is_closed(tmp_path: Path) -> None:
    fd = appending(tmp_path / "f")
    lines = Lines(fd)
    for n in range(10_000):
        lines.add(str(n))
    lines.close()
    assert (tmp_path / "f").read_text() == "".join(f"{n}\n" for n in range(10_000))
    assert (lines.lost, lines.why) == (0, "")
    with pytest.raises(OSError):
        os.fstat(fd)


def test_a_line_that_an_earlier_run_left_unfinished_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"half": ')
    lines = Lines(appending(tmp_path / "f"))
    lines.add("whole")
    lines.close()
    assert (tmp_path / "f").read_text() == '{"half": \nwhole\n'


def test_a_pipe_that_nobody_empties_holds_nobody_up_and_the_lines_are_counted() -> None:
    read, write = os.pipe()
    lines = Lines(write, most=100)
    for _ in range(1000):
        lines.add("x" * 1000)
    lines.close(0.1)
    shown = os.read(read, 1 << 20)
    assert 0 < shown.count(b"\n") < 200
    assert lines.lost > 1000 - shown.count(b"\n") - 100
    assert lines.why in ("it was too slow", "it took nothing more")
    os.close(read)


def test_where_lines_are_missing_a_line_says_how_many() -> None:
    read, write = os.pipe()
    lines = Lines(write, lambda n: f"lost {n}", most=10)
    for _ in range(300):  # more than a pipe and the queue hold
        lines.add("x" * 1000)
    got = b""
    while b"lost" not in got:
        got += os.read(read, 1 << 16)
        lines.add("y")
    lines.close()
    while chunk := os.read(read, 1 << 16):
        got += chunk
    os.close(read)
    said = [line for line in got.decode().splitlines() if line.startswith("lost")]
    assert sum(int(line.split()[1]) for line in said) == lines.lost > 0


def test_a_reader_that_left_ends_it_without_a_word_to_the_job() -> None:
    read, write = os.pipe()
    os.close(read)
    lines = Lines(write)
    for _ in range(3):
        lines.add("x")
    lines.close()
    assert lines.reader_left
    assert lines.lost == 3


def test_on_a_full_disk_lines_wait_and_none_is_torn_or_lost_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd, full, refused = appending(tmp_path / "f"), [True], []
    real = os.write

    def write(to: int, data: bytes) -> int:
        if to != fd or not full[0]:
            return real(to, data)
        if not refused:
            refused.append(1)
            return real(to, data[:3])  # the last bytes of the disk
        refused.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(module, "AGAIN", 0.01)
    lines = Lines(fd)
    for n in range(3):
        lines.add(f"line {n}")
    until(lambda: len(refused) > 3)
    full[0] = False
    lines.close()
    assert lines.lost == 0
    assert (tmp_path / "f").read_text() == "lin\nline 0\nline 1\nline 2\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_what_a_full_disk_never_took_is_lost_and_why_is_said() -> None:
    lines = Lines(os.open("/dev/full", os.O_WRONLY))
    for _ in range(5):
        lines.add("x")
    lines.close()
    assert (lines.lost, lines.why) == (5, "No space left on device")
    lines.add("too late")
    assert lines.lost == 6
