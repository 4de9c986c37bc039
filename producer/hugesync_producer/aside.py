"""Store calls beside the main thread: a signal ends the wait for them at once, whatever the store does.

A call inside obstore lets no signal through before it ends, and a pool waits for the last call of its threads, which a silent
store may hold for a minute. What an interrupted run leaves behind touches nothing but its own reading; ``leave`` ends it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from hugesync_producer.interrupts import SIGNALS

GRACE = 0.5  # seconds for threads that were told to end

T = TypeVar("T")


@contextmanager
def threads(most: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """A pool whose calls are waited for, unless an exception ends the block: then what runs is left behind, and what waits
    for a thread is dropped."""
    pool = ThreadPoolExecutor(most, thread_name_prefix=name)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def aside(call: Callable[[], T]) -> T:
    """What ``call`` returns or raises; made in a thread, so that KeyboardInterrupt need not wait for it."""
    with threads(1, "aside") as pool:
        return pool.submit(call).result()


class JobThread(threading.Thread):
    """A thread that a whole job runs in: processes that it starts, which die with the thread, end before it does."""


def leave(code: int) -> int:
    """``code``, for ``sys.exit``. Does not return where a thread is still in a call that nobody waits for any more: the
    interpreter's end would wait for it, so the process ends here, with that code. A signal has nothing to stop any more."""
    for number in SIGNALS:  # what was to be done is done and told
        signal.signal(number, signal.SIG_IGN)
    until = time.monotonic() + GRACE
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                _end(code)
    return code


def _end(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
