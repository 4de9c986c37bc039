"""Operations by 1, 2, 4, 8 streams at once, until more streams give nothing more."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from threading import Lock

from hugesync_producer.aside import threads
from hugesync_producer.preflight.allowance import Allowance
from hugesync_producer.preflight.knee import climbs_on
from hugesync_producer.preflight.values import Rung
from hugesync_tasks.errors import Stopped, StoreError

STREAMS = (1, 2, 4, 8)
LEAST = 3  # operations of a rung, time and bytes permitting: of fewer nobody knows a median

Operation = Callable[[], int]  # does one and gives its bytes; called by several threads at once


def drive(
    operation: Operation,
    streams: int,
    seconds: float,
    allowance: Allowance,
    size: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Rung | None:
    """One rung: each of ``streams`` threads does one operation of about ``size`` bytes after another for ``seconds``, at least
    one; those in hand are finished. None where not even one was allowed. Raises what an operation raises."""
    lock = Lock()
    took: list[float] = []
    moved, failed = [0], [False]
    began = clock()
    until, at_most = began + seconds, began + 4 * seconds

    def stream() -> None:
        first = True
        while True:
            now = clock()
            with lock:
                few = len(took) < LEAST * streams
            late = not first and now >= (at_most if few else until)
            if failed[0] or late or allowance.left <= 0 or not allowance.take(size):
                return
            first = False
            try:
                n = operation()
            except BaseException:
                failed[0] = True  # nobody begins another, so that what was begun can be taken away
                raise
            spent = clock() - now
            with lock:
                took.append(spent)
                moved[0] += n

    if streams == 1:
        stream()
    else:
        with threads(streams, "measure") as pool:
            running = [pool.submit(stream) for _ in range(streams)]
            try:
                wait(running)
            except BaseException:
                failed[0] = True
                raise
            for future in running:
                future.result()
    if not took:
        return None
    busy = max(sum(took), 1e-9)
    working = min(streams, len(took))  # streams that got nothing to do were none
    return Rung(working, len(took), moved[0], clock() - began, statistics.median(took), _p99(took), busy)


def climb(
    operation: Operation,
    seconds: float,
    allowance: Allowance,
    size: int,
    value: Callable[[Rung], float],
    streams: Sequence[int] = STREAMS,
) -> tuple[Rung, ...]:
    """Rungs of ``seconds`` each, up to the first that gave nothing more (it is the last one), or the end of the allowance."""
    rungs: list[Rung] = []
    for i, n in enumerate(streams):
        if not climbs_on(rungs, value):
            break
        try:
            mine = allowance.portion(1.0, n / sum(streams[i:]))  # or a quick first rung leaves nothing for the others
            rung = drive(operation, n, seconds, mine, size)
        except (StoreError, Stopped):
            if not rungs:
                raise
            break  # so many streams are too many for it
        if rung is None or rung.streams < n:
            break
        rungs.append(rung)
    return tuple(rungs)


def _p99(took: Sequence[float]) -> float:
    ordered = sorted(took)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
