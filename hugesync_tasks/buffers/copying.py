"""Copies in one read pass: digest, progress, throttle and several destinations are fed with the same bytes.

Where nobody needs to see the bytes and both ends are files, the kernel copies and they never come here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from hugesync_tasks.budget import Budget, Holds
from hugesync_tasks.token import Token

STEP = 8 << 20  # bytes that the kernel copies between two looks at the sinks
SIZE = 1 << 20  # bytes read at once where nothing else is configured
CANNOT = {  # why the kernel does not do it, though the bytes can be copied
    errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EPERM, errno.EBADF,
    errno.ETXTBSY,
}  # fmt: skip

Chunk = bytes | bytearray | memoryview
Source = int | Iterable[Chunk]  # a descriptor, or what gives chunks
Dest = int | Callable[[Chunk], object]  # a descriptor, or what takes chunks


@dataclass(frozen=True, slots=True)
class Counting:
    """A sink that is told how many bytes went by and needs to see none of them: progress, a throttle."""

    told: Callable[[int], object]


Sink = Counting | Callable[[Chunk], object]

_holds: Holds = Budget(1 << 62)
_size = SIZE


def use(holds: Holds, size: int) -> None:
    """From now on copies of this process hold their bytes here, ``size`` at once."""
    global _holds, _size
    _holds, _size = holds, size


def piece() -> int:
    """Bytes that are read at once, into memory that is there."""
    return _size


def throttle(token: Token) -> Counting:
    """A sink that keeps to the bandwidth of ``token``, and ends the copy when the token ends."""

    def told(n: int) -> None:
        token.pay(n)
        token.moved(n)

    return Counting(told)


def copy(
    source: Source,
    dest: Dest | Sequence[Dest],
    *,
    length: int | None = None,
    at: int | None = None,
    to: int | None = None,
    sinks: Sequence[Sink] = (),
    size: int | None = None,
    token: Token | None = None,
) -> int:
    """Copy from ``source`` to one or several destinations, each byte read once; how many.

    Of descriptors up to ``length`` bytes, from offset ``at`` and to offset ``to`` (None: where they stand, and to the end):
    whether fewer were there the caller must look. ``sinks`` see each piece after it was written, in their order. ``size``:
    bytes read at once. ``token`` keeps the task alive, and hears of its end, while room for them is waited for. Raises OSError, what destinations and sinks raise, and what it takes to hold ``size`` bytes.
    """
    dests = list(dest) if isinstance(dest, Sequence) else [dest]
    if not isinstance(source, int):
        return _pass(source, dests, to, sinks)
    done = 0
    if len(dests) == 1 and isinstance(dests[0], int) and all(isinstance(sink, Counting) for sink in sinks):
        done = _by_kernel(source, dests[0], length, at, to, sinks)
        if done == length:
            return done
        at, to = _further(at, done), _further(to, done)
        length = None if length is None else length - done
    with _room(
        min(size or _size, length or size or _size), token
    ) as room:  # also to see whether the end was reached: a kernel that cannot may say so
        return done + _pass(_read(source, room, length, at), dests, to, sinks)


def tee(
    source: Source,
    *sinks: Sink,
    length: int | None = None,
    at: int | None = None,
    size: int | None = None,
    token: Token | None = None,
) -> int:
    """Read ``source`` once and feed all ``sinks``; how many bytes. As ``copy``, without a destination."""
    return copy(source, (), length=length, at=at, sinks=sinks, size=size, token=token)


def _by_kernel(
    source: int, dest: int, length: int | None, at: int | None, to: int | None, sinks: Sequence[Sink]
) -> int:
    done = 0
    calls: list[Callable[[int, int | None, int | None], int]] = (
        [partial(os.copy_file_range, source, dest)] if hasattr(os, "copy_file_range") else []
    )
    if to is None and hasattr(os, "sendfile"):  # also into a socket, but only where the descriptor stands
        calls.append(lambda n, at, to: os.sendfile(dest, source, at, n))
    while calls and done != length:
        want = STEP if length is None else min(STEP, length - done)
        try:
            n = calls[0](want, _further(at, done), _further(to, done))
        except OSError as e:
            if e.errno not in CANNOT:
                raise
            n = 0
        if n == 0:  # the end, or it cannot
            calls.pop(0)
        done += n
        _feed(sinks, b"", n)
    return done


def _pass(chunks: Iterable[Chunk], dests: list[Dest], to: int | None, sinks: Sequence[Sink]) -> int:
    done = 0
    for chunk in chunks:
        for dest in dests:
            if isinstance(dest, int):
                write(dest, chunk, _further(to, done))
            else:
                dest(chunk)
        _feed(sinks, chunk, len(chunk))
        done += len(chunk)
    return done


def _feed(sinks: Sequence[Sink], chunk: Chunk, n: int) -> None:
    if n:
        for sink in sinks:
            if isinstance(sink, Counting):
                sink.told(n)
            else:
                sink(chunk)


def _read(source: int, room: memoryview, length: int | None, at: int | None) -> Iterator[Chunk]:
    """Pieces of a descriptor, each in ``room`` until the next."""
    done = 0
    while done != length:
        piece = room if length is None or length - done >= len(room) else room[: length - done]
        n = os.readv(source, [piece]) if at is None else os.preadv(source, [piece], at + done)
        if n == 0:
            return
        yield piece[:n]
        done += n


def write(dest: int, chunk: Chunk, to: int | None = None) -> None:
    """All of ``chunk``, at offset ``to``, or where the descriptor stands."""
    view = memoryview(chunk)
    while view:
        n = os.write(dest, view) if to is None else os.pwrite(dest, view, to)
        view, to = view[n:], _further(to, n)


def _further(offset: int | None, n: int) -> int | None:
    return None if offset is None else offset + n


@contextmanager
def _room(size: int, token: Token | None) -> Iterator[memoryview]:
    with _holds.hold(size, token, memory=True) as room:
        yield memoryview(bytearray(size)) if room is None else room
