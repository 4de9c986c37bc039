"""Bytes from one open file to another: shared, else copied by the kernel, holes kept, else read and written."""

from __future__ import annotations

import errno
import os

from hugesync_tasks.buffers.copying import CANNOT, Counting, copy, write
from hugesync_tasks.errors import SourceChanged
from hugesync_tasks.stores import local_kernel as kernel
from hugesync_tasks.stores.base import Body
from hugesync_tasks.token import Token

HOLE = 64 << 10  # a run of zeros this long, so aligned, is left out of a new file
_ZEROS = bytes(HOLE)
_STEP = 8 << 20  # bytes between two looks at the token


def write_at(fd: int, body: Body, offset: int) -> None:
    """All of ``body`` at ``offset``."""
    write(fd, body, offset)


def write_sparse(fd: int, body: Body, offset: int) -> None:
    """Like ``write_at``, but blocks of zeros become (or stay) holes whatever the range held before."""
    view, at, end = memoryview(body), 0, len(body)
    while at < end:
        stop = at
        while stop + HOLE <= end and _is_zeros(body, stop):
            stop += HOLE
        if stop > at:
            make_zeros(fd, offset + at, stop - at)
            at = stop
            continue
        while stop < end and not (stop + HOLE <= end and _is_zeros(body, stop)):
            stop = min(stop + HOLE, end)
        write(fd, view[at:stop], offset + at)
        at = stop


def _is_zeros(body: Body, at: int) -> bool:
    if isinstance(body, bytes):
        return body.startswith(_ZEROS, at)
    return body[at] == 0 and bytes(body[at : at + HOLE]) == _ZEROS  # views compare byte by byte


def make_zeros(fd: int, offset: int, length: int) -> None:
    """Make a range inside the file read as zeros, as a hole where that can be."""
    end = offset + length
    if next_data(fd, offset, end) == end:
        return  # a hole already
    try:
        kernel.punch_hole(fd, offset, length)
    except OSError as e:
        if e.errno not in CANNOT:
            raise
        for at in range(offset, end, _STEP):
            write_at(fd, bytes(min(_STEP, end - at)), at)


def next_data(fd: int, at: int, end: int) -> int:
    """Where data begins at or after ``at``, at most ``end``. Where holes cannot be seen all is data."""
    try:
        return min(os.lseek(fd, at, os.SEEK_DATA), end)
    except OSError as e:
        return end if e.errno == errno.ENXIO else at


def _next_hole(fd: int, at: int, end: int) -> int:
    try:
        return min(os.lseek(fd, at, os.SEEK_HOLE), end)
    except OSError:
        return end


def copy_range(
    source: int, start: int, length: int, dest: int, offset: int, token: Token, key: str, paid: bool = False
) -> None:
    """Copy ``length`` bytes; the destination file must be that long already. ``paid``: what is not shared counts towards the
    job's bandwidth. Raises SourceChanged where the source ends early, and OSError."""
    try:
        kernel.clone_range(source, start, length, dest, offset)
        _copied(length, token)
        return
    except OSError as e:
        if e.errno not in CANNOT:
            raise
    end = start + length
    if os.fstat(source).st_size < end:
        raise SourceChanged(f"{key}: shrank while it was read", key)

    def moved(n: int) -> None:
        if paid:
            token.pay(n)
        _copied(n, token)

    at = start
    while at < end:
        data = next_data(source, at, end)
        if data > at:  # copy_file_range would fill the hole with zeros on disk
            make_zeros(dest, offset + at - start, data - at)
            _copied(data - at, token)
            at = data
            continue
        most = token.slice(_STEP) if paid else _STEP
        step = min(most, _next_hole(source, at, end) - at)
        if step <= 0:
            step = min(most, end - at)  # the file changed under the two seeks; the caller's check will tell
        done = copy(source, dest, length=step, at=at, to=offset + at - start, sinks=[Counting(moved)], token=token)
        if done == 0:
            raise SourceChanged(f"{key}: shrank while it was read", key)
        at += done


def _copied(n: int, token: Token) -> None:
    token.copied_server_side(n)  # step by step, so that progress is seen inside a part
    token.moved(n)
