"""Children that are forked from the test, as a worker forks its own: they see what was made before."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Child:
    """A fork that runs ``work`` and ends; what it returns is read by ``said``."""

    def __init__(self, work: Callable[[], str]) -> None:
        read, write = os.pipe()
        self._status: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            os.close(write)
            self._read = read
            return
        code = 1
        try:  # whatever happens, no fork goes on as a second pytest
            os.close(read)
            os.write(write, work().encode())
            code = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """As ``kill -9``; it is gone on return."""
        if self._status is None:
            self.signal(signal.SIGKILL)
            self.ended()

    def ended(self) -> int:
        """Wait for its end: the exit code, or minus the signal."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def said(self) -> str:
        """What it returned, at its end."""
        with os.fdopen(self._read) as pipe:
            text = pipe.read()
        assert self.ended() == 0, f"the child ended with {self._status}"
        return text


@contextmanager
def forked(*works: Callable[[], str]) -> Iterator[list[Child]]:
    """One child for each; none is left behind."""
    children = []
    try:
        for work in works:
            children.append(Child(work))
        yield children
    finally:
        for child in children:
            child.kill()
