"""The standard streams, which may be closed, full, or without a reader."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO


class Unwritten(Exception):
    """What a command has to print on stdout could not be printed. Its message is the reason."""

    def __init__(self, why: str, reader_left: bool = False) -> None:
        super().__init__(why)
        self.reader_left = reader_left  # ``| head``: whoever asked has seen enough


def show(text: str) -> None:
    """A line on stdout. Raises Unwritten."""
    if sys.stdout is None:  # ``>&-``; print would do nothing, and say nothing
        raise Unwritten(os.strerror(errno.EBADF))
    try:
        print(text, file=sys.stdout, flush=True)
    except (OSError, ValueError) as error:
        raise unwritten(error) from error


def unwritten(error: OSError | ValueError) -> Unwritten:
    """What a failed write to stdout means. Nothing more can be printed."""
    forget(sys.stdout)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Unwritten(reason, isinstance(error, BrokenPipeError))


def tell(text: str) -> None:
    """A line on stderr; where that cannot be written nobody reads it, and the exit code still tells."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        forget(sys.stderr)


def forget(stream: TextIO) -> None:
    """Drop what is still buffered: it would fail once more at the interpreter's exit, and change the exit code."""
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def stand_in() -> None:
    """Give each standard stream that came closed the number it should have: else the next file or socket that is opened gets
    it, and what anybody prints goes into that. ``sys.stdout`` stays None, so that ``show`` knows."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere == number:
                os.set_inheritable(number, True)
            else:
                os.dup2(nowhere, number)
                os.close(nowhere)
    if sys.stderr is None:  # print would fall back to stdout
        sys.stderr = os.fdopen(2, "w", closefd=False)
